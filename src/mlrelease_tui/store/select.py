"""Questions to a state. Pure; `now` is always given."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mlrelease_tui.domain.metrics import Coverage, VariantMetrics, window, with_shares
from mlrelease_tui.domain.refs import EndpointRef, TargetRef
from mlrelease_tui.domain.rollout import Endpoint, Phase, Role
from mlrelease_tui.domain.status import (
    DEFAULT_GUARD,
    EndpointStatus,
    assess,
    known_good_of,
    mismatch_of,
)
from mlrelease_tui.domain.verdict import Verdict, VerdictKind
from mlrelease_tui.store.state import Freshness, Series, State

if TYPE_CHECKING:
    from mlrelease_tui.domain.action import ActionProgress

WINDOW_S: Final = 60.0
"""Seconds of readings behind every number that is shown, unless asked otherwise."""
METRICS_MAX_AGE: Final = timedelta(seconds=30)
"""Metrics older than this are not shown as of now."""
VERDICT_MAX_AGE: Final = timedelta(minutes=3)
"""A canary of which nothing was measured for longer is not said to do well: as long as the judge itself bridges a gap."""

_REASSURING: Final = frozenset({VerdictKind.BETTER, VerdictKind.NO_EVIDENCE_OF_HARM})


def windowed(state: State, ref: EndpointRef, now: datetime, window_s: float = WINDOW_S) -> dict[str, VariantMetrics]:
    """Metrics of each variant over the last `window_s` seconds, with observed shares. Readings that are too old give none.

    Shares are of what users are sent: what a shadow gets besides is no part of it, and has none.
    """
    metrics: dict[str, VariantMetrics] = {}
    series = state.series.get(ref)
    if not series:
        return metrics
    for variant, samples in series.items():
        if samples and now - samples[-1].at <= METRICS_MAX_AGE:
            seen = window(samples, window_s)
            if seen is not None:
                metrics[variant] = seen
    endpoint = state.endpoints.get(ref)
    shadows: set[str] = set()
    if endpoint is not None:
        names = {item.name for item in endpoint.variants}
        metrics = {name: item for name, item in metrics.items() if name in names}
        shadows = {item.name for item in endpoint.variants if item.role is Role.SHADOW}
    users = {name: item for name, item in metrics.items() if name not in shadows}
    split_at = state.split_at.get(ref)
    if split_at is None or now - split_at > timedelta(seconds=window_s) + METRICS_MAX_AGE:
        return metrics | with_shares(users)
    # Shares are of the weights that are set now, everything else of the whole window.
    of_split = {name: window(since(series[name], split_at), window_s) for name in users}
    shares = with_shares({name: item or VariantMetrics(name, Coverage.WARMING) for name, item in of_split.items()})
    return metrics | {name: replace(item, observed_share=shares[name].observed_share) for name, item in users.items()}


def since(samples: Series, at: datetime | None) -> Series:
    """The readings that were taken at `at` or later; all where it is None."""
    return samples if at is None else tuple(sample for sample in samples if sample.at >= at)


def history(state: State, ref: EndpointRef, variant: str, *, bucket: int = 2) -> tuple[VariantMetrics, ...]:
    """One variant's readings as successive short windows of `bucket` scrape intervals, oldest first: what charts draw."""
    samples = state.series.get(ref, {}).get(variant, ())
    points: list[VariantMetrics] = []
    for end in range(bucket, len(samples), bucket):
        point = window(samples[end - bucket : end + 1], float("inf"))
        if point is not None:
            points.append(point)
    return tuple(points)


def status_of(state: State, ref: EndpointRef, now: datetime) -> EndpointStatus | None:
    """Everything known of one endpoint, judged, and when it was last seen; None where it is not known."""
    endpoint = state.seen(ref)
    return judged(state, endpoint, now) if endpoint is not None else None


def judged(state: State, endpoint: Endpoint, now: datetime) -> EndpointStatus:
    """Everything known of `endpoint`, which is one of the state's."""
    ref = endpoint.ref
    binding = state.bindings.get(ref)
    model_ref = endpoint.model or (binding.model if binding else None)
    model = state.models.get(model_ref) if model_ref else None
    alias = endpoint.alias or (binding.alias if binding else "")
    alias_version = model.aliases.get(alias, "") if model and alias else ""
    guard = binding.guard if binding and binding.guard else DEFAULT_GUARD
    metrics = windowed(state, ref, now)
    verdict = _verdict(state, ref, now)
    mismatch = mismatch_of(endpoint, alias, alias_version)
    stale_since = stale_from(state, ref.connection, endpoint)
    severity, reasons = assess(endpoint, metrics, verdict, guard, mismatch, stale_since)
    return EndpointStatus(
        endpoint,
        severity,
        reasons,
        metrics,
        verdict,
        model,
        alias,
        alias_version,
        mismatch,
        known_good_of(endpoint),
        stale_since,
        guard,
    )


def _verdict(state: State, ref: EndpointRef, now: datetime) -> Verdict | None:
    """What the judge says. Where nothing is measured any more it hears of nothing, and says so no more than of anything else: what
    it said last stands as an alarm, not as a reassurance."""
    verdict = state.verdicts.get(ref)
    if verdict is None or verdict.kind not in _REASSURING:
        return verdict
    newest = max((samples[-1].at for samples in state.series.get(ref, {}).values() if samples), default=now)
    if now - newest <= VERDICT_MAX_AGE:
        return verdict
    told = f"nothing was measured since {newest:%H:%M:%S}Z; older evidence is not shown as current"
    return Verdict(VerdictKind.NOT_ENOUGH_DATA, told, verdict.n, since=verdict.since)


def stale_from(state: State, connection: str, endpoint: Endpoint) -> datetime | None:
    """Since when an endpoint of this connection could not be read; None while it can."""
    freshness = state.freshness.get(connection, Freshness()).of("endpoints")
    if freshness.failing_since is not None:
        return freshness.read_at or endpoint.observed_at
    return endpoint.observed_at if connection in state.from_cache else None


def fleet(state: State, now: datetime) -> tuple[EndpointStatus, ...]:
    """All endpoints, worst first, then by reference. Judges each of them: `store/judge.py` keeps what it judged before."""
    return tuple(
        sorted(
            (status for ref in state.endpoints if (status := status_of(state, ref, now)) is not None),
            key=lambda status: (status.severity.rank, status.ref),
        )
    )


def action_on(state: State, ref: TargetRef) -> ActionProgress | None:
    """The action under way on this target, None where there is none."""
    if not state.actions:
        return None
    from mlrelease_tui.domain.action import Stage

    for action in state.actions.values():
        if action.stage is not Stage.ENDED and action.plan.target == ref:
            return action
    return None


def last_action_on(state: State, ref: TargetRef) -> ActionProgress | None:
    """The newest action of this session on this endpoint, ended or not."""
    found = [action for action in state.actions.values() if action.plan.target == ref]
    return max(found, key=lambda action: action.started_at, default=None)


def waiting(state: State) -> int:
    """How many rollouts wait for a person."""
    return sum(endpoint.rollout.phase is Phase.WAITING for endpoint in state.endpoints.values())
