"""The app before a real desk: real planner, executor and audit, over the fake backend. Only time and the backend are ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from tests.ui.driver import Clock, Driver
from tests.ui.stand_in import ScriptedReader
from tests.unit.release_parts import Bench, VirtualClock, bench, connector_of
from textual.pilot import Pilot

from mlrelease_tui.app import MlreleaseApp
from mlrelease_tui.audit.identity import Process
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.screens.services import Appearance, Services
from mlrelease_tui.store.facts import EndpointsObserved, ModelsObserved


class DeskClock(Clock):
    """The driver's clock on the one that the desk goes by: what the desk waits for passes at once."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock.wall)
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.elapsed_s

    def advance(self, seconds: float) -> None:
        self._clock.elapsed_s += seconds


class DeskDriver(Driver):
    """Drives the app and knows the bench behind it."""

    def __init__(self, app: MlreleaseApp, pilot: Pilot[None], given: Services, clock: Clock, seat: Bench) -> None:
        super().__init__(app, pilot, given, clock)
        self.seat = seat

    async def read(self) -> None:
        """What the poller does: read the backend and tell the store."""
        await read(self.seat)
        await self.settle()

    async def row(self, name: str) -> str:
        """The list's line of this endpoint, as it is after a read."""
        await self.read()
        return next(line for line in self.lines[3:] if f" {name} " in line)


async def read(seat: Bench) -> None:
    connector = connector_of(seat.backend, seat.clock)
    now = seat.clock.now()
    page = await connector.models()
    seat.store.emit(ModelsObserved("world", page.models, now))
    seat.store.emit(EndpointsObserved("world", await connector.endpoints(), now))


@asynccontextmanager
async def at_the_desk(
    root: Path,
    *,
    size: tuple[int, int] = (80, 24),
    backend: FakeBackend | None = None,
    clock: VirtualClock | None = None,
    process: Process | None = None,
    timeout_s: float = 0.05,
    before: Callable[[Bench], object] = lambda seat: None,
) -> AsyncIterator[DeskDriver]:
    """The app on the fake world, read once, read-only. `timeout_s` is the connection's; `before` runs
    on the bench then."""
    seat = bench(
        root,
        backend=backend,
        clock=clock,
        process=process,
        armed=False,
        connectors=lambda world, time: {"world": connector_of(world, time, timeout_s=timeout_s)},
    )
    await read(seat)
    before(seat)
    ticking = DeskClock(seat.clock)
    given = Services(
        seat.store,
        ScriptedReader(),
        seat.desk,
        "ana",
        ticking.now,
        Appearance(theme="dark"),
        monotonic=ticking.monotonic,
    )
    app = MlreleaseApp(given, environ={"LANG": "C.UTF-8"})
    async with app.run_test(size=size) as pilot:
        driver = DeskDriver(app, pilot, given, ticking, seat)
        await driver.settle()
        yield driver
