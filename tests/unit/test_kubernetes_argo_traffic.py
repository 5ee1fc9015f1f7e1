"""What Traefik calls the Services that a Rollout's requests are sent to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Sighting, world_of
from mlrelease_tui.connectors.kubernetes.workloads.argo import ArgoRollouts
from mlrelease_tui.domain.rollout import Endpoint, SeriesSelector

Json = dict[str, Any]
ROLLOUTS = Resource("argoproj.io", "v1alpha1", "rollouts", "Rollout")
SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
ROUTES = Resource("traefik.io", "v1alpha1", "traefikservices", "TraefikService")
SERVED = Served({(kind.group, kind.plural): kind for kind in (ROLLOUTS, SETS, ROUTES)})


def rollout(*, stable: str = "aaa", current: str = "bbb") -> Json:
    canary = {
        "stableService": "fraud-stable",
        "canaryService": "fraud-canary",
        "trafficRouting": {"traefik": {"weightedTraefikServiceName": "fraud-route"}},
        "steps": [{"setWeight": 10}, {"pause": {}}],
    }
    return {
        "kind": "Rollout",
        "metadata": {"name": "fraud", "namespace": "ml", "uid": "u-1", "generation": 3},
        "spec": {"replicas": 2, "template": {}, "strategy": {"canary": canary}},
        "status": {"observedGeneration": "3", "stableRS": stable, "currentPodHash": current},
    }


def replicaset(key: str) -> Json:
    return {
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"fraud-{key}",
            "namespace": "ml",
            "uid": f"u-{key}",
            "labels": {"rollouts-pod-template-hash": key},
            "ownerReferences": [{"uid": "u-1", "controller": True, "kind": "Rollout", "name": "fraud"}],
        },
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"image": f"registry.example/fraud:{key}"}]}}},
        "status": {"replicas": 2, "availableReplicas": 2},
    }


def route(*services: Mapping[str, Any], name: str = "fraud-route") -> Json:
    return {
        "kind": "TraefikService",
        "metadata": {"name": name, "namespace": "ml", "uid": f"u-{name}"},
        "spec": {"weighted": {"services": [dict(service) for service in services]}},
    }


def read(item: Json, *routes: Json) -> Endpoint:
    world = world_of({ROLLOUTS: [item], SETS: [replicaset("aaa"), replicaset("bbb")], ROUTES: list(routes)})
    frame = Frame("lab", "", "ctx", "", datetime(2026, 3, 1, tzinfo=UTC))
    return ArgoRollouts().read(Sighting("ml", "fraud", item), world, SERVED, frame).endpoint


def named(service: str) -> tuple[SeriesSelector, ...]:
    return (SeriesSelector("traefik", (("service", f"{service}@kubernetescrd"),)),)


def series(endpoint: Endpoint) -> dict[str, tuple[SeriesSelector, ...]]:
    return {variant.version: variant.series for variant in endpoint.variants}


@pytest.mark.parametrize(("port", "shown"), [(80, "-80"), ("http", "-http"), (None, "")])
def test_each_version_is_counted_where_its_service_is(port: object, shown: str) -> None:
    ports = {} if port is None else {"port": port}
    found = read(rollout(), route({"name": "fraud-stable", **ports}, {"name": "fraud-canary", **ports}))
    assert series(found) == {"aaa": named(f"ml-fraud-stable{shown}"), "bbb": named(f"ml-fraud-canary{shown}")}


def test_at_rest_the_stable_service_counts() -> None:
    found = read(
        rollout(current="aaa"), route({"name": "fraud-stable", "port": 80}, {"name": "fraud-canary", "port": 80})
    )
    assert series(found)["aaa"] == named("ml-fraud-stable-80")


def test_a_name_is_made_as_traefik_makes_it() -> None:
    item = rollout()
    item["spec"]["strategy"]["canary"]["canaryService"] = "fraud--canary"
    found = read(item, route({"name": "fraud--canary", "namespace": "other", "port": 80}))
    assert series(found) == {"aaa": (), "bbb": named("other-fraud-canary-80")}


@pytest.mark.parametrize("routes", [(), (route({"name": "fraud-stable"}, name="another"),)])
def test_without_its_route_nothing_is_claimed(routes: tuple[Json, ...]) -> None:
    assert set(series(read(rollout(), *routes)).values()) == {()}
