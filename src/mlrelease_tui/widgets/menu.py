"""A docked menu of single letters. What cannot be done is shown with the reason, not hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from textual.events import Key as KeyEvent
from textual.message import Message

from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, cut, fit, width
from mlrelease_tui.widgets.canvas import Canvas
from mlrelease_tui.widgets.keys import bindings, display

FRAME_LINES: Final = 2
"""Lines of a menu beside its items: the title, and the rule above it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One entry: its letter, what it does, what it posts when chosen, why it can't be ("" where it can), and what the backend
    calls it."""

    key: str
    text: str
    choice: str
    reason: str = ""
    native: str = ""


class Menu(Canvas, can_focus=True):
    """Posts `Chosen` for an item that can be chosen; Esc posts `Closed`. Other keys are the screen's."""

    BINDINGS = bindings("dialog")

    @dataclass
    class Chosen(Message):
        menu: Menu
        choice: str

        @property
        def control(self) -> Menu:
            return self.menu

    @dataclass
    class Closed(Message):
        menu: Menu

        @property
        def control(self) -> Menu:
            return self.menu

    def __init__(self, title: str, items: Sequence[Item], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = title
        self._items = tuple(items)
        self._said = ""
        self.styles.height = len(self._items) + FRAME_LINES
        self.styles.max_height = "100%"

    @property
    def items(self) -> tuple[Item, ...]:
        return self._items

    def line_at(self, y: int) -> Line:
        if y == 0:
            if self._said:
                return (Span(cut(f" {self._said}", self.size.width), Role.WARN),)
            return (Span(f" {self._title}", Role.TITLE), Span("  Esc closes", Role.MUTED))
        hidden = len(self._items) - self.size.height + 1
        if hidden > 0 and y == self.size.height - 1:
            return (Span(f"   {hidden + 1} more: enlarge the terminal", Role.WARN),)
        if y > len(self._items):
            return EMPTY
        item = self._items[y - 1]
        if item.reason:
            text = f"   {display(item.key)}  {item.text}"
            # In one column where it fits; else as near as it can be, so that as little as possible of the reason is cut.
            spare = max(self.size.width - 1 - width(item.reason), width(text) + 1)
            text = fit(text, min(spare, 44))
            return (Span(text, Role.MUTED), Span(cut(f" {item.reason}", self.size.width - width(text)), Role.MUTED))
        native = Span(cut(f"  = {item.native}", self.size.width - 45), Role.MUTED) if item.native else Span("")
        return (Span(f"   {display(item.key)}", Role.KEY), Span(fit(f"  {item.text}", 40)), native)

    def on_key(self, event: KeyEvent) -> None:
        for item in self._items:
            if event.key == item.key:
                event.stop()
                event.prevent_default()
                if item.reason:
                    self._said = f"{display(item.key)}: {item.reason}"
                    self.redraw()
                else:
                    self.post_message(self.Chosen(self, item.choice))
                return

    def action_close(self) -> None:
        self.post_message(self.Closed(self))
