"""Allowing writes for a while: `W` asks for how long, and takes it back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mlrelease_tui.presentation.lines import Role
from mlrelease_tui.screens.base import ReleaseScreen
from mlrelease_tui.screens.services import Services
from mlrelease_tui.widgets.prompt import Prompt

LONGEST_MINUTES: Final = 480


class Arming:
    """Speaks to the operator through `view`, the view that is seen."""

    def __init__(self, services: Services, view: Callable[[], ReleaseScreen]) -> None:
        self._services = services
        self._view = view

    async def toggle(self) -> None:
        """Disarm where writes are armed, else ask for how many minutes."""
        if self._armed:
            await self._services.desk.disarm()
            self._view().say("writes are disarmed: read-only")
            return
        minutes = str(self._services.appearance.arm_minutes)
        self._view().open_dock(Prompt("arm writes, for minutes:", value=minutes, id="arm"))

    async def entered(self, text: str) -> None:
        """What was typed for the minutes."""
        text = text.strip()
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= LONGEST_MINUTES:
            self._view().say(f"{text!r} is no number of minutes from 1 to {LONGEST_MINUTES}", Role.WARN)
        else:
            await self._arm(int(text))

    async def at_once(self) -> None:
        """At three in the morning one key: the usual number of minutes, and the plan that is open stays as it is."""
        if not self._armed:
            await self._arm(self._services.appearance.arm_minutes)

    @property
    def _armed(self) -> bool:
        return self._services.store.state.access.may_write(self._services.now()) is None

    async def _arm(self, minutes: int) -> None:
        await self._services.desk.arm(minutes)
        refusal = self._services.store.state.access.may_write(self._services.now())
        if refusal is not None:
            self._view().say(f"{refusal.reason}; {refusal.hint}", Role.WARN)
