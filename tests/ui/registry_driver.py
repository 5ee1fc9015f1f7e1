"""Opens the app on the scenes of registries, audit and connections, and compares its pictures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from tests.ui.driver import Clock, Driver
from tests.ui.registry_scenes import INTACT, RegistryDesk, ScriptedAudit, services
from textual.pilot import Pilot

from mlrelease_tui.app import MlreleaseApp
from mlrelease_tui.domain.action import AuditCheck
from mlrelease_tui.screens.services import Appearance
from mlrelease_tui.store.state import State

Act = Callable[[Driver], Awaitable[object]]
Compare = Callable[..., bool]
Size = tuple[int, int]


class RegistryDriver(Driver):
    """A driver that knows the desk that plans alias moves and the audit that is verified."""

    @property
    def registry_desk(self) -> RegistryDesk:
        assert isinstance(self.services.desk, RegistryDesk)
        return self.services.desk

    @property
    def rows(self) -> int:
        """How many rows the list has, seen or not."""
        return len(self.table.keys)

    def row(self, text: str) -> str:
        """The first line below the header and the titles that holds `text`; fails where there is none."""
        for line in self.lines[3:]:
            if text in line:
                return line
        raise AssertionError(f"{text!r} is in no row:\n{self.text}")

    @property
    def audit(self) -> ScriptedAudit:
        assert isinstance(self.services.audit, ScriptedAudit)
        return self.services.audit


def _app(state: State, clock: Clock, check: AuditCheck, appearance: Appearance | None) -> MlreleaseApp:
    given = services(state, clock.now, check=check, appearance=appearance)
    return MlreleaseApp(replace(given, monotonic=clock.monotonic), environ={"LANG": "C.UTF-8"})


@asynccontextmanager
async def driving(
    state: State, *views: str, size: Size = (80, 24), check: AuditCheck = INTACT
) -> AsyncIterator[RegistryDriver]:
    """The app headless, after the keys of `views` (ids of the catalogue) were pressed."""
    clock = Clock()
    app = _app(state, clock, check, None)
    async with app.run_test(size=size) as pilot:
        driver = RegistryDriver(app, pilot, app.services, clock)
        await driver.settle()
        await driver.press(*views)
        yield driver


def same(
    snap_compare: Compare,
    state: State,
    size: Size,
    act: Act,
    *,
    check: AuditCheck = INTACT,
    appearance: Appearance | None = None,
) -> bool:
    """Whether the screen looks as in its picture after `act`."""
    clock = Clock()
    app = _app(state, clock, check, appearance)

    async def run(pilot: Pilot[None]) -> None:
        driver = RegistryDriver(app, pilot, app.services, clock)
        await driver.settle()
        await act(driver)
        await driver.settle()

    return snap_compare(app, terminal_size=size, run_before=run)


def pressing(*identities: str) -> Act:
    """Presses the keys of these actions."""

    async def act(driver: Driver) -> None:
        for identity in identities:
            await driver.press(identity)

    return act
