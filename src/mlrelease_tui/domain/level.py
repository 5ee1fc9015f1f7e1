"""How hard confirming is, which way an action moves risk, what a check says, and the no to an action. `plan` gives them, too.

Configuration, policy and the first frame need these and no plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Direction(StrEnum):
    """Which way an action moves risk. Friction follows it."""

    SAFE = "safe"
    NEUTRAL = "neutral"
    FORWARD = "forward"


class Level(IntEnum):
    """How hard confirming is. READ none · KEY one key · PLAN a key on the shown plan, never Enter alone ·
    NAME the target's name typed and a reason · SECOND a second person."""

    READ = 0
    KEY = 1
    PLAN = 2
    NAME = 3
    SECOND = 4


class CheckStatus(StrEnum):
    PASS = "pass"  # noqa: S105 - a word, not a password
    WARN = "warn"
    UNKNOWN = "unknown"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no plan, or why it may not run. `code` for machines, `reason` and `hint` for people."""

    code: str
    reason: str
    hint: str = ""
