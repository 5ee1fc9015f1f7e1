"""Who did what, when, to what, why, and how it ended; what was left open; whether the log holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any

from textual import on

from mlrelease_tui.domain.action import AuditCheck
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.presentation import audit as view
from mlrelease_tui.presentation import audit_record
from mlrelease_tui.presentation.lines import Line, Role, Span, line
from mlrelease_tui.presentation.table import heading, laid_out, row
from mlrelease_tui.screens.copying import command
from mlrelease_tui.screens.reading import ReadingScreen
from mlrelease_tui.screens.services import Auditing
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.diff_table import DiffTable

_log = logging.getLogger(__name__)


class AuditScreen(ReadingScreen):
    CSS_PATH = ["reading.tcss", "audit.tcss"]  # noqa: RUF012
    NAME = "audit"
    SCOPES = ("list", "rows", "item", "audit")
    BINDINGS = [  # noqa: RUF012
        *keys.bindings("audit"),
        # The app's own key; here it reads the log again too, and looks anew at what is open.
        keys.binding("app.refetch"),
    ]
    FOOTER = (
        "list.open",
        "audit.only",
        "audit.verify",
        "audit.raw",
        "rows.filter",
        "rows.problems",
        "app.back",
        "app.help",
    )
    SORTS = view.SORTS

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._shown: dict[str, view.Deed] = {}
        self._only = ""
        self._opened = 0
        self._check: AuditCheck | None = None
        self._checking = False
        self._as_raw = False
        # A task without a reference may be collected before it ends.
        self._tasks: set[asyncio.Task[None]] = set()

    def about(self, subject: str) -> None:
        """Put the cursor on the newest action on this endpoint or model, or on the action of this intent."""
        if self.table.select(subject):
            return
        key = next((key for key, deed in self._shown.items() if deed.target == subject), "")
        if key:
            self.table.select(key)

    def chosen(self) -> view.Deed | None:
        return self._shown.get(self.table.key)

    def selected(self) -> EndpointRef | None:
        """The endpoint that the selected action was on, where it is still known."""
        chosen = self.chosen()
        if chosen is None:
            return None
        return next((ref for ref in self.state.endpoints if ref.id == chosen.target), None)

    def show(self, state: State, now: datetime) -> None:
        found = view.deeds(state.audit, state.open_actions, state.actions.values())
        self._opened = sum(deed.open is not None for deed in found)
        items = [deed for deed in found if self._wanted(deed)]
        items.sort(key=view.sort_key(self.sorted_by), reverse=self.reversed)
        # What is open stays on top in either order.
        items.sort(key=lambda deed: deed.running is None and deed.open is None)
        self._shown = {deed.key: deed for deed in items}
        columns = laid_out(view.WIDE if self.wide else view.COLUMNS, self.list_cells())
        marker = self.glyphs.ascending if self.reversed else self.glyphs.descending

        def row_of(key: str) -> Line:
            return row(columns, view.cells(self._shown[key], now, self.glyphs), self.glyphs.ellipsis)

        empty = self.nothing(
            line(Span("  nothing is recorded yet", Role.STRONG)),
            line(Span("  a plan that is sent is written down first: its intent, then its outcome", Role.MUTED)),
        )
        self.show_rows(heading(columns, self.sorted_by, marker), tuple(self._shown), row_of, empty)
        self._show_chosen()

    def _wanted(self, deed: view.Deed) -> bool:
        if self._only and deed.target != self._only:
            return False
        if self.problems_only and deed.severity is Severity.OK:
            return False
        return not self.wanted or view.matches(deed, self.wanted)

    def found(self, wanted: str) -> Sequence[str]:
        return [key for key, deed in self._shown.items() if view.matches(deed, wanted)]

    def describe_view(self) -> str:
        parts = [part for part in (f"only {self._only}" if self._only else "", super().describe_view()) if part]
        return " | ".join(parts)

    def _show_chosen(self) -> None:
        chosen = self.chosen()
        checked = view.checked(self._check, self._checking, self.at, self.glyphs)
        self.show_note(view.note(chosen, checked, self._opened, max(self.table.size.width, 20)))
        if not self.text_shown:
            return
        cells = self.text_cells()
        if chosen is None:
            self.text.show([])
        elif self._as_raw:
            self.text.show(audit_record.raw(chosen, cells))
        else:
            self.text.show(audit_record.text(chosen, self._check, self.at, self.glyphs, cells))

    # --- keys

    @on(DiffTable.Moved, "#rows")
    def _moved(self, event: DiffTable.Moved) -> None:
        event.stop()
        self.text.rewind()
        self._show_chosen()

    @on(DiffTable.Opened, "#rows")
    def _row_opened(self, event: DiffTable.Opened) -> None:
        event.stop()
        self.read()

    async def close_one(self) -> bool:
        if await super().close_one():
            return True
        if self._only:
            self._only = ""
            self.redraw()
            return True
        return False

    def action_only(self) -> None:
        chosen = self.chosen()
        self._only = "" if self._only else chosen.target if chosen is not None else ""
        self.redraw()

    def action_raw(self) -> None:
        self._as_raw = not self._as_raw
        self.text.rewind()
        if self._as_raw and not self.reading and self.chosen() is not None:
            self.read()
        else:
            self.redraw()

    def action_verify(self) -> None:
        if self.services.audit is None:
            self.say("there is no log to verify here", Role.WARN)
        elif not self._checking:
            self._checking = True
            self.redraw()
            self._start(self._verify())

    async def _verify(self) -> None:
        auditing = self.services.audit
        try:
            if auditing is not None:
                self._check = await auditing.verify()
        except Exception as error:
            _log.exception("verifying failed")
            self.say(f"verifying failed: {type(error).__name__}", Role.WARN)
        finally:
            self._checking = False
            self.redraw()

    def action_refetch(self) -> None:
        self.services.reader.refresh(None)
        self.say("reading everything and the log again")
        if self.services.audit is not None:
            self._start(self._look_again(self.services.audit))

    async def _look_again(self, auditing: Auditing) -> None:
        try:
            await auditing.look_again()
        except Exception as error:
            _log.exception("reading the audit failed")
            self.say(f"the log can't be read: {type(error).__name__}", Role.WARN)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def name_to_copy(self) -> str:
        chosen = self.chosen()
        return (chosen.intent_id or chosen.key) if chosen is not None else ""

    def command_to_copy(self) -> str:
        name = self.name_to_copy()
        return command("audit", "show", name) if name else ""
