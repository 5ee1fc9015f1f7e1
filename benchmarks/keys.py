"""Targets 3 and 9: from a key to its paint, and how long the event loop stands still."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.report import Row, quantile
from benchmarks.starts import FIRST_ROW
from benchmarks.world import ROOT, World
from tests.ui.pty_harness import Terminal

MANY: Final = 10_000
DOWN: Final = "\x1b[B"
UP: Final = "\x1b[A"
POINTER: Final = "❯"


def key_to_paint(folder: Path, quick: bool) -> list[Row]:
    """Target 3: ten thousand rows, ten of which change each second, and three backends that never answer."""
    world = World(folder / "keys", MANY, dead=3).make().learn()
    calm = World(folder / "calm", 20).make().learn()
    count = 50 if quick else 120
    bare = _bare_keys([sys.executable, "-m", "benchmarks.bare", "--rows", str(MANY)], count)
    small = _our_keys(calm.command(), count)
    ours = _our_keys(world.command("--move", "10", "--every", "1"), count)
    rows = []
    for what, found, limit in (("20 rows, nothing changes", small, ""), ("10,000 rows, 1 Hz, 3 dead", ours, "≤ 1.5×")):
        p95, base = quantile(found, 0.95), quantile(bare, 0.95)
        met = p95 <= 1.5 * base if limit else None
        note = f"p50 {quantile(bare, 0.5):.1f} and {quantile(found, 0.5):.1f} ms, longest {max(found):.0f} ms"
        rows.append(Row(3, f"key to paint p95, {what}", base, p95, "ms", limit, met, note))
    return rows


def _bare_keys(command: Sequence[str], count: int) -> list[float]:
    """Nothing else is drawn there: the first bytes after a key are its paint."""
    found: list[float] = []
    pauses = random.Random(3)
    with Terminal(command, cwd=str(ROOT)) as terminal:
        terminal.wait_for(FIRST_ROW, 60)
        terminal.wait_quiet(1.0, 60)
        for _ in range(count):
            before, sent = len(terminal.chunks), terminal.send(DOWN)
            terminal.wait(lambda seen, before=before: len(seen.chunks) > before, "the paint of a key")  # type: ignore[misc]
            found.append((terminal.chunks[before].at - sent) * 1000)
            terminal.pump(pauses.uniform(0.03, 0.13))
    return found


def _our_keys(command: Sequence[str], count: int) -> list[float]:
    """Other things are drawn there: the paint of a key is when the pointer stands on another row."""
    found: list[float] = []
    pauses = random.Random(3)
    with Terminal(command, cwd=str(ROOT)) as terminal:
        terminal.wait_for(FIRST_ROW, 60)
        terminal.pump(4)
        for number in range(count):
            # There and back: a list of twenty ends.
            before, sent = _pointed(terminal), terminal.send(DOWN if number % 30 < 15 else UP)
            at = terminal.wait(lambda seen, before=before: _pointed(seen) != before, "the paint of a key")  # type: ignore[misc]
            found.append((at - sent) * 1000)
            terminal.pump(pauses.uniform(0.03, 0.13))
    return found


def _pointed(terminal: Terminal) -> str:
    """The name on the row that the pointer marks; what else stands there may change by itself."""
    for line in terminal.lines:
        if line.startswith(POINTER):
            return next((word for word in line.split() if word.startswith(FIRST_ROW)), "")
    return ""


def stalls(folder: Path, quick: bool) -> list[Row]:
    """Target 9: a 5 ms ticker inside the app's event loop says how late it was called, from the first paint on."""
    limit = "≤ 50 ms"
    seconds = 6 if quick else 10
    cases = [
        ("20 endpoints", World(folder / "stalls-few", 20)),
        ("10,000 endpoints, 1 Hz, 3 dead", World(folder / "stalls-many", MANY, dead=3)),
        ("an SDK is imported (sqlite registry)", World(folder / "stalls-sdk", 20, registry=f"sqlite:///{folder}/r.db")),
    ]
    rows = []
    for what, world in cases:
        world.make().learn()
        late = _late_ms(world, folder / "late.txt", seconds)
        started = [ms for at, ms in late if at <= 2500]
        longest = max((ms for _, ms in late), default=0.0)
        often = sum(ms > 50 for _, ms in late)
        note = (
            f"{often} stalls over 50 ms in {seconds} s; longest in the first 2.5 s: {max(started, default=0.0):.0f} ms"
        )
        rows.append(Row(9, f"longest stall, {what}", None, longest, "ms", limit, longest <= 50, note))
    return rows


def _late_ms(world: World, watched: Path, seconds: float) -> list[tuple[float, float]]:
    """(ms since the loop's start, ms late) pairs after the first paint, under keys and changes."""
    command = world.command("--move", "10", "--every", "1", "--watch", str(watched))
    pauses = random.Random(9)
    with Terminal(command, cwd=str(ROOT)) as terminal:
        painted = terminal.wait_for(FIRST_ROW, 60)
        while terminal.chunks[-1].at - painted < seconds:
            terminal.send(DOWN)
            terminal.pump(pauses.uniform(0.1, 0.3))
    lines = [line.split() for line in watched.read_text("utf-8").splitlines()]
    return [(float(at), float(late)) for at, late, _ in (line for line in lines if len(line) == 3)]
