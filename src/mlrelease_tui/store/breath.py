"""Long work on the event loop, in slices: between them keys are answered and other reads go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

SLICE_S: Final = 0.005
"""Seconds of work after which others have their turn."""
PAUSE_S: Final = 0.005
"""Seconds of their turn. A key passes the loop several times until it is painted: it must not wait for a slice each time."""


class Breath:
    """`await breath.taken()` often in a long piece of work: it gives way when the slice is used up."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since = monotonic()

    async def taken(self) -> None:
        if self._monotonic() - self._since >= SLICE_S:
            await asyncio.sleep(PAUSE_S)
            self._since = self._monotonic()
