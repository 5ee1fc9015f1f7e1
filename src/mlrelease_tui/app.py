"""The terminal app, thin: which view is shown, how it looks, and the bridge from the store to the screen that is seen."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rich.text import Text
from textual import on

from mlrelease_tui.presentation.lines import Role, cut
from mlrelease_tui.screens.alarm import Alarm
from mlrelease_tui.screens.arming import Arming
from mlrelease_tui.screens.base import Flags, ReleaseScreen
from mlrelease_tui.screens.bell import Bell
from mlrelease_tui.screens.copying import copy_out
from mlrelease_tui.screens.crash import write_crash
from mlrelease_tui.screens.ending import end_by_signals, give_back_style
from mlrelease_tui.screens.menus import chosen_scope, quit_menu, scope_menu
from mlrelease_tui.screens.pulse import Pulse
from mlrelease_tui.screens.scope import EVERYTHING, Scope
from mlrelease_tui.screens.services import Services
from mlrelease_tui.screens.settled import Settled
from mlrelease_tui.screens.themed import ThemedApp
from mlrelease_tui.screens.trail import Place, Trail
from mlrelease_tui.screens.views import HOME, VIEWS
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.menu import Menu
from mlrelease_tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from mlrelease_tui.store.facts import Fact
    from mlrelease_tui.widgets.plan_panel import PlanPanel

TICK_S: Final = 5.0
"""How often ages and the clock are looked at. They are shown so coarsely that most looks draw nothing."""


class MlreleaseApp(ThemedApp):
    """Give it `Services`; `run_app` runs it and returns the exit code."""

    # The first screen is not pushed, so Textual does not load its style sheet by itself.
    CSS_PATH = ["screens/base.tcss", "screens/fleet.tcss"]  # noqa: RUF012
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = keys.bindings("app")
    TITLE = "mlrelease"

    def __init__(
        self,
        services: Services,
        environ: Mapping[str, str] = os.environ,
        *,
        when_painted: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(services.appearance, environ)
        self._environ = environ
        self._when_painted = when_painted
        self.services = services
        self.keymap_chosen = keys.keymap(services.appearance.key_preset, services.appearance.keys)
        self.set_keymap(self.keymap_chosen)
        self._trail = Trail(HOME)
        self._frozen: State | None = None
        self._settled = Settled(services.now())
        self._scope = EVERYTHING
        self._bell = Bell(Alarm(services.monotonic), self.bell, self.send_escape)
        self._arming = Arming(services, lambda: self.current)
        self._pulse = Pulse(
            self._draw, self._later, lambda: self.backlog, time.monotonic, slow=services.appearance.slow
        )
        self._unsubscribe: Callable[[], None] = lambda: None

    # --- start and end

    def get_default_screen(self) -> ReleaseScreen:
        return self._screen_for(HOME)

    def on_mount(self) -> None:
        self._unsubscribe = self.services.store.subscribe(lambda state, fact: self._heard(fact))
        self.set_interval(TICK_S, self._pulse.changed)
        self._await_minute()
        # What is known is on the screen before anything is read anew, and before anything heavy is imported for it.
        self.call_after_refresh(self._when_painted)
        self.call_after_refresh(self._pulse.changed)
        if not self.is_headless:
            end_by_signals(lambda code: self.exit(return_code=code))

    def _await_minute(self) -> None:
        """Draw when the header's clock goes on, and all ages with it."""
        now = self.services.now()
        self.set_timer(60.0 - now.second - now.microsecond / 1e6, self._minute_began)

    def _minute_began(self) -> None:
        self._pulse.changed()
        self._await_minute()

    def on_unmount(self) -> None:
        self._unsubscribe()
        self._bell.rest()

    def _handle_exception(self, error: Exception) -> None:
        """A crash shows no local variable: a token may be among them. The log has the frames and the error's type alone."""
        self._return_code = 1
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        where = write_crash(error, self.services.crash_dir, self.services.now())
        self.panic(Text(f"mlrelease stopped: {type(error).__name__}. {where}"))

    # --- from the store to the screen

    @property
    def draws_pending(self) -> bool:
        """Whether a change was not drawn yet."""
        return self._pulse.pending

    @property
    def current(self) -> ReleaseScreen:
        """The view that is seen, below a help page that may cover it."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, ReleaseScreen):
                return screen
        raise LookupError("no view is open")

    def awaits_focus(self) -> bool:
        dock = self.current.dock if self.screen is self.current else None
        return dock is not None and not dock.has_focus_within

    def key_comes(self) -> None:
        # What was said stands until the next key.
        if any(isinstance(screen, ReleaseScreen) for screen in self.screen_stack):
            self.current.unsay()

    def _heard(self, fact: Fact) -> None:
        from mlrelease_tui.store.facts import AuditObserved

        self._pulse.changed()
        if isinstance(fact, AuditObserved) and (told := self._settled.hear(fact.entries)):
            self.current.say(f"{told}; {self.current.pressed('app.view_audit')} has the audit", Role.WARN)

    def _draw(self) -> None:
        state = self._seen()
        if not any(isinstance(screen, ReleaseScreen) for screen in self._screen_stack):
            # The app ends, and its views are gone already.
            return
        view = self.current
        view.refresh_view(state, self.services.now(), self._flags)
        top = self.screen
        if top is not view and hasattr(top, "redraw"):
            # A page over the view: made anew, so that what it tells stays true.
            top.redraw()
        self._ring()

    def _seen(self) -> State:
        """What is shown. Frozen is the fleet, not what this program itself may do and does."""
        live, frozen = self.services.store.state, self._frozen
        if frozen is None:
            return live
        own = (live.access, live.actions, live.open_actions)
        if own != (frozen.access, frozen.actions, frozen.open_actions):
            access, actions, open_actions = own
            frozen = self._frozen = replace(frozen, access=access, actions=actions, open_actions=open_actions)
        return frozen

    @on(ReleaseScreen.Looked)
    def _ring(self) -> None:
        if self._frozen is None and self.services.appearance.bell:
            self._bell.sound(self.current.statuses())

    @property
    def _flags(self) -> Flags:
        return Flags(self._frozen is not None, self._pulse.slow, self._scope)

    def _later(self, delay: float, callback: Callable[[], None]) -> None:
        if delay > 0:
            self.set_timer(delay, callback)
        else:
            self.call_next(callback)

    # --- views

    def _screen_for(self, view: str) -> ReleaseScreen:
        if self.is_screen_installed(view):
            found = self.get_screen(view)
            if isinstance(found, ReleaseScreen):
                return found
        screen = VIEWS[view]()(self.services, self._glyphs, self.keymap_chosen)
        screen.flags = self._flags
        self.install_screen(screen, view)
        return screen

    async def show_view(self, view: str, subject: str = "", *, remember: bool = True) -> None:
        """Show a view, about `subject` where that is not ""."""
        if view not in VIEWS:
            self.current.say(f"there is no view {view}", Role.WARN)
            return
        if not subject and (selected := self.current.selected()) is not None:
            subject = selected.id
        await self._uncover()
        if Place(view, subject) == self._trail.here:
            return
        self._trail.go(Place(view, subject), remember=remember)
        screen = self._screen_for(view)
        if screen is not self.current:
            # Home stays at the bottom of the stack, any other view lies upon it.
            if view == HOME:
                await self.pop_screen()
            elif self.current is self.screen_stack[0]:
                await self.push_screen(screen)
            else:
                await self.switch_screen(screen)
        if subject:
            screen.about(subject)
        self._draw()

    async def _uncover(self) -> bool:
        """Close the pages that cover the view: what is opened on it, or in its place, is to be seen. False where there is none."""
        covered = self.screen is not self.current
        while self.screen is not self.current:
            await self.pop_screen()
        return covered

    @on(ReleaseScreen.Goto)
    async def _goto(self, event: ReleaseScreen.Goto) -> None:
        await self.show_view(event.view, event.subject)

    async def action_view(self, view: str) -> None:
        await self.show_view(view)

    async def action_last_view(self) -> None:
        await self.show_view(self._trail.last.view, self._trail.last.subject, remember=False)

    async def action_back(self) -> None:
        if await self._uncover() or await self.current.close_one():
            return
        if (place := self._trail.back()) is not None:
            await self.show_view(place.view, place.subject, remember=False)

    async def action_leave(self) -> None:
        if self._trail:
            await self.action_back()
        elif not await self._uncover() and not await self.current.close_one():
            await self._ask_to_quit()

    # --- everywhere

    def action_theme(self) -> None:
        self.current.say(f"theme {self.take_next_theme()}")

    def action_help(self) -> None:
        from mlrelease_tui.screens.overlay import PageScreen, Tab, help_page

        if isinstance(self.screen, ReleaseScreen):
            view = self.current
            self.push_screen(PageScreen(f"Keys: {view.NAME}", [Tab("", help_page(view.SCOPES, self.keymap_chosen))]))

    @on(ReleaseScreen.Inspect)
    def _inspect(self, event: ReleaseScreen.Inspect) -> None:
        from mlrelease_tui.screens.inspecting import page_of

        page = page_of(self.current, event.page)
        if page is None:
            self.current.say("nothing is selected")
        else:
            self.push_screen(page)

    async def action_command(self) -> None:
        await self._uncover()
        self.current.open_command_line()

    async def action_palette(self) -> None:
        await self._uncover()
        self.current.open_palette()

    @on(ReleaseScreen.Commanded)
    async def _commanded(self, event: ReleaseScreen.Commanded) -> None:
        from mlrelease_tui.screens import commands

        match event.command:
            case commands.Act(action):
                # An action of the catalogue: the screen's own, or one of the app's.
                namespace = self.current if hasattr(self.current, f"action_{action.partition('(')[0]}") else self
                await self.run_action(action, namespace)
            case commands.Visit(endpoint):
                await self.show_view("endpoint", endpoint.id)
            case commands.Dress(theme):
                if refused := self.take_theme(theme):
                    self.current.say(refused, Role.WARN)
            case _:
                pass

    @on(ReleaseScreen.Copy)
    def _copy(self, event: ReleaseScreen.Copy) -> None:
        self._copy_out(event.text, event.what)

    def on_plan_panel_wants_copy(self, event: PlanPanel.WantsCopy) -> None:
        self._copy_out(event.text, "the commands")

    def _copy_out(self, text: str, what: str) -> None:
        self._tell(copy_out(text, what, self._environ, self.send_escape))

    def _tell(self, text: str) -> None:
        """Say it where the operator looks: in a page over the view, or in the view's footer."""
        page = self.screen
        if page is not self.current and hasattr(page, "say"):
            page.say(cut(text, 44, self._glyphs.ellipsis))
        else:
            self.current.say(text)

    async def on_plan_panel_wants_arm(self, event: PlanPanel.WantsArm) -> None:
        await self._arming.at_once()
        self._draw()

    async def action_connection(self) -> None:
        """Choose which part of the fleet is looked at."""
        await self._uncover()
        self.current.open_dock(scope_menu(self.services.store.state, self.current.work_lines))

    @on(Prompt.Entered, "#scope")
    @on(Menu.Chosen, "#scope")
    async def _scope_chosen(self, event: Menu.Chosen | Prompt.Entered) -> None:
        self.current.close_dock()
        chosen = event.choice if isinstance(event, Menu.Chosen) else event.text
        scope = chosen_scope(self.services.store.state, chosen)
        if scope is not None:
            await self._look_at(scope)
        else:
            self.current.say(f"there is no {chosen}", Role.WARN)

    async def action_everything(self) -> None:
        await self._look_at(EVERYTHING)

    async def _look_at(self, scope: Scope) -> None:
        await self._uncover()
        self._scope = scope
        self._draw()
        if self._trail.here.view not in {"fleet", "rollouts"} and scope != EVERYTHING:
            await self.show_view(HOME)

    def action_freeze(self) -> None:
        self._frozen = None if self._frozen is not None else self.services.store.state
        self._draw()

    def action_refetch(self) -> None:
        self.services.reader.refresh(None)
        self.current.say("reading everything again")

    def action_repaint(self) -> None:
        self.repaint()

    def action_zoom(self) -> None:
        if self.screen is self.current:
            self.current.zoom()

    async def action_arm(self) -> None:
        await self._uncover()
        await self._arming.toggle()

    @on(Prompt.Entered, "#arm")
    async def _arm_entered(self, event: Prompt.Entered) -> None:
        self.current.close_dock()
        await self._arming.entered(event.text)
        self._draw()

    async def action_quit(self) -> None:
        if self.services.desk.busy:
            await self._ask_to_quit()
        else:
            self.exit()

    async def _ask_to_quit(self) -> None:
        await self._uncover()
        self.current.open_dock(quit_menu(self.services.desk.busy))

    @on(Menu.Chosen, "#quit")
    def _quit_chosen(self, event: Menu.Chosen) -> None:
        self.current.close_dock()
        if event.choice == "yes":
            self.exit()


def run_app(app: MlreleaseApp, environ: Mapping[str, str] = os.environ) -> int:
    """Run to the end on a loop of its own and return the exit code."""
    return asyncio.run(run_app_async(app, environ))


async def run_app_async(app: MlreleaseApp, environ: Mapping[str, str] = os.environ) -> int:
    """Run to the end and return the exit code. Unless the settings say otherwise the mouse is off over SSH: its reports leak as
    keys on slow links."""
    wanted = app.services.appearance.mouse
    try:
        await app.run_async(mouse=not environ.get("SSH_CONNECTION") if wanted is None else wanted)
    finally:
        give_back_style()
    return app.return_code or 0
