"""The frame of every screen: two lines at the top, a working area where prompts and panels dock, a line with the keys valid now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import DescendantFocus
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget

from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.presentation import header
from mlrelease_tui.presentation.footer import Named, footer
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import Role, Span, clip, line
from mlrelease_tui.screens.dock import Dock
from mlrelease_tui.screens.footing import Footing
from mlrelease_tui.screens.heading import Links
from mlrelease_tui.screens.scope import EVERYTHING, Scope
from mlrelease_tui.screens.services import Services
from mlrelease_tui.screens.slices import AT_ONCE, Slices
from mlrelease_tui.store import select
from mlrelease_tui.store.judge import Judged
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets.bars import Bar
from mlrelease_tui.widgets.menu import Menu
from mlrelease_tui.widgets.prompt import Prompt


@dataclass(frozen=True, slots=True)
class Flags:
    """What the app tells each screen beside the state."""

    frozen: bool = False
    slow_link: bool = False
    scope: Scope = EVERYTHING


class FramedScreen(Screen[None]):
    """Draws the fleet as it is judged (`store/judge.py`). A subclass gives `body` and `show`, and `prepare` for long work."""

    NAME: ClassVar[str] = ""
    SCOPES: ClassVar[tuple[str, ...]] = ()
    """Scopes of the key catalogue that are valid here beside "app"; the help shows them."""
    FOOTER: ClassVar[tuple[str, ...]] = ("app.back", "app.command", "app.help")
    """Ids of the keys that the footer names, most wanted first."""

    SCOPED: ClassVar[bool] = False
    """Whether only what is of the chosen connection or environment is shown here."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (40, "-tall")]  # noqa: RUF012
    AUTO_FOCUS = ""

    @dataclass
    class Looked(Message):
        """A fleet that was too large to be judged at once is judged and drawn now."""

    def __init__(self, services: Services, glyphs: Glyphs, keymap: dict[str, str]) -> None:
        super().__init__()
        self.services = services
        self.glyphs = glyphs
        self.keymap = keymap
        self.flags = Flags()
        self.state: State = services.store.state
        self.at: datetime = services.now()
        self._said: tuple[str, Role] | None = None
        self._judged: Judged | None = None
        self._slices = Slices(self.set_timer, self._looked)
        self._links = Links()
        self.footing = Footing(keymap)

    def compose(self) -> ComposeResult:
        yield Bar(id="header")
        with Vertical(id="work"), Vertical(id="body"):
            yield from self.body()
        yield Bar(id="footer")

    # --- for subclasses

    def body(self) -> ComposeResult:
        """The widgets between header and footer."""
        raise NotImplementedError

    def prepare(self, judged: Judged) -> Iterator[None]:
        """Make ready for `show` what takes long, a millisecond at a time. What was ready before stays until the end."""
        yield from ()

    def show(self, state: State, now: datetime) -> None:
        """Draw the body from `state`; called after each change and on the minute."""
        raise NotImplementedError

    def drawn(self) -> None:
        """Called with each draw, for what follows the state beside the body."""

    def crumbs(self) -> Sequence[str]:
        return (self.NAME.capitalize(),)

    # --- refreshing

    def refresh_view(self, state: State, now: datetime, flags: Flags) -> None:
        """Draw everything from `state`. Cheap where nothing changed: only differing cells are sent."""
        self.state, self.at, self.flags = state, now, flags
        if not self.is_mounted or not self.display:
            return
        self._slices.run(self._look(state, now), whole=len(state.endpoints) <= AT_ONCE)
        self._draw()

    def _look(self, state: State, now: datetime) -> Iterator[None]:
        """Judge the fleet, then prepare what is drawn of it. What was judged before is shown until that is done."""
        while (judged := self.services.store.judge.step(state, now)) is None:
            yield
        yield from self.prepare(judged)
        self._judged = judged

    def _looked(self) -> None:
        if self.is_mounted and self.display:
            self._draw()
            self.post_message(self.Looked())

    def _draw(self) -> None:
        self._draw_header()
        self.show(self.state, self.at)
        self.drawn()
        if self.focused is None and self.dock is None and self.app.app_focus:
            # What had the focus was hidden or is gone: without one no key moves anything. While another window has it, Textual
            # itself gives it back.
            self.take_keys()
        self.draw_footer()

    def redraw(self) -> None:
        """Draw again from the state last shown."""
        self.refresh_view(self.state, self.at, self.flags)

    def on_screen_resume(self) -> None:
        self.redraw()

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)

    def statuses(self) -> tuple[EndpointStatus, ...]:
        """All endpoints as judged last, worst first."""
        return self._judged.worst_first if self._judged is not None else ()

    def status_of(self, endpoint: str) -> EndpointStatus | None:
        """The endpoint of that id as judged now."""
        ref = next((ref for ref in self.state.endpoints if ref.id == endpoint), None)
        return select.status_of(self.state, ref, self.at) if ref is not None else None

    @property
    def holds_order(self) -> bool:
        """Whether rows keep their places: the actions menu is open, and what it is about must not move."""
        return self.dock is not None and self.dock.id == "actions"

    def _draw_header(self) -> None:
        bar = self.query_one("#header", Bar)
        cells = self.size.width
        heading = header.Heading(
            self._scoped_crumbs(),
            self.services.operator,
            self.state.access,
            self._judged.counts if self._judged is not None else {},
            self.at,
            len(self.services.desk.busy),
            self.flags.frozen,
            self.flags.slow_link,
            len(self.state.open_actions),
        )
        bar.show(
            [
                header.first(heading, self.glyphs, cells),
                header.second(self.links(), self.at, self.glyphs, cells),
            ]
        )

    def _scoped_crumbs(self) -> Sequence[str]:
        first, *rest = self.crumbs()
        return (f"{first} {self.flags.scope}".rstrip(), *rest) if self.SCOPED else (first, *rest)

    def links(self) -> list[header.Link]:
        """Every connection that is configured or was ever read."""
        return self._links.of(self.state)

    def say(self, text: str, role: Role = Role.STRONG) -> None:
        """Say something in the footer until the next key."""
        self._said = (text, role)
        self.draw_footer()

    def unsay(self) -> None:
        if self._said is not None:
            self._said = None
            self.draw_footer()

    def draw_footer(self) -> None:
        """Name the keys that are valid now, or say what was said last."""
        bar = self.query_one("#footer", Bar)
        if self._said is not None:
            text, role = self._said
            bar.show([clip(line(Span(f" {text}", role)), self.size.width)])
            return
        bar.show([footer(self.named_keys(), self.size.width)])

    def pressed(self, identity: str) -> str:
        """The key that does this, as it is written for people; "" where it has none."""
        return self.footing.pressed(identity)

    def named_keys(self) -> list[Named]:
        """The keys of what has the focus, not of what lies below it."""
        if (dock := self.dock) is not None:
            return self.footing.of_dock(dock)
        armed = self.state.access.may_write(self.at) is None
        return self.footing.named(*self.footer_keys(), armed=armed)

    @on(DescendantFocus)
    def _focus_moved(self) -> None:
        self.draw_footer()

    def footer_keys(self) -> Sequence[str]:
        return self.FOOTER

    # --- the dock: one prompt or menu at a time

    @property
    def dock(self) -> Prompt | Menu | None:
        """What is docked at the bottom now."""
        return self._dock.widget

    def open_dock(self, widget: Prompt | Menu) -> None:
        self._dock.open(widget)

    def close_dock(self) -> bool:
        """Close the prompt or menu; False where there is none."""
        closed = self._dock.close()
        if closed:
            self.take_keys()
        return closed

    @cached_property
    def _dock(self) -> Dock:
        # Rows that kept their places while it was open take those that they have now.
        return Dock(self.query_one("#work"), opened=self.draw_footer, closed=self.redraw)

    @property
    def work_lines(self) -> int:
        """Lines between header and footer."""
        return self.query_one("#work").size.height

    # --- where keys go

    @property
    def front(self) -> Widget | None:
        """What lies over the body and takes all keys, None where nothing does."""
        return self.dock if self.is_mounted else None

    @property
    def focus_chain(self) -> list[Widget]:
        """Where Tab leads: out of what takes all keys it leads nowhere, or keys would do something else than the footer says."""
        chain, front = super().focus_chain, self.front
        return chain if front is None else [widget for widget in chain if front in widget.ancestors_with_self]

    def get_focusable_widget_at(self, x: int, y: int) -> Widget | None:
        """Where a click leads: as `focus_chain`."""
        found, front = super().get_focusable_widget_at(x, y), self.front
        if front is None or found is None:
            return found
        return found if front in found.ancestors_with_self else None

    def take_keys(self) -> None:
        """Put the focus where keys go when nothing is docked."""
        self.focus_body()

    def focus_body(self) -> None:
        """Put the focus back where keys move the selection."""
        self.query("#body DiffTable, #body Sheet").first().focus()
