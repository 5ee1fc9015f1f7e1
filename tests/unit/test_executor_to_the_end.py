"""An action comes to a recorded end whatever a connector answers, and who wrote after us is told by what was seen before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.release_parts import FRAUD, START, Bench, VirtualClock, bench, connector_of

from mlrelease_tui.actions.executor import LOST_ANSWER_S
from mlrelease_tui.connectors.api import Connector, Receipt
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.connectors.fake.faults import Fault, FaultKind
from mlrelease_tui.domain.action import Stage
from mlrelease_tui.domain.intents import PromoteVersion, RollBack, SetWeight
from mlrelease_tui.domain.plan import Level, OutcomeKind, Refusal, StepStatus, Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Stamp, Verb, weights_of
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import OutcomeUnknown, TimedOut
from mlrelease_tui.store.select import action_on

WEIGHT = SetWeight(FRAUD, 2500)


def seated(
    tmp_path: Path, kind: type[FakeConnector], clock: VirtualClock | None = None, **of_connector: float
) -> Bench:
    def connectors(backend: FakeBackend, clock: VirtualClock) -> Mapping[str, Connector]:
        return {"world": kind(connector_of(backend, clock, **of_connector)._settings, backend)}

    return bench(tmp_path, clock=clock, connectors=connectors)


class _AnswersNothing(FakeConnector):
    """Applies the write and forgets to give a receipt."""

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        await super().perform(write, stamp)
        return None  # type: ignore[return-value]


async def test_an_answer_that_is_no_receipt_counts_as_sent_and_the_truth_is_read(tmp_path: Path) -> None:
    seat = seated(tmp_path, _AnswersNothing)
    outcome = await seat.done(WEIGHT)
    assert outcome.kind is OutcomeKind.APPLIED
    assert seat.kinds() == ["intent", "sent", "step", "outcome"]
    assert action_on(seat.store.state, FRAUD) is None


class _ForgetsEndpoints(FakeConnector):
    """Once it has written, what it reads is no endpoint."""

    odd: Callable[[Endpoint], Any] = staticmethod(lambda _: None)

    async def endpoint(self, ref: EndpointRef) -> Endpoint:
        found = await super().endpoint(ref)
        odd: Endpoint = self.odd(found) if self.backend.written else found
        return odd


@pytest.mark.parametrize(
    "odd",
    [lambda _: None, lambda found: replace(found, variants=None), lambda found: replace(found, rollout="gone")],
    ids=["nothing", "no variants", "no rollout"],
)
async def test_what_cannot_be_understood_after_the_write_ends_as_unknown(
    tmp_path: Path, odd: Callable[[Endpoint], Any]
) -> None:
    kind = type("Odd", (_ForgetsEndpoints,), {"odd": staticmethod(odd)})
    seat = seated(tmp_path, kind)
    outcome = await seat.done(WEIGHT)
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert [step.status for step in outcome.steps] == [StepStatus.UNKNOWN]
    assert [kind for kind in seat.kinds() if kind != "step"][:3] == ["intent", "sent", "outcome"]
    assert action_on(seat.store.state, FRAUD) is None, "the endpoint stays busy for ever"
    assert len(seat.backend.written) == 1


async def test_what_is_no_endpoint_gives_no_plan(tmp_path: Path) -> None:
    seat = seated(tmp_path, _ForgetsEndpoints)
    seat.backend.written.append({})
    refusal = await seat.refused(WEIGHT)
    assert refusal.code == "unexpected_answer"


# --- who wrote after us ------------------------------------------------------------------------------------------------


async def test_the_stamp_that_stood_there_before_us_is_nobody_who_wrote_after_us(tmp_path: Path) -> None:
    """Ben's host is ten minutes ahead: what he wrote an hour ago, by his clock, is not what undid our write."""
    seat = bench(tmp_path)
    ahead = Stamp("zzz", Verb.WEIGHT, SafeText("ben"), SafeText(""), START + timedelta(minutes=10))
    seat.backend.endpoints[FRAUD] = replace(seat.endpoint, stamp=ahead)
    seat.backend.faults.add(Fault(FaultKind.IGNORED, "variants"))
    outcome = await seat.done(WEIGHT)
    assert (outcome.kind, outcome.by) == (OutcomeKind.UNKNOWN, "")
    assert "ben" not in outcome.message


# --- making way --------------------------------------------------------------------------------------------------------


