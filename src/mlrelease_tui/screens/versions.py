"""The versions of one model, newest first: paged in as the cursor nears their end; a version in full, and two of them compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from textual import on
from textual.timer import Timer

from mlrelease_tui.domain.connection import page_of
from mlrelease_tui.domain.intents import MoveAlias
from mlrelease_tui.domain.models import Lineage, Model, ModelVersion
from mlrelease_tui.domain.refs import EndpointRef, VersionRef
from mlrelease_tui.domain.rollout import Variant
from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.presentation import models, version_diff
from mlrelease_tui.presentation import versions as view
from mlrelease_tui.presentation.labels import name_of
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, line, wrapped
from mlrelease_tui.presentation.table import heading, laid_out, row
from mlrelease_tui.presentation.words import version as version_word
from mlrelease_tui.screens.copying import command
from mlrelease_tui.screens.models import endpoints_by_model, stale_since
from mlrelease_tui.screens.reading import ReadingScreen
from mlrelease_tui.screens.version_list import ListedVersions, Listing
from mlrelease_tui.screens.wishes import Wishes
from mlrelease_tui.store.state import Freshness, State, VersionList
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.diff_table import DiffTable
from mlrelease_tui.widgets.menu import Item, Menu
from mlrelease_tui.widgets.prompt import Prompt

REST_S: Final = 0.15
"""How long the cursor rests on a version before its lineage is read."""
OTHER_ALIAS: Final = "other"
_DIGITS: Final = "123456789"


class VersionsScreen(ReadingScreen):
    CSS_PATH = ["reading.tcss", "versions.tcss"]  # noqa: RUF012
    NAME = "versions"
    SCOPES = ("list", "rows", "item", "versions", "thing")
    BINDINGS = [  # noqa: RUF012
        *keys.bindings("versions"),
        # The app's own key; here it reads this model's versions too.
        keys.binding("app.refetch"),
    ]
    FOOTER = (
        "list.open",
        "list.mark",
        "versions.diff",
        "versions.move_alias",
        "rows.filter",
        "app.arm",
        "app.back",
        "thing.describe",
        "app.help",
    )
    SORTS = view.SORTS

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._model_id = ""
        self._listed = ListedVersions()
        self._runs: dict[str, tuple[tuple[EndpointStatus, Variant], ...]] = {}
        self._compared: tuple[str, str] | None = None
        self._wishes = Wishes(self.services.reader)
        self._resting: Timer | None = None
        self._alias_for: ModelVersion | None = None

    # --- what it is about

    def crumbs(self) -> Sequence[str]:
        model = self.model
        return ("Models", name_of(model.ref.name) if model is not None else "versions")

    def about(self, subject: str) -> None:
        """Show the versions of this model, or of an endpoint's model; what is neither changes nothing."""
        found = next((ref.id for ref in self.services.store.state.models if ref.id == subject), "")
        if not found:
            by_model = endpoints_by_model(self.state, self.statuses())
            found = next((ref.id for ref, items in by_model.items() if any(i.ref.id == subject for i in items)), "")
        if found and found != self._model_id:
            self._model_id = found
            self._wishes.forget()
            self._compared = None
            self._listed.forget()
            self.wanted = ""
            self.table.action_unmark()
            if self.reading:
                self.leave_text()
            self.redraw()

    @property
    def model(self) -> Model | None:
        return next((model for ref, model in self.state.models.items() if ref.id == self._model_id), None)

    @property
    def known(self) -> VersionList | None:
        model = self.model
        return self.state.versions.get(model.ref) if model is not None else None

    def chosen(self) -> ModelVersion | None:
        return self._listed.shown.get(self.table.key)

    def selected(self) -> EndpointRef | None:
        """The endpoint that runs the version under the cursor, where one alone does."""
        running = self._runs.get(self.table.key, ())
        return running[0][0].ref if len(running) == 1 else None

    def thing(self) -> tuple[str, object] | None:
        chosen = self.chosen()
        if chosen is None:
            return None
        lineage = self._lineage(chosen)
        if lineage is None:
            self._wishes.lineage(chosen.ref, self.at)
        return chosen.ref.id, replace(chosen, aliases=self._listed.aliases_of(chosen), lineage=lineage)

    def address(self) -> str:
        """The version's page at its registry."""
        chosen = self.chosen()
        health = self.state.connections.get(chosen.ref.model.connection) if chosen is not None else None
        if chosen is None or health is None:
            return ""
        return page_of(health.version_page, chosen.ref.model.name, chosen.ref.version)

    # --- drawing

    def show(self, state: State, now: datetime) -> None:
        model, known = self.model, self.known
        if model is not None:
            self._wishes.versions(model, known, self.table.cursor_index, self.at)
            self._relate(state, model)
        self._list(model, known)
        stale = model is not None and stale_since(state, model) is not None
        columns = laid_out(view.WIDE if self.wide else view.COLUMNS, self.list_cells())
        marker = self.glyphs.ascending if self.reversed else self.glyphs.descending

        def row_of(key: str) -> Line:
            version = self._listed.shown[key]
            cells = view.cells(self._row(version), now, self.glyphs, stale=stale)
            return row(columns, cells, self.glyphs.ellipsis)

        self.show_rows(
            heading(columns, self.sorted_by, marker),
            tuple(self._listed.shown),
            row_of,
            self._empty(model, known),
            lambda key: self._listed.version(key) is not None,
        )
        if known is not None:
            self._want_more(known)
        self._show_chosen()

    def _list(self, model: Model | None, known: VersionList | None) -> None:
        self._listed.make(
            Listing(
                known.versions if known is not None else (),
                tuple(sorted(model.aliases.items())) if model is not None else (),
                self.wanted,
                self.problems_only,
                self.sorted_by,
                self.reversed,
            )
        )

    def _relate(self, state: State, model: Model) -> None:
        found: dict[str, tuple[tuple[EndpointStatus, Variant], ...]] = {}
        for status in endpoints_by_model(state, self.statuses()).get(model.ref, ()):
            for variant in status.endpoint.variants:
                key = VersionRef(model.ref, variant.version).id
                found[key] = (*found.get(key, ()), (status, variant))
        self._runs = found

    def _row(self, version: ModelVersion) -> view.VersionRow:
        return view.VersionRow(version, self._listed.aliases_of(version), self._runs.get(version.ref.id, ()))

    def found(self, wanted: str) -> Sequence[str]:
        return self._listed.found(wanted)

    def _empty(self, model: Model | None, known: VersionList | None) -> Sequence[Line]:
        if model is None:
            return self.nothing(
                line(Span("  no model is chosen, or it is not known yet", Role.STRONG)),
                line(Span("  2 lists the models; Enter opens one", Role.MUTED)),
            )
        if known is None:
            return self.nothing(self._missing(model, "versions"))
        if known.next_token and (self.wanted or self.problems_only):
            return [
                EMPTY,
                line(Span(f"  nothing yet among {len(known.versions)} versions; reading on ...", Role.MUTED)),
            ]
        return self.nothing(line(Span("  the model has no version", Role.STRONG)))

    def _missing(self, model: Model, what: str) -> Line:
        """Why something of a model is not here: it is being read, can't be read, or is not kept by this registry."""
        connection, again = model.ref.connection, self.pressed("app.refetch")
        freshness = self.state.freshness.get(connection, Freshness()).of("versions")
        health = self.state.connections.get(connection)
        if what == "lineage" and health is not None and health.capabilities and "lineage" not in health.capabilities:
            return line(Span(f" {connection} keeps no lineage", Role.MUTED))
        if freshness.failing_since is not None:
            return line(Span(f" {what} can't be read: {freshness.error}; {again} reads again", Role.STALE))
        if health is not None and health.error_code:
            return line(Span(f" {what} can't be read: {health.error}; {again} reads again", Role.STALE))
        return line(Span(f" reading the {what} ...", Role.MUTED))

    def _note(self) -> list[Line]:
        model, known = self.model, self.known
        if model is None:
            return []
        if known is None:
            return [line(Span(f" {models.aliases(model) or 'no alias'}", Role.TITLE))]
        read = len(known.versions)
        whole = not known.next_token
        total = model.version_count
        parts = f" {len(self._listed.shown)} shown, " if len(self._listed.shown) != read else " "
        parts += f"{read} of {total} read" if not whole and total is not None else f"{read} versions"
        more = "" if whole else "; more come as you go down"
        if not whole and (self.wanted or self.problems_only):
            more = "; reading on for the filter"
        elif not whole and (self.sorted_by != "version" or self.reversed):
            more = "; the order is of those that are read"
        since = stale_since(self.state, model)
        first = Span(f" {models.aliases(model) or 'no alias'}", Role.TITLE)
        if since is not None:
            return [line(first, Span(f"  not read since {since:%H:%M:%S}Z", Role.STALE)), line(Span(parts, Role.MUTED))]
        compare = self.pressed("versions.diff")
        mark = Span(f"  {self.count_marks()} marked: {compare} compares two" if self.table.marks else "", Role.KEY)
        return [line(first), line(Span(parts + more, Role.MUTED), mark)]

    def _show_chosen(self) -> None:
        self.show_note(self._note())
        if self.text_shown:
            self.text.show(self._text())

    def _text(self) -> list[Line]:
        model, chosen = self.model, self.chosen()
        if model is None or chosen is None:
            return []
        cells = self.text_cells()
        if self.reading and self._compared is not None:
            return self._comparison(model, self._compared, cells)
        lineage = self._lineage(chosen)
        if lineage is None:
            self._rest()
        missing, stale = self._missing(model, "lineage"), stale_since(self.state, model) is not None
        return view.detail(self._row(chosen), lineage, missing, self.at, self.glyphs, cells, stale=stale)

    def _lineage(self, version: ModelVersion) -> Lineage | None:
        return version.lineage or self.state.lineage.get(version.ref)

    def _comparison(self, model: Model, pair: tuple[str, str], cells: int) -> list[Line]:
        before, after = (self._listed.version(key) for key in pair)
        if before is None or after is None:
            return wrapped("one of the two versions is not known any more", cells, Role.WARN, indent=" ")
        old, new = self._lineage(before), self._lineage(after)
        for version, lineage in ((before, old), (after, new)):
            if lineage is None:
                self._wishes.lineage(version.ref, self.at)
        if old is None or new is None:
            return [self._missing(model, "lineage")]
        return version_diff.rows(before, after, version_diff.compare(before, old, after, new), self.glyphs, cells)

    # --- wishes

    def _want_more(self, known: VersionList) -> None:
        """Ask for the next page where the cursor nears the end, or where a filter leaves fewer rows than fit."""
        model = self.model
        if model is not None:
            left = len(self._listed.shown) - self.table.cursor_index
            self._wishes.more(model.ref, known, left, self.table.page, self.at)

    def _rest(self) -> None:
        """Read the lineage of the version under the cursor once it rests there: going down a list must not read them all."""
        if self._resting is not None:
            self._resting.stop()

        def rested() -> None:
            self._resting = None
            chosen = self.chosen()
            if chosen is not None and self._lineage(chosen) is None:
                self._wishes.lineage(chosen.ref, self.at)

        self._resting = self.set_timer(REST_S, rested)

    def action_refetch(self) -> None:
        model = self.model
        self.services.reader.refresh(model.ref.connection if model is not None else None)
        if model is not None:
            self.services.reader.want_versions(model.ref)
        self._wishes.forget()
        self.say("reading the versions again")

    # --- keys

    @on(DiffTable.Moved, "#rows")
    def _moved(self, event: DiffTable.Moved) -> None:
        event.stop()
        if not self.reading:
            self.text.rewind()
        known = self.known
        if known is not None:
            self._want_more(known)
        self._show_chosen()

    @on(DiffTable.Opened, "#rows")
    def _opened(self, event: DiffTable.Opened) -> None:
        event.stop()
        self._compared = None
        self.read()

    def leave_text(self) -> None:
        self._compared = None
        super().leave_text()

    def action_diff(self) -> None:
        """Compare the two marked versions, or the marked one with the one under the cursor; the older is at the left."""
        chosen = self.table.marks | ({self.table.key} if len(self.table.marks) == 1 else frozenset())
        if len(chosen) != 2:
            mark, compare = self.pressed("list.mark"), self.pressed("versions.diff")
            self.say(f"mark two versions with {mark}, then {compare} compares them", Role.WARN)
            return
        older, newer = self._listed.older_first(chosen)
        self._compared = (older, newer)
        self.read()

    def action_move_alias(self) -> None:
        model, version = self.model, self.chosen()
        if model is None or version is None:
            self.say("no version is selected")
            return
        self._alias_for = version
        here = self._listed.aliases_of(version)
        items = [
            Item(
                _DIGITS[index],
                f"{alias}: {version_word(now_at)} {self.glyphs.arrow} {version_word(version.ref.version)}",
                f"={alias}",
                "it is here already" if alias in here else "",
            )
            for index, (alias, now_at) in enumerate(sorted(model.aliases.items())[: len(_DIGITS)])
        ]
        items.append(Item("n", "another alias, or a new one ...", OTHER_ALIAS))
        title = f"Point an alias at {name_of(model.ref.name)} {version_word(version.ref.version)}"
        self.open_dock(Menu(self.titled(title), items, id="alias"))

    @on(Menu.Chosen, "#alias")
    async def _alias_chosen(self, event: Menu.Chosen) -> None:
        event.stop()
        self.close_dock()
        if event.choice == OTHER_ALIAS:
            self.open_dock(Prompt("alias:", id="alias-name"))
        else:
            await self._plan_alias(event.choice.removeprefix("="))

    @on(Prompt.Entered, "#alias-name")
    async def _alias_named(self, event: Prompt.Entered) -> None:
        event.stop()
        self.close_dock()
        if event.text.strip():
            await self._plan_alias(event.text.strip())

    async def _plan_alias(self, alias: str) -> None:
        version = self._alias_for
        if version is not None:
            await self.open_plan(MoveAlias(version.ref.model, alias, version.ref.version))

    def name_to_copy(self) -> str:
        chosen = self.chosen()
        return chosen.ref.id if chosen is not None else ""

    def command_to_copy(self) -> str:
        model = self.model
        return command("versions", model.ref.id) if model is not None else ""
