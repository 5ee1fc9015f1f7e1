"""The planner: every verb in every situation. Pure, so a table is enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.release_parts import FRAUD, FRAUD_MODEL, START, VirtualClock, connector_of, world

from mlrelease_tui.actions.planner import plan
from mlrelease_tui.actions.situation import Situation
from mlrelease_tui.domain.action import ActionProgress, OpenAction, Stage
from mlrelease_tui.domain.intents import (
    AbortRollout,
    ContinueRollout,
    HoldRollout,
    Intent,
    MoveAlias,
    PromoteVersion,
    RestartEndpoint,
    RetryRollout,
    RollBack,
    ScaleEndpoint,
    SetWeight,
    ShadowVersion,
    SwitchVersions,
)
from mlrelease_tui.domain.models import Lineage, ModelVersion, Readiness
from mlrelease_tui.domain.plan import CheckStatus, Direction, Level, Plan, Refusal
from mlrelease_tui.domain.refs import VersionRef
from mlrelease_tui.domain.rollout import Endpoint, Gate, GateResult, Hold, Phase, Role, Variant, Verb, VerbSupport
from mlrelease_tui.domain.status import EndpointStatus, Reason, Severity
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.domain.verdict import Verdict, VerdictKind

CLOCK = VirtualClock()
BACKEND = world(CLOCK)
CONNECTOR = connector_of(BACKEND, CLOCK)
IN_FLIGHT = CONNECTOR._shown(BACKEND.endpoints[FRAUD])
MODEL = BACKEND.models[FRAUD_MODEL]


def at_rest(endpoint: Endpoint = IN_FLIGHT) -> Endpoint:
    rollout = replace(endpoint.rollout, to_version="2", phase=Phase.COMPLETE)
    return replace(endpoint, variants=(replace(endpoint.variants[0], weight_bp=10_000),), rollout=rollout)


def held(endpoint: Endpoint = IN_FLIGHT) -> Endpoint:
    mark = Hold(SafeText("ben"), SafeText("waiting for the data team"))
    return replace(endpoint, rollout=replace(endpoint.rollout, hold=mark, phase=Phase.HELD))


def at_last_step(endpoint: Endpoint = IN_FLIGHT) -> Endpoint:
    return replace(endpoint, rollout=replace(endpoint.rollout, step_index=2))


def record(version: str, **changes: Any) -> ModelVersion:
    known = BACKEND.versions.get(VersionRef(FRAUD_MODEL, version))
    return replace(known or ModelVersion(VersionRef(FRAUD_MODEL, version), Readiness.READY), **changes)


def situation(endpoint: Endpoint | None = IN_FLIGHT, *, version: str = "3", **changes: Any) -> Situation:
    """All is known and well, unless a test says otherwise."""
    base = Situation(
        START,
        "ana",
        endpoint=endpoint,
        driver=CONNECTOR,
        registry=CONNECTOR,
        model=MODEL,
        version=record(version) if version else None,
        alias="champion",
        environment=endpoint.environment if endpoint else "",
        production=True,
    )
    return replace(base, **changes)


def judged(kind: VerdictKind | None, *reasons: Reason) -> EndpointStatus:
    verdict = None if kind is None else Verdict(kind, f"it is {kind}")
    return EndpointStatus(IN_FLIGHT, Severity.OK, reasons, verdict=verdict)


def without(verb: Verb) -> Endpoint:
    verbs = tuple(item for item in IN_FLIGHT.verbs if item.verb is not verb)
    return replace(IN_FLIGHT, verbs=(*verbs, VerbSupport(verb, False, reason=SafeText("it has no weights"))))


PROMOTE = PromoteVersion(FRAUD)

REFUSALS: dict[str, tuple[Intent, Callable[[], Situation], str, str]] = {
    "unknown endpoint": (PROMOTE, lambda: situation(None), "unknown_endpoint", "not known"),
    "verb that the backend lacks": (
        SetWeight(FRAUD, 10),
        lambda: situation(without(Verb.WEIGHT)),
        "unsupported",
        "it has no weights",
    ),
    "driver without the verb": (
        SetWeight(FRAUD, 10),
        lambda: situation(driver=object()),
        "unsupported",
        "has no weight",
    ),
    "old read": (
        PROMOTE,
        lambda: situation(replace(IN_FLIGHT, observed_at=START - timedelta(seconds=11))),
        "stale",
        "11 s ago",
    ),
    "old read, even to roll back": (
        RollBack(FRAUD),
        lambda: situation(replace(IN_FLIGHT, observed_at=START - timedelta(minutes=5))),
        "stale",
        "300 s ago",
    ),
    "promote nothing": (PROMOTE, lambda: situation(at_rest()), "no_version", "nothing is under way"),
    "promote what runs": (PromoteVersion(FRAUD, "2"), lambda: situation(at_rest(), version="2"), "already_there", "2"),
    "promote while another is under way": (
        PromoteVersion(FRAUD, "5"),
        lambda: situation(version="5"),
        "rollout_under_way",
        "to 3 is under way",
    ),
    "promote a version that nobody knows": (
        PromoteVersion(FRAUD, "77"),
        lambda: situation(at_rest(), version=""),
        "version_unknown",
        "no version 77",
    ),
    "promote what is pending": (
        PromoteVersion(FRAUD, "4"),
        lambda: situation(at_rest(), version="4"),
        "not_ready",
        "version 4 is pending",
    ),
    "promote what failed": (
        PromoteVersion(FRAUD, "5"),
        lambda: replace(
            situation(at_rest()),
            version=record("5", readiness=Readiness.FAILED, readiness_message=SafeText("no model file")),
        ),
        "not_ready",
        "no model file",
    ),
    "promote what is unknown to be ready": (
        PromoteVersion(FRAUD, "5"),
        lambda: replace(situation(at_rest()), version=record("5", readiness=Readiness.UNKNOWN)),
        "not_ready",
        "version 5 is unknown",
    ),
    "promote while the registry is down": (
        PromoteVersion(FRAUD, "5"),
        lambda: situation(at_rest(), version="", model=None, registry_problem="registry is down"),
        "version_unknown",
        "registry is down",
    ),
    "the next step while the registry is down": (
        PROMOTE,
        lambda: situation(version="", model=None, registry_problem="registry is down"),
        "version_unknown",
        "registry is down",
    ),
    "promote what a person holds": (PROMOTE, lambda: situation(held()), "held", "held by ben: waiting for the data"),
    "promote past all traffic": (
        PromoteVersion(FRAUD, "5", weight_bp=10_001),
        lambda: situation(at_rest(), version="5"),
        "bad_weight",
        "100.01%",
    ),
    "promote to less than nothing": (
        PromoteVersion(FRAUD, weight_bp=-1),
        situation,
        "bad_weight",
        "-0.01% is no weight",
    ),
    "promote to where it is": (PromoteVersion(FRAUD, weight_bp=1000), situation, "already_there", "already has 10%"),
    "weight past all traffic": (SetWeight(FRAUD, 10_001), situation, "bad_weight", "100.01%"),
    "weight less than nothing": (SetWeight(FRAUD, -500), situation, "bad_weight", "-5% is no weight"),
    "weight without a canary": (SetWeight(FRAUD, 10), lambda: situation(at_rest()), "no_canary", "has no canary"),
    "weight as it is": (SetWeight(FRAUD, 1000), situation, "already_there", "already has 10%"),
    "more weight while held": (SetWeight(FRAUD, 2000), lambda: situation(held()), "held", "held by ben"),
    "hold what is held": (HoldRollout(FRAUD), lambda: situation(held()), "already_there", "held by ben"),
    "continue what nobody holds": (ContinueRollout(FRAUD), situation, "refused", "is not held"),
    "abort at rest": (AbortRollout(FRAUD), lambda: situation(at_rest()), "refused", "has no canary"),
    "switch with nothing to switch to": (SwitchVersions(FRAUD), situation, "refused", "nothing to switch to"),
    "roll back to where it is": (
        RollBack(FRAUD, "2"),
        lambda: situation(at_rest(), version="2", alias=""),
        "already_there",
        "already runs 2, alone",
    ),
    "roll back with nothing known to be good": (
        RollBack(FRAUD),
        lambda: situation(replace(at_rest(), previous_version="")),
        "no_known_good",
        "no known good",
    ),
    "scale below nothing": (ScaleEndpoint(FRAUD, -1), situation, "bad_replicas", "-1"),
    "mirror more than all": (ShadowVersion(FRAUD, "5", 10_001), lambda: situation(version="5"), "bad_weight", "100.01"),
    "mirror to what is pending": (
        ShadowVersion(FRAUD, "4", 100),
        lambda: situation(version="4"),
        "not_ready",
        "pending",
    ),
    "alias of a model that can't be read": (
        MoveAlias(FRAUD_MODEL, "champion", "2"),
        lambda: situation(None, model=None, registry_problem="registry is down"),
        "unknown_model",
        "registry is down",
    ),
    "alias to where it points": (
        MoveAlias(FRAUD_MODEL, "champion", "3"),
        lambda: situation(None),
        "already_there",
        "points at 3",
    ),
    "alias to a version that nobody knows": (
        MoveAlias(FRAUD_MODEL, "champion", "77"),
        lambda: situation(None, version=""),
        "version_unknown",
        "77",
    ),
    "alias to what is pending": (
        MoveAlias(FRAUD_MODEL, "champion", "4"),
        lambda: situation(None, version="4"),
        "not_ready",
        "pending",
    ),
    "alias in a registry without aliases": (
        MoveAlias(FRAUD_MODEL, "champion", "2"),
        lambda: situation(None, version="2", registry=object()),
        "unsupported",
        "no alias",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_it_refuses_with_what_to_do(name: str) -> None:
    intent, make, code, words = REFUSALS[name]
    refusal = plan(intent, make())
    assert isinstance(refusal, Refusal), refusal
    assert refusal.code == code
    assert words in refusal.reason
    assert refusal.hint, "it does not say what to do"


IDLE: dict[str, tuple[Intent, Endpoint, str, Direction, Level]] = {
    "next step": (PROMOTE, IN_FLIGHT, "take fraud 3 to 50% of traffic", Direction.FORWARD, Level.PLAN),
    "last step": (PROMOTE, at_last_step(), "finish fraud: all traffic to 3", Direction.FORWARD, Level.NAME),
    "full": (PromoteVersion(FRAUD, full=True), IN_FLIGHT, "finish fraud", Direction.FORWARD, Level.NAME),
    "to a weight": (PromoteVersion(FRAUD, weight_bp=2000), IN_FLIGHT, "3 to 20%", Direction.FORWARD, Level.PLAN),
    "to all": (PromoteVersion(FRAUD, weight_bp=10_000), IN_FLIGHT, "3 to 100%", Direction.FORWARD, Level.NAME),
    "start": (PromoteVersion(FRAUD, "5"), at_rest(), "start 5 on fraud at 10%", Direction.FORWARD, Level.PLAN),
    "start at": (PromoteVersion(FRAUD, "5", 250), at_rest(), "at 2.5%", Direction.FORWARD, Level.PLAN),
    "start whole": (PromoteVersion(FRAUD, "5", full=True), at_rest(), "at 100%", Direction.FORWARD, Level.NAME),
    "start at all": (PromoteVersion(FRAUD, "5", 10_000), at_rest(), "at 100%", Direction.FORWARD, Level.NAME),
    "raise": (SetWeight(FRAUD, 2500), IN_FLIGHT, "fraud: 3 10% → 25%", Direction.FORWARD, Level.PLAN),
    "raise to all": (SetWeight(FRAUD, 10_000), IN_FLIGHT, "10% → 100%", Direction.FORWARD, Level.NAME),
    "lower": (SetWeight(FRAUD, 500), IN_FLIGHT, "10% → 5%", Direction.SAFE, Level.PLAN),
    "lower what is held": (SetWeight(FRAUD, 0), held(), "10% → 0%", Direction.SAFE, Level.PLAN),
    "hold": (HoldRollout(FRAUD), IN_FLIGHT, "hold fraud", Direction.SAFE, Level.KEY),
    "continue": (ContinueRollout(FRAUD), held(), "held by ben", Direction.FORWARD, Level.PLAN),
    "abort": (AbortRollout(FRAUD), IN_FLIGHT, "back to 2", Direction.SAFE, Level.PLAN),
    "roll back": (RollBack(FRAUD), IN_FLIGHT, "roll back fraud to 2", Direction.SAFE, Level.PLAN),
    "roll back what is held": (RollBack(FRAUD), held(), "to 2", Direction.SAFE, Level.PLAN),
    "roll back at rest": (RollBack(FRAUD), at_rest(), "to 1", Direction.SAFE, Level.PLAN),
    "retry": (RetryRollout(FRAUD), IN_FLIGHT, "retry", Direction.NEUTRAL, Level.PLAN),
    "restart": (RestartEndpoint(FRAUD), IN_FLIGHT, "restart", Direction.NEUTRAL, Level.PLAN),
    "scale": (ScaleEndpoint(FRAUD, 3), IN_FLIGHT, "to 3", Direction.NEUTRAL, Level.PLAN),
    "mirror": (ShadowVersion(FRAUD, "5", 100), IN_FLIGHT, "mirror 1% of fraud to 5", Direction.NEUTRAL, Level.PLAN),
}


def _for(intent: Intent, endpoint: Endpoint | None) -> Situation:
    known = "3" if isinstance(intent, PromoteVersion) and not intent.version else getattr(intent, "version", "") or "2"
    return situation(endpoint, version=known)


@pytest.mark.parametrize("name", IDLE)
def test_it_plans(name: str) -> None:
    intent, endpoint, words, direction, level = IDLE[name]
    found = plan(intent, _for(intent, endpoint))
    assert isinstance(found, Plan), found
    assert words in found.summary
    assert (found.direction, found.level) == (direction, level)
    assert found.target == FRAUD
    assert found.environment == "production"
    assert found.undo
    assert found.read_from[0].object_id == FRAUD.id
    assert found.expires_at - found.created_at == timedelta(seconds=120)


@pytest.mark.parametrize("name", IDLE)
def test_the_same_situation_gives_the_same_plan(name: str) -> None:
    intent, endpoint, *_ = IDLE[name]
    first, second = plan(intent, _for(intent, endpoint)), plan(intent, _for(intent, endpoint))
    assert isinstance(first, Plan)
    assert isinstance(second, Plan)
    assert first == second
    assert first.plan_hash == second.plan_hash


def test_the_switch_of_a_preview_to_production_wants_the_name() -> None:
    preview = Variant("v3", Role.PREVIEW, "3", 0, ready=1, desired=1)
    found = plan(SwitchVersions(FRAUD), situation(replace(IN_FLIGHT, variants=(IN_FLIGHT.variants[0], preview))))
    assert isinstance(found, Plan)
    assert (found.level, found.direction) == (Level.NAME, Direction.FORWARD)


# --- guards ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, SafeText("12"), SafeText("NaN")])
def test_a_metric_that_is_no_number_fails_closed(bad: float | SafeText) -> None:
    lineage = Lineage(SafeText("run"), metrics=MappingProxyType({"auc": 0.9, "loss": bad}))
    made = replace(situation(at_rest()), version=record("5", lineage=lineage))
    for intent in (PromoteVersion(FRAUD, "5"), MoveAlias(FRAUD_MODEL, "champion", "5")):
        refusal = plan(intent, made if isinstance(intent, PromoteVersion) else replace(made, endpoint=None))
        assert isinstance(refusal, Refusal)
        assert refusal.code == "bad_metric"
        assert "loss" in refusal.reason
        assert "auc" not in refusal.reason


def test_finite_metrics_pass() -> None:
    lineage = Lineage(SafeText("run"), metrics=MappingProxyType({"auc": 0.9, "n": 1e300}))
    assert isinstance(
        plan(PromoteVersion(FRAUD, "5"), replace(situation(at_rest()), version=record("5", lineage=lineage))), Plan
    )


HARM = judged(VerdictKind.HARM)
GUARD = judged(VerdictKind.NO_EVIDENCE_OF_HARM, Reason(Severity.CRIT, "canary 3: 40% errors, guard 5%", "v3"))


@pytest.mark.parametrize("status", [HARM, GUARD], ids=["judge", "guard"])
@pytest.mark.parametrize(
    "intent", [PROMOTE, SetWeight(FRAUD, 2500), ContinueRollout(FRAUD)], ids=lambda item: item.verb
)
def test_going_on_with_what_hurts_wants_the_name_and_says_why(intent: Intent, status: EndpointStatus) -> None:
    endpoint = held() if isinstance(intent, ContinueRollout) else IN_FLIGHT
    found = plan(intent, situation(endpoint, status=status, production=False))
    assert isinstance(found, Plan)
    assert found.level is Level.NAME
    assert any(check.status is CheckStatus.FAIL for check in found.checks)


@pytest.mark.parametrize("intent", [SetWeight(FRAUD, 100), AbortRollout(FRAUD), RollBack(FRAUD), HoldRollout(FRAUD)])
def test_moving_away_from_what_hurts_is_no_harder(intent: Intent) -> None:
    hurt, well = (plan(intent, situation(status=status, version="2")) for status in (HARM, judged(None)))
    assert isinstance(hurt, Plan)
    assert isinstance(well, Plan)
    assert hurt.level == well.level <= Level.PLAN


def test_nothing_known_is_said_not_hidden() -> None:
    found = plan(PROMOTE, situation(status=None))
    assert isinstance(found, Plan)
    assert CheckStatus.UNKNOWN in {check.status for check in found.checks}


@pytest.mark.parametrize("name", IDLE)
@given(floor=st.sampled_from(Level))
def test_configuration_hardens_and_never_loosens_nor_blocks_an_emergency(name: str, floor: Level) -> None:
    intent, endpoint, _, direction, level = IDLE[name]
    found = plan(intent, replace(_for(intent, endpoint), floor=floor))
    assert isinstance(found, Plan)
    assert found.level >= level
    if direction is Direction.SAFE:
        assert found.level <= Level.PLAN
    else:
        assert found.level >= floor


# --- the registry beside the endpoint -----------------------------------------------------------------------------------------


def test_a_rollback_does_without_the_registry_and_says_so() -> None:
    found = plan(RollBack(FRAUD), situation(version="", model=None, registry_problem="registry is down"))
    assert isinstance(found, Plan)
    assert [step.operation for step in found.steps] == ["variants", "variants"]
    assert any("alias champion is not part of this plan (registry is down)" in text for text in found.warnings)
    assert {check.name for check in found.checks if check.status is CheckStatus.UNKNOWN} == {"alias"}


def test_a_rollback_to_a_version_that_the_registry_calls_failed_is_allowed_and_warned_of() -> None:
    found = plan(RollBack(FRAUD), replace(situation(), version=record("2", readiness=Readiness.FAILED)))
    assert isinstance(found, Plan)
    assert any(check.status is CheckStatus.WARN and "failed" in check.text for check in found.checks)


def test_a_rollback_takes_the_alias_back_last() -> None:
    found = plan(RollBack(FRAUD), situation(version="2"))
    assert isinstance(found, Plan)
    assert [step.operation for step in found.steps] == ["variants", "variants", "alias"]
    assert any(text.startswith("best effort on world") for text in found.warnings)
    assert found.read_from[1].object_id == FRAUD_MODEL.id


def test_a_rollback_whose_endpoint_is_back_already_moves_the_alias_alone() -> None:
    found = plan(RollBack(FRAUD, "2"), situation(at_rest(), version="2"))
    assert isinstance(found, Plan)
    assert [step.operation for step in found.steps] == ["alias"]


def test_an_alias_that_agrees_is_left_alone() -> None:
    found = plan(PromoteVersion(FRAUD, full=True), situation())
    assert isinstance(found, Plan)
    assert [step.operation for step in found.steps] == ["variants"]


def told_apart(endpoint: Endpoint, version: str) -> Endpoint:
    """A release to another template of a version, as a backend tells it: its canary is "3+7d9"."""
    stable, canary = endpoint.variants
    rollout = replace(endpoint.rollout, to_version=SafeText(version))
    return replace(endpoint, variants=(stable, replace(canary, version=SafeText(version))), rollout=rollout)


def test_another_template_of_a_version_goes_on_and_its_alias_points_at_the_version() -> None:
    model = replace(MODEL, aliases={"champion": "2"})
    found = plan(PromoteVersion(FRAUD, full=True), situation(told_apart(IN_FLIGHT, "3+7d9"), version="3", model=model))
    assert isinstance(found, Plan)
    assert any(check.text == "3 is ready in the registry; 3+7d9 is another template of it" for check in found.checks)
    assert [step.after for step in found.steps][-1] == "alias champion points at 3"


def test_a_version_that_only_an_endpoint_calls_so_is_refused_with_what_the_registry_calls_it() -> None:
    refusal = plan(PromoteVersion(FRAUD, "4+7d9"), situation(at_rest(), version="4"))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "the registry has no version 4+7d9: an endpoint calls another template of 4 so"


def test_an_alias_never_follows_to_a_version_that_the_registry_does_not_have() -> None:
    """It would be refused after the traffic has moved."""
    found = plan(RollBack(FRAUD), situation(version=""))
    assert isinstance(found, Plan)
    assert [step.operation for step in found.steps] == ["variants", "variants"]
    assert any(
        "alias champion is not part of this plan: the registry has no version 2" in one for one in found.warnings
    )


def test_a_verb_that_is_not_there_now_is_refused_with_what_its_backend_says_to_do() -> None:
    verbs = tuple(item for item in IN_FLIGHT.verbs if item.verb is not Verb.RETRY)
    told = VerbSupport(Verb.RETRY, False, reason=SafeText("was not aborted"), hint=SafeText("roll it back"))
    refusal = plan(RetryRollout(FRAUD), situation(replace(IN_FLIGHT, verbs=(*verbs, told))))
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.hint) == ("fraud can't retry: was not aborted", "roll it back")


def test_an_alias_alone_names_its_model_as_the_target() -> None:
    found = plan(MoveAlias(FRAUD_MODEL, "champion", "2"), situation(None, version="2", environment="production"))
    assert isinstance(found, Plan)
    assert found.target == FRAUD_MODEL
    assert found.summary == "alias champion of fraud: 3 → 2"
    assert (found.level, found.environment) == (Level.PLAN, "production")


# --- others -------------------------------------------------------------------------------------------------------------------


def _open(alive: bool, target: str = FRAUD.id) -> OpenAction:
    return OpenAction("id", SafeText(target), "weight", SafeText("ben"), START, alive, 4711)


def test_an_action_under_way_elsewhere_blocks_and_names_who() -> None:
    refusal = plan(RollBack(FRAUD), situation(open_actions=(_open(alive=True),)))
    assert isinstance(refusal, Refusal)
    assert refusal.code == "busy"
    assert "process 4711, by ben" in refusal.reason


def test_an_action_elsewhere_that_was_answered_holds_up_no_rollback() -> None:
    answered = replace(_open(alive=True), sent_steps=(0,), settles_at=START - timedelta(seconds=1))
    back = plan(RollBack(FRAUD), situation(open_actions=(answered,), version="2"))
    assert isinstance(back, Plan)
    assert any("process 4711" in warning for warning in back.warnings)
    forward = plan(SetWeight(FRAUD, 2500), situation(open_actions=(answered,)))
    assert isinstance(forward, Refusal)
    assert forward.code == "busy"


def test_an_action_under_way_here_blocks() -> None:
    first = plan(SetWeight(FRAUD, 2500), situation())
    assert isinstance(first, Plan)
    busy = ActionProgress("id", first, Stage.SENDING, "ana", "", START)
    refusal = plan(RollBack(FRAUD), situation(in_flight=busy))
    assert isinstance(refusal, Refusal)
    assert refusal.code == "busy"


def test_an_action_that_a_dead_process_left_is_a_warning() -> None:
    found = plan(RollBack(FRAUD), situation(open_actions=(_open(alive=False),), version="2"))
    assert isinstance(found, Plan)
    assert any("left without an outcome" in text for text in found.warnings)


def test_an_action_on_another_endpoint_is_none_of_ours() -> None:
    assert isinstance(plan(RollBack(FRAUD), situation(open_actions=(_open(True, "world/ml/wine"),), version="2")), Plan)


def test_an_owner_is_named() -> None:
    found = plan(RollBack(FRAUD), situation(replace(IN_FLIGHT, owner=SafeText("argocd")), version="2"))
    assert isinstance(found, Plan)
    assert "argocd owns this endpoint and may revert the change" in found.warnings


@pytest.mark.parametrize(
    ("result", "name", "level"),
    [
        (GateResult.INCONCLUSIVE, "score", Level.NAME),
        (GateResult.FAILED, "score", Level.NAME),
        (GateResult.ERROR, "score", Level.NAME),
        (GateResult.PASSED, "score", Level.PLAN),
        (GateResult.RUNNING, "score", Level.PLAN),
        (GateResult.TERMINATED, "score", Level.PLAN),
        (GateResult.INCONCLUSIVE, "score (dry run)", Level.PLAN),
    ],
)
def test_going_past_a_gate_that_was_not_passed_wants_the_name_and_says_which(
    result: GateResult, name: str, level: Level
) -> None:
    gate = Gate(SafeText(name), result, SafeText("0.7"))
    endpoint = replace(IN_FLIGHT, rollout=replace(IN_FLIGHT.rollout, gates=(gate,)))
    found = plan(PROMOTE, situation(endpoint, production=False))
    assert isinstance(found, Plan)
    assert found.level is level
    said = [check.text for check in found.checks if check.name == "gate"]
    assert said == ([f"score {result} at 0.7"] if level is Level.NAME else [])
    # Getting away from it stays as easy as it was.
    back = plan(RollBack(FRAUD), situation(endpoint, production=False))
    assert isinstance(back, Plan)
    assert back.level is Level.PLAN


@pytest.mark.parametrize(
    ("intent", "level"),
    [
        (PROMOTE, Level.NAME),
        (SetWeight(FRAUD, 2500), Level.NAME),
        (RollBack(FRAUD), Level.PLAN),
        (HoldRollout(FRAUD), Level.KEY),
    ],
    ids=lambda item: str(item.verb) if not isinstance(item, Level) else item.name,
)
def test_going_on_with_what_another_tool_keeps_wants_the_name_and_getting_back_does_not(
    intent: Intent, level: Level
) -> None:
    owned = replace(IN_FLIGHT, owner=SafeText("Argo CD (shop)"))
    found = plan(intent, situation(owned, production=False))
    assert isinstance(found, Plan)
    assert found.level is level
    assert any("Argo CD (shop) owns this endpoint" in warning for warning in found.warnings)
