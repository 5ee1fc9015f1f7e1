"""SIGKILL at every step of a rollback: the next start says what is so, the audit holds, and nothing is sent again.

First on a file-backed target, at every step and in the middle of every line of the audit; then on real local endpoints behind a
real Traefik, between their writes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.connectors.local_host import LocalHost, definition, local_host, until
from tests.e2e.dying import Operators
from tests.e2e.kill_child import restore, save
from tests.unit.release_parts import (
    FRAUD,
    FRAUD_MODEL,
    START,
    Bench,
    VirtualClock,
    bench,
    connector_of,
    world,
)

from mlrelease_tui.actions.desk import Desk
from mlrelease_tui.actions.executor import LOST_ANSWER_S
from mlrelease_tui.actions.journal import Journal, steps_of
from mlrelease_tui.audit.intents import open_intents
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.domain.intents import RollBack
from mlrelease_tui.domain.plan import OutcomeKind, Plan, Write
from mlrelease_tui.domain.rollout import Stamp, Verb, weights_of
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict
from mlrelease_tui.store.store import Store

Dying = Callable[[dict[str, Any]], str]


@pytest.fixture(scope="module")
def dying() -> Iterator[Dying]:
    """Lets an operator die as told; how they ended."""
    with Operators("tests.e2e.kill_child") as operators:
        yield operators.die


STEPS: list[tuple[str, int, str]] = [
    # Where the operator dies, how many of the three writes are in force then, and what the next start must say.
    ("before intent 0", 0, "nothing open"),
    ("in line of intent 0", 0, "nothing open"),
    ("after intent 0", 0, "not_applied"),
    ("before sent 0", 0, "not_applied"),
    ("in line of sent 0", 0, "not_applied"),
    ("after sent 0", 0, "not_applied"),
    ("before perform 0", 0, "not_applied"),
    ("after perform 0", 1, "partial"),
    ("before step 0", 1, "partial"),
    ("in line of step 0", 1, "partial"),
    ("after step 0", 1, "partial"),
    ("before sent 1", 1, "partial"),
    ("in line of sent 1", 1, "partial"),
    ("after sent 1", 1, "partial"),
    ("before perform 1", 1, "partial"),
    ("after perform 1", 2, "partial"),
    ("before step 1", 2, "partial"),
    ("in line of step 1", 2, "partial"),
    ("after step 1", 2, "partial"),
    ("in line of sent 2", 2, "partial"),
    ("after sent 2", 2, "partial"),
    ("before perform 2", 2, "partial"),
    ("after perform 2", 3, "applied"),
    ("before step 2", 3, "applied"),
    ("in line of step 2", 3, "applied"),
    ("after step 2", 3, "applied"),
    ("before outcome 0", 3, "applied"),
    ("in line of outcome 0", 3, "applied"),
    ("after outcome 0", 3, "nothing open"),
]


@pytest.mark.parametrize(("at", "applied", "truth"), STEPS, ids=[step[0] for step in STEPS])
async def test_killed_at_any_step_the_next_start_says_which(
    at: str, applied: int, truth: str, dying: Dying, tmp_path: Path
) -> None:
    path = tmp_path / "world.pickle"
    save(path, world(VirtualClock()))

    assert dying({"root": str(tmp_path / "audit"), "world": str(path), "at": at, "seed": 1}) == "killed"

    backend = restore(path, world(VirtualClock()))
    assert len(backend.written) == applied
    seat = bench(tmp_path / "audit", backend=backend, seed=7)
    assert await seat.desk.open() == ()
    found = [str(item.section("result")["status"]) for item in seat.log.read() if item.kind == "reconciled"]
    assert found == ([] if truth == "nothing open" else [truth])
    assert len(backend.written) == applied, "the next start wrote to the backend"
    _is_old_or_new(backend, applied)
    if seat.kinds():
        seat.audit_holds()

    if applied < 3:
        # The emergency is not over: the same wish again brings it to its end, from wherever it stands.
        outcome = await seat.done(RollBack(FRAUD, "2"))
        assert outcome.kind is OutcomeKind.APPLIED
        assert len(backend.written) == 3, "what was done already was done again"
    _is_old_or_new(backend, 3)
    seat.audit_holds()


ON_ITS_WAY = r"after sent .|(before|after) perform .|(before|in line of) step ."
"""Where a write has left and nobody has recorded what became of it."""


@pytest.mark.parametrize(("at", "applied", "truth"), STEPS, ids=[step[0] for step in STEPS])
async def test_killed_at_any_step_the_rollback_again_waits_for_nothing_and_no_late_write_gets_through(
    at: str, applied: int, truth: str, dying: Dying, tmp_path: Path
) -> None:
    path = tmp_path / "world.pickle"
    save(path, world(VirtualClock()))
    assert dying({"root": str(tmp_path / "audit"), "world": str(path), "at": at, "seed": 1}) == "killed"
    backend = restore(path, world(VirtualClock()))
    seat = bench(tmp_path / "audit", backend=backend, seed=7)
    late = _on_its_way(seat)
    assert len(late) == int(re.fullmatch(ON_ITS_WAY, at) is not None)

    left = await seat.desk.ready()

    assert bool(left) == (truth != "nothing open")
    if applied < 3:
        assert (await seat.done(RollBack(FRAUD, "2"))).kind is OutcomeKind.APPLIED
        assert seat.clock.elapsed_s == 0, "somebody waited"
        assert len(backend.written) == 3, "what was done already was done again"
    _is_old_or_new(backend, 3)
    # What the dead process sent arrives now, after all: it was planned on what is no more.
    for write, stamp in late:
        with pytest.raises(Conflict):
            await connector_of(backend, seat.clock).perform(write, stamp)
    _is_old_or_new(backend, 3)
    seat.clock.elapsed_s += LOST_ANSWER_S
    assert await seat.desk.reconcile() == ()
    (told,) = {str(item.section("result")["status"]) for item in seat.log.read() if item.kind == "reconciled"} or {""}
    assert told == ("" if truth == "nothing open" else truth if truth == "applied" else "superseded")
    if seat.kinds():
        seat.audit_holds()


def _on_its_way(seat: Bench) -> list[tuple[Write, Stamp]]:
    """The writes of which the audit knows that they left and not what became of them."""
    found = []
    for intent in open_intents(seat.log):
        if (sent := intent.unanswered) is not None:
            steps = intent.intent.section("action")["steps"]
            assert isinstance(steps, list)
            shape = cast(dict[str, Any], steps[cast(int, sent.section("action")["step"])])
            (assumes, expects) = steps_of(intent)[cast(int, sent.section("action")["step"])]
            write = Write(**(shape | {"assumes": assumes, "expects": expects}))
            found.append((write, Stamp(intent.intent_id, Verb.ROLLBACK, SafeText("ana"), SafeText("late"), START)))
    return found


def _is_old_or_new(backend: FakeBackend, applied: int) -> None:
    """Users get either the split of before or the version to which it goes back, never something between."""
    old, new = {"v2": 9000, "v3": 1000}, {"v2": 10_000}
    weights = {name: weight for name, weight in weights_of(backend.endpoints[FRAUD]).items() if weight}
    assert weights == (old if applied == 0 else new)
    assert ("v3" in weights_of(backend.endpoints[FRAUD])) == (applied < 2)
    assert backend.models[FRAUD_MODEL].aliases["champion"] == ("3" if applied < 3 else "2")


async def test_nobody_dies_where_nothing_is_told_to(dying: Dying, tmp_path: Path) -> None:
    path = tmp_path / "world.pickle"
    save(path, world(VirtualClock()))
    assert dying({"root": str(tmp_path / "audit"), "world": str(path), "at": "never", "seed": 1}) == "applied"


@pytest.mark.real
async def test_killed_between_the_writes_of_a_local_rollback(dying: Dying, tmp_path: Path) -> None:
    names = ("sent", "traffic", "done")
    deaths = {"sent": "after sent 0", "traffic": "after perform 0", "done": "after perform 3"}
    definitions = [definition(name, model="", alias="") for name in names]
    async with local_host(tmp_path / "site", *definitions) as host:
        await asyncio.gather(*(host.serve("1", name=name) for name in names))
        await asyncio.gather(*(host.serve("2", name=name, weight_bp=5_000) for name in names))
        for name in names:
            job = {
                "root": str(tmp_path / "audit"),
                "site": str(tmp_path / "site"),
                "endpoint": name,
                "version": "1",
                "seed": names.index(name),
                "at": deaths[name],
            }
            assert dying(job) == "killed"
        # The supervisor goes on with what was asked of it; the audit's clock says that all this was long ago.
        await until(lambda: _only(host, "done", "v1"))
        seat = bench(tmp_path / "audit", seed=7)
        late = {str(stamp.intent_id): (write, stamp) for write, stamp in _on_its_way(seat)}
        desk = Desk(Store(), {host.connector.name: host.connector}, Journal(seat.log))
        assert await desk.open() == ()
        told = {
            str(item.section("target")["id"]).rpartition("/")[2]: str(item.section("result")["status"])
            for item in seat.log.read()
            if item.kind == "reconciled"
        }
        assert told == {"sent": "not_applied", "traffic": "partial", "done": "applied"}
        assert await host.weights("sent") == {"v1": 5_000, "v2": 5_000}
        assert await host.weights("traffic") == {"v1": 10_000, "v2": 0}
        assert (await host.weights("done")) == {"v1": 10_000}
        again = await desk.prepare(RollBack(host.ref("traffic"), "1"))
        assert isinstance(again, Plan)
        await host.send(again.steps)
        assert await host.weights("traffic") == {"v1": 10_000}
        # The request of the one that died before its traffic moved arrives when another hand has moved it.
        again = await desk.prepare(RollBack(host.ref("sent"), "1"))
        assert isinstance(again, Plan)
        await host.send(again.steps)
        (sent,) = (pair for pair in late.values() if '"endpoint":"local/sent"' in pair[0].payload)
        with pytest.raises(Conflict):
            await host.connector.perform(*sent)
        assert await host.weights("sent") == {"v1": 10_000}
        seat.audit_holds()


async def _only(host: LocalHost, name: str, variant: str) -> bool:
    return [item.name for item in (await host.read(name)).variants] == [variant]
