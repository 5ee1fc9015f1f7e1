"""A Rollout of real pods behind Traefik, asked by a steady stream of requests, and an operator's desk before it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from tests.cluster.api import ANALYSIS_TEMPLATES, PODS, ROLLOUTS, SERVICES, Json, condition, wait_for
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import pod_template, rollout
from tests.cluster.realnode.node import ONLY_HERE, image
from tests.cluster.realnode.traffic import TRAEFIK_SERVICES, Load, Router, routed

NAME: Final = "fraud"
STABLE: Final = f"{NAME}-stable"
CANARY: Final = f"{NAME}-canary"
REPLICAS: Final = 3
STEPS: Final[tuple[Json, ...]] = ({"setWeight": 10}, {"pause": {}}, {"setWeight": 50}, {"pause": {}})
MEMORY: Final = "64Mi"
_LOADING: Final = "300ms"
_DRAIN_S: Final = 5
"""Traefik takes up a change within 2 s (its `providersThrottleDuration`): a pod that ended sooner would fail what is still sent."""


@dataclass
class Stage:
    """One namespace of the real node with the Rollout `fraud` in it."""

    cluster: Cluster
    namespace: str
    router: Router
    folder: Path
    _before: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def host(self) -> str:
        return f"{NAME}.{self.namespace}.example"

    def set_up(self, *, version: str = "1", **canary: Any) -> None:
        """Serving `version` with all pods, through Traefik, at rest."""
        routing = {
            "stableService": STABLE,
            "canaryService": CANARY,
            "trafficRouting": {"traefik": {"weightedTraefikServiceName": NAME}},
            "scaleDownDelaySeconds": 5,
            "abortScaleDownDelaySeconds": 5,
            **canary,
        }
        items = [_rollout(version, routing), _service(STABLE), _service(CANARY)]
        items += routed(NAME, self.host, {STABLE: 100, CANARY: 0})
        self.cluster.kubectl.apply({"apiVersion": "v1", "kind": "List", "items": items}, namespace=self.namespace)
        self.cluster.api.wait(
            ROLLOUTS, self.namespace, NAME, lambda item: item.get("status", {}).get("phase") == "Healthy", within_s=60.0
        )
        # The router takes up what is new a moment later.
        wait_for(lambda: self.codes(self.router, 1) == {200: 1}, within_s=60.0, otherwise=lambda: "it is not routed")
        self._before = self.router.counted(self.namespace)

    def also_routed(self, host: str, shares: dict[str, int]) -> None:
        """Another route of the same router, which no controller knows; a Service that is not there yet is made, without pods."""
        name = host.partition(".")[0]
        items = [_service(service, app="nobody") for service in shares if service not in {STABLE, CANARY}]
        items += routed(name, f"{host}.{self.namespace}", shares)
        self.cluster.kubectl.apply({"apiVersion": "v1", "kind": "List", "items": items}, namespace=self.namespace)

    def codes(self, router: Router, count: int, host: str = "") -> Counter[int]:
        """The answers to some requests through a router, by status code."""
        asked = f"{host}.{self.namespace}" if host else self.host
        with httpx.Client(base_url=router.url, headers={"Host": asked}, trust_env=False) as client:
            return Counter(client.post("/invocations", json={"inputs": [[0.1]]}).status_code for _ in range(count))

    def counted(self) -> Counter[tuple[str, str]]:
        """Requests since the set-up by Service and status code, by the router's own counters."""
        return self.router.counted(self.namespace) - self._before

    def load(self, **wish: Any) -> Load:
        """200 requests a second."""
        return Load(self.router.url, self.host, self.folder, **wish)

    def weights(self) -> dict[str, int]:
        """The weights that Argo gave to the router."""
        item = self.cluster.api.get(TRAEFIK_SERVICES, self.namespace, NAME)
        return {entry["name"]: entry["weight"] for entry in item["spec"]["weighted"]["services"]}

    def pods(self) -> dict[str, list[Json]]:
        """The pods that live, by the version that they run."""
        found: dict[str, list[Json]] = {}
        for pod in self.cluster.api.items(PODS, self.namespace, selector=f"app={NAME}"):
            if "deletionTimestamp" not in pod["metadata"]:
                found.setdefault(pod["spec"]["containers"][0]["image"].rpartition(":")[2], []).append(pod)
        return found

    def ready(self) -> dict[str, int]:
        """How many pods of each version are ready."""
        return {
            version: sum(condition(pod, "Ready").get("status") == "True" for pod in pods)
            for version, pods in self.pods().items()
        }


def error_share(namespace: str, prometheus: str) -> Json:
    """An AnalysisTemplate: which share of the canary's requests ends in an error, by Traefik's own counters.

    Nothing measured yet is neither a pass nor a failure: an empty vector counts as a failure where a condition only looks at its
    first sample.
    """
    counted = f'traefik_service_requests_total{{service="{namespace}-{CANARY}-80@kubernetescrd"'
    query = f'(sum(rate({counted},code=~"5.."}}[4s])) or vector(0)) / sum(rate({counted}}}[4s]))'
    metric = {
        "name": "errors",
        "interval": "1s",
        "failureLimit": 1,
        "inconclusiveLimit": 1000,
        "successCondition": "len(result) > 0 && result[0] < 0.05",
        "failureCondition": "len(result) > 0 && result[0] >= 0.05",
        "provider": {"prometheus": {"address": prometheus, "query": query}},
    }
    return {
        "apiVersion": ANALYSIS_TEMPLATES.group_version,
        "kind": "AnalysisTemplate",
        "metadata": {"name": "errors"},
        "spec": {"metrics": [metric]},
    }


def _rollout(version: str, routing: Json) -> Json:
    item = rollout(NAME, image(version), replicas=REPLICAS, steps=STEPS, canary=routing, progressDeadlineSeconds=300)
    template = pod_template(NAME, image(version))
    template["spec"] |= {**ONLY_HERE, "terminationGracePeriodSeconds": _DRAIN_S + 3}
    template["spec"]["containers"][0] |= {
        "imagePullPolicy": "Never",
        "env": [{"name": "LOAD", "value": _LOADING}, {"name": "DRAIN", "value": f"{_DRAIN_S}s"}],
        "readinessProbe": {"httpGet": {"path": "/ping", "port": "http"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": MEMORY}},
    }
    item["spec"]["template"] = template
    return item


def _service(name: str, app: str = NAME) -> Json:
    return {
        "apiVersion": SERVICES.group_version,
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }
