"""Evidence against one claim about canary and stable, as a tempered, capped mixture e-process.

Each block is a concurrent 2x2 table. Under the claim "the canary's rate is R0 times stable's" an error falls on the
canary with probability q = nc·R0/(nc·R0+ns), whatever the common rate does meanwhile: drift cancels. The mixture over
effects is Robbins' (Lindon & Malek, NeurIPS 2022; Howard et al., arXiv 1810.08240).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


class Table(NamedTuple):
    """Requests and bad requests (failed, or slow) of both variants in the same window."""

    stable_n: int = 0
    stable_bad: int = 0
    canary_n: int = 0
    canary_bad: int = 0

    def plus(self, other: Table) -> Table:
        return Table(
            self.stable_n + other.stable_n,
            self.stable_bad + other.stable_bad,
            self.canary_n + other.canary_n,
            self.canary_bad + other.canary_bad,
        )


NO_REQUESTS = Table()


class Effects(NamedTuple):
    """Rate ratios relative to the null, with their logarithms and, less 1, as the likelihood wants them."""

    ratios: tuple[float, ...]
    logs: tuple[float, ...]

    @classmethod
    def above(cls, ratios: tuple[float, ...]) -> Effects:
        return cls(ratios, tuple(math.log(ratio) for ratio in ratios))

    @classmethod
    def below(cls, ratios: tuple[float, ...]) -> Effects:
        return cls.above(tuple(1.0 / ratio for ratio in ratios))


def canary_share_under(table: Table, ratio: float) -> float:
    """Probability that a bad request is the canary's if its rate is `ratio` times stable's."""
    weighted = table.canary_n * ratio
    total = weighted + table.stable_n
    return weighted / total if total > 0.0 else 0.0


def gains_relative(table: Table, null_ratio: float, effects: Effects) -> list[float] | None:
    """Log likelihood ratio of each effect against the null ratio; `None` where the table says nothing."""
    bad = table.canary_bad + table.stable_bad
    if not bad or not table.canary_n or not table.stable_n:
        return None
    q, canary_bad, log1p = canary_share_under(table, null_ratio), table.canary_bad, math.log1p
    return [
        canary_bad * log - bad * log1p(q * (ratio - 1.0))
        for ratio, log in zip(effects.ratios, effects.logs, strict=True)
    ]


def gains_absolute(table: Table, null_rate: float, effects: Effects) -> list[float] | None:
    """Log likelihood ratio of each effect against "the canary's rate is `null_rate`", without looking at stable."""
    if not table.canary_n:
        return None
    good = table.canary_n - table.canary_bad
    return [
        table.canary_bad * log + good * (math.log1p(-ratio * null_rate) - math.log1p(-null_rate))
        for ratio, log in zip(effects.ratios, effects.logs, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Process:
    """Log evidence so far, `log_e`, as a mixture over effects.

    Per effect: `raw` sums log likelihood ratios, `weights` sums them tempered and capped. A weight is never more than
    its raw sum tempered by today's φ, so that noise which was learned late also discounts what was seen early.
    """

    raw: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    log_e: float = 0.0

    def add(self, gains: list[float] | None, phi: float, cap: float) -> Process:
        """Add one block, which raises `log_e` by no more than `cap` however many errors it holds."""
        if gains is None:
            gains = [0.0] * len(self.raw)
        raw = tuple([a + b for a, b in zip(self.raw, gains, strict=True)]) if self.raw else tuple(gains)
        if not raw:
            return self
        weights = []
        for old, gain, total in zip(self.weights or (0.0,) * len(raw), gains, raw, strict=True):
            tempered = gain / phi
            weight = old + (tempered if tempered < cap else cap)
            most = total / phi
            weights.append(weight if weight < most or most < 0.0 else most)
        top = max(weights)
        exp = math.exp
        mean = sum([exp(weight - top) for weight in weights]) / len(weights)
        return Process(raw, tuple(weights), top + math.log(mean))


NO_EVIDENCE = Process()
