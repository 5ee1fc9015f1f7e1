"""All endpoints, worst first; beside them, where there is room, the selected one and what happened last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.presentation import fleet as view
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, line
from mlrelease_tui.presentation.table import heading, laid_out, row
from mlrelease_tui.screens.acting import ActingScreen
from mlrelease_tui.screens.rows import RowsScreen
from mlrelease_tui.store import select
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets.diff_table import DiffTable
from mlrelease_tui.widgets.sheet import Sheet


class FleetScreen(ActingScreen, RowsScreen):
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

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._shown: dict[str, EndpointStatus] = {}

    def body(self) -> ComposeResult:
        with Horizontal():
            with Vertical(id="lists"):
                yield DiffTable(id="fleet", cursor=self.glyphs.cursor, mark=self.glyphs.mark)
                yield Sheet(id="note")
            yield Sheet(id="detail")
        yield Sheet(id="activity")

    def on_mount(self) -> None:
        self.table.focus()

    def selected(self) -> EndpointRef | None:
        status = self._shown.get(self.table.key)
        return status.ref if status else None

    def marked(self) -> tuple[EndpointRef, ...]:
        found = [status.ref for key, status in self._shown.items() if key in self.table.marks]
        return tuple(found) or super().marked()

    def about(self, subject: str) -> None:
        self.table.select(subject)

    def show(self, state: State, now: datetime) -> None:
        statuses = [status for status in self.statuses() if self._wanted(status)]
        statuses = self.in_order(statuses, view.sort_key(self.sorted_by), tuple(self._shown))
        self._shown = {status.ref.id: status for status in statuses}
        cells = max(self.table.size.width - 2, 20)
        columns = laid_out(view.WIDE if self.wide else view.COLUMNS, cells)
        marker = self.glyphs.ascending if self.reversed else self.glyphs.descending

        def row_of(key: str) -> Line:
            status = self._shown[key]
            return row(
                columns,
                view.cells(status, now, self.glyphs, select.action_on(state, status.ref)),
                self.glyphs.ellipsis,
            )

        self.table.show(heading(columns, self.sorted_by, marker), tuple(self._shown), row_of, self._empty(state))
        self._show_selected(state, now)
        entries = state.audit
        self.query_one("#activity", Sheet).show(
            [
                line(Span(" ACTIVITY", Role.HEADING)),
                *view.activity(entries, tuple(state.actions.values()), 8, self.glyphs),
            ]
        )

    def _wanted(self, status: EndpointStatus) -> bool:
        if not self.flags.scope.holds(status.endpoint):
            return False
        if self.problems_only and status.severity is Severity.OK:
            return False
        return not self.wanted or view.matches(status, self.wanted)

    def found(self, wanted: str) -> Sequence[str]:
        return [key for key, status in self._shown.items() if view.matches(status, wanted)]

    def _empty(self, state: State) -> Sequence[Line]:
        if described := self.describe_view():
            leave = "Esc" if self.wanted or self.problems_only else self.pressed("app.everything")
            return [EMPTY, line(Span(f"  nothing matches ({described}); {leave} shows all", Role.MUTED))]
        if not state.connections and not state.freshness:
            return [EMPTY, line(Span("  asking the connections ...", Role.MUTED))]
        return [
            EMPTY,
            line(Span("  no endpoint yet", Role.STRONG)),
            line(Span("  7 shows what each connection answers; `mlrelease doctor` says why", Role.MUTED)),
        ]

    def _show_selected(self, state: State, now: datetime) -> None:
        status = self._shown.get(self.table.key)
        limit = max(self.table.size.width, 20)
        action = select.action_on(state, status.ref) if status else None
        note = view.note(status, self.glyphs, limit, action, self.pressed)
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

    @on(DiffTable.Moved, "#fleet")
    def _moved(self, event: DiffTable.Moved) -> None:
        event.stop()
        self._show_selected(self.state, self.at)

    @on(DiffTable.Opened, "#fleet")
    def _opened(self, event: DiffTable.Opened) -> None:
        event.stop()
        self.post_message(self.Goto("endpoint", event.key))
