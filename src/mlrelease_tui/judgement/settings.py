"""The constants of the judge; each was measured in simulation, so change them with `benchmarks/judgement.py` at hand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """How evidence is weighed.

    `block_s`: length of one 2x2 table in seconds; it must outlast the usual burst (60, or 180 where the minute errors
    of stable pods are correlated over 3 minutes). `warm_up_s`: seconds from the canary's first request that only the
    severe process judges. `margin`: harm means worse by more than this ratio. `better_margin`: better means fewer by
    more than this ratio; it is wider because a lone pod between two bursts of its own is quieter than the mean of many.
    `effects`: ratios beyond the margin that the mixture looks for.
    `cap`: the most that one block may add to log E.
    `harm_e`, `better_e`, `ruled_out_e`, `watch_e`: evidence at which each is said; 200 is 0.5 % per metric.
    `severe_*`: the process that also judges the warm-up; its null allows `severe_ratio`·p + `severe_points`.
    `prior_*`: dispersion assumed before any is seen, `prior_phi` + `prior_slope`·V, worth `prior_batches` batches.
    `interest_ratio`, `interest_points`: smallest harm of interest, the larger of the two.
    `stale_blocks`: blocks without counts of both variants after which old evidence is no longer shown as current.
    """

    block_s: float = 60.0
    warm_up_s: float = 300.0
    margin: float = 1.10
    better_margin: float = 1.3
    effects: tuple[float, ...] = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
    cap: float = 1.0
    harm_e: float = 200.0
    better_e: float = 200.0
    ruled_out_e: float = 200.0
    watch_e: float = 20.0
    severe_weight: float = 0.2
    severe_ratio: float = 10.0
    severe_points: float = 0.02
    prior_phi: float = 2.0
    prior_slope: float = 0.1
    prior_batches: float = 4.0
    interest_ratio: float = 2.0
    interest_points: float = 0.005
    stale_blocks: float = 3.0


DEFAULT_SETTINGS = JudgeSettings()
