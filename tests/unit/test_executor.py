"""The executor on the fake connector, with a real audit on disk and a clock that nobody waits for."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.audit_parts import Unsynced
from tests.unit.release_parts import FRAUD, FRAUD_MODEL, SCRIPT, WINE, Bench, VirtualClock, bench, connector_of, world

from mlrelease_tui.actions import executor
from mlrelease_tui.connectors.api import Connector, Receipt
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.connectors.fake.faults import Fault, FaultKind
from mlrelease_tui.domain.action import Stage
from mlrelease_tui.domain.intents import HoldRollout, MoveAlias, PromoteVersion, RestartEndpoint, RollBack, SetWeight
from mlrelease_tui.domain.plan import Level, Outcome, OutcomeKind, Plan, Refusal, StepStatus, Write
from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.rollout import Stamp, Verb, weights_of
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import OutcomeUnknown, TimedOut
from mlrelease_tui.store.facts import AccessChanged, ActionProgressed
from mlrelease_tui.store.select import action_on

WEIGHT = SetWeight(FRAUD, 2500)


async def test_a_rollback_is_three_writes_each_once_and_all_of_it_is_recorded(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    plan = await seat.planned(RollBack(FRAUD, version="2"))
    assert [step.operation for step in plan.steps] == ["variants", "variants", "alias"]

    outcome = await seat.submitted(plan, why="errors doubled")

    assert outcome.kind is OutcomeKind.APPLIED
    assert [step.status for step in outcome.steps] == [StepStatus.VERIFIED] * 3
    assert len(seat.backend.written) == 3
    assert weights_of(seat.endpoint) == {"v2": 10_000}
    assert seat.backend.models[FRAUD_MODEL].aliases["champion"] == "2"
    stamp = seat.endpoint.stamp
    assert stamp is not None
    assert (stamp.intent_id, stamp.by, stamp.why) == (outcome.intent_id, "ana", "errors doubled")
    assert seat.kinds() == ["intent", *["sent", "step"] * 3, "outcome"]
    seat.audit_holds()


async def test_progress_goes_from_recording_to_its_end(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    await seat.done(WEIGHT)
    stages = [fact.action.stage for fact in seat.facts if isinstance(fact, ActionProgressed)]
    assert stages == [Stage.RECORDING, Stage.SENDING, Stage.VERIFYING, Stage.ENDED]
    assert action_on(seat.store.state, FRAUD) is None
    assert seat.desk.busy == ()


# --- nothing leaves without a durable intent -----------------------------------------------------------------------------


class Failing(Unsynced):
    """Fails a call once it is told to. `after`: how many calls go well before."""

    def __init__(self, number: int, *, on: str = "write", after: int = 0) -> None:
        self.number, self.on, self.left, self.armed = number, on, after, False

    def _strike(self, call: str) -> None:
        if self.armed and call == self.on:
            if self.left == 0:
                raise OSError(self.number, "told to fail")
            self.left -= 1

    def write(self, fd: int, data: bytes) -> int:
        self._strike("write")
        return super().write(fd, data)

    def fdatasync(self, fd: int) -> None:
        self._strike("sync")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("call", ["write", "sync"])
async def test_no_durable_intent_no_write(tmp_path: Path, number: int, call: str) -> None:
    syscalls = Failing(number, on=call)
    seat = bench(tmp_path, syscalls=syscalls)
    plan = await seat.planned(WEIGHT)
    before = seat.endpoint
    syscalls.armed = True

    refusal = await seat.desk.submit(plan, why="a test")

    assert isinstance(refusal, Refusal)
    assert refusal.code == "not_durable"
    assert "nothing was sent" in refusal.reason
    assert seat.backend.written == []
    assert seat.endpoint == before


async def test_a_refused_intent_leaves_the_endpoint_free_for_the_next(tmp_path: Path) -> None:
    syscalls = Failing(errno.ENOSPC)
    seat = bench(tmp_path, syscalls=syscalls)
    syscalls.armed = True
    assert isinstance(await seat.desk.submit(await seat.planned(WEIGHT), why="a test"), Refusal)
    syscalls.armed = False
    assert (await seat.done(WEIGHT)).kind is OutcomeKind.APPLIED


async def test_no_record_of_sending_no_sending(tmp_path: Path) -> None:
    syscalls = Failing(errno.EROFS, after=1)  # the intent is written, "sent" is not
    seat = bench(tmp_path, syscalls=syscalls)
    plan = await seat.planned(WEIGHT)
    syscalls.armed = True
    outcome = await seat.submitted(plan)
    assert outcome.kind is OutcomeKind.REJECTED
    assert seat.backend.written == []
    assert "not sent" in outcome.message


async def test_an_outcome_that_cannot_be_recorded_is_said(tmp_path: Path) -> None:
    syscalls = Failing(errno.EROFS, after=3)
    seat = bench(tmp_path, syscalls=syscalls)
    plan = await seat.planned(WEIGHT)
    syscalls.armed = True
    outcome = await seat.submitted(plan)
    assert outcome.kind is OutcomeKind.APPLIED
    assert "could not be recorded" in outcome.message
    assert weights_of(seat.endpoint)["v3"] == 2500


async def test_an_audit_in_a_file_where_its_folder_should_be_sends_nothing(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("not a folder")
    seat = bench(tmp_path / "audit")
    refusal = await seat.desk.submit(await seat.planned(WEIGHT), why="a test")
    assert isinstance(refusal, Refusal)
    assert refusal.code == "not_durable"
    assert seat.backend.written == []


# --- what a fault of the backend comes to ----------------------------------------------------------------------------------

_SAYS_NO = {
    FaultKind.REFUSED: "refuses connections",
    FaultKind.UNAUTHENTICATED: "credential",
    FaultKind.FORBIDDEN: "forbids",
    FaultKind.NOT_FOUND: "no such object",
    FaultKind.RATE_LIMITED: "slow down",
    FaultKind.CONFLICT: "someone else wrote first",
    FaultKind.REJECTED: "rejects",
}
_NOBODY_KNOWS = (FaultKind.SILENT, FaultKind.MALFORMED, FaultKind.LOST_BEFORE, FaultKind.CRASH, FaultKind.EXIT)


@pytest.mark.parametrize("kind", _SAYS_NO)
async def test_a_write_that_the_backend_refuses_changes_nothing(tmp_path: Path, kind: FaultKind) -> None:
    seat = bench(tmp_path)
    plan = await seat.planned(WEIGHT)
    before = seat.endpoint
    seat.backend.faults.add(Fault(kind, "variants"))

    outcome = await seat.submitted(plan)

    assert outcome.kind is OutcomeKind.REJECTED
    assert _SAYS_NO[kind] in outcome.message
    assert "nothing was changed" in outcome.message
    assert seat.endpoint == before
    assert len(seat.backend.written) == 1, "a write was retried"
    assert seat.clock.elapsed_s == 0
    assert seat.kinds() == ["intent", "sent", "step", "outcome"]
    seat.audit_holds()


@pytest.mark.parametrize("kind", _NOBODY_KNOWS)
async def test_a_lost_answer_that_was_not_applied_is_found_out_by_reading(tmp_path: Path, kind: FaultKind) -> None:
    seat = bench(tmp_path)
    plan = await seat.planned(WEIGHT)
    before = seat.endpoint
    seat.backend.faults.add(Fault(kind, "variants"))

    outcome = await seat.submitted(plan)

    assert outcome.kind is OutcomeKind.REJECTED
    assert "reads show that it was not applied" in outcome.message
    assert seat.endpoint == before
    assert len(seat.backend.written) == 1, "a write was retried"
    assert seat.clock.elapsed_s >= executor.LOST_ANSWER_S, "it was judged before a late write could have shown"
    seat.audit_holds()


async def test_a_lost_answer_that_was_applied_is_found_out_by_reading(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    seat.backend.faults.add(Fault(FaultKind.LOST_AFTER, "variants"))
    outcome = await seat.done(WEIGHT)
    assert outcome.kind is OutcomeKind.APPLIED
    assert "a read shows it applied" in str(outcome.steps[0].detail)
    assert weights_of(seat.endpoint)["v3"] == 2500
    assert len(seat.backend.written) == 1
    seat.audit_holds()


async def test_a_slow_write_is_waited_for(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    seat.backend.faults.add(Fault(FaultKind.SLOW, "variants", delay_s=0.02))
    assert (await seat.done(WEIGHT)).kind is OutcomeKind.APPLIED


async def test_accepted_and_never_observed_is_unknown_not_done(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    seat.backend.faults.add(Fault(FaultKind.IGNORED, "variants"))
    outcome = await seat.done(WEIGHT)
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert "accepted, not observed" in outcome.message
    assert "v3 weighs 10%, not 25%" in outcome.message
    # It may still take effect: it stays open, and a later look tells the audit.
    assert [action.intent_id for action in seat.store.state.open_actions] == [outcome.intent_id]
    assert seat.kinds() == ["intent", "sent", "step", "outcome"]
    assert seat.clock.elapsed_s < executor.LOST_ANSWER_S, "whoever asked was made to wait"
    assert await seat.desk.reconcile() == ()
    assert seat.kinds()[-1] == "reconciled"
    seat.audit_holds()


class _Dark(FakeConnector):
    """Loses the answer to each write, and then can't be read."""

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        await super().perform(write, stamp)
        self.backend.faults.add(Fault(FaultKind.REFUSED, "endpoint"))
        raise OutcomeUnknown("the connection was cut")


