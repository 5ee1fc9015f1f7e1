"""Two readings of a router's counters, and what they do not prove."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mlrelease_tui.errors import UnexpectedAnswer
from mlrelease_tui.routing.counting import RouterCounts, VersionCount, shares_between, was_reset
from mlrelease_tui.routing.traefik_metrics import read_counts

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXPOSITION = """\
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.795e+09
# TYPE traefik_service_requests_total counter
traefik_service_requests_total{code="200",method="POST",protocol="http",service="fraud--v6@file"} 90
traefik_service_requests_total{code="200",method="GET",protocol="http",service="fraud--v6@file"} 5
traefik_service_requests_total{code="502",method="POST",protocol="http",service="fraud--v7@file"} 3
traefik_service_requests_total{code="404",method="POST",protocol="http",service="fraud--v7@file"} 2
traefik_service_requests_total{code="200",method="POST",protocol="http",service="fraud--v7--shadow@file"} 50
traefik_service_requests_total{code="200",method="POST",protocol="http",service="churn--v7@file"} 9
"""


def _counts(started_at: float | None = 1.0, **totals: tuple[int, int]) -> RouterCounts:
    return RouterCounts({name: VersionCount(*total) for name, total in totals.items()}, started_at, NOW)


def test_counters_are_summed_per_version_and_only_5xx_are_errors() -> None:
    services = {version: f"fraud--{version}@file" for version in ("v6", "v7", "v8")}
    counts = read_counts(EXPOSITION, services, NOW)
    assert counts.by_version == {"v6": VersionCount(95, 0), "v7": VersionCount(5, 3)}
    assert counts.started_at == 1.795e9


def test_what_is_no_exposition_is_an_error_not_zero() -> None:
    with pytest.raises(UnexpectedAnswer):
        read_counts("<html>\nlog in please\n</html>", {}, NOW)


def test_shares_carry_their_sample() -> None:
    shares = shares_between(_counts(a=(100, 1)), _counts(a=(190, 1), b=(10, 2)))
    assert shares is not None
    assert (shares["a"].share, shares["a"].sample, shares["a"].errors) == (0.9, 100, 0)
    assert (shares["b"].share, shares["b"].requests, shares["b"].errors) == (0.1, 10, 2)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (_counts(a=(100, 0)), _counts(a=(99, 0))),
        (_counts(a=(100, 0)), _counts(b=(500, 0))),
        (_counts(1.0, a=(100, 0)), _counts(2.0, a=(500, 0))),
    ],
)
def test_a_reset_is_a_gap_not_a_share(earlier: RouterCounts, later: RouterCounts) -> None:
    assert was_reset(earlier, later)
    assert shares_between(earlier, later) is None


def test_no_traffic_is_not_a_share_of_zero() -> None:
    assert shares_between(_counts(a=(100, 0)), _counts(a=(100, 0))) is None
    assert not was_reset(_counts(a=(100, 0)), _counts(a=(100, 0)))
