"""Acting on a target on which a dead process left something open a moment ago: safety waits for nothing, going on waits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.release_parts import DEAD, FRAUD, FRAUD_MODEL, START, WINE, Bench, VirtualClock, bench, connector_of

from mlrelease_tui.actions.executor import LOST_ANSWER_S
from mlrelease_tui.connectors.api import Receipt
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.connectors.fake.faults import Fault, FaultKind
from mlrelease_tui.domain.intents import (
    AbortRollout,
    HoldRollout,
    Intent,
    MoveAlias,
    PromoteVersion,
    RestartEndpoint,
    RollBack,
    SetWeight,
)
from mlrelease_tui.domain.plan import OutcomeKind, Plan, Refusal, Write
from mlrelease_tui.domain.rollout import Stamp, weights_of
from mlrelease_tui.errors import Conflict


class _Doomed(FakeConnector):
    """Its process dies when the write has left; what it sent is kept to arrive later."""

    late: list[tuple[Write, Stamp]]

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        self.late.append((write, stamp))
        raise asyncio.CancelledError

    async def arrive(self) -> None:
        for write, stamp in self.late:
            await super().perform(write, stamp)


async def left_behind(tmp_path: Path, intent: Intent) -> tuple[Bench, _Doomed]:
    """A seat in front of an audit in which a dead process has left `intent` with its first write on the way."""
    doomed: list[_Doomed] = []

    def connectors(backend: FakeBackend, clock: VirtualClock) -> dict[str, FakeConnector]:
        made = _Doomed(connector_of(backend, clock)._settings, backend)
        made.late = []
        doomed.append(made)
        return {"world": made}

    dead = bench(tmp_path / "audit", process=DEAD, connectors=connectors)
    plan = await dead.planned(intent)
    with pytest.raises(asyncio.CancelledError):
        await dead.desk.submit(plan, why="it dies")
    dead.log.close()
    seat = bench(tmp_path / "audit", backend=dead.backend, clock=dead.clock, seed=7)
    await seat.desk.ready()
    return seat, doomed[0]


def told(seat: Bench) -> list[str]:
    return [str(item.section("result")["status"]) for item in seat.log.read() if item.kind == "reconciled"]


@pytest.mark.parametrize(
    "intent", [RollBack(FRAUD, "2"), AbortRollout(FRAUD), HoldRollout(FRAUD), SetWeight(FRAUD, 500)]
)
async def test_safety_does_not_wait_and_the_late_write_is_kept_out_by_its_own_precondition(
    intent: Intent, tmp_path: Path
) -> None:
    seat, doomed = await left_behind(tmp_path, SetWeight(FRAUD, 5000))
    plan = await seat.planned(intent)
    assert any("may still arrive, and voids this plan if it does" in text for text in plan.warnings)
    assert (await seat.submitted(plan)).kind is OutcomeKind.APPLIED
    assert seat.clock.elapsed_s == 0, "somebody waited"
    assert told(seat) == ["superseded"]
    assert seat.store.state.open_actions == ()
    safe = seat.endpoint
    with pytest.raises(Conflict):
        await doomed.arrive()
    assert seat.endpoint == safe
    seat.audit_holds()


async def test_what_arrives_between_plan_and_confirmation_voids_the_plan_and_nothing_is_sent(tmp_path: Path) -> None:
    seat, doomed = await left_behind(tmp_path, SetWeight(FRAUD, 5000))
    plan = await seat.planned(RollBack(FRAUD, "2"))
    await doomed.arrive()
    refusal = await seat.desk.submit(plan, why="the canary hurts")
    assert isinstance(refusal, Refusal)
    assert refusal.code == "conflict"
    assert "last written by ana, weight" in refusal.reason
    assert len(seat.backend.written) == 1
    # The next plan is made from what is so now, and the dead one is told as it is.
    await seat.desk.reconcile(FRAUD, patient=False)
    assert told(seat) == ["applied"]
    assert (await seat.done(RollBack(FRAUD, "2"))).kind is OutcomeKind.APPLIED
    assert weights_of(seat.endpoint) == {"v2": 10_000}


async def test_what_arrives_between_the_last_look_and_the_write_is_a_conflict(tmp_path: Path) -> None:
    seat, doomed = await left_behind(tmp_path, SetWeight(FRAUD, 5000))
    plan = await seat.planned(RollBack(FRAUD, "2"))
    seat.store.subscribe(lambda _state, _fact: None)
    connector = seat.connectors["world"]
    assert isinstance(connector, FakeConnector)
    perform = connector.perform

    async def slower(write: Write, stamp: Stamp) -> Receipt:
        if not seat.backend.written:
            await doomed.arrive()
        return await perform(write, stamp)

    connector.perform = slower  # type: ignore[method-assign]
    outcome = await seat.submitted(plan)
    assert outcome.overtaken
    assert weights_of(seat.endpoint) == {"v2": 5000, "v3": 5000}


@pytest.mark.parametrize(
    "intent", [PromoteVersion(FRAUD, full=True), SetWeight(FRAUD, 9000), RestartEndpoint(FRAUD)], ids=lambda i: i.verb
)
async def test_going_on_waits_until_nothing_may_arrive(intent: Intent, tmp_path: Path) -> None:
    seat, _ = await left_behind(tmp_path, SetWeight(FRAUD, 5000))
    refusal = await seat.refused(intent)
    assert refusal.code == "unsettled"
    assert "an earlier action by ana (fraud: 3 10% → 50%) sent may still arrive" in refusal.reason
    assert refusal.hint.startswith("settled in 15 s")
    await seat.desk.reconcile(FRAUD)
    assert seat.clock.elapsed_s >= LOST_ANSWER_S
    assert told(seat) == ["not_applied"]
    assert isinstance(await seat.desk.prepare(intent), Plan)


async def test_other_targets_are_free(tmp_path: Path) -> None:
    seat, _ = await left_behind(tmp_path, SetWeight(FRAUD, 5000))
    assert (await seat.done(PromoteVersion(WINE, "2"))).kind is OutcomeKind.APPLIED
    assert seat.clock.elapsed_s == 0
    assert told(seat) == []
    (left,) = seat.store.state.open_actions
    assert left.settling(seat.clock.now())


async def test_a_look_at_one_target_asks_no_other(tmp_path: Path) -> None:
    seat, _ = await left_behind(tmp_path, SetWeight(FRAUD, 5000))
    seat.backend.faults.add(Fault(FaultKind.CRASH, "endpoint"))
    (left,) = await seat.desk.reconcile(WINE, patient=False)
    assert left.seen == ""
    assert told(seat) == []


async def test_what_was_seen_so_far_is_told_before_it_is_settled(tmp_path: Path) -> None:
    seat, _ = await left_behind(tmp_path, RollBack(FRAUD, "2"))
    (left,) = await seat.desk.reconcile(patient=False)
    assert left.summary == "roll back fraud to 2"
    assert left.seen == "not_applied: the target is as it was before"
    assert told(seat) == []


async def test_a_write_that_no_precondition_keeps_out_stays_open_until_it_has_settled(tmp_path: Path) -> None:
    seat, doomed = await left_behind(tmp_path, MoveAlias(FRAUD_MODEL, "champion", "2"))
    assert (await seat.refused(MoveAlias(FRAUD_MODEL, "champion", "1"))).code == "unsettled"
    again = bench(tmp_path / "audit", backend=seat.backend, clock=seat.clock, seed=9)
    await again.desk.reconcile(patient=False)
    assert told(again) == []
    await doomed.arrive()
    await again.desk.reconcile(patient=False)
    assert told(again) == ["applied"]


async def test_two_looks_at_once_record_it_once(tmp_path: Path) -> None:
    seat, _ = await left_behind(tmp_path, SetWeight(FRAUD, 5000))
    seat.clock.elapsed_s = LOST_ANSWER_S
    found = await asyncio.gather(*(seat.desk.reconcile(patient=False) for _ in range(5)))
    assert all(item == () for item in found)
    assert told(seat) == ["not_applied"]
    assert seat.store.state.open_actions == ()


async def test_a_step_that_was_answered_is_waited_for_by_nobody(tmp_path: Path) -> None:
    """It died between two writes: nothing of it is on the way."""
    seat, doomed = await left_behind(tmp_path, RollBack(FRAUD, "2"))
    await doomed.arrive()
    (intent,) = [item for item in seat.log.read() if item.kind == "intent"]
    action = {"intent_id": intent.intent_id, "step": 0}
    seat.log.append("step", {"action": action, "result": {"status": "verified"}})
    assert await seat.desk.reconcile() == ()
    assert seat.clock.elapsed_s == 0
    assert told(seat) == ["partial"]


async def test_a_clock_that_was_set_back_keeps_nothing_open(tmp_path: Path) -> None:
    seat, _ = await left_behind(tmp_path, SetWeight(FRAUD, 5000))
    seat.clock.wall = START.replace(year=2020)
    assert await seat.desk.reconcile() == ()
    assert seat.clock.elapsed_s == pytest.approx(LOST_ANSWER_S)
    assert told(seat) == ["not_applied"]


async def test_an_action_that_was_not_applied_takes_the_place_of_none(tmp_path: Path) -> None:
    seat, _ = await left_behind(tmp_path, SetWeight(FRAUD, 5000))
    seat.backend.faults.add(Fault(FaultKind.REFUSED, "variants"))
    assert (await seat.done(RollBack(FRAUD, "2"))).kind is OutcomeKind.REJECTED
    assert told(seat) == []
    (left,) = seat.store.state.open_actions
    assert left.verb == "weight"


async def test_what_could_not_be_told_for_long_is_closed_by_what_was_done_since(tmp_path: Path) -> None:
    seat, _ = await left_behind(tmp_path, SetWeight(FRAUD, 5000))
    seat.clock.elapsed_s = 60
    odd = tuple(replace(item, weight_bp=5000) for item in seat.endpoint.variants)
    seat.backend.endpoints[FRAUD] = replace(
        seat.endpoint, variants=odd, rollout=replace(seat.endpoint.rollout, step_index=2)
    )
    assert len(await seat.desk.reconcile()) == 1
    assert (await seat.done(RollBack(FRAUD, "2"))).kind is OutcomeKind.APPLIED
    assert told(seat) == ["indeterminate", "superseded"]
    message = [item for item in seat.log.read() if item.kind == "reconciled"][-1].section("result")["message"]
    assert "seen before that: indeterminate" in str(message)


async def test_a_rollback_elsewhere_says_where_the_one_before_wanted_to_go(tmp_path: Path) -> None:
    seat, _ = await left_behind(tmp_path, RollBack(FRAUD, "1"))
    wanted = "the rollback before this one wanted 1 and did not get there; this one goes to 2: name 1 to go there"
    plan = await seat.planned(RollBack(FRAUD))
    assert plan.summary == "roll back fraud to 2"
    assert wanted in plan.warnings
    assert wanted in (await seat.planned(RollBack(FRAUD))).warnings
    assert wanted not in (await seat.planned(RollBack(FRAUD, "2"))).warnings, "2 was named"
    seat.clock.elapsed_s = LOST_ANSWER_S
    await seat.desk.reconcile()
    (record,) = [item for item in seat.log.read() if item.kind == "reconciled"]
    assert record.section("action")["summary"] == "roll back fraud to 1"
    assert record.section("model")["version"] == "1"
    assert wanted in (await seat.planned(RollBack(FRAUD))).warnings, "settled or not"
    assert (await seat.done(RollBack(FRAUD, "1"))).kind is OutcomeKind.APPLIED
    refusal = await seat.refused(RollBack(FRAUD))
    assert refusal.code == "already_there"
    assert "already runs 1, alone" in refusal.reason
