"""What the tests of routes share: routes of both kinds before real Deployments, and one who writes their status as a gateway would.

No gateway controller runs: each HTTPRoute gets the status that one would write, as soon as its spec changes. VirtualServices get
none, which is what Istio leaves as it is installed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.cluster.api import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    HTTP_ROUTES,
    VIRTUAL_SERVICES,
    Api,
    Json,
    Kind,
    wait_for,
)
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import deployment, service
from tests.cluster.playing import playing

IMAGE: Final = "registry.example/fraud"
REPLICAS: Final = 1
GATEWAY: Final = "public"
_READY_S: Final = 90.0


def http_route(name: str, weights: Mapping[str, int | None], *, gateway: str = GATEWAY, **rule: Any) -> Json:
    """An HTTPRoute with one rule over Services by name; a weight of None is not said."""
    refs = [
        {"name": backend, "port": 80, **({} if weight is None else {"weight": weight})}
        for backend, weight in weights.items()
    ]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {
            "parentRefs": [{"name": gateway}],
            "hostnames": [f"{name}.example.com"],
            "rules": [{"backendRefs": refs, **rule}],
        },
    }


def virtual_service(name: str, weights: Mapping[str, int], *, host: str, **rule: Any) -> Json:
    """A VirtualService with one HTTP route over subsets of `host`."""
    route = [{"destination": {"host": host, "subset": subset}, "weight": weight} for subset, weight in weights.items()]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name},
        "spec": {"hosts": [name], "http": [{"name": "primary", "route": route, **rule}]},
    }


def destination_rule(host: str, *subsets: str) -> Json:
    found = [{"name": subset, "labels": {"version": subset}} for subset in subsets]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": host},
        "spec": {"host": host, "subsets": found},
    }


def conditions(generation: int, *, accepted: bool = True, resolved: bool = True, why: str = "as asked") -> list[Json]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = (("Accepted", accepted), ("ResolvedRefs", resolved))
    return [
        {
            "type": kind,
            "status": str(holds),
            "reason": kind if holds else "Refused",
            "message": why,
            "observedGeneration": generation,
            "lastTransitionTime": now,
        }
        for kind, holds in said
    ]


def parent_status(generation: int, *, gateway: str = GATEWAY, **said: Any) -> Json:
    return {
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway},
        "controllerName": "example.com/gateway",
        "conditions": conditions(generation, **said),
    }


@contextmanager
def gateway(api: Api, namespace: str) -> Iterator[None]:
    """For the block, every HTTPRoute of the namespace that names the gateway gets its status as soon as its spec is another one."""

    def turn() -> None:
        for item in api.items(HTTP_ROUTES, namespace):
            _answer(api, namespace, item)

    with playing(turn, "gateway"):
        yield


def _answered(item: Json) -> bool:
    parents = item.get("status", {}).get("parents", ())
    said = [one["observedGeneration"] for parent in parents for one in parent["conditions"]]
    return bool(said) and min(said) == item["metadata"]["generation"]


def _answer(api: Api, namespace: str, item: Json) -> None:
    if not _answered(item):
        status = {"status": {"parents": [parent_status(item["metadata"]["generation"])]}}
        name = item["metadata"]["name"]
        api.patch(HTTP_ROUTES, namespace, name, status, sub="status", manager="gateway-controller")


@dataclass
class Bench:
    """Routes of one namespace before the Deployments of two versions, driven by kubectl alone."""

    cluster: Cluster
    namespace: str
    kind: Kind = HTTP_ROUTES
    path: Sequence[str] = field(default=("rules", "backendRefs"))

    @property
    def api(self) -> Api:
        return self.cluster.api

    def behind(self, *names: str) -> None:
        """For each name the Deployments NAME-v1 and NAME-v2, versions 1 and 2, ready; a Service each, and one before both."""
        for number in ("1", "2"):
            found: list[Json] = []
            for name in names:
                called = f"{name}-v{number}"
                labels = {"version": f"v{number}", "serves": name}
                found.append(deployment(called, f"{IMAGE}:{number}", replicas=REPLICAS, pod_labels=labels))
                found.append(service(called))
            self.apply(*found)
            for name in names:
                self.wait_ready(f"{name}-v{number}")
            # Which of two is the older one is told by seconds.
            _a_second_after(max(self.made_at(f"{name}-v{number}") for name in names))
        fronts = [service(name) for name in names]
        for front, name in zip(fronts, names, strict=True):
            front["spec"]["selector"] = {"serves": name}
        self.apply(*fronts)

    def made_at(self, deployed: str) -> datetime:
        item = self.api.get(DEPLOYMENTS, self.namespace, deployed)
        return datetime.fromisoformat(item["metadata"]["creationTimestamp"])

    def wait_ready(self, deployed: str, *, version: str = "") -> None:
        def holds(item: Json) -> bool:
            status, image = item["status"], item["spec"]["template"]["spec"]["containers"][0]["image"]
            seen = status.get("observedGeneration") == item["metadata"]["generation"]
            counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")}
            return bool(
                seen and counts == {item["spec"]["replicas"]} and image.endswith(f":{version}" if version else "")
            )

        self.api.wait(DEPLOYMENTS, self.namespace, deployed, holds, within_s=_READY_S)

    def wait_reached(self, name: str) -> None:
        """Until an EndpointSlice of the Service has a ready address."""
        selector = f"kubernetes.io/service-name={name}"
        wait_for(
            lambda: any(
                address["conditions"].get("ready")
                for piece in self.api.items(ENDPOINT_SLICES, self.namespace, selector=selector)
                for address in piece.get("endpoints") or ()
            ),
            within_s=_READY_S,
        )

    def apply(self, *manifests: Json) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.cluster.kubectl.apply(listed, namespace=self.namespace)

    def wait_taken(self, name: str) -> None:
        """Until the one who plays the gateway has answered the route as it is."""
        self.api.wait(self.kind, self.namespace, name, _answered, within_s=_READY_S)

    def get(self, name: str) -> Json:
        return self.api.get(self.kind, self.namespace, name)

    def weights(self, name: str) -> list[int]:
        outer, inner = self.path
        return [one.get("weight", 0) for one in self.get(name)["spec"][outer][0][inner]]

    def patch(self, name: str, *ops: Json, plural: str = "") -> None:
        """By kubectl, as somebody without our tool would."""
        resource = plural or f"{self.kind.plural}.{self.kind.group_version.partition('/')[0]}"
        words = ("patch", resource, name, "-n", self.namespace, "--type=json", "-p", json.dumps(list(ops)))
        self.cluster.kubectl(*words)

    def set_weights(self, name: str, *weights: int) -> None:
        outer, inner = self.path
        ops = [
            {"op": "replace", "path": f"/spec/{outer}/0/{inner}/{index}/weight", "value": weight}
            for index, weight in enumerate(weights)
        ]
        self.patch(name, *ops)


def _a_second_after(moment: datetime) -> None:
    wait_for(lambda: datetime.now(UTC) - moment > timedelta(seconds=1))


class Meshes(Bench):
    """VirtualServices."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        super().__init__(cluster, namespace, VIRTUAL_SERVICES, ("http", "route"))
