"""Every connection: whether it answers, how fast, as whom; what went wrong last, and what helps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from textual import on

from mlrelease_tui.domain.status import Severity
from mlrelease_tui.presentation import connections as view
from mlrelease_tui.presentation.header import Link
from mlrelease_tui.presentation.lines import Line, Role, Span, line
from mlrelease_tui.presentation.table import heading, laid_out, row
from mlrelease_tui.screens.copying import command
from mlrelease_tui.screens.reading import ReadingScreen
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.diff_table import DiffTable


class ConnectionsScreen(ReadingScreen):
    CSS_PATH = ["reading.tcss", "connections.tcss"]  # noqa: RUF012
    NAME = "connections"
    SCOPES = ("list", "rows", "item", "thing")
    BINDINGS = [  # noqa: RUF012
        # The app's own key; here it asks the selected connection alone.
        keys.binding("app.refetch"),
    ]
    FOOTER = (
        "list.open",
        "app.refetch",
        "rows.problems",
        "rows.filter",
        "item.copy_command",
        "app.back",
        "app.command",
        "thing.describe",
        "app.help",
    )
    SORTS = view.SORTS

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._shown: dict[str, Link] = {}

    def about(self, subject: str) -> None:
        """Put the cursor on a connection, or on that of an endpoint or a model."""
        if not self.table.select(subject):
            self.table.select(subject.partition("/")[0])

    def chosen(self) -> Link | None:
        return self._shown.get(self.table.key)

    def thing(self) -> tuple[str, object] | None:
        chosen = self.chosen()
        if chosen is None:
            return None
        name = chosen.health.name
        return name, {"connection": chosen.health, "reads": self.state.freshness.get(name)}

    def address(self) -> str:
        """What is configured, without credentials."""
        chosen = self.chosen()
        return str(chosen.health.address) if chosen is not None else ""

    def show(self, state: State, now: datetime) -> None:
        items = [link for link in self.links() if self._wanted(link)]
        items.sort(key=view.sort_key(self.sorted_by), reverse=self.reversed)
        self._shown = {link.health.name: link for link in items}
        cells = self.list_cells()
        columns = laid_out(view.columns(cells, wide=self.wide), cells)
        marker = self.glyphs.ascending if self.reversed else self.glyphs.descending

        def row_of(key: str) -> Line:
            return row(columns, view.cells(self._shown[key], self._error(key), now, self.glyphs), self.glyphs.ellipsis)

        empty = self.nothing(
            line(Span("  no connection is configured, or none was asked yet", Role.STRONG)),
            line(Span("  `mlrelease init` writes a configuration; `mlrelease doctor` says what it found", Role.MUTED)),
        )
        self.show_rows(heading(columns, self.sorted_by, marker), tuple(self._shown), row_of, empty)
        self._show_chosen()

    def _wanted(self, link: Link) -> bool:
        if self.problems_only and view.severity(link) is Severity.OK:
            return False
        return not self.wanted or view.matches(link, self.wanted)

    def found(self, wanted: str) -> Sequence[str]:
        return [key for key, link in self._shown.items() if view.matches(link, wanted)]

    def _error(self, name: str) -> str:
        """What the last failed read said, "" where reads work."""
        freshness = self.state.freshness.get(name)
        return freshness.error if freshness is not None and freshness.failing_since is not None else ""

    def _show_chosen(self) -> None:
        chosen = self.chosen()
        name = chosen.health.name if chosen is not None else ""
        self.show_note(view.note(chosen, self._error(name), max(self.table.size.width, 20)))
        if not self.text_shown:
            return
        if chosen is None:
            self.text.show([])
            return
        freshness = self.state.freshness.get(name)
        since = freshness.failing_since if freshness is not None else None
        failure = (self._error(name), since) if since is not None else None
        self.text.show(view.detail(chosen, failure, self.at, self.glyphs, self.text_cells()))

    def action_refetch(self) -> None:
        """Ask the selected connection again: its health, and everything that is read from it."""
        chosen = self.chosen()
        if chosen is None:
            self.services.reader.refresh(None)
            self.say("asking every connection again")
        else:
            self.services.reader.refresh(chosen.health.name)
            self.say(f"asking {chosen.health.name} again")

    def name_to_copy(self) -> str:
        chosen = self.chosen()
        return chosen.health.name if chosen is not None else ""

    def command_to_copy(self) -> str:
        name = self.name_to_copy()
        return command("connections", "test", name) if name else ""

    @on(DiffTable.Moved, "#rows")
    def _moved(self, event: DiffTable.Moved) -> None:
        event.stop()
        self.text.rewind()
        self._show_chosen()

    @on(DiffTable.Opened, "#rows")
    def _row_opened(self, event: DiffTable.Opened) -> None:
        event.stop()
        self.read()
