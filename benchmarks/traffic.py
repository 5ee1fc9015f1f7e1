"""Targets 4 and 5: the bytes that go to the terminal, and a plan over a slow line."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.report import Row
from benchmarks.starts import FIRST_ROW
from benchmarks.world import ROOT, World
from tests.ui.pty_harness import Chunk, Terminal

QUIET_S: Final = 0.3
SLOW_LINE: Final = 2_400
PLAN_READY: Final = "[ Cancel ]"


def output(folder: Path, quick: bool) -> list[Row]:
    """Target 4, at 80×24 and 256 colours."""
    world = World(folder / "output", 20).make().learn()
    bare = [sys.executable, "-m", "benchmarks.bare"]
    idle_s, moving_s = (6, 5) if quick else (20, 10)
    one = ("--every", "1.2")
    cell, stock_cell = _burst(world.command("--move", "1", *one), 6), _burst([*bare, "--change", "1", *one], 6)
    rate = _rate(world.command("--move", "10", "--every", "1"), moving_s)
    stock = _rate([*bare, "--change", "10", "--every", "1"], moving_s)
    idle, idle_stock = _idle(world.command(), idle_s), _rate(bare, 5) * idle_s
    return [
        Row(4, f"nothing changes for {idle_s} s", idle_stock, idle, "bytes", "0", idle == 0),
        Row(4, "one cell changes", stock_cell, cell, "bytes", "≤ 300", cell <= 300),
        Row(4, "ten cells change each second", stock, rate, "B/s", "≤ 1,000", rate <= 1_000),
    ]


def _rate(command: Sequence[str], seconds: float) -> float:
    """Bytes a second, once the start is over."""
    with Terminal(command, cwd=str(ROOT)) as terminal:
        terminal.wait_for(FIRST_ROW)
        terminal.pump(3)
        return terminal.pump(seconds) / seconds


def _idle(command: Sequence[str], seconds: float) -> int:
    """Bytes in so many seconds within one minute of the header's clock."""
    with Terminal(command, cwd=str(ROOT)) as terminal:
        terminal.wait_for(FIRST_ROW)
        terminal.pump(3)
        return idle_bytes(terminal, seconds)


def idle_bytes(terminal: Terminal, seconds: float) -> int:
    """Bytes in so many seconds (at most 50), begun early enough in a minute that the clock's cell does not change meanwhile."""
    left = 60 - time.time() % 60
    if left < seconds + 2:
        terminal.pump(left + 2)
    return terminal.pump(seconds)


def _burst(command: Sequence[str], seconds: float) -> float:
    """The median of the bytes that come together, once the start is over."""
    with Terminal(command, cwd=str(ROOT)) as terminal:
        terminal.wait_for(FIRST_ROW)
        terminal.pump(3)
        before = len(terminal.chunks)
        terminal.pump(seconds)
        return statistics.median(_together(terminal.chunks[before:]) or [0])


def _together(chunks: Sequence[Chunk]) -> list[int]:
    sizes: list[int] = []
    last = float("-inf")
    for chunk in chunks:
        if chunk.at - last > QUIET_S:
            sizes.append(0)
        sizes[-1] += len(chunk.data)
        last = chunk.at
    return sizes


def plan_panel(folder: Path, quick: bool) -> list[Row]:
    """Target 5. On the slow line rows go on changing while the plan is opened."""
    world = World(folder / "plan", 20).make().learn()
    bare = [sys.executable, "-m", "benchmarks.bare"]
    with Terminal(bare, cwd=str(ROOT)) as terminal:
        terminal.wait_for(FIRST_ROW)
        modal = terminal.bytes_of(lambda: terminal.send("m"), 0.8)
    with Terminal(world.command(), cwd=str(ROOT)) as terminal:
        terminal.wait_for(FIRST_ROW)
        terminal.wait_quiet(1.5)
        panel = terminal.bytes_of(lambda: terminal.send("B"), 0.8)
        if PLAN_READY not in terminal.text:
            raise RuntimeError(f"the plan did not open:\n{terminal.text}")
    slow_modal = _slow(bare, "m", "Cancel")
    watched = folder / "backlog.txt"
    slow_panel = _slow(world.command("--move", "10", "--every", "1", "--watch", str(watched)), "B", PLAN_READY)
    backlog = max((int(line.split()[2]) for line in watched.read_text("utf-8").splitlines()), default=0)
    return [
        Row(
            5, "opening the plan", modal, panel, "bytes", "≤ 4,096", panel <= 4_096, "baseline: stock modal, same size"
        ),
        Row(
            5,
            f"usable at {SLOW_LINE:,} B/s, 10 cells/s changing",
            slow_modal,
            slow_panel,
            "s",
            "≤ 3 s",
            slow_panel <= 3,
        ),
        Row(5, "frames waiting meanwhile, at most", None, backlog, "frames", "≤ 1", backlog <= 1),
    ]


def _slow(command: Sequence[str], key: str, text: str) -> float:
    """Seconds from the key until the text was read from a slow line."""
    with Terminal(command, cwd=str(ROOT), reads_per_s=SLOW_LINE) as terminal:
        terminal.wait_for(FIRST_ROW, 60)
        terminal.pump(8)
        sent = terminal.send(key)
        return terminal.wait_for(text, 60) - sent
