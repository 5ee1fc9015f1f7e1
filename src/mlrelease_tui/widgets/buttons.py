"""The line of a panel that takes its keys: they reach it one by one, before any binding."""

from __future__ import annotations

from collections.abc import Callable

from textual.events import Key, Paste

from mlrelease_tui.presentation.lines import EMPTY, Line
from mlrelease_tui.widgets.canvas import Canvas


class Buttons(Canvas, can_focus=True):
    """Draws what `draw` gives and drops pastes. `heard` is told each key, `reached` that keys come here from now on."""

    def __init__(
        self,
        draw: Callable[[], Line],
        heard: Callable[[Key], None],
        reached: Callable[[], None],
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._draw = draw
        self._heard = heard
        self._reached = reached

    def line_at(self, y: int) -> Line:
        return self._draw() if y == 0 else EMPTY

    def on_focus(self) -> None:
        self._reached()

    def on_key(self, event: Key) -> None:
        self._heard(event)

    def on_paste(self, event: Paste) -> None:
        event.stop()


def drop(event: Key) -> None:
    """Let a key do nothing, whatever it is bound to."""
    event.stop()
    event.prevent_default()
