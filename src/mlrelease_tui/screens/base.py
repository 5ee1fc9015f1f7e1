"""What all screens share: two header lines, a working area where prompts and panels dock, a footer with the keys valid now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen

from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.presentation import header
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import Role, Span, clip, line
from mlrelease_tui.screens.services import Services
from mlrelease_tui.store import select
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.bars import Bar
from mlrelease_tui.widgets.menu import Menu
from mlrelease_tui.widgets.prompt import Prompt


@dataclass(frozen=True, slots=True)
class Flags:
    """What the app tells each screen beside the state."""

    frozen: bool = False
    slow_link: bool = False


class ReleaseScreen(Screen[None]):
    """Base of the screens. A subclass gives `body`, `show`, and where it is about endpoints `selected`."""

    NAME: ClassVar[str] = ""
    SCOPES: ClassVar[tuple[str, ...]] = ()
    """Scopes of the key catalogue that are valid here beside "app"; the help shows them."""
    FOOTER: ClassVar[tuple[str, ...]] = ("app.back", "app.command", "app.help")
    """Ids of the keys that the footer names, most wanted first."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (40, "-tall")]  # noqa: RUF012
    AUTO_FOCUS = ""

    @dataclass
    class Goto(Message):
        """Show another view, about `subject` (the id of an endpoint or a model, "" for what it was about)."""

        view: str
        subject: str = ""

    def __init__(self, services: Services, glyphs: Glyphs, keymap: dict[str, str]) -> None:
        super().__init__()
        self.services = services
        self.glyphs = glyphs
        self.keymap = keymap
        self.flags = Flags()
        self.state: State = services.store.state
        self.at: datetime = services.now()
        self._said: tuple[str, Role] | None = None
        self._judged: tuple[State, datetime, tuple[EndpointStatus, ...]] | None = None

    def compose(self) -> ComposeResult:
        yield Bar(id="header")
        with Vertical(id="work"), Vertical(id="body"):
            yield from self.body()
        yield Bar(id="footer")

    # --- for subclasses

    def body(self) -> ComposeResult:
        """The widgets between header and footer."""
        raise NotImplementedError

    def show(self, state: State, now: datetime) -> None:
        """Draw the body from `state`; called after each change and on the minute."""
        raise NotImplementedError

    def selected(self) -> EndpointRef | None:
        """The endpoint that keys on this screen act on."""
        return None

    def about(self, subject: str) -> None:
        """Show this endpoint or model (by id) from now on."""

    def crumbs(self) -> Sequence[str]:
        return (self.NAME.capitalize(),)

    def close_one(self) -> bool:
        """Close what is open on this screen, one thing at a time; False where nothing is."""
        return self.close_dock()

    # --- refreshing

    def refresh_view(self, state: State, now: datetime, flags: Flags) -> None:
        """Draw everything from `state`. Cheap where nothing changed: only differing cells are sent."""
        self.state, self.at, self.flags = state, now, flags
        if not self.is_mounted:
            return
        self._draw_header()
        self.show(state, now)
        self._draw_footer()

    def redraw(self) -> None:
        """Draw again from the state last shown."""
        self.refresh_view(self.state, self.at, self.flags)

    def on_screen_resume(self) -> None:
        self.redraw()

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)

    def statuses(self) -> tuple[EndpointStatus, ...]:
        """All endpoints as judged now, worst first. Judged once for each state and moment that is shown."""
        if self._judged is None or self._judged[0] is not self.state or self._judged[1] != self.at:
            self._judged = (self.state, self.at, select.fleet(self.state, self.at))
        return self._judged[2]

    def _draw_header(self) -> None:
        bar = self.query_one("#header", Bar)
        cells = self.size.width
        counts: Counter[Severity] = Counter(status.severity for status in self.statuses())
        heading = header.Heading(
            self.crumbs(),
            self.services.operator,
            self.state.access,
            counts,
            self.at,
            len(self.services.desk.busy),
            self.flags.frozen,
            self.flags.slow_link,
        )
        bar.show(
            [
                header.first(heading, self.glyphs, cells),
                header.second(self.links(), self.at, self.glyphs, cells),
            ]
        )

    def links(self) -> list[header.Link]:
        """Every connection that is configured or was ever read."""
        state = self.state
        names = sorted(state.connections.keys() | state.freshness.keys() | state.from_cache)
        found: list[header.Link] = []
        for name in names:
            health = state.connections.get(name) or ConnectionHealth(name, "", LinkState.UNKNOWN)
            fresh = state.freshness.get(name)
            found.append(
                header.Link(
                    health,
                    fresh.read_at if fresh else self._last_known(name),
                    fresh is not None and fresh.failing_since is not None,
                    name in state.from_cache,
                )
            )
        return found

    def _last_known(self, connection: str) -> datetime | None:
        """When the rows of a connection were read, where this run has not read it yet."""
        seen = [item.observed_at for item in self.state.endpoints.values() if item.ref.connection == connection]
        return max(seen, default=None)

    def say(self, text: str, role: Role = Role.STRONG) -> None:
        """Say something in the footer until the next key."""
        self._said = (text, role)
        self._draw_footer()

    def unsay(self) -> None:
        if self._said is not None:
            self._said = None
            self._draw_footer()

    def _draw_footer(self) -> None:
        bar = self.query_one("#footer", Bar)
        if self._said is not None:
            text, role = self._said
            bar.show([clip(line(Span(f" {text}", role)), self.size.width)])
            return
        parts: list[Span | str] = [" "]
        for identity in self.footer_keys():
            item = keys.entry(identity)
            pressed = keys.keys_of(identity, self.keymap)
            if pressed:
                parts += [Span(keys.display(pressed[0]), Role.KEY), Span(f" {item.hint or item.text}  ", Role.MUTED)]
        bar.show([clip(line(*parts), self.size.width)])

    def footer_keys(self) -> Sequence[str]:
        return self.FOOTER

    # --- the dock: one prompt or menu at a time

    @property
    def dock(self) -> Prompt | Menu | None:
        """What is docked at the bottom now."""
        for widget in self.query_one("#work").children:
            if isinstance(widget, Prompt | Menu):
                return widget
        return None

    def open_dock(self, widget: Prompt | Menu) -> None:
        self.close_dock()
        self.query_one("#work").mount(widget)
        if isinstance(widget, Menu):
            widget.focus()

    def close_dock(self) -> bool:
        """Close the prompt or menu; False where there is none."""
        widget = self.dock
        if widget is None:
            return False
        widget.remove()
        self.focus_body()
        return True

    def focus_body(self) -> None:
        """Put the focus back where keys move the selection."""
        self.query("#body DiffTable, #body Sheet").first().focus()

    @on(Prompt.Left)
    def _prompt_left(self, event: Prompt.Left) -> None:
        event.stop()
        self.close_dock()

    @on(Menu.Closed)
    def _menu_closed(self, event: Menu.Closed) -> None:
        event.stop()
        self.close_dock()
