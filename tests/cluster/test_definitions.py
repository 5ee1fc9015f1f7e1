"""Custom resource definitions without their controllers, and somebody's cluster instead of our own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cluster import definitions
from tests.cluster.api import DEPLOYMENTS, HTTP_ROUTES, VIRTUAL_SERVICES, Kind, Kubectl
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fixtures import foreign
from tests.cluster.manifests import deployment

SELDON = Kind("machinelearning.seldon.io/v1", "seldondeployments")


@pytest.mark.usefixtures("gateway_api")
def test_gateway_api_refuses_a_weight_out_of_bounds(control_plane: ControlPlane, namespace: str) -> None:
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "fraud"},
        "spec": {"rules": [{"backendRefs": [{"name": "stable", "port": 80, "weight": 100}]}]},
    }
    control_plane.kubectl.apply(route, namespace=namespace)
    assert control_plane.api.get(HTTP_ROUTES, namespace, "fraud")["spec"]["rules"][0]["backendRefs"][0]["weight"] == 100
    route["spec"] = {"rules": [{"backendRefs": [{"name": "stable", "port": 80, "weight": 1_000_001}]}]}
    with pytest.raises(AssertionError, match="less than or equal to 1000000"):
        control_plane.kubectl.apply(route, namespace=namespace)


@pytest.mark.usefixtures("istio")
def test_istio_serves_virtual_services(control_plane: ControlPlane, namespace: str) -> None:
    routes = [{"destination": {"host": name}, "weight": weight} for name, weight in (("stable", 90), ("canary", 10))]
    service = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "fraud"},
        "spec": {"hosts": ["fraud"], "http": [{"name": "primary", "route": routes}]},
    }
    control_plane.kubectl.apply(service, namespace=namespace)
    seen = control_plane.api.get(VIRTUAL_SERVICES, namespace, "fraud")
    assert [entry["weight"] for entry in seen["spec"]["http"][0]["route"]] == [90, 10]


@pytest.mark.usefixtures("seldon")
def test_the_stand_in_for_seldon_keeps_what_it_is_given(control_plane: ControlPlane, namespace: str) -> None:
    predictors = [{"name": "main", "traffic": 90, "graph": {"name": "classifier"}}]
    deployed = {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": "fraud"},
        "spec": {"predictors": predictors},
    }
    control_plane.kubectl.apply(deployed, namespace=namespace)
    control_plane.api.patch(SELDON, namespace, "fraud", {"status": {"state": "Available"}}, sub="status")
    seen = control_plane.api.get(SELDON, namespace, "fraud")
    assert (seen["spec"]["predictors"], seen["status"]) == (predictors, {"state": "Available"})


def test_kserves_canary_list_is_kept_on_a_control_plane_of_its_own(control_plane: ControlPlane, tmp_path: Path) -> None:
    assert control_plane.programs
    second = {"name": "v2", "modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/2"}
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "fraud", "namespace": "default"},
        "spec": {
            "predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/1"}},
            "canary": [{"trafficPercent": 10, "predictor": {"model": second}}],
        },
    }
    with ControlPlane(tmp_path / "other", nodes=0) as other:
        definitions.kserve_canary(other.kubectl)
        other.kubectl.apply(service)
        kept = other.kubectl("get", "isvc", "fraud", "-o", "jsonpath={.spec.canary[0].predictor.model.storageUri}")
    assert kept == "s3://models/2"


def test_somebodys_cluster_is_used_in_a_namespace_of_its_own(control_plane: ControlPlane, tmp_path: Path) -> None:
    program = str(control_plane.kubectl.program)
    with foreign(control_plane.kubeconfig, tmp_path, program) as cluster, cluster.namespace() as namespace:
        assert cluster.own is None
        cluster.kubectl.apply(deployment("fraud", replicas=2), namespace=namespace)
        cluster.api.wait(DEPLOYMENTS, namespace, "fraud", lambda item: item["status"].get("availableReplicas") == 2)
        assert isinstance(cluster.kubectl, Kubectl)
    gone = control_plane.api.find(Kind("v1", "namespaces", namespaced=False), "", namespace)
    assert gone is None or "deletionTimestamp" in gone["metadata"]
