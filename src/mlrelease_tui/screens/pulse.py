"""When to draw: many changes become one draw, at most five a second, fewer where the terminal reads slowly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FASTEST_S: Final = 0.2
SLOWEST_S: Final = 10.0


class Pulse:
    """`changed` asks for a draw. The first one after a quiet time comes at once, others wait for the interval.

    The governor: output that was not taken by the terminal yet (`backlog`, in writes) means that it reads slower than we draw.
    Then the stale frame is dropped, not queued, and the interval doubles; it halves again with each draw that was taken.
    """

    def __init__(
        self,
        draw: Callable[[], None],
        later: Callable[[float, Callable[[], None]], object],
        backlog: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._draw = draw
        self._later = later
        self._backlog = backlog
        self._monotonic = monotonic
        self._pending = False
        self._drawn_at = float("-inf")
        self.interval = FASTEST_S

    @property
    def pending(self) -> bool:
        """Whether a draw was asked for and did not come yet."""
        return self._pending

    @property
    def slow(self) -> bool:
        """Whether the terminal reads so slowly that draws are being dropped."""
        return self.interval >= 1.0

    def changed(self) -> None:
        if self._pending:
            return
        self._pending = True
        self._later(max(self._drawn_at + self.interval - self._monotonic(), 0.0), self._fire)

    def _fire(self) -> None:
        if self._backlog() > 0:
            self.interval = min(self.interval * 2, SLOWEST_S)
            self._later(self.interval, self._fire)
            return
        self.interval = max(self.interval / 2, FASTEST_S)
        self._pending = False
        self._drawn_at = self._monotonic()
        self._draw()
