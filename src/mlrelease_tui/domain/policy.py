"""Who may write, and how hard confirming is. One predicate each, asked by planner and executor; screens only show the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.level import Direction, Level, Refusal
from mlrelease_tui.domain.rollout import Verb

PRODUCTION: Final = frozenset({"production", "prod", "live"})
"""Environments whose forward moves are confirmed by name. Case is ignored; configuration may add to them."""

PLAN_LIFETIME: Final = timedelta(seconds=120)
READ_MAX_AGE: Final = timedelta(seconds=10)
"""A plan is made from reads at most this old (trust protocol, step 2)."""


@dataclass(frozen=True, slots=True)
class Access:
    """Whether writes are armed. The app starts read-only; arming lasts until `armed_until`.

    `locked` is a reason why writes can't be armed at all (no durable audit, broken policy); "" where they can.
    `read_only` names connections to which nothing is ever written, armed or not.
    """

    armed_until: datetime | None = None
    locked: str = ""
    read_only: frozenset[str] = frozenset()

    def may_touch(self, connections: Iterable[str]) -> Refusal | None:
        """None where these connections may be written to at all, else which may not."""
        barred = sorted(self.read_only.intersection(connections))
        if not barred:
            return None
        reason = f"{', '.join(barred)}: read-only by configuration"
        return Refusal("read_only", reason, "take `read_only` from the connection in the configuration")

    def may_write(self, now: datetime) -> Refusal | None:
        """None where a write may go out at `now`, else why not."""
        if self.locked:
            return Refusal("locked", f"writes are locked: {self.locked}", "mend the cause, then arm them anew")
        if self.armed_until is None:
            return Refusal("read_only", "read-only: writes are not armed", "press W to arm writes for a while")
        if now >= self.armed_until:
            return Refusal("read_only", "read-only again: the time for writes ran out", "press W to arm them anew")
        return None


READ_ONLY: Final = Access()

SECOND_PERSON: Final = Refusal(
    "needs_approval",
    "this plan wants a second person's approval, which nobody can give yet",
    "approval is not built in this version; the level comes from `confirm` in [environments.NAME] of the configuration",
)
"""Why no plan of level SECOND is sent."""

_DIRECTIONS: Final[Mapping[Verb, Direction]] = MappingProxyType(
    {
        Verb.PROMOTE: Direction.FORWARD,
        Verb.CONTINUE: Direction.FORWARD,
        Verb.SWITCH: Direction.FORWARD,
        Verb.ALIAS: Direction.FORWARD,
        Verb.WEIGHT: Direction.FORWARD,
        Verb.HOLD: Direction.SAFE,
        Verb.ABORT: Direction.SAFE,
        Verb.ROLLBACK: Direction.SAFE,
        Verb.RETRY: Direction.NEUTRAL,
        Verb.RESTART: Direction.NEUTRAL,
        Verb.SCALE: Direction.NEUTRAL,
        Verb.SHADOW: Direction.NEUTRAL,
    }
)


def direction_of(verb: Verb, *, lowers_weight: bool = False) -> Direction:
    """Which way the verb moves risk; lowering the canary's weight is safe."""
    if verb is Verb.WEIGHT and lowers_weight:
        return Direction.SAFE
    return _DIRECTIONS[verb]


def is_production(environment: str) -> bool:
    return environment.strip().lower() in PRODUCTION


def level_of(
    verb: Verb,
    direction: Direction,
    *,
    production: bool,
    full: bool = False,
    harmful: bool = False,
    owned: bool = False,
    floor: Level = Level.READ,
) -> Level:
    """How hard confirming is. Rolling back is never harder than promoting.

    `production`: whether users live there. `full`: all traffic moves at once. `harmful`: the judge or a guard says that
    the canary does harm, so that going on with it wants more. `owned`: another tool keeps the target as it has it elsewhere,
    and may revert what is written here. `floor` is what configuration asks for at least; it cannot loosen, and never
    hardens a safe move beyond PLAN, so that an emergency needs no ticket.
    """
    if verb is Verb.HOLD:
        level = Level.KEY
    elif direction is Direction.FORWARD and (harmful or owned or (production and (full or verb is Verb.SWITCH))):
        level = Level.NAME
    else:
        level = Level.PLAN
    if direction is Direction.SAFE:
        return max(level, min(floor, Level.PLAN))
    return max(level, floor)
