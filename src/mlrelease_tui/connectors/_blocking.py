"""Running synchronous SDKs: one bounded pool for each connection, so that a hung host starves only itself.

A thread can't be cancelled: give the SDK a time-out of its own, shorter than the deadline given here. The threads are daemons,
unlike those of `concurrent.futures`, which the interpreter joins at its end: a host that hangs must not keep the program.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from mlrelease_tui.errors import TimedOut

P = ParamSpec("P")
T = TypeVar("T")

_resting = 0
_was_on = False
_rest = threading.Lock()

_Job = tuple[Future[Any], Callable[[], Any]]


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Import a large SDK within it, from any thread, and do nothing that may hang.

    While thousands of modules come in, the garbage collector walks through all there is again and again, a tenth of a second at a
    time in which no other thread runs. It rests meanwhile, and what came is set aside for good (`gc.freeze`) before it goes on.
    """
    global _resting, _was_on  # noqa: PLW0603 - the collector is one for the whole process, too
    with _rest:
        if not _resting:
            _was_on = gc.isenabled()
            gc.disable()
        _resting += 1
    try:
        yield
    finally:
        with _rest:
            _resting -= 1
            if not _resting:
                gc.freeze()
                if _was_on:
                    gc.enable()


class BlockingPool:
    """At most `workers` threads for one connection. When all of them hang, further calls time out; others are unharmed."""

    def __init__(self, connection: str, *, workers: int = 4) -> None:
        self._connection = connection
        self._workers = workers
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)

    async def run(self, deadline_s: float, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `call` in the pool; TimedOut after `deadline_s` seconds, waiting for a free thread included.

        What was given up is dropped if no thread had begun it; one that had goes on to its end, and nobody hears of it.
        """
        context = contextvars.copy_context()
        future: Future[T] = Future()
        self._jobs.put((future, partial(context.run, partial(call, *args, **kwargs))))
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._workers:
            name = f"mlrelease-{self._connection}-{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            # The call's own TimeoutError reaches here too, as a copy.
            if future.done() and not future.cancelled():
                return future.result()
            raise TimedOut(
                f"{self._connection} did not answer within {deadline_s:g} s",
                hint="the backend is silent or overloaded; it is asked again by itself",
            ) from error

    def close(self) -> None:
        """Let the threads go as they become free; one that hangs is left to itself."""
        for _ in self._threads:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)
            self._idle.release()
