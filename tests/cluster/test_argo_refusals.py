"""Writes that Argo Rollouts takes and that do something else than they say: ours refuse them, with the way that works."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cluster.api import ANALYSIS_RUNS
from tests.cluster.argo_bench import Bench, observed, seated, updated
from tests.cluster.controllers import Controller
from tests.cluster.fixtures import Cluster
from tests.cluster.listeners import Gate

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.domain.intents import ContinueRollout, PromoteVersion, RollBack, SetWeight
from mlrelease_tui.domain.plan import Level
from mlrelease_tui.domain.rollout import GateResult, Phase

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

NAME = "fraud"


@pytest.fixture
def bench(rollouts: Cluster, namespace: str) -> Bench:
    return Bench(rollouts, namespace)


async def test_a_held_rollout_is_not_promoted_past_its_running_analysis(
    argo: Controller, bench: Bench, gate: Gate, tmp_path: Path
) -> None:
    gate.set("/score", body={"value": 0.9})
    bench.template_of_analysis("score", f"{gate.url}/score", count=1000)
    steps = [{"setWeight": 25}, {"analysis": {"templates": [{"templateName": "score"}]}}, {"pause": {}}]
    bench.at_rest(NAME, steps=steps)
    bench.release(NAME, "2")
    bench.wait(NAME, lambda item: item["status"].get("currentStepIndex") == 1 and updated(item))
    bench.tool("pause", NAME)
    bench.wait(NAME, lambda item: item["spec"].get("paused") and observed(item))
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        # The native tool's promote would skip the step, and the run would end as "Successful".
        refusal = await seat.refused(PromoteVersion(seat.ref(NAME)))
        assert refusal.code == "held"
        assert "continue" in refusal.hint
        await seat.do(ContinueRollout(seat.ref(NAME)))
        endpoint = await seat.look(NAME)
        assert [one.result for one in endpoint.rollout.gates] == [GateResult.RUNNING]
    (run,) = bench.api.items(ANALYSIS_RUNS, bench.namespace)
    assert run["status"]["phase"] == "Running"
    assert bench.get(NAME)["status"]["currentStepIndex"] == 1


async def test_a_promotion_of_an_aborted_rollout_is_refused_where_the_native_tool_moves_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    bench.aborted(NAME)
    before = bench.end(NAME)
    bench.tool("promote", NAME)
    after = bench.end(NAME)
    # Its step is another number, and that is all.
    assert {**after, "step": before["step"]} == before
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        refusal = await seat.refused(PromoteVersion(seat.ref(NAME)))
        assert "was aborted" in refusal.reason
        refused = await seat.refused(SetWeight(seat.ref(NAME), 5000))
        assert "aborted" in refused.reason or "degraded" in refused.reason


async def test_a_rollback_to_what_runs_already_is_refused_where_the_native_tool_says_that_all_is_well(
    bench: Bench, tmp_path: Path
) -> None:
    bench.later_rest(NAME)
    assert "skip" in bench.tool("undo", NAME, "--to-revision=2").lower()
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        refusal = await seat.refused(RollBack(seat.ref(NAME), "2"))
        assert (refusal.code, refusal.reason) == ("already_there", f"{NAME} already runs 2, alone")


async def test_who_and_why_stand_beside_a_status_that_has_no_room_for_them(bench: Bench, tmp_path: Path) -> None:
    bench.at_pause(NAME)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        outcome = await seat.do(PromoteVersion(seat.ref(NAME)), "p99 is fine")
        stamp = (await seat.look(NAME)).stamp
        assert stamp is not None
        assert (stamp.intent_id, str(stamp.by), str(stamp.why)) == (outcome.intent_id, "ana", "p99 is fine")
    assert marks.STAMP in bench.get(NAME)["metadata"]["annotations"]


async def test_a_spec_that_the_definition_admits_and_the_controller_does_not_is_said(
    bench: Bench, tmp_path: Path
) -> None:
    bench.at_rest(NAME)
    bench.patch(NAME, {"spec": {"strategy": {"canary": {"steps": [{"setWeight": 500}]}}}})
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        bench.wait(NAME, lambda item: item["status"].get("phase") == "Degraded")
        endpoint = await seat.look(NAME)
        assert endpoint.rollout.phase is Phase.DEGRADED
        assert any("SetWeight" in problem or "setWeight" in problem for problem in endpoint.problems), endpoint.problems


async def test_a_promotion_past_an_inconclusive_analysis_wants_the_name_and_the_way_back_does_not(
    argo: Controller, bench: Bench, gate: Gate, tmp_path: Path
) -> None:
    gate.set("/score", body={"value": 0.7})
    bench.template_of_analysis("score", f"{gate.url}/score")
    steps = [{"setWeight": 25}, {"analysis": {"templates": [{"templateName": "score"}]}}, {"pause": {}}]
    bench.at_rest(NAME, steps=steps)
    bench.release(NAME, "2")
    bench.wait(NAME, lambda item: item["status"].get("pauseConditions"))
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        plan = await seat.plan(PromoteVersion(seat.ref(NAME)))
        assert plan.level is Level.NAME
        assert "score inconclusive at 0.7" in [check.text for check in plan.checks]
        assert (await seat.plan(RollBack(seat.ref(NAME)))).level is Level.PLAN
