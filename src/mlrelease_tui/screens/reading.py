"""Screens with a list and a text about the selected row: beside it where there is room, instead of it after Enter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message

from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, clip, line
from mlrelease_tui.screens.acting import ActingScreen
from mlrelease_tui.screens.rows import RowsScreen
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.diff_table import DiffTable, RowOf
from mlrelease_tui.widgets.sheet import Sheet


@dataclass
class Resized(Message):
    """What was laid out for another width must be laid out anew."""


class ListedRows(DiffTable):
    def on_resize(self) -> None:
        self.post_message(Resized())


class ReadText(Sheet):
    def on_resize(self) -> None:
        self.post_message(Resized())


class ReadingScreen(RowsScreen):
    """A subclass fills `#rows` (by `show_rows`), `#note` (two lines) and `#detail`; `read` gives the text the whole body."""

    BINDINGS = keys.bindings("item")
    READS = True

    def body(self) -> ComposeResult:
        with Horizontal():
            with Vertical(id="lists"):
                yield ListedRows(id="rows", cursor=self.glyphs.cursor, mark=self.glyphs.mark)
                yield Sheet(id="note")
            yield ReadText(id="detail", focusable=True)

    def on_mount(self) -> None:
        self.table.focus()

    @on(Resized)
    def _resized(self, event: Resized) -> None:
        event.stop()
        self.redraw()

    @property
    def text(self) -> Sheet:
        return self.query_one("#detail", Sheet)

    @property
    def reading(self) -> bool:
        """Whether the text has the whole body."""
        return self.has_class("-reading")

    @property
    def text_shown(self) -> bool:
        return self.reading or self.has_class("-wide") or self.zoomed

    def read(self) -> None:
        self.add_class("-reading")
        self.text.rewind()
        self.text.focus()
        self.redraw()

    def leave_text(self) -> None:
        self.remove_class("-reading")
        self.text.rewind()
        self.focus_body()
        self.redraw()

    async def close_one(self) -> bool:
        planning = self.planning is not None and self.planning.panel is not None
        if self.reading and self.dock is None and not planning:
            self.leave_text()
            return True
        return await super().close_one()

    def action_filter(self) -> None:
        if self.reading:
            self.leave_text()
        super().action_filter()

    def footer_keys(self) -> Sequence[str]:
        keys_here = super().footer_keys()
        if not self.reading:
            return keys_here
        return [identity for identity in keys_here if identity.partition(".")[0] not in {"list", "rows"}]

    def focus_body(self) -> None:
        (self.text if self.reading or self.zoomed else self.table).focus()

    def show_rows(
        self,
        heading: Line,
        keys: Sequence[str],
        row_of: RowOf,
        empty: Sequence[Line],
        known: Callable[[str], bool] = lambda key: False,
    ) -> None:
        """Give the list its rows. While it is hidden it keeps the old ones, and with them its place. `known` as for `DiffTable`."""
        seen = self.query_one("#lists").display and self.table.size.height > 0
        if seen or not self.table.keys:
            self.table.show(heading, keys, row_of, empty, known)

    def list_cells(self) -> int:
        """Cells that a row of the list has for its columns."""
        return max(self.table.size.width - 2, 20)

    def text_cells(self) -> int:
        """Cells of the text, as wide as it is or will be once it is laid out."""
        return max(self.text.size.width or self.size.width, 20)

    def show_note(self, rows: Sequence[Line]) -> None:
        """The two lines under the list; what differs from the plain list is said in front of the second."""
        described = self.describe_view()
        shown = list(rows[:2]) + [EMPTY] * (2 - len(rows))
        if described:
            shown[1] = line(Span(f" [{described}] ", Role.KEY), *shown[1])
        cells = max(self.table.size.width, 20)
        self.query_one("#note", Sheet).show([clip(row, cells) for row in shown])

    def nothing(self, *rows: Line) -> Sequence[Line]:
        """What an empty list says: that a filter hides all, or `rows`."""
        if self.wanted or self.problems_only:
            return [EMPTY, line(Span(f"  nothing matches ({self.describe_view()}); Esc shows all", Role.MUTED))]
        return [EMPTY, *rows]

    # --- copying

    def name_to_copy(self) -> str:
        """The selected row's name as other tools want it, "" where nothing is selected."""
        return ""

    def command_to_copy(self) -> str:
        """The command that shows the same, "" where nothing is selected."""
        return ""

    def action_copy_name(self) -> None:
        self._copy(self.name_to_copy(), "the name")

    def action_copy_command(self) -> None:
        self._copy(self.command_to_copy(), "the command")

    def _copy(self, text: str, what: str) -> None:
        if text:
            self.post_message(ActingScreen.Copy(text, what))
        else:
            self.say("nothing is selected")
