"""What the desk takes for under way: what other sessions have in hand now, and nothing of its own that is over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.release_parts import FRAUD, Bench, VirtualClock, bench, connector_of, world

from mlrelease_tui.actions.looking import LOST_ANSWER_S
from mlrelease_tui.actions.reconcile import UNSEEN_LIFE_S
from mlrelease_tui.audit.identity import this_process
from mlrelease_tui.connectors.api import Connector, Receipt
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.connectors.fake.faults import Fault, FaultKind
from mlrelease_tui.domain.intents import PromoteVersion, RollBack, SetWeight
from mlrelease_tui.domain.plan import Outcome, OutcomeKind, Write
from mlrelease_tui.domain.rollout import Stamp
from mlrelease_tui.errors import NotDurable


async def test_what_another_session_began_after_our_start_is_known_to_the_next_plan(tmp_path: Path) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    class Waits(FakeConnector):
        async def perform(self, write: Write, stamp: Stamp) -> Receipt:
            begun.set()
            await go.wait()
            return await super().perform(write, stamp)

    clock = VirtualClock()
    backend = world(clock)

    def waiting(backend: FakeBackend, clock: VirtualClock) -> Mapping[str, Connector]:
        return {"world": Waits(connector_of(backend, clock)._settings, backend)}

    ana = bench(tmp_path, backend=backend, clock=clock)
    assert await ana.desk.open() == ()
    ben = bench(tmp_path, backend=backend, clock=clock, by="ben", seed=2, connectors=waiting)
    sent = asyncio.create_task(ben.desk.submit(await ben.planned(SetWeight(FRAUD, 2500)), why="a test"))
    await begun.wait()

    refusal = await ana.refused(PromoteVersion(FRAUD))

    assert refusal.code == "busy"
    assert "weight of world/ml/fraud is under way" in refusal.reason
    assert "by ben" in refusal.reason
    # What left a moment ago may be answered any moment; a way back waits for that, and not for ever.
    assert (await ana.refused(RollBack(FRAUD))).code == "busy"
    clock.elapsed_s = LOST_ANSWER_S
    back = await ana.planned(RollBack(FRAUD))
    assert any("by ben: it waits for its answer, or to be seen" in warning for warning in back.warnings)
    go.set()
    outcome = await sent
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.APPLIED
    await ana.planned(PromoteVersion(FRAUD))


async def _without_its_outcome(seat: Bench, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """An action whose outcome could not be recorded; whatever kept it from that is over afterwards."""
    append = seat.log.append

    def refuses(kind: str, *given: object, **named: object) -> object:
        if kind == "outcome":
            raise NotDurable("the audit log is locked by process 7 for more than 5 s")
        return append(kind, *given, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(seat.log, "append", refuses)
        return await seat.done(SetWeight(FRAUD, 2500))


async def test_an_action_of_ours_whose_outcome_was_not_recorded_is_not_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat = bench(tmp_path)
    outcome = await _without_its_outcome(seat, monkeypatch)
    assert "the outcome could not be recorded" in outcome.message

    back = await seat.planned(RollBack(FRAUD))

    assert [action.alive for action in seat.store.state.open_actions] == [False]
    assert any("was left without an outcome" in warning for warning in back.warnings)
    assert await seat.desk.reconcile() == ()
    record = [item for item in seat.log.read() if item.kind == "reconciled"][-1]
    assert (record.intent_id, record.section("result")["status"]) == (outcome.intent_id, "applied")
    await seat.planned(PromoteVersion(FRAUD))
    seat.audit_holds()


async def test_to_another_session_it_is_under_way_as_long_as_its_process_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat = bench(tmp_path)
    await _without_its_outcome(seat, monkeypatch)
    other = bench(tmp_path, backend=seat.backend, clock=seat.clock, by="ben", seed=2)
    (left,) = await other.desk.open()
    assert left.alive


async def test_an_audit_that_cannot_be_read_afterwards_does_not_hide_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat = bench(tmp_path)
    plan = await seat.planned(SetWeight(FRAUD, 2500))
    seat.backend.faults.add(Fault(FaultKind.IGNORED, "variants"))

    def fails() -> object:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(seat.log, "read", fails)
    outcome = await seat.submitted(plan)
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert "can't be read: Input/output error" in seat.store.state.access.locked


async def test_a_process_that_nobody_can_see_holds_its_target_for_a_while_and_not_for_ever(tmp_path: Path) -> None:
    """A container was killed after it had recorded its intent; the next one shares the audit and sees none of its processes."""
    here = this_process()
    gone = replace(here, pid_ns="1", starttime="7")
    clock = VirtualClock()
    dead = bench(tmp_path, clock=clock, process=gone)
    plan = await dead.planned(SetWeight(FRAUD, 2500))
    dead.desk._journal.intent(dead.log.new_id(), plan, why="it dies", typed="")
    seat = bench(tmp_path, backend=dead.backend, clock=clock, seed=7)
    assert (await seat.refused(RollBack(FRAUD))).code == "busy"
    clock.elapsed_s = UNSEEN_LIFE_S
    back = await seat.planned(RollBack(FRAUD))
    assert (await seat.submitted(back)).kind is OutcomeKind.APPLIED
    assert await seat.desk.reconcile() == ()


async def test_writes_are_unlocked_by_arming_once_the_cause_is_mended(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("not a folder")
    seat = bench(tmp_path / "audit", armed=False)
    await seat.desk.open()
    refusal = await seat.desk.arm(5)
    assert refusal is not None
    assert refusal.code == "locked"
    assert refusal.hint.endswith("arm them anew")
    (tmp_path / "audit").unlink()
    assert await seat.desk.arm(5) is None
    assert seat.store.state.access.locked == ""
    assert (await seat.done(SetWeight(FRAUD, 2500))).kind is OutcomeKind.APPLIED
