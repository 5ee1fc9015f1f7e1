"""One question to the evidence: are the canary's errors (or slow requests) worse, better, or not worse?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache

from mlrelease_tui.domain.verdict import VerdictKind
from mlrelease_tui.judgement.dispersion import Dispersion
from mlrelease_tui.judgement.evidence import (
    NO_EVIDENCE,
    NO_REQUESTS,
    Effects,
    Process,
    Table,
    canary_share_under,
    gains_absolute,
    gains_relative,
)
from mlrelease_tui.judgement.settings import JudgeSettings


@lru_cache(maxsize=8)
def _effects(ratios: tuple[float, ...]) -> tuple[Effects, Effects]:
    return Effects.above(ratios), Effects.below(ratios)


@dataclass(frozen=True, slots=True)
class Question:
    """Evidence on one metric since the canary's revision began; its size does not grow with time.

    `waiting` holds counts of a variant whose counterpart was not scraped yet; `block` is the table that is being filled;
    `seen_total` sums all closed blocks and `total` those after the warm-up.
    """

    measured: bool = False
    waiting: Table = NO_REQUESTS
    block: Table = NO_REQUESTS
    seen_total: Table = NO_REQUESTS
    total: Table = NO_REQUESTS
    dispersion: Dispersion = field(default_factory=Dispersion)
    harm: Process = NO_EVIDENCE
    severe: Process = NO_EVIDENCE
    better: Process = NO_EVIDENCE
    ruled_out: Process = NO_EVIDENCE
    below_floor: Process = NO_EVIDENCE
    log_e: float = 0.0
    harmed: bool = False

    def take(self, table: Table, paired: bool) -> Question:
        """Add one tick. Only when both variants were scraped (`paired`) do waiting counts enter the block."""
        if not paired:
            return replace(self, waiting=self.waiting.plus(table))
        return replace(self, measured=True, block=self.block.plus(self.waiting).plus(table), waiting=NO_REQUESTS)

    def close_block(self, warm: bool, settings: JudgeSettings) -> Question:
        """Weigh the filled block; `warm` says that it lies wholly after the warm-up."""
        table = self.block
        above, below = _effects(settings.effects)
        cap = settings.cap
        seen = self.seen_total.plus(table)
        dispersion, harm, total = self.dispersion, self.harm, self.total
        better, ruled_out, below_floor = self.better, self.ruled_out, self.below_floor
        if warm:
            q = canary_share_under(table, settings.margin)
            score = (1.0 - q) * table.canary_bad - q * table.stable_bad
            variance = (1.0 - q) ** 2 * table.canary_bad + q * q * table.stable_bad
            dispersion = dispersion.add(score, variance, settings)
            phi = dispersion.phi
            harm = harm.add(gains_relative(table, settings.margin, above), phi, cap)
            better = better.add(gains_relative(table, 1.0 / settings.better_margin, below), phi, cap)
            ruled_out = ruled_out.add(gains_relative(table, settings.interest_ratio, below), phi, cap)
            below_floor = below_floor.add(gains_absolute(table, settings.interest_points, below), phi, cap)
            total = total.plus(table)
        severe_null = settings.severe_ratio + settings.severe_points / smoothed_rate(seen.stable_bad, seen.stable_n)
        severe = self.severe.add(gains_relative(table, severe_null, above), dispersion.phi, cap)
        log_e = _log_mix(harm.log_e, severe.log_e, settings.severe_weight)
        return Question(
            measured=self.measured,
            waiting=self.waiting,
            seen_total=seen,
            total=total,
            dispersion=dispersion,
            harm=harm,
            severe=severe,
            better=better,
            ruled_out=ruled_out,
            below_floor=below_floor,
            log_e=log_e,
            harmed=self.harmed or log_e >= math.log(settings.harm_e),
        )

    def kind(self, settings: JudgeSettings) -> VerdictKind:
        """Harm, once said, stands until the next revision: the evidence for it was valid when it was said."""
        if self.harmed:
            return VerdictKind.HARM
        if self.log_e >= math.log(settings.watch_e):
            return VerdictKind.WATCH
        if self.better.log_e >= math.log(settings.better_e):
            return VerdictKind.BETTER
        if max(self.ruled_out.log_e, self.below_floor.log_e) >= math.log(settings.ruled_out_e):
            return VerdictKind.NO_EVIDENCE_OF_HARM
        return VerdictKind.NOT_ENOUGH_DATA


def _log_mix(main: float, severe: float, weight: float) -> float:
    """log((1 - weight)·e^main + weight·e^severe) without overflow."""
    first, second = main + math.log1p(-weight), severe + math.log(weight)
    top = max(first, second)
    return top + math.log(math.exp(first - top) + math.exp(second - top))


def smoothed_rate(bad: int, n: int) -> float:
    """Bad requests per request, never zero: no error yet is not a rate of zero."""
    return (bad + 0.5) / (n + 1.0)
