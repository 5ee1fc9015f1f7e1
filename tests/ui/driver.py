"""Drives the app by the keys of the catalogue and reads it as an operator does: from the screen.

`async with driving(scenes.degraded()) as driver:` opens it headless. Everything waits for a condition with a deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from tests.ui.scenes import NOW
from tests.ui.stand_in import ScriptedDesk, ScriptedReader, services
from textual import events
from textual.pilot import Pilot

from mlrelease_tui.app import MlreleaseApp
from mlrelease_tui.screens.services import Appearance, Services
from mlrelease_tui.store.facts import Fact
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.diff_table import DiffTable
from mlrelease_tui.widgets.plan_panel import DEAF_S, PlanPanel, Stance

DEADLINE_S = 10.0


class Clock:
    """A clock that tests move: wall time and monotonic time together."""

    def __init__(self, start: datetime = NOW) -> None:
        self._start = start
        self.elapsed = 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    def advance(self, seconds: float) -> None:
        self.elapsed += seconds


class PlanDriver:
    """The plan panel as it is seen."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def panel(self) -> PlanPanel | None:
        planning = self._driver.app.current.planning
        return planning.panel if planning is not None else None

    @property
    def open(self) -> bool:
        return self.panel is not None

    async def stands(self, stance: Stance) -> PlanPanel:
        """Wait until the panel is at this point of its life."""
        await self._driver.until(
            lambda: self.panel is not None and self.panel.stance is stance, f"a plan that is {stance}"
        )
        panel = self.panel
        assert panel is not None
        await self._driver.settle()
        return panel

    async def ready(self) -> PlanPanel:
        """Wait for a plan, and for the time in which its panel is deaf to be over."""
        panel = await self.stands(Stance.READY)
        self._driver.clock.advance(DEAF_S + 0.1)
        return panel

    async def confirm(self) -> None:
        """The one key that sends, and the time in which it must be alone."""
        await self._driver.press("plan.send")
        await self._driver.until(
            lambda: self.panel is not None and self.panel.settled, "the time in which y must be alone to be over"
        )
        await self._driver.settle()


class Driver:
    def __init__(self, app: MlreleaseApp, pilot: Pilot[None], given: Services, clock: Clock) -> None:
        self.app = app
        self.pilot = pilot
        self.services = given
        self.clock = clock
        self.plan = PlanDriver(self)

    @property
    def desk(self) -> ScriptedDesk:
        assert isinstance(self.services.desk, ScriptedDesk)
        return self.services.desk

    @property
    def reader(self) -> ScriptedReader:
        assert isinstance(self.services.reader, ScriptedReader)
        return self.services.reader

    # --- doing

    async def press(self, *identities: str) -> None:
        """Press the first key of each of these actions, by the id of the catalogue."""
        for identity in identities:
            await self.pilot.press(keys.keys_of(identity, self.app.keymap_chosen)[0])
        await self.settle()

    async def key(self, *pressed: str) -> None:
        """Press keys by Textual's names."""
        await self.pilot.press(*pressed)
        await self.settle()

    def burst(self, *pressed: str) -> None:
        """Keys that come all at once, as a terminal sends what was typed while the program was busy."""
        names = {"/": "slash", ":": "colon"}
        for key in pressed:
            name = names.get(key, key)
            event = events.Key(name, key if len(key) == 1 else None)
            event.set_sender(self.app)
            self.app.post_message(event)

    async def type(self, text: str) -> None:
        names = {
            " ": "space",
            "%": "percent_sign",
            "-": "minus",
            "/": "slash",
            "!": "exclamation_mark",
            ".": "full_stop",
        }
        await self.pilot.press(*(names.get(char, char) for char in text))
        await self.settle()

    async def command(self, text: str) -> None:
        """A `:` command."""
        await self.press("app.command")
        await self.type(text)
        await self.key("enter")

    async def select(self, name: str) -> None:
        """Move the cursor of the list to the endpoint of that name, by keys."""
        await self.press("list.top")
        table = self.table
        for _ in range(len(table.keys)):
            if table.key.rsplit("/", 1)[-1] == name:
                return
            await self.press("list.down")
        raise AssertionError(f"no row {name}:\n{self.text}")

    async def emit(self, *facts: Fact) -> None:
        for fact in facts:
            self.services.store.emit(fact)
        await self.settle()

    async def settle(self) -> None:
        """Wait until every key was acted on and nothing is to be drawn."""
        await self.pilot.pause()
        await self.until(lambda: self.app.keys_done and not self.app.draws_pending, "the app to be idle")
        await self.pilot.pause()

    async def until(self, condition: Callable[[], bool], what: str = "it") -> None:
        deadline = asyncio.get_running_loop().time() + DEADLINE_S
        while not condition():
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"{what} did not come. The screen:\n{self.text}")
            await self.pilot.pause(0.01)

    # --- seeing

    @property
    def table(self) -> DiffTable:
        return self.app.current.query_one(DiffTable)

    @property
    def lines(self) -> list[str]:
        """The screen as it is seen."""
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def view(self) -> str:
        return self.app.current.NAME

    def line_with(self, text: str) -> str:
        """The first line that holds `text`; fails where there is none."""
        for line in self.lines:
            if text in line:
                return line
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text}")


@asynccontextmanager
async def driving(
    state: State,
    size: tuple[int, int] = (80, 24),
    *,
    appearance: Appearance | None = None,
    clock: Clock | None = None,
    crash_dir: Path | None = None,
) -> AsyncIterator[Driver]:
    """The app on a scripted state, headless."""
    ticking = clock or Clock()
    given = replace(services(state, ticking.now, appearance), monotonic=ticking.monotonic, crash_dir=crash_dir)
    app = MlreleaseApp(given, environ={"LANG": "C.UTF-8"})
    async with app.run_test(size=size) as pilot:
        driver = Driver(app, pilot, given, ticking)
        await driver.settle()
        yield driver
