"""One row's truth: alias → version → running → observed share, what users feel, and how bad it is.

`assess` is the one place that decides what burns; the fleet, `status` and its exit code show its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.metrics import Coverage, VariantMetrics
from mlrelease_tui.domain.models import Model
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.rollout import Endpoint, Phase, Role, Verb, registered, spoken
from mlrelease_tui.domain.verdict import Verdict, VerdictKind

MIN_REQUESTS: Final = 20
"""Requests in the window below which a guard says nothing: one failed request of three is no rate."""


class Severity(StrEnum):
    """Worst first. WAIT: a rollout waits for a person. STALE: what is shown is old. UNKNOWN: nothing was ever read."""

    CRIT = "crit"
    WARN = "warn"
    WAIT = "wait"
    HOLD = "hold"
    STALE = "stale"
    UNKNOWN = "unknown"
    OK = "ok"

    @property
    def rank(self) -> int:
        """0 is worst."""
        return _RANKS[self]


_RANKS: Final = MappingProxyType({severity: rank for rank, severity in enumerate(Severity)})


@dataclass(frozen=True, slots=True)
class Guard:
    """What users must not feel: error ratio 0–1 and latencies in seconds, None where not guarded.

    Below `min_requests` in the window a guard says nothing.
    """

    error_ratio: float | None = None
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    min_requests: int = MIN_REQUESTS


DEFAULT_GUARD: Final = Guard(error_ratio=0.05)


@dataclass(frozen=True, slots=True)
class Binding:
    """Which model and alias an endpoint serves, as configuration says it, and what guards it."""

    endpoint: EndpointRef
    model: ModelRef
    alias: str = ""
    guard: Guard | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row is not green: how bad, in one sentence, and the variant it is about ("" for the endpoint)."""

    severity: Severity
    text: str
    variant: str = ""


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """Everything that is known of one endpoint at one moment, ready to be shown.

    `metrics` by variant name. `alias_version` is where the registry's alias points, "" where unknown. `mismatch` says what
    does not agree, "" where all agrees. `stale_since` is set when the endpoint could not be read since then.
    `known_good` is the version to which a rollback would return, "" where none is known.
    """

    endpoint: Endpoint
    severity: Severity
    reasons: tuple[Reason, ...] = ()
    metrics: Mapping[str, VariantMetrics] = field(default_factory=lambda: MappingProxyType({}))
    verdict: Verdict | None = None
    model: Model | None = None
    alias: str = ""
    alias_version: str = ""
    mismatch: str = ""
    known_good: str = ""
    stale_since: datetime | None = None
    guard: Guard = DEFAULT_GUARD

    @property
    def ref(self) -> EndpointRef:
        return self.endpoint.ref


def mismatch_of(endpoint: Endpoint, alias: str, alias_version: str) -> str:
    """ "alias champion says v7, endpoint runs v6"; "" where they agree or one of them is unknown.

    While a rollout is in flight both its versions count as agreeing: the alias may lead or follow.
    """
    stable = endpoint.stable
    if not alias or not alias_version or stable is None or not stable.version:
        return ""
    # Another template of a version is that version to the registry.
    if alias_version in {stable.version, registered(stable.version)}:
        return ""
    canary = endpoint.canary
    where = f"endpoint runs {spoken(stable.version)}"
    if canary is not None and canary.version == alias_version:
        where += f", {spoken(canary.version)} only as canary"
    return f"alias {alias} says {spoken(alias_version)}, {where}"


def known_good_of(endpoint: Endpoint) -> str:
    """The version a rollback returns to: the stable one while a rollout is in flight, else what the backend remembers.

    Where the last write was a rollback, it is the version which that one returned to. Done, that version serves and is good, so
    that saying it again goes no further back; left half done, saying it again finishes it.
    """
    stable = endpoint.stable
    if stable is None:
        return endpoint.previous_version
    returning = endpoint.stamp is not None and endpoint.stamp.verb == Verb.ROLLBACK
    if endpoint.rollout.in_flight:
        # The version to return to was started and has no traffic yet; what is on its way out is no previous version any more.
        begun = returning and endpoint.canary is None and endpoint.rollout.to_version == endpoint.previous_version
        return endpoint.previous_version if begun else stable.version
    return stable.version if returning else endpoint.previous_version


