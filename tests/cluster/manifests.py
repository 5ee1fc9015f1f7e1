"""Small manifests of our own, in the shape that each project's documentation shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.cluster.api import Json

PODS_BEHAVE = "mlrelease.test/pod"
"""The pod label that chooses how pods behave: never-ready, crash-loop, oom-killed, bad-image, job-failed (stages/pods.yaml)."""


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
