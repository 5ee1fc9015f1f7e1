"""Whether a key came alone: nothing was typed right behind it that still waits somewhere to be handled.

A paste into a terminal without bracketed paste is keys like any others; what tells it from a person is that they come at once.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from typing import Final

from textual.timer import Timer
from textual.widget import Widget

ALONE_S: Final = 0.15
"""A key is alone when no other follows within this time."""


class Alone:
    """Waits for one key at a time. `focus` gives the widget that keys reach; `ended` is told whether the key was alone."""

    def __init__(self, owner: Widget, focus: Callable[[], Widget], ended: Callable[[bool], None]) -> None:
        self._owner = owner
        self._focus = focus
        self._ended = ended
        self._pending: Timer | None = None

    @property
    def pending(self) -> bool:
        """Whether a key waits to be alone."""
        return self._pending is not None

    def begin(self) -> None:
        """A key came that counts if it is alone. None may be pending."""
        pending: Timer = self._owner.set_timer(ALONE_S, lambda: self._look_behind(pending))
        self._pending = pending

    def give_up(self) -> None:
        """Forget the key that waits, if there is one; `ended` is not told."""
        if self._pending is not None:
            self._pending.stop()
            self._pending = None

    def _look_behind(self, pending: Timer) -> None:
        """Whether a key came right behind and waits, at the app or at the focus, to be handled: let it be first."""
        if not self._owner.display:
            # It was closed meanwhile, and its focus with it.
            self._pending = None
            return
        focus = self._focus()
        self._owner.app.call_later(lambda: focus.call_later(self._end, pending))

    def _end(self, pending: Timer) -> None:
        if self._pending is not pending:
            return
        self._pending = None
        app = self._owner.app
        # The app hands out keys one after another: those that came behind may still wait there, or at the terminal.
        self._ended(not (getattr(app, "keys_wait", False) or (not app.is_headless and _unread())))


def _unread() -> bool:
    """Whether the terminal holds typed characters that nobody has read yet."""
    if sys.__stdin__ is None:
        return False
    try:
        return bool(select.select([sys.__stdin__], [], [], 0)[0])
    except (OSError, ValueError):
        return False
