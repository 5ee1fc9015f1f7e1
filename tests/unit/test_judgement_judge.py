"""The judge from scrapes to verdicts: gaps, restarts, memory, words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.judgement_simulator import LEVELS, Traffic, simulate, steady

from mlrelease_tui.domain.verdict import Metric, VerdictKind
from mlrelease_tui.judgement.judge import Counts, Judge, Scrape, observe, restart, start, verdict
from mlrelease_tui.judgement.memory import from_dict, to_dict

GREEN = (VerdictKind.BETTER, VerdictKind.NO_EVIDENCE_OF_HARM)


def fed(state: Judge, scrapes: Iterable[Scrape]) -> Judge:
    for scrape in scrapes:
        state = observe(state, scrape)
    return state


def regular(minutes: float, stable: Counts | None, canary: Counts | None, begin: float = 0.0) -> list[Scrape]:
    """The same counts every 15 s; the first tick is empty so that the clock starts."""
    first = [Scrape(begin, Counts(0, 0, 0), Counts(0, 0, 0))]
    return first + [Scrape(begin + 15.0 * tick, stable, canary) for tick in range(1, int(minutes * 4) + 1)]


HEALTHY, FAILING = Counts(100, 0, 0), Counts(100, 20, 0)
STABLE = Counts(900, 1, 3)


def test_no_canary_is_not_judged() -> None:
    state = fed(start(None), regular(30, STABLE, FAILING))
    assert verdict(state).kind is VerdictKind.NOT_JUDGED


def test_before_any_scrape_there_is_not_enough_data() -> None:
    found = verdict(start("r1"))
    assert (found.kind, found.n, found.needed, found.eta_s) == (VerdictKind.NOT_ENOUGH_DATA, 0, None, None)


@pytest.mark.parametrize(
    ("stable", "canary"),
    [
        (None, None),
        (STABLE, None),
        (None, HEALTHY),
        (STABLE, Counts(0, 0, 0)),
        (Counts(0, 0, 0), HEALTHY),
        (Counts(0, 0, 0), Counts(0, 0, 0)),
    ],
    ids=["nothing", "no canary", "no stable", "idle canary", "idle stable", "both idle"],
)
def test_without_anything_to_compare_it_is_never_green(stable: Counts | None, canary: Counts | None) -> None:
    state = start("r1")
    for scrape in regular(10, stable, canary):
        state = observe(state, scrape)
        assert verdict(state).kind is VerdictKind.NOT_ENOUGH_DATA


def test_a_canary_that_fails_much_is_harm_and_says_which_metric_and_since_when() -> None:
    state = fed(start("r1"), regular(15, STABLE, FAILING))
    found = verdict(state)
    assert (found.kind, found.metric) == (VerdictKind.HARM, Metric.ERRORS)
    assert found.since is not None
    assert found.since <= 12 * 60.0
    assert "20 % against 0.111 %" in found.reason


def test_severe_harm_is_said_before_the_warm_up_could_have_been_judged() -> None:
    state, when = start("r1"), math.inf
    for scrape in regular(15, Counts(900, 1, 3), Counts(100, 80, 0)):
        state = observe(state, scrape)
        if state.kind is VerdictKind.HARM:
            when = min(when, scrape.at)
    assert when <= 9 * 60.0


def test_slowness_alone_is_harm() -> None:
    found = verdict(fed(start("r1"), regular(15, STABLE, Counts(100, 0, 30))))
    assert (found.kind, found.metric) == (VerdictKind.HARM, Metric.LATENCY)
    assert "slow requests" in found.reason


def test_harm_stands_after_recovery_and_silence_until_a_new_revision() -> None:
    state = fed(start("r1"), regular(15, STABLE, FAILING))
    state = fed(state, regular(120, STABLE, HEALTHY, begin=900.0))
    state = fed(state, regular(30, None, None, begin=8_100.0))
    assert verdict(state).kind is VerdictKind.HARM
    assert restart(state, "r1") is state
    assert verdict(restart(state, "r2")).kind is VerdictKind.NOT_ENOUGH_DATA


def test_a_change_of_share_keeps_the_evidence() -> None:
    state = fed(start("r1"), regular(20, STABLE, HEALTHY))
    after = fed(state, regular(20, Counts(500, 1, 2), Counts(500, 0, 0), begin=1_200.0))
    assert after.errors.total.canary_n > state.errors.total.canary_n > 0
    assert after.began == state.began


def test_a_clean_canary_is_worded_as_what_was_ruled_out_never_as_safe() -> None:
    found = verdict(fed(start("r1"), regular(240, Counts(9_000, 45, 90), Counts(1_000, 5, 10))))
    assert found.kind is VerdictKind.NO_EVIDENCE_OF_HARM
    assert found.reason == f"no harm >= 2x (errors or slow requests) in {found.n:,} canary requests"
    assert found.n == 4 * 1_000 * (240 - 5)


def test_a_service_that_never_fails_is_bounded_in_points() -> None:
    found = verdict(fed(start("r1"), regular(60, Counts(900), Counts(100))))
    assert found.kind is VerdictKind.NO_EVIDENCE_OF_HARM
    assert found.reason == f"no harm >= +0.5 points (errors) in {found.n:,} canary requests"


def test_each_metric_is_said_to_be_free_only_of_what_was_ruled_out_for_it() -> None:
    found = verdict(fed(start("r1"), regular(120, Counts(9_000, 0, 180), Counts(1_000, 0, 20))))
    assert found.kind is VerdictKind.NO_EVIDENCE_OF_HARM
    assert found.metric is None
    bounds = ">= 2x (slow requests), >= +0.5 points (errors)"
    assert found.reason == f"no harm {bounds} in {found.n:,} canary requests"


def test_while_two_metrics_are_open_the_slower_one_sets_the_number() -> None:
    found = verdict(fed(start("r1"), regular(8, Counts(270, 0, 3), Counts(30, 0, 0))))
    errors = verdict(fed(start("r1"), regular(8, Counts(270, 0), Counts(30, 0))))
    assert found.metric is None
    assert found.needed is not None
    assert errors.needed is not None
    assert found.needed > errors.needed


def test_harm_said_in_the_warm_up_counts_the_requests_it_was_said_on() -> None:
    found = verdict(fed(start("r1"), regular(5, Counts(900, 1), Counts(100, 80))))
    assert found.kind is VerdictKind.WATCH
    assert found.n == 5 * 4 * 100


def test_a_canary_with_far_fewer_errors_is_better() -> None:
    found = verdict(fed(start("r1"), regular(60, Counts(9_000, 180), Counts(1_000, 2))))
    assert (found.kind, found.metric) == (VerdictKind.BETTER, Metric.ERRORS)


def test_one_reassuring_metric_is_not_enough() -> None:
    state = fed(start("r1"), regular(13, Counts(900, 45, 54), Counts(100, 0, 8)))
    assert state.errors.kind(state.settings) is VerdictKind.BETTER
    assert state.latency.kind(state.settings) is VerdictKind.NOT_ENOUGH_DATA
    found = verdict(state)
    assert (found.kind, found.metric) == (VerdictKind.NOT_ENOUGH_DATA, Metric.LATENCY)


def test_while_data_is_short_it_says_how_much_is_needed_and_when() -> None:
    found = verdict(fed(start("r1"), regular(8, Counts(270, 0, 1), Counts(30))))
    assert found.kind is VerdictKind.NOT_ENOUGH_DATA
    assert found.n == 3 * 4 * 30
    assert found.needed is not None
    assert found.needed > found.n
    assert found.eta_s is not None
    assert found.eta_s > 0.0
    assert found.reason == f"{found.n:,} of about {found.needed:,} canary requests needed"


def test_green_fades_when_counts_stop_coming_and_returns_with_them() -> None:
    state = fed(start("r1"), regular(60, Counts(900), Counts(100)))
    assert verdict(state).kind in GREEN
    quiet = fed(state, [Scrape(3_600.0 + 15.0 * tick, Counts(900), None) for tick in range(1, 20)])
    found = verdict(quiet)
    assert found.kind is VerdictKind.NOT_ENOUGH_DATA
    assert found.reason.startswith("no counts of both variants for 285 s")
    back = fed(quiet, [Scrape(3_900.0, Counts(900), Counts(2_000))])
    assert verdict(back).kind in GREEN


def test_counts_of_one_variant_wait_for_the_other_so_that_windows_agree() -> None:
    gap = [Scrape(330.0, Counts(900, 9, 9), None), Scrape(345.0, Counts(900, 9, 9), Counts(200, 2, 2))]
    state = fed(start("r1"), regular(5.25, STABLE, HEALTHY))
    before = state.errors.block
    waiting = observe(state, gap[0])
    assert waiting.errors.block == before
    after = observe(waiting, gap[1])
    assert after.errors.block.stable_n == before.stable_n + 1_800
    assert after.errors.block.canary_n == before.canary_n + 200


def test_a_long_gap_is_one_block_and_cannot_condemn_alone() -> None:
    state = fed(start("r1"), regular(10, STABLE, HEALTHY))
    state = fed(state, [Scrape(600.0 + 15.0 * tick, STABLE, None) for tick in range(1, 120)])
    state = fed(state, [Scrape(2_400.0, STABLE, Counts(12_000, 6_000, 6_000))])
    assert state.errors.log_e <= 1.0
    assert verdict(state).kind is not VerdictKind.HARM


def test_without_a_histogram_errors_are_judged_alone() -> None:
    found = verdict(fed(start("r1"), regular(15, Counts(900, 1), Counts(100, 20))))
    assert (found.kind, found.metric) == (VerdictKind.HARM, Metric.ERRORS)


def test_warm_up_noise_is_not_harm() -> None:
    slow_start = regular(5, STABLE, Counts(100, 1, 3))
    assert verdict(fed(start("r1"), slow_start)).kind is VerdictKind.NOT_ENOUGH_DATA


def test_memory_does_not_grow_with_time() -> None:
    sizes = [len(json.dumps(to_dict(fed(start("r1"), regular(minutes, STABLE, HEALTHY))))) for minutes in (60, 600)]
    assert sizes[1] < 1.1 * sizes[0]


@pytest.mark.parametrize("harm", [0.0, 0.01])
def test_verdicts_after_a_restart_in_the_middle_are_identical(harm: float) -> None:
    traffic = Traffic(50.0, 0.1, LEVELS["harsh"], error_harm=steady(harm))
    straight = resumed = start("r1")
    for tick, scrape in enumerate(simulate(traffic, 1.0, seed=4)):
        straight, resumed = observe(straight, scrape), observe(resumed, scrape)
        if tick % 7 == 0:
            resumed = from_dict(json.loads(json.dumps(to_dict(resumed))))
        assert verdict(resumed) == verdict(straight)
    assert resumed == straight


def test_replay_gives_the_same_state() -> None:
    scrapes = list(simulate(Traffic(50.0, 0.1, LEVELS["harsh"]), 1.0, seed=5))
    assert fed(start("r1"), scrapes) == fed(start("r1"), scrapes)


@pytest.mark.parametrize(
    "damage",
    [
        {"schema": "mlrelease.judge/v0"},
        {"errors": {}},
        {"kind": "green"},
        {"settings": {"effects": [2.0], "unknown": 1}},
    ],
    ids=["other version", "no question", "unknown kind", "unknown setting"],
)
def test_damaged_memory_is_refused_whole(damage: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"judge state|VerdictKind"):
        from_dict({**to_dict(start("r1")), **damage})


any_count = st.one_of(st.integers(-3, 50), st.integers(-(10**30), 10**30))
any_counts = st.none() | st.builds(Counts, any_count, any_count, st.none() | any_count)
any_time = st.floats(allow_nan=True, allow_infinity=True)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.builds(Scrape, any_time | st.floats(0, 3_600), any_counts, any_counts), max_size=40))
def test_nothing_that_a_scrape_can_hold_makes_it_raise(scrapes: list[Scrape]) -> None:
    state = start("r1")
    for scrape in scrapes:
        state = observe(state, scrape)
        found = verdict(state)
        assert found.reason
        assert "safe" not in found.reason
        assert found.n or found.kind not in GREEN
    json.dumps(to_dict(state), allow_nan=False)


zeros = st.none() | st.builds(Counts, st.just(0), st.just(0), st.just(0))


@settings(deadline=None)
@given(st.lists(st.tuples(zeros, zeros), max_size=60))
def test_no_data_is_not_enough_data(pairs: list[tuple[Counts | None, Counts | None]]) -> None:
    state = start("r1")
    for tick, (stable, canary) in enumerate(pairs):
        state = observe(state, Scrape(30.0 * tick, stable, canary))
        assert verdict(state).kind is VerdictKind.NOT_ENOUGH_DATA
