"""Target 7: resident memory with a real registry of ten thousand versions, and whether it stays flat."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psutil
from benchmarks.registry import registry_server
from benchmarks.report import Row
from benchmarks.starts import FIRST_ROW
from benchmarks.world import ROOT, World
from tests.ui.pty_harness import Terminal

VERSIONS: Final = 10_000
ALLOWED_MB: Final = 60
MEBI: Final = 1024 * 1024
FLAT_MB: Final = 5


def resident(folder: Path, quick: bool) -> list[Row]:
    bare = bare_mb()
    return [_connected(folder, bare), _eight_hours(folder)]


def bare_mb() -> float:
    with Terminal([sys.executable, "-m", "benchmarks.bare"], cwd=str(ROOT)) as terminal:
        terminal.wait_for(FIRST_ROW)
        terminal.wait_quiet(1.0)
        return _resident_mb(terminal.pid)


def _resident_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / MEBI


def _connected(folder: Path, bare: float) -> Row:
    what, limit = f"resident, MLflow (HTTP), {VERSIONS:,} versions read", f"≤ +{ALLOWED_MB} MB"
    if find_spec("mlflow") is None:
        return Row(7, what, bare, None, "MB", limit, None, "not measured: needs a real MLflow server (`.[mlflow]`)")
    with registry_server(folder / "mlflow") as tracking:
        name = tracking.model("crowded")
        tracking.many_versions(name, VERSIONS)
        world = World(folder / "memory", 200, registry=tracking.url).make().learn()
        paged = folder / "paged"
        command = world.command("--versions", f"registry/{name}", "--paged", str(paged))
        with Terminal(command, cwd=str(ROOT)) as terminal:
            terminal.wait(lambda _: paged.exists() and bool(paged.read_text("utf-8")), "all versions", 90)
            terminal.pump(3)
            ours = _resident_mb(terminal.pid)
        read = int(paged.read_text("utf-8"))
    if read != VERSIONS:
        raise RuntimeError(f"{read} of {VERSIONS} versions came")
    note = f"{ours - bare:+.0f} MB; 200 endpoints; Kubernetes has a row of its own, Docker is not built yet"
    return Row(7, what, bare, ours, "MB", limit, ours - bare <= ALLOWED_MB, note)


def _eight_hours(folder: Path) -> Row:
    """The store under the facts of eight hours, one reading each two seconds, in a process of its own."""
    started = time.monotonic()
    asked = [sys.executable, "-m", "benchmarks.eight_hours"]
    found = subprocess.run(asked, check=True, capture_output=True, text=True, cwd=ROOT, timeout=120).stdout.split()
    first, last = float(found[0]), float(found[1])
    note = f"14,400 readings of 20 endpoints in {time.monotonic() - started:.0f} s; baseline: after the first hour"
    return Row(
        7, "the store after a simulated 8 h", first, last, "MB", f"flat: ≤ +{FLAT_MB} MB", last - first <= FLAT_MB, note
    )
