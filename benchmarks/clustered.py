"""Opens the app on a cluster, as the command line does, and notes what the connector did: `python -m benchmarks.clustered CONFIG
--notes FILE [--watch FILE]`.

The file gets a line of JSON each 50 ms: monotonic seconds, endpoints that are known, requests that were sent, watches that
are open, objects that are held.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.opening import LATE_S, TICK_S

from mlrelease_tui.cli.cockpit import run_cockpit
from mlrelease_tui.cli.home import ready_the_interpreter
from mlrelease_tui.outset import begin, load_config

if TYPE_CHECKING:
    from mlrelease_tui.bootstrap import Program

CONNECTION: Final = "lab"
BEAT_S: Final = 0.05


async def _note(program: Program, path: Path) -> None:
    from mlrelease_tui.connectors.kubernetes.connector import KubernetesConnector

    connector = program.connectors[CONNECTION]
    assert isinstance(connector, KubernetesConnector)
    with path.open("w", buffering=1) as file:
        while True:
            line = {
                "at": time.monotonic(),
                "endpoints": sum(1 for ref in program.store.state.endpoints if ref.connection == CONNECTION),
                "requests": connector.requests,
                "watches": connector.mirror.watches,
                "listed": sum(len(there) for kind in connector.mirror.shelves().values() for there in kind.values()),
            }
            file.write(json.dumps(line) + "\n")
            await asyncio.sleep(BEAT_S)


async def _late(path: Path) -> None:
    before = time.monotonic()
    with path.open("w", buffering=1) as file:
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            late = now - before - TICK_S
            if late > LATE_S:
                file.write(f"{now:.4f} {late * 1000:.1f}\n")
            before = time.monotonic()


async def _open(chosen: argparse.Namespace) -> int:
    tasks: list[asyncio.Task[None]] = []
    if chosen.watch:
        tasks.append(asyncio.create_task(_late(chosen.watch)))

    def started(program: Program) -> None:
        tasks.append(asyncio.create_task(_note(program, chosen.notes)))

    try:
        outset = begin(load_config(chosen.config, os.environ))
        return await run_cockpit(outset, os.environ, when_wired=started)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--notes", type=Path, required=True, help="where to write what the connector did")
    parser.add_argument("--watch", type=Path, help="where to write how late the event loop was")
    chosen = parser.parse_args()
    ready_the_interpreter()
    return asyncio.run(_open(chosen))


if __name__ == "__main__":
    raise SystemExit(main())
