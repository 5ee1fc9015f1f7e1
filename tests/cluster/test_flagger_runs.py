"""Flagger on the control plane: a canary walks its route, is judged by Prometheus, and waits at gates."""

from __future__ import annotations

import pytest
from tests.cluster.api import DEPLOYMENTS, HTTP_ROUTES, Api, Json
from tests.cluster.control_plane import ControlPlane
from tests.cluster.controllers import flagger_until
from tests.cluster.listeners import Gate, Metrics
from tests.cluster.manifests import canary, deployment, gateway, metric_template

pytestmark = pytest.mark.usefixtures("flagger")


def phase(item: Json) -> str:
    return str(item.get("status", {}).get("phase", ""))


def weights(route: Json) -> dict[str, int]:
    backends = route["spec"]["rules"][0]["backendRefs"]
    return {backend["name"].rpartition("-")[2]: int(backend["weight"]) for backend in backends}


def initialized(plane: ControlPlane, namespace: str, definition: Json) -> None:
    plane.kubectl.apply(deployment("fraud", replicas=2), gateway(), definition, namespace=namespace)
    until(plane.api, namespace, "Initialized")


def until(api: Api, namespace: str, wanted: str) -> Json:
    return flagger_until(api, namespace, "fraud", lambda item: phase(item) == wanted)


def test_a_canary_that_fails_its_check_is_rolled_back(
    control_plane: ControlPlane, namespace: str, metrics: Metrics
) -> None:
    api = control_plane.api
    metrics.set("canary_ok", 1, target=f"fraud-{namespace}")
    query = f'canary_ok{{target="{{{{ target }}}}-{namespace}"}}'
    control_plane.kubectl.apply(metric_template("ok", query, metrics.url), namespace=namespace)
    check = {"name": "ok", "templateRef": {"name": "ok"}, "thresholdRange": {"min": 1}, "interval": "10s"}
    initialized(control_plane, namespace, canary("fraud", analysis={"metrics": [check], "threshold": 2}))
    metrics.wait_value(f'canary_ok{{target="fraud-{namespace}"}}', 1)
    assert weights(api.get(HTTP_ROUTES, namespace, "fraud")) == {"primary": 100, "canary": 0}

    control_plane.kubectl.apply(deployment("fraud", "registry.example/fraud:2", replicas=2), namespace=namespace)
    until(api, namespace, "Progressing")
    api.wait(HTTP_ROUTES, namespace, "fraud", lambda item: weights(item)["canary"] >= 20)
    metrics.set("canary_ok", 0, target=f"fraud-{namespace}")
    metrics.wait_value(f'canary_ok{{target="fraud-{namespace}"}}', 0)
    until(api, namespace, "Failed")
    api.wait(HTTP_ROUTES, namespace, "fraud", lambda item: weights(item) == {"primary": 100, "canary": 0})
    primary = api.get(DEPLOYMENTS, namespace, "fraud-primary")
    assert primary["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/fraud:1"


def test_a_canary_waits_at_its_gate_and_is_promoted(control_plane: ControlPlane, namespace: str, gate: Gate) -> None:
    api = control_plane.api
    gate.set("/promote", code=403)
    hook = {"name": "gate", "type": "confirm-promotion", "url": f"{gate.url}/promote"}
    definition = canary("fraud", provider="kubernetes", analysis={"iterations": 1, "webhooks": [hook]})
    initialized(control_plane, namespace, definition)
    control_plane.kubectl.apply(deployment("fraud", "registry.example/fraud:2", replicas=2), namespace=namespace)
    until(api, namespace, "WaitingPromotion")
    assert gate.wait_call("/promote")[0]["name"] == "fraud"
    gate.set("/promote", code=200)
    until(api, namespace, "Succeeded")
    primary = api.get(DEPLOYMENTS, namespace, "fraud-primary")
    assert primary["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/fraud:2"
