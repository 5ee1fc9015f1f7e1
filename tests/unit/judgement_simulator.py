"""Traffic of a stable and a canary variant with the nuisances of real services, seeded.

Diurnal traffic (±50 %) and error share (±40 %), shared noise and outages, error bursts per pod (the canary is one pod,
stable is `(1 - share) / share` pods), clumped errors, autocorrelated latency, a warm-up, counter restarts and missing
scrapes. Every multiplier has mean 1, so that with no harm both variants have the same rate in the long run.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mlrelease_tui.judgement.judge import Counts, Scrape

SCRAPE_S = 15.0
DAY_S = 86_400.0


@dataclass(frozen=True)
class Level:
    """Nuisance of one kind: bursts per pod (length, factor, interval), errors per clump, latency noise."""

    burst_s: float = 0.0
    burst_factor: float = 1.0
    burst_every_s: float = 7_200.0
    clump: float = 1.0
    latency_sd: float = 0.0
    latency_tau_s: float = 180.0
    shared_sd: float = 0.0
    outage_every_s: float = math.inf
    missing: float = 0.0
    restart_every_s: float = math.inf


LEVELS = {
    "calm": Level(),
    "moderate": Level(60.0, 8.0, 7_200.0, 1.5, 0.25, 180.0, 0.3, 43_200.0, 0.005, 28_800.0),
    "harsh": Level(120.0, 15.0, 3_600.0, 3.0, 0.5, 300.0, 0.5, 21_600.0, 0.01, 14_400.0),
    "clumpy": Level(30.0, 20.0, 7_200.0, 8.0, 0.25, 180.0, 0.3, 43_200.0, 0.005, 28_800.0),
    "long": Level(300.0, 10.0, 7_200.0, 1.5, 0.4, 900.0, 0.3, 43_200.0, 0.005, 28_800.0),
}

OUTAGE_S, OUTAGE_FACTOR = 120.0, 20.0


def no_harm(at: float) -> float:
    return 0.0


def steady(points: float) -> Callable[[float], float]:
    """Harm of `points` (0.01 is one percentage point) from the start."""
    return lambda at: points


def ramp(points_per_hour: float) -> Callable[[float], float]:
    return lambda at: points_per_hour * at / 3_600.0


@dataclass(frozen=True)
class Traffic:
    """`rate`: requests per second of both together. `share`: the canary's part. `better`: factor on canary errors."""

    rate: float
    share: float
    level: Level
    error: float = 0.001
    slow: float = 0.004
    error_harm: Callable[[float], float] = no_harm
    slow_harm: Callable[[float], float] = no_harm
    better: float = 1.0
    warm_up: bool = True


@dataclass
class _Bursts:
    """Bursts of `pods` pods together: the share of pods that burst now, as a factor with mean 1."""

    random: random.Random
    level: Level
    pods: float
    ends: list[float] = field(default_factory=list)

    def factor(self, at: float) -> float:
        level = self.level
        if level.burst_s <= 0.0:
            return 1.0
        for _ in range(poisson(self.random, self.pods * SCRAPE_S / level.burst_every_s)):
            self.ends.append(at + level.burst_s)
        self.ends = [end for end in self.ends if end > at]
        busy = level.burst_s / level.burst_every_s
        return (1.0 + (level.burst_factor - 1.0) * len(self.ends) / self.pods) / (
            1.0 + (level.burst_factor - 1.0) * busy
        )


@dataclass
class _Noise:
    """Lognormal first-order autoregressive factor with mean 1."""

    random: random.Random
    sd: float
    tau_s: float
    value: float = math.nan

    def factor(self) -> float:
        if self.sd <= 0.0:
            return 1.0
        if math.isnan(self.value):
            self.value = self.random.gauss(0.0, self.sd)
        keep = math.exp(-SCRAPE_S / self.tau_s)
        self.value = keep * self.value + self.random.gauss(0.0, self.sd * math.sqrt(1.0 - keep * keep))
        return math.exp(self.value - 0.5 * self.sd * self.sd)


