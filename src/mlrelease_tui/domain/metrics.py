"""Counts over time, and what they say: rates, ratios, quantiles. Pure.

Backends count up (Prometheus counters and histograms). A `VariantSample` is one reading of one variant; two readings give a
`Window`. What is not known is None, never 0: no scrape, no traffic, a reset counter and a first reading are told apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mlrelease_tui.domain.refs import EndpointRef


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

    def above(self, bound_s: float) -> float:
        """How many were slower than the first bucket bound at or above `bound_s` (seconds)."""
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if bound >= bound_s or math.isclose(bound, bound_s):
                return self.total - count
        return self.total - (self.counts[-2] if len(self.counts) > 1 else 0.0)


@dataclass(frozen=True, slots=True)
class VariantSample:
    """One reading of one variant's cumulative counters. `errors` are answers that a user would call failed (5xx)."""

    endpoint: EndpointRef
    variant: str
    at: datetime
    monotonic_s: float
    requests: float | None = None
    errors: float | None = None
    latency: Histogram | None = None
    in_flight: float | None = None
    coverage: Coverage = Coverage.OK


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
