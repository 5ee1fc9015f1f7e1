"""Small manifests of our own, in the shape that each project's documentation shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.cluster.api import Json

PODS_BEHAVE = "mlrelease.test/pod"
"""The pod label that chooses how pods behave: never-ready, crash-loop, oom-killed, bad-image, job-failed (objects/pods.yaml)."""


def pod_template(
    app: str, image: str, *, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None
) -> Json:
    """A pod template with one container `model` that serves on port 8080."""
    return {
        "metadata": {"labels": {"app": app, **(labels or {})}, "annotations": dict(annotations or {})},
        "spec": {
            "containers": [
                {
                    "name": "model",
                    "image": image,
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "resources": {
                        "requests": {"cpu": "100m", "memory": "64Mi"},
                        "limits": {"memory": "128Mi"},
                    },
                }
            ]
        },
    }


def deployment(
    name: str,
    image: str = "registry.example/fraud:1",
    *,
    replicas: int = 3,
    labels: Mapping[str, str] | None = None,
    pod_labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Json:
    """A Deployment; `spec` adds fields such as `progressDeadlineSeconds=5`."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/name": name, **(labels or {})},
            "annotations": dict(annotations or {}),
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": pod_template(name, image, labels=pod_labels),
            **spec,
        },
    }


def autoscaler(name: str, deployment: str, *, least: int = 2, most: int = 10) -> Json:
    """A HorizontalPodAutoscaler of a Deployment by its CPU. Not made by `kubectl autoscale`: its flags change with its version."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
                }
            ],
        },
    }


def service(name: str, app: str = "") -> Json:
    """A Service in front of the pods of `app` (its own name by default), port 80 to 8080."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app or name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }


def rollout(
    name: str,
    image: str = "registry.example/fraud:1",
    *,
    replicas: int = 10,
    steps: Sequence[Json] = ({"setWeight": 10}, {"pause": {}}),
    canary: Json | None = None,
    blue_green: Json | None = None,
    pod_labels: Mapping[str, str] | None = None,
    **spec: Any,
) -> Json:
    """An Argo Rollout: a canary with `steps` (more of its fields in `canary`), or blue-green where that is given."""
    strategy: Json = {"blueGreen": blue_green} if blue_green else {"canary": {"steps": list(steps), **(canary or {})}}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": pod_template(name, image, labels=pod_labels),
            "strategy": strategy,
            **spec,
        },
    }


def canary(
    name: str,
    *,
    provider: str = "gatewayapi:v1",
    analysis: Json | None = None,
    gateway: str = "public",
    **spec: Any,
) -> Json:
    """A Flagger Canary of the Deployment of the same name; weights by 20 up to 60 on a route, three iterations without one."""
    routed = provider.startswith("gatewayapi")
    step: Json = {"stepWeight": 20, "maxWeight": 60} if routed else {"iterations": 3}
    refs = {"gatewayRefs": [{"name": gateway}], "hosts": [f"{name}.example.com"]} if routed else {}
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": name},
        "spec": {
            "provider": provider,
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "service": {"port": 80, "targetPort": "http", **refs},
            "analysis": {"interval": "10s", "threshold": 3, **step, **(analysis or {})},
            **spec,
        },
    }


def gateway(name: str = "public") -> Json:
    """A Gateway that no controller looks at: Flagger wants only its name."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name},
        "spec": {
            "gatewayClassName": "none",
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        },
    }


def metric_template(name: str, query: str, server: str) -> Json:
    """A Flagger MetricTemplate: a Prometheus query; `{{ target }}` in it is the canary's target."""
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "MetricTemplate",
        "metadata": {"name": name},
        "spec": {"provider": {"type": "prometheus", "address": server}, "query": query},
    }


def inference_service(
    name: str,
    uri: str = "s3://models/fraud/1",
    *,
    mode: str = "Standard",
    runtime: str = "sklearn",
    annotations: Mapping[str, str] | None = None,
    **predictor: Any,
) -> Json:
    """A KServe InferenceService; `predictor` adds fields such as `canaryTrafficPercent=10`."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "annotations": {"serving.kserve.io/deploymentMode": mode, **(annotations or {})},
        },
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "model": {"modelFormat": {"name": runtime}, "storageUri": uri},
                **predictor,
            }
        },
    }


def knative_service(name: str, image: str = "registry.example/fraud:1", **spec: Any) -> Json:
    """A Knative Service; `spec` adds fields such as `traffic=[...]`."""
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"containers": [{"image": image}]}}, **spec},
    }
