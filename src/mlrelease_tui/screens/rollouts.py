"""The rollouts under way, and how the selected one's canary does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from textual import on
from textual.app import ComposeResult
from textual.containers import Container

from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.presentation import fleet as fleet_view
from mlrelease_tui.presentation import rollouts as view
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, line
from mlrelease_tui.presentation.table import heading, laid_out, row
from mlrelease_tui.screens.acting import ActingScreen
from mlrelease_tui.screens.endpoint import history_of
from mlrelease_tui.screens.rows import RowsScreen
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets.diff_table import DiffTable
from mlrelease_tui.widgets.sheet import Sheet


class RolloutsScreen(ActingScreen, RowsScreen):
    NAME = "rollouts"
    CSS_PATH = "rollouts.tcss"
    SCOPES = ("list", "rows", "endpoint", "thing")
    FOOTER = (
        "list.open",
        "endpoint.rollback",
        "endpoint.actions",
        "endpoint.explain",
        "app.arm",
        "app.back",
        "app.command",
        "app.help",
    )
    MARKED = "{} marked"
    SORTS = {key: text for key, text in fleet_view.SORTS.items() if key in {"state", "endpoint", "changed"}}  # noqa: RUF012

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._shown: dict[str, EndpointStatus] = {}

    def body(self) -> ComposeResult:
        with Container(id="split"):
            yield DiffTable(id="rollouts", cursor=self.glyphs.cursor, mark=self.glyphs.mark)
            yield Sheet(id="rollout", more="z zooms: ")

    def on_mount(self) -> None:
        self.table.focus()

    def selected(self) -> EndpointRef | None:
        status = self._shown.get(self.table.key)
        return status.ref if status else None

    def marked(self) -> tuple[EndpointRef, ...]:
        found = [status.ref for key, status in self._shown.items() if key in self.table.marks]
        return tuple(found) or super().marked()

    def about(self, subject: str) -> None:
        self.redraw()
        self.table.select(subject)

    def show(self, state: State, now: datetime) -> None:
        found = [
            status
            for status in self.statuses()
            if status.endpoint.rollout.in_flight
            and self.flags.scope.holds(status.endpoint)
            and not (self.problems_only and status.severity is Severity.OK)
            and (not self.wanted or fleet_view.matches(status, self.wanted))
        ]
        found = self.in_order(found, fleet_view.sort_key(self.sorted_by), tuple(self._shown))
        self._shown = {status.ref.id: status for status in found}
        columns = laid_out(view.COLUMNS, max(self.table.size.width - 2, 20))

        def row_of(key: str) -> Line:
            return row(columns, view.cells(self._shown[key], now, self.glyphs), self.glyphs.ellipsis)

        marker = self.glyphs.ascending if self.reversed else self.glyphs.descending
        empty = [
            EMPTY,
            line(Span("  no rollout is under way", Role.STRONG)),
            line(Span("  a then p on an endpoint starts one; 1 shows the fleet", Role.MUTED)),
        ]
        self.table.show(heading(columns, self.sorted_by, marker), tuple(self._shown), row_of, empty)
        self._show_selected(state, now)

    def found(self, wanted: str) -> Sequence[str]:
        return [key for key, status in self._shown.items() if fleet_view.matches(status, wanted)]

    def _show_selected(self, state: State, now: datetime) -> None:
        sheet = self.query_one("#rollout", Sheet)
        status = self._shown.get(self.table.key)
        if status is None:
            sheet.show([])
            return
        cells = max(sheet.size.width, 60)
        sheet.show(view.detail(status, history_of(state, status.ref, self.flags), state.audit, now, self.glyphs, cells))

    @on(DiffTable.Moved, "#rollouts")
    def _moved(self, event: DiffTable.Moved) -> None:
        event.stop()
        self._show_selected(self.state, self.at)

    @on(DiffTable.Opened, "#rollouts")
    def _opened(self, event: DiffTable.Opened) -> None:
        event.stop()
        self.post_message(self.Goto("endpoint", event.key))
