"""What can go wrong with a backend, on demand.

A fault belongs to one operation ("*" for all) and strikes `times` times (None for ever). Before a write it leaves the backend
as it was; the `…_after` kinds apply the write first and then lose the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from mlrelease_tui.errors import (
    Conflict,
    Forbidden,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    TimedOut,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
)


class FaultKind(StrEnum):
    REFUSED = "refused"
    SILENT = "silent"
    SLOW = "slow"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    MALFORMED = "malformed"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    LOST_BEFORE = "lost_before"
    LOST_AFTER = "lost_after"
    IGNORED = "ignored"
    """The write is accepted and changes nothing."""
    CRASH = "crash"
    """The connector itself fails with an error that is none of ours."""
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class Fault:
    """`operation` is a method or write operation; `delay_s` counts for SLOW, and for SILENT until the deadline."""

    kind: FaultKind
    operation: str = "*"
    times: int | None = None
    delay_s: float = 0.0


class Faults:
    """The faults in force, used up as they strike."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self._faults = list(faults)

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()

    def take(self, operation: str) -> Fault | None:
        """The first fault for this operation, counted down."""
        for index, fault in enumerate(self._faults):
            if fault.operation in {"*", operation} and fault.times != 0:
                if fault.times is not None:
                    self._faults[index] = replace(fault, times=fault.times - 1)
                return fault
        return None


async def strike(fault: Fault | None, name: str, timeout_s: float) -> None:
    """Raise what the fault stands for; nothing for those that strike after or instead of a write."""
    if fault is None:
        return
    if fault.kind in {FaultKind.SLOW, FaultKind.SILENT}:
        delay_s = timeout_s if fault.kind is FaultKind.SILENT else fault.delay_s
        await asyncio.sleep(min(delay_s, timeout_s))
        if delay_s >= timeout_s:
            raise TimedOut(f"{name} did not answer within {timeout_s:g} s", hint="it is asked again by itself")
    elif fault.kind is FaultKind.RATE_LIMITED:
        raise RateLimited(f"{name} asks us to slow down", hint="it is asked again later", retry_after_s=fault.delay_s)
    elif fault.kind in _RAISED:
        raise _RAISED[fault.kind](name)


_RAISED: Final[Mapping[FaultKind, Callable[[str], BaseException]]] = MappingProxyType(
    {
        FaultKind.REFUSED: lambda name: Unreachable(f"{name} refuses connections", hint="is the server running?"),
        FaultKind.UNAUTHENTICATED: lambda name: Unauthenticated(
            f"{name} does not accept our credential", hint="`mlrelease connections login`"
        ),
        FaultKind.FORBIDDEN: lambda name: Forbidden(f"{name} forbids this", hint="ask for the right"),
        FaultKind.NOT_FOUND: lambda name: NotFound(f"{name} has no such object", hint="look at what it has"),
        FaultKind.MALFORMED: lambda name: UnexpectedAnswer(
            f"{name} answered something else", hint="is this the right address?"
        ),
        FaultKind.CONFLICT: lambda name: Conflict(f"{name}: someone else wrote first", hint="plan again"),
        FaultKind.REJECTED: lambda name: Rejected(f"{name} rejects this", hint="see its log"),
        FaultKind.LOST_BEFORE: lambda name: OutcomeUnknown(f"{name} closed the connection before it answered"),
        FaultKind.CRASH: lambda _: RuntimeError("a fault of the connector"),
        FaultKind.EXIT: lambda _: SystemExit(3),
    }
)
