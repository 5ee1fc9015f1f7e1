"""Which processes run: the document that the supervisor writes and everybody reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from mlrelease_tui.connectors.local.documents import read_json
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.processes import is_running
from mlrelease_tui.errors import UnexpectedAnswer

FORMAT = 1
LOOP_FAILURES = 2
"""Failures in a row from which a process counts as crash-looping."""


class ProcessState(StrEnum):
    """STARTING runs, not healthy yet · READY healthy · UNREADY was healthy and is not · CRASHED ended by itself and is
    started again after a pause · STOPPING was told to end."""

    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    CRASHED = "crashed"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class ObservedProcess:
    """One process. `pid` 0 where none runs; `pid` with `started` (clock ticks since boot) name it beyond doubt.

    `restarts` counts all, `failures` those in a row without a lasting success between. `last_exit` says how it last
    ended, "" where it never did. `since` is when it was last started, RFC 3339 UTC.
    """

    version: str
    state: ProcessState
    pid: int = 0
    started: int = 0
    port: int = 0
    turn: int = 0
    restarts: int = 0
    failures: int = 0
    last_exit: str = ""
    message: str = ""
    since: str = ""

    @property
    def loops(self) -> bool:
        return self.failures >= LOOP_FAILURES

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Supervision:
    """What the supervisor last wrote, and whether it still lives: if it does not, neither do its processes."""

    alive: bool = False
    pid: int = 0
    message: str = ""
    router: ObservedProcess | None = None
    endpoints: Mapping[str, Mapping[str, ObservedProcess]] = field(default_factory=dict)

    def process(self, key: str, name: str) -> ObservedProcess | None:
        return self.endpoints.get(key, {}).get(name)


def read_observed(layout: Layout) -> Supervision:
    """UnexpectedAnswer where the document is damaged."""
    shape = read_json(layout.observed)
    if shape is None:
        return Supervision()
    try:
        if shape["format"] != FORMAT:
            raise ValueError(f"format {shape['format']!r}")
        supervisor, router = shape["supervisor"], shape.get("router")
        return Supervision(
            alive=is_running(int(supervisor["pid"]), int(supervisor["started"])),
            pid=int(supervisor["pid"]),
            message=str(supervisor.get("message", "")),
            router=_process(router) if router else None,
            endpoints={
                key: {name: _process(value) for name, value in processes.items()}
                for key, processes in shape["endpoints"].items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as failure:
        raise UnexpectedAnswer(f"{layout.observed} is not what the supervisor writes: {failure}") from failure


def _process(shape: Mapping[str, Any]) -> ObservedProcess:
    return ObservedProcess(**(dict(shape) | {"state": ProcessState(shape["state"])}))
