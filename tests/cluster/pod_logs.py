"""Logs of pods on KWOK nodes: what a test writes, the API server's `pods/log` reads, with `follow` and `previous`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.cluster.api import Kind
from tests.cluster.control_plane import ControlPlane

LOGS: Final = Kind("kwok.x-k8s.io/v1alpha1", "logs")


class PodLog:
    """The log of all containers of one pod, empty at first, and of their runs before the last restart."""

    def __init__(self, control_plane: ControlPlane, namespace: str, pod: str) -> None:
        folder = control_plane.folder / "pod-logs" / namespace
        folder.mkdir(parents=True, exist_ok=True)
        self._current = folder / f"{pod}.log"
        self._previous = folder / f"{pod}.previous.log"
        for file in (self._current, self._previous):
            file.touch()
        entry = {"logsFile": str(self._current), "previousLogsFile": str(self._previous), "follow": True}
        body = {
            "apiVersion": LOGS.group_version,
            "kind": "Logs",
            "metadata": {"name": pod},
            "spec": {"logs": [entry]},
        }
        control_plane.api.create(LOGS, namespace, body)

    def write(self, *lines: str) -> None:
        """The container says something."""
        _append(self._current, lines)

    def write_previous(self, *lines: str) -> None:
        """What it had said before it was restarted."""
        _append(self._previous, lines)


def _append(file: Path, lines: tuple[str, ...]) -> None:
    # The form in which a container runtime keeps logs: time, stream, whole line.
    with file.open("a", encoding="utf-8") as target:
        for line in lines:
            target.write(f"{datetime.now(UTC).isoformat().replace('+00:00', 'Z')} stdout F {line}\n")
