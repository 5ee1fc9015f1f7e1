"""The pages about what is selected on a view: why, everything, JSON, numbers, events, logs. Each is made from what is known now."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.presentation import details, inspect
from mlrelease_tui.presentation.endpoint import explain
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, line
from mlrelease_tui.screens.base import ReleaseScreen
from mlrelease_tui.screens.details import DetailPage
from mlrelease_tui.screens.logs import LogPage
from mlrelease_tui.screens.overlay import PageScreen, Tab
from mlrelease_tui.store import select


def page_of(view: ReleaseScreen, at: str) -> PageScreen | None:
    """All that is known of what is selected on the view, beginning with the page called `at`; None where nothing is selected."""
    found = view.thing()
    if found is None:
        return None
    name, value = found
    ref = view.selected()
    if ref is None or ref.id != name:
        return PageScreen(name, _plain_tabs(view, name, value), at)
    return PageScreen(ref.name, _endpoint_tabs(view, name), at)


def _plain_tabs(view: ReleaseScreen, name: str, first: object) -> Sequence[Tab]:
    """The pages of what is no endpoint."""
    last = first

    def now() -> object:
        nonlocal last
        found = view.thing()
        # Where it is not listed any more, what was known of it last stays to be read.
        if found is not None and found[0] == name:
            last = found[1]
        return last

    return [
        Tab("describe", lambda cells: inspect.describe(now(), cells)),
        Tab("raw", lambda cells: inspect.raw(now(), cells), lambda: inspect.as_json(now())),
    ]


def _endpoint_tabs(view: ReleaseScreen, name: str) -> Sequence[Tab]:
    services, glyphs = view.services, view.glyphs

    def status() -> EndpointStatus | None:
        state = services.store.state
        ref = next((ref for ref in state.endpoints if ref.id == name), None)
        return select.status_of(state, ref, services.now()) if ref is not None else None

    def told(make: Callable[[EndpointStatus, int], Sequence[Line]]) -> Callable[[int], Sequence[Line]]:
        def lines(cells: int) -> Sequence[Line]:
            now = status()
            return make(now, cells) if now is not None else [line(Span(f" {name} is gone", Role.WARN))]

        return lines

    ref = view.selected()
    beneath = DetailPage(services, ref) if ref is not None else None
    offered = beneath if beneath is not None and beneath.offered else None

    def events(now: EndpointStatus, cells: int) -> Sequence[Line]:
        state = services.store.state
        told = inspect.events(now, state.audit, state.open_actions, cells)
        if offered is None:
            return told
        title = line(Span(f" {str(now.endpoint.native.kind).upper()} EVENTS, NEWEST FIRST", Role.HEADING))
        return [title, *details.happenings(offered.found, services.now(), glyphs, cells), EMPTY, *told]

    def pods(now: EndpointStatus, cells: int) -> Sequence[Line]:
        found = offered.found if offered is not None else None
        return details.replicas(found, now.endpoint, services.now(), glyphs, cells)

    def as_json() -> str:
        now = status()
        return inspect.as_json(now.endpoint) if now is not None else ""

    logs = LogPage(services, ref, view.pressed) if ref is not None else None
    return [
        Tab("why", told(lambda now, cells: explain(now, services.now(), glyphs, cells))),
        Tab("describe", told(inspect.describe)),
        Tab("raw", told(lambda now, cells: inspect.raw(now.endpoint, cells)), as_json),
        Tab("metrics", told(inspect.metrics)),
        *([Tab("replicas", told(pods), asked=offered)] if offered is not None else []),
        Tab("events", told(events), asked=offered),
        *([Tab("logs", logs.lines, live=logs)] if logs is not None else []),
    ]