class _StillClock(VirtualClock):
    """Nobody's sleep ends."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


class _HearsLater(FakeConnector):
    """Accepts a weight and does nothing for it."""

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        return Receipt() if stamp.verb == Verb.WEIGHT else await super().perform(write, stamp)


@pytest.mark.parametrize(
    ("changes", "code"), [({"expires_at": START}, "plan_expired"), ({"level": Level.NAME}, "not_confirmed")]
)
async def test_a_plan_that_may_not_run_ends_nobodys_wait(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    seat = seated(tmp_path, _HearsLater, _StillClock(), timeout_s=5)
    first = asyncio.create_task(seat.desk.submit(await seat.planned(WEIGHT), why="a test"))
    while not (seat.desk.busy and seat.desk.busy[0].stage is Stage.VERIFYING):
        await asyncio.sleep(0.001)
    back = replace(await seat.planned(RollBack(FRAUD)), **changes)

    refusal = await seat.desk.submit(back, why="a test")

    assert isinstance(refusal, Refusal)
    assert refusal.code == code
    await asyncio.sleep(0)
    assert not first.done()
    assert seat.desk.busy[0].stage is Stage.VERIFYING
    assert seat.kinds()[-1] == "denied"
    outcome = await seat.submitted(await seat.planned(RollBack(FRAUD)))
    assert outcome.kind is OutcomeKind.APPLIED
    assert weights_of(seat.endpoint) == {"v2": 10_000}
    await first


async def test_a_lower_weight_is_a_way_to_safety_too_and_a_higher_is_not(tmp_path: Path) -> None:
    class HearsNoPromote(FakeConnector):
        async def perform(self, write: Write, stamp: Stamp) -> Receipt:
            return Receipt() if stamp.verb == Verb.PROMOTE else await super().perform(write, stamp)

    seat = seated(tmp_path, HearsNoPromote, _StillClock(), timeout_s=5)
    first = asyncio.create_task(seat.desk.submit(await seat.planned(PromoteVersion(FRAUD)), why="a test"))
    while not (seat.desk.busy and seat.desk.busy[0].stage is Stage.VERIFYING):
        await asyncio.sleep(0.001)
    assert (await seat.refused(SetWeight(FRAUD, 5000))).code == "busy"
    outcome = await seat.submitted(await seat.planned(SetWeight(FRAUD, 500)))
    assert outcome.kind is OutcomeKind.APPLIED
    assert weights_of(seat.endpoint)["v3"] == 500
    await first


# --- answers that were lost --------------------------------------------------------------------------------------------


class _ArrivesWithoutEffect(FakeConnector):
    """The write arrives and leaves its stamp, the answer is lost, and nothing moves: a controller that is slow, say."""

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        self.backend.endpoints[FRAUD] = replace(self.backend.endpoints[FRAUD], stamp=stamp)
        raise OutcomeUnknown("the connection was cut")


async def test_a_write_that_left_its_stamp_is_not_called_rejected(tmp_path: Path) -> None:
    seat = seated(tmp_path, _ArrivesWithoutEffect)
    outcome = await seat.done(WEIGHT)
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert "nothing was changed" not in outcome.message
    assert "it arrived" in outcome.message


class _Dark(FakeConnector):
    """Takes a write, answers nothing at all until `back_s`, and carries the write out at `late_s`."""

    back_s = LOST_ANSWER_S - 1
    late_s = LOST_ANSWER_S + 5
    kept: tuple[Write, Stamp] | None = None
    clock: VirtualClock

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        self.kept = (write, stamp)
        raise OutcomeUnknown("the connection was cut")

    async def endpoint(self, ref: EndpointRef) -> Endpoint:
        if self.kept is not None and self.clock.elapsed_s < self.back_s:
            raise TimedOut("it does not answer")
        if self.kept is not None and self.clock.elapsed_s >= self.late_s and not self.backend.written:
            await super().perform(*self.kept)
        return await super().endpoint(ref)


@pytest.mark.parametrize(("late_s", "kind"), [(LOST_ANSWER_S + 5, OutcomeKind.APPLIED), (3600.0, OutcomeKind.REJECTED)])
async def test_a_backend_that_comes_back_late_is_given_the_time_to_carry_out_what_it_took(
    tmp_path: Path, late_s: float, kind: OutcomeKind
) -> None:
    clock = VirtualClock()
    seat = seated(tmp_path, type("Dark", (_Dark,), {"clock": clock, "late_s": late_s}), clock)
    outcome = await seat.done(WEIGHT)
    assert outcome.kind is kind
    assert seat.clock.elapsed_s <= 2 * LOST_ANSWER_S


async def test_a_backend_that_stays_dark_is_waited_for_no_longer(tmp_path: Path) -> None:
    clock = VirtualClock()
    seat = seated(tmp_path, type("Dark", (_Dark,), {"clock": clock, "back_s": 3600.0}), clock)
    assert (await seat.done(WEIGHT)).kind is OutcomeKind.UNKNOWN
    assert seat.clock.elapsed_s == pytest.approx(LOST_ANSWER_S)


# --- what is left in the backend ---------------------------------------------------------------------------------------


async def test_a_secret_in_the_reason_is_not_left_in_the_backend(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    why = "curl -H 'Authorization: Bearer swordfishswordfish' said 500\nsee INC-7"
    await seat.submitted(await seat.planned(WEIGHT), why=why)
    stamp = seat.endpoint.stamp
    assert stamp is not None
    assert "swordfish" not in stamp.why.raw
    assert "INC-7" in stamp.why
    recorded = {str(item.section("why").get("reason")) for item in seat.log.read() if item.section("why")}
    assert recorded == {stamp.why.raw}, "the backend and the audit say the same"
