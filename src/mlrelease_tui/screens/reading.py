"""Screens with a list and a text about the selected row: beside it where there is room, instead of it after Enter."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, clip, line
from mlrelease_tui.screens.acting import ActingScreen
from mlrelease_tui.screens.rows import RowsScreen
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.diff_table import DiffTable
from mlrelease_tui.widgets.sheet import Sheet


class ReadingScreen(RowsScreen):
    """A subclass fills `#rows`, `#note` (two lines) and `#detail`; it calls `read` to give the text the whole body."""

    BINDINGS = keys.bindings("item")

    def body(self) -> ComposeResult:
        with Horizontal():
            with Vertical(id="lists"):
                yield DiffTable(id="rows", cursor=self.glyphs.cursor, mark=self.glyphs.mark)
                yield Sheet(id="note")
            yield Sheet(id="detail", focusable=True)

    def on_mount(self) -> None:
        self.table.focus()

    @property
    def text(self) -> Sheet:
        return self.query_one("#detail", Sheet)

    @property
    def reading(self) -> bool:
        """Whether the text has the whole body."""
        return self.has_class("-reading")

    @property
    def text_shown(self) -> bool:
        return self.reading or self.has_class("-wide") or self.has_class("-zoomed")

    def read(self) -> None:
        self.add_class("-reading")
        self.text.rewind()
        self.text.focus()
        self.call_after_refresh(self.redraw)

    def leave_text(self) -> None:
        self.remove_class("-reading")
        self.text.rewind()
        self.table.focus()
        self.call_after_refresh(self.redraw)

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
        (self.text if self.reading else self.table).focus()

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
