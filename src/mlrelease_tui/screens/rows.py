"""Screens with a list: filter, sort, problems only, next and previous match, marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import on

from mlrelease_tui.screens.base import ReleaseScreen
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.diff_table import DiffTable
from mlrelease_tui.widgets.menu import Item, Menu
from mlrelease_tui.widgets.prompt import Prompt
from mlrelease_tui.widgets.sheet import Sheet


class RowsScreen(ReleaseScreen):
    """A screen whose body has one `DiffTable`. A subclass gives `SORTS` and uses `wanted`, `sorted_by`, `reversed`."""

    BINDINGS = keys.bindings("rows")
    SORTS: ClassVar[Mapping[str, str]] = {}
    """Column key → how the sort picker calls that order. The first is the default."""

    BESIDE: ClassVar[str] = "#detail"
    READS: ClassVar[bool] = False
    """Whether the text takes keys without being zoomed too."""

    MARKED: ClassVar[str] = ""
    """What marks are good for here, with the number of them."""

    wanted = ""
    """The filter: words that must all be found, `!word` must not be."""
    reversed = False
    problems_only = False
    wide = False
    _sorted_by = ""
    _last_wanted = ""

    @property
    def table(self) -> DiffTable:
        return self.query_one(DiffTable)

    @property
    def zoomed(self) -> bool:
        """Whether the text about the selected row has the list's place."""
        return self.has_class("-zoomed")

    @property
    def beside(self) -> Sheet:
        """The text about the selected row."""
        return self.query_one(self.BESIDE, Sheet)

    def zoom(self) -> None:
        super().zoom()
        # Keys move what is seen.
        self.beside.can_focus = self.zoomed or self.READS
        self.call_after_refresh(self.take_keys)

    def focus_body(self) -> None:
        (self.beside if self.zoomed else self.table).focus()

    def footer_keys(self) -> Sequence[str]:
        found = super().footer_keys()
        if not self.zoomed:
            return found
        return ["app.zoom", *(identity for identity in found if identity.partition(".")[0] not in {"list", "rows"})]

    @property
    def sorted_by(self) -> str:
        return self._sorted_by or next(iter(self.SORTS), "")

    def found(self, wanted: str) -> Sequence[str]:
        """Keys of the table's rows that match `wanted`, in their order: where `n` goes."""
        raise NotImplementedError

    def describe_view(self) -> str:
        """What differs from the plain list, in words: filter, problems only, order. "" where nothing does."""
        parts: list[str] = []
        if self.SCOPED and (scope := str(self.flags.scope)):
            parts.append(f"only {scope}")
        if self.MARKED and self.table.marks:
            parts.append(self.MARKED.format(self.count_marks()))
        if self.wanted:
            parts.append(f"filter: {self.wanted}")
        if self.problems_only:
            parts.append("problems only")
        if self.SORTS and (self.sorted_by != next(iter(self.SORTS)) or self.reversed):
            parts.append(f"by {self.SORTS[self.sorted_by]}" + (", reversed" if self.reversed else ""))
        return " | ".join(parts)

    def count_marks(self) -> str:
        """How many rows are marked, and how many of them nobody sees now."""
        marked, hidden = len(self.table.marks), self.table.marks_hidden
        return f"{marked} ({hidden} hidden)" if hidden else str(marked)

    # --- filter

    def action_filter(self) -> None:
        self.open_dock(Prompt("filter /", value=self.wanted, id="filter"))

    @on(Prompt.Typed, "#filter")
    def _filter_typed(self, event: Prompt.Typed) -> None:
        event.stop()
        self.wanted = event.text
        self.redraw()

    @on(Prompt.Entered, "#filter")
    def _filter_entered(self, event: Prompt.Entered) -> None:
        event.stop()
        self.wanted = self._last_wanted = event.text.strip()
        self.close_dock()
        self.redraw()

    @on(Prompt.Left, "#filter")
    def _filter_left(self, event: Prompt.Left) -> None:
        event.stop()
        self.wanted = ""
        self.close_dock()
        self.redraw()

    def narrow(self, words: str) -> bool:
        self.wanted = self._last_wanted = words
        self.redraw()
        return True

    async def close_one(self) -> bool:
        if await super().close_one():
            return True
        if self.wanted:
            self.wanted = ""
            self.redraw()
            return True
        if self.problems_only:
            self.problems_only = False
            self.redraw()
            return True
        return False

    def action_next(self) -> None:
        self._step(1)

    def action_previous(self) -> None:
        self._step(-1)

    def _step(self, by: int) -> None:
        matching = self.found(self._last_wanted) if self._last_wanted else ()
        if not matching:
            self.say("no row matches; / filters")
            return
        here, wanted = self.table.cursor_index, set(matching)
        places = [place for place, key in enumerate(self.table.keys) if key in wanted]
        ahead = [place for place in places if place > here] if by > 0 else [p for p in places if p < here]
        target = (ahead[0] if by > 0 else ahead[-1]) if ahead else (places[0] if by > 0 else places[-1])
        self.table.move_to(target)

    @on(DiffTable.Marked)
    def _marked(self, event: DiffTable.Marked) -> None:
        event.stop()
        self.redraw()

    # --- order

    def action_sort(self) -> None:
        items = [Item(str(number), text, column) for number, (column, text) in enumerate(self.SORTS.items(), start=1)]
        self.open_dock(Menu("Sort by", items, id="sort"))

    @on(Menu.Chosen, "#sort")
    def _sort_chosen(self, event: Menu.Chosen) -> None:
        event.stop()
        self._sorted_by = event.choice
        self.close_dock()
        self.redraw()

    def action_reverse(self) -> None:
        self.reversed = not self.reversed
        self.redraw()

    def action_problems(self) -> None:
        self.problems_only = not self.problems_only
        self.redraw()

    def action_wide(self) -> None:
        self.wide = not self.wide
        self.redraw()
