"""The app on a real API server with 2,000 Deployments and 200 Rollouts in 20 namespaces: `python -m benchmarks --only kubernetes`.

Wants the control plane that the cluster tests build (`make test-kubernetes` builds what is missing); without it nothing is
measured.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.memory import MEBI, bare_mb
from benchmarks.report import Row, quantile
from benchmarks.traffic import idle_bytes
from benchmarks.world import ROOT
from tests.cluster import control_plane as planes
from tests.cluster import controllers
from tests.cluster.api import DEPLOYMENTS, NAMESPACES, REPLICA_SETS, ROLLOUTS, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.manifests import deployment, rollout
from tests.ui.pty_harness import Terminal

DEPLOYMENTS_COUNT: Final = 2_000
ROLLOUTS_COUNT: Final = 200
NAMESPACES_COUNT: Final = 20
FIRST_ROW: Final = "model-"
IDLE_S: Final = 45
REST_S: Final = 3.0
RESTING: Final = 0.25
"""Of a core: what a control plane of 2,200 workloads takes that has nothing to do."""
MODEL: Final = {"mlrelease.dev/model": "registry/scorer"}
_DOWN, _UP, _POINTER = "\x1b[B", "\x1b[A", "❯"


@dataclass(frozen=True, slots=True)
class Beat:
    """What the connector had done at a moment (`benchmarks.clustered`)."""

    at: float
    endpoints: int
    requests: int
    watches: int
    listed: int


def fleet(folder: Path, quick: bool) -> list[Row]:
    """The issue's numbers for a large cluster."""
    why = planes.missing()
    if why:
        return [Row(8, "a cluster of 2,200 workloads", None, None, "", note=f"not measured: {why}")]
    bare = bare_mb()
    with ControlPlane(folder / "cluster") as plane:
        controllers.argo_rollouts(plane).start()
        deployments, rollouts = (
            (DEPLOYMENTS_COUNT, ROLLOUTS_COUNT) if not quick else (DEPLOYMENTS_COUNT // 10, ROLLOUTS_COUNT // 10)
        )
        _fill(plane, deployments, rollouts)
        _at_rest(plane)
        config = _config(folder, plane.kubeconfig)
        return _measured(folder, config, deployments + rollouts, bare, 20 if quick else IDLE_S)


def _fill(plane: ControlPlane, deployments: int, rollouts: int) -> None:
    places = [f"team-{number:02}" for number in range(NAMESPACES_COUNT)]
    for place in places:
        plane.api.create(NAMESPACES, "", {"metadata": {"name": place}})

    def make(number: int) -> None:
        place = places[number % len(places)]
        if number < rollouts:
            one = rollout(f"roll-{number:04}", "registry.example/scorer:1", replicas=1)
            one["metadata"]["annotations"] = dict(MODEL)
            plane.api.create(ROLLOUTS, place, one)
        else:
            # Without pods: what is measured are two thousand rows, not two thousand pods of a simulated node.
            one = deployment(f"model-{number:04}", "registry.example/scorer:1", replicas=0, annotations=MODEL)
            plane.api.create(DEPLOYMENTS, place, one)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(make, range(deployments + rollouts)))
    wait_for(lambda: len(plane.api.items(REPLICA_SETS)) >= deployments + rollouts, within_s=600)
    wait_for(lambda: all(_healthy(item) for item in plane.api.items(ROLLOUTS)), within_s=600)


def _at_rest(plane: ControlPlane) -> None:
    """Wait until the programs of the control plane have done with what was made: they run on the cores that are measured."""
    import psutil

    watched = [psutil.Process(program.pid) for program in plane.programs.values()]

    def calm() -> bool:
        before = sum(sum(process.cpu_times()[:2]) for process in watched)
        time.sleep(REST_S)
        return sum(sum(process.cpu_times()[:2]) for process in watched) - before < RESTING * REST_S

    wait_for(calm, within_s=300)


def _healthy(item: Mapping[str, Any]) -> bool:
    return bool(item.get("status", {}).get("phase") == "Healthy")


