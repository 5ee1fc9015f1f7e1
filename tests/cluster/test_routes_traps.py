"""What routes do that a tool must know: on a real API server, with real pods behind, and a status that the test writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import definitions
from tests.cluster.api import CANARIES, DEPLOYMENTS, HTTP_ROUTES, ROLLOUTS, Json
from tests.cluster.argo_bench import healthy, seated
from tests.cluster.controllers import Controller
from tests.cluster.desk import Operator
from tests.cluster.fixtures import Cluster
from tests.cluster.flagger_bench import Bench as FlaggerBench
from tests.cluster.manifests import PODS_BEHAVE, canary, rollout, service
from tests.cluster.routes_bench import (
    Bench,
    Meshes,
    destination_rule,
    gateway,
    http_route,
    parent_status,
    virtual_service,
)

from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.kubernetes.api import KubeApi
from mlrelease_tui.connectors.kubernetes.discovery import discover
from mlrelease_tui.connectors.kubernetes.kubeconfig import load
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.routes import HttpRoutes
from mlrelease_tui.domain.intents import HoldRollout, RollBack, SetWeight
from mlrelease_tui.domain.rollout import Endpoint, Phase, Stamp, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict, Refused

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.usefixtures("gateway_api", "istio")]

BOTH = {"fraud-v1": 90, "fraud-v2": 10}


@pytest.fixture(scope="module")
def routed(cluster: Cluster) -> Iterator[str]:
    """A namespace with the Deployments of the versions 1 and 2; nobody writes the status of routes there."""
    with cluster.namespace() as namespace:
        bench = Bench(cluster, namespace)
        bench.behind("fraud")
        bench.apply(destination_rule("fraud", "v1", "v2"))
        yield namespace


@pytest.fixture
def bench(cluster: Cluster, routed: str) -> Bench:
    return Bench(cluster, routed)


@pytest.fixture
async def operator(cluster: Cluster, routed: str) -> AsyncIterator[Operator]:
    found = Operator(cluster.kubeconfig, routed)
    yield found
    await found.close()


def say(bench: Bench, name: str, **said: Any) -> None:
    """The status that a gateway controller would write of the route as it is now."""
    generation = said.pop("generation", None) or bench.get(name)["metadata"]["generation"]
    status = {"status": {"parents": [parent_status(generation, **said)]}}
    bench.api.patch(HTTP_ROUTES, bench.namespace, name, status, sub="status", manager="gateway-controller")


async def test_a_route_that_no_controller_looks_at_is_a_state_of_its_own_and_can_still_be_stopped(
    bench: Bench, operator: Operator
) -> None:
    bench.apply(http_route("unseen", BOTH))
    assert "status" not in bench.get("unseen")
    seen = await operator.read("unseen")
    assert (seen.rollout.phase, {one.weight_bp for one in seen.variants}) == (Phase.UNKNOWN, {None})
    assert "no gateway controller has looked at it" in seen.rollout.message
    with pytest.raises(Refused, match="is not in force"):
        await operator.plan("unseen", lambda driver, endpoint: driver.complete(endpoint))
    (write,) = await operator.plan("unseen", lambda driver, endpoint: driver.abort(endpoint))
    await operator.send(write, Verb.ABORT)
    assert bench.weights("unseen") == [100, 0]


async def test_a_status_of_the_generation_before_proves_nothing_until_the_test_writes_the_newest(
    bench: Bench, operator: Operator
) -> None:
    bench.apply(http_route("stale", BOTH))
    say(bench, "stale")
    assert {one.weight_bp for one in (await operator.read("stale")).variants} == {9000, 1000}
    (write,) = await operator.plan("stale", lambda driver, endpoint: driver.set_weight(endpoint, 2500))
    await operator.send(write, Verb.WEIGHT)
    on_its_way = await operator.read("stale")
    assert (on_its_way.rollout.phase, on_its_way.variants[0].weight_bp) == (Phase.PROGRESSING, None)
    say(bench, "stale")
    after = await operator.seen(write, "stale")
    assert [one.weight_bp for one in after.variants] == [7500, 2500]


async def test_every_parent_has_to_accept_what_the_test_writes(bench: Bench, operator: Operator) -> None:
    route = http_route("twice", BOTH)
    route["spec"]["parentRefs"].append({"name": "private"})
    bench.apply(route)
    generation = bench.get("twice")["metadata"]["generation"]
    both = [
        parent_status(generation),
        parent_status(generation, gateway="private", resolved=False, why="no such Service"),
    ]
    bench.api.patch(HTTP_ROUTES, bench.namespace, "twice", {"status": {"parents": both[:1]}}, sub="status")
    assert (await operator.read("twice")).variants[0].weight_bp is None
    bench.api.patch(HTTP_ROUTES, bench.namespace, "twice", {"status": {"parents": both}}, sub="status")
    refused = await operator.read("twice")
    assert (refused.rollout.phase, refused.variants[0].weight_bp) == (Phase.DEGRADED, 9000)
    assert "private: ResolvedRefs is False, Refused: no such Service" in refused.rollout.message


async def test_an_absent_weight_is_made_one_by_the_server_and_moved_like_any_other(
    bench: Bench, operator: Operator
) -> None:
    bench.apply(http_route("unsaid", {"fraud-v1": None, "fraud-v2": None}))
    say(bench, "unsaid")
    assert bench.weights("unsaid") == [1, 1]
    assert {one.weight_bp for one in (await operator.read("unsaid")).variants} == {5000}
    (write,) = await operator.plan("unsaid", lambda driver, endpoint: driver.abort(endpoint))
    await operator.send(write, Verb.ABORT)
    assert bench.weights("unsaid") == [2, 0]


async def test_a_weight_that_moved_voids_the_plan_and_its_writer_is_named_not_who_wrote_the_status(
    bench: Bench, operator: Operator
) -> None:
    bench.apply(http_route("moved", BOTH))
    say(bench, "moved")
    (write,) = await operator.plan("moved", lambda driver, endpoint: driver.set_weight(endpoint, 5000))
    say(bench, "moved", why="a tick that changes nothing")
    bench.set_weights("moved", 80, 20)
    say(bench, "moved")
    with pytest.raises(Conflict) as lost:
        await operator.connector.perform(write, _stamp())
    assert "spec.rules.0.backendRefs.0.weight is 80, not 90" in lost.value.message
    # Two of one second are both named.
    last = lost.value.message.rpartition("(last: edit by ")[2]
    assert "kubectl-patch" in last
    assert "gateway-controller" not in last
    assert bench.weights("moved") == [80, 20]


async def test_a_status_tick_voids_no_plan(bench: Bench, operator: Operator) -> None:
    bench.apply(http_route("ticking", BOTH))
    say(bench, "ticking")
    (write,) = await operator.plan("ticking", lambda driver, endpoint: driver.set_weight(endpoint, 5000))
    say(bench, "ticking", why="another word for the same")
    await operator.send(write, Verb.WEIGHT)
    assert bench.weights("ticking") == [50, 50]


async def test_of_two_operators_one_wins_and_the_other_hears_of_the_first(bench: Bench, operator: Operator) -> None:
    bench.apply(http_route("raced", BOTH))
    say(bench, "raced")
    (mine,) = await operator.plan("raced", lambda driver, endpoint: driver.complete(endpoint))
    (theirs,) = await operator.plan("raced", lambda driver, endpoint: driver.abort(endpoint))
    await operator.send(mine, Verb.PROMOTE)
    with pytest.raises(Conflict, match=r"weight is 0, not 90.*\(last: promote by anna\)"):
        await operator.connector.perform(theirs, _stamp())
    assert bench.weights("raced") == [0, 100]


async def test_backends_that_changed_places_void_the_plan(bench: Bench, operator: Operator) -> None:
    bench.apply(http_route("swapped", {"fraud-v1": 50, "fraud-v2": 50}))
    say(bench, "swapped")
    (write,) = await operator.plan("swapped", lambda driver, endpoint: driver.set_weight(endpoint, 1000))
    bench.apply(http_route("swapped", {"fraud-v2": 50, "fraud-v1": 50}))
    with pytest.raises(Conflict, match='name is "fraud-v2", not "fraud-v1"'):
        await operator.connector.perform(write, _stamp())


async def test_a_weight_of_a_virtual_service_leaves_the_rest_of_its_http_list_alone(
    cluster: Cluster, routed: str, operator: Operator
) -> None:
    meshes = Meshes(cluster, routed)
    rich = virtual_service("rich", {"v1": 90, "v2": 10}, host="fraud", timeout="5s", retries={"attempts": 2})
    header = {
        "match": [{"headers": {"x-route": {"exact": "v2"}}}],
        "route": [{"destination": {"host": "fraud", "subset": "v2"}}],
    }
    rich["spec"]["http"].insert(0, header)
    meshes.apply(rich)
    before = meshes.get("rich")["spec"]
    seen = await operator.read("rich")
    assert "a rule sends all that it matches to fraud:v2, whatever the weights say" in seen.problems
    await operator.do("rich", Verb.WEIGHT, lambda driver, endpoint: driver.set_weight(endpoint, 3000))
    after = meshes.get("rich")["spec"]
    assert [one["weight"] for one in after["http"][1]["route"]] == [70, 30]
    for one, weight in zip(after["http"][1]["route"], (90, 10), strict=True):
        one["weight"] = weight
    assert after == before


async def test_a_virtual_service_says_nothing_of_its_proxies_and_that_is_said(
    cluster: Cluster, routed: str, operator: Operator
) -> None:
    meshes = Meshes(cluster, routed)
    meshes.apply(virtual_service("silent", {"v1": 90, "v2": 10}, host="fraud"))
    seen = await operator.read("silent")
    assert "look at the traffic" in seen.rollout.message
    assert "Istio does not say when it is in force" in seen.support(Verb.WEIGHT).native


async def test_pods_of_a_canary_that_crash_are_seen_through_the_route_and_it_is_rolled_back(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = Bench(cluster, namespace)
    bench.behind("fraud")
    bench.apply(http_route("fraud", BOTH))
    crash = {
        "spec": {
            "strategy": {"type": "Recreate", "rollingUpdate": None},
            "template": {"metadata": {"labels": {PODS_BEHAVE: "crash-loop"}}},
        }
    }
    bench.api.patch(DEPLOYMENTS, namespace, "fraud-v2", crash, how="strategic")
    bench.api.wait(DEPLOYMENTS, namespace, "fraud-v2", lambda item: not item["status"].get("availableReplicas"))
    with gateway(bench.api, namespace):
        bench.wait_taken("fraud")
        async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
            refusal = await seat.refused(SetWeight(seat.ref("fraud"), 5000))
            assert "no pod of fraud-v2 is ready" in refusal.reason
            seen = await seat.look("fraud")
            assert (seen.rollout.phase, seen.rollout.from_version) == (Phase.DEGRADED, "1")
            assert seen.canary is not None
            assert "CrashLoopBackOff" in seen.canary.message
            await seat.do(RollBack(seat.ref("fraud")))
            assert (await seat.look("fraud")).rollout.phase is not Phase.DEGRADED
    assert bench.weights("fraud") == [100, 0]


async def test_a_service_that_reaches_nobody_gets_no_requests(
    bench: Bench, operator: Operator, cluster: Cluster
) -> None:
    elsewhere = service("fraud-nowhere", "nobody")
    bench.apply(elsewhere, http_route("nowhere", {"fraud-v1": 100, "fraud-nowhere": 0}))
    say(bench, "nowhere")
    bench.wait_reached("fraud-v1")
    with pytest.raises(Refused, match="no pod of fraud-nowhere is ready"):
        await operator.plan("nowhere", lambda driver, endpoint: driver.set_weight(endpoint, 1000))
    bench.apply(http_route("missing", {"fraud-v1": 100, "fraud-v9": 0}))
    say(bench, "missing")
    with pytest.raises(Refused, match="there is no Service fraud-v9"):
        await operator.plan("missing", lambda driver, endpoint: driver.set_weight(endpoint, 1000))


async def test_the_route_is_the_endpoint_and_the_deployments_behind_it_are_none(
    cluster: Cluster, namespace: str
) -> None:
    bench = Bench(cluster, namespace)
    bench.behind("fraud")
    bench.apply(http_route("fraud", BOTH))
    owner = {"argocd.argoproj.io/tracking-id": "shop:gateway.networking.k8s.io/HTTPRoute:ns/fraud"}
    bench.api.patch(HTTP_ROUTES, namespace, "fraud", {"metadata": {"annotations": owner}})
    found = Operator(cluster.kubeconfig, namespace, options={"all": True})
    try:
        (endpoint,) = await found.connector.endpoints()
        assert (str(endpoint.ref.name), str(endpoint.native.kind)) == ("fraud", "HTTPRoute")
        assert str(endpoint.owner) == "Argo CD (shop)"
    finally:
        await found.close()


async def test_a_mirror_with_both_percent_and_fraction_is_refused_by_the_server(bench: Bench) -> None:
    mirror = {"backendRef": {"name": "fraud", "port": 80}, "percent": 5, "fraction": {"numerator": 1}}
    with pytest.raises(AssertionError, match="Only one of percent or fraction may be specified"):
        bench.apply(http_route("mirrored", BOTH, filters=[{"type": "RequestMirror", "requestMirror": mirror}]))


def argo_of_istio(name: str) -> list[Json]:
    """A Rollout that moves a VirtualService between two Services."""
    routing = {"istio": {"virtualService": {"name": name, "routes": ["primary"]}}}
    fields = {"stableService": f"{name}-stable", "canaryService": f"{name}-canary", "trafficRouting": routing}
    route = [
        {"destination": {"host": f"{name}-{role}"}, "weight": weight}
        for role, weight in (("stable", 100), ("canary", 0))
    ]
    mesh = virtual_service(name, {}, host=name)
    mesh["spec"]["http"] = [{"name": "primary", "route": route}]
    fronts = [service(f"{name}-{role}", name) for role in ("stable", "canary")]
    return [*fronts, mesh, rollout(name, replicas=1, canary=fields)]


async def test_a_route_that_argo_drives_is_put_back_by_it_and_refuses_us(
    cluster: Cluster, namespace: str, routed: str, argo: Controller
) -> None:
    assert routed
    meshes = Meshes(cluster, namespace)
    # Its informer of VirtualServices begins where the definition is there when it starts.
    argo.stop()
    argo.start()
    meshes.apply(*argo_of_istio("fraud"))
    meshes.api.wait(ROLLOUTS, namespace, "fraud", healthy, within_s=90)
    meshes.set_weights("fraud", 50, 50)
    meshes.api.wait(
        meshes.kind,
        namespace,
        "fraud",
        lambda item: [one["weight"] for one in item["spec"]["http"][0]["route"]] == [100, 0],
        within_s=90,
    )
    found = Operator(cluster.kubeconfig, namespace, options={"all": True})
    try:
        kinds = [str(one.native.kind) for one in await found.connector.endpoints()]
        assert kinds == ["Rollout"]
    finally:
        await found.close()


@pytest.mark.usefixtures("flagger")
async def test_the_route_of_a_canary_that_flagger_runs_is_the_canarys_and_takes_no_write_of_ours(
    cluster: Cluster, namespace: str
) -> None:
    canaries = FlaggerBench(cluster.api, cluster.kubectl, namespace)
    canaries.at_rest("fraud")
    route = canaries.route("fraud")
    assert route is not None
    found = Operator(cluster.kubeconfig, namespace, options={"all": True})
    try:
        assert [str(one.native.kind) for one in await found.connector.endpoints()] == ["Canary"]
        # Whoever finds the route by itself all the same (a Canary may be out of sight) can do nothing to it.
        seen = await _by_itself(cluster, namespace, "fraud")
    finally:
        await found.close()
    assert [one.verb for one in seen.verbs if one.available] == []
    assert "Flagger's Canary fraud drives fraud" in seen.support(Verb.WEIGHT).reason


async def _by_itself(cluster: Cluster, namespace: str, name: str) -> Endpoint:
    """The route as its own module reads it."""
    api = KubeApi(load((cluster.kubeconfig,)).context(), Settings("lab", "kubernetes"))
    try:
        served, workload = await discover(api), HttpRoutes()
        world = await workload.look(api, served, (namespace, name))
        (sighting,) = workload.sightings(world, served)
        return workload.read(sighting, world, served, Frame("lab", "", "", "", datetime.now(UTC))).endpoint
    finally:
        await api.close()


async def test_a_route_that_flagger_made_refuses_every_write_even_a_note(
    cluster: Cluster, routed: str, bench: Bench, tmp_path: Path
) -> None:
    definitions.flagger(cluster.kubectl)
    # Suspended, so that a Flagger that runs lets it be; and there, since the garbage collector takes what a missing owner owns.
    owner = bench.api.create(CANARIES, routed, canary("owning", suspend=True))
    kept = {key: owner[key] for key in ("apiVersion", "kind")} | {
        key: owner["metadata"][key] for key in ("name", "uid")
    }
    route = http_route("flaggers", BOTH)
    route["metadata"]["ownerReferences"] = [{**kept, "controller": True}]
    bench.apply(route)
    before = bench.get("flaggers")["metadata"]["resourceVersion"]
    async with seated(cluster.kubeconfig, routed, tmp_path) as seat:
        for intent in (
            SetWeight(seat.ref("flaggers"), 5000),
            HoldRollout(seat.ref("flaggers")),
            RollBack(seat.ref("flaggers")),
        ):
            refusal = await seat.refused(intent)
            assert "Flagger's Canary owning drives flaggers" in refusal.reason
    assert bench.get("flaggers")["metadata"]["resourceVersion"] == before


def _stamp() -> Stamp:
    return Stamp("i-x", "weight", SafeText("ben"), SafeText("why"), datetime.now(UTC))
