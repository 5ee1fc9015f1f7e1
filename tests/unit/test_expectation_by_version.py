"""What a plan may ask of versions whose variants get their names later, and of steps that a backend runs past."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mlrelease_tui.domain.expectation import EndpointExpectation, endpoint_mismatches, from_data, to_data
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Native, Phase, Role, Rollout, Strategy, Variant
from mlrelease_tui.domain.text import SafeText

REF = EndpointRef("cluster", "ml", "fraud")


def _endpoint(*variants: Variant, step: int | None = 2, phase: Phase = Phase.WAITING) -> Endpoint:
    rollout = Rollout(Strategy.CANARY, phase, "6", "7", step_index=step)
    return Endpoint(REF, "u1", "r1", variants, rollout, Native(SafeText("Rollout")), datetime(2026, 1, 2, tzinfo=UTC))


STABLE = Variant("fraud-6f8c", Role.STABLE, "6", weight_bp=9_000, ready=3, desired=3)
CANARY = Variant("fraud-77ab", Role.CANARY, "7", weight_bp=1_000, ready=1, desired=2)


@pytest.mark.parametrize(
    ("asked", "missing"),
    [
        ({"version_weights": (("6", 9_000), ("7", 1_000))}, ()),
        ({"version_weights": (("7", 2_500),)}, ("version 7 weighs 10%, not 25%",)),
        ({"version_weights": (("5", 0),)}, ()),
        ({"version_weights": (("5", 100),)}, ("version 5 weighs -, not 1%",)),
        ({"ready": ("6",)}, ()),
        ({"ready": ("6", "7")}, ("version 7 is not ready",)),
        ({"ready": ("8",)}, ("version 8 is not ready",)),
        ({"step_reached": 2}, ()),
        ({"step_reached": 3}, ("at step 2, not yet at 3",)),
    ],
)
def test_versions_and_steps_are_compared(asked: dict[str, object], missing: tuple[str, ...]) -> None:
    expected = replace(EndpointExpectation(REF), **asked)  # type: ignore[arg-type]
    assert endpoint_mismatches(expected, _endpoint(STABLE, CANARY)) == missing


def test_a_version_spread_over_two_variants_counts_once() -> None:
    twin = replace(CANARY, name="fraud-9d01", weight_bp=500)
    expected = EndpointExpectation(REF, version_weights=(("7", 1_500),))
    assert endpoint_mismatches(expected, _endpoint(STABLE, CANARY, twin)) == ()


def test_zero_is_not_met_by_a_weight_that_nobody_knows() -> None:
    unknown = replace(CANARY, weight_bp=None)
    expected = EndpointExpectation(REF, version_weights=(("7", 0),))
    assert endpoint_mismatches(expected, _endpoint(STABLE, unknown)) == ("version 7 weighs -, not 0%",)


def test_a_version_without_replicas_is_not_ready() -> None:
    empty = replace(CANARY, ready=0, desired=0)
    assert endpoint_mismatches(EndpointExpectation(REF, ready=("7",)), _endpoint(empty)) == ("version 7 is not ready",)


def test_a_rollout_that_is_complete_is_past_every_step() -> None:
    done = _endpoint(STABLE, step=None, phase=Phase.COMPLETE)
    assert endpoint_mismatches(EndpointExpectation(REF, step_reached=5), done) == ()


def test_what_is_written_to_the_audit_is_read_back_the_same() -> None:
    expected = EndpointExpectation(
        REF, version_weights=(("7", 0),), ready=("6",), step_reached=4, absent=("fraud-77ab",)
    )
    assert from_data(json.loads(json.dumps(to_data(expected)))) == expected


def test_records_from_before_these_could_be_asked_are_still_read() -> None:
    data = to_data(EndpointExpectation(REF, uid="u1"))
    for key in ("version_weights", "ready", "step_reached"):
        del data[key]
    assert from_data(data) == EndpointExpectation(REF, uid="u1")
