"""One endpoint: its variants, what users feel, who changed it, what its backend says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from textual.app import ComposeResult

from mlrelease_tui.domain.metrics import VariantMetrics
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.presentation import endpoint as view
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, line
from mlrelease_tui.screens.acting import ActingScreen
from mlrelease_tui.screens.base import Flags
from mlrelease_tui.store import select
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets.sheet import Sheet


def history_of(state: State, ref: EndpointRef, flags: Flags) -> dict[str, tuple[VariantMetrics, ...]]:
    """What the charts of an endpoint are drawn from; nothing on a slow link, where charts cost more than they tell."""
    endpoint = state.endpoints.get(ref) if not flags.slow_link else None
    return {item.name: select.history(state, ref, item.name) for item in endpoint.variants} if endpoint else {}


class EndpointScreen(ActingScreen):
    NAME = "endpoint"
    SCOPES = ("sheet", "endpoint", "thing")
    FOOTER = (
        "app.back",
        "endpoint.rollback",
        "endpoint.actions",
        "endpoint.explain",
        "app.arm",
        "endpoint.metrics",
        "endpoint.events",
        "thing.describe",
        "app.command",
        "app.help",
    )

    # Its first crumb is the fleet, which is.
    SCOPED = True

    _ref: EndpointRef | None = None
    _asked_for = ""
    """The id of the endpoint that was asked for: where it is gone, that is said, and no other one shown in its place."""

    def body(self) -> ComposeResult:
        yield Sheet(id="page", focusable=True)

    def on_mount(self) -> None:
        self.query_one("#page").focus()

    def selected(self) -> EndpointRef | None:
        return self._ref

    def about(self, subject: str) -> None:
        if self._ref is not None and self._ref.id == subject:
            return
        self._ref, self._asked_for = self._of(self.services.store.state, subject), subject
        self.query("#page").first(Sheet).rewind()

    @staticmethod
    def _of(state: State, subject: str) -> EndpointRef | None:
        return next((ref for ref in state.endpoints if ref.id == subject), None)

    def crumbs(self) -> Sequence[str]:
        return ("Fleet", self._ref.name if self._ref else "endpoint")

    def show(self, state: State, now: datetime) -> None:
        page = self.query_one("#page", Sheet)
        if self._ref is None and self._asked_for:
            # A frozen fleet may have what is gone.
            self._ref = self._of(state, self._asked_for)
        elif self._ref is None:
            # Opened by its number: what burns most is what is meant.
            self._ref = next((status.ref for status in self.statuses()), None)
        page.show(self._lines(state, now, max(page.size.width, 40), page.size.height))

    def _lines(self, state: State, now: datetime, cells: int, rows: int) -> list[Line]:
        ref = self._ref
        status = select.status_of(state, ref, now) if ref is not None else None
        if ref is None or status is None:
            name = ref.id if ref is not None else self._asked_for
            gone = f"{name} is not there any more" if name else "no endpoint is known yet"
            return [EMPTY, line(Span(f"  {gone}", Role.MUTED))]
        return view.lines(
            status,
            history_of(state, ref, self.flags),
            now,
            self.glyphs,
            cells,
            chart_rows=view.chart_rows(rows),
            action=select.action_on(state, ref),
            unresolved=[item for item in state.open_actions if str(item.target) == ref.id],
        )
