"""Writes that KServe takes and then ignores, or turns into something else: ours refuse them, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cluster.api import DEPLOYMENTS
from tests.cluster.argo_bench import seated
from tests.cluster.fixtures import Cluster
from tests.cluster.kserve_bench import KnativeMode, StandardMode, predictor, uri

from mlrelease_tui.domain.intents import PromoteVersion, RestartEndpoint, RollBack
from mlrelease_tui.domain.rollout import Phase

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

STOP = "serving.kserve.io/stop"
AUTO_UPDATE = "serving.kserve.io/disable-auto-update"


@pytest.mark.usefixtures("kserve")
async def test_trap_1_a_stopped_service_has_nothing_left_that_runs_and_is_not_written_to(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = StandardMode(cluster, namespace)
    bench.at_rest("fraud")
    bench.patch("fraud", {"metadata": {"annotations": {STOP: "true"}}})
    cluster.api.gone(DEPLOYMENTS, namespace, "fraud-predictor")
    async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
        endpoint = await seat.look("fraud")
        assert endpoint.rollout.phase is Phase.DEGRADED
        for intent in (PromoteVersion(seat.ref("fraud"), "2"), RestartEndpoint(seat.ref("fraud"))):
            refusal = await seat.refused(intent)
            assert "is stopped: nothing of it runs" in refusal.reason


@pytest.mark.usefixtures("kserve")
async def test_trap_8_a_service_that_ignores_every_edit_without_a_sign_says_so_and_is_not_written_to(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = StandardMode(cluster, namespace)
    bench.at_rest("fraud")
    bench.patch("fraud", {"metadata": {"annotations": {AUTO_UPDATE: "true"}}})
    async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
        endpoint = await seat.look("fraud")
        assert any("ignores every edit without a sign" in problem for problem in endpoint.problems)
        refusal = await seat.refused(PromoteVersion(seat.ref("fraud"), "2"))
        assert "would ignore this silently" in refusal.reason


@pytest.mark.usefixtures("knative", "kserve")
async def test_traps_2_and_3_beside_a_rejected_canary_none_begins_and_its_rollback_gives_it_nothing_at_any_moment(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = KnativeMode(cluster, namespace)
    bench.aborted("fraud")
    async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
        refusal = await seat.refused(PromoteVersion(seat.ref("fraud"), "3", weight_bp=1000))
        assert "is under way" in refusal.reason or "is between" in refusal.reason
        shares: list[int] = []
        perform = seat.connector.perform

        async def watched(write: object, stamp: object) -> object:
            receipt = await perform(write, stamp)  # type: ignore[arg-type]
            shares.append(share_of(bench, "2"))
            return receipt

        seat.connector.perform = watched  # type: ignore[method-assign,assignment]
        plan = await seat.plan(RollBack(seat.ref("fraud")))
        assert [step.call.count(",") for step in plan.steps] == [0, 0], [step.call for step in plan.steps]
        assert (await seat.submit(plan)).kind == "applied"
        shares.append(share_of(bench, "2"))
    assert shares == [0, 0, 0]
    assert bench.get("fraud")["spec"]["predictor"]["model"]["storageUri"] == uri("1")


def share_of(bench: KnativeMode, version: str) -> int:
    found = predictor(bench.get("fraud")).get("traffic", ())
    return sum(entry.get("percent", 0) for entry in found if bench.version(entry["revisionName"]) == version)
