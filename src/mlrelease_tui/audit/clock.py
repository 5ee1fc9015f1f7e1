"""Time as the audit sees it: the wall, a clock that never steps, and whether the kernel trusts the wall."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final, Protocol

_TIME_ERROR: Final = 5
_SYNCHRONIZED_FOR_NS: Final = 10_000_000_000
_TIMEX_BYTES: Final = 512  # struct timex is 208 bytes on 64-bit Linux; room to spare on any other


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary point of this boot; never steps back."""
        ...

    def synchronized(self) -> bool | None:
        """Whether the kernel believes the wall clock to be disciplined (NTP); None where it doesn't say."""
        ...


class SystemClock:
    """The clocks of this machine. Synchronization is `adjtimex(2)` with no change asked for: any NTP daemon sets it."""

    def __init__(self) -> None:
        self._libc: Any = None
        self._timex: Any = None
        self._asked_ns = 0
        self._synchronized: bool | None = None

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def synchronized(self) -> bool | None:
        now = time.monotonic_ns()
        if self._libc is None or now - self._asked_ns > _SYNCHRONIZED_FOR_NS:
            self._asked_ns = now
            self._synchronized = self._ask_kernel()
        return self._synchronized

    def _ask_kernel(self) -> bool | None:
        if self._libc is None:
            import ctypes

            self._libc = ctypes.CDLL(None)
            self._timex = ctypes.create_string_buffer(_TIMEX_BYTES)
        self._timex[0:4] = b"\0\0\0\0"  # modes = 0: read only
        try:
            state = self._libc.adjtimex(self._timex)
        except AttributeError:
            return None
        return None if state < 0 else state != _TIME_ERROR


def rfc3339(at: datetime) -> str:
    """`at` in UTC with microseconds: 2026-03-01T09:30:00.000000Z."""
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return utc.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
