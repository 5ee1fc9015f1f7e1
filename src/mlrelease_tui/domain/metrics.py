"""Counts over time, and what they say: rates, ratios, quantiles. Pure.

Backends count up (Prometheus counters and histograms). A `VariantSample` is one reading of one variant; two readings give a
`Window`. What is not known is None, never 0: no scrape, no traffic, a reset counter and a first reading are told apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Final

from mlrelease_tui.domain.refs import EndpointRef

_SLACK_S: Final = 0.25
"""Scrapes do not come on the dot: a reading this much younger than the window still opens it."""


class Coverage(StrEnum):
    """What the readings of a window are worth."""

    OK = "ok"
    NO_TRAFFIC = "no_traffic"
    """Both ends were read and no request came in between."""
    WARMING = "warming"
    """Only one reading so far."""
    RESET = "reset"
    """The counters restarted inside the window: counts are a lower bound, rates are not given."""
    NO_TARGET = "no_target"
    """The source could not be scraped."""
    NO_SERIES = "no_series"
    """The source was scraped and has no series for this variant (yet)."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Cumulative latency counts: `bounds` are upper bounds in seconds, ascending, without +Inf; `counts` is one longer."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]

    def since(self, earlier: Histogram) -> Histogram | None:
        """Counts between two readings; None where buckets differ or any count fell (a reset)."""
        if self.bounds != earlier.bounds:
            return None
        deltas = tuple(now - before for now, before in zip(self.counts, earlier.counts, strict=True))
        return Histogram(self.bounds, deltas) if all(delta >= 0 for delta in deltas) else None

    @property
    def total(self) -> float:
        return self.counts[-1] if self.counts else 0.0

    def quantile(self, q: float) -> float | None:
        """The q-quantile in seconds by linear interpolation inside a bucket, as Prometheus' histogram_quantile does.

        None without counts. In the +Inf bucket the answer is the largest finite bound: a lower bound of the truth.
        """
        total = self.total
        if total <= 0 or not self.bounds:
            return None
        rank = q * total
        index = next((i for i, count in enumerate(self.counts) if count >= rank), len(self.counts) - 1)
        if index >= len(self.bounds):
            return self.bounds[-1]
        lower = self.bounds[index - 1] if index else 0.0
        below = self.counts[index - 1] if index else 0.0
        inside = self.counts[index] - below
        if inside <= 0:
            return self.bounds[index]
        return lower + (self.bounds[index] - lower) * (rank - below) / inside

    def bound_at(self, bound_s: float) -> float | None:
        """The first bucket bound at or above `bound_s` (seconds), else the largest; None where there is none at all."""
        found = (bound for bound in self.bounds if bound >= bound_s or math.isclose(bound, bound_s))
        return next(found, self.bounds[-1] if self.bounds else None)

    def above(self, bound_s: float) -> float:
        """How many were slower than `bound_at(bound_s)`."""
        bound = self.bound_at(bound_s)
        return self.total - (self.counts[self.bounds.index(bound)] if bound is not None else 0.0)


@dataclass(frozen=True, slots=True)
class VariantSample:
    """One reading of one variant's cumulative counters. `errors` are answers that a user would call failed (5xx).

    `epoch` is when the counters began, in seconds since 1970, None where the source does not say: another epoch is a reset,
    even where the new counters have overtaken the old ones.
    """

    endpoint: EndpointRef
    variant: str
    at: datetime
    monotonic_s: float
    requests: float | None = None
    errors: float | None = None
    latency: Histogram | None = None
    in_flight: float | None = None
    coverage: Coverage = Coverage.OK
    epoch: float | None = None


@dataclass(frozen=True, slots=True)
class VariantMetrics:
    """What a window of readings says of one variant. Rates per second, ratios and shares 0–1, latencies in seconds."""

    variant: str
    coverage: Coverage
    window_s: float = 0.0
    requests: float | None = None
    errors: float | None = None
    rate: float | None = None
    error_ratio: float | None = None
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    in_flight: float | None = None
    observed_share: float | None = None
    observed_at: datetime | None = None


def was_reset(earlier: VariantSample, later: VariantSample) -> bool:
    """Whether the counters began anew between two readings: another epoch, or a total that went down."""
    if earlier.epoch != later.epoch:
        return True
    return earlier.requests is not None and later.requests is not None and later.requests < earlier.requests


def window(samples: Sequence[VariantSample], window_s: float) -> VariantMetrics | None:
    """What the last `window_s` seconds of readings say of one variant; None without any reading.

    `samples` are one variant's, oldest first. The window opens at the last reading that is at least `window_s` older than the
    newest one, or at the oldest there is. Failed scrapes inside the window are bridged; one at its end is not.
    """
    if not samples:
        return None
    last = samples[-1]
    good = [sample for sample in samples if sample.coverage is Coverage.OK and sample.requests is not None]
    if last.coverage is not Coverage.OK or last.requests is None:
        uncounted = Coverage.NO_SERIES if last.coverage is Coverage.OK else last.coverage
        return VariantMetrics(last.variant, uncounted, in_flight=last.in_flight, observed_at=last.at)
    first = next(
        (sample for sample in reversed(good) if last.monotonic_s - sample.monotonic_s >= window_s - _SLACK_S), good[0]
    )
    elapsed = last.monotonic_s - first.monotonic_s
    if elapsed <= 0:
        return VariantMetrics(last.variant, Coverage.WARMING, in_flight=last.in_flight, observed_at=last.at)
    inside = good[good.index(first) :]
    if any(was_reset(earlier, later) for earlier, later in pairwise(inside)):
        return VariantMetrics(last.variant, Coverage.RESET, elapsed, in_flight=last.in_flight, observed_at=last.at)
    requests = last.requests - (first.requests or 0.0)
    if requests <= 0:
        return VariantMetrics(
            last.variant,
            Coverage.NO_TRAFFIC,
            elapsed,
            requests=0.0,
            rate=0.0,
            in_flight=last.in_flight,
            observed_at=last.at,
        )
    errors = None
    if last.errors is not None and first.errors is not None and last.errors >= first.errors:
        errors = last.errors - first.errors
    latency = last.latency.since(first.latency) if last.latency is not None and first.latency is not None else None
    return VariantMetrics(
        last.variant,
        Coverage.OK,
        elapsed,
        requests=requests,
        errors=errors,
        rate=requests / elapsed,
        error_ratio=None if errors is None else min(errors / requests, 1.0),
        p50_s=latency.quantile(0.5) if latency else None,
        p95_s=latency.quantile(0.95) if latency else None,
        p99_s=latency.quantile(0.99) if latency else None,
        in_flight=last.in_flight,
        observed_at=last.at,
    )


def with_shares(metrics: Mapping[str, VariantMetrics]) -> dict[str, VariantMetrics]:
    """The same with each variant's observed share of all counted requests.

    A variant for which the router, though scraped, has no counter yet adds nothing to the whole. Where any other variant's
    requests are unknown no share is given: a share of an unknown whole would be a guess.
    """
    countable = {name: item for name, item in metrics.items() if item.coverage is not Coverage.NO_SERIES}
    known = [item.requests for item in countable.values() if item.requests is not None]
    total = sum(known)
    if len(known) != len(countable) or total <= 0:
        return dict(metrics)
    shares = {name: replace(item, observed_share=(item.requests or 0.0) / total) for name, item in countable.items()}
    return {**metrics, **shares}
