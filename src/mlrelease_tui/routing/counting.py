"""What routers count per version, and what two readings of it prove. A reset or a missing reading proves nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class VersionCount:
    """Totals since the router started: requests by users (mirrored copies are not among them), and answers of 5xx."""

    requests: int
    errors: int


@dataclass(frozen=True, slots=True)
class RouterCounts:
    """One reading. `started_at`: the router's start, seconds since 1970, None where it does not say.

    A version that has never had a request is absent: no series is not zero errors.
    """

    by_version: Mapping[str, VersionCount]
    started_at: float | None
    read_at: datetime


@dataclass(frozen=True, slots=True)
class ObservedShare:
    """What happened between two readings: `share` (0-1) of `sample` requests to this route, and its errors."""

    requests: int
    errors: int
    share: float
    sample: int


def shares_between(earlier: RouterCounts, later: RouterCounts) -> Mapping[str, ObservedShare] | None:
    """The observed share of every version, or None where the counters restarted or nothing was asked in between.

    A split by deterministic round robin starts anew at each reload, so a small sample favours the heavier version: show
    `sample` beside the share.
    """
    if was_reset(earlier, later):
        return None
    grown = {}
    for name, count in later.by_version.items():
        before = earlier.by_version.get(name, VersionCount(0, 0))
        grown[name] = VersionCount(count.requests - before.requests, count.errors - before.errors)
    sample = sum(count.requests for count in grown.values())
    if sample == 0:
        return None
    return {n: ObservedShare(c.requests, c.errors, c.requests / sample, sample) for n, c in grown.items()}


def was_reset(earlier: RouterCounts, later: RouterCounts) -> bool:
    """Whether the counters began again between the readings: another start time, or a total that went down."""
    if earlier.started_at != later.started_at:
        return True
    nothing = VersionCount(0, 0)
    return any(later.by_version.get(name, nothing).requests < c.requests for name, c in earlier.by_version.items())