def _config(folder: Path, kubeconfig: Path) -> Path:
    path = folder / "config.toml"
    path.write_text(
        f'state_dir = "state"\n[connections.lab]\nkind = "kubernetes"\nkubeconfig = "{kubeconfig}"\nenvironment = "staging"\n'
    )
    path.chmod(0o600)
    return path


def _measured(folder: Path, config: Path, rows: int, bare: float, idle_s: int) -> list[Row]:
    import psutil

    notes, late = folder / "notes", folder / "late"
    command = [sys.executable, "-m", "benchmarks.clustered", str(config), "--notes", str(notes), "--watch", str(late)]
    with Terminal(command, cwd=str(ROOT), columns=160, rows=48) as terminal:
        terminal.wait_for(FIRST_ROW, 120)
        terminal.wait(lambda _: any(beat.endpoints >= rows and beat.watches for beat in _beats(notes)), "all rows", 120)
        shown = time.monotonic()
        terminal.pump(5)
        pressed, sizes = _keys(terminal)
        terminal.pump(3)
        quiet = _beats(notes)[-1]
        sent = idle_bytes(terminal, idle_s)
        terminal.resize(80, 24)
        terminal.pump(3)
        _, small = _keys(terminal)
        resident = float(psutil.Process(terminal.pid).memory_info().rss) / MEBI
    beats = _beats(notes)
    first = next(beat.at for beat in beats if beat.requests)
    filled = next(beat.at for beat in beats if beat.endpoints >= rows)
    requests = (beats[-1].requests - quiet.requests) * 60 / (beats[-1].at - quiet.at)
    stalls = [
        float(line.split()[1]) for line in late.read_text().splitlines() if first <= float(line.split()[0]) <= shown
    ]
    longest, p95 = max(stalls, default=0.0), quantile(pressed, 0.95)
    what = f"{rows:,} workloads of a cluster"
    return [
        Row(
            2,
            f"{what}: all rows after the first request",
            None,
            filled - first,
            "s",
            "≤ 2 (k9s: 3.1)",
            filled - first <= 2,
        ),
        Row(
            7,
            f"{what}: resident",
            bare,
            resident,
            "MB",
            "≤ +60 MB (k9s: 208)",
            resident - bare <= 60,
            f"{resident - bare:+.0f} MB",
        ),
        Row(3, f"{what}: key to paint p95", None, p95, "ms", "≤ 15", p95 <= 15),
        *(
            Row(
                4,
                f"{what}: bytes of a key at {size}, p95",
                None,
                quantile(found, 0.95),
                "bytes",
                "≤ 400",
                quantile(found, 0.95) <= 400,
            )
            for size, found in (("80×24", small), ("160×48", sizes))
        ),
        Row(4, f"{what}: nothing changes for {idle_s} s", None, sent, "bytes", "0", sent == 0),
        Row(
            8,
            f"{what}: requests of an idle minute",
            None,
            requests,
            "",
            "≤ 12",
            requests <= 12,
            f"{beats[-1].watches} watches",
        ),
        Row(
            9,
            f"{what}: longest stall while it is read",
            None,
            longest,
            "ms",
            "≤ 50 ms",
            longest <= 50,
            f"{sum(ms > 50 for ms in stalls)} over 50 ms",
        ),
    ]


def _keys(terminal: Terminal, count: int = 60) -> tuple[list[float], list[float]]:
    """Milliseconds until the pointer stands on another row, and the bytes that this took."""
    times: list[float] = []
    sizes: list[float] = []
    pauses = random.Random(3)
    for number in range(count):
        before, chunks, sent = (
            _pointed(terminal),
            len(terminal.chunks),
            terminal.send(_DOWN if number % 30 < 15 else _UP),
        )
        at = terminal.wait(lambda seen, before=before: _pointed(seen) != before, "the paint of a key")  # type: ignore[misc]
        times.append((at - sent) * 1000)
        terminal.pump(pauses.uniform(0.1, 0.2))
        sizes.append(sum(len(chunk.data) for chunk in terminal.chunks[chunks:]))
    return times, sizes


def _pointed(terminal: Terminal) -> str:
    return next((line for line in terminal.lines if line.startswith(_POINTER)), "")


def _beats(path: Path) -> Sequence[Beat]:
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [Beat(**json.loads(line)) for line in lines if line.endswith("}")]
