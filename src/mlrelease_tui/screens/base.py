"""What all screens share: two header lines, a working area where prompts and panels dock, a footer with the keys valid now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import DescendantFocus
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input

from mlrelease_tui.domain.refs import EndpointRef
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
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.bars import Bar
from mlrelease_tui.widgets.menu import Menu
from mlrelease_tui.widgets.prompt import Prompt, Suggestion

if TYPE_CHECKING:
    from mlrelease_tui.domain.intents import Intent
    from mlrelease_tui.screens.commands import Command
    from mlrelease_tui.screens.planning import Planning
    from mlrelease_tui.widgets.plan_panel import PlanPanel


@dataclass(frozen=True, slots=True)
class Flags:
    """What the app tells each screen beside the state."""

    frozen: bool = False
    slow_link: bool = False
    scope: Scope = EVERYTHING


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
    BINDINGS = keys.bindings("thing")

    @dataclass
    class Inspect(Message):
        """Show all that is known of the selected thing, beginning with this page."""

        page: str

    @dataclass
    class Copy(Message):
        """Copy `text` to the operator's clipboard; `what` says what it is."""

        text: str
        what: str

    @dataclass
    class Goto(Message):
        """Show another view, about `subject` (the id of an endpoint or a model, "" for what it was about)."""

        view: str
        subject: str = ""

    @dataclass
    class Commanded(Message):
        """A `:` command that is not this screen's own."""

        command: Command

    @dataclass
    class Looked(Message):
        """A fleet that was too large to be judged at once is judged and drawn now."""

    def __init__(self, services: Services, glyphs: Glyphs, keymap: dict[str, str]) -> None:
        super().__init__()
        self.services = services
        self.glyphs = glyphs
        self.keymap = keymap
        self.flags = Flags()
        self.planning: Planning | None = None
        self.state: State = services.store.state
        self.at: datetime = services.now()
        self._said: tuple[str, Role] | None = None
        self._judged: Judged | None = None
        self._slices = Slices(self.set_timer, self._looked)
        self._links = Links()
        self._footing = Footing(keymap)

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

    def selected(self) -> EndpointRef | None:
        """The endpoint that keys on this screen act on."""
        return None

    def thing(self) -> tuple[str, object] | None:
        """What the keys of `thing` tell of: its name and its domain value. None where nothing is selected."""
        ref = self.selected()
        status = self.status_of(ref.id) if ref is not None else None
        return (status.ref.id, status.endpoint) if status is not None else None

    def address(self) -> str:
        """Where the selected thing is reached, "" where nobody says."""
        ref = self.selected()
        endpoint = self.state.endpoints.get(ref) if ref is not None else None
        return endpoint.url if endpoint is not None else ""

    def action_describe(self) -> None:
        self.post_message(self.Inspect("describe"))

    def action_raw(self) -> None:
        self.post_message(self.Inspect("raw"))

    def action_url(self) -> None:
        address = self.address()
        if address:
            self.post_message(self.Copy(address, "the address"))
        else:
            self.say("no address is known: its backend names none", Role.WARN)

    def about(self, subject: str) -> None:
        """Show this endpoint or model (by id) from now on."""

    def crumbs(self) -> Sequence[str]:
        return (self.NAME.capitalize(),)

    def narrow(self, words: str) -> bool:
        """Filter what is listed; False where nothing is."""
        return False

    async def close_one(self) -> bool:
        """Close what is open on this screen, one thing at a time; False where nothing is."""
        return self.close_dock() or await self.close_plan()

    # --- refreshing

    def refresh_view(self, state: State, now: datetime, flags: Flags) -> None:
        """Draw everything from `state`. Cheap where nothing changed: only differing cells are sent."""
        self.state, self.at, self.flags = state, now, flags
        if not self.is_mounted:
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
        if self.is_mounted:
            self._draw()
            self.post_message(self.Looked())

    def _draw(self) -> None:
        self._draw_header()
        self.show(self.state, self.at)
        if self.planning is not None:
            self.planning.look(self.services.store.state)
        self._draw_footer()

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
        """Whether rows keep their places: the actions menu or a plan is open, and what it is about must not move."""
        planned = self.planning is not None and self.planning.panel is not None
        return planned or (self.dock is not None and self.dock.id == "actions")

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
        return (f"{first} {self.flags.scope}".rstrip(), *rest)

    def links(self) -> list[header.Link]:
        """Every connection that is configured or was ever read."""
        return self._links.of(self.state)

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
        bar.show([footer(self._named_keys(), self.size.width)])

    def pressed(self, identity: str) -> str:
        """The key that does this, as it is written for people; "" where it has none."""
        return self._footing.pressed(identity)

    def _named_keys(self) -> list[Named]:
        if (dock := self.dock) is not None:
            return self._footing.of_dock(dock)
        panel = self.planning.panel if self.planning is not None else None
        if panel is None:
            return self._footing.named(*self.footer_keys())
        armed = self.state.access.may_write(self.at) is None
        return self._footing.of_plan(panel.stance, armed=armed, typing=isinstance(self.focused, Input))

    @on(DescendantFocus)
    def _focus_moved(self) -> None:
        self._draw_footer()

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
            self.focus_body()
        return closed

    @cached_property
    def _dock(self) -> Dock:
        return Dock(self.query_one("#work"), self._draw_footer)

    def focus_body(self) -> None:
        """Put the focus back where keys move the selection."""
        self.query("#body DiffTable, #body Sheet").first().focus()

    # --- commands

    def open_command_line(self, text: str = "", note: str = "") -> None:
        from mlrelease_tui.screens import commands

        def suggest(typed: str) -> list[Suggestion]:
            found = commands.completions(typed, self.state.endpoints, tuple(self.app.available_themes))
            if not found and note:
                found = [(typed, note)]
            return [Suggestion(*pair) for pair in found]

        self.open_dock(Prompt(":", value=text, suggest=suggest, id="command"))

    def open_palette(self) -> None:
        from mlrelease_tui.screens import commands

        def suggest(typed: str) -> list[Suggestion]:
            return [Suggestion(*pair) for pair in commands.everything(typed, self.state.endpoints)]

        self.open_dock(Prompt("find:", suggest=suggest, picks=True, id="command"))

    @on(Prompt.Entered, "#command")
    async def _commanded(self, event: Prompt.Entered) -> None:
        from mlrelease_tui.screens import commands

        event.stop()
        self.close_dock()
        command = commands.parse(event.text, self.state.endpoints, self.selected())
        match command:
            case None:
                return
            case commands.Wish(intent):
                await self.open_plan(intent)
            case commands.Mistake(text):
                self.say(text, Role.WARN)
            case commands.Narrow(words):
                if not self.narrow(words):
                    self.say("there is no list to filter here", Role.WARN)
            case _:
                self.post_message(self.Commanded(command))

    # --- plans. The panel's messages are handled by their names: its module is wanted when a plan is opened, not before.

    async def open_plan(self, intent: Intent) -> None:
        """Ask for a plan and show it in the docked panel."""
        self.close_dock()
        if self.planning is None:
            from mlrelease_tui.screens.planning import Planning

            self.planning = Planning(self.services, self.glyphs, self.query_one("#work"), self._draw_footer)
        await self.planning.open(intent)
        self.call_after_refresh(self.redraw)

    async def close_plan(self) -> bool:
        if self.planning is None or not await self.planning.close():
            return False
        self.focus_body()
        self.call_after_refresh(self.redraw)
        return True

    async def on_plan_panel_closed(self, event: PlanPanel.Closed) -> None:
        event.stop()
        await self.close_plan()

    def on_plan_panel_send(self, event: PlanPanel.Send) -> None:
        event.stop()
        if self.planning is not None:
            self.planning.send(event.plan, event.why, event.typed)

    def on_plan_panel_wants_plan(self, event: PlanPanel.WantsPlan) -> None:
        event.stop()
        if self.planning is not None:
            self.planning.replan("the plan had expired: planned anew")

    @on(Prompt.Left)
    def _prompt_left(self, event: Prompt.Left) -> None:
        event.stop()
        self.close_dock()

    @on(Menu.Closed)
    def _menu_closed(self, event: Menu.Closed) -> None:
        event.stop()
        self.close_dock()
