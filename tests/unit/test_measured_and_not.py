"""What is said of an endpoint while part of it, or all, is not measured: no shadow among the users, no verdict from long ago."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType

import pytest
from tests.unit.release_parts import FRAUD, START, VirtualClock, world

from mlrelease_tui.domain.metrics import Coverage, VariantMetrics, VariantSample
from mlrelease_tui.domain.rollout import Endpoint, Role
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.domain.verdict import Verdict, VerdictKind
from mlrelease_tui.presentation import words
from mlrelease_tui.store.facts import EndpointsObserved, Fact, SamplesObserved, VerdictReached
from mlrelease_tui.store.judge import FleetJudge
from mlrelease_tui.store.select import status_of, windowed
from mlrelease_tui.store.state import State, reduce

SERVED = world(VirtualClock()).endpoints[FRAUD]


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def playing(role: Role, weight_bp: int | None = None) -> Endpoint:
    """The tests' endpoint, its second variant in another role."""
    stable, other = SERVED.variants
    return replace(SERVED, variants=(replace(stable, weight_bp=10_000), replace(other, role=role, weight_bp=weight_bp)))


def after(*facts: Fact) -> State:
    state = State()
    for fact in facts:
        state = reduce(state, fact)
    return state


def counted(second: float, **requests: float) -> Fact:
    found = (VariantSample(FRAUD, name, at(second), second, count, 0.0) for name, count in requests.items())
    return SamplesObserved("world", tuple(found), at(second))


# --- shadows ----------------------------------------------------------------------------------------------------------


def test_what_a_shadow_is_sent_is_no_share_of_what_users_are_sent() -> None:
    """The router counts a mirrored request twice."""
    facts = (
        EndpointsObserved("world", (playing(Role.SHADOW),), START),
        counted(0, v2=0, v3=0),
        counted(10, v2=50, v3=50),
    )
    found = windowed(after(*facts), FRAUD, at(10))
    assert (found["v2"].observed_share, found["v3"].observed_share) == (1.0, None)
    assert found["v3"].rate == 5
    assert not words.shares_differ(found["v2"], 10_000)


def test_a_shadow_has_no_share_after_a_change_of_weights_either() -> None:
    before, now = playing(Role.CANARY, 1_000), replace(playing(Role.SHADOW), observed_at=at(1))
    facts = (EndpointsObserved("world", (before,), START), EndpointsObserved("world", (now,), at(1)))
    state = after(*facts, counted(2, v2=0, v3=0), counted(10, v2=40, v3=40))
    found = windowed(state, FRAUD, at(10))
    assert (found["v2"].observed_share, found["v3"].observed_share) == (1.0, None)


def felt(endpoint: Endpoint, **metrics: VariantMetrics) -> tuple[float | None, float | None, float | None]:
    return words.users_feel(EndpointStatus(endpoint, Severity.OK, metrics=MappingProxyType(metrics)))


GOOD = VariantMetrics("v2", Coverage.OK, 60, 600, 0, 10.0, 0.0, p99_s=0.1)
BAD = VariantMetrics("v3", Coverage.OK, 60, 600, 600, 10.0, 1.0, p99_s=3.0)


def test_users_feel_nothing_of_a_shadow() -> None:
    assert felt(playing(Role.SHADOW), v2=GOOD, v3=BAD) == (0.0, 0.1, 10.0)
    assert felt(playing(Role.CANARY, 1_000), v2=GOOD, v3=BAD) == (1.0, 3.0, 20.0)


@pytest.mark.parametrize("coverage", [Coverage.WARMING, Coverage.RESET, Coverage.NO_TARGET])
def test_a_part_of_the_requests_is_not_all_of_them(coverage: Coverage) -> None:
    unknown = VariantMetrics("v3", coverage)
    assert felt(playing(Role.CANARY, 9_000), v2=GOOD, v3=unknown) == (0.0, 0.1, None)
    assert felt(playing(Role.CANARY, 0), v2=GOOD, v3=unknown) == (0.0, 0.1, 10.0), "it is sent nothing"


def test_a_router_that_has_not_counted_a_variant_yet_sent_it_nothing() -> None:
    assert felt(playing(Role.CANARY, 100), v2=GOOD, v3=VariantMetrics("v3", Coverage.NO_SERIES)) == (0.0, 0.1, 10.0)


# --- verdicts ---------------------------------------------------------------------------------------------------------


def judged(kind: VerdictKind) -> State:
    """Measured until second 10, judged then; and never again, since the source of metrics is down."""
    facts = (EndpointsObserved("world", (SERVED,), START), counted(0, v2=0, v3=0), counted(10, v2=90, v3=10))
    return after(*facts, VerdictReached(FRAUD, Verdict(kind, "so it is said", n=700)))


@pytest.mark.parametrize("kind", [VerdictKind.BETTER, VerdictKind.NO_EVIDENCE_OF_HARM])
def test_a_verdict_from_long_ago_reassures_nobody(kind: VerdictKind) -> None:
    """Whoever decides on a promotion by it would decide on what was, with nobody looking any more."""
    state, judge = judged(kind), FleetJudge()
    for second, shown in (
        (11, kind),
        (190, kind),
        (191, VerdictKind.NOT_ENOUGH_DATA),
        (4_000, VerdictKind.NOT_ENOUGH_DATA),
    ):
        status = status_of(state, FRAUD, at(second))
        assert status is not None
        assert status.verdict is not None
        assert status.verdict.kind is shown
        assert shown is kind or f"since {at(10):%H:%M:%S}Z" in status.verdict.reason
        assert judge.at_once(state, at(second)).statuses[FRAUD].verdict == status.verdict


@pytest.mark.parametrize("kind", [VerdictKind.HARM, VerdictKind.WATCH])
def test_an_alarm_stands_when_nothing_is_measured_any_more(kind: VerdictKind) -> None:
    status = status_of(judged(kind), FRAUD, at(4_000))
    assert status is not None
    assert status.verdict == Verdict(kind, "so it is said", n=700)


def test_a_verdict_is_as_it_was_while_anything_is_measured() -> None:
    state = reduce(judged(VerdictKind.BETTER), counted(3_999, v2=91, v3=11))
    status = status_of(state, FRAUD, at(4_000))
    assert status is not None
    assert status.verdict is not None
    assert status.verdict.kind is VerdictKind.BETTER