def assess(
    endpoint: Endpoint,
    metrics: Mapping[str, VariantMetrics],
    verdict: Verdict | None,
    guard: Guard,
    mismatch: str,
    stale_since: datetime | None,
) -> tuple[Severity, tuple[Reason, ...]]:
    """How bad it is and why, worst reason first. Silence is never green: unknown stays unknown."""
    reasons: list[Reason] = []
    for variant in endpoint.variants:
        if variant.role is not Role.SHADOW:
            reasons += _guard_reasons(variant.name, variant.version, variant.role, metrics.get(variant.name), guard)
        if variant.desired and variant.ready is not None and variant.ready < variant.desired:
            serves = bool(variant.weight_bp) or variant.role is Role.STABLE
            severity = Severity.CRIT if serves and variant.ready == 0 else Severity.WARN
            text = f"{variant.role} {spoken(variant.version)}: {variant.ready} of {variant.desired} ready"
            reasons.append(Reason(severity, f"{text}: {variant.message}" if variant.message else text, variant.name))
    if verdict is not None and verdict.kind is VerdictKind.HARM:
        reasons.append(Reason(Severity.CRIT, verdict.reason))
    elif verdict is not None and verdict.kind is VerdictKind.WATCH:
        reasons.append(Reason(Severity.WARN, verdict.reason))
    reasons += [Reason(Severity.WARN, str(problem)) for problem in endpoint.problems]
    if mismatch:
        reasons.append(Reason(Severity.WARN, mismatch))
    reasons += _phase_reasons(endpoint)
    if stale_since is not None:
        reasons.append(Reason(Severity.STALE, f"not read since {stale_since:%H:%M:%S}Z"))
    reasons.sort(key=lambda reason: reason.severity.rank)
    if reasons:
        worst = reasons[0].severity
        # Old numbers are not an alarm of now: what was critical before the link broke is shown as stale.
        if stale_since is not None and worst not in {Severity.STALE}:
            return Severity.STALE, tuple(reasons)
        return worst, tuple(reasons)
    if not endpoint.variants:
        return Severity.UNKNOWN, (Reason(Severity.UNKNOWN, "no variant is known"),)
    return Severity.OK, ()


def _guard_reasons(name: str, version: str, role: Role, metrics: VariantMetrics | None, guard: Guard) -> list[Reason]:
    if metrics is None or metrics.coverage is not Coverage.OK or (metrics.requests or 0) < guard.min_requests:
        return []
    found: list[Reason] = []
    if guard.error_ratio is not None and metrics.error_ratio is not None and metrics.error_ratio > guard.error_ratio:
        text = f"{role} {spoken(version)}: {metrics.error_ratio:.1%} errors, guard {guard.error_ratio:.1%}"
        found.append(Reason(Severity.CRIT, text, name))
    latencies = (
        ("p50", metrics.p50_s, guard.p50_s),
        ("p95", metrics.p95_s, guard.p95_s),
        ("p99", metrics.p99_s, guard.p99_s),
    )
    for word, seen, limit in latencies:
        if seen is not None and limit is not None and seen > limit:
            text = f"{role} {spoken(version)}: {word} {seen * 1000:.0f} ms, guard {limit * 1000:.0f} ms"
            found.append(Reason(Severity.CRIT, text, name))
    return found


def _phase_reasons(endpoint: Endpoint) -> list[Reason]:
    rollout = endpoint.rollout
    match rollout.phase:
        case Phase.DEGRADED:
            return [Reason(Severity.CRIT, str(rollout.message) or "the backend calls it degraded")]
        case Phase.WAITING:
            return [Reason(Severity.WAIT, str(rollout.message) or "waits for a person")]
        case Phase.HELD:
            hold = rollout.hold
            who = f"held by {hold.by}: {hold.why}" if hold else "held"
            return [Reason(Severity.HOLD, who)]
        case Phase.UNKNOWN:
            return [Reason(Severity.UNKNOWN, "the backend does not say what state it is in")]
        case _:
            return []