def poisson(source: random.Random, mean: float) -> int:
    if mean <= 0.0:
        return 0
    if mean > 40.0:
        return max(0, round(source.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), source.random(), 0
    while product > limit:
        product *= source.random()
        count += 1
    return count


def clumped(source: random.Random, mean: float, clump: float) -> int:
    """Errors that come in clumps of 1 + Poisson(clump - 1)."""
    events = poisson(source, mean / clump)
    return events + (poisson(source, events * (clump - 1.0)) if clump > 1.0 and events else 0)


def add(counts: Counts | None, requests: int, errors: int, slow: int) -> Counts:
    if counts is None:
        return Counts(requests, errors, slow)
    return Counts(counts.requests + requests, counts.errors + errors, (counts.slow or 0) + slow)


def simulate(traffic: Traffic, hours: float, seed: int) -> Iterator[Scrape]:
    """One run: a scrape every 15 s from second 0, at which the canary has had no request."""
    source, level, share = random.Random(seed), traffic.level, traffic.share
    pods = (1.0 - share) / share
    canary_bursts, stable_bursts = _Bursts(source, level, 1.0), _Bursts(source, level, pods)
    shared = _Noise(source, level.shared_sd, 600.0)
    canary_slow = _Noise(source, level.latency_sd, level.latency_tau_s)
    stable_slow = _Noise(source, level.latency_sd / math.sqrt(pods), level.latency_tau_s)
    phase, outage_until = source.uniform(0.0, 2.0 * math.pi), -1.0
    outage_mean = 1.0 + (OUTAGE_FACTOR - 1.0) * OUTAGE_S / level.outage_every_s
    held_stable: Counts | None = None
    held_canary: Counts | None = None
    yield Scrape(0.0, Counts(0, 0, 0), Counts(0, 0, 0))
    for tick in range(1, int(hours * 3_600.0 / SCRAPE_S) + 1):
        at = tick * SCRAPE_S
        day = math.sin(2.0 * math.pi * at / DAY_S + phase)
        expected = traffic.rate * SCRAPE_S * (1.0 + 0.5 * day)
        if source.random() < SCRAPE_S / level.outage_every_s:
            outage_until = at + OUTAGE_S
        common = (1.0 + 0.4 * day) * shared.factor()
        outage = (OUTAGE_FACTOR if at < outage_until else 1.0) / outage_mean
        warm_errors = 1.0 + 4.0 * math.exp(-at / 60.0) if traffic.warm_up else 1.0
        warm_slow = 1.0 + 9.0 * math.exp(-at / 90.0) if traffic.warm_up else 1.0

        stable_n, canary_n = poisson(source, expected * (1.0 - share)), poisson(source, expected * share)
        error = traffic.error * common * outage
        stable_p = min(1.0, error * stable_bursts.factor(at))
        canary_p = min(1.0, (error * canary_bursts.factor(at) * traffic.better + traffic.error_harm(at)) * warm_errors)
        slow = traffic.slow * common
        stable_s = min(1.0, slow * stable_slow.factor())
        canary_s = min(1.0, (slow * canary_slow.factor() + traffic.slow_harm(at)) * warm_slow)

        stable = (stable_n, stable_p, stable_s)
        canary = (canary_n, canary_p, canary_s)
        held_stable = add(held_stable, *_draw(source, *stable, level.clump))
        held_canary = add(held_canary, *_draw(source, *canary, level.clump))
        if source.random() < SCRAPE_S / level.restart_every_s:
            held_canary = Counts(0, 0, 0)
        seen_stable = held_stable if source.random() >= level.missing else None
        seen_canary = held_canary if source.random() >= level.missing else None
        held_stable = None if seen_stable else held_stable
        held_canary = None if seen_canary else held_canary
        yield Scrape(at, seen_stable, seen_canary)


def _draw(source: random.Random, n: int, error: float, slow: float, clump: float) -> tuple[int, int, int]:
    return n, min(n, clumped(source, n * error, clump)), min(n, poisson(source, n * slow))
