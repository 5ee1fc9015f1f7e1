"""Identifiers that sort by time: UUID version 7 (RFC 9562, section 5.7, counter in rand_a as section 6.2 method 1)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from mlrelease_tui.audit.clock import Clock

_COUNTER_MAX: Final = 0xFFF


class Uuid7:
    """Makes ids that never go back, even when the wall clock does. Threads may share it; none waits here for a disk."""

    def __init__(self, clock: Clock, entropy: Callable[[int], bytes]) -> None:
        self._clock = clock
        self._entropy = entropy
        self._last_ms = -1
        self._counter = 0
        self._mutex = threading.Lock()

    def __call__(self) -> str:
        with self._mutex:
            return self._next()

    def _next(self) -> str:
        millis = int(self._clock.now().timestamp() * 1000)
        noise = int.from_bytes(self._entropy(10), "big")
        if millis > self._last_ms:
            self._last_ms = millis
            self._counter = noise >> 69  # the top bit stays free, so that one millisecond holds 2048 ids at least
        elif self._counter < _COUNTER_MAX:
            self._counter += 1
        else:
            self._last_ms += 1
            self._counter = 0
        value = (self._last_ms & 0xFFFF_FFFF_FFFF) << 80
        value |= 7 << 76 | self._counter << 64
        value |= 2 << 62 | (noise & 0x3FFF_FFFF_FFFF_FFFF)
        digits = f"{value:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
