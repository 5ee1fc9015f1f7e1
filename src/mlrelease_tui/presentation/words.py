"""Numbers and versions in few characters. What is not known is "-", never 0; old values carry "~"."""

from __future__ import annotations

import math

from mlrelease_tui.domain.metrics import Coverage, VariantMetrics
from mlrelease_tui.domain.rollout import Endpoint, spoken
from mlrelease_tui.domain.rollout import Role as VariantRole
from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.presentation.glyphs import Glyphs

UNKNOWN = "-"

_COVERAGE = {
    Coverage.OK: "",
    Coverage.NO_TRAFFIC: "no traffic",
    Coverage.WARMING: "first reading",
    Coverage.RESET: "counters restarted",
    Coverage.NO_TARGET: "metrics unreachable",
    Coverage.NO_SERIES: "no series yet",
}


_UNCOUNTED = frozenset({Coverage.WARMING, Coverage.RESET, Coverage.NO_TARGET})


def coverage(value: Coverage) -> str:
    """Why a number is missing; "" where it is not."""
    return _COVERAGE[value]


def share(value: float | None) -> str:
    """A share 0–1: "25%", "0.5%"."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    percent = value * 100
    return f"{percent:.1f}%" if 0 < percent < 1 else f"{percent:.0f}%"


def weight(weight_bp: int | None) -> str:
    """Basis points: 2500 → "25%"."""
    return UNKNOWN if weight_bp is None else f"{weight_bp / 100:g}%"


def shares_differ(metrics: VariantMetrics | None, weight_bp: int | None) -> bool:
    """Whether the share of traffic that is seen is another than the weight that is set: by more than three points and more
    than chance explains (four standard deviations of a binomial share). Where few requests were seen nothing is said."""
    seen = metrics.observed_share if metrics is not None else None
    if metrics is None or seen is None or weight_bp is None or not math.isfinite(seen):
        return False
    wanted = weight_bp / 10_000
    total = (metrics.requests or 0.0) / seen if seen > 0 else 0.0
    if seen > 0 and total < 100:
        return False
    chance = 4 * math.sqrt(wanted * (1 - wanted) / total) if total else 0.0
    return abs(seen - wanted) > max(0.03, chance)


def canary_share(weight_bp: int | None, metrics: VariantMetrics | None) -> tuple[str, bool]:
    """The canary's weight as it is set ("25%"), or where another share is seen both, set before seen ("25/12%"), and True."""
    told = weight(weight_bp)
    seen = metrics.observed_share if metrics is not None else None
    if metrics is None or seen is None or not shares_differ(metrics, weight_bp):
        return told, False
    both = f"{told.removesuffix('%')}/{share(seen)}"
    return both if len(both) <= 6 else both.removesuffix("%"), True


def errors(ratio: float | None) -> str:
    """An error ratio 0–1 in per cent, without the sign: "4.10"."""
    return UNKNOWN if ratio is None or not math.isfinite(ratio) else f"{ratio * 100:.2f}"


def milliseconds(seconds: float | None) -> str:
    """A latency in ms with three digits at most before the point: 0.812 → "812", 0.0042 → "4.2"."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    value = seconds * 1000
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def rate(per_second: float | None) -> str:
    """Requests per second: "612", "3.4", "12k"."""
    if per_second is None or not math.isfinite(per_second):
        return UNKNOWN
    if per_second >= 10_000:
        return f"{per_second / 1000:.0f}k"
    return f"{per_second:.0f}" if per_second >= 10 else f"{per_second:.1f}"


def version(text: str) -> str:
    """A version as people say it: a bare number gets a "v"; "-" where there is none."""
    if not text:
        return UNKNOWN
    return spoken(text)


def versions(endpoint: Endpoint, glyphs: Glyphs) -> str:
    """What runs: "v41", or "v41→v42" while a rollout is in flight."""
    rollout = endpoint.rollout
    if rollout.in_flight:
        return f"{version(rollout.from_version)}{glyphs.arrow}{version(rollout.to_version)}"
    stable = endpoint.stable or (endpoint.variants[0] if endpoint.variants else None)
    return version(stable.version) if stable else UNKNOWN


def replicas(ready: int | None, desired: int | None) -> str:
    """ "3/4"; "3" where it is not known how many there should be."""
    if ready is None:
        return UNKNOWN
    return f"{ready}/{desired}" if desired is not None else str(ready)


def users_feel(status: EndpointStatus) -> tuple[float | None, float | None, float | None]:
    """Worst error ratio, worst p99 (seconds) among the variants that are measured, and the rate of all; None where unknown.

    A shadow answers nobody: it counts for nothing here. Where a variant that is sent requests is not counted, the rate of the
    others is no rate of all.
    """
    users = [variant for variant in status.endpoint.variants if variant.role is not VariantRole.SHADOW]
    found = [(variant, status.metrics[variant.name]) for variant in users if variant.name in status.metrics]
    measured = [item for _, item in found if item.coverage in {Coverage.OK, Coverage.NO_TRAFFIC}]
    ratios = [item.error_ratio for item in measured if item.error_ratio is not None]
    slow = [item.p99_s for item in measured if item.p99_s is not None]
    rates = [item.rate for item in measured if item.rate is not None]
    whole = not any(variant.weight_bp and item.coverage in _UNCOUNTED for variant, item in found)
    return max(ratios, default=None), max(slow, default=None), sum(rates) if rates and whole else None
