"""When to draw: many changes become one draw, at most five a second, fewer where the terminal reads slowly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FASTEST_S: Final = 0.2
SLOW_S: Final = 5.0
"""Between two draws on a slow link."""
SLOWEST_S: Final = 10.0
_SLOW_FROM_S: Final = 1.0
_CALM: Final = 6
"""Draws in a row that the terminal took at once, after which it is no longer called slow."""


class Pulse:
    """`changed` asks for a draw. The first one after a quiet time comes at once, others wait for the interval.

    The governor: output that was not taken by the terminal yet (`backlog`, in writes) means that it reads slower than we draw.
    Then the stale frame is dropped, not queued, and the interval doubles, from a second on to 5 s and 10 s; it halves again with
    each draw that was taken, and leaves 5 s only after several, so that a slow link is not tried again and again. `slow` True
    never goes below 5 s.
    """

    def __init__(
        self,
        draw: Callable[[], None],
        later: Callable[[float, Callable[[], None]], object],
        backlog: Callable[[], int],
        monotonic: Callable[[], float],
        *,
        slow: bool = False,
    ) -> None:
        self._draw = draw
        self._later = later
        self._backlog = backlog
        self._monotonic = monotonic
        self._pending = False
        self._drawn_at = float("-inf")
        self._calm = 0
        self._fastest = SLOW_S if slow else FASTEST_S
        self.interval = self._fastest

    @property
    def pending(self) -> bool:
        """Whether a draw was asked for and did not come yet."""
        return self._pending

    @property
    def slow(self) -> bool:
        """Whether the terminal reads so slowly that draws are being dropped."""
        return self.interval >= _SLOW_FROM_S

    def changed(self) -> None:
        if self._pending:
            return
        self._pending = True
        self._later(max(self._drawn_at + self.interval - self._monotonic(), 0.0), self._fire)

    def _fire(self) -> None:
        if self._backlog() > 0:
            self._calm = 0
            doubled = self.interval * 2
            self.interval = min(max(doubled, SLOW_S) if doubled >= _SLOW_FROM_S else doubled, SLOWEST_S)
            self._later(self.interval, self._fire)
            return
        self._calm += 1
        if self.interval > SLOW_S:
            self.interval = max(self.interval / 2, SLOW_S)
        elif not self.slow or self._calm >= _CALM:
            self.interval = max(self.interval / 2 if not self.slow else self._fastest, self._fastest)
        self._pending = False
        self._drawn_at = self._monotonic()
        self._draw()
