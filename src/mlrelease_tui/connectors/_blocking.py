"""Running synchronous SDKs: one bounded pool for each connection, so that a hung host starves only itself.

A thread can't be cancelled: give the SDK a time-out of its own, shorter than the deadline given here.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from mlrelease_tui.errors import TimedOut

P = ParamSpec("P")
T = TypeVar("T")


class BlockingPool:
    """A bounded pool of threads for one connection. When every thread hangs, further calls time out; others are unharmed."""

    def __init__(self, connection: str, *, workers: int = 4) -> None:
        self._connection = connection
        self._executor = ThreadPoolExecutor(max_workers=workers, thread_name_prefix=f"mlrelease-{connection}")

    async def run(self, deadline_s: float, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `call` in the pool; TimedOut after `deadline_s` seconds, waiting for a free thread included."""
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        future = loop.run_in_executor(self._executor, partial(context.run, partial(call, *args, **kwargs)))
        try:
            return await asyncio.wait_for(future, deadline_s)
        except TimeoutError as error:
            raise TimedOut(
                f"{self._connection} did not answer within {deadline_s:g} s",
                hint="the backend is silent or overloaded; it is asked again by itself",
            ) from error

    def close(self) -> None:
        """Let go of the threads without waiting: one that hangs must not keep the program from ending."""
        self._executor.shutdown(wait=False, cancel_futures=True)
