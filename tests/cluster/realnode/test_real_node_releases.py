"""Releases under 200 requests a second: real pods, Traefik before them, Argo Rollouts moving the weights, our tool driving it."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.api import wait_for
from tests.cluster.argo_bench import seated
from tests.cluster.control_plane import ControlPlane
from tests.cluster.realnode.bench import CANARY, NAME, REPLICAS, STABLE, Stage
from tests.cluster.realnode.observing import told_by_the_command
from tests.cluster.realnode.traffic import Router

from mlrelease_tui.domain.intents import ContinueRollout, HoldRollout, PromoteVersion, RollBack
from mlrelease_tui.domain.rollout import Phase

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.timeout(300)]

WINDOW = 400
"""Requests over which a share is measured: two seconds."""


def near(share: float) -> Any:
    """Within one of a hundred: a window may cut the router's turns anywhere."""
    return pytest.approx(share, abs=0.01)


def settled(stage: Stage, share: float) -> None:
    """Wait until Traefik is seen to send this share to the canary."""
    seen: list[float] = []

    def look() -> bool:
        seen.append(stage.router.share(stage.namespace, CANARY, of=WINDOW))
        return bool(seen[-1] == near(share))

    wait_for(look, within_s=60.0, otherwise=lambda: f"the canary's shares were {seen}")


async def shown_shares(stage: Stage, folder: Path) -> dict[str, float]:
    """The shares that our command shows as observed, by version. In a folder of its own: readings that the command before left
    behind, at other weights, would count."""
    folder.mkdir()
    told = await asyncio.to_thread(told_by_the_command, stage, folder, window_s=3.0)
    variants = told["endpoint"]["variants"]
    assert all((one["coverage"], one["error_ratio"]) == ("ok", 0.0) for one in variants), variants
    # 200 a second are sent; on a busy machine some of them come late.
    assert sum(one["rate"] for one in variants) == pytest.approx(200, rel=0.25), variants
    return {one["version"]: one["observed_share"] for one in variants}


async def test_promoted_step_by_step_no_request_fails_and_the_router_counts_each_share(
    stage: Stage, tmp_path: Path
) -> None:
    stage.set_up()
    async with seated(stage.cluster.kubeconfig, stage.namespace, tmp_path) as seat:
        with stage.load() as load:
            await seat.do(PromoteVersion(seat.ref(NAME), "2"))
            settled(stage, 0.10)
            assert stage.weights() == {STABLE: 90, CANARY: 10}
            endpoint = await seat.look(NAME)
            assert endpoint.rollout.phase is Phase.WAITING
            assert [(item.version, item.weight_bp) for item in endpoint.variants] == [("1", 9000), ("2", 1000)]
            assert await shown_shares(stage, tmp_path / "first") == {"1": near(0.9), "2": near(0.1)}
            await seat.do(PromoteVersion(seat.ref(NAME)))
            settled(stage, 0.50)
            assert await shown_shares(stage, tmp_path / "second") == {"1": near(0.5), "2": near(0.5)}
            await seat.do(PromoteVersion(seat.ref(NAME)))
            wait_for(lambda: stage.ready() == {"2": REPLICAS}, within_s=60.0, otherwise=lambda: str(stage.ready()))
            settled(stage, 0.0)
            sums = load.end()
        assert (sums.failed, sums.reasons) == (0, {})
        counted = stage.counted()
        assert set(sums.served) == {"1", "2"}
        assert counted.total() == sums.sent == sum(sums.served.values())
        assert {code for _, code in counted} == {"200"}
        endpoint = await seat.look(NAME)
        assert endpoint.rollout.phase is Phase.COMPLETE
        assert [(item.version, item.ready) for item in endpoint.variants] == [("2", REPLICAS)]


async def test_held_continued_and_rolled_back_no_request_fails(stage: Stage, tmp_path: Path) -> None:
    stage.set_up()
    async with seated(stage.cluster.kubeconfig, stage.namespace, tmp_path) as seat:
        with stage.load() as load:
            await seat.do(PromoteVersion(seat.ref(NAME), "2"))
            settled(stage, 0.10)
            await seat.do(HoldRollout(seat.ref(NAME)), "errors since 2")
            endpoint = await seat.look(NAME)
            assert endpoint.rollout.phase is Phase.HELD
            assert endpoint.rollout.hold is not None
            assert str(endpoint.rollout.hold.why) == "errors since 2"
            settled(stage, 0.10)
            await seat.do(ContinueRollout(seat.ref(NAME)))
            assert (await seat.look(NAME)).rollout.phase is Phase.WAITING
            settled(stage, 0.10)
            await seat.do(RollBack(seat.ref(NAME)))
            assert stage.weights() == {STABLE: 100, CANARY: 0}
            settled(stage, 0.0)
            wait_for(lambda: stage.ready() == {"1": REPLICAS}, within_s=60.0, otherwise=lambda: str(stage.ready()))
            sums = load.end()
        assert (sums.failed, sums.reasons) == (0, {})
        assert stage.counted().total() == sums.sent
        endpoint = await seat.look(NAME)
        assert endpoint.rollout.phase is Phase.COMPLETE
        assert [(item.version, item.ready) for item in endpoint.variants] == [("1", REPLICAS)]


def test_a_canary_without_a_pod_takes_everything_with_it_unless_traefik_allows_empty_services(
    stage: Stage, control_plane: ControlPlane
) -> None:
    """As when a canary is scaled away by hand, with no controller that sets its weight to 0."""
    stage.set_up()
    strict = Router(control_plane, name="traefik-strict", empty=False)
    strict.start()
    try:
        stage.also_routed("by-hand.example", {STABLE: 90, "nobody": 10})
        # Another name of the same router, for another TraefikService: whatever was to be taken up is taken up with it.
        stage.also_routed("control.example", {STABLE: 100})
        seen: list[Counter[int]] = []

        def settled_on(router: Router, host: str, codes: dict[int, int]) -> bool:
            seen[:] = [stage.codes(router, sum(codes.values()), host)]
            return seen == [codes]

        def wait(router: Router, host: str, codes: dict[int, int]) -> None:
            wait_for(lambda: settled_on(router, host, codes), within_s=60.0, otherwise=lambda: f"{host}: {seen}")

        for router in (strict, stage.router):
            wait(router, "control.example", {200: 20})
        wait(strict, "by-hand.example", {404: 20})
        wait(stage.router, "by-hand.example", {200: 90, 503: 10})
    finally:
        strict.stop()
