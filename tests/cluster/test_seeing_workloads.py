"""The pods of a variant are found whatever the workload calls it: a revision, a ReplicaSet, half of a pair, a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.cluster.api import DEPLOYMENTS, PODS, Json
from tests.cluster.desk import Operator
from tests.cluster.fixtures import Cluster
from tests.cluster.kserve_bench import KnativeMode, Services, StandardMode
from tests.cluster.manifests import deployment, service
from tests.cluster.routes_bench import Bench, destination_rule, http_route, virtual_service

from mlrelease_tui.domain.details import Details

pytestmark = [pytest.mark.kubernetes, pytest.mark.real]

REVISION = "serving.knative.dev/revision"


def revision_of(pod: Json) -> str:
    return str(pod["metadata"]["labels"][REVISION])


def owner_of(pod: Json) -> str:
    return str(pod["metadata"]["ownerReferences"][0]["name"])


def app_of(pod: Json) -> str:
    return str(pod["metadata"]["labels"]["app"])


def pair(cluster: Cluster, namespace: str) -> None:
    for role, version, count in (("stable", "1", 2), ("canary", "2", 1)):
        item = deployment(
            f"fraud-{role}",
            f"registry.example/fraud:{version}",
            replicas=count,
            labels={"mlrelease.dev/role": role},
            pod_labels={"part-of": "fraud"},
            annotations={"mlrelease.dev/model": "registry/fraud"},
        )
        cluster.kubectl.apply(item, namespace=namespace)
    front = service("fraud")
    front["spec"]["selector"] = {"part-of": "fraud"}
    cluster.kubectl.apply(front, namespace=namespace)
    for role, count in (("stable", 2), ("canary", 1)):
        cluster.api.wait(
            DEPLOYMENTS,
            namespace,
            f"fraud-{role}",
            lambda item, count=count: item.get("status", {}).get("availableReplicas") == count,  # type: ignore[misc]
            within_s=90,
        )


def in_canary(bench: type[KnativeMode | Services]) -> Callable[[Cluster, str], None]:
    return lambda cluster, namespace: bench(cluster, namespace).in_canary("fraud")


def at_rest(cluster: Cluster, namespace: str) -> None:
    StandardMode(cluster, namespace).at_rest("fraud")


@pytest.mark.usefixtures("knative", "kserve")
@pytest.mark.parametrize(
    ("begin", "variant_of", "variants"),
    [
        pytest.param(in_canary(Services), revision_of, 2, id="Knative Service"),
        pytest.param(in_canary(KnativeMode), revision_of, 2, id="InferenceService, Knative"),
        pytest.param(at_rest, owner_of, 1, id="InferenceService, Standard"),
        pytest.param(pair, app_of, 2, id="pair"),
    ],
)
async def test_the_pods_of_each_variant_are_those_that_kubectl_shows(
    cluster: Cluster,
    namespace: str,
    begin: Callable[[Cluster, str], None],
    variant_of: Callable[[Json], str],
    variants: int,
) -> None:
    begin(cluster, namespace)
    operator = Operator(cluster.kubeconfig, namespace)
    try:
        endpoint = await operator.until("fraud", lambda found: len(found.variants) == variants)
        found: Details = await operator.connector.details(endpoint)
    finally:
        await operator.close()
    pods = cluster.api.items(PODS, namespace)
    named = {str(variant.name) for variant in endpoint.variants}
    expected = {(variant_of(pod), str(pod["metadata"]["name"])) for pod in pods if variant_of(pod) in named}
    assert {variant for variant, _ in expected} == named
    assert {(one.variant, str(one.name)) for one in found.replicas} == expected
    assert any(one.about.startswith("Pod ") for one in found.happenings)


def version_of(pod: Json) -> str:
    return str(pod["metadata"]["labels"]["version"])


@pytest.mark.usefixtures("gateway_api", "istio")
@pytest.mark.parametrize("kind", ["HTTPRoute", "VirtualService"])
async def test_behind_a_route_the_pods_are_those_of_its_backend_or_subset(
    cluster: Cluster, namespace: str, kind: str
) -> None:
    bench = Bench(cluster, namespace)
    bench.behind("fraud")
    if kind == "HTTPRoute":
        bench.apply(http_route("front", {"fraud-v1": 90, "fraud-v2": 10}))
    else:
        bench.apply(destination_rule("fraud", "v1", "v2"))
        bench.apply(virtual_service("front", {"v1": 90, "v2": 10}, host="fraud"))
    operator = Operator(cluster.kubeconfig, namespace)
    try:
        endpoint = await operator.until("front", lambda found: len(found.variants) == 2)
        found = await operator.connector.details(endpoint)
    finally:
        await operator.close()
    pods = {str(pod["metadata"]["name"]): version_of(pod) for pod in cluster.api.items(PODS, namespace)}
    seen = {(str(one.name), one.variant) for one in found.replicas}
    assert len(seen) == len(pods) > 1
    for name, variant in seen:
        assert variant.endswith(pods[name]), f"{name} is of {pods[name]}, not of {variant}"
