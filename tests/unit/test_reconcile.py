"""Reconciling: what a process that died left open is told truly, from reads alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.unit.release_parts import DEAD, FRAUD, FRAUD_MODEL, Bench, bench, connector_of, world

from mlrelease_tui.actions.executor import LOST_ANSWER_S, Pace
from mlrelease_tui.connectors.api import Receipt
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.connectors.fake.faults import Fault, FaultKind
from mlrelease_tui.domain.intents import Intent, MoveAlias, RestartEndpoint, RollBack, SetWeight
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Phase, Stamp, Verb
from mlrelease_tui.domain.text import SafeText

LATER = "ffffffff-0000-7000-8000-000000000000"

KINDS = ("intent", "sent", "step", "sent", "step", "sent", "step", "outcome")
"""The records of a rollback of three writes, in order: two on the endpoint, one on the alias."""


@dataclass
class Recorded:
    """A rollback that ran whole: its records as bytes, and the world after each write."""

    lines: list[bytes]
    worlds: list[FakeBackend]


def copied(backend: FakeBackend) -> FakeBackend:
    return FakeBackend(dict(backend.endpoints), dict(backend.models), dict(backend.versions))


def segment(root: Path) -> Path:
    (found,) = root.glob("*/000001.jsonl")
    return found


async def recorded(root: Path, intent: Intent) -> Recorded:
    worlds: list[FakeBackend] = []

    class Remembers(FakeConnector):
        async def perform(self, write: Write, stamp: Stamp) -> Receipt:
            receipt = await super().perform(write, stamp)
            worlds.append(copied(self.backend))
            return receipt

    seat = bench(
        root,
        process=DEAD,
        connectors=lambda backend, clock: {"world": Remembers(connector_of(backend, clock)._settings, backend)},
    )
    worlds.append(copied(seat.backend))
    await seat.done(intent)
    seat.log.close()
    return Recorded(segment(root).read_bytes().splitlines(keepends=True), worlds)


def next_start(
    tmp_path: Path, lines: list[bytes], backend: FakeBackend, name: str = "next", tail: bytes = b""
) -> Bench:
    """A new process before an audit of which only `lines` were written."""
    root = tmp_path / name
    source = segment(tmp_path / "first")
    folder = root / source.parent.name
    folder.mkdir(parents=True, mode=0o700)
    root.chmod(0o700)
    (folder / source.name).write_bytes(b"".join(lines) + tail)
    (folder / source.name).chmod(0o600)
    return bench(root, backend=copied(backend), seed=7)


def told(seat: Bench) -> tuple[str, str]:
    (found,) = [record for record in seat.log.read() if record.kind == "reconciled"]
    result = found.section("result")
    return str(result["status"]), str(result["message"])


PREFIXES = [
    # How many records were written, how many writes were applied, what is true.
    (1, 0, "not_applied"),
    (2, 0, "not_applied"),
    (2, 1, "partial"),
    (3, 1, "partial"),
    (4, 1, "partial"),
    (4, 2, "partial"),
    (5, 2, "partial"),
    (6, 2, "partial"),
    (6, 3, "applied"),
    (7, 3, "applied"),
]


@pytest.mark.parametrize(("records", "applied", "truth"), PREFIXES)
async def test_every_prefix_of_a_rollback_is_told_truly(tmp_path: Path, records: int, applied: int, truth: str) -> None:
    whole = await recorded(tmp_path / "first", RollBack(FRAUD, version="2"))
    seat = next_start(tmp_path, whole.lines[:records], whole.worlds[applied])
    before = copied(seat.backend)

    assert await seat.desk.open() == ()

    status, message = told(seat)
    assert status == truth
    if truth == "partial":
        listed = ", ".join(str(step + 1) for step in range(applied))
        assert f"of 3 steps {listed} is seen to hold" in message
        assert "alias champion points at 3, not 2" in message
    assert seat.backend.written == [], "reconciling wrote to the backend"
    assert (seat.backend.endpoints, seat.backend.models) == (before.endpoints, before.models)
    seat.audit_holds()
    # It is told once: the next start finds nothing open.
    again = len(seat.kinds())
    assert await seat.desk.open() == ()
    assert len(seat.kinds()) == again


async def test_a_rollback_that_ended_is_not_open(tmp_path: Path) -> None:
    whole = await recorded(tmp_path / "first", RollBack(FRAUD, version="2"))
    assert len(whole.lines) == len(KINDS)
    seat = next_start(tmp_path, whole.lines, whole.worlds[-1])
    assert await seat.desk.open() == ()
    assert seat.kinds() == list(KINDS)


async def test_a_torn_last_line_changes_nothing_of_the_truth(tmp_path: Path) -> None:
    whole = await recorded(tmp_path / "first", RollBack(FRAUD, version="2"))
    for count, cut in enumerate((1, 40, len(whole.lines[3]) - 1)):
        seat = next_start(tmp_path, whole.lines[:3], whole.worlds[1], f"torn-{count}", whole.lines[3][:cut])
        await seat.desk.open()
        assert told(seat)[0] == "partial"
        assert "recovered" in seat.kinds()
        seat.audit_holds()


@pytest.mark.parametrize("applied", [0, 1, 2])
async def test_who_wrote_since_is_named(tmp_path: Path, applied: int) -> None:
    whole = await recorded(tmp_path / "first", RollBack(FRAUD, version="2"))
    seat = next_start(tmp_path, whole.lines[:4], whole.worlds[applied])
    stamp = Stamp(LATER, Verb.WEIGHT, SafeText("ben"), SafeText("by hand"))
    now = seat.endpoint
    seat.backend.endpoints[FRAUD] = replace(
        now, stamp=stamp, variants=tuple(replace(item, weight_bp=5000) for item in now.variants)
    )
    await seat.desk.open()
    assert told(seat) == ("superseded", f"intent {LATER} wrote since")


async def test_a_state_that_fits_nothing_stays_open_until_it_can_be_told(tmp_path: Path) -> None:
    whole = await recorded(tmp_path / "first", RollBack(FRAUD, version="2"))
    seat = next_start(tmp_path, whole.lines[:2], whole.worlds[0])
    start = seat.endpoint
    odd = tuple(replace(item, weight_bp=weight) for item, weight in zip(start.variants, (7000, 3000), strict=True))
    seat.backend.endpoints[FRAUD] = replace(start, variants=odd)

    (left,) = await seat.desk.open()

    assert (left.verb, left.target, left.alive) == ("rollback", FRAUD.id, False)
    status, message = told(seat)
    assert status == "indeterminate"
    assert "fits neither before nor after" in message
    assert seat.store.state.open_actions == (left,)
    # The same finding is not written again and again.
    count = len(seat.kinds())
    await seat.desk.reconcile()
    assert len(seat.kinds()) == count
    seat.backend.endpoints[FRAUD] = start
    assert await seat.desk.reconcile() == ()


@pytest.mark.parametrize("kind", [FaultKind.REFUSED, FaultKind.NOT_FOUND, FaultKind.CRASH, FaultKind.EXIT])
async def test_what_cannot_be_read_stays_open(tmp_path: Path, kind: FaultKind) -> None:
    whole = await recorded(tmp_path / "first", RollBack(FRAUD, version="2"))
    seat = next_start(tmp_path, whole.lines[:2], whole.worlds[1])
    seat.backend.faults.add(Fault(kind, "endpoint"))
    assert len(await seat.desk.open()) == 1
    assert told(seat)[0] == "indeterminate"


async def test_a_connection_that_is_configured_no_more_leaves_it_open(tmp_path: Path) -> None:
    whole = await recorded(tmp_path / "first", RollBack(FRAUD, version="2"))
    root = next_start(tmp_path, whole.lines[:2], whole.worlds[0]).root
    seat = bench(root, connectors=lambda _backend, _clock: {}, seed=9)
    assert len(await seat.desk.open()) == 1
    assert "no connection is called 'world'" in told(seat)[1]


async def test_what_left_a_moment_ago_may_still_arrive(tmp_path: Path) -> None:
    """The process died, its request did not: the server carries it out two seconds later."""
    whole = await recorded(tmp_path / "first", RollBack(FRAUD, version="2"))
    seat = next_start(tmp_path, whole.lines[:2], whole.worlds[0])
    slept = seat.clock.sleep

    async def sleep(seconds: float) -> None:
        await slept(seconds)
        if seat.clock.elapsed_s >= 2:
            seat.backend.endpoints[FRAUD] = whole.worlds[1].endpoints[FRAUD]

    seat.desk._pace = Pace(seat.clock.now, seat.clock.monotonic, sleep)
    await seat.desk.open()
    assert told(seat)[0] == "partial"
    assert seat.clock.elapsed_s >= LOST_ANSWER_S


async def test_what_left_long_ago_is_told_at_once(tmp_path: Path) -> None:
    whole = await recorded(tmp_path / "first", RollBack(FRAUD, version="2"))
    seat = next_start(tmp_path, whole.lines[:2], whole.worlds[0])
    seat.clock.elapsed_s = 3600
    await seat.desk.open()
    assert told(seat)[0] == "not_applied"
    assert seat.clock.elapsed_s == 3600


async def test_an_alias_says_nothing_of_an_endpoint(tmp_path: Path) -> None:
    """Somebody moved the alias by hand after the process died: the traffic is not back for all that."""
    whole = await recorded(tmp_path / "first", RollBack(FRAUD, version="2"))
    seat = next_start(tmp_path, whole.lines[:2], whole.worlds[0])
    model = seat.backend.models[FRAUD_MODEL]
    seat.backend.models[FRAUD_MODEL] = replace(model, aliases={"champion": "2"})
    await seat.desk.open()
    assert told(seat)[0] == "not_applied"


def _stamped_and_as_before(seat: Bench, whole: Recorded, phase: Phase) -> None:
    ours, before = seat.endpoint.stamp, whole.worlds[0].endpoints[FRAUD]
    seat.backend.endpoints[FRAUD] = replace(before, stamp=ours, rollout=replace(before.rollout, phase=phase))


async def test_what_was_applied_and_put_back_by_hand_is_not_called_untouched(tmp_path: Path) -> None:
    whole = await recorded(tmp_path / "first", SetWeight(FRAUD, 2500))
    seat = next_start(tmp_path, whole.lines[:2], whole.worlds[1])
    _stamped_and_as_before(seat, whole, Phase.COMPLETE)
    await seat.desk.open()
    assert told(seat) == ("superseded", "it was applied, and the target was put back since")


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.DEGRADED, Phase.UNKNOWN])
async def test_what_arrived_and_is_still_on_its_way_is_not_called_put_back(tmp_path: Path, phase: Phase) -> None:
    """A process dies in the minutes that a new version takes to start: until then it looks as before, but for the stamp."""
    whole = await recorded(tmp_path / "first", SetWeight(FRAUD, 2500))
    seat = next_start(tmp_path, whole.lines[:2], whole.worlds[1])
    applied = seat.endpoint
    _stamped_and_as_before(seat, whole, phase)
    assert len(await seat.desk.open()) == 1
    assert told(seat) == ("indeterminate", "it arrived, as its stamp shows, and is not seen to take effect yet")
    seat.backend.endpoints[FRAUD] = applied
    assert await seat.desk.reconcile() == ()
    last = [record for record in seat.log.read() if record.kind == "reconciled"][-1]
    assert last.section("result")["status"] == "applied"


@pytest.mark.parametrize(("applied", "truth"), [(0, "indeterminate"), (1, "applied")])
async def test_what_looks_the_same_before_and_after_is_told_by_the_stamp(
    tmp_path: Path, applied: int, truth: str
) -> None:
    whole = await recorded(tmp_path / "first", RestartEndpoint(FRAUD))
    seat = next_start(tmp_path, whole.lines[:2], whole.worlds[applied])
    await seat.desk.open()
    assert told(seat)[0] == truth


@pytest.mark.parametrize(("applied", "truth"), [(0, "not_applied"), (1, "applied")])
async def test_an_alias_alone(tmp_path: Path, applied: int, truth: str) -> None:
    whole = await recorded(tmp_path / "first", MoveAlias(FRAUD_MODEL, "champion", "2"))
    seat = next_start(tmp_path, whole.lines[:2], whole.worlds[applied])
    await seat.desk.open()
    assert told(seat)[0] == truth


async def test_a_living_process_is_left_to_itself(tmp_path: Path) -> None:
    whole = await recorded(tmp_path / "first", SetWeight(FRAUD, 2500))
    seat = bench(tmp_path / "living")
    ours = bench(tmp_path / "living", backend=seat.backend, by="ben", seed=5)
    plan = await ours.planned(SetWeight(FRAUD, 2500))
    ours.log.append("intent", _intent_of(whole), record_id="living-intent")

    (found,) = await seat.desk.open()

    assert found.alive
    assert found.pid == os.getpid()
    assert "reconciled" not in seat.kinds()
    refusal = await seat.refused(SetWeight(FRAUD, 500))
    assert refusal.code == "busy"
    assert "by ben" in refusal.reason
    assert plan.verb is Verb.WEIGHT


def _intent_of(whole: Recorded) -> Mapping[str, object]:
    import json

    fields = json.loads(whole.lines[0])
    action = {**fields["action"], "intent_id": "living-intent"}
    return {"target": fields["target"], "action": action, "why": fields["why"]}


async def test_an_audit_that_cannot_be_written_locks_writes(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("not a folder")
    seat = bench(tmp_path / "audit")
    assert await seat.desk.open() == ()
    assert seat.store.state.access.locked
    refusal = await seat.desk.arm(5)
    assert refusal is not None
    assert refusal.code == "locked"
    assert world(seat.clock).endpoints == seat.backend.endpoints
