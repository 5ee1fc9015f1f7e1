"""Running the demo: with the app on it, or headless until a signal. Whatever ends it, nothing is left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mlrelease_tui.demo.environment import DemoEnvironment, DemoReport, new_folder, remove_folder
from mlrelease_tui.demo.processes import Progress

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

WhenReady = Callable[[DemoReport], Awaitable[int]]
"""What is done once the demo is ready; its result is the exit code."""


def run(
    when_ready: WhenReady,
    *,
    progress: Progress,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> int:
    """Start the demo, await `when_ready`, stop the demo. SIGINT, SIGTERM and SIGHUP end it at any moment.

    Returns `when_ready`'s exit code, or 128 + the signal's number where one ended it before. A `folder` that was given is kept.
    """
    env = dict(os.environ if environ is None else environ)
    place = folder if folder is not None else new_folder()
    demo = DemoEnvironment(place, environ=env, progress=progress)
    try:
        return asyncio.run(_run(demo, when_ready, progress))
    finally:
        with _undisturbed():
            demo.stop()
            if folder is None:
                remove_folder(place)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Whoever presses Ctrl-C again while all is being put away wants it gone, not left half done."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _run(demo: DemoEnvironment, when_ready: WhenReady, progress: Progress) -> int:
    loop = asyncio.get_running_loop()
    ended_by: list[signal.Signals] = []

    async def whole() -> int:
        try:
            return await when_ready(await demo.start())
        finally:
            # Before the loop ends: it joins the threads that still wait for a part, and they wait until that part is stopped.
            await asyncio.shield(asyncio.to_thread(demo.stop))

    task = asyncio.ensure_future(whole())

    def end(number: signal.Signals) -> None:
        ended_by.append(number)
        task.cancel()

    for number in _ENDING:
        loop.add_signal_handler(number, end, number)
    with suppress(asyncio.CancelledError):
        return await task
    if not ended_by:
        return 1
    # Not before: until now an app may have had the terminal.
    progress(f"ended by {ended_by[0].name}")
    return 128 + ended_by[0]


def run_headless(
    write: Callable[[str], None],
    *,
    progress: Progress,
    as_json: bool = False,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> int:
    """Start the demo, say with one line where its configuration is, and run until a signal ends it: exit code 0.

    `progress` is told which signal it was.
    """

    async def wait(report: DemoReport) -> int:
        write(json.dumps(ready_line(report)) if as_json else f"ready: --config {report.config}")
        stopped = asyncio.Event()

        def stop(number: signal.Signals) -> None:
            progress(f"ended by {number.name}")
            stopped.set()

        for number in _ENDING:
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
        await stopped.wait()
        return 0

    return run(wait, progress=progress, environ=environ, folder=folder)


def ready_line(report: DemoReport) -> dict[str, object]:
    """The shape `mlrelease.demo/v1`."""
    return {
        "schema": "mlrelease.demo/v1",
        "config": str(report.config),
        "pid": os.getpid(),
        "router": report.router,
        "registry": report.registry,
        "metrics": report.metrics,
        "endpoints": list(report.endpoints),
        "started_in_s": round(report.started_in_s, 1),
    }