async def test_where_nobody_can_look_the_outcome_stays_unknown(tmp_path: Path) -> None:
    seat = bench(
        tmp_path, connectors=lambda backend, clock: {"world": _Dark(connector_of(backend, clock)._settings, backend)}
    )
    outcome = await seat.done(WEIGHT)
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert len(seat.backend.written) == 1
    assert [action.intent_id for action in seat.store.state.open_actions] == [outcome.intent_id]
    seat.backend.faults.clear()
    assert await seat.desk.reconcile() == ()
    reconciled = [record for record in seat.log.read() if record.kind == "reconciled"]
    assert [record.section("result")["status"] for record in reconciled] == ["indeterminate", "applied"]
    seat.audit_holds()


class _Raises(FakeConnector):
    """Applies a write and then raises `error`; reads raise what no connector may, `times` times."""

    error: BaseException = RuntimeError("a fault of the connector")
    reads = 0

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        await super().perform(write, stamp)
        self.backend.faults.add(Fault(FaultKind.EXIT, "endpoint", times=self.reads))
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("oh"), SystemExit(1), TimedOut("late"), KeyError("x")])
async def test_an_unforeseen_error_after_the_write_never_becomes_a_lie(tmp_path: Path, error: BaseException) -> None:
    def connectors(backend: FakeBackend, clock: VirtualClock) -> Mapping[str, Connector]:
        found = _Raises(connector_of(backend, clock)._settings, backend)
        found.error, found.reads = error, 2
        return {"world": found}

    seat = bench(tmp_path, connectors=connectors)
    outcome = await seat.done(WEIGHT)
    assert outcome.kind is OutcomeKind.APPLIED
    assert weights_of(seat.endpoint)["v3"] == 2500
    seat.audit_holds()


