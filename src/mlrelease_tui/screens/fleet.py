"""All endpoints, worst first; beside them, where there is room, the selected one and what happened last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.presentation import fleet as view
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, line
from mlrelease_tui.presentation.table import Column
from mlrelease_tui.screens.endpoint_rows import EndpointRowsScreen
from mlrelease_tui.store import select
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets.diff_table import DiffTable
from mlrelease_tui.widgets.sheet import Sheet


class FleetScreen(EndpointRowsScreen):
    NAME = "fleet"
    SCOPES = ("list", "rows", "endpoint", "thing")
    FOOTER = (
        "list.open",
        "endpoint.rollback",
        "endpoint.actions",
        "endpoint.explain",
        "app.arm",
        "rows.filter",
        "app.command",
        "rows.problems",
        "app.connection",
        "thing.describe",
        "app.help",
    )
    SORTS = view.SORTS
    MARKED = "{} marked: c C copy them all; a B act on the cursor's row"

    def body(self) -> ComposeResult:
        with Horizontal():
            with Vertical(id="lists"):
                yield DiffTable(id="fleet", cursor=self.glyphs.cursor, mark=self.glyphs.mark)
                yield Sheet(id="note")
            yield Sheet(id="detail")
        yield Sheet(id="activity")

    def columns(self) -> Sequence[Column]:
        return view.WIDE if self.wide else view.COLUMNS

    def cells(self, status: EndpointStatus, state: State, now: datetime) -> Mapping[str, Span]:
        return view.cells(status, now, self.glyphs, select.action_on(state, status.ref))

    def show(self, state: State, now: datetime) -> None:
        super().show(state, now)
        rows = view.activity(state.audit, tuple(state.actions.values()), now, 8)
        self.query_one("#activity", Sheet).show([line(Span(" ACTIVITY", Role.HEADING)), *rows])

    def empty(self, state: State) -> Sequence[Line]:
        if hidden := self.hidden_all(state):
            return hidden
        if state.endpoints:
            return [EMPTY, self.looking(state)]
        where = self.pressed("app.view_connections")
        return [
            EMPTY,
            line(Span("  no endpoint yet", Role.STRONG)),
            line(Span(f"  {where} shows what each connection answers; `mlrelease doctor` says why", Role.MUTED)),
        ]

    def show_selected(self, status: EndpointStatus | None, state: State, now: datetime) -> None:
        limit = max(self.table.size.width, 20)
        action = select.action_on(state, status.ref) if status else None
        note = view.note(status, self.at, self.glyphs, limit, action, self.pressed)
        described = self.describe_view()
        if described:
            note = [note[0], line(Span(f" [{described}] ", Role.KEY), *note[1])]
        self.query_one("#note", Sheet).show(note)
        detail = self.query_one("#detail", Sheet)
        if detail.display and detail.size.width:
            from mlrelease_tui.presentation import endpoint as endpoint_view
            from mlrelease_tui.screens.endpoint import history_of

            width = detail.size.width
            detail.show(
                endpoint_view.lines(
                    status,
                    history_of(state, status.ref, self.flags),
                    now,
                    self.glyphs,
                    width,
                    chart_rows=endpoint_view.chart_rows(detail.size.height),
                    action=action,
                )
                if status is not None
                else []
            )
