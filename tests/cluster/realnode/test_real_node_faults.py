"""Versions that fail in real containers: seen as what they are, with what they said, and rolled back while users notice nothing."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cluster.api import ANALYSIS_TEMPLATES, wait_for
from tests.cluster.argo_bench import Seat, seated
from tests.cluster.realnode.bench import CANARY, NAME, REPLICAS, STABLE, Stage, error_share
from tests.cluster.realnode.node import NAME as NODE_NAME
from tests.cluster.realnode.observing import Observer
from tests.cluster.realnode.traffic import Prometheus

from mlrelease_tui.domain.intents import PromoteVersion, RollBack
from mlrelease_tui.domain.logs import LogWish
from mlrelease_tui.domain.rollout import Endpoint, GateResult, Phase
from mlrelease_tui.domain.text import raw

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.timeout(300)]


@dataclass(frozen=True, slots=True)
class Case:
    """A version that never gets ready: how it ends, and what its last run had printed."""

    version: str
    ended: str
    printed: str

    @property
    def told(self) -> str:
        return rf"1 pod CrashLoopBackOff \(\d+ restarts?, last {self.ended}\)"


CASES = (
    Case("crashing", "Error 3", "ValueError: the model was saved by"),
    Case("greedy", "OOMKilled 137", "version greedy: taking memory"),
)


async def seen(seat: Seat, holds: Callable[[Endpoint], object], *, within_s: float = 60.0) -> Endpoint:
    """The endpoint once something holds of it."""
    deadline = time.monotonic() + within_s
    while not holds(endpoint := await seat.look(NAME)):
        assert time.monotonic() < deadline, endpoint
        await asyncio.sleep(0.1)
    return endpoint


async def rolled_back(seat: Seat, stage: Stage) -> None:
    """Roll back with our tool; at rest on version 1 alone."""
    await seat.do(RollBack(seat.ref(NAME)), "it fails")
    wait_for(lambda: stage.ready() == {"1": REPLICAS}, within_s=60.0, otherwise=lambda: str(stage.ready()))
    endpoint = await seat.look(NAME)
    assert endpoint.rollout.phase is Phase.COMPLETE
    assert [(item.version, item.ready) for item in endpoint.variants] == [("1", REPLICAS)]
    assert stage.weights() == {STABLE: 100, CANARY: 0}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.version)
async def test_a_canary_that_never_gets_ready_is_seen_as_what_it_is_and_rolled_back(
    stage: Stage, tmp_path: Path, case: Case
) -> None:
    stage.set_up()
    async with seated(stage.cluster.kubeconfig, stage.namespace, tmp_path) as seat:
        with stage.load() as load:
            await seat.do(PromoteVersion(seat.ref(NAME), case.version))
            endpoint = await seen(seat, lambda found: found.canary and re.fullmatch(case.told, found.canary.message))
            assert endpoint.canary is not None
            assert (endpoint.canary.version, endpoint.canary.ready, endpoint.canary.weight_bp) == (case.version, 0, 0)
            wish = LogWish(endpoint.ref, raw(endpoint.canary.name), previous=True)
            (tail,) = await seat.connector.logs(endpoint, wish)
            assert case.printed in tail.lines[-1]
            (pod,) = stage.pods()[case.version]
            assert str(tail.source) == f"{pod['metadata']['name']}/model"
            details = await seat.connector.details(endpoint)
            (replica,) = (one for one in details.replicas if one.variant == endpoint.canary.name)
            assert (str(replica.name), str(replica.node)) == (pod["metadata"]["name"], NODE_NAME)
            assert not replica.ready
            assert replica.restarts > 0
            assert case.ended in replica.why
            backed_off = [one for one in details.happenings if one.warning and one.reason == "BackOff"]
            assert backed_off
            assert pod["metadata"]["name"] in backed_off[0].about
            fleet = next(found for found in await seat.connector.endpoints() if found.ref == endpoint.ref)
            assert fleet.canary is not None
            assert "1 pod " in fleet.canary.message
            await rolled_back(seat, stage)
            sums = load.end()
    assert (sums.failed, sums.reasons) == (0, {})
    assert set(sums.served) == {"1"}


async def test_a_canary_that_answers_errors_is_seen_by_its_failed_check_and_rolled_back(
    stage: Stage, prometheus: Prometheus, observer: Observer, tmp_path: Path
) -> None:
    stage.cluster.api.create(ANALYSIS_TEMPLATES, stage.namespace, error_share(stage.namespace, prometheus.url))
    stage.set_up(analysis={"templates": [{"templateName": "errors"}], "startingStep": 1})
    async with seated(stage.cluster.kubeconfig, stage.namespace, tmp_path) as seat:
        with stage.load() as load:
            await seat.do(PromoteVersion(seat.ref(NAME), "erring"))
            endpoint = await seen(seat, lambda found: found.rollout.phase is Phase.DEGRADED)
            (gate,) = endpoint.rollout.gates
            assert (str(gate.name), gate.result) == ("errors", GateResult.FAILED)
            assert float(gate.measured.strip("[]")) > 0.3
            assert any("errors failed" in problem for problem in endpoint.problems)
            # An abort is dated a moment before the weights follow.
            wait_for(lambda: stage.weights() == {STABLE: 100, CANARY: 0}, otherwise=lambda: str(stage.weights()))
            counts = await observer.counts(endpoint)
            assert counts["1"].errors == 0
            assert counts["erring"].requests > 0
            assert counts["erring"].errors / counts["erring"].requests == pytest.approx(0.5, abs=0.1)
            # It stays ready for the kubelet, which only asks whether it loads: the errors are what tells.
            said = [item.message for item in endpoint.variants]
            assert all(message == "" for message in said), said
            await rolled_back(seat, stage)
            before = load.sums
            wait_for(lambda: load.sums.sent >= before.sent + 400, otherwise=lambda: str(load.sums))
            sums = load.end()
    # Half of what the canary was given, and nothing that stable was given.
    assert 0 < sums.failed < sums.sent * 0.1
    assert all(reason.startswith("500 erring") for reason in sums.reasons), sums.reasons
    counted = stage.counted()
    assert counted[CANARY, "500"] == sums.failed == before.failed
    assert counted[STABLE, "200"] + counted[CANARY, "200"] == sums.sent - sums.failed


async def test_what_a_real_container_prints_is_followed_as_it_is_printed(stage: Stage, tmp_path: Path) -> None:
    stage.set_up(version="erring")
    async with seated(stage.cluster.kubeconfig, stage.namespace, tmp_path) as seat:
        endpoint = await seat.look(NAME)
        assert endpoint.stable is not None
        wish = LogWish(endpoint.ref, raw(endpoint.stable.name))
        before = await seat.connector.logs(endpoint, wish)
        assert len(before) == REPLICAS
        assert all("version erring: ready" in " ".join(tail.lines) for tail in before)
        failed = {str(tail.source): len(tail.lines) for tail in before}
        # Every second request of each pod fails, and is printed.
        with stage.load(rate=20):
            async with asyncio.timeout(90), aclosing(seat.connector.follow(endpoint, wish)) as following:  # type: ignore[type-var]
                async for tails in following:
                    now = {str(tail.source): len(tail.lines) for tail in tails}
                    if now.keys() == failed.keys() and all(now[source] > failed[source] for source in now):
                        break
        assert all("ZeroDivisionError: request" in tail.lines[-1] for tail in tails)
