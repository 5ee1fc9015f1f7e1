"""The rollouts under way, and how the selected one's canary does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Container

from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.presentation import fleet as fleet_view
from mlrelease_tui.presentation import rollouts as view
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, line
from mlrelease_tui.presentation.table import Column
from mlrelease_tui.screens.endpoint import history_of
from mlrelease_tui.screens.endpoint_rows import EndpointRowsScreen
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets.diff_table import DiffTable
from mlrelease_tui.widgets.sheet import Sheet


class RolloutsScreen(EndpointRowsScreen):
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

    def body(self) -> ComposeResult:
        with Container(id="split"):
            yield DiffTable(id="rollouts", cursor=self.glyphs.cursor, mark=self.glyphs.mark)
            yield Sheet(id="rollout", more="z zooms: ")

    def listed(self, status: EndpointStatus) -> bool:
        return status.endpoint.rollout.in_flight

    def columns(self) -> Sequence[Column]:
        return view.COLUMNS

    def cells(self, status: EndpointStatus, state: State, now: datetime) -> Mapping[str, Span]:
        return view.cells(status, now, self.glyphs)

    def empty(self, state: State) -> Sequence[Line]:
        return [
            EMPTY,
            line(Span("  no rollout is under way", Role.STRONG)),
            line(Span("  a then p on an endpoint starts one; 1 shows the fleet", Role.MUTED)),
        ]

    def show_selected(self, status: EndpointStatus | None, state: State, now: datetime) -> None:
        sheet = self.query_one("#rollout", Sheet)
        if status is None:
            sheet.show([])
            return
        cells = max(sheet.size.width, 60)
        sheet.show(view.detail(status, history_of(state, status.ref, self.flags), state.audit, now, self.glyphs, cells))
