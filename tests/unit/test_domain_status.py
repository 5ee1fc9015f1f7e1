"""How bad it is and why: one table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.release_parts import FRAUD, START, VirtualClock, world

from mlrelease_tui.domain.metrics import Coverage, VariantMetrics
from mlrelease_tui.domain.rollout import Endpoint, Hold, Phase, Role
from mlrelease_tui.domain.status import MIN_REQUESTS, Guard, Severity, assess, known_good_of, mismatch_of
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.domain.verdict import Verdict, VerdictKind

MOVING = world(VirtualClock()).endpoints[FRAUD]


def phased(phase: Phase, **changes: Any) -> Endpoint:
    return replace(MOVING, rollout=replace(MOVING.rollout, phase=phase, **changes))


QUIET = phased(Phase.PROGRESSING)
STABLE, CANARY = QUIET.variants
GUARD = Guard(error_ratio=0.05, p99_s=0.3)


def felt(
    name: str = "v3", *, requests: float = 1000, coverage: Coverage = Coverage.OK, **values: float | None
) -> VariantMetrics:
    return VariantMetrics(name, coverage, 60, requests, **values)  # type: ignore[arg-type]


def serving(**changes: Any) -> Endpoint:
    return replace(QUIET, variants=(STABLE, replace(CANARY, **changes)))


TABLE: dict[str, tuple[dict[str, Any], Severity, str]] = {
    "quiet": ({"metrics": {"v3": felt(error_ratio=0.0, p99_s=0.1)}}, Severity.OK, ""),
    "errors": ({"metrics": {"v3": felt(error_ratio=0.4)}}, Severity.CRIT, "canary v3: 40.0% errors, guard 5.0%"),
    "errors of stable": ({"metrics": {"v2": felt("v2", error_ratio=0.4)}}, Severity.CRIT, "stable v2: 40.0% errors"),
    "at the guard": ({"metrics": {"v3": felt(error_ratio=0.05, p99_s=0.3)}}, Severity.OK, ""),
    "slow": ({"metrics": {"v3": felt(p99_s=0.9)}}, Severity.CRIT, "p99 900 ms, guard 300 ms"),
    "too few to say": ({"metrics": {"v3": felt(requests=MIN_REQUESTS - 1, error_ratio=1.0)}}, Severity.OK, ""),
    "enough to say": ({"metrics": {"v3": felt(requests=MIN_REQUESTS, error_ratio=1.0)}}, Severity.CRIT, "100.0%"),
    "errors after a reset": ({"metrics": {"v3": felt(coverage=Coverage.RESET, error_ratio=1.0)}}, Severity.OK, ""),
    "not guarded": ({"metrics": {"v3": felt(error_ratio=1.0)}, "guard": Guard()}, Severity.OK, ""),
    "a shadow may fail": (
        {"endpoint": serving(role=Role.SHADOW), "metrics": {"v3": felt(error_ratio=1.0)}},
        Severity.OK,
        "",
    ),
    "canary down": ({"endpoint": serving(ready=0, desired=2)}, Severity.CRIT, "canary v3: 0 of 2 ready"),
    "canary down without traffic": (
        {"endpoint": serving(ready=0, desired=2, weight_bp=0)},
        Severity.WARN,
        "0 of 2 ready",
    ),
    "canary part ready": (
        {"endpoint": serving(ready=1, desired=2, message=SafeText("pulling"))},
        Severity.WARN,
        "1 of 2 ready: pulling",
    ),
    "readiness unknown": ({"endpoint": serving(ready=None, desired=2)}, Severity.OK, ""),
    "harm": ({"verdict": Verdict(VerdictKind.HARM, "canary fails 8 times as often")}, Severity.CRIT, "8 times"),
    "watch": ({"verdict": Verdict(VerdictKind.WATCH, "it may be worse")}, Severity.WARN, "may be worse"),
    "no evidence": ({"verdict": Verdict(VerdictKind.NO_EVIDENCE_OF_HARM, "x")}, Severity.OK, ""),
    "a problem of the backend": (
        {"endpoint": replace(QUIET, problems=(SafeText("no such service"),))},
        Severity.WARN,
        "no such service",
    ),
    "alias elsewhere": ({"mismatch": "alias champion says v7, endpoint runs v6"}, Severity.WARN, "champion says v7"),
    "degraded": ({"endpoint": phased(Phase.DEGRADED)}, Severity.CRIT, "calls it degraded"),
    "degraded in its words": (
        {"endpoint": phased(Phase.DEGRADED, message=SafeText("quota"))},
        Severity.CRIT,
        "quota",
    ),
    "waits": ({"endpoint": phased(Phase.WAITING)}, Severity.WAIT, "waits for a person"),
    "held": (
        {"endpoint": phased(Phase.HELD, hold=Hold(SafeText("ben"), SafeText("data")))},
        Severity.HOLD,
        "held by ben: data",
    ),
    "nobody knows": ({"endpoint": phased(Phase.UNKNOWN)}, Severity.UNKNOWN, "does not say"),
    "stale": ({"stale_since": START}, Severity.STALE, "not read since 09:30:00Z"),
    "critical, long ago": (
        {"stale_since": START, "metrics": {"v3": felt(error_ratio=0.4)}},
        Severity.STALE,
        "40.0% errors",
    ),
}


def told(given_: dict[str, Any]) -> tuple[Severity, list[str]]:
    severity, reasons = assess(
        given_.get("endpoint", QUIET),
        given_.get("metrics", {"v3": felt(error_ratio=0.0)}),
        given_.get("verdict"),
        given_.get("guard", GUARD),
        given_.get("mismatch", ""),
        given_.get("stale_since"),
    )
    ranks = [reason.severity.rank for reason in reasons]
    assert ranks == sorted(ranks), "the worst reason comes first"
    return severity, [reason.text for reason in reasons]


@pytest.mark.parametrize("name", TABLE)
def test_how_bad_it_is(name: str) -> None:
    given_, severity, words = TABLE[name]
    found, texts = told(given_)
    assert found is severity
    assert any(words in text for text in texts) or not words


def test_all_reasons_are_told_not_the_worst_alone() -> None:
    endpoint = phased(Phase.HELD, hold=Hold(SafeText("ben"), SafeText("data")))
    severity, texts = told(
        {"endpoint": endpoint, "metrics": {"v3": felt(error_ratio=0.4)}, "mismatch": "alias x says y"}
    )
    assert severity is Severity.CRIT
    assert len(texts) == 3


@given(st.permutations(list(Severity)))
def test_severities_have_an_order(order: list[Severity]) -> None:
    assert sorted(order, key=lambda item: item.rank)[0] is Severity.CRIT
    assert max(order, key=lambda item: item.rank) is Severity.OK


# --- what agrees and what is good -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alias", "version", "words"),
    [
        ("", "7", ""),
        ("champion", "", ""),
        ("champion", "2", ""),
        ("champion", "3", "alias champion says v3, endpoint runs v2, v3 only as canary"),
        ("champion", "7", "alias champion says v7, endpoint runs v2"),
    ],
)
def test_alias_and_endpoint_agree(alias: str, version: str, words: str) -> None:
    assert mismatch_of(MOVING, alias, version) == words


def test_another_template_of_the_version_that_the_alias_says_is_no_mismatch() -> None:
    """While a release goes from 2 to 2 in another template its backend tells the two apart; the registry knows one 2."""
    moving = replace(MOVING, variants=(replace(STABLE, version=SafeText("2+7d9")), CANARY))
    assert mismatch_of(moving, "champion", "2") == ""
    assert mismatch_of(moving, "champion", "7") == "alias champion says v7, endpoint runs v2+7d9"


def test_without_a_stable_version_nothing_disagrees() -> None:
    assert mismatch_of(replace(MOVING, variants=(CANARY,)), "champion", "7") == ""


def test_the_known_good_version() -> None:
    assert known_good_of(MOVING) == "2"
    assert known_good_of(phased(Phase.COMPLETE)) == "1"
    assert known_good_of(replace(phased(Phase.COMPLETE), previous_version="")) == ""
