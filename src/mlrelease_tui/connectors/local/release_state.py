"""What operators share about a rollout: kept in the router's document, beside the weights, in the same write.

Who is stable, who gets how much and who is mirrored to stands in the traffic plan itself; this is the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from mlrelease_tui.connectors.local.desired import Mark
from mlrelease_tui.connectors.local.documents import record
from mlrelease_tui.domain.rollout import Hold, Stamp
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import UnexpectedAnswer

FORMAT = 1
HISTORY = 10
"""How many earlier stable versions are remembered."""


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """What it takes to start a version again without asking the registry."""

    version: str
    artifact: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseState:
    """`canary` and `retiring` are variant names; `history` are versions that were stable, the latest first.

    `begun_at`: when the rollout started; `hold` and `aborted`: who stopped it, None where nobody did.
    """

    uid: str = ""
    canary: str = ""
    step_index: int | None = None
    steps_bp: tuple[int, ...] = ()
    retiring: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    versions: Mapping[str, KnownVersion] = field(default_factory=dict)
    hold: Mark | None = None
    aborted: Mark | None = None
    begun_at: str = ""
    mark: Mark = field(default_factory=Mark)

    def as_json(self) -> dict[str, Any]:
        """As the document holds it; the router knows the last writer by the key `intent`."""
        shape = asdict(self)
        shape["format"] = FORMAT
        shape["intent"] = shape.pop("mark")
        return shape

    def changed(self, change: Mapping[str, Any], mark: Mark) -> ReleaseState:
        """After a planned write: `change` holds fields by name; `held`, `aborted` and `begins` say what `mark` did.

        `succeeded` is the version that was stable until now, `returned` the earlier one that is stable again.
        """
        state = replace(
            self,
            uid=change.get("uid", self.uid),
            canary=change.get("canary", self.canary),
            step_index=change.get("step_index", self.step_index),
            steps_bp=tuple(change.get("steps_bp", self.steps_bp)),
            retiring=tuple(change.get("retiring", self.retiring)),
            history=_history(self.history, change),
            mark=mark,
        )
        if "held" in change:
            state = replace(state, hold=mark if change["held"] else None)
        if "aborted" in change:
            state = replace(state, aborted=mark if change["aborted"] else None)
        if "begins" in change:
            state = replace(state, begun_at=mark.at if change["begins"] else "")
        return state

    def knowing(self, versions: Mapping[str, KnownVersion]) -> ReleaseState:
        """With these versions remembered, and those forgotten that neither run nor are in the history."""
        merged = dict(self.versions) | dict(versions)
        return replace(self, versions={n: v for n, v in merged.items() if n in versions or v.version in self.history})


def _history(history: tuple[str, ...], change: Mapping[str, Any]) -> tuple[str, ...]:
    if succeeded := change.get("succeeded"):
        history = (succeeded, *(version for version in history if version != succeeded))
    if (returned := change.get("returned")) in history:
        history = history[history.index(returned) + 1 :]
    return history[:HISTORY]


def state_from_json(shape: Mapping[str, Any]) -> ReleaseState:
    """UnexpectedAnswer where this is no state of ours. An empty mapping is an empty state."""
    if not shape:
        return ReleaseState()
    try:
        if shape["format"] != FORMAT:
            raise ValueError(f"format {shape['format']!r}")
        fields = {key: value for key, value in shape.items() if key not in {"format", "intent"}}
        state = ReleaseState(
            **fields
            | {
                "steps_bp": tuple(shape["steps_bp"]),
                "retiring": tuple(shape["retiring"]),
                "history": tuple(shape["history"]),
                "versions": {name: record(KnownVersion, value) for name, value in shape["versions"].items()},
                "hold": record(Mark, shape["hold"]) if shape["hold"] else None,
                "aborted": record(Mark, shape["aborted"]) if shape["aborted"] else None,
                "mark": record(Mark, shape["intent"]),
            }
        )
        _check_types(state)
    except (KeyError, TypeError, ValueError, AttributeError) as failure:
        raise UnexpectedAnswer(f"the route's shared state is not ours: {failure}") from failure
    return state


def _check_types(state: ReleaseState) -> None:
    texts = (state.uid, state.canary, state.begun_at, *state.retiring, *state.history)
    numbers = (*state.steps_bp, *(() if state.step_index is None else (state.step_index,)))
    odd = [item for item in texts if type(item) is not str] + [item for item in numbers if type(item) is not int]
    if odd:
        raise TypeError(f"it holds {odd[0]!r}")


def mark_of(stamp: Stamp, write: str) -> Mark:
    """What is left in a document of the intent that wrote it; `write` tells its writes apart."""
    return Mark(
        intent_id=stamp.intent_id,
        verb=stamp.verb,
        by=raw(stamp.by),
        why=raw(stamp.why),
        at=stamp.at.isoformat(timespec="milliseconds") if stamp.at else "",
        write=write,
    )


def stamp_of(mark: Mark) -> Stamp | None:
    """None where nobody wrote yet."""
    if not mark.intent_id and not mark.by:
        return None
    return Stamp(
        str(SafeText(mark.intent_id)), str(SafeText(mark.verb)), SafeText(mark.by), SafeText(mark.why), time_of(mark.at)
    )


def hold_of(mark: Mark | None) -> Hold | None:
    if mark is None:
        return None
    return Hold(SafeText(mark.by), SafeText(mark.why), time_of(mark.at), str(SafeText(mark.intent_id)))


def time_of(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None
