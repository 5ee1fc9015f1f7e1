"""Ending: by a signal the exit code is 128 + the signal; and however the operator leaves, the process ends soon, even where the
terminal is gone and writing to it hangs, or where a library does not let go of a read."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from mlrelease_tui.widgets.frame import RESET

DEADLINE_S: Final = 4.5
"""After SIGTERM or SIGHUP the process ends within this time, whatever hangs."""
LEAVE_S: Final = 9.0
"""After the operator has left it ends within this time: actions under way are waited for first."""
EXIT_STUCK: Final = 1


def end_by_signals(leave: Callable[[int], None]) -> None:
    """From now on SIGTERM and SIGHUP call `leave` with the exit code, on the running event loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, _end, leave, 128 + number)


def end_within(seconds: float = LEAVE_S) -> None:
    """From now on the process has `seconds` to end by itself; then it is ended with exit code 1 and says what it waited for."""
    loop = asyncio.get_running_loop()

    def give_up() -> None:
        with suppress(OSError):
            os.write(2, f"mlrelease did not end by itself within {seconds:g} s; {_waiting_for(loop)}\n".encode())
        os._exit(EXIT_STUCK)

    _after(seconds, give_up)


def give_back_style() -> None:
    """After the last frame. Most terminals return to the style that they had before the app; all of them understand this."""
    terminal = sys.__stderr__
    with suppress(OSError, ValueError):
        if terminal is not None and terminal.isatty():
            terminal.write(RESET)
            terminal.flush()


def _end(leave: Callable[[int], None], code: int) -> None:
    _after(DEADLINE_S, lambda: os._exit(code))
    leave(code)


def _after(seconds: float, do: Callable[[], None]) -> None:
    watchdog = threading.Timer(seconds, do)
    watchdog.daemon = True
    watchdog.start()


def _waiting_for(loop: asyncio.AbstractEventLoop) -> str:
    """Names of what still runs: never what it holds, which may be a secret."""
    try:
        tasks = sorted(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks(loop))
    except RuntimeError:
        tasks = ["tasks that come and go"]
    threads = sorted(thread.name for thread in threading.enumerate() if not thread.daemon)
    return f"tasks: {', '.join(tasks) or 'none'}; threads: {', '.join(threads)}"
