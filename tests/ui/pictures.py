"""Compares a screen with its kept picture. `act` brings the app to the state that is pictured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import pytest
from tests.ui.driver import Clock, Driver
from tests.ui.stand_in import services
from textual.pilot import Pilot

from mlrelease_tui.app import MlreleaseApp
from mlrelease_tui.screens.services import Appearance
from mlrelease_tui.store.state import State

SIZES: Final = ((80, 24), (160, 48))
at_both_sizes = pytest.mark.parametrize("size", SIZES, ids=[f"{columns}x{rows}" for columns, rows in SIZES])

Act = Callable[[Driver], Awaitable[object]]


async def nothing(driver: Driver) -> None:
    """The state as it is first seen."""


def same(
    snap_compare: Callable[..., bool],
    state: State,
    size: tuple[int, int],
    act: Act = nothing,
    *,
    appearance: Appearance | None = None,
) -> bool:
    """Whether the screen looks as in its picture."""
    clock = Clock()
    given = replace(services(state, clock.now, appearance), monotonic=clock.monotonic)
    app = MlreleaseApp(given, environ={"LANG": "C.UTF-8"})

    async def run(pilot: Pilot[None]) -> None:
        driver = Driver(app, pilot, given, clock)
        await driver.settle()
        await act(driver)
        await driver.settle()

    return snap_compare(app, terminal_size=size, run_before=run)
