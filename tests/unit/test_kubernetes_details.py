"""Events and pods in our words, from objects as the API's documentation shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mlrelease_tui.connectors.kubernetes.details import REPLICAS, asks_of, replicas_of
from mlrelease_tui.connectors.kubernetes.events import happening_of
from mlrelease_tui.connectors.kubernetes.pods_of import predictor_pods
from mlrelease_tui.domain.rollout import Role, Variant
from mlrelease_tui.domain.text import SafeText

VARIANT = Variant("fraud-7d9", Role.CANARY, "2")


def pod(name: str, *, ready: bool = True, **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "metadata": {"name": name, "creationTimestamp": "2026-03-01T10:00:00Z"},
        "spec": {"nodeName": "n1", "containers": [{"name": "model", "image": "reg/fraud:2"}]},
        "status": {"phase": "Running", "conditions": conditions, **status},
    }


def test_what_ails_comes_first_with_how_it_ended_before() -> None:
    killed = {
        "name": "model",
        "restartCount": 3,
        "imageID": "reg/fraud@sha256:0123456789abcdef",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
    }
    ill, fine = replicas_of(VARIANT, [pod("a"), pod("b", ready=False, containerStatuses=[killed])])
    assert (str(ill.name), ill.restarts, ill.why, ill.ready) == ("b", 3, "OOMKilled 137", False)
    assert ill.state == "CrashLoopBackOff (3 restarts, last OOMKilled 137)"
    assert ill.image == "sha256:0123456789ab"
    assert (fine.state, fine.why, fine.image) == ("Ready", "", "reg/fraud:2")


def test_a_pod_that_is_going_is_no_ailment_and_many_are_bounded() -> None:
    going = pod("a", ready=False)
    going["metadata"]["deletionTimestamp"] = "2026-03-01T10:00:00Z"
    (found,) = replicas_of(VARIANT, [going])
    assert found.state == "Terminating"
    assert len(list(replicas_of(VARIANT, [pod(f"p{number}") for number in range(REPLICAS + 5)]))) == REPLICAS


@pytest.mark.parametrize(
    ("resources", "told"),
    [
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "2", "nvidia.com/gpu": 1}}, "cpu 1, nvidia.com/gpu 1"),
        ({"limits": {"memory": "1Gi"}}, ""),
        ({}, ""),
    ],
)
def test_of_devices_a_limit_is_what_is_asked_for(resources: dict[str, Any], told: str) -> None:
    item = pod("a")
    item["spec"]["containers"][0]["resources"] = resources
    assert asks_of(item) == told


def event(**more: Any) -> dict[str, Any]:
    return {
        "metadata": {"creationTimestamp": "2026-03-01T10:00:00Z"},
        "type": "Warning",
        "reason": "BackOff",
        "message": "Back-off \x1b[2Jrestarting\n",
        "involvedObject": {"kind": "Pod", "name": "fraud-7d9-x"},
        "source": {"component": "kubelet"},
        **more,
    }


@pytest.mark.parametrize(
    ("more", "count", "second"),
    [
        ({"count": 12, "lastTimestamp": "2026-03-01T10:00:05Z"}, 12, 5),
        ({"eventTime": "2026-03-01T10:00:03.000001Z", "lastTimestamp": None}, 1, 3),
        (
            {"series": {"count": 4, "lastObservedTime": "2026-03-01T10:00:09.1Z"}, "eventTime": "2026-03-01T10:00:01Z"},
            4,
            9,
        ),
        ({}, 1, 0),
    ],
    ids=["counted", "of newer reporters", "series", "bare"],
)
def test_an_event_has_its_last_time_and_its_count(more: dict[str, Any], count: int, second: int) -> None:
    found = happening_of(event(**more))
    assert found.count == count
    assert found.at is not None
    assert found.at.replace(microsecond=0) == datetime(2026, 3, 1, 10, 0, second, tzinfo=UTC)
    assert (str(found.about), str(found.by), found.warning) == ("Pod fraud-7d9-x", "kubelet", True)
    assert isinstance(found.text, SafeText)
    assert "\x1b" not in found.text


def of(deployment: str, **marked: str) -> dict[str, Any]:
    """A pod as Seldon labels it: by its Deployment; with the orchestrator, by its predictor too."""
    return {"metadata": {"name": f"{deployment}-7d9-x", "labels": {"app": deployment, **marked}}}


PREDICTORS = ["main", "main-0", "canary"]
SELDON_PODS = {
    "fraud-main-0-classifier": "main",
    "fraud-main-1-transformer": "main",
    "fraud-main-svc-orch": "main",
    "fraud-main-0-0-classifier": "main-0",
    "fraud-canary-0-classifier": "canary",
    "seldon-0123456789abcdef": "",
    "fraud-canary-classifier": "",
    "fraud-explainer": "",
}


@pytest.mark.parametrize("deployment", SELDON_PODS)
def test_pods_of_a_seldon_deployment_are_those_of_their_predictor(deployment: str) -> None:
    found = [one for one in PREDICTORS if predictor_pods([of(deployment)], "fraud", one, PREDICTORS)]
    assert found == ([SELDON_PODS[deployment]] if SELDON_PODS[deployment] else [])


def test_a_pod_with_the_orchestrator_says_its_predictor_whatever_its_deployment_is_called() -> None:
    pod = of("seldon-0123456789abcdef", **{"seldon-app": "fraud-canary"})
    assert [one for one in PREDICTORS if predictor_pods([pod], "fraud", one, PREDICTORS)] == ["canary"]


def test_all_pods_are_the_only_predictors() -> None:
    both = [of("seldon-0123456789abcdef"), of("fraud-main-0-classifier")]
    assert predictor_pods(both, "fraud", "main", ["main"]) == both
