"""What ends the wait for a write's effect: a backend that says that it failed, and a hand that wrote over it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.release_parts import FRAUD, START, VirtualClock, world

from mlrelease_tui.actions.omens import FAILED_S, Omens
from mlrelease_tui.domain.expectation import (
    AliasExpectation,
    EndpointExpectation,
    diverted,
    failure_of,
    from_data,
    to_data,
)
from mlrelease_tui.domain.refs import ModelRef
from mlrelease_tui.domain.rollout import Endpoint, Native, Phase, Stamp, Verb
from mlrelease_tui.domain.text import SafeText

EXPECTS = EndpointExpectation(FRAUD, phases=(Phase.COMPLETE,), failed=(Phase.DEGRADED,), toward="3")
OURS = Stamp("i-1", Verb.PROMOTE, SafeText("ana"), SafeText("why"), START)
THEIRS = Stamp("", "edit", SafeText("their-pipeline"), SafeText(""), START + timedelta(seconds=1))


def endpoint(phase: Phase, *, to: str = "3", stamp: Stamp | None = OURS, message: str = "") -> Endpoint:
    found = world(VirtualClock()).endpoints[FRAUD]
    rollout = replace(found.rollout, phase=phase, to_version=SafeText(to), message=SafeText(message))
    native = Native(SafeText("Rollout"), SafeText("Degraded"))
    return replace(found, rollout=rollout, stamp=stamp, native=native)


def test_a_failure_is_certain_only_once_it_was_said_for_a_while() -> None:
    clock = VirtualClock()
    omens = Omens(EXPECTS, OURS, clock.monotonic)
    bad = endpoint(Phase.DEGRADED, message="ProgressDeadlineExceeded")
    omens.seen(bad)
    assert (omens.bad, omens.certain, omens.failed) == (True, False, "")
    clock.elapsed_s += FAILED_S
    omens.seen(bad)
    assert omens.failed == "Rollout says Degraded: ProgressDeadlineExceeded"


def test_a_condition_of_the_release_before_is_forgotten_when_the_backend_goes_on() -> None:
    clock = VirtualClock()
    omens = Omens(EXPECTS, OURS, clock.monotonic)
    omens.seen(endpoint(Phase.DEGRADED))
    clock.elapsed_s += FAILED_S - 1
    omens.seen(endpoint(Phase.PROGRESSING))
    clock.elapsed_s += FAILED_S
    omens.seen(endpoint(Phase.DEGRADED))
    assert not omens.certain


@pytest.mark.parametrize(
    ("stamp", "to", "phase", "over"),
    [
        (THEIRS, "7", Phase.PROGRESSING, True),
        (THEIRS, "3", Phase.PROGRESSING, False),
        (THEIRS, "3+hash", Phase.PROGRESSING, False),
        (THEIRS, "7", Phase.UNKNOWN, False),
        (OURS, "7", Phase.PROGRESSING, False),
        (replace(THEIRS, at=START - timedelta(seconds=5)), "7", Phase.PROGRESSING, False),
        (None, "7", Phase.PROGRESSING, False),
    ],
    ids=["another version", "ours still", "ours by another name", "not looked at", "our own", "before us", "nobody"],
)
def test_it_was_written_over_where_another_hand_sent_it_elsewhere_after_us(
    stamp: Stamp | None, to: str, phase: Phase, over: bool
) -> None:
    clock = VirtualClock()
    omens = Omens(EXPECTS, OURS, clock.monotonic)
    found = endpoint(phase, to=to, stamp=stamp)
    omens.seen(found)
    clock.elapsed_s += FAILED_S
    omens.seen(found)
    assert omens.certain is over
    assert omens.failed == ""


@pytest.mark.parametrize(("to", "over"), [("7", True), ("3", False)])
def test_what_a_backend_wrote_instead_counts_where_it_leads_elsewhere(to: str, over: bool) -> None:
    clock = VirtualClock()
    omens = Omens(EXPECTS, OURS, clock.monotonic, altered=True)
    omens.seen(endpoint(Phase.PROGRESSING, to=to))
    clock.elapsed_s += FAILED_S
    omens.seen(endpoint(Phase.PROGRESSING, to=to))
    assert omens.certain is over


def test_an_alias_has_no_such_signs() -> None:
    clock = VirtualClock()
    omens = Omens(AliasExpectation(ModelRef("registry", "fraud"), "champion", "3"), OURS, clock.monotonic)
    omens.seen(endpoint(Phase.DEGRADED))
    assert not omens.bad


def test_a_phase_that_was_not_named_as_failing_is_none() -> None:
    assert failure_of(replace(EXPECTS, failed=()), endpoint(Phase.DEGRADED, message="bad")) == ""
    assert not diverted(replace(EXPECTS, toward=""), endpoint(Phase.PROGRESSING, to="7"))


def test_the_signs_are_kept_in_the_audit() -> None:
    assert from_data(to_data(EXPECTS)) == EXPECTS
    older = {key: value for key, value in to_data(EXPECTS).items() if key not in {"failed", "toward"}}
    assert from_data(older) == replace(EXPECTS, failed=(), toward="")
