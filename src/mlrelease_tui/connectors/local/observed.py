"""Which processes run: the document that the supervisor writes and everybody reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from mlrelease_tui.connectors.local.documents import read_json, record
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.processes import is_halted, is_running
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
    """What the supervisor last wrote, and whether it still lives: if it does not, neither do its processes.

    `halted`: it lives, but somebody stopped it, so that it sees nothing, starts nothing and ends nothing.
    """

    alive: bool = False
    pid: int = 0
    message: str = ""
    router: ObservedProcess | None = None
    endpoints: Mapping[str, Mapping[str, ObservedProcess]] = field(default_factory=dict)
    halted: bool = False

    def process(self, key: str, name: str) -> ObservedProcess | None:
        return self.endpoints.get(key, {}).get(name)


def halted_words(supervision: Supervision) -> str:
    return (
        f"the supervisor (process {supervision.pid}) was stopped and does nothing until `kill -CONT {supervision.pid}`"
    )


def read_observed(layout: Layout) -> Supervision:
    """UnexpectedAnswer where the document is damaged."""
    shape = read_json(layout.observed)
    if shape is None:
        return Supervision()
    try:
        if shape["format"] != FORMAT:
            raise ValueError(f"format {shape['format']!r}")
        supervisor, router = shape["supervisor"], shape.get("router")
        pid = int(supervisor["pid"])
        alive = is_running(pid, int(supervisor["started"]))
        halted = alive and is_halted(pid)
        return Supervision(
            alive=alive,
            pid=pid,
            message=str(supervisor.get("message", "")),
            router=_process(router, halted) if router else None,
            endpoints={
                key: {name: _process(value, halted) for name, value in processes.items()}
                for key, processes in shape["endpoints"].items()
            },
            halted=halted,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as failure:
        raise UnexpectedAnswer(f"{layout.observed} is not what the supervisor writes: {failure}") from failure


def _process(shape: Mapping[str, Any], halted: bool) -> ObservedProcess:
    found = _as_written(shape)
    if halted and found.pid and not is_running(found.pid, found.started):
        return replace(found, state=ProcessState.CRASHED, message="it has ended, which the supervisor has not seen")
    return found


def _as_written(shape: Mapping[str, Any]) -> ObservedProcess:
    return record(ObservedProcess, dict(shape) | {"state": ProcessState(shape["state"])})
