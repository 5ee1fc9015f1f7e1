"""Long work of a screen, in slices that let keys through."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from mlrelease_tui.store.breath import PAUSE_S, SLICE_S

AT_ONCE: Final = 500
"""Endpoints up to which a screen's work is done without a pause: some five milliseconds."""


class Slices:
    """`run` begins a piece of work, which yields often; it is gone on with by `later` until it is done."""

    def __init__(
        self,
        later: Callable[[float, Callable[[], None]], object],
        done: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._later = later
        self._done = done
        self._monotonic = monotonic
        self._work: Iterator[None] | None = None
        self._asked = False

    @property
    def busy(self) -> bool:
        """Whether there is work that is not done yet."""
        return self._work is not None

    def run(self, work: Iterator[None], *, whole: bool = False) -> bool:
        """Begin `work` in place of what is under way, and end it at once where it is wanted `whole`. True where it is done already;
        `done` is called where it is later."""
        self._work = work
        if self._slice(work, float("inf") if whole else SLICE_S):
            return True
        self._ask()
        return False

    def _ask(self) -> None:
        if not self._asked:
            self._asked = True
            self._later(PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        self._asked = False
        if self._work is None:
            return
        if self._slice(self._work, SLICE_S):
            self._done()
        else:
            self._ask()

    def _slice(self, work: Iterator[None], seconds: float) -> bool:
        end = self._monotonic() + seconds
        for _ in work:
            if self._monotonic() >= end:
                return False
        self._work = None
        return True
