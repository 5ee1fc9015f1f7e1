"""The rollouts under way, and how the selected one's canary does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from textual.app import ComposeResult
from textual.containers import Container

from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.presentation import fleet as fleet_view
from mlrelease_tui.presentation import rollouts as view
from mlrelease_tui.presentation.header import Link
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, line
from mlrelease_tui.presentation.table import Column
from mlrelease_tui.screens.endpoint import history_of
from mlrelease_tui.screens.endpoint_rows import EndpointRowsScreen
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets.diff_table import DiffTable
from mlrelease_tui.widgets.sheet import Sheet

_ANSWERS: Final = {LinkState.OK, LinkState.SLOW}


def _unread(link: Link) -> bool:
    """Whether a connection that may have rollouts is not read now."""
    health = link.health
    may = not health.capabilities or "endpoints" in health.capabilities
    return may and (link.failing or health.state not in _ANSWERS)


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
    BESIDE = "#rollout"
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
        if hidden := self.hidden_all(state):
            return hidden
        unread = [item.health.name for item in self.links() if _unread(item)]
        act = f"{self.pressed('endpoint.actions')} then {self.pressed('menu.promote')}"
        rows = [
            EMPTY,
            line(Span("  no rollout is under way", Role.STRONG), " as far as is known" if unread else ""),
            line(
                Span(f"  {act} on an endpoint starts one; {self.pressed('app.view_fleet')} shows the fleet", Role.MUTED)
            ),
        ]
        return [*rows, line(Span(f"  not read now: {', '.join(unread)}", Role.STALE))] if unread else rows

    def show_selected(self, status: EndpointStatus | None, state: State, now: datetime) -> None:
        sheet = self.query_one("#rollout", Sheet)
        if status is None:
            sheet.show([])
            return
        cells = max(sheet.size.width, 60)
        rows = view.detail(status, history_of(state, status.ref, self.flags), state.audit, now, self.glyphs, cells)
        described = self.describe_view()
        sheet.show([*([line(Span(f" [{described}]", Role.KEY))] if described else []), *rows])
