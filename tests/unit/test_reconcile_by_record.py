"""What the audit itself says of an open intent, however the target moved on since, and in which order things were begun."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.release_parts import DEAD, FRAUD, START, Bench, VirtualClock, bench
from tests.unit.test_reconcile import next_start, recorded, segment, told
from tests.unit.test_reconcile_at_once import left_behind

from mlrelease_tui.actions.executor import LOST_ANSWER_S
from mlrelease_tui.connectors.fake.faults import Fault, FaultKind
from mlrelease_tui.domain.intents import RollBack, SetWeight
from mlrelease_tui.domain.rollout import Stamp, Verb
from mlrelease_tui.domain.text import SafeText

WAY_BACK = RollBack(FRAUD, version="2")


def moved_on(seat: Bench) -> None:
    """The target is by now as no step of the rollback knew it, and nobody says who did it."""
    now = seat.endpoint
    odd = tuple(replace(item, weight_bp=3000) for item in now.variants)
    seat.backend.endpoints[FRAUD] = replace(now, stamp=None, variants=odd, revision="77")


@pytest.mark.parametrize(
    ("records", "applied", "truth", "words"),
    [
        (3, 1, "partial", "of 3 steps 1 took effect before the process ended, the rest was never sent"),
        (5, 2, "partial", "of 3 steps 1, 2 took effect before the process ended, the rest was never sent"),
        (7, 3, "applied", "all 3 steps took effect before the process ended"),
    ],
)
async def test_what_was_verified_stays_true_when_the_target_moves_on(
    tmp_path: Path, records: int, applied: int, truth: str, words: str
) -> None:
    whole = await recorded(tmp_path / "first", WAY_BACK)
    seat = next_start(tmp_path, whole.lines[:records], whole.worlds[applied])
    moved_on(seat)
    assert await seat.desk.open() == ()
    assert told(seat) == (truth, words)
    seat.audit_holds()


async def test_what_was_verified_is_told_though_its_connection_is_configured_no_more(tmp_path: Path) -> None:
    whole = await recorded(tmp_path / "first", WAY_BACK)
    root = next_start(tmp_path, whole.lines[:7], whole.worlds[3]).root
    seat = bench(root, connectors=lambda _backend, _clock: {}, seed=9)
    assert await seat.desk.open() == ()
    assert told(seat)[0] == "applied"


@pytest.mark.parametrize("records", [3, 4])
async def test_what_took_effect_and_was_put_back_is_not_called_untouched(tmp_path: Path, records: int) -> None:
    whole = await recorded(tmp_path / "first", WAY_BACK)
    seat = next_start(tmp_path, whole.lines[:records], whole.worlds[0])
    assert await seat.desk.open() == ()
    assert told(seat) == ("superseded", "of 3 steps 1 took effect, and the target was put back since")


async def test_what_was_refused_is_not_called_applied_because_another_did_the_same(tmp_path: Path) -> None:
    """The backend said no, the process died before it could say so, and a colleague brought about the same."""
    whole = await recorded(tmp_path / "first", SetWeight(FRAUD, 2500))
    seat = next_start(tmp_path, whole.lines[:2], whole.worlds[1])
    (intent,) = [item for item in seat.log.read() if item.kind == "intent"]
    body = {"action": {"intent_id": intent.intent_id, "step": 0}, "result": {"status": "rejected"}}
    seat.log.append("step", body)
    assert await seat.desk.open() == ()
    assert told(seat) == ("not_applied", "its write was refused: nothing was changed")


# --- who wrote since ---------------------------------------------------------------------------------------------------


async def test_a_writer_whose_clock_is_ahead_did_not_write_since(tmp_path: Path) -> None:
    """The target carries the stamp of an intent with a later id, and is exactly as the plan found it."""
    clock = VirtualClock()
    world = bench(tmp_path / "world", clock=clock).backend
    later = Stamp("ffffffff-0000-7000-8000-000000000000", Verb.WEIGHT, SafeText("ben"), SafeText(""), START)
    world.endpoints[FRAUD] = replace(world.endpoints[FRAUD], stamp=later)
    dead = bench(tmp_path / "audit", backend=world, clock=clock, process=DEAD)
    dead.backend.faults.add(Fault(FaultKind.IGNORED, "variants", times=1))
    await dead.done(SetWeight(FRAUD, 2500))
    seat = _after(tmp_path, dead, records=2)
    assert await seat.desk.open() == ()
    assert told(seat) == ("not_applied", "the target is as it was before")


async def test_our_own_chain_knows_the_order_though_the_clock_was_set_back(tmp_path: Path) -> None:
    """Of two intents of one host the first has the later id; it wrote, the second never arrived, a hand moved the weights."""
    clock = VirtualClock()
    first = bench(tmp_path / "audit", clock=clock, process=DEAD)
    await first.done(SetWeight(FRAUD, 2500))
    clock.wall = START - timedelta(hours=1)
    second = bench(tmp_path / "audit", backend=first.backend, clock=clock, process=DEAD, seed=3)
    second.backend.faults.add(Fault(FaultKind.IGNORED, "variants", times=1))
    await second.done(SetWeight(FRAUD, 4000))
    seat = _after(tmp_path, second, records=6)
    now = seat.endpoint
    odd = tuple(replace(item, weight_bp=weight) for item, weight in zip(now.variants, (7000, 3000), strict=True))
    seat.backend.endpoints[FRAUD] = replace(now, variants=odd, revision="77")
    assert len(await seat.desk.open()) == 1
    status, message = told(seat)
    assert status == "indeterminate", message


def _after(tmp_path: Path, dead: Bench, *, records: int) -> Bench:
    """A next start that finds the first `records` lines of what a dead process wrote, and its world."""
    dead.log.close()
    path = segment(tmp_path / "audit")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:records]))
    clock = VirtualClock(elapsed_s=3600)
    return bench(tmp_path / "audit", backend=dead.backend, clock=clock, seed=7)


async def test_of_two_that_were_left_open_the_later_one_closes_the_earlier(tmp_path: Path) -> None:
    """Nobody stamps what they write here; the state fits the second, so nothing can be told of the first but that it is past."""
    clock = VirtualClock()
    dead = bench(tmp_path / "audit", clock=clock, process=DEAD)
    dead.backend.faults.add(Fault(FaultKind.IGNORED, "variants", times=1))
    await dead.done(SetWeight(FRAUD, 2500))
    lines = segment(tmp_path / "audit").read_bytes().splitlines(keepends=True)[:2]
    dead.log.close()
    segment(tmp_path / "audit").write_bytes(b"".join(lines))
    later = bench(tmp_path / "audit", backend=dead.backend, clock=clock, process=DEAD, seed=3)
    await later.done(SetWeight(FRAUD, 500))
    later.backend.endpoints[FRAUD] = replace(later.endpoint, stamp=None)
    seat = _after(tmp_path, later, records=4)
    assert [record.kind for record in seat.log.read()] == ["intent", "sent"] * 2
    await seat.desk.reconcile()
    assert await seat.desk.reconcile() == ()
    first, second = [item.intent_id for item in seat.log.read() if item.kind == "intent"]
    found = {item.intent_id: item.section("result")["status"] for item in seat.log.read() if item.kind == "reconciled"}
    assert found == {first: "superseded", second: "applied"}


# --- until when it may still arrive ------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(hours=-1)], ids=["forward", "back"])
async def test_a_clock_that_steps_neither_shortens_nor_lengthens_the_wait(tmp_path: Path, step: timedelta) -> None:
    seat, doomed = await left_behind(tmp_path, SetWeight(FRAUD, 5000))
    seat.clock.wall = START + step
    (left,) = await seat.desk.reconcile(patient=False)
    assert left.settles_at == seat.clock.now() + timedelta(seconds=LOST_ANSWER_S)
    assert left.settling(seat.clock.now())
    await doomed.arrive()
    assert await seat.desk.reconcile() == ()
    assert seat.clock.elapsed_s == 0
    assert told(seat)[0] == "applied"


# --- records that somebody edited --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        lambda record: record["result"].update(status=["unknown"]),
        lambda record: record["result"].update(status={"nonfinite": "NaN"}),
        lambda record: record.update(result=7),
    ],
    ids=["a list", "an object", "a number"],
)
async def test_an_outcome_that_was_edited_leaves_the_intent_open_to_be_read(tmp_path: Path, edit: object) -> None:
    assert callable(edit)
    whole = await recorded(tmp_path / "first", SetWeight(FRAUD, 2500))
    outcome = json.loads(whole.lines[-1])
    edit(outcome)
    edited = json.dumps(outcome, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    seat = next_start(tmp_path, [*whole.lines[:-1], edited], whole.worlds[-1])
    assert await seat.desk.open() == ()


@pytest.mark.parametrize(
    ("key", "value"),
    [("present", [{}]), ("step_index", "three"), ("weights", [["v2", 1e999]]), ("labels", [1]), ("stable_version", {})],
)
async def test_an_intent_whose_steps_were_edited_stays_open_and_hides_no_other(
    tmp_path: Path, key: str, value: object
) -> None:
    whole = await recorded(tmp_path / "first", SetWeight(FRAUD, 2500))
    intent = json.loads(whole.lines[0])
    intent["action"]["steps"][0]["expects"][key] = value
    text = json.dumps(intent, sort_keys=True, separators=(",", ":")).replace("Infinity", "1e999")
    seat = next_start(tmp_path, [text.encode() + b"\n", *whole.lines[1:2]], whole.worlds[1])
    (left,) = await seat.desk.open()
    assert left.intent_id == intent["id"]
    assert told(seat)[0] == "indeterminate"
