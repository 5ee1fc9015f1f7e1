"""A table of keyed rows: cursor, scroll and marks follow the key; only changed cells of visible rows are drawn.

Rows are asked for when they are drawn, so ten thousand of them cost as much as those that fit the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual.events import Click, MouseScrollDown, MouseScrollUp
from textual.message import Message

from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span
from mlrelease_tui.widgets.canvas import Canvas
from mlrelease_tui.widgets.keys import bindings

RowOf = Callable[[str], Line]
"""The drawn row of a key: spans of fixed widths."""


class DiffTable(Canvas, can_focus=True):
    """`show` gives it the heading, the keys in order, and how to draw one. It posts `Moved` and `Opened`."""

    BINDINGS = bindings("list")

    @dataclass
    class Moved(Message):
        """The cursor stands on another key ("" where there are no rows)."""

        table: DiffTable
        key: str

        @property
        def control(self) -> DiffTable:
            return self.table

    @dataclass
    class Marked(Message):
        """Other rows are marked."""

        table: DiffTable

        @property
        def control(self) -> DiffTable:
            return self.table

    @dataclass
    class Opened(Message):
        """Enter on a row."""

        table: DiffTable
        key: str

        @property
        def control(self) -> DiffTable:
            return self.table

    def __init__(
        self, *, id: str | None = None, classes: str | None = None, cursor: str = ">", mark: str = "#", empty: str = ""
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._heading: Line = EMPTY
        self._keys: tuple[str, ...] = ()
        self._index: dict[str, int] = {}
        self._row_of: RowOf = lambda key: EMPTY
        self._key = ""
        self._top = 0
        self._marks: set[str] = set()
        self._marked_last = ""
        self._cursor_glyph = cursor
        self._mark_glyph = mark
        self._empty: Sequence[Line] = (((Span(empty, Role.MUTED),)) if empty else EMPTY,)

    # --- what it shows

    def show(
        self,
        heading: Line,
        keys: Sequence[str],
        row_of: RowOf,
        empty: Sequence[Line] = (),
        known: Callable[[str], bool] = lambda key: False,
    ) -> None:
        """Show these rows. The cursor stays on its key; where that is gone, on the row that took its place.

        What is marked and not among these rows stays marked where it is still `known`: a filter hides it, nobody unmarked it.
        """
        old_index = self._index.get(self._key, 0)
        offset = old_index - self._top
        ordered = tuple(keys)
        if ordered != self._keys:
            self._keys = ordered
            self._index = {key: index for index, key in enumerate(ordered)}
        self._marks = {key for key in self._marks if key in self._index or known(key)}
        self._heading = heading
        self._row_of = row_of
        self._empty = empty or self._empty
        before = self._key
        if self._key not in self._index:
            self._key = ordered[min(old_index, len(ordered) - 1)] if ordered else ""
        # The row under the cursor keeps its place on the screen; rows move around it.
        self._top = max(self.cursor_index - offset, 0)
        self._keep_visible()
        self.redraw()
        if self._key != before:
            self.post_message(self.Moved(self, self._key))

    @property
    def key(self) -> str:
        """The key under the cursor, "" where there are no rows."""
        return self._key

    @property
    def keys(self) -> tuple[str, ...]:
        return self._keys

    @property
    def marks(self) -> frozenset[str]:
        return frozenset(self._marks)

    @property
    def marks_hidden(self) -> int:
        """How many marks are on rows that are not shown now."""
        return len(self._marks - self._index.keys())

    @property
    def cursor_index(self) -> int:
        return self._index.get(self._key, 0)

    @property
    def page(self) -> int:
        """Rows that fit below the heading."""
        return max(self.size.height - 1, 1)

    def line_at(self, y: int) -> Line:
        if y == 0:
            return (Span("  "), *self._heading)
        if not self._keys:
            return self._empty[y - 1] if y - 1 < len(self._empty) else EMPTY
        index = self._top + y - 1
        if index >= len(self._keys):
            return EMPTY
        key = self._keys[index]
        pointer = self._cursor_glyph if key == self._key else " "
        mark = self._mark_glyph if key in self._marks else " "
        return (Span(pointer + mark, Role.STRONG), *self._row_of(key))

    def highlighted(self, y: int) -> bool:
        return y > 0 and bool(self._keys) and self._top + y - 1 == self.cursor_index

    # --- moving

    def move_to(self, index: int) -> None:
        """Put the cursor on the row at `index`, clamped to what there is."""
        if not self._keys:
            return
        key = self._keys[min(max(index, 0), len(self._keys) - 1)]
        if key == self._key:
            return
        self._key = key
        self._keep_visible()
        self.redraw()
        self.post_message(self.Moved(self, key))

    def select(self, key: str) -> bool:
        """Put the cursor on `key`; False where there is no such row."""
        if key not in self._index:
            return False
        self.move_to(self._index[key])
        return True

    def _keep_visible(self) -> None:
        index = self.cursor_index
        highest = max(len(self._keys) - self.page, 0)
        self._top = min(max(self._top, index - self.page + 1), index, highest)

    def action_down(self) -> None:
        self.move_to(self.cursor_index + 1)

    def action_up(self) -> None:
        self.move_to(self.cursor_index - 1)

    def action_top(self) -> None:
        self.move_to(0)

    def action_end(self) -> None:
        self.move_to(len(self._keys) - 1)

    def action_half_down(self) -> None:
        self.move_to(self.cursor_index + self.page // 2)

    def action_half_up(self) -> None:
        self.move_to(self.cursor_index - self.page // 2)

    def action_page_down(self) -> None:
        self.move_to(self.cursor_index + self.page)

    def action_page_up(self) -> None:
        self.move_to(self.cursor_index - self.page)

    def action_open(self) -> None:
        if self._key:
            self.post_message(self.Opened(self, self._key))

    def action_mark(self) -> None:
        if self._key:
            self._marks ^= {self._key}
            self._marked_last = self._key
            self.redraw()
            self.post_message(self.Marked(self))
            self.move_to(self.cursor_index + 1)

    def action_mark_range(self) -> None:
        """Mark all from the last mark, or from here, to the cursor."""
        if not self._key:
            return
        here = self.cursor_index
        start = self._index.get(self._marked_last, here)
        self._marks |= set(self._keys[min(start, here) : max(start, here) + 1])
        self._marked_last = self._key
        self.redraw()
        self.post_message(self.Marked(self))

    def action_unmark(self) -> None:
        self._marks.clear()
        self._marked_last = ""
        self.redraw()
        self.post_message(self.Marked(self))

    def on_resize(self) -> None:
        self._keep_visible()

    def on_click(self, event: Click) -> None:
        if event.y > 0:
            self.move_to(self._top + event.y - 1)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        event.stop()
        self.move_to(self.cursor_index + 3)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        event.stop()
        self.move_to(self.cursor_index - 3)
