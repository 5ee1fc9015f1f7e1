"""Each verb on a Rollout ends where the project's own tool ends, on the real controller, seen by reading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cluster.api import Json
from tests.cluster.argo_bench import Bench, seated, told
from tests.cluster.fixtures import Cluster
from tests.cluster.verb_table import Row, VerbTable

from mlrelease_tui.domain.intents import (
    AbortRollout,
    ContinueRollout,
    HoldRollout,
    Intent,
    PromoteVersion,
    RestartEndpoint,
    RetryRollout,
    RollBack,
    ScaleEndpoint,
    SetWeight,
    SwitchVersions,
)
from mlrelease_tui.domain.refs import EndpointRef

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

CANARY = "Argo Rollout, canary"
BLUE_GREEN = "Argo Rollout, blue-green"


@dataclass(frozen=True)
class Case:
    """One verb in one state: what leads there, our wish, what the native tool is told, and where both end."""

    label: str
    state: Callable[[Bench], None]
    wish: Callable[[EndpointRef], Intent]
    native: tuple[str, ...]
    end: str
    writes: str
    workload: str = CANARY


def _state(name: str) -> Callable[[Bench], None]:
    return lambda bench: getattr(bench, name)("ours", "native")


IMAGE_2 = "set image {} model=registry.example/fraud:2"
UNDO = "undo {} --to-revision=1"
UNPAUSE = 'patch {} {"spec":{"paused":false}}'
CASES = (
    Case("promote VERSION", _state("at_rest"), lambda ref: PromoteVersion(ref, "2"), (IMAGE_2,),
         "Paused, step 1, 3 pods on 1 + 1 pod on 2", "1 JSON Patch: image, history"),
    Case("promote", _state("at_pause"), PromoteVersion, ("promote {}",),
         "Paused, step 3, 2 pods on 1 + 2 pods on 2", "1 JSON Patch on status: pauseConditions removed"),
    Case("promote --full", _state("at_pause"), lambda ref: PromoteVersion(ref, full=True), ("promote {} --full",),
         "Healthy, 4 pods on 2", "1 JSON Patch on status: promoteFull"),
    Case("weight 50%", _state("at_pause"), lambda ref: SetWeight(ref, 5000),
         ('status {} {"status":{"pauseConditions":null,"currentStepIndex":2}}',),
         "Paused, step 3, 2 pods on 1 + 2 pods on 2",
         "1 JSON Patch on status: currentStepIndex, controllerPause false, pauseConditions removed"),
    Case("hold", _state("at_pause"), HoldRollout, ("pause {}",),
         "Paused, step 1, 3 pods on 1 + 1 pod on 2, held", "1 JSON Patch: spec.paused, who and why"),
    Case("continue", _state("held"), ContinueRollout, (UNPAUSE,),
         "Paused, step 1, 3 pods on 1 + 1 pod on 2", "1 JSON Patch: spec.paused false"),
    Case("abort", _state("at_pause"), AbortRollout, ("abort {}",),
         "Degraded, step 0, 4 pods on 1, aborted", "1 JSON Patch on status: abort"),
    Case("abort, held", _state("held"), AbortRollout, ("abort {}", UNPAUSE),
         "Degraded, step 0, 4 pods on 1, aborted", "2 JSON Patches: abort on status; spec.paused false"),
    Case("retry", _state("aborted"), RetryRollout, ("retry rollout {}",),
         "Paused, step 1, 3 pods on 1 + 1 pod on 2", "1 JSON Patch on status: abort false"),
    Case("rollback, at a pause", _state("at_pause"), RollBack, (UNDO,),
         "Healthy, 4 pods on 1", "1 JSON Patch: stable ReplicaSet's template, paused false"),
    Case("rollback, aborted", _state("aborted"), RollBack, (UNDO,),
         "Healthy, 4 pods on 1", "1 JSON Patch: stable ReplicaSet's template, paused false"),
    Case("rollback, held", _state("held"), RollBack, (UNDO, UNPAUSE),
         "Healthy, 4 pods on 1", "1 JSON Patch: stable ReplicaSet's template, paused false"),
    Case("rollback, aborted and held", _state("aborted_and_held"), RollBack, (UNDO, UNPAUSE),
         "Healthy, 4 pods on 1", "1 JSON Patch: stable ReplicaSet's template, paused false"),
    Case("rollback, full promotion under way", _state("promoting_fully"), RollBack, (UNDO,),
         "Healthy, 4 pods on 1", "1 JSON Patch: stable ReplicaSet's template, paused false"),
    Case("rollback VERSION, at rest", _state("later_rest"), lambda ref: RollBack(ref, "1"), (UNDO, "promote {} --full"),
         "Healthy, 4 pods on 1", "2 JSON Patches: its ReplicaSet's template; promoteFull on status"),
    Case("restart", _state("at_rest"), RestartEndpoint, ("restart {}",),
         "Healthy, 4 pods on 1", "1 JSON Patch: spec.restartAt"),
    Case("scale 2", _state("at_rest"), lambda ref: ScaleEndpoint(ref, 2), ('patch {} {"spec":{"replicas":2}}',),
         "Healthy, 2 pods on 1", "1 JSON Patch: spec.replicas"),
    Case("switch", _state("previewing"), SwitchVersions, ("promote {}",),
         "Healthy, 4 pods on 2", "1 JSON Patch on status: pauseConditions removed", BLUE_GREEN),
    Case("promote --full", _state("previewing"), lambda ref: PromoteVersion(ref, full=True), ("promote {} --full",),
         "Healthy, 4 pods on 2", "1 JSON Patch on status: promoteFull", BLUE_GREEN),
    Case("abort, before the cut-over", _state("previewing"), AbortRollout, ("abort {}",),
         "Degraded, 4 pods on 1, aborted", "1 JSON Patch on status: abort", BLUE_GREEN),
    Case("rollback, before the cut-over", _state("previewing"), RollBack, (UNDO,),
         "Healthy, 4 pods on 1", "1 JSON Patch: stable ReplicaSet's template, paused false", BLUE_GREEN),
)  # fmt: skip


def _noticed(item: Json) -> bool:
    return bool(item["status"].get("observedGeneration") == str(item["metadata"]["generation"]))


def _native(bench: Bench, command: str) -> None:
    word, _, rest = command.partition(" ")
    if word in {"patch", "status"}:
        import json

        bench.patch("native", json.loads(rest.partition(" ")[2]), sub="status" if word == "status" else "")
    else:
        bench.tool(*command.format("native").split())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.workload[14:]}-{case.label}".replace(" ", "-"))
async def test_each_verb_ends_where_the_native_tool_ends(
    rollouts: Cluster, namespace: str, tmp_path: Path, verb_table: VerbTable, case: Case
) -> None:
    bench = Bench(rollouts, namespace)
    case.state(bench)
    for command in case.native:
        # The tool waits for nobody: a full promotion of what its controller has not noticed yet is dropped.
        bench.wait("native", _noticed)
        _native(bench, command)
    async with seated(rollouts.kubeconfig, namespace, tmp_path) as seat:
        await seat.do(case.wish(seat.ref("ours")))
        end = bench.same_end("ours", "native", case.end)
        endpoint = await seat.look("ours")
        assert endpoint.stamp is not None
        assert str(endpoint.stamp.by) == "ana"
    native = (
        "; ".join(case.native).replace("status {}", "patch --subresource=status").replace("{} ", "").replace(" {}", "")
    )
    verb_table.record(Row(case.workload, case.label, case.writes, f"`{native}`", told(end)))
