"""A controller that is slow, that is not there, that comes back: writes are taken by the API server all the same."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cluster.argo_bench import Bench, Seat, healthy, in_flight, paused_at, seated
from tests.cluster.controllers import Controller
from tests.cluster.fixtures import Cluster

from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.kubernetes.connector import KubernetesConnector
from mlrelease_tui.domain.intents import AbortRollout, PromoteVersion, RollBack
from mlrelease_tui.domain.plan import OutcomeKind
from mlrelease_tui.domain.rollout import Phase

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

NAME = "fraud"
ELSEWHERE = {"metadata": {"labels": {"argo-rollouts.argoproj.io/controller-instance-id": "other"}}}
"""Gives a Rollout to another controller: ours is one that does not run, for this Rollout."""


async def _later(seat: Seat, kubeconfig: Path, by_s: float) -> tuple[Phase, str, tuple[str, ...]]:
    """What a look says `by_s` seconds from now."""
    options = {"kubeconfig": str(kubeconfig), "namespaces": [seat.namespace]}
    clock = Settings("k8s", "kubernetes", options, now=lambda: datetime.now(UTC) + timedelta(seconds=by_s))
    connector = KubernetesConnector(clock)
    try:
        endpoint = await connector.endpoint(seat.ref(NAME))
    finally:
        await connector.close()
    rollout = endpoint.rollout
    return rollout.phase, str(rollout.message), tuple(str(problem) for problem in endpoint.problems)


async def test_without_a_controller_a_promotion_is_taken_and_never_called_done(
    rollouts: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = Bench(rollouts, namespace)
    bench.at_pause(NAME)
    bench.patch(NAME, ELSEWHERE)
    async with seated(rollouts.kubeconfig, namespace, tmp_path) as seat:
        idle = await seat.look(NAME)
        assert idle.rollout.phase is Phase.WAITING
        plan = await seat.plan(PromoteVersion(seat.ref(NAME)))
        outcome = await seat.submit(replace(plan, steps=(replace(plan.steps[0], settle_s=1.0),)))
        assert outcome.kind is OutcomeKind.UNKNOWN
        assert "accepted, not observed" in outcome.message
        phase, message, problems = await _later(seat, rollouts.kubeconfig, 0)
        assert phase is Phase.UNKNOWN
        assert "has not reacted yet" in message
        assert not problems
        phase, message, problems = await _later(seat, rollouts.kubeconfig, 30)
        assert phase is Phase.UNKNOWN
        assert "is argo-rollouts running?" in message
        assert problems == (message,)
        refusal = await seat.refused(PromoteVersion(seat.ref(NAME)))
        assert "has not looked at its last change" in refusal.reason
        bench.patch(NAME, {"metadata": {"labels": {"argo-rollouts.argoproj.io/controller-instance-id": None}}})
        bench.wait(NAME, paused_at(3))


async def test_without_a_controller_an_abort_is_under_way_and_not_done(
    rollouts: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = Bench(rollouts, namespace)
    bench.at_pause(NAME)
    bench.patch(NAME, ELSEWHERE)
    async with seated(rollouts.kubeconfig, namespace, tmp_path) as seat:
        plan = await seat.plan(AbortRollout(seat.ref(NAME)))
        outcome = await seat.submit(replace(plan, steps=(replace(plan.steps[0], settle_s=1.0),)))
        assert outcome.kind is OutcomeKind.UNKNOWN
        phase, message, _ = await _later(seat, rollouts.kubeconfig, 30)
        assert phase is Phase.ABORTING
        assert "an abort was asked for" in message


async def test_a_rollback_waits_for_a_controller_that_comes_back(
    argo: Controller, rollouts: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = Bench(rollouts, namespace)
    bench.at_pause(NAME)
    async with seated(rollouts.kubeconfig, namespace, tmp_path) as seat:
        with argo.stopped():
            plan = await seat.plan(RollBack(seat.ref(NAME)))
            going = asyncio.create_task(seat.submit(plan))
            while (await seat.look(NAME)).rollout.phase is not Phase.UNKNOWN:
                await asyncio.sleep(0.1)
            assert not going.done()
        outcome = await going
        assert outcome.kind is OutcomeKind.APPLIED, outcome
        item = bench.get(NAME)
        assert healthy(item)
        assert not in_flight(item)


async def test_a_rollout_that_no_controller_has_seen_yet_says_so(
    argo: Controller, rollouts: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = Bench(rollouts, namespace)
    from tests.cluster.manifests import rollout

    async with seated(rollouts.kubeconfig, namespace, tmp_path) as seat:
        with argo.stopped():
            bench.apply(rollout(NAME))
            endpoint = await seat.look(NAME)
            assert endpoint.rollout.phase is Phase.UNKNOWN
            assert endpoint.native.phase == "no status"
            assert not endpoint.variants
            assert "has not looked" in endpoint.support(PromoteVersion.verb).reason
