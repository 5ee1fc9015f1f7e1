"""Targets 3 and 9: from a key to its paint, and how long the event loop stands still.

The answers of the fake backends are made before the app opens (`benchmarks/prepared.py`): what is measured is the app.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks.registry import registry_server
from benchmarks.report import Row, quantile
from benchmarks.starts import FIRST_ROW
from benchmarks.world import ROOT, World
from tests.ui.pty_harness import Terminal

MANY: Final = 10_000
SIZES: Final = (1_000, MANY)
DOWN: Final = "\x1b[B"
UP: Final = "\x1b[A"
POINTER: Final = "❯"


def key_to_paint(folder: Path, quick: bool) -> list[Row]:
    """Target 3: ten thousand rows, ten of which change each second, and three backends that never answer."""
    count = 50 if quick else 100
    bare = _bare_keys([sys.executable, "-m", "benchmarks.bare", "--rows", str(MANY)], count)
    measured = [("20 rows, nothing changes", "", _our_keys(World(folder / "calm", 20).make().learn().command(), count))]
    for size in SIZES:
        world = World(folder / str(size), size, dead=3).make().learn()
        found = _our_keys(world.prepared("--move", "10", "--every", "1"), count)
        measured.append((f"{size:,} rows, 1 Hz, 3 dead", "≤ 1.5×" if size == MANY else "", found))
    rows = []
    for what, limit, found in measured:
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
    seconds = 6 if quick else 10
    cases = [("20 endpoints", World(folder / "few", 20))]
    cases += [(f"{count:,} endpoints, 1 Hz, 3 dead", World(folder / str(count), count, dead=3)) for count in SIZES]
    rows = [_stall(what, world, folder, seconds) for what, world in cases]
    what = "while an SDK is imported (sqlite registry)"
    if find_spec("mlflow") is None:
        return [*rows, Row(9, what, None, None, "ms", "≤ 50 ms", None, "not measured: needs `.[mlflow]`")]
    with registry_server(folder / "mlflow") as tracking:
        world = World(folder / "sdk", 20, registry=tracking.sqlite_uri)
    return [*rows, _stall(what, world, folder, seconds, until="registry ok")]


def _stall(what: str, world: World, folder: Path, seconds: float, until: str = "") -> Row:
    world.make()
    # The registry of a World that has one of its own is first met by the app that is watched, not before.
    if not world.registry:
        world.learn()
    late = _late_ms(world, folder / "late.txt", seconds, until)
    longest = max(late, default=0.0)
    note = f"{sum(ms > 50 for ms in late)} stalls over 50 ms in {seconds} s from the first paint on"
    return Row(9, f"longest stall, {what}", None, longest, "ms", "≤ 50 ms", longest <= 50, note)


def _late_ms(world: World, watched: Path, seconds: float, until: str) -> list[float]:
    """How late the loop was after the first paint, in ms, under keys and changes. `until` is a text that must come meanwhile."""
    opened = world.command if world.registry else world.prepared
    command = opened("--move", "10", "--every", "1", "--watch", str(watched))
    pauses = random.Random(9)
    with Terminal(command, cwd=str(ROOT)) as terminal:
        painted = terminal.wait_for(FIRST_ROW, 60)
        while time.monotonic() < painted + seconds or until not in terminal.text:
            if time.monotonic() > painted + 60:
                raise RuntimeError(f"{until!r} did not come in a minute")
            terminal.send(DOWN)
            terminal.pump(pauses.uniform(0.1, 0.3))
    lines = [line.split() for line in watched.read_text("utf-8").splitlines()]
    return [float(line[1]) for line in lines if len(line) == 3 and float(line[0]) > painted]
