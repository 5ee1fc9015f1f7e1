"""The judge on simulated traffic; few runs, fixed seeds. `benchmarks/judgement.py` measures the goals with many."""

from __future__ import annotations

import math
import statistics

import pytest
from tests.unit.judgement_simulator import LEVELS, Traffic, no_harm, ramp, simulate, steady

from mlrelease_tui.domain.verdict import VerdictKind
from mlrelease_tui.judgement.judge import observe, start


def first_said(traffic: Traffic, hours: float, seed: int, wanted: VerdictKind) -> float:
    """Minutes from the canary's start until `wanted` is said, infinite if it never is."""
    state = start("r1")
    for scrape in simulate(traffic, hours, seed):
        state = observe(state, scrape)
        if state.kind is wanted:
            return scrape.at / 60.0
    return math.inf


@pytest.mark.parametrize("name", ["calm", "moderate", "harsh", "clumpy"])
def test_two_equal_variants_are_hardly_ever_called_harm(name: str) -> None:
    traffic = Traffic(50.0, 0.1, LEVELS[name])
    false = sum(math.isfinite(first_said(traffic, 3.0, seed, VerdictKind.HARM)) for seed in range(8))
    assert false == 0


def test_plus_five_points_is_found_within_the_goal() -> None:
    traffic = Traffic(50.0, 0.1, LEVELS["moderate"], error_harm=steady(0.05))
    minutes = [first_said(traffic, 1.0, seed, VerdictKind.HARM) for seed in range(15)]
    assert statistics.median(minutes) <= 12.0
    assert sorted(minutes)[13] <= 13.0


def test_plus_five_points_is_found_on_a_service_with_little_traffic() -> None:
    traffic = Traffic(5.0, 0.1, LEVELS["moderate"], error_harm=steady(0.05))
    minutes = [first_said(traffic, 1.0, seed, VerdictKind.HARM) for seed in range(30)]
    assert statistics.median(minutes) <= 20.0


def test_plus_one_point_is_found_within_the_goal() -> None:
    traffic = Traffic(50.0, 0.1, LEVELS["moderate"], error_harm=steady(0.01))
    minutes = [first_said(traffic, 1.0, seed, VerdictKind.HARM) for seed in range(30)]
    assert statistics.median(minutes) <= 17.0


def test_growing_harm_is_found_although_dispersion_is_learned_meanwhile() -> None:
    traffic = Traffic(50.0, 0.1, LEVELS["moderate"], error_harm=ramp(0.01))
    minutes = [first_said(traffic, 2.0, seed, VerdictKind.HARM) for seed in range(20)]
    assert statistics.median(minutes) <= 48.0


def test_lost_scrapes_neither_hide_harm_nor_invent_it() -> None:
    level = LEVELS["moderate"]
    lossy = type(level)(**{**vars(level), "missing": 0.25})
    harmed = Traffic(50.0, 0.1, lossy, error_harm=steady(0.02))
    equal = Traffic(50.0, 0.1, lossy, error_harm=no_harm)
    assert all(first_said(harmed, 1.0, seed, VerdictKind.HARM) <= 30.0 for seed in range(6))
    assert not any(math.isfinite(first_said(equal, 2.0, seed, VerdictKind.HARM)) for seed in range(6))


def test_counters_lost_in_restarts_do_not_invent_harm() -> None:
    level = LEVELS["moderate"]
    restless = type(level)(**{**vars(level), "restart_every_s": 300.0})
    traffic = Traffic(50.0, 0.1, restless)
    assert not any(math.isfinite(first_said(traffic, 2.0, seed, VerdictKind.HARM)) for seed in range(6))


def test_an_improvement_is_found_and_called_better_or_harmless_but_never_harm() -> None:
    traffic = Traffic(500.0, 0.1, LEVELS["moderate"], error=0.01, better=0.3)
    assert all(math.isinf(first_said(traffic, 2.0, seed, VerdictKind.HARM)) for seed in range(5))
    assert any(math.isfinite(first_said(traffic, 6.0, seed, VerdictKind.BETTER)) for seed in range(5))
