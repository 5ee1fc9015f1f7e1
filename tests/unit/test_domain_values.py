"""References, expectations, plans and policy."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.release_parts import FRAUD, FRAUD_MODEL, START, VirtualClock, connector_of, world

from mlrelease_tui.domain.expectation import (
    AliasExpectation,
    EndpointExpectation,
    Expectation,
    alias_mismatches,
    endpoint_mismatches,
    expectation_of,
    from_data,
    percent,
    subject_of,
    to_data,
)
from mlrelease_tui.domain.intents import HoldRollout, PromoteVersion, SetWeight
from mlrelease_tui.domain.plan import Check, CheckStatus, Direction, Level, Plan, ReadFrom
from mlrelease_tui.domain.policy import Access, direction_of, is_production, level_of
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.rollout import Endpoint, Hold, Phase, Role, Verb, weights_of
from mlrelease_tui.domain.text import SafeText

CLOCK = VirtualClock()
BACKEND = world(CLOCK)
ENDPOINT = BACKEND.endpoints[FRAUD]
MODEL = BACKEND.models[FRAUD_MODEL]
names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)

# --- references -----------------------------------------------------------------------------------------------------------


@given(names, names, names)
def test_an_endpoint_is_found_again_by_its_name(connection: str, namespace: str, name: str) -> None:
    ref = EndpointRef(connection, namespace, name)
    assert EndpointRef.parse(ref.id) == ref
    assert str(ref) == ref.id


@given(names, st.lists(names, min_size=1, max_size=4).map("/".join))
def test_a_model_may_have_folders_in_its_name(connection: str, name: str) -> None:
    ref = ModelRef(connection, name)
    assert ModelRef.parse(ref.id) == ref
    assert VersionRef(ref, "7").id == f"{connection}/{name}@7"


@pytest.mark.parametrize("text", ["", "a", "a/b", "a/b/", "//", "/b/c", "a//c", "a/b/c/d"])
def test_what_names_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match="connection/namespace/name"):
        EndpointRef.parse(text)


@pytest.mark.parametrize("text", ["", "a", "a/", "/b"])
def test_what_names_no_model(text: str) -> None:
    with pytest.raises(ValueError, match="connection/name"):
        ModelRef.parse(text)


# --- expectations -----------------------------------------------------------------------------------------------------------

weights = st.lists(st.tuples(names, st.integers(0, 10_000)), max_size=3).map(tuple)
some_names = st.lists(names, max_size=3).map(tuple)
expectations: st.SearchStrategy[Expectation] = st.one_of(
    st.builds(AliasExpectation, st.builds(ModelRef, names, names), names, st.one_of(st.just(""), names)),
    st.builds(
        EndpointExpectation,
        st.builds(EndpointRef, names, names, names),
        uid=st.text(max_size=5),
        weights=st.one_of(st.none(), weights),
        present=some_names,
        absent=some_names,
        stable_version=st.one_of(st.none(), names),
        held=st.one_of(st.none(), st.booleans()),
        step_index=st.one_of(st.none(), st.integers(0, 9)),
        phases=st.lists(st.sampled_from(Phase), max_size=2).map(tuple),
        version_weights=st.one_of(st.none(), weights),
        ready=some_names,
        step_reached=st.one_of(st.none(), st.integers(0, 9)),
    ),
)


@given(expectations)
def test_an_expectation_survives_the_audit(expected: Expectation) -> None:
    assert from_data(json.loads(json.dumps(to_data(expected)))) == expected


def test_every_field_of_an_expectation_is_written() -> None:
    """A field that is added and not written would be forgotten by the next start."""
    written = to_data(EndpointExpectation(FRAUD))
    assert {item.name for item in fields(EndpointExpectation)} <= set(written)


@pytest.mark.parametrize(
    "data", [{}, {"kind": "endpoint"}, {"kind": "alias", "model": "x", "alias": "a", "version": "1"}]
)
def test_what_is_no_expectation_is_told(data: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        from_data(data)


def test_what_is_expected_of_an_endpoint_as_it_is_holds() -> None:
    assert endpoint_mismatches(expectation_of(ENDPOINT), ENDPOINT) == ()


MOVED: dict[str, tuple[Endpoint | None, str]] = {
    "gone": (None, "does not exist"),
    "recreated": (replace(ENDPOINT, uid="another"), "the object was recreated"),
    "another weight": (
        replace(ENDPOINT, variants=(replace(ENDPOINT.variants[0], weight_bp=8000), ENDPOINT.variants[1])),
        "v2 weighs 80%, not 90%",
    ),
    "no weight": (
        replace(ENDPOINT, variants=(replace(ENDPOINT.variants[0], weight_bp=None), ENDPOINT.variants[1])),
        "v2 weighs -, not 90%",
    ),
    "a variant gone": (replace(ENDPOINT, variants=ENDPOINT.variants[:1]), "variant v3 is missing"),
    "another stable": (
        replace(ENDPOINT, variants=(replace(ENDPOINT.variants[0], version="9"), ENDPOINT.variants[1])),
        "stable is 9, not 2",
    ),
    "no stable": (
        replace(ENDPOINT, variants=(replace(ENDPOINT.variants[0], role=Role.SHADOW), ENDPOINT.variants[1])),
        "stable is none, not 2",
    ),
    "held": (
        replace(ENDPOINT, rollout=replace(ENDPOINT.rollout, hold=Hold(SafeText("ana"), SafeText("x")))),
        "held",
    ),
    "another step": (replace(ENDPOINT, rollout=replace(ENDPOINT.rollout, step_index=2)), "at step 2, not 0"),
}


@pytest.mark.parametrize("name", MOVED)
def test_what_moved_is_said_in_words(name: str) -> None:
    found, words = MOVED[name]
    mismatches = endpoint_mismatches(expectation_of(ENDPOINT), found)
    assert any(words in text for text in mismatches), mismatches


def test_what_should_be_gone_is_said() -> None:
    expected = EndpointExpectation(FRAUD, absent=("v3",), phases=(Phase.COMPLETE,))
    assert endpoint_mismatches(expected, ENDPOINT) == ("variant v3 still exists", "phase is waiting, not complete")


def test_an_alias_is_compared() -> None:
    assert alias_mismatches(AliasExpectation(FRAUD_MODEL, "champion", "3"), MODEL) == ()
    assert alias_mismatches(AliasExpectation(FRAUD_MODEL, "new", ""), MODEL) == ()
    (moved,) = alias_mismatches(AliasExpectation(FRAUD_MODEL, "champion", "2"), MODEL)
    assert moved == "alias champion points at 3, not 2"
    assert "does not exist" in alias_mismatches(AliasExpectation(FRAUD_MODEL, "champion", "2"), None)[0]
    assert "points at nothing, not 2" in alias_mismatches(AliasExpectation(FRAUD_MODEL, "new", "2"), MODEL)[0]


def test_subjects_tell_objects_apart() -> None:
    assert subject_of(expectation_of(ENDPOINT)) == "world/ml/fraud"
    assert subject_of(AliasExpectation(FRAUD_MODEL, "champion", "")) == "alias champion of world/fraud"


@pytest.mark.parametrize(
    ("weight", "text"),
    [(None, "-"), (0, "0%"), (1, "0.01%"), (25, "0.25%"), (1000, "10%"), (3333, "33.33%"), (10_000, "100%")],
)
def test_basis_points_are_exact_percentages(weight: int | None, text: str) -> None:
    assert percent(weight) == text


# --- endpoints --------------------------------------------------------------------------------------------------------------


def test_an_endpoint_answers_for_what_it_does_not_say() -> None:
    bare = replace(ENDPOINT, verbs=())
    assert not bare.support(Verb.PROMOTE).available
    assert bare.support(Verb.PROMOTE).reason == "fake has no promote"
    assert bare.serving("3") is bare.canary
    assert bare.serving("77") is None
    assert weights_of(replace(bare, variants=(replace(bare.variants[0], weight_bp=None),))) == {}


def test_a_rollout_knows_its_next_step() -> None:
    rollout = ENDPOINT.rollout
    following = rollout.next_step
    assert following is not None
    assert following.weight_bp == 5000
    assert replace(rollout, step_index=2).next_step is None
    assert replace(rollout, step_index=None).next_step is None
    assert replace(rollout, phase=Phase.COMPLETE).in_flight is False


# --- plans ------------------------------------------------------------------------------------------------------------------


def a_plan(**changes: Any) -> Plan:
    steps = connector_of(BACKEND, CLOCK).set_weight(ENDPOINT, 2500)
    base = Plan(
        SetWeight(FRAUD, 2500),
        FRAUD,
        "production",
        Direction.FORWARD,
        Level.PLAN,
        steps,
        "fraud: 3 10% → 25%",
        "weight 10%",
        (ReadFrom(FRAUD.id, "1", START),),
        START,
        START + timedelta(seconds=120),
    )
    return replace(base, **changes)


STEP = a_plan().steps[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"intent": SetWeight(FRAUD, 2600)},
        {"intent": HoldRollout(FRAUD)},
        {"intent": PromoteVersion(FRAUD, weight_bp=2500)},
        {"target": EndpointRef("world", "ml", "wine")},
        {"environment": "staging"},
        {"level": Level.NAME},
        {"steps": ()},
        {"steps": (STEP, STEP)},
        {"steps": (replace(STEP, payload="{}"),)},
        {"steps": (replace(STEP, call="another call"),)},
        {"steps": (replace(STEP, precondition="none"),)},
        {"steps": (replace(STEP, connection="elsewhere"),)},
        {"steps": (replace(STEP, expects=replace(expectation_of(ENDPOINT), held=True)),)},
        {"steps": (replace(STEP, best_effort=True),)},
        {"read_from": (ReadFrom(FRAUD.id, "2", START),)},
    ],
    ids=repr,
)
def test_whatever_would_be_sent_or_was_read_is_in_the_hash(changes: dict[str, Any]) -> None:
    assert a_plan(**changes).plan_hash != a_plan().plan_hash


@pytest.mark.parametrize(
    "changes",
    [
        {"created_at": START + timedelta(hours=1), "expires_at": START + timedelta(hours=2)},
        {"read_from": (ReadFrom(FRAUD.id, "1", START + timedelta(seconds=9)),)},
        {"checks": (Check("fresh", CheckStatus.PASS, "read 1 s ago"),)},
    ],
    ids=["later", "read later", "checked"],
)
def test_the_clock_is_not_in_the_hash(changes: dict[str, Any]) -> None:
    assert a_plan(**changes).plan_hash == a_plan().plan_hash


def test_a_hash_is_sha_256_and_steady() -> None:
    assert len(a_plan().plan_hash) == 64
    assert int(a_plan().plan_hash, 16)
    assert len({a_plan().plan_hash for _ in range(3)}) == 1


def test_a_plan_expires() -> None:
    assert not a_plan().expired(START + timedelta(seconds=119))
    assert a_plan().expired(START + timedelta(seconds=120))


# --- policy -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["production", "Prod", " live ", "PRODUCTION"])
def test_production_by_any_of_its_names(word: str) -> None:
    assert is_production(word)
    assert not is_production(f"pre{word.strip()}")
    assert not is_production("")


EVERYTHING = list(product(Verb, (False, True), (False, True), (False, True), (False, True), Level))


def test_levels_keep_their_promises_for_every_verb_and_situation() -> None:
    for verb, lowers, production, full, harmful, floor in EVERYTHING:
        direction = direction_of(verb, lowers_weight=lowers)
        level = level_of(verb, direction, production=production, full=full, harmful=harmful, floor=floor)
        loose = level_of(verb, direction, production=False, full=False, harmful=False)
        assert level >= loose, "a graver situation is never easier"
        if direction is Direction.SAFE:
            assert level <= Level.PLAN, "an emergency needs no ticket"
        else:
            assert level >= floor, "configuration can't loosen"
        assert level >= (Level.KEY if verb is Verb.HOLD else Level.PLAN)


def test_rolling_back_is_never_harder_than_promoting() -> None:
    for production, full, harmful, floor in product((False, True), (False, True), (False, True), Level):
        levels = [
            level_of(verb, direction_of(verb), production=production, full=full, harmful=harmful, floor=floor)
            for verb in (Verb.ROLLBACK, Verb.PROMOTE)
        ]
        assert levels[0] <= levels[1]


def test_access_says_why_not() -> None:
    armed = Access(armed_until=START)
    late = armed.may_write(START)
    assert late is not None
    assert late.code == "read_only"
    assert armed.may_write(START - timedelta(seconds=1)) is None
    never = Access().may_write(START)
    assert never is not None
    assert never.hint
    locked = Access(armed_until=START, locked="no durable audit").may_write(START - timedelta(seconds=1))
    assert locked is not None
    assert locked.code == "locked"
