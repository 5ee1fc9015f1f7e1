"""KServe and Knative Serving on the control plane: an InferenceService becomes Ready in both modes, a canary splits."""

from __future__ import annotations

import pytest
from tests.cluster.api import (
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    KNATIVE_SERVICES,
    PODS,
    ApiError,
    Json,
    holds,
)
from tests.cluster.control_plane import ControlPlane
from tests.cluster.knative import Knative
from tests.cluster.kserve import KServe
from tests.cluster.manifests import inference_service, knative_service


def traffic(item: Json) -> list[tuple[str, int]]:
    entries = item.get("status", {}).get("components", {}).get("predictor", {}).get("traffic", [])
    return [(entry["revisionName"], entry["percent"]) for entry in entries]


@pytest.mark.usefixtures("kserve")
def test_an_inference_service_becomes_ready_in_standard_mode(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.api
    control_plane.kubectl.apply(inference_service("fraud", "s3://models/fraud/1"), namespace=namespace)
    api.wait(INFERENCE_SERVICES, namespace, "fraud", lambda item: holds(item, "Ready"))
    deployment = api.get(DEPLOYMENTS, namespace, "fraud-predictor")
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["internal.serving.kserve.io/storage-initializer-sourceuri"] == "s3://models/fraud/1"
    (pod,) = api.items(PODS, namespace)
    assert [container["name"] for container in pod["spec"]["initContainers"]] == ["storage-initializer"]


def test_a_stopped_kserve_refuses_every_write(kserve: KServe, control_plane: ControlPlane, namespace: str) -> None:
    api, name = control_plane.api, "fraud"
    control_plane.kubectl.apply(inference_service(name), namespace=namespace)
    api.wait(INFERENCE_SERVICES, namespace, name, lambda item: holds(item, "Ready"))
    body = {"spec": {"predictor": {"maxReplicas": 2}}}
    with kserve.stopped(), pytest.raises(ApiError, match="failed calling webhook") as refused:
        api.patch(INFERENCE_SERVICES, namespace, name, body)
    assert refused.value.code == 500
    assert api.patch(INFERENCE_SERVICES, namespace, name, body)["spec"]["predictor"]["maxReplicas"] == 2


@pytest.mark.usefixtures("knative")
def test_a_knative_service_becomes_ready(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl.apply(knative_service("fraud"), namespace=namespace)
    seen = control_plane.api.wait(KNATIVE_SERVICES, namespace, "fraud", lambda item: holds(item, "Ready"))
    assert [entry["percent"] for entry in seen["status"]["traffic"]] == [100]


@pytest.mark.usefixtures("knative")
def test_knatives_webhook_checks_the_sum_of_weights(control_plane: ControlPlane, namespace: str) -> None:
    entry = {"latestRevision": True, "percent": 60}
    with pytest.raises(AssertionError, match="sum to 60, want 100"):
        control_plane.kubectl.apply(knative_service("fraud", traffic=[entry]), namespace=namespace)


def test_a_killed_knative_controller_is_followed_by_the_next(
    knative: Knative, control_plane: ControlPlane, namespace: str
) -> None:
    knative.controller.kill()
    knative.start()
    control_plane.kubectl.apply(knative_service("fraud"), namespace=namespace)
    control_plane.api.wait(KNATIVE_SERVICES, namespace, "fraud", lambda item: holds(item, "Ready"))


@pytest.mark.usefixtures("knative", "kserve")
def test_a_canary_splits_traffic_in_knative_mode(control_plane: ControlPlane, namespace: str) -> None:
    api, kubectl = control_plane.api, control_plane.kubectl
    kubectl.apply(inference_service("fraud", "s3://models/fraud/1", mode="Knative"), namespace=namespace)
    api.wait(INFERENCE_SERVICES, namespace, "fraud", lambda item: holds(item, "Ready"))
    second = inference_service("fraud", "s3://models/fraud/2", mode="Knative", canaryTrafficPercent=10)
    kubectl.apply(second, namespace=namespace)
    split = [("fraud-predictor-00002", 10), ("fraud-predictor-00001", 90)]
    api.wait(INFERENCE_SERVICES, namespace, "fraud", lambda item: traffic(item) == split)
