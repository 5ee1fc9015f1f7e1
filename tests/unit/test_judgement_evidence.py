"""Evidence and dispersion, block by block."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlrelease_tui.judgement.dispersion import Dispersion
from mlrelease_tui.judgement.evidence import (
    NO_EVIDENCE,
    Effects,
    Table,
    canary_share_under,
    gains_absolute,
    gains_relative,
)
from mlrelease_tui.judgement.settings import JudgeSettings

SETTINGS = JudgeSettings()
ABOVE, BELOW = Effects.above(SETTINGS.effects), Effects.below(SETTINGS.effects)
UNCAPPED = math.inf


def binomial(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1.0 - p) ** (n - k)


@pytest.mark.parametrize(
    ("null", "effects"), [(1.1, ABOVE), (1 / 1.1, BELOW), (2.0, BELOW)], ids=["harm", "better", "not twice"]
)
def test_expected_evidence_under_the_null_is_one(null: float, effects: Effects) -> None:
    """An e-process: summed over all ways that five errors may fall, evidence times probability is exactly 1."""
    q = canary_share_under(Table(900, 0, 100, 0), null)
    total = 0.0
    for bad in range(6):
        gains = gains_relative(Table(900, 5 - bad, 100, bad), null, effects)
        assert gains is not None
        total += binomial(bad, 5, q) * math.exp(NO_EVIDENCE.add(gains, 1.0, UNCAPPED).log_e)
    assert total == pytest.approx(1.0)


def test_expected_evidence_against_a_rate_is_one_at_that_rate() -> None:
    total = 0.0
    for bad in range(41):
        gains = gains_absolute(Table(0, 0, 40, bad), 0.005, BELOW)
        assert gains is not None
        total += binomial(bad, 40, 0.005) * math.exp(NO_EVIDENCE.add(gains, 1.0, UNCAPPED).log_e)
    assert total == pytest.approx(1.0)


def test_expected_evidence_over_two_blocks_is_one() -> None:
    table = Table(90, 0, 10, 0)
    q = canary_share_under(table, 1.1)
    total = 0.0
    for first, second in product(range(4), repeat=2):
        process = NO_EVIDENCE
        for bad in (first, second):
            process = process.add(gains_relative(Table(90, 3 - bad, 10, bad), 1.1, ABOVE), 1.0, UNCAPPED)
        total += binomial(first, 3, q) * binomial(second, 3, q) * math.exp(process.log_e)
    assert total == pytest.approx(1.0)


@pytest.mark.parametrize("table", [Table(), Table(100, 0, 10, 0), Table(0, 0, 10, 5), Table(100, 5, 0, 0)], ids=str)
def test_a_table_without_comparison_says_nothing(table: Table) -> None:
    assert gains_relative(table, 1.1, ABOVE) is None


counts = st.integers(min_value=0, max_value=100_000)


@given(blocks=st.lists(st.tuples(counts, counts, counts, counts, st.floats(1.0, 50.0)), min_size=1, max_size=30))
def test_no_block_adds_more_than_the_cap(blocks: list[tuple[int, int, int, int, float]]) -> None:
    process = NO_EVIDENCE
    for stable_n, stable_bad, canary_n, canary_bad, phi in blocks:
        table = Table(stable_n, min(stable_bad, stable_n), canary_n, min(canary_bad, canary_n))
        after = process.add(gains_relative(table, 1.1, ABOVE), phi, 1.0)
        assert after.log_e <= process.log_e + 1.0 + 1e-12
        process = after


def test_one_overwhelming_block_is_not_enough_however_long_one_waits() -> None:
    process = NO_EVIDENCE.add(gains_relative(Table(9_000, 0, 1_000, 1_000), 1.1, ABOVE), 2.0, 1.0)
    for _ in range(60):
        process = process.add(gains_relative(Table(9_000, 9, 1_000, 1), 1.1, ABOVE), 2.0, 1.0)
        assert process.log_e <= 1.0


def phi_of(scores: list[float], variance: float = 1.0) -> float:
    dispersion = Dispersion()
    for score in scores:
        dispersion = dispersion.add(score, variance, SETTINGS)
    return dispersion.phi


def test_steady_harm_does_not_look_like_dispersion() -> None:
    assert phi_of([50.0] * 64) == pytest.approx(phi_of([0.0] * 64))


def test_bursts_do() -> None:
    assert phi_of([0.0, 0.0, 0.0, 12.0] * 16) > 3 * phi_of([0.0] * 64)


def test_slow_waves_that_single_blocks_hide_are_found_in_batches() -> None:
    waves = ([3.0] * 8 + [-3.0] * 8) * 8
    dispersion = Dispersion()
    for score in waves:
        dispersion = dispersion.add(score, 1.0, SETTINGS)
    single, eight = dispersion.batches[0].ratio(SETTINGS), dispersion.batches[3].ratio(SETTINGS)
    assert single < 3.0 < 20.0 < eight
    assert dispersion.phi == eight


def test_dispersion_before_any_error_is_the_prior() -> None:
    assert Dispersion().phi == SETTINGS.prior_phi
    assert phi_of([0.0] * 40, variance=0.0) == SETTINGS.prior_phi


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0.0, 1e6)), max_size=70))
@example([(0.0, 2.2250738585e-313), (1.0, 0.0)])
def test_dispersion_is_finite_and_never_flatters(blocks: list[tuple[float, float]]) -> None:
    dispersion = Dispersion()
    for score, variance in blocks:
        dispersion = dispersion.add(score, variance, SETTINGS)
        assert dispersion.phi >= 1.0
        assert math.isfinite(dispersion.phi)
