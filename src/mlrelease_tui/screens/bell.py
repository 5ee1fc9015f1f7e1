"""Ringing for what begins to burn, and saying in the terminal's title how much burns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.screens.alarm import Alarm

# XTWINOPS 22 and 23: the terminal keeps the title that it had before, and takes it back at the end.
_KEEP_TITLE: Final = "\x1b[22;2t"
_GIVE_BACK: Final = "\x1b[23;2t"


class Bell:
    """`ring` rings; `write` sends a sequence that draws nothing."""

    def __init__(self, alarm: Alarm, ring: Callable[[], None], write: Callable[[str], None]) -> None:
        self._alarm = alarm
        self._ring = ring
        self._write = write
        self._titled = ""

    def sound(self, statuses: Iterable[EndpointStatus]) -> None:
        """Hear how the fleet is judged now. A title that says nothing new is not sent again."""
        if self._alarm.hear(statuses):
            self._ring()
        title = self._alarm.title
        if title != self._titled and (self._titled or self._alarm.burning):
            keep = "" if self._titled else _KEEP_TITLE
            self._titled = title
            self._write(f"{keep}\x1b]2;{title}\x07")

    def rest(self) -> None:
        """Give the terminal its title back."""
        if self._titled:
            self._titled = ""
            self._write(_GIVE_BACK)
