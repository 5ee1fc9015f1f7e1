"""An action under way, and the lines of the audit as screens and commands show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from mlrelease_tui.domain.plan import Outcome, Plan, StepResult
from mlrelease_tui.domain.text import SafeText


class Stage(StrEnum):
    """RECORDING the intent · SENDING a step · VERIFYING it · ENDED with an outcome."""

    RECORDING = "recording"
    SENDING = "sending"
    VERIFYING = "verifying"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class ActionProgress:
    """One confirmed plan on its way. `step` is the index of the step in hand; `outcome` is set at the end."""

    intent_id: str
    plan: Plan
    stage: Stage
    by: str
    why: str
    started_at: datetime
    step: int = 0
    results: tuple[StepResult, ...] = ()
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One audit record, flattened for reading. `detail` is the whole record; `line_hash` names its exact bytes."""

    id: str
    chain: str
    seq: int
    kind: str
    at: datetime
    actor: SafeText
    verb: str = ""
    target: SafeText = field(default_factory=SafeText)
    summary: SafeText = field(default_factory=SafeText)
    why: SafeText = field(default_factory=SafeText)
    result: str = ""
    intent_id: str = ""
    plan_hash: str = ""
    line_hash: str = ""
    detail: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class OpenAction:
    """An intent that a process left without an outcome. `alive`: that process still runs, so it is not ours to judge.

    `summary` is what it was to do. `settles_at`: until then the last write that left may still take effect, None where
    nothing is on its way. `seen` is what the latest read of its target showed, "" where none was made.
    """

    intent_id: str
    target: SafeText
    verb: str
    actor: SafeText
    at: datetime
    alive: bool
    pid: int
    sent_steps: tuple[int, ...] = ()
    host: str = ""
    summary: SafeText = field(default_factory=SafeText)
    settles_at: datetime | None = None
    seen: SafeText = field(default_factory=SafeText)

    def settling(self, now: datetime) -> bool:
        """Whether at `now` something that it sent may still take effect."""
        return self.settles_at is not None and now < self.settles_at


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """What a verification of the audit found. `broken`: something was altered; otherwise `problems` are what is missing.

    `problems` name file, line and reason, the first few of `problem_count`.
    """

    at: datetime
    records: int
    chains: int
    broken: bool = False
    problem_count: int = 0
    problems: tuple[SafeText, ...] = ()
