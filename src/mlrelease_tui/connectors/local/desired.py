"""Which processes shall run: the document that connectors write and the supervisor follows.

Each endpoint has its own generation; a change names the generation it was planned at and is refused at any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mlrelease_tui.connectors.local.documents import locked, read_json, record, way_back, write_json
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict, UnexpectedAnswer

FORMAT = 1


@dataclass(frozen=True, slots=True)
class WantedProcess:
    """One version that shall run. `turn` begins with the generation that it was added at and counts the restarts that operators
    asked for: no two processes of one name ever had the same."""

    version: str
    artifact: str = ""
    digest: str = ""
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """Who wrote last, why, and which write of which intent it was. `at` is RFC 3339 UTC."""

    intent_id: str = ""
    verb: str = ""
    by: str = ""
    why: str = ""
    at: str = ""
    write: str = ""

    def __str__(self) -> str:
        parts = (("by", self.by), ("at", self.at), ("intent", self.intent_id))
        return ", ".join(f"{word} {SafeText(text, limit=120)}" for word, text in parts if text) or "by an unknown hand"


@dataclass(frozen=True, slots=True)
class WantedEndpoint:
    """The processes of one endpoint, by variant name."""

    generation: int = 0
    processes: Mapping[str, WantedProcess] = field(default_factory=dict)
    mark: Mark = field(default_factory=Mark)


def read_desired(layout: Layout) -> dict[str, WantedEndpoint]:
    """What is wanted, by endpoint key. UnexpectedAnswer where the document is damaged."""
    shape = read_json(layout.desired)
    if shape is None:
        return {}
    try:
        if shape["format"] != FORMAT:
            raise ValueError(f"format {shape['format']!r}")
        return {key: _endpoint(value) for key, value in shape["endpoints"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as failure:
        raise UnexpectedAnswer(
            f"{layout.desired} does not say which processes shall run: {failure}",
            hint=f"the processes that run go on; {way_back(layout.desired)}",
        ) from failure


def change_desired(
    layout: Layout,
    key: str,
    expect: int,
    change: Callable[[Mapping[str, WantedProcess]], Mapping[str, WantedProcess]],
    mark: Mark,
    *,
    lock_s: float,
) -> tuple[WantedEndpoint, bool]:
    """Compare-and-set one endpoint's processes. The second value is False where this very write was made already.

    Conflict: another generation, nothing was changed. Busy: another writer kept the lock. Rejected: the disk said no.
    """
    with locked(layout.desired, lock_s):
        known = read_desired(layout)
        now = known.get(key, WantedEndpoint())
        if now.generation == expect + 1 and mark.intent_id and _same_write(now.mark, mark):
            return now, False
        if now.generation != expect:
            running = ", ".join(sorted(now.processes)) or "none"
            raise Conflict(
                f"the processes of {key} are at generation {now.generation}, written {now.mark}, not at {expect}; "
                f"wanted now: {running}",
                hint="nothing was changed; read the endpoint again and make a new plan",
            )
        wanted = WantedEndpoint(expect + 1, dict(change(now.processes)), mark)
        endpoints = {name: asdict(value) for name, value in (known | {key: wanted}).items()}
        write_json(layout.desired, {"format": FORMAT, "endpoints": endpoints}, keep=True)
        return wanted, True


def _same_write(one: Mark, other: Mark) -> bool:
    return (one.intent_id, one.write) == (other.intent_id, other.write)


def _endpoint(shape: Mapping[str, Any]) -> WantedEndpoint:
    generation = shape["generation"]
    if type(generation) is not int or generation < 0:
        raise ValueError(f"generation {generation!r}")
    return WantedEndpoint(
        generation=generation,
        processes={name: record(WantedProcess, value) for name, value in shape["processes"].items()},
        mark=record(Mark, shape["mark"]),
    )


def restarted(process: WantedProcess) -> WantedProcess:
    return replace(process, turn=process.turn + 1)
