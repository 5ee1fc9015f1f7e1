"""Numbers and versions in few characters. What is not known is "-", never 0; old values carry "~"."""

from __future__ import annotations

import math

from mlrelease_tui.domain.metrics import Coverage, VariantMetrics
from mlrelease_tui.domain.rollout import Endpoint
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
    return f"v{text}" if text[0].isdigit() else text


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


def users_feel(metrics: dict[str, VariantMetrics] | None) -> tuple[float | None, float | None, float | None]:
    """Worst error ratio, worst p99 (seconds) among the variants that are measured, and the rate of all; None where unknown."""
    measured = [item for item in (metrics or {}).values() if item.coverage in {Coverage.OK, Coverage.NO_TRAFFIC}]
    ratios = [item.error_ratio for item in measured if item.error_ratio is not None]
    slow = [item.p99_s for item in measured if item.p99_s is not None]
    rates = [item.rate for item in measured if item.rate is not None]
    return max(ratios, default=None), max(slow, default=None), sum(rates) if rates else None
