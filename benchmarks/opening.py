"""Opens the app on a world, as the command line does, and can move what it shows and watch its event loop meanwhile.

`python -m benchmarks.opening CONFIG [--move N --every S] [--versions MODEL] [--watch FILE]`; `--learn` reads everything once,
keeps it as the last known fleet and leaves.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlrelease_tui.cli.cockpit import run_cockpit
from mlrelease_tui.cli.home import ready_the_interpreter
from mlrelease_tui.outset import begin, load_config

if TYPE_CHECKING:
    from mlrelease_tui.bootstrap import Program
    from mlrelease_tui.outset import Outset
    from mlrelease_tui.screens.output import FrameApp

TICK_S: Final = 0.005
LATE_S: Final = 0.002
"""Less than this is not written down: the timer itself is no more exact."""


async def _learn(config: Path) -> int:
    from mlrelease_tui.bootstrap import build

    program = build(load_config(config, os.environ))
    try:
        await program.poller.once()
    finally:
        await program.close()
    return 0


async def _move(program: Program, count: int, every_s: float) -> None:
    """Shift the canary of `count` endpoints in the backend at each beat, and have the backend read again."""
    from dataclasses import replace

    from mlrelease_tui.connectors.fake.connector import FakeConnector

    connector = program.connectors["prod"]
    assert isinstance(connector, FakeConnector)
    backend = connector.backend
    canaries = [ref for ref, item in sorted(backend.endpoints.items()) if len(item.variants) > 1][:count]
    beat = 0
    while True:
        await asyncio.sleep(every_s)
        beat += 1
        weight = 1_000 + 100 * (beat % 80)
        for ref in canaries:
            stable, canary = backend.endpoints[ref].variants
            moved = (replace(stable, weight_bp=10_000 - weight), replace(canary, weight_bp=weight))
            backend.endpoints[ref] = replace(backend.endpoints[ref], variants=moved)
        program.poller.refresh("prod")


async def _page(program: Program, name: str, path: Path) -> None:
    """Ask for all versions of a model, page by page, as scrolling through them does; say in `path` how many there are."""
    from mlrelease_tui.domain.refs import ModelRef

    model = ModelRef.parse(name)
    program.poller.want_versions(model)
    while True:
        await asyncio.sleep(0.02)
        known = program.store.state.versions.get(model)
        if known is None:
            continue
        if not known.next_token:
            path.write_text(str(len(known.versions)), "utf-8")
            return
        program.poller.want_more_versions(model)


def _noted() -> list[FrameApp]:
    """A list that will hold the app once it is made."""
    from mlrelease_tui.screens.output import FrameApp

    made: list[FrameApp] = []
    construct = FrameApp.__init__

    def noting(self: FrameApp, *args: Any, **kwargs: Any) -> None:
        construct(self, *args, **kwargs)
        made.append(self)

    FrameApp.__init__ = noting  # type: ignore[method-assign]
    return made


async def _watch(path: Path) -> None:
    """Write down how late the loop was: monotonic seconds, milliseconds late, writes waiting for the terminal."""
    made = _noted()
    before = time.monotonic()
    with path.open("w", buffering=1) as file:
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            late = now - before - TICK_S
            backlog = made[0].backlog if made else 0
            if late > LATE_S or backlog:
                file.write(f"{now:.4f} {late * 1000:.1f} {backlog}\n")
            before = time.monotonic()


async def _open(outset: Outset, chosen: argparse.Namespace) -> int:
    tasks: list[asyncio.Task[None]] = []
    if chosen.watch:
        tasks.append(asyncio.create_task(_watch(chosen.watch)))

    def started(program: Program) -> None:
        if chosen.move:
            tasks.append(asyncio.create_task(_move(program, chosen.move, chosen.every)))
        if chosen.versions:
            tasks.append(asyncio.create_task(_page(program, chosen.versions, chosen.paged)))

    try:
        return await run_cockpit(outset, os.environ, when_wired=started)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--learn", action="store_true")
    parser.add_argument("--move", type=int, default=0, help="endpoints to change at each beat")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between beats")
    parser.add_argument("--versions", default="", help="read all versions of this model")
    parser.add_argument("--paged", type=Path, help="where to say that all are read")
    parser.add_argument("--watch", type=Path, help="where to write how late the event loop was")
    chosen = parser.parse_args()
    if chosen.learn:
        return asyncio.run(_learn(chosen.config))
    ready_the_interpreter()
    return asyncio.run(_open(begin(load_config(chosen.config, os.environ)), chosen))


if __name__ == "__main__":
    raise SystemExit(main())
