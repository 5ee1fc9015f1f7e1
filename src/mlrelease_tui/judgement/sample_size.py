"""How many canary requests a verdict needs, and when they will have come.

The expected evidence per request is the Kullback-Leibler distance between where errors fall under the harm and under
the null; the rest is the price of continuous watching (1/α), of the mixture and of dispersion φ. The 90 % point of the
real waiting time is about 1.8 times its median, so show x0.8 to x2.
"""

from __future__ import annotations

import math

from mlrelease_tui.judgement.settings import JudgeSettings

BLOCKS_AT_LEAST = 7


def relative_harm_of_interest(base_rate: float, settings: JudgeSettings) -> float:
    """Smallest rate ratio worth finding: the larger of x2 and +0.5 points by default. `base_rate` in 0–1, > 0."""
    return max(settings.interest_ratio, 1.0 + settings.interest_points / base_rate)


def needed_for_harm(
    base_rate: float, ratio: float, canary_share: float, phi: float, settings: JudgeSettings
) -> int | None:
    """Canary requests until harm of `ratio` is expected to be said; `None` where no number would do.

    `base_rate`: stable's bad requests per request. `canary_share`: the canary's part of all requests. Both in 0–1.
    """
    price = math.log(settings.harm_e) + math.log(len(settings.effects) / (1.0 - settings.severe_weight))
    return _needed(base_rate, settings.margin, ratio, canary_share, phi * price)


def needed_to_rule_out(base_rate: float, canary_share: float, phi: float, settings: JudgeSettings) -> int | None:
    """Canary requests until harm of interest is expected to be ruled out if the canary is as good as stable."""
    price = phi * (math.log(settings.ruled_out_e) + math.log(len(settings.effects)))
    relative = _needed(base_rate, settings.interest_ratio, 1.0, canary_share, price)
    floor = settings.interest_points
    absolute = math.ceil(price / _divergence(base_rate, floor)) if 0.0 <= base_rate < floor else None
    return min((n for n in (relative, absolute) if n is not None), default=None)


def eta_from_start_s(needed: int, canary_rate: float, settings: JudgeSettings) -> float | None:
    """Seconds from the canary's first request to a verdict; `canary_rate` in requests per second."""
    if canary_rate <= 0.0:
        return None
    return settings.warm_up_s + max(BLOCKS_AT_LEAST * settings.block_s, needed / canary_rate)


def _needed(base_rate: float, null_ratio: float, ratio: float, canary_share: float, price: float) -> int | None:
    if not (0.0 < canary_share < 1.0 and base_rate > 0.0):
        return None
    rest = 1.0 - canary_share
    null = null_ratio * canary_share / (null_ratio * canary_share + rest)
    harm = ratio * canary_share / (ratio * canary_share + rest)
    per_request = base_rate * (ratio + rest / canary_share) * _divergence(harm, null)
    needed = price / per_request if per_request > 0.0 else math.inf
    return math.ceil(needed) if needed < 1e15 else None


def _divergence(p: float, q: float) -> float:
    """Kullback-Leibler divergence of Bernoulli(p) from Bernoulli(q), in nats; 0 < q < 1."""
    first = p * math.log(p / q) if p > 0.0 else 0.0
    second = (1.0 - p) * math.log((1.0 - p) / (1.0 - q)) if p < 1.0 else 0.0
    return max(0.0, first + second)
