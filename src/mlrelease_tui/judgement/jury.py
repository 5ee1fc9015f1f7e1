"""One judge for each rollout in flight, fed with the readings of the router as they come.

The evidence belongs to a revision (from → to version of an endpoint): a change of weight, a hold or a look keeps it, a new
canary starts it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from mlrelease_tui.domain.metrics import Coverage, VariantSample, was_reset
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Role
from mlrelease_tui.domain.verdict import Verdict
from mlrelease_tui.judgement.judge import Counts, Judge, Scrape, observe, restart, start, verdict

SLOW_S = 0.25
"""Above this many seconds an answer counts as slow, where no guard says otherwise."""

CLOCKS_APART_S = 5.0
"""By how many seconds a server's clock may be behind ours: its processes look older by that."""


@dataclass(frozen=True, slots=True)
class _Case:
    judge: Judge
    stable: VariantSample | None = None
    canary: VariantSample | None = None


class Jury:
    """Remembers one case for each endpoint. `slow_s` gives an endpoint's latency objective in seconds."""

    def __init__(self, slow_s: Callable[[EndpointRef], float] = lambda _: SLOW_S) -> None:
        self._slow_s = slow_s
        self._cases: dict[EndpointRef, _Case] = {}

    def hear(self, endpoint: Endpoint, samples: Iterable[VariantSample]) -> Verdict | None:
        """Take in one reading of `endpoint`'s variants; the verdict now, None where there is no canary to judge."""
        stable, canary = endpoint.variant(Role.STABLE), endpoint.variant(Role.CANARY)
        if stable is None or canary is None or not endpoint.rollout.in_flight:
            self._cases.pop(endpoint.ref, None)
            return None
        revision = f"{stable.version}>{canary.version}"
        case = self._cases.get(endpoint.ref, _Case(start(revision)))
        judge = restart(case.judge, revision)
        if judge is not case.judge:
            case = _Case(judge)
        by_variant = {sample.variant: sample for sample in samples}
        now_stable, now_canary = by_variant.get(stable.name), by_variant.get(canary.name)
        ticks = [sample.monotonic_s for sample in (now_stable, now_canary) if sample is not None]
        if ticks:
            slow_s = self._slow_s(endpoint.ref)
            counts = [_counts(case.stable, now_stable, slow_s), _counts(case.canary, now_canary, slow_s)]
            if not _alike(now_stable, now_canary, slow_s):
                counts = [item and replace(item, slow=None) for item in counts]
            scrape = Scrape(max(ticks), *counts)
            case = replace(
                case,
                judge=observe(judge, scrape),
                stable=_latest(case.stable, now_stable),
                canary=_latest(case.canary, now_canary),
            )
        self._cases[endpoint.ref] = case
        return verdict(case.judge)


def _usable(sample: VariantSample | None) -> bool:
    return sample is not None and sample.coverage is Coverage.OK and sample.requests is not None


def _latest(before: VariantSample | None, now: VariantSample | None) -> VariantSample | None:
    return now if _usable(now) else before


def _alike(stable: VariantSample | None, canary: VariantSample | None, slow_s: float) -> bool:
    """Whether slow means the same of both: a bucket that ends later holds more, however fast the answers are."""
    bounds = {
        sample.latency.bound_at(slow_s)
        for sample in (stable, canary)
        if sample is not None and sample.latency is not None
    }
    return len(bounds) <= 1


def _counts(before: VariantSample | None, now: VariantSample | None, slow_s: float) -> Counts | None:
    """What came in between two readings, None where that can't be said."""
    if now is None or before is None or not _usable(now):
        return None
    anew = _began_anew(before, now)
    if anew is None:
        return None
    requests = _delta(None if anew else before.requests, now.requests)
    errors = _delta(None if anew else before.errors, now.errors)
    # Errors that are not known are no errors that did not happen.
    if requests is None or errors is None:
        return None
    slow = None
    if now.latency is not None and before.latency is not None:
        # Without a reset, buckets that are others now, or hold less, say nothing of what came in between.
        since = now.latency if anew else now.latency.since(before.latency)
        slow = None if since is None else round(since.above(slow_s))
    return Counts(requests, errors, slow)


def _began_anew(before: VariantSample, now: VariantSample) -> bool | None:
    """Whether the counters began anew between two readings, so that all they hold came since the first of them.

    None where they are of another process that is older than that: nobody knows how much of what they hold came long before.
    """
    if not was_reset(before, now):
        return False
    if now.epoch is None or now.epoch == before.epoch:
        fell = before.requests is not None and now.requests is not None and now.requests < before.requests
        return True if fell else None
    age_s = now.at.timestamp() - now.epoch
    return True if age_s <= now.monotonic_s - before.monotonic_s + CLOCKS_APART_S else None


def _delta(before: float | None, now: float | None) -> int | None:
    return None if now is None else round(now - (before or 0.0))
