"""Ending by a signal: the terminal is restored and the exit code is 128 + the signal, even where the terminal is gone and writing
to it hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Final

DEADLINE_S: Final = 4.5
"""After SIGTERM or SIGHUP the process ends within this time, whatever hangs."""


def end_by_signals(leave: Callable[[int], None]) -> None:
    """From now on SIGTERM and SIGHUP call `leave` with the exit code, on the running event loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, _end, leave, 128 + number)


def _end(leave: Callable[[int], None], code: int) -> None:
    watchdog = threading.Timer(DEADLINE_S, os._exit, (code,))
    watchdog.daemon = True
    watchdog.start()
    leave(code)
