"""Targets 1 and 2: how soon a command answers, and how soon the fleet is on the screen."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.report import Row, quantile
from benchmarks.world import ROOT, World
from tests.ui.pty_harness import Terminal

FIRST_ROW: Final = "scorer-0"
HEAVY: Final = ("textual", "mlflow", "docker", "kubernetes", "sklearn")


def commands(folder: Path, quick: bool) -> list[Row]:
    """Target 1."""
    limit = "≤ 1.5× + 60 ms; no Textual, no SDK"
    program = str(Path(sys.executable).with_name("mlrelease"))
    completing = {"_MLRELEASE_COMPLETE": "bash_complete", "COMP_WORDS": "mlrelease st", "COMP_CWORD": "1"}
    asked: list[tuple[str, Sequence[str], Mapping[str, str]]] = [
        ("bare", [sys.executable, "-c", "pass"], {}),
        ("mlrelease --version", [program, "--version"], {}),
        ("completion of a word", [program], completing),
    ]
    times: dict[str, list[float]] = {what: [] for what, _, _ in asked}
    for _ in range(8 if quick else 20):
        for what, command, environ in asked:
            times[what].append(_run_ms(command, environ))
    bare = statistics.median(times["bare"])
    rows = []
    for what, command, environ in asked[1:]:
        ours = statistics.median(times[what])
        heavy = _heavy(command, environ)
        note = f"imports {', '.join(heavy)}" if heavy else ""
        rows.append(Row(1, what, bare, ours, "ms", limit, ours <= 1.5 * bare + 60 and not heavy, note))
    return rows


def _run_ms(command: Sequence[str], environ: Mapping[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env={**os.environ, **environ}, check=True, capture_output=True)
    return (time.perf_counter() - started) * 1000


def _heavy(command: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Which of the heavy packages the command imports."""
    timed = {**os.environ, **environ, "PYTHONPROFILEIMPORTTIME": "1"}
    found = subprocess.run(command, env=timed, check=True, capture_output=True, text=True).stderr
    imported = {line.rpartition("|")[2].strip() for line in found.splitlines() if re.match(r"import time:", line)}
    return [name for name in HEAVY if name in imported]


def first_paint(folder: Path, quick: bool) -> list[Row]:
    """Target 2. The kinds of start take turns, so that a busy moment of the machine falls on all of them."""
    answering = World(folder / "answering").make().learn()
    silent = World(folder / "silent").make().learn().silence()
    crowded = World(folder / "crowded", endpoints=10_000).make().learn()
    bare = [sys.executable, "-m", "benchmarks.bare"]
    kinds = {"bare": bare, "known": answering.command(), "silent": silent.command(), "crowded": crowded.command()}
    # As after an installation: bytecode of all that is loaded, on both sides, whatever this environment keeps of it.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    for command in kinds.values():
        _paint_ms(command, compiled)
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(5 if quick else 15):
        for kind, command in kinds.items():
            if kind != "crowded" or turn < 5:
                times[kind].append(_paint_ms(command, compiled))
    middle = {kind: statistics.median(found) for kind, found in times.items()}
    bare_ms, known, late = middle["bare"], middle["known"], middle["silent"] - middle["known"]
    p95 = {kind: quantile(found, 0.95) for kind, found in times.items()}
    return [
        Row(2, "first paint, 20 endpoints last known", bare_ms, known, "ms", "≤ 1.3×", known <= 1.3 * bare_ms,
            f"p95 {p95['bare']:.0f} and {p95['known']:.0f} ms"),
        Row(2, "… every backend silent", known, middle["silent"], "ms", "≤ +50 ms", late <= 50, f"{late:+.0f} ms"),
        Row(2, "… 10,000 endpoints last known", bare_ms, middle["crowded"], "ms"),
    ]  # fmt: skip


def _paint_ms(command: Sequence[str], environ: Mapping[str, str]) -> float:
    with Terminal(command, cwd=str(ROOT), environ=environ) as terminal:
        return (terminal.wait_for(FIRST_ROW) - terminal.started_at) * 1000
