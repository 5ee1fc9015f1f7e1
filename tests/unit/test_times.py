"""Ages and clocks as the screens say them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mlrelease_tui.presentation.times import age, staleness

AT = datetime(2026, 3, 1, 1, 35, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (timedelta(seconds=-90), "<1m"),
        (timedelta(seconds=49), "<1m"),
        (timedelta(seconds=50), "1m"),
        (timedelta(seconds=109), "1m"),
        (timedelta(minutes=59, seconds=49), "59m"),
        (timedelta(minutes=59, seconds=50), "1h"),
        (timedelta(hours=47, minutes=59), "47h"),
        (timedelta(hours=48), "2d"),
    ],
)
def test_an_age_counts_the_minutes_of_the_clock_on_the_screen(later: timedelta, said: str) -> None:
    assert age(AT, AT + later) == said


def test_all_ages_change_together_and_with_the_clock() -> None:
    moments = [AT - timedelta(seconds=7 * number) for number in range(400)]
    said = [[age(at, AT + timedelta(seconds=second)) for at in moments] for second in range(120)]
    changes = [second for second in range(1, 120) if said[second] != said[second - 1]]
    assert changes == [50, 110], "01:36:00 and 01:37:00"


@pytest.mark.parametrize(
    ("later_s", "said"), [(20, ""), (21, "20s"), (59, "50s"), (60, "1m"), (119, "1m"), (7200, "2h")]
)
def test_what_was_not_read_for_a_while_is_told_by_the_seconds(later_s: int, said: str) -> None:
    assert staleness(AT, AT + timedelta(seconds=later_s)) == said


def test_what_is_not_known_has_no_age() -> None:
    assert (age(None, AT), staleness(None, AT)) == ("-", "never")
