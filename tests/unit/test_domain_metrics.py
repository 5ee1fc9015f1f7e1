"""Counts over time: what is not known is never zero, and quantiles are Prometheus' own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.unit.release_parts import FRAUD, START

from mlrelease_tui.domain.metrics import (
    Coverage,
    Histogram,
    VariantMetrics,
    VariantSample,
    was_reset,
    window,
    with_shares,
)


def reading(second: float, requests: float | None, errors: float | None = 0.0, **changes: object) -> VariantSample:
    sample = VariantSample(FRAUD, "v3", START + timedelta(seconds=second), second, requests, errors)
    return replace(sample, **changes)  # type: ignore[arg-type]


def failed(second: float, coverage: Coverage) -> VariantSample:
    return reading(second, None, None, coverage=coverage)


def seen(*samples: VariantSample, window_s: float = 60) -> VariantMetrics:
    found = window(samples, window_s)
    assert found is not None
    return found


def nothing_is_claimed(found: VariantMetrics) -> None:
    assert (found.rate, found.error_ratio, found.p50_s, found.p95_s, found.p99_s) == (None,) * 5


# --- windows ----------------------------------------------------------------------------------------------------------------


def test_no_reading_is_no_window() -> None:
    assert window((), 60) is None


def test_one_reading_says_nothing_of_rates() -> None:
    found = seen(reading(0, 100))
    assert found.coverage is Coverage.WARMING
    nothing_is_claimed(found)
    assert found.requests is None


def test_two_readings_give_a_rate() -> None:
    found = seen(reading(0, 100, 1), reading(10, 150, 6))
    assert (found.coverage, found.requests, found.errors) == (Coverage.OK, 50, 5)
    assert (found.rate, found.error_ratio, found.window_s) == (5, 0.1, 10)


def test_the_window_opens_at_the_last_reading_that_is_old_enough() -> None:
    samples = [reading(second, second * 10) for second in range(0, 100, 5)]
    assert seen(*samples, window_s=60).window_s == 60
    assert seen(*samples[:-1], reading(95.1, 951), window_s=60).window_s == pytest.approx(60.1)
    assert seen(*samples, window_s=1000).window_s == 95


def test_a_scrape_that_comes_a_little_early_still_opens_it() -> None:
    assert seen(reading(0.2, 0), reading(30, 10), reading(60, 60), window_s=60).window_s == pytest.approx(59.8)


@pytest.mark.parametrize("coverage", [Coverage.NO_TARGET, Coverage.NO_SERIES])
def test_a_failed_scrape_at_the_end_is_not_bridged(coverage: Coverage) -> None:
    found = seen(reading(0, 100), reading(10, 150), failed(15, coverage))
    assert found.coverage is coverage
    assert found.requests is None
    nothing_is_claimed(found)


def test_a_failed_scrape_inside_is_bridged() -> None:
    found = seen(reading(0, 100), failed(5, Coverage.NO_TARGET), reading(10, 150))
    assert (found.coverage, found.rate) == (Coverage.OK, 5)


def test_after_a_failed_scrape_one_reading_is_warming() -> None:
    assert seen(failed(0, Coverage.NO_TARGET), reading(5, 100)).coverage is Coverage.WARMING


@pytest.mark.parametrize(
    "samples",
    [
        (reading(0, 100), reading(10, 20)),
        (reading(0, 100), reading(5, 10), reading(10, 200)),
        (reading(0, 100, epoch=1.0), reading(10, 200, epoch=2.0)),
        (reading(0, 100), failed(5, Coverage.NO_TARGET), reading(10, 20)),
    ],
    ids=["went down", "went down and overtook", "another epoch", "across a gap"],
)
def test_a_reset_gives_no_rates(samples: tuple[VariantSample, ...]) -> None:
    found = seen(*samples)
    assert found.coverage is Coverage.RESET
    assert found.requests is None
    nothing_is_claimed(found)


def test_a_reset_before_the_window_is_past() -> None:
    samples = (reading(0, 500), reading(10, 5), reading(70, 65), reading(80, 75))
    assert seen(*samples, window_s=60).coverage is Coverage.OK


def test_no_traffic_is_told_apart_from_no_readings() -> None:
    found = seen(reading(0, 100), reading(10, 100))
    assert (found.coverage, found.requests, found.rate) == (Coverage.NO_TRAFFIC, 0, 0)
    assert (found.error_ratio, found.p99_s) == (None, None)


@pytest.mark.parametrize(("before", "now"), [(None, 5.0), (0.0, None), (None, None), (9.0, 3.0)])
def test_errors_that_are_not_known_have_no_ratio(before: float | None, now: float | None) -> None:
    found = seen(reading(0, 100, before), reading(10, 150, now))
    assert (found.coverage, found.errors, found.error_ratio) == (Coverage.OK, None, None)


@given(
    st.lists(
        st.tuples(
            st.floats(0.1, 20),
            st.one_of(st.none(), st.floats(0, 1000)),
            st.sampled_from([Coverage.OK, Coverage.OK, Coverage.NO_TARGET, Coverage.NO_SERIES]),
        ),
        min_size=1,
        max_size=15,
    ),
    st.floats(1, 100),
)
def test_a_number_is_only_given_where_it_was_counted(
    steps: list[tuple[float, float | None, Coverage]], window_s: float
) -> None:
    samples, second = [], 0.0
    for pause, requests, coverage in steps:
        second += pause
        known = requests if coverage is Coverage.OK else None
        samples.append(reading(second, known, known, coverage=coverage))
    found = seen(*samples, window_s=window_s)
    if found.coverage is Coverage.OK:
        assert found.rate is not None
        assert found.rate > 0
        assert found.error_ratio is None or 0 <= found.error_ratio <= 1
    elif found.coverage is not Coverage.NO_TRAFFIC:
        assert found.requests is None
        nothing_is_claimed(found)


def test_was_reset() -> None:
    assert was_reset(reading(0, 5), reading(1, 4))
    assert not was_reset(reading(0, 5), reading(1, 5))
    assert was_reset(reading(0, 5, epoch=1.0), reading(1, 500, epoch=1.5))


# --- shares -----------------------------------------------------------------------------------------------------------------


def counted(name: str, requests: float | None, coverage: Coverage = Coverage.OK) -> VariantMetrics:
    return VariantMetrics(name, coverage, 60, requests)


def shares(*metrics: VariantMetrics) -> list[float | None]:
    return [item.observed_share for item in with_shares({item.variant: item for item in metrics}).values()]


def test_shares_of_a_known_whole() -> None:
    assert shares(counted("a", 90), counted("b", 10)) == [0.9, 0.1]
    assert shares(counted("a", 90), counted("b", 0, Coverage.NO_TRAFFIC)) == [1.0, 0.0]
    assert shares(counted("a", 90), counted("b", None, Coverage.NO_SERIES)) == [1.0, None]


@pytest.mark.parametrize("coverage", [Coverage.RESET, Coverage.NO_TARGET, Coverage.WARMING])
def test_a_share_of_an_unknown_whole_is_not_guessed(coverage: Coverage) -> None:
    assert shares(counted("a", 90), counted("b", None, coverage)) == [None, None]


def test_no_traffic_has_no_shares() -> None:
    assert shares(counted("a", 0, Coverage.NO_TRAFFIC), counted("b", 0, Coverage.NO_TRAFFIC)) == [None, None]
    assert with_shares({}) == {}


# --- histograms -------------------------------------------------------------------------------------------------------------


def prometheus(q: float, bounds: list[float], counts: list[float]) -> float:
    """`bucketQuantile` of Prometheus (promql/quantile.go), for classic histograms with q in (0, 1]."""
    upper = [*bounds, float("inf")]
    rank = q * counts[-1]
    b = next((i for i in range(len(upper) - 1) if counts[i] >= rank), len(upper) - 1)
    if b == len(upper) - 1:
        return upper[-2]
    if b == 0 and upper[0] <= 0:
        return upper[0]
    start, count = 0.0, counts[b]
    if b > 0:
        start = upper[b - 1]
        count -= counts[b - 1]
        rank -= counts[b - 1]
    return start + (upper[b] - start) * (rank / count)


@given(
    st.lists(st.floats(0.001, 100), min_size=1, max_size=12, unique=True).map(sorted),
    st.lists(st.integers(0, 500), min_size=13, max_size=13),
    st.floats(0.001, 1),
)
def test_quantiles_are_those_of_prometheus(bounds: list[float], increments: list[int], q: float) -> None:
    counts, total = [], 0.0
    for increment in increments[: len(bounds) + 1]:
        total += increment
        counts.append(total)
    assume(total > 0)
    found = Histogram(tuple(bounds), tuple(counts)).quantile(q)
    assert found == pytest.approx(prometheus(q, bounds, counts), rel=1e-9)


def test_nothing_counted_has_no_quantile() -> None:
    assert Histogram((0.1, 0.5), (0.0, 0.0, 0.0)).quantile(0.99) is None
    assert Histogram((), (5.0,)).quantile(0.99) is None
    assert Histogram((), ()).quantile(0.5) is None
    assert Histogram((), ()).total == 0


def test_beyond_the_last_bucket_is_a_lower_bound() -> None:
    assert Histogram((0.1, 0.5), (0.0, 0.0, 10.0)).quantile(0.5) == 0.5


def test_since() -> None:
    earlier = Histogram((0.1, 0.5), (1.0, 2.0, 3.0))
    assert Histogram((0.1, 0.5), (2.0, 4.0, 6.0)).since(earlier) == Histogram((0.1, 0.5), (1.0, 2.0, 3.0))
    assert Histogram((0.1, 0.5), (0.0, 4.0, 6.0)).since(earlier) is None
    assert Histogram((0.1, 1.0), (2.0, 4.0, 6.0)).since(earlier) is None


@pytest.mark.parametrize(("bound", "slower"), [(0.05, 90), (0.1, 90), (0.2, 40), (0.5, 40), (9.0, 40)])
def test_above(bound: float, slower: float) -> None:
    assert Histogram((0.1, 0.5), (10.0, 60.0, 100.0)).above(bound) == slower
