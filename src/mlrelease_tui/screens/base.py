"""What all screens do beside drawing: tell of the selected thing, take commands, open plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.presentation.footer import Named
from mlrelease_tui.presentation.lines import Role
from mlrelease_tui.screens.frame import Flags, FramedScreen
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.menu import Menu
from mlrelease_tui.widgets.prompt import Prompt, Suggestion

if TYPE_CHECKING:
    from mlrelease_tui.domain.intents import Intent
    from mlrelease_tui.screens.commands import Command
    from mlrelease_tui.screens.planning import Planning
    from mlrelease_tui.widgets.plan_panel import PlanPanel


class ReleaseScreen(FramedScreen):
    """Base of the screens. A subclass gives `body`, `show`, and where it is about endpoints `selected`."""

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

    planning: Planning | None = None

    # --- for subclasses

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

    def narrow(self, words: str) -> bool:
        """Filter what is listed; False where nothing is."""
        return False

    async def close_one(self) -> bool:
        """Close what is open on this screen, one thing at a time; False where nothing is."""
        return self.close_dock() or await self.close_plan()

    def zoom(self) -> None:
        """Give the body to the list alone or to the text beside it, in turn."""
        self.toggle_class("-zoomed")
        self.call_after_refresh(self.redraw)

    # --- beside the body

    def drawn(self) -> None:
        if self.planning is not None:
            self.planning.look(self.services.store.state)

    @property
    def holds_order(self) -> bool:
        """Whether rows keep their places: the actions menu or a plan is open, and what it is about must not move."""
        return super().holds_order or self.panel is not None

    def named_keys(self) -> list[Named]:
        panel = self.panel
        if panel is None or self.dock is not None:
            return super().named_keys()
        armed = self.state.access.may_write(self.at) is None
        typing = isinstance(self.focused, Input)
        return self.footing.of_plan(panel.stance, armed=armed, typing=typing, readable=panel.readable)

    @property
    def panel(self) -> PlanPanel | None:
        """The plan that is open here."""
        return self.planning.panel if self.planning is not None else None

    @property
    def front(self) -> Widget | None:
        return super().front or self.panel

    def take_keys(self) -> None:
        if self.panel is not None:
            self.panel.take_keys()
        else:
            super().take_keys()

    def on_screen_resume(self) -> None:
        # Textual calls the frame's own handler too.
        if self.panel is not None:
            self.panel.shown_again()

    # --- commands

    _about: EndpointRef | None = None
    """The endpoint that a command which names none is about: the one under the cursor when it was begun."""

    def open_command_line(self, text: str = "", note: str = "") -> None:
        from mlrelease_tui.screens import commands

        self._about = self.selected()

        def suggest(typed: str) -> list[Suggestion]:
            found = commands.completions(typed, self.state.endpoints, tuple(self.app.available_themes), self.keymap)
            if not found and note:
                found = [(typed, note)]
            return [Suggestion(*pair) for pair in found]

        self.open_dock(Prompt(":", value=text, suggest=suggest, id="command"))

    def open_palette(self) -> None:
        from mlrelease_tui.screens import commands

        self._about = self.selected()

        def suggest(typed: str) -> list[Suggestion]:
            return [Suggestion(*pair) for pair in commands.everything(typed, self.state.endpoints, self.keymap)]

        self.open_dock(Prompt("find:", suggest=suggest, picks=True, id="command"))

    @on(Prompt.Entered, "#command")
    async def _commanded(self, event: Prompt.Entered) -> None:
        from mlrelease_tui.screens import commands

        event.stop()
        self.close_dock()
        command = commands.parse(event.text, self.state.endpoints, self._about)
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

    def titled(self, title: str) -> str:
        """The title of a menu whose entries open plans: whether one of them could be sent now."""
        armed = self.state.access.may_write(self.at) is None
        return title if armed else f"{title}  [READ-ONLY: plans open, {self.pressed('app.arm')} arms]"

    # --- plans. The panel's messages are handled by their names: its module is wanted when a plan is opened, not before.

    async def open_plan(self, intent: Intent) -> None:
        """Ask for a plan and show it in the docked panel."""
        self.close_dock()
        if self.planning is None:
            from mlrelease_tui.screens.planning import Planning

            self.planning = Planning(
                self.services, self.glyphs, self.query_one("#work"), self.draw_footer, self.pressed
            )
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


__all__ = ["Flags", "ReleaseScreen"]
