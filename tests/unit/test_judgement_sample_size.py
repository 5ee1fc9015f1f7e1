"""The forecast: how many canary requests, and by when."""

from __future__ import annotations

import pytest

from mlrelease_tui.judgement.sample_size import (
    eta_from_start_s,
    needed_for_harm,
    needed_to_rule_out,
    relative_harm_of_interest,
)
from mlrelease_tui.judgement.settings import JudgeSettings

SETTINGS = JudgeSettings()
BASE, SHARE, PHI = 0.001, 0.1, 3.0


@pytest.mark.parametrize(
    ("rate", "points", "minutes"),
    [(5.0, 0.01, 70), (5.0, 0.05, 14), (50.0, 0.002, 86), (50.0, 0.005, 23), (50.0, 0.01, 12)],
)
def test_expected_minutes_are_those_of_the_simulation_study(rate: float, points: float, minutes: int) -> None:
    needed = needed_for_harm(BASE, 1.0 + points / BASE, SHARE, PHI, SETTINGS)
    assert needed is not None
    eta = eta_from_start_s(needed, rate * SHARE, SETTINGS)
    assert eta is not None
    assert eta / 60.0 == pytest.approx(minutes, abs=0.5)


def test_harm_of_interest_is_the_larger_of_twice_and_half_a_point() -> None:
    assert relative_harm_of_interest(0.001, SETTINGS) == pytest.approx(6.0)
    assert relative_harm_of_interest(0.02, SETTINGS) == 2.0


def test_more_dispersion_needs_proportionally_more_requests() -> None:
    one, three = (needed_for_harm(BASE, 6.0, SHARE, phi, SETTINGS) for phi in (1.0, 3.0))
    assert one is not None
    assert three is not None
    assert three == pytest.approx(3 * one, abs=3)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_no_forecast_without_both_variants(share: float) -> None:
    assert needed_for_harm(BASE, 6.0, share, PHI, SETTINGS) is None


def test_no_forecast_for_harm_that_is_the_margin_itself() -> None:
    assert needed_for_harm(BASE, SETTINGS.margin, SHARE, PHI, SETTINGS) is None


def test_no_eta_without_canary_traffic() -> None:
    assert eta_from_start_s(1_000, 0.0, SETTINGS) is None


def test_eta_is_never_earlier_than_seven_blocks_after_the_warm_up() -> None:
    assert eta_from_start_s(1, 1_000.0, SETTINGS) == 300.0 + 7 * 60.0


def test_ruling_out_is_possible_on_a_service_that_never_fails() -> None:
    assert needed_to_rule_out(0.0, SHARE, 2.0, SETTINGS) == pytest.approx(2_942, abs=3)