async def test_a_write_that_never_answers_ends_as_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hangs(FakeConnector):
        async def perform(self, write: Write, stamp: Stamp) -> Receipt:
            await super().perform(write, stamp)
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(executor, "PERFORM_DEADLINE_S", -0.9)
    seat = bench(
        tmp_path, connectors=lambda backend, clock: {"world": Hangs(connector_of(backend, clock)._settings, backend)}
    )
    outcome = await seat.done(WEIGHT)
    assert outcome.kind is OutcomeKind.APPLIED, "it was applied, which a read shows"


async def test_what_looks_the_same_before_and_after_is_not_called_applied(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    seat.backend.faults.add(Fault(FaultKind.LOST_BEFORE, "restart", times=1))
    lost = await seat.done(RestartEndpoint(FRAUD))
    assert lost.kind is OutcomeKind.UNKNOWN
    assert "the same before and after" in lost.message


async def test_the_stamp_tells_what_looks_the_same(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    seat.backend.faults.add(Fault(FaultKind.LOST_AFTER, "restart", times=1))
    assert (await seat.done(RestartEndpoint(FRAUD))).kind is OutcomeKind.APPLIED


# --- steps -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken_step", [0, 1, 2])
async def test_a_rollback_that_stops_says_what_is_done_and_what_is_not(tmp_path: Path, broken_step: int) -> None:
    class StopsAt(FakeConnector):
        async def perform(self, write: Write, stamp: Stamp) -> Receipt:
            if len(self.backend.written) == broken_step:
                self.backend.faults.add(Fault(FaultKind.REJECTED, write.operation, times=1))
            return await super().perform(write, stamp)

    seat = bench(
        tmp_path, connectors=lambda backend, clock: {"world": StopsAt(connector_of(backend, clock)._settings, backend)}
    )
    outcome = await seat.done(RollBack(FRAUD, version="2"))
    assert outcome.kind is OutcomeKind.REJECTED
    statuses = [StepStatus.VERIFIED] * broken_step + [StepStatus.REJECTED] + [StepStatus.NOT_SENT] * (2 - broken_step)
    assert [step.status for step in outcome.steps] == statuses
    assert len(seat.backend.written) == broken_step + 1
    if broken_step:
        assert f"{broken_step} of 3 steps are done and stay" in outcome.message
    else:
        assert "nothing was changed" in outcome.message
    assert len(outcome.verified) == broken_step
    seat.audit_holds()


async def test_a_connection_without_writes_refuses_before_anything_is_sent(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    plan = await seat.planned(WEIGHT)
    elsewhere = replace(plan, steps=(replace(plan.steps[0], connection="nowhere"),))
    outcome = await seat.submitted(elsewhere)
    assert outcome.kind is OutcomeKind.REJECTED
    assert "no connection is called 'nowhere'" in outcome.message
    assert seat.backend.written == []


# --- confirmation ------------------------------------------------------------------------------------------------------------


async def _refused(seat: Bench, plan: Plan, code: str, **given: str) -> Refusal:
    refusal = await seat.desk.submit(plan, why=given.get("why", "a test"), typed=given.get("typed", ""))
    assert isinstance(refusal, Refusal)
    assert refusal.code == code
    assert refusal.hint
    assert seat.backend.written == []
    assert seat.kinds()[-1:] == ["denied"], "a refused confirmation is recorded"
    return refusal


async def test_read_only_sends_nothing(tmp_path: Path) -> None:
    seat = bench(tmp_path, armed=False)
    await _refused(seat, await seat.planned(WEIGHT), "read_only")


async def test_arming_runs_out(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    seat.store.emit(AccessChanged(Access(armed_until=seat.clock.now() + timedelta(seconds=5))))
    plan = await seat.planned(WEIGHT)
    await seat.clock.sleep(5)
    await _refused(seat, plan, "read_only")


async def test_locked_writes_stay_locked(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    plan = await seat.planned(WEIGHT)
    seat.store.emit(AccessChanged(Access(armed_until=seat.clock.now() + timedelta(hours=1), locked="no durable audit")))
    await _refused(seat, plan, "locked")


async def test_a_plan_expires(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    plan = await seat.planned(WEIGHT)
    await seat.clock.sleep(120)
    await _refused(seat, plan, "plan_expired")


async def test_a_full_promote_to_production_wants_the_name_and_a_reason(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    plan = await seat.planned(PromoteVersion(FRAUD, full=True))
    assert plan.level is Level.NAME
    await _refused(seat, plan, "not_confirmed", typed="frau")
    await _refused(seat, plan, "no_reason", typed="fraud", why="  ")
    assert (await seat.submitted(plan, typed="fraud")).kind is OutcomeKind.APPLIED


async def test_a_second_person_cannot_be_had_here(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    plan = replace(await seat.planned(WEIGHT), level=Level.SECOND)
    await _refused(seat, plan, "needs_approval")


# --- others --------------------------------------------------------------------------------------------------------------------


async def test_drift_between_plan_and_confirmation_voids_it_and_says_who(tmp_path: Path) -> None:
    ana = bench(tmp_path)
    ben = bench(tmp_path, backend=ana.backend, clock=ana.clock, by="ben", seed=2)
    plan = await ana.planned(WEIGHT)
    await ben.done(SetWeight(FRAUD, 500))
    written = len(ana.backend.written)

    refusal = await ana.desk.submit(plan, why="a test")

    assert isinstance(refusal, Refusal)
    assert refusal.code == "conflict"
    assert "last written by ben" in refusal.reason
    assert len(ana.backend.written) == written
    assert weights_of(ana.endpoint)["v3"] == 500
    ana.audit_holds()


async def test_an_unreadable_target_is_not_written(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    plan = await seat.planned(WEIGHT)
    seat.backend.faults.add(Fault(FaultKind.CRASH, "endpoint"))
    refusal = await seat.desk.submit(plan, why="a test")
    assert isinstance(refusal, Refusal)
    assert "can't be read now" in refusal.reason
    assert seat.backend.written == []


class _Together(FakeConnector):
    """Lets writes go only once all who want to write have taken their last look."""

    waiting: list[asyncio.Event] = []  # noqa: RUF012 - shared by the two desks on purpose

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        mine = asyncio.Event()
        self.waiting.append(mine)
        if len(self.waiting) == 2:
            for event in self.waiting:
                event.set()
        await mine.wait()
        return await super().perform(write, stamp)


async def test_of_two_desks_on_one_endpoint_one_wins_and_the_other_is_told_who(tmp_path: Path) -> None:
    clock = VirtualClock()
    backend = world(clock)
    _Together.waiting.clear()

    def together(backend: FakeBackend, clock: VirtualClock) -> Mapping[str, Connector]:
        return {"world": _Together(connector_of(backend, clock)._settings, backend)}

    ana = bench(tmp_path, backend=backend, clock=clock, connectors=together)
    ben = bench(tmp_path, backend=backend, clock=clock, by="ben", seed=2, connectors=together)
    plans = await ana.planned(SetWeight(FRAUD, 2500)), await ben.planned(SetWeight(FRAUD, 500))

    outcomes = await asyncio.gather(ana.submitted(plans[0]), ben.submitted(plans[1]))

    won, lost = sorted(outcomes, key=lambda outcome: outcome.kind is not OutcomeKind.APPLIED)
    assert (won.kind, lost.kind) == (OutcomeKind.APPLIED, OutcomeKind.REJECTED)
    winner = "ana" if won is outcomes[0] else "ben"
    assert f"last written by {winner}" in lost.message
    assert weights_of(ana.endpoint)["v3"] == (2500 if winner == "ana" else 500)
    assert ana.endpoint.stamp is not None
    assert ana.endpoint.stamp.intent_id == won.intent_id
    # Both wrote the same chain from two open logs.
    ana.audit_holds()
    assert sorted(ana.kinds()) == sorted(["intent", "sent", "step", "outcome"] * 2)


async def test_one_who_puts_it_back_is_named(tmp_path: Path) -> None:
    class PutsBack(FakeConnector):
        async def perform(self, write: Write, stamp: Stamp) -> Receipt:
            before = self.backend.endpoints[FRAUD]
            receipt = await super().perform(write, stamp)
            other = Stamp("zzz", Verb.WEIGHT, SafeText("argocd"), SafeText("sync"), self._settings.now())
            self.backend.endpoints[FRAUD] = replace(before, stamp=other, revision="99")
            return receipt

    seat = bench(
        tmp_path, connectors=lambda backend, clock: {"world": PutsBack(connector_of(backend, clock)._settings, backend)}
    )
    outcome = await seat.done(WEIGHT)
    assert (outcome.kind, outcome.by) == (OutcomeKind.REVERTED, "argocd")


async def test_who_asked_may_go_the_action_stays(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    seat.backend.faults.add(Fault(FaultKind.SLOW, "variants", delay_s=0.03))
    asking = asyncio.create_task(seat.desk.submit(await seat.planned(WEIGHT), why="a test"))
    while not seat.backend.written:
        await asyncio.sleep(0)
    assert len(seat.desk.busy) == 1
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await seat.desk.settle(5)
    assert weights_of(seat.endpoint)["v3"] == 2500
    assert seat.kinds() == ["intent", "sent", "step", "outcome"]
    assert [entry.kind for entry in seat.store.state.audit][-1] == "outcome", "the audit's tail is not shown"
    assert await seat.desk.settle(0)


class StillClock(VirtualClock):
    """Nobody's sleep ends."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


async def test_what_only_waits_to_be_seen_makes_way_for_a_rollback_and_for_nothing_else(tmp_path: Path) -> None:
    class HearsLater(FakeConnector):
        async def perform(self, write: Write, stamp: Stamp) -> Receipt:
            return Receipt() if stamp.verb == Verb.WEIGHT else await super().perform(write, stamp)

    seat = bench(
        tmp_path,
        clock=StillClock(),
        connectors=lambda backend, clock: {
            "world": HearsLater(connector_of(backend, clock, timeout_s=5)._settings, backend)
        },
    )
    first = asyncio.create_task(seat.desk.submit(await seat.planned(WEIGHT), why="a test"))
    while not (seat.desk.busy and seat.desk.busy[0].stage is Stage.VERIFYING):
        await asyncio.sleep(0.001)
    assert (await seat.refused(PromoteVersion(FRAUD))).code == "busy"
    back = await seat.planned(RollBack(FRAUD))
    assert any("still waits to be seen" in warning for warning in back.warnings)
    assert not first.done(), "a plan alone ends nothing"

    outcome = await seat.submitted(back)

    assert outcome.kind is OutcomeKind.APPLIED
    ended = await first
    assert isinstance(ended, Outcome)
    assert ended.kind is OutcomeKind.UNKNOWN
    assert "it made way for a safer action" in ended.message
    assert seat.endpoint.canary is None
    seat.audit_holds()


async def test_one_action_at_a_time_on_one_endpoint(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    seat.backend.faults.add(Fault(FaultKind.SLOW, "variants", delay_s=0.03))
    plan = await seat.planned(WEIGHT)
    first = asyncio.create_task(seat.desk.submit(plan, why="a test"))
    await asyncio.sleep(0)
    second = await seat.desk.submit(plan, why="a test")
    assert isinstance(second, Refusal)
    assert second.code == "busy"
    while not seat.backend.written:
        await asyncio.sleep(0)
    assert (await seat.refused(HoldRollout(FRAUD))).code == "busy"
    assert isinstance(await seat.desk.prepare(PromoteVersion(WINE, version="2")), Plan), "others wait for nobody"
    assert isinstance(await first, Outcome)
    assert len(seat.backend.written) == 1


async def test_an_alias_moved_meanwhile_is_a_conflict(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    plan = await seat.planned(MoveAlias(FRAUD_MODEL, "champion", "2"))
    model = seat.backend.models[FRAUD_MODEL]
    seat.backend.models[FRAUD_MODEL] = replace(model, aliases={"champion": "5"})
    refusal = await seat.desk.submit(plan, why="a test")
    assert isinstance(refusal, Refusal)
    assert refusal.code == "conflict"
    assert "points at 5, not 3" in refusal.reason
    assert seat.backend.written == []


def test_the_script_of_these_tests_is_the_one_that_is_documented() -> None:
    assert set(SCRIPT) <= {"models", "endpoints", "faults"}
    found: Any = world(VirtualClock()).endpoints[FRAUD]
    assert found.rollout.in_flight
