"""Long work in slices: ended at once where it is short, gone on with later where it is not, given up for newer work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from mlrelease_tui.screens.slices import Slices
from mlrelease_tui.store.breath import PAUSE_S, SLICE_S, Breath


class Desk:
    """A clock that each step of work moves on, and what was asked for later."""

    def __init__(self) -> None:
        self.now = 0.0
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.done = 0
        self.steps: list[str] = []
        self.slices = Slices(lambda delay, call: self.later.append((delay, call)), self._done, lambda: self.now)

    def _done(self) -> None:
        self.done += 1

    def work(self, name: str, count: int, step_s: float) -> Iterator[None]:
        for _ in range(count):
            self.now += step_s
            self.steps.append(name)
            yield

    def turn(self) -> None:
        ((delay, call),) = self.later
        assert delay == PAUSE_S
        self.later.clear()
        call()


def test_short_work_is_done_at_once_and_whole_work_too() -> None:
    desk = Desk()
    assert desk.slices.run(desk.work("short", 3, SLICE_S / 10))
    assert desk.slices.run(desk.work("whole", 50, SLICE_S), whole=True)
    assert (desk.later, desk.done, desk.slices.busy) == ([], 0, False)


def test_long_work_lets_others_through_and_tells_when_it_is_done() -> None:
    desk = Desk()
    assert not desk.slices.run(desk.work("long", 6, SLICE_S / 2))
    turns = 0
    while desk.slices.busy:
        assert len(desk.steps) <= 2 * (turns + 1), "a slice took longer than it may"
        desk.turn()
        turns += 1
    assert desk.steps == ["long"] * 6
    assert (desk.done, desk.later) == (1, [])


def test_newer_work_takes_the_place_of_what_is_under_way() -> None:
    desk = Desk()
    desk.slices.run(desk.work("old", 99, SLICE_S))
    assert desk.slices.run(desk.work("new", 1, 0.0))
    desk.turn()
    assert desk.steps == ["old", "new"]
    assert desk.done == 0, "it was told of work that was given up"


async def test_a_breath_is_taken_when_the_slice_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [0.0], []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    taken = Breath(lambda: now[0])
    for _ in range(10):
        now[0] += SLICE_S / 4
        await taken.taken()
    assert slept == [PAUSE_S, PAUSE_S]
