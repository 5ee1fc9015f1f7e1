"""The terminal app, thin: which view is shown, how it looks, and the bridge from the store to the screen that is seen."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from rich.text import Text
from textual import on

from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.presentation.glyphs import ASCII, UNICODE, Glyphs, wants_ascii
from mlrelease_tui.presentation.lines import Role, cut
from mlrelease_tui.screens.alarm import Alarm
from mlrelease_tui.screens.base import Flags, ReleaseScreen
from mlrelease_tui.screens.output import FrameApp
from mlrelease_tui.screens.pulse import Pulse
from mlrelease_tui.screens.scope import EVERYTHING, Scope, choices
from mlrelease_tui.screens.services import Services
from mlrelease_tui.screens.views import HOME, VIEWS
from mlrelease_tui.store.state import State
from mlrelease_tui.themes import DEFAULT, NAMES, THEMES
from mlrelease_tui.themes.dark import PALETTE as FALLBACK
from mlrelease_tui.themes.semantic import variables_of
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.clipboard import sequence
from mlrelease_tui.widgets.menu import Item, Menu
from mlrelease_tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from mlrelease_tui.domain.action import AuditEntry
    from mlrelease_tui.store.facts import Fact
    from mlrelease_tui.widgets.plan_panel import PlanPanel

TICK_S: Final = 5.0
"""How often ages and the clock are looked at. They are shown so coarsely that most looks draw nothing."""
EXIT_DEADLINE_S: Final = 4.5
"""After SIGTERM or SIGHUP the process ends within this time, whatever hangs."""


class MlreleaseApp(FrameApp):
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
        self._glyphs = ASCII if services.appearance.ascii or wants_ascii(environ, sys.getdefaultencoding()) else UNICODE
        super().__init__(ascii=self._glyphs is ASCII)
        self._environ = environ
        self._when_painted = when_painted
        self.services = services
        self.animation_level = "none"
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = services.appearance.theme or self._fitting_theme(environ)
        # What `:theme` offers is ours: Textual's own themes have no colours for our roles.
        for name in self.available_themes.keys() - set(NAMES):
            self.unregister_theme(name)
        self.keymap_chosen = keys.keymap(services.appearance.key_preset, services.appearance.keys)
        self.set_keymap(self.keymap_chosen)
        self._view = HOME
        self._subject = ""
        self._trail: list[tuple[str, str]] = []
        self._last = (HOME, "")
        self._frozen: State | None = None
        self._started_at = services.now()
        self._settled: set[str] = set()
        self._scope = EVERYTHING
        self._alarm = Alarm(services.monotonic)
        self._titled = ""
        self._pulse = Pulse(
            self._draw, self._later, lambda: self.backlog, time.monotonic, slow=services.appearance.slow
        )
        self._unsubscribe: Callable[[], None] = lambda: None

    # --- looks

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variables_of(FALLBACK)

    @property
    def glyphs(self) -> Glyphs:
        return self._glyphs

    def _fitting_theme(self, environ: Mapping[str, str]) -> str:
        if environ.get("NO_COLOR"):
            return "mono"
        return "ansi" if self.console.color_system in {None, "standard"} else DEFAULT

    def action_theme(self) -> None:
        self.theme = NAMES[(NAMES.index(self.theme) + 1) % len(NAMES)] if self.theme in NAMES else DEFAULT
        self.current.say(f"theme {self.theme}")

    # --- start and end

    def get_default_screen(self) -> ReleaseScreen:
        return self._screen_for(HOME)

    def on_mount(self) -> None:
        self._unsubscribe = self.services.store.subscribe(lambda state, fact: self._heard(fact))
        self.set_interval(TICK_S, self._pulse.changed)
        # What is known is on the screen before anything is read anew, and before anything heavy is imported for it.
        self.call_after_refresh(self._when_painted)
        self.call_after_refresh(self._pulse.changed)
        if not self.is_headless:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self._ended_by, number)

    def on_unmount(self) -> None:
        self._unsubscribe()
        if self._titled:
            self._write("\x1b[23;2t")

    def _ended_by(self, number: signal.Signals) -> None:
        """Restore the terminal and leave with 128 + the signal, even where the terminal is gone and writing to it hangs."""
        code = 128 + number
        watchdog = threading.Timer(EXIT_DEADLINE_S, os._exit, (code,))
        watchdog.daemon = True
        watchdog.start()
        self.exit(return_code=code)

    def _handle_exception(self, error: Exception) -> None:
        """A crash shows no local variable: a token may be among them. The log has the frames and the error's type alone."""
        self._return_code = 1
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        where = self._write_crash(error)
        self.panic(Text(f"mlrelease stopped: {type(error).__name__}. {where}"))

    def _write_crash(self, error: Exception) -> str:
        folder = self.services.crash_dir
        if folder is None:
            return "No crash log is kept here."
        path = folder / f"crash-{self.services.now():%Y%m%dT%H%M%SZ}-{os.getpid()}.log"
        frames = "".join(traceback.format_tb(error.__traceback__))
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"{type(error).__module__}.{type(error).__qualname__}\n{frames}")
        except OSError as problem:
            return f"The crash log could not be written: {problem.strerror}."
        return f"The crash log is {path}"

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

    def _heard(self, fact: Fact) -> None:
        from mlrelease_tui.store.facts import AuditObserved

        self._pulse.changed()
        if isinstance(fact, AuditObserved):
            self._tell_settled(fact.entries)

    def _tell_settled(self, entries: Iterable[AuditEntry]) -> None:
        """Say what became of an action that an earlier run left open, once, when it is found out."""
        found = [entry for entry in entries if entry.kind == "reconciled" and entry.at >= self._started_at]
        new = [entry for entry in found if entry.id not in self._settled]
        self._settled |= {entry.id for entry in new}
        if new:
            last = new[-1]
            word = last.result.replace("_", " ")
            more = f" (and {len(new) - 1} more)" if len(new) > 1 else ""
            where = self.current.pressed("app.view_audit")
            told = f"left open before: {last.verb} {last.target}: {word}{more}; {where} has the audit"
            self.current.say(told, Role.WARN)

    def _draw(self) -> None:
        state = self._frozen if self._frozen is not None else self.services.store.state
        if not any(isinstance(screen, ReleaseScreen) for screen in self._screen_stack):
            # The app ends, and its views are gone already.
            return
        view = self.current
        view.refresh_view(state, self.services.now(), self._flags)
        top = self.screen
        if top is not view and hasattr(top, "redraw"):
            # A page over the view: made anew, so that what it tells stays true.
            top.redraw()
        if self._frozen is None:
            self._sound(view.statuses())

    @property
    def _flags(self) -> Flags:
        return Flags(self._frozen is not None, self._pulse.slow, self._scope)

    def _sound(self, statuses: Iterable[EndpointStatus]) -> None:
        """Ring for what began to burn, and say in the terminal's title how much burns."""
        if not self.services.appearance.bell:
            return
        if self._alarm.hear(statuses):
            self.bell()
        title = self._alarm.title
        if title != self._titled and (self._titled or self._alarm.burning):
            # The title that the terminal had before is kept by the terminal (XTWINOPS 22) and given back at the end.
            keep = "" if self._titled else "\x1b[22;2t"
            self._titled = title
            self._write(f"{keep}\x1b]2;{title}\x07")

    def _write(self, escape: str) -> None:
        """Send a sequence that draws nothing."""
        if self._driver is not None and not self.is_headless:
            self._driver.write(escape)
            self._driver.flush()

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
        here = (self._view, self._subject)
        if not subject and (selected := self.current.selected()) is not None:
            subject = selected.id
        if (view, subject) == here:
            return
        if remember:
            self._trail = [*self._trail, here][-20:]
        self._last = here
        self._view, self._subject = view, subject
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

    @on(ReleaseScreen.Goto)
    async def _goto(self, event: ReleaseScreen.Goto) -> None:
        await self.show_view(event.view, event.subject)

    async def action_view(self, view: str) -> None:
        await self.show_view(view)

    async def action_last_view(self) -> None:
        await self.show_view(*self._last, remember=False)

    async def action_back(self) -> None:
        if await self.current.close_one():
            return
        while self._trail:
            view, subject = self._trail.pop()
            if (view, subject) != (self._view, self._subject):
                await self.show_view(view, subject, remember=False)
                return

    async def action_leave(self) -> None:
        if self._trail:
            await self.action_back()
        elif not await self.current.close_one():
            self._ask_to_quit()

    # --- everywhere

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

    def action_command(self) -> None:
        self.current.open_command_line()

    def action_palette(self) -> None:
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
                self.take_theme(theme)
            case _:
                pass

    def take_theme(self, name: str) -> None:
        if name not in NAMES:
            self.current.say(f"no theme {name}: there are {', '.join(NAMES)}", Role.WARN)
        else:
            self.theme = name

    @on(ReleaseScreen.Copy)
    def _copy(self, event: ReleaseScreen.Copy) -> None:
        self._copy_out(event.text, event.what)

    def on_plan_panel_wants_copy(self, event: PlanPanel.WantsCopy) -> None:
        self._copy_out(event.text, "the commands")

    def _copy_out(self, text: str, what: str) -> None:
        escape = sequence(text, self._environ)
        if escape is None:
            self._tell(f"{what}: too long for a terminal's clipboard")
            return
        self._write(escape)
        told = text if "\n" not in text else f"{len(text)} characters"
        self._tell(f"sent {what}: {told}  (to the terminal's clipboard)")

    def _tell(self, text: str) -> None:
        """Say it where the operator looks: in a page over the view, or in the view's footer."""
        page = self.screen
        if page is not self.current and hasattr(page, "say"):
            page.say(cut(text, 44, self._glyphs.ellipsis))
        else:
            self.current.say(text)

    async def on_plan_panel_wants_arm(self, event: PlanPanel.WantsArm) -> None:
        """At three in the morning one key: the usual number of minutes, and the plan stays as it is."""
        if self.services.store.state.access.may_write(self.services.now()) is not None:
            await self._arm(self.services.appearance.arm_minutes)

    def action_connection(self) -> None:
        """Choose which part of the fleet is looked at."""
        state = self.services.store.state
        letters = [*"0123456789", *(chr(code) for code in range(ord("a"), ord("z") + 1) if chr(code) != "q")]
        found = choices(state.connections, state.endpoints.values())
        items = [Item(letter, text, scope.id) for letter, (scope, text) in zip(letters, found, strict=False)]
        self.current.open_dock(Menu("Look at", items, id="scope"))

    @on(Menu.Chosen, "#scope")
    async def _scope_chosen(self, event: Menu.Chosen) -> None:
        self.current.close_dock()
        await self._look_at(Scope.parse(event.choice))

    async def action_everything(self) -> None:
        await self._look_at(EVERYTHING)

    async def _look_at(self, scope: Scope) -> None:
        self._scope = scope
        self._draw()
        if self._view not in {"fleet", "rollouts"} and scope != EVERYTHING:
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
        self.current.toggle_class("-zoomed")
        self.current.call_after_refresh(self.current.redraw)

    async def action_arm(self) -> None:
        if self.services.store.state.access.may_write(self.services.now()) is None:
            await self.services.desk.disarm()
            self.current.say("writes are disarmed: read-only")
            return
        minutes = str(self.services.appearance.arm_minutes)
        self.current.open_dock(Prompt("arm writes, for minutes:", value=minutes, id="arm"))

    @on(Prompt.Entered, "#arm")
    async def _arm_entered(self, event: Prompt.Entered) -> None:
        text = event.text.strip()
        self.current.close_dock()
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 480:
            self.current.say(f"{text!r} is no number of minutes from 1 to 480", Role.WARN)
            return
        await self._arm(int(text))

    async def _arm(self, minutes: int) -> None:
        await self.services.desk.arm(minutes)
        refusal = self.services.store.state.access.may_write(self.services.now())
        if refusal is not None:
            self.current.say(f"{refusal.reason}; {refusal.hint}", Role.WARN)
        self._draw()

    async def action_quit(self) -> None:
        if self.services.desk.busy:
            self._ask_to_quit()
        else:
            self.exit()

    def _ask_to_quit(self) -> None:
        busy = self.services.desk.busy
        title = "Quit?"
        if busy:
            names = ", ".join(f"{item.plan.verb} {item.plan.target}" for item in busy)
            title = f"Quit while {names} is under way? Its outcome will then be found at the next start."
        self.current.open_dock(Menu(title, [Item("y", "quit", "yes"), Item("n", "stay", "no")], id="quit"))

    @on(Menu.Chosen, "#quit")
    def _quit_chosen(self, event: Menu.Chosen) -> None:
        self.current.close_dock()
        if event.choice == "yes":
            self.exit()

    @property
    def subject(self) -> EndpointRef | None:
        """The endpoint that the current view is about."""
        return self.current.selected()


def run_app(app: MlreleaseApp, environ: Mapping[str, str] = os.environ) -> int:
    """Run to the end on a loop of its own and return the exit code."""
    return asyncio.run(run_app_async(app, environ))


async def run_app_async(app: MlreleaseApp, environ: Mapping[str, str] = os.environ) -> int:
    """Run to the end and return the exit code. Unless the settings say otherwise the mouse is off over SSH: its reports leak as
    keys on slow links."""
    wanted = app.services.appearance.mouse
    await app.run_async(mouse=not environ.get("SSH_CONNECTION") if wanted is None else wanted)
    return app.return_code or 0
