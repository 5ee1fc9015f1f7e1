"""Lines to read: drawn by difference, scrolled by keys."""

from __future__ import annotations

from collections.abc import Sequence

from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, spread
from mlrelease_tui.widgets.canvas import Canvas
from mlrelease_tui.widgets.keys import bindings


class Sheet(Canvas):
    """Shows the lines it is given from `top` on. Where more follow below, its last line says how many."""

    BINDINGS = bindings("sheet")

    def __init__(
        self, *, id: str | None = None, classes: str | None = None, focusable: bool = False, more: str = ""
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.can_focus = focusable
        self._more = more
        self._lines: tuple[Line, ...] = ()
        self._top = 0
        self._at_end = False

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines; the place scrolled to stays."""
        self._lines = tuple(lines)
        self._top = min(self._top, self._highest)
        self.redraw()

    @property
    def lines(self) -> tuple[Line, ...]:
        return self._lines

    @property
    def at_end(self) -> bool:
        """Whether the end was gone to, and nobody scrolled back since."""
        return self._at_end

    @property
    def _highest(self) -> int:
        return max(len(self._lines) - self.size.height, 0)

    def line_at(self, y: int) -> Line:
        index = self._top + y
        if index >= len(self._lines):
            return EMPTY
        below = len(self._lines) - index - 1
        if y == self.size.height - 1 and below > 0:
            more = f" {self._more}{below + 1} more lines below " if self.can_focus or self._more else " … "
            return spread(EMPTY, (Span(more, Role.MUTED),), self.size.width)
        return self._lines[index]

    def rewind(self) -> None:
        """Back to the first line."""
        self._top, self._at_end = 0, False

    def scroll_lines(self, by: int) -> None:
        self._top = min(max(self._top + by, 0), self._highest)
        # Who went to the end stays there when the height changes.
        self._at_end = by > 0 and self._top == self._highest
        self.redraw()

    def on_resize(self) -> None:
        self._top = self._highest if self._at_end else min(self._top, self._highest)

    def action_down(self) -> None:
        self.scroll_lines(1)

    def action_up(self) -> None:
        self.scroll_lines(-1)

    def action_top(self) -> None:
        self.scroll_lines(-len(self._lines))

    def action_end(self) -> None:
        self.scroll_lines(len(self._lines))

    def action_half_down(self) -> None:
        self.scroll_lines(self.size.height // 2)

    def action_half_up(self) -> None:
        self.scroll_lines(-(self.size.height // 2))

    def action_page_down(self) -> None:
        self.scroll_lines(self.size.height - 1)

    def action_page_up(self) -> None:
        self.scroll_lines(1 - self.size.height)
