"""An operator who stops waiting: before anything left, nothing leaves; after that the audit says that nobody waited."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.unit.release_parts import FRAUD, Bench, VirtualClock, bench, connector_of

from mlrelease_tui.connectors.api import Connector, Receipt
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.domain.intents import SetWeight
from mlrelease_tui.domain.plan import Outcome, OutcomeKind, Plan, Refusal, Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Stamp
from mlrelease_tui.store.select import action_on

WEIGHT = SetWeight(FRAUD, 2500)


class _Slow(FakeConnector):
    """Reads and writes wait until they are let go."""

    reads: asyncio.Event
    writes: asyncio.Event
    reading: asyncio.Event

    async def endpoint(self, ref: EndpointRef) -> Endpoint:
        self.reading.set()
        await self.reads.wait()
        return await super().endpoint(ref)

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        receipt = await super().perform(write, stamp)
        await self.writes.wait()
        return receipt


async def seated(tmp_path: Path) -> tuple[Bench, _Slow, Plan]:
    def connectors(backend: FakeBackend, clock: VirtualClock) -> Mapping[str, Connector]:
        made = _Slow(connector_of(backend, clock)._settings, backend)
        made.reads, made.writes, made.reading = asyncio.Event(), asyncio.Event(), asyncio.Event()
        made.reads.set()
        return {"world": made}

    seat = bench(tmp_path, connectors=connectors)
    slow = seat.connectors["world"]
    assert isinstance(slow, _Slow)
    plan = await seat.planned(WEIGHT)
    slow.reading.clear()
    return seat, slow, plan


def detached(seat: Bench) -> list[str]:
    return [
        record.intent_id for record in seat.log.read() if record.section("action").get("verb") == "operator_detached"
    ]


async def test_before_anything_left_nothing_leaves(tmp_path: Path) -> None:
    seat, slow, plan = await seated(tmp_path)
    slow.reads.clear()
    action = asyncio.create_task(seat.desk.submit(plan, why="a test"))
    await slow.reading.wait()

    assert await seat.desk.stop_waiting(FRAUD)

    slow.reads.set()
    refusal = await action
    assert isinstance(refusal, Refusal)
    assert refusal.code == "called_off"
    assert "nothing was sent" in refusal.reason
    assert seat.backend.written == []
    assert seat.kinds() == ["denied"]
    assert detached(seat) == []
    # It was about this one action.
    slow.writes.set()
    assert (await seat.done(WEIGHT)).kind is OutcomeKind.APPLIED


async def test_an_intent_that_was_recorded_and_called_off_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat, _, plan = await seated(tmp_path)
    loop, append = asyncio.get_running_loop(), seat.log.append
    stopped: list[bool] = []

    def stops(kind: str, *given: object, **named: object) -> object:
        written = append(kind, *given, **named)  # type: ignore[arg-type]
        if kind == "intent":
            stopped.append(asyncio.run_coroutine_threadsafe(seat.desk.stop_waiting(FRAUD), loop).result(5))
        return written

    monkeypatch.setattr(seat.log, "append", stops)
    refusal = await seat.desk.submit(plan, why="a test")
    assert stopped == [True]
    assert isinstance(refusal, Refusal)
    assert refusal.code == "called_off"
    assert seat.kinds() == ["intent", "outcome"]
    assert seat.backend.written == []
    assert action_on(seat.store.state, FRAUD) is None
    assert await seat.desk.reconcile() == ()
    seat.audit_holds()


async def test_after_it_left_it_goes_on_and_the_audit_says_that_nobody_waited(tmp_path: Path) -> None:
    seat, slow, plan = await seated(tmp_path)
    action = asyncio.create_task(seat.desk.submit(plan, why="a test"))
    while not seat.backend.written:
        await asyncio.sleep(0)

    assert not await seat.desk.stop_waiting(FRAUD)

    (under_way,) = seat.desk.busy
    assert detached(seat) == [under_way.intent_id]
    slow.writes.set()
    outcome = await action
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.APPLIED
    assert seat.kinds() == ["intent", "sent", "step", "outcome"]
    seat.audit_holds()


async def test_who_leaves_stops_waiting_for_everything(tmp_path: Path) -> None:
    seat, slow, plan = await seated(tmp_path)
    action = asyncio.create_task(seat.desk.submit(plan, why="a test"))
    while not seat.backend.written:
        await asyncio.sleep(0)
    await seat.desk.leave()
    await seat.desk.leave()
    assert len(detached(seat)) == 1, "it is said once"
    slow.writes.set()
    await action
    await seat.desk.leave()
    assert len(detached(seat)) == 1


async def test_who_stops_when_all_is_over_calls_nothing_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the outcome and the answer the audit is read again: nothing is left to be called off, now or of the next action."""
    seat, slow, plan = await seated(tmp_path)
    slow.writes.set()
    stopped: list[bool] = []
    refresh = seat.desk.refresh_audit

    async def stops() -> None:
        stopped.append(await seat.desk.stop_waiting(FRAUD))
        await refresh()

    monkeypatch.setattr(seat.desk, "refresh_audit", stops)
    assert (await seat.submitted(plan)).kind is OutcomeKind.APPLIED
    assert stopped == [False]
    assert (await seat.done(SetWeight(FRAUD, 500))).kind is OutcomeKind.APPLIED
