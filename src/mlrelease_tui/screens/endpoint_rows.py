"""A list of endpoints: which of them, in which order, and what keys do on the row under the cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from textual import on

from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.presentation import fleet as view
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, line
from mlrelease_tui.presentation.table import Column, heading, laid_out, row
from mlrelease_tui.screens.acting import ActingScreen
from mlrelease_tui.screens.rows import RowsScreen
from mlrelease_tui.store import select
from mlrelease_tui.store.judge import Judged
from mlrelease_tui.store.order import Order, Rank
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets.diff_table import DiffTable


class EndpointRowsScreen(ActingScreen, RowsScreen):
    """A subclass gives `listed`, `columns`, `cells`, `empty` and `show_selected`. The order is kept between draws."""

    SCOPED = True

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._order: Order[EndpointRef, EndpointStatus] | None = None
        self._ordered_by: object = None
        self._shown: Mapping[str, EndpointStatus] = {}
        self._names: tuple[str, ...] = ()
        self._of: object = None
        self._aim = ""
        self._names_by: object = None
        self._shown_by: object = None
        self._strayed = ("", "")
        self._known: tuple[object, Mapping[str, EndpointRef]] = (None, {})

    # --- for subclasses

    def listed(self, status: EndpointStatus) -> bool:
        """Whether this endpoint is of the list at all, whatever is filtered."""
        return True

    def columns(self) -> Sequence[Column]:
        raise NotImplementedError

    def cells(self, status: EndpointStatus, state: State, now: datetime) -> Mapping[str, Span]:
        """The cells of one row by column."""
        raise NotImplementedError

    def empty(self, state: State) -> Sequence[Line]:
        """What stands in place of rows where there are none."""
        raise NotImplementedError

    def hidden_all(self, state: State) -> Sequence[Line]:
        """Why no row is shown although there may be some: what was asked for hides them all, or nothing was read yet; empty where
        neither is so."""
        if self.wanted or self.problems_only or str(self.flags.scope):
            leave = "Esc" if self.wanted or self.problems_only else self.pressed("app.everything")
            return [EMPTY, line(Span(f"  nothing matches ({self.describe_view()}); {leave} shows all", Role.MUTED))]
        if not state.connections and not state.freshness and not state.endpoints:
            return [EMPTY, line(Span("  asking the connections ...", Role.MUTED))]
        return [EMPTY, self.looking(state)] if state.endpoints and not self.statuses() else []

    def looking(self, state: State) -> Line:
        """A fleet that is too large to be judged at once is being judged."""
        return line(Span(f"  looking at {len(state.endpoints):,} endpoints ...", Role.MUTED))

    def show_selected(self, status: EndpointStatus | None, state: State, now: datetime) -> None:
        """Draw what stands beside the list about the row under the cursor."""
        raise NotImplementedError

    # --- which rows, and in which order

    def prepare(self, judged: Judged) -> Iterator[None]:
        wish = (self.flags.scope, self.problems_only, self.wanted, self.sorted_by)
        order = self._order
        if order is None or wish != self._ordered_by:
            order = self._order = Order(self._ranking(), lambda status: status.ref.id)
            self._ordered_by = wish
        yield from order.place(judged.statuses)
        if self._of is not order.values:
            self._of, shown = order.values, self._shown
            self._shown = dict(zip(order.names, order.values, strict=True))
        else:
            shown = self._shown
        self._names = self._held(order.names, shown) if self.holds_order else self._turned(order.names)
        self._names_by = wish

    def _ranking(self) -> Callable[[EndpointStatus], Rank | None]:
        scope, problems_only, wanted = self.flags.scope, self.problems_only, self.wanted
        key = view.sort_key(self.sorted_by)

        def rank(status: EndpointStatus) -> Rank | None:
            if not self.listed(status) or not scope.holds(status.endpoint):
                return None
            if problems_only and status.severity is Severity.OK:
                return None
            return key(status) if not wanted or view.matches(status, wanted) else None

        return rank

    def _turned(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return names[::-1] if self.reversed else names

    def _held(self, names: tuple[str, ...], shown: Mapping[str, EndpointStatus]) -> tuple[str, ...]:
        """While a menu or a plan is open rows keep the places in which they are shown; new ones come behind them."""
        stay = [name for name in self._names if name in self._shown]
        new = [name for name in self._turned(names) if name not in shown]
        return (*stay, *new)

    # --- drawing

    def show(self, state: State, now: datetime) -> None:
        columns = laid_out(self.columns(), max(self.table.size.width - 2, 20))
        marker = self.glyphs.ascending if self.reversed else self.glyphs.descending

        def row_of(key: str) -> Line:
            return row(columns, self.cells(self._shown[key], state, now), self.glyphs.ellipsis)

        title, before, wished = heading(columns, self.sorted_by, marker), self.table.key, self._shown_by
        self.table.show(title, self._names, row_of, self.empty(state), lambda key: key in self._ids(state))
        self._shown_by = self._names_by
        if before and self.table.key not in {before, ""} and wished == self._names_by:
            self._strayed = (before, self.table.key)
        if self._aim and self._names:
            self.table.select(self._aim)
            self._aim = ""
        self._show_selected(state, now)

    def _show_selected(self, state: State, now: datetime) -> None:
        known = self._shown.get(self.table.key)
        # The row's own judgement may be of a reading that said the same: this one says when it was last seen.
        status = select.status_of(state, known.ref, now) if known is not None else None
        self.show_selected(status or known, state, now)

    # --- the row under the cursor

    def strayed(self) -> str:
        (gone, here), self._strayed = self._strayed, ("", "")
        return gone.rpartition("/")[2] if here and here == self.table.key else ""

    def on_mount(self) -> None:
        self.table.focus()

    def selected(self) -> EndpointRef | None:
        status = self._shown.get(self.table.key)
        return status.ref if status else None

    def marked(self) -> tuple[EndpointRef, ...]:
        marks, known = self.table.marks, self._ids(self.state) if self.table.marks_hidden else {}
        seen = [self._shown[name].ref for name in self._names if name in marks]
        hidden = [known[name] for name in sorted(marks.difference(self._names)) if name in known]
        return (*seen, *hidden) or super().marked()

    def _ids(self, state: State) -> Mapping[str, EndpointRef]:
        """Every endpoint by its id, shown or not."""
        if self._known[0] is not state.endpoints:
            self._known = (state.endpoints, {ref.id: ref for ref in state.endpoints})
        return self._known[1]

    def about(self, subject: str) -> None:
        # What is not listed yet may be so with the next draw.
        self._aim = "" if self.table.select(subject) else subject

    def found(self, wanted: str) -> Sequence[str]:
        return [name for name in self._names if view.matches(self._shown[name], wanted)]

    @on(DiffTable.Moved)
    def _moved(self, event: DiffTable.Moved) -> None:
        event.stop()
        if event.key != self._strayed[1]:
            self._strayed = ("", "")
        self._show_selected(self.state, self.at)

    @on(DiffTable.Opened)
    def _opened(self, event: DiffTable.Opened) -> None:
        event.stop()
        self.post_message(self.Goto("endpoint", event.key))
