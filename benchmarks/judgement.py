"""Measure the judge against its goals on simulated traffic: `python -m benchmarks.judgement --runs 100`.

Prints one line per cell: false harm and false watch where nothing is wrong, and minutes to harm where something is.
Simulated days are slow: 1,000 runs of all cells take hours; `--jobs` spreads them over processes.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from tests.unit.judgement_simulator import LEVELS, Traffic, simulate

from mlrelease_tui.domain.verdict import VerdictKind
from mlrelease_tui.judgement.judge import observe, start, verdict
from mlrelease_tui.judgement.sample_size import eta_from_start_s, needed_for_harm
from mlrelease_tui.judgement.settings import JudgeSettings

SHARES = ((0.5, 0.5), (5.0, 0.1), (50.0, 0.1), (500.0, 0.1), (500.0, 0.01))
BLOCKS = {"long": 180.0}


@dataclass(frozen=True)
class Outcome:
    """Minutes until each kind was first said, and the dispersion of errors and of latency at the end or after 1 h."""

    first: dict[VerdictKind, float]
    phi: tuple[float, float]


@dataclass(frozen=True)
class Harm:
    """A case with harm and its goals: median, 90 % point, and most missed in an hour (minutes, minutes, share)."""

    name: str
    rate: float
    share: float
    errors: float = 0.0
    slow: float = 0.0
    per_hour: float = 0.0
    median: float = math.inf
    p90: float = math.inf
    missed: float = 1.0

    def at(self, seconds: float) -> float:
        return self.errors + self.per_hour * seconds / 3_600.0

    def slow_at(self, seconds: float) -> float:
        return self.slow


HARMS = (
    Harm("5/s +1", 5, 0.1, 0.01),
    Harm("5/s +5", 5, 0.1, 0.05, median=20, p90=32),
    Harm("50/s +0.2", 50, 0.1, 0.002, median=90, p90=170),
    Harm("50/s +0.5", 50, 0.1, 0.005, median=30, p90=50, missed=0.05),
    Harm("50/s +1", 50, 0.1, 0.01, median=17, p90=28, missed=0.05),
    Harm("50/s +5", 50, 0.1, 0.05, median=12, p90=13, missed=0.05),
    Harm("500/s +0.2", 500, 0.1, 0.002),
    Harm("50/s slow +0.4", 50, 0.1, slow=0.004),
    Harm("50/s ramp 1/h", 50, 0.1, per_hour=0.01, median=42, p90=55),
)


def run(seed: int, traffic: Traffic, hours: float, block_s: float, until: VerdictKind | None) -> Outcome:
    state = start("r1", JudgeSettings(block_s=block_s))
    first: dict[VerdictKind, float] = {}
    phi = (0.0, 0.0)
    for scrape in simulate(traffic, hours, seed):
        state = observe(state, scrape)
        first.setdefault(state.kind, scrape.at / 60.0)
        if scrape.at <= 3_600.0:
            phi = (state.errors.dispersion.phi, state.latency.dispersion.phi)
        if until in first:
            break
    return Outcome(first, phi)


def quantile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def share_of(outcomes: list[Outcome], kind: VerdictKind, within: float = math.inf) -> float:
    times = [outcome.first[kind] for outcome in outcomes if kind in outcome.first]
    return sum(at <= within for at in times) / len(outcomes)


def same_on_both_sides(pool: ProcessPoolExecutor, args: argparse.Namespace) -> None:
    print(f"\nA/A, {args.hours:g} h, {args.runs} runs, share of runs that ever say it, %")
    print("goals: harm 1 (long 1.5), watch 1.5 at calm and moderate, 6 at harsh, better 0.5")
    print(
        f"{'level':<10}{'rate/s':>8}{'share':>7}{'harm':>8}{'watch':>8}{'better':>8}{'no evidence: %':>16}{'median min':>12}"
    )
    for name in args.levels:
        for rate, share in SHARES:
            job = partial(
                run,
                traffic=Traffic(rate, share, LEVELS[name]),
                hours=args.hours,
                block_s=BLOCKS.get(name, 60.0),
                until=None,
            )
            outcomes = list(pool.map(job, range(args.seed, args.seed + args.runs), chunksize=4))
            quiet = [o.first.get(VerdictKind.NO_EVIDENCE_OF_HARM, math.inf) for o in outcomes]
            shares = [
                100 * share_of(outcomes, kind) for kind in (VerdictKind.HARM, VerdictKind.WATCH, VerdictKind.BETTER)
            ]
            print(
                f"{name:<10}{rate:>8g}{share:>7g}"
                + "".join(f"{value:>8.1f}" for value in shares)
                + f"{100 * share_of(outcomes, VerdictKind.NO_EVIDENCE_OF_HARM):>16.1f}{statistics.median(quiet):>12.0f}",
                flush=True,
            )


def expected(case: Harm, outcomes: list[Outcome]) -> float:
    """Minutes that the forecast formula gives for this harm with the dispersion that was seen."""
    settings = JudgeSettings()
    which, base, harm = (1, 0.004, case.slow) if case.slow else (0, 0.001, case.errors)
    phi = statistics.median(outcome.phi[which] for outcome in outcomes)
    needed = needed_for_harm(base, 1.0 + harm / base, case.share, phi, settings) if harm else None
    eta = None if needed is None else eta_from_start_s(needed, case.rate * case.share, settings)
    return math.nan if eta is None else eta / 60.0


def harmed(pool: ProcessPoolExecutor, args: argparse.Namespace) -> None:
    print(f"\nHarm at level moderate, base 0.1 %, {args.runs} runs, minutes from the canary's start (goal)")
    print(f"{'case':<16}{'median':>14}{'p90':>14}{'missed 1 h %':>16}{'watch':>8}{'shown eta':>11}{'ratio':>7}")
    for case in HARMS:
        traffic = Traffic(case.rate, case.share, LEVELS["moderate"], error_harm=case.at, slow_harm=case.slow_at)
        job = partial(run, traffic=traffic, hours=6.0, block_s=60.0, until=VerdictKind.HARM)
        outcomes = list(pool.map(job, range(args.seed, args.seed + args.runs), chunksize=4))
        times = [outcome.first.get(VerdictKind.HARM, math.inf) for outcome in outcomes]
        watch = statistics.median(
            min(o.first.get(VerdictKind.WATCH, math.inf), o.first.get(VerdictKind.HARM, math.inf)) for o in outcomes
        )
        eta = expected(case, outcomes)
        median = statistics.median(times)
        missed = 1.0 - share_of(outcomes, VerdictKind.HARM, within=60.0)
        print(
            f"{case.name:<16}{median:>7.0f} ({case.median:>4.0f}){quantile(times, 0.9):>7.0f} ({case.p90:>4.0f})"
            f"{100 * missed:>9.1f} ({100 * case.missed:>3.0f}){watch:>8.0f}{eta:>11.0f}{median / eta:>7.2f}",
            flush=True,
        )


def evidence_over(
    seed: int, traffic: Traffic, hours: float, thresholds: tuple[float, float] | None
) -> tuple[float, float, float]:
    """Largest log evidence on errors and on latency, and the minute at which either passed its threshold."""
    state = start("r1")
    errors = latency = -math.inf
    for scrape in simulate(traffic, hours, seed):
        state = observe(state, scrape)
        errors, latency = max(errors, state.errors.log_e), max(latency, state.latency.log_e)
        if thresholds and (errors >= thresholds[0] or latency >= thresholds[1]):
            return errors, latency, scrape.at / 60.0
    return errors, latency, math.inf


def at_equal_false_alarm(pool: ProcessPoolExecutor, args: argparse.Namespace) -> None:
    """Thresholds moved until equal variants at level harsh, all cells pooled, alarm in 0.5 % of days per metric."""
    errors: list[float] = []
    latency: list[float] = []
    seeds = range(args.seed, args.seed + args.runs)
    for rate, share in SHARES:
        same = partial(
            evidence_over,
            traffic=Traffic(rate, share, LEVELS["harsh"]),
            hours=args.hours,
            thresholds=None,
        )
        for on_errors, on_latency, _ in pool.map(same, seeds, chunksize=4):
            errors.append(on_errors)
            latency.append(on_latency)
    thresholds = quantile(errors, 0.995), quantile(latency, 0.995)
    traffic = Traffic(50.0, 0.1, LEVELS["moderate"], error_harm=Harm("", 50.0, 0.1, 0.005).at)
    harm = partial(evidence_over, traffic=traffic, hours=6.0, thresholds=thresholds)
    times = [at for _, _, at in pool.map(harm, seeds, chunksize=4)]
    print(
        f"\nAt 0.5 % false alarms per metric and day, level harsh ({len(errors)} days): e thresholds"
        f" {math.exp(thresholds[0]):.0f} (errors), {math.exp(thresholds[1]):.0f} (latency)\n"
        f"50/s +0.5: median {statistics.median(times):.0f} minutes (goal 22), p90 {quantile(times, 0.9):.0f}",
        flush=True,
    )


def improved(pool: ProcessPoolExecutor, args: argparse.Namespace) -> None:
    print(f"\nErrors down by 70 % from 1 %, level moderate, {args.runs} runs, minutes until better is said")
    for rate in (5.0, 50.0, 500.0):
        traffic = Traffic(rate, 0.1, LEVELS["moderate"], error=0.01, better=0.3)
        job = partial(run, traffic=traffic, hours=12.0, block_s=60.0, until=VerdictKind.BETTER)
        outcomes = list(pool.map(job, range(args.seed, args.seed + args.runs), chunksize=4))
        times = [outcome.first.get(VerdictKind.BETTER, math.inf) for outcome in outcomes]
        print(f"{rate:g}/s: median {statistics.median(times):.0f}, p90 {quantile(times, 0.9):.0f}", flush=True)


def cost() -> None:
    """CPU per update and question, as the mean over a day and for the updates that close a block."""
    for rate in (5.0, 500.0):
        scrapes = list(simulate(Traffic(rate, 0.1, LEVELS["harsh"]), 6.0, 1))
        state, slowest, began = start("r1"), [], time.process_time()
        for scrape in scrapes:
            state = observe(state, scrape)
        mean = (time.process_time() - began) / len(scrapes) / 2
        state = start("r1")
        for scrape in scrapes:
            before = time.perf_counter()
            state = observe(state, scrape)
            slowest.append((time.perf_counter() - before) / 2)
        print(
            f"CPU per update and question, {rate:g}/s: mean {mean * 1e6:.1f} us,"
            f" median {statistics.median(slowest) * 1e6:.1f} us, p90 {quantile(slowest, 0.9) * 1e6:.1f} us (goal 50)"
        )
        before = time.perf_counter()
        for _ in range(1_000):
            verdict(state)
        print(f"verdict: {(time.perf_counter() - before) * 1e3:.1f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=910_000, help="first seed; each run takes the next")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--levels", nargs="*", default=list(LEVELS), choices=list(LEVELS))
    parser.add_argument("--only", choices=("cost", "harm", "same", "equal"))
    args = parser.parse_args()
    with ProcessPoolExecutor(args.jobs) as pool:
        if args.only in (None, "cost"):
            cost()
        if args.only in (None, "harm"):
            harmed(pool, args)
            improved(pool, args)
        if args.only in (None, "same"):
            same_on_both_sides(pool, args)
        if args.only in (None, "equal"):
            at_equal_false_alarm(pool, args)


if __name__ == "__main__":
    main()
