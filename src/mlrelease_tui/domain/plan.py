"""A plan: the exact writes, in order, with what each assumes, brings about and how it is undone. Frozen data.

The panel, the command line, the audit and the tests show the same value. Its hash covers everything that will be sent and
everything that it was decided from, but neither the clock nor the reason: the same state and wish give the same hash.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from mlrelease_tui.domain.level import CheckStatus, Direction, Level, Refusal
from mlrelease_tui.domain.refs import TargetRef
from mlrelease_tui.domain.rollout import Verb
from mlrelease_tui.domain.text import SafeText

if TYPE_CHECKING:
    from mlrelease_tui.domain.expectation import Expectation
    from mlrelease_tui.domain.intents import Intent

__all__ = [
    "Check",
    "CheckStatus",
    "Direction",
    "FieldChange",
    "Level",
    "Outcome",
    "OutcomeKind",
    "Plan",
    "ReadFrom",
    "Refusal",
    "StepResult",
    "StepStatus",
    "Write",
]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of one object as a backend says that a write would leave it: "" stands for a field that is not there.

    `asked` False: the write does not name it, the backend would change it beside (a default, a webhook). Environments and other
    places of secrets are named, never quoted.
    """

    target: str
    path: str
    before: str
    after: str
    asked: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at before the plan was made, and what it said. `changes` are what a dry run would change."""

    name: str
    status: CheckStatus
    text: str
    changes: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Write:
    """One write to one backend, as a driver planned it.

    `operation` is the driver's own word, by which it finds its way back in `perform`. `call` is the exact call as a person
    reads it; `payload` is canonical JSON of everything that `perform` needs and sends, the machine's precondition included.
    `before`, `after`, `precondition` and `undo` are words; `assumes` and `expects` are the same, checkable. `shell` does it
    without this tool. A write with `mutates` False only waits (a drain). `best_effort`: the backend has no compare-and-set,
    so a race is detected, not prevented. `settle_s`: how long, in seconds, the backend may take to show the effect.
    """

    connection: str
    operation: str
    target: str
    call: str
    payload: str
    before: str
    after: str
    precondition: str
    undo: str
    assumes: Expectation
    expects: Expectation
    shell: str = ""
    mutates: bool = True
    best_effort: bool = False
    settle_s: float = 10.0


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """What the plan was read from: an object, its revision then, and when."""

    object_id: str
    revision: str
    observed_at: datetime


@dataclass(frozen=True)
class Plan:
    """The whole of an action, before it is confirmed. `steps` run in order, each once."""

    intent: Intent
    target: TargetRef
    environment: str
    direction: Direction
    level: Level
    steps: tuple[Write, ...]
    summary: str
    undo: str
    read_from: tuple[ReadFrom, ...]
    created_at: datetime
    expires_at: datetime
    checks: tuple[Check, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def verb(self) -> Verb:
        return self.intent.verb

    @cached_property
    def plan_hash(self) -> str:
        """SHA-256, hex, over intent, target, environment, level and every write with its precondition."""
        content = {
            "verb": self.verb,
            "intent": asdict(self.intent),
            "target": self.target.id,
            "environment": self.environment,
            "level": int(self.level),
            "steps": [asdict(step) for step in self.steps],
            "read_from": [[item.object_id, item.revision] for item in self.read_from],
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def expired(self, now: datetime) -> bool:
        """Whether it is too old to be sent. Of one that was made later than `now` nobody knows: the clock was set back."""
        return not self.created_at <= now < self.expires_at


class OutcomeKind(StrEnum):
    """How an action ended. REJECTED: nothing was changed by the write that was refused. FAILED: it was carried out, and the backend
    says that it did not work. UNKNOWN is not failure: nobody can say yet."""

    APPLIED = "applied"
    REJECTED = "rejected"
    FAILED = "failed"
    REVERTED = "reverted"
    UNKNOWN = "unknown"


class StepStatus(StrEnum):
    NOT_SENT = "not_sent"
    SENT = "sent"
    VERIFIED = "verified"
    REJECTED = "rejected"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of one write. `observed` is what the verifying read showed that differs from what was expected; `code` is
    the stable code of the error that refused it."""

    index: int
    status: StepStatus
    detail: SafeText = field(default_factory=SafeText)
    revision: str = ""
    observed: tuple[str, ...] = ()
    code: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an action. `verified` says in words what was read back; `by` names who reverted it, where someone did."""

    intent_id: str
    kind: OutcomeKind
    plan_hash: str
    steps: tuple[StepResult, ...]
    message: str
    verified: tuple[str, ...] = ()
    by: str = ""
    duration_s: float = 0.0

    @property
    def overtaken(self) -> bool:
        """Whether another hand was faster: the very first write met another state than planned, and nothing was changed."""
        first = self.steps[0] if self.steps else None
        return first is not None and first.status is StepStatus.REJECTED and first.code == "conflict"
