"""Each verb on an HTTPRoute and on a VirtualService ends where kubectl by hand ends; the route's status is the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from tests.cluster.api import DEPLOYMENTS
from tests.cluster.argo_bench import seated
from tests.cluster.fixtures import Cluster
from tests.cluster.routes_bench import IMAGE, Bench, Meshes, destination_rule, gateway, http_route, virtual_service
from tests.cluster.verb_table import Row, VerbTable

from mlrelease_tui.domain.intents import (
    AbortRollout,
    ContinueRollout,
    HoldRollout,
    Intent,
    PromoteVersion,
    RollBack,
    SetWeight,
)
from mlrelease_tui.domain.refs import EndpointRef

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.usefixtures("gateway_api", "istio")]

HTTP: Final = "HTTPRoute"
MESH: Final = "Istio VirtualService"


@dataclass(frozen=True, slots=True)
class Case:
    """One verb from given weights: our wish, the weights that kubectl sets (None: it has nothing for it), and where both end."""

    label: str
    before: tuple[int, int]
    wish: Callable[[EndpointRef], Intent]
    by_hand: tuple[int, int] | None
    end: str
    writes: str = "1 JSON Patch: the weights"
    held: bool = False
    deploys: bool = False


CASES: Final = (
    Case("promote VERSION", (100, 0), lambda ref: PromoteVersion(ref, "2"), (90, 10), "1 90% + 2 10%",
         "1 JSON Patch: the weights, annotations"),
    Case("promote VERSION, which runs nowhere yet", (100, 0), lambda ref: PromoteVersion(ref, "3"), (90, 10), "1 90% + 3 10%",
         "2 JSON Patches: the idle Deployment's image; once it is ready, the weights and annotations", deploys=True),
    Case("weight 50%", (90, 10), lambda ref: SetWeight(ref, 5000), (50, 50), "1 50% + 2 50%"),
    Case("promote --full", (90, 10), lambda ref: PromoteVersion(ref, full=True), (0, 100), "2 100%",
         "1 JSON Patch: the weights, annotations"),
    Case("hold", (90, 10), HoldRollout, None, "1 90% + 2 10%", "1 JSON Patch: an annotation; nothing but this tool keeps to it"),
    Case("continue", (90, 10), ContinueRollout, None, "1 90% + 2 10%", "1 JSON Patch: the annotation removed", held=True),
    Case("abort", (90, 10), AbortRollout, (100, 0), "1 100%"),
    Case("rollback, in canary", (30, 70), RollBack, (100, 0), "1 100%"),
    Case("rollback, promoted", (0, 100), RollBack, (100, 0), "1 100%"),
)  # fmt: skip


@pytest.fixture(scope="module")
def routed(cluster: Cluster) -> Iterator[str]:
    """A namespace with the Deployments of the versions 1 and 2, where routes get their status from the test."""
    with cluster.namespace() as namespace, gateway(cluster.api, namespace):
        bench = Bench(cluster, namespace)
        bench.behind("fraud", "ours", "native")
        for host in ("fraud", "ours", "native"):
            bench.apply(destination_rule(host, "v1", "v2"))
        yield namespace


def made(bench: Bench, kind: str, name: str, weights: tuple[int, int], host: str) -> None:
    if kind == HTTP:
        bench.apply(http_route(name, dict(zip((f"{host}-v1", f"{host}-v2"), weights, strict=True))))
    else:
        bench.apply(virtual_service(name, dict(zip(("v1", "v2"), weights, strict=True)), host=host))


def told(bench: Bench, name: str, host: str) -> str:
    """Where it ends, in words: the versions that run with the share that each gets."""
    images = [
        bench.api.get(DEPLOYMENTS, bench.namespace, f"{host}-v{number}")["spec"]["template"]["spec"]["containers"][0]
        for number in (1, 2)
    ]
    total = sum(bench.weights(name))
    shares = [100 * weight // total for weight in bench.weights(name)]
    versions = [found["image"].rpartition(":")[2] for found in images]
    return " + ".join(f"{version} {share}%" for version, share in zip(versions, shares, strict=True) if share)


@pytest.mark.parametrize("kind", [HTTP, MESH])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label.replace(" ", "-"))
async def test_each_verb_on_a_route_whose_status_the_test_writes_ends_where_kubectl_ends(
    cluster: Cluster, routed: str, tmp_path: Path, verb_table: VerbTable, case: Case, kind: str
) -> None:
    bench = Bench(cluster, routed) if kind == HTTP else Meshes(cluster, routed)
    word = f"{kind.split()[-1].lower()}-{case.label.split(',')[0].replace(' ', '-').replace('%', '').lower()}-{len(case.label)}"
    sides = {side: (f"{side}-{word}", side if case.deploys else "fraud") for side in ("ours", "native")}
    for name, host in sides.values():
        if case.deploys:
            bench.patch(
                f"{host}-v2",
                {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": f"{IMAGE}:2"},
                plural="deployment",
            )
            bench.wait_ready(f"{host}-v2", version="2")
        made(bench, kind, name, case.before, host)
    name, host = sides["native"]
    if case.deploys:
        bench.patch(
            f"{host}-v2",
            {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": f"{IMAGE}:3"},
            plural="deployment",
        )
        bench.wait_ready(f"{host}-v2", version="3")
    if case.by_hand is not None:
        bench.set_weights(name, *case.by_hand)
    ours, host_of_ours = sides["ours"]
    async with seated(cluster.kubeconfig, routed, tmp_path) as seat:
        ref = seat.ref(ours)
        if case.held:
            await seat.do(HoldRollout(ref))
        await seat.do(case.wish(ref), "a test")
        endpoint = await seat.look(ours)
    assert told(bench, ours, host_of_ours) == told(bench, name, host) == case.end
    assert endpoint.stamp is not None
    assert (str(endpoint.stamp.by), str(endpoint.stamp.why)) == ("ana", "a test")
    assert (endpoint.rollout.hold is not None) == (case.label == "hold")
    native = f"`kubectl patch {bench.kind.plural}`: the weights" if case.by_hand else "none: a route has no pause"
    if case.deploys:
        native = f"`kubectl set image` on the idle Deployment; {native}"
    verb_table.record(Row(kind, case.label, case.writes, native, case.end))
