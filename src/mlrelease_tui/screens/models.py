"""All models of all registries: which alias names which version, what the endpoints run, and where the two disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from textual import on

from mlrelease_tui.domain.connection import page_of
from mlrelease_tui.domain.models import Model
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.presentation import models as view
from mlrelease_tui.presentation.lines import Line, Role, Span, line
from mlrelease_tui.presentation.table import heading, laid_out, row
from mlrelease_tui.screens.copying import command
from mlrelease_tui.screens.reading import ReadingScreen
from mlrelease_tui.store.state import Freshness, State
from mlrelease_tui.widgets.diff_table import DiffTable


def endpoints_by_model(
    state: State, statuses: Sequence[EndpointStatus]
) -> Mapping[ModelRef, tuple[EndpointStatus, ...]]:
    """Which endpoints are bound to which model, worst first as they come."""
    found: dict[ModelRef, list[EndpointStatus]] = {}
    for status in statuses:
        binding = state.bindings.get(status.ref)
        ref = status.endpoint.model or (binding.model if binding else None)
        if ref is not None:
            found.setdefault(ref, []).append(status)
    return {ref: tuple(items) for ref, items in found.items()}


def stale_since(state: State, model: Model) -> datetime | None:
    """Since when the models of its registry were not read, None while they are, whatever else of that connection can't be read."""
    connection = model.ref.connection
    freshness = state.freshness.get(connection, Freshness()).of("models")
    if freshness.failing_since is not None:
        return freshness.read_at or model.observed_at or freshness.failing_since
    return model.observed_at if connection in state.from_cache else None


class ModelsScreen(ReadingScreen):
    CSS_PATH = ["reading.tcss", "models.tcss"]  # noqa: RUF012
    NAME = "models"
    SCOPES = ("list", "rows", "item", "thing")
    FOOTER = (
        "list.open",
        "rows.filter",
        "rows.problems",
        "item.copy_command",
        "app.arm",
        "app.back",
        "app.command",
        "thing.describe",
        "app.help",
    )
    SORTS = view.SORTS

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._shown: dict[str, view.ModelRow] = {}

    def about(self, subject: str) -> None:
        """Put the cursor on a model, or on the model of an endpoint."""
        if self.table.select(subject):
            return
        for key, item in self._shown.items():
            if any(status.ref.id == subject for status in item.serving):
                self.table.select(key)
                return

    def chosen(self) -> view.ModelRow | None:
        return self._shown.get(self.table.key)

    def show(self, state: State, now: datetime) -> None:
        serving = endpoints_by_model(state, self.statuses())
        items = [
            view.ModelRow(model, serving.get(ref, ()), stale_since(state, model)) for ref, model in state.models.items()
        ]
        items = [item for item in items if self._wanted(item)]
        items.sort(key=view.sort_key(self.sorted_by), reverse=self.reversed)
        self._shown = {item.model.ref.id: item for item in items}
        columns = laid_out(view.WIDE if self.wide else view.COLUMNS, self.list_cells())
        marker = self.glyphs.ascending if self.reversed else self.glyphs.descending

        room = next((column.cells for column in columns if column.key == "aliases"), 0)

        def row_of(key: str) -> Line:
            return row(columns, view.cells(self._shown[key], now, self.glyphs, room), self.glyphs.ellipsis)

        self.show_rows(heading(columns, self.sorted_by, marker), tuple(self._shown), row_of, self._empty(state))
        self._show_chosen()

    def _wanted(self, item: view.ModelRow) -> bool:
        if self.problems_only and item.severity is Severity.OK:
            return False
        return not self.wanted or view.matches(item, self.wanted)

    def found(self, wanted: str) -> Sequence[str]:
        return [key for key, item in self._shown.items() if view.matches(item, wanted)]

    def _empty(self, state: State) -> Sequence[Line]:
        if not state.connections and not state.freshness:
            return self.nothing(line(Span("  asking the connections ...", Role.MUTED)))
        registries = [health for health in state.connections.values() if "versions" in health.capabilities]
        failing = [
            line(Span(f"  {health.name}: {health.error}", Role.CRIT)) for health in registries if health.error_code
        ]
        unread = bool(failing) and len(failing) == len(registries)
        return self.nothing(
            line(Span("  no model is known: no registry can be read" if unread else "  no model yet", Role.STRONG)),
            *failing,
            line(Span("  a registry is a connection of kind mlflow; 7 shows what each answers", Role.MUTED)),
        )

    def _show_chosen(self) -> None:
        chosen = self.chosen()
        self.show_note(view.note(chosen, self.at, max(self.table.size.width, 20)))
        if self.text_shown:
            self.text.show(view.detail(chosen, self.at, self.glyphs, self.text_cells()) if chosen is not None else [])

    def name_to_copy(self) -> str:
        chosen = self.chosen()
        return chosen.model.ref.id if chosen is not None else ""

    def command_to_copy(self) -> str:
        chosen = self.chosen()
        return command("versions", chosen.model.ref.id) if chosen is not None else ""

    def thing(self) -> tuple[str, object] | None:
        chosen = self.chosen()
        return (chosen.model.ref.id, chosen.model) if chosen is not None else None

    def address(self) -> str:
        """The model's page at its registry."""
        chosen = self.chosen()
        health = self.state.connections.get(chosen.model.ref.connection) if chosen is not None else None
        return page_of(health.model_page, chosen.model.ref.name) if chosen is not None and health is not None else ""

    def selected(self) -> EndpointRef | None:
        """Where one endpoint alone runs the model, keys that lead to an endpoint lead to it."""
        chosen = self.chosen()
        return chosen.serving[0].ref if chosen is not None and len(chosen.serving) == 1 else None

    @on(DiffTable.Moved, "#rows")
    def _moved(self, event: DiffTable.Moved) -> None:
        event.stop()
        self.text.rewind()
        self._show_chosen()

    @on(DiffTable.Opened, "#rows")
    def _opened(self, event: DiffTable.Opened) -> None:
        event.stop()
        self.post_message(self.Goto("versions", event.key))
