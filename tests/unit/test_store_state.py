"""The state and `reduce`: laws over many facts, then each promise by name."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.release_parts import FRAUD, FRAUD_MODEL, SCRIPT, START, WINE, VirtualClock, world

from mlrelease_tui.connectors.fake.script import backend_of
from mlrelease_tui.domain.action import OpenAction
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.metrics import Coverage, VariantSample
from mlrelease_tui.domain.models import Lineage
from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.refs import VersionRef
from mlrelease_tui.domain.rollout import Endpoint, Phase
from mlrelease_tui.domain.status import Binding, Severity
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.domain.verdict import Verdict, VerdictKind
from mlrelease_tui.store.facts import (
    AccessChanged,
    AuditObserved,
    BindingsConfigured,
    ConnectionObserved,
    EndpointObserved,
    EndpointsObserved,
    Fact,
    LineageObserved,
    ModelObserved,
    ModelsObserved,
    OpenActionsObserved,
    ReadFailed,
    SamplesObserved,
    VerdictReached,
    VersionsObserved,
)
from mlrelease_tui.store.select import fleet, history, status_of, waiting, windowed
from mlrelease_tui.store.state import SERIES_LENGTH, State, reduce
from mlrelease_tui.store.store import Store

BACKEND = world(VirtualClock())
OTHER = backend_of(SCRIPT, "other", START)
VERSIONS = tuple(item for item in BACKEND.versions.values() if item.ref.model == FRAUD_MODEL)

instants = st.integers(0, 600).map(lambda seconds: START + timedelta(seconds=seconds))
endpoints = st.lists(
    st.sampled_from(
        [*BACKEND.endpoints.values(), *(replace(item, revision="2") for item in BACKEND.endpoints.values())]
    ),
    max_size=3,
    unique_by=lambda item: item.ref,
).map(tuple)


def sample(
    second: float, requests: float | None, *, variant: str = "v3", coverage: Coverage = Coverage.OK
) -> VariantSample:
    at = START + timedelta(seconds=second)
    return VariantSample(
        FRAUD, variant, at, second, requests, errors=0.0 if requests is not None else None, coverage=coverage
    )


samples = st.lists(
    st.builds(
        sample,
        st.integers(0, 100).map(float),
        st.one_of(st.none(), st.integers(0, 50).map(float)),
        variant=st.sampled_from(["v2", "v3"]),
    ),
    max_size=4,
).map(tuple)

facts: st.SearchStrategy[Fact] = st.one_of(
    st.builds(EndpointsObserved, st.just("world"), endpoints, instants),
    st.builds(EndpointsObserved, st.just("other"), st.just(tuple(OTHER.endpoints.values())), instants),
    st.builds(EndpointObserved, st.sampled_from(list(BACKEND.endpoints.values()))),
    st.builds(ModelsObserved, st.just("world"), st.just(tuple(BACKEND.models.values())), instants, st.booleans()),
    st.builds(ModelObserved, st.sampled_from(list(BACKEND.models.values()))),
    st.builds(
        VersionsObserved,
        st.just(FRAUD_MODEL),
        st.lists(st.sampled_from(VERSIONS), max_size=3, unique_by=lambda item: item.ref).map(tuple),
        st.sampled_from(["", "2"]),
        st.booleans(),
        instants,
    ),
    st.builds(LineageObserved, st.just(VERSIONS[0].ref), st.just(Lineage(SafeText("run")))),
    st.builds(SamplesObserved, st.just("world"), samples, instants),
    st.builds(
        VerdictReached, st.sampled_from([FRAUD, WINE]), st.sampled_from([Verdict(kind, "so") for kind in VerdictKind])
    ),
    st.builds(
        ReadFailed,
        st.just("world"),
        st.sampled_from(["endpoints", "models", "metrics", "versions"]),
        st.just("timed_out"),
        st.just("silent"),
        instants,
    ),
    st.builds(
        ConnectionObserved,
        st.builds(ConnectionHealth, st.just("world"), st.just("fake"), st.sampled_from(LinkState)),
    ),
    st.builds(AccessChanged, st.sampled_from([Access(), Access(locked="no disk")])),
    st.builds(BindingsConfigured, st.sampled_from([(), (Binding(FRAUD, FRAUD_MODEL),)])),
    st.builds(
        OpenActionsObserved,
        st.sampled_from([(), (OpenAction("i", SafeText("t"), "weight", SafeText("ana"), START, False, 1),)]),
    ),
    st.just(AuditObserved(())),
)


def after(*given_facts: Fact, state: State | None = None) -> State:
    state = state or State()
    for fact in given_facts:
        state = reduce(state, fact)
    return state


@given(before=st.lists(facts, max_size=12), fact=facts)
def test_the_same_fact_twice_says_nothing_new(before: list[Fact], fact: Fact) -> None:
    once = after(*before, fact)
    assert reduce(once, fact) == once


@given(before=st.lists(facts, max_size=12), fact=facts)
def test_a_fact_that_changes_nothing_gives_the_same_object(before: list[Fact], fact: Fact) -> None:
    state = after(*before)
    changed = reduce(state, fact)
    if not isinstance(fact, EndpointsObserved | ModelsObserved | SamplesObserved | VersionsObserved):
        assert (changed is state) == (changed == state)


@given(st.lists(facts, max_size=20))
def test_nothing_ever_refers_to_an_endpoint_that_is_gone_once_its_connection_was_read(found: list[Fact]) -> None:
    state = after(*found, EndpointsObserved("world", (), START))
    assert not [ref for ref in (*state.endpoints, *state.series, *state.verdicts) if ref.connection == "world"]
    assert fleet(state, START) == tuple(item for item in fleet(state, START) if item.ref.connection == "other")


@given(st.lists(facts, max_size=20))
def test_a_state_is_never_changed_in_place(found: list[Fact]) -> None:
    state = State()
    for fact in found:
        copy = replace(state)
        reduce(state, fact)
        assert state == copy


@given(st.lists(facts, max_size=25))
def test_the_whole_fails_exactly_while_a_part_does(found: list[Fact]) -> None:
    for freshness in after(*found).freshness.values():
        failing = [part.failing_since for part in freshness.parts.values() if part.failing_since is not None]
        assert freshness.failing_since == min(failing, default=None)


@given(st.lists(samples, max_size=10))
def test_readings_of_a_variant_only_go_forward(found: list[tuple[VariantSample, ...]]) -> None:
    state = after(*(SamplesObserved("world", item, START) for item in found))
    for series in state.series.get(FRAUD, {}).values():
        ticks = [item.monotonic_s for item in series]
        assert ticks == sorted(set(ticks))


def test_readings_are_bounded() -> None:
    state = after(*(SamplesObserved("world", (sample(second, 1.0),), START) for second in range(SERIES_LENGTH + 40)))
    assert len(state.series[FRAUD]["v3"]) == SERIES_LENGTH
    assert state.series[FRAUD]["v3"][-1].monotonic_s == SERIES_LENGTH + 39


def test_another_connections_rows_are_none_of_ours() -> None:
    state = after(
        EndpointsObserved("world", tuple(BACKEND.endpoints.values()), START),
        EndpointsObserved("other", tuple(OTHER.endpoints.values()), START),
        EndpointsObserved("world", (), START),
    )
    assert {ref.connection for ref in state.endpoints} == {"other"}


def test_a_page_of_models_that_is_not_all_removes_none() -> None:
    state = after(
        ModelsObserved("world", tuple(BACKEND.models.values()), START),
        ModelsObserved("world", (BACKEND.models[FRAUD_MODEL],), START, complete=False),
    )
    assert len(state.models) == 2
    assert len(reduce(state, ModelsObserved("world", (), START)).models) == 0


def test_versions_are_paged_and_begin_anew_with_the_first_page() -> None:
    state = after(
        VersionsObserved(FRAUD_MODEL, VERSIONS[:2], "2", True, START),
        VersionsObserved(FRAUD_MODEL, VERSIONS[1:4], "", False, START),
    )
    assert state.versions[FRAUD_MODEL].versions == VERSIONS[:4]
    assert state.versions[FRAUD_MODEL].next_token == ""
    state = after(VersionsObserved(FRAUD_MODEL, VERSIONS[:1], "1", True, START), state=state)
    assert state.versions[FRAUD_MODEL].versions == VERSIONS[:1]


# --- freshness --------------------------------------------------------------------------------------------------------------

LATER = START + timedelta(seconds=30)
READ = EndpointsObserved("world", tuple(BACKEND.endpoints.values()), START)


def test_a_failing_connection_keeps_its_rows_and_shows_their_age() -> None:
    state = after(READ, ReadFailed("world", "endpoints", "timed_out", "silent", LATER))
    status = status_of(state, FRAUD, LATER)
    assert status is not None
    assert (status.severity, status.stale_since) == (Severity.STALE, START)


@pytest.mark.parametrize("other", [SamplesObserved("world", (), LATER), ModelsObserved("world", (), LATER)])
def test_another_kind_of_read_does_not_make_rows_fresh(other: Fact) -> None:
    state = after(READ, ReadFailed("world", "endpoints", "timed_out", "silent", LATER), other)
    status = status_of(state, FRAUD, LATER)
    assert status is not None
    assert status.severity is Severity.STALE
    assert state.freshness["world"].failing_since == LATER


def test_metrics_that_fail_do_not_make_rows_stale() -> None:
    status = status_of(after(READ, ReadFailed("world", "metrics", "timed_out", "silent", LATER)), FRAUD, LATER)
    assert status is not None
    assert status.stale_since is None


def test_a_read_that_goes_well_again_ends_it() -> None:
    failing = after(READ, ReadFailed("world", "endpoints", "timed_out", "silent", LATER))
    state = after(replace(READ, at=LATER + timedelta(seconds=2)), state=failing)
    assert state.freshness["world"].failing_since is None
    assert state.freshness["world"].error == ""


def test_failing_since_is_the_first_failure() -> None:
    state = after(*(ReadFailed("world", "endpoints", "x", "x", START + timedelta(seconds=n)) for n in range(5)))
    assert state.freshness["world"].failing_since == START


def test_rows_of_the_last_run_are_stale_until_their_endpoints_were_read() -> None:
    cached = replace(after(READ), from_cache=frozenset({"world"}), freshness={})
    for fact in (ModelsObserved("world", (), LATER), SamplesObserved("world", (), LATER)):
        cached = reduce(cached, fact)
        status = status_of(cached, FRAUD, LATER)
        assert status is not None
        assert status.severity is Severity.STALE
    status = status_of(reduce(cached, replace(READ, at=LATER)), FRAUD, LATER)
    assert status is not None
    assert status.stale_since is None


# --- questions ------------------------------------------------------------------------------------------------------------------


def test_old_metrics_are_not_shown_as_of_now() -> None:
    state = after(READ, SamplesObserved("world", tuple(sample(second, second * 10) for second in (0, 10, 20)), START))
    assert windowed(state, FRAUD, START + timedelta(seconds=21))["v3"].rate == 10
    assert windowed(state, FRAUD, START + timedelta(seconds=51)) == {}


def counted(second: float, stable: float, canary: float) -> Fact:
    """The totals of both variants at a moment."""
    both = (sample(second, stable, variant="v2"), sample(second, canary, variant="v3"))
    return SamplesObserved("world", both, START + timedelta(seconds=second))


def moved(second: float, *weights: int) -> Endpoint:
    """The endpoint as it was read at a moment, with these weights."""
    endpoint = BACKEND.endpoints[FRAUD]
    variants = tuple(replace(item, weight_bp=bp) for item, bp in zip(endpoint.variants, weights, strict=True))
    return replace(endpoint, variants=variants, observed_at=START + timedelta(seconds=second))


@pytest.mark.parametrize("whole", [True, False])
def test_a_share_is_of_the_weights_that_are_set_now(whole: bool) -> None:
    def read(endpoint: Endpoint) -> Fact:
        return EndpointsObserved("world", (endpoint,), endpoint.observed_at) if whole else EndpointObserved(endpoint)

    state = after(read(moved(0, 9_000, 1_000)), counted(0, 0, 0), counted(10, 90, 10))
    assert windowed(state, FRAUD, START + timedelta(seconds=10))["v3"].observed_share == 0.1
    state = after(read(moved(11, 5_000, 5_000)), counted(12, 100, 12), state=state)
    seen = windowed(state, FRAUD, START + timedelta(seconds=12))["v3"]
    assert seen.observed_share is None, "one reading since then says nothing yet"
    assert seen.rate == 1, "all else is of the whole window"
    state = after(counted(14, 110, 22), read(moved(15, 5_000, 5_000)), state=state)
    assert windowed(state, FRAUD, START + timedelta(seconds=15))["v3"].observed_share == 0.5


def test_a_variant_that_is_gone_has_no_metrics() -> None:
    found = tuple(sample(second, 1.0 + second, variant="v9") for second in (0, 10))
    assert windowed(after(READ, SamplesObserved("world", found, START)), FRAUD, START + timedelta(seconds=10)) == {}


@pytest.mark.parametrize("whole", [True, False])
def test_a_verdict_goes_with_the_canary_that_it_was_about(whole: bool) -> None:
    def read(endpoint: Endpoint) -> Fact:
        return EndpointsObserved("world", (endpoint,), START) if whole else EndpointObserved(endpoint)

    fraud = BACKEND.endpoints[FRAUD]
    rollout = fraud.rollout
    assert rollout.in_flight
    judged = after(read(fraud), VerdictReached(FRAUD, Verdict(VerdictKind.HARM, "so")))
    weighed = after(read(replace(fraud, revision="other")), state=judged)
    assert FRAUD in weighed.verdicts
    returned = replace(rollout, to_version=rollout.from_version, phase=Phase.COMPLETE)
    assert FRAUD not in after(read(replace(fraud, rollout=returned)), state=judged).verdicts
    another = replace(fraud, rollout=replace(rollout, to_version="99"))
    assert FRAUD not in after(read(another), state=judged).verdicts


def test_history_is_short_windows_and_gaps_stay_gaps() -> None:
    found = [sample(second, second * 2.0) for second in range(0, 12, 2)]
    found[4] = sample(8, None, coverage=Coverage.NO_TARGET)
    state = after(SamplesObserved("world", tuple(found), START))
    points = history(state, FRAUD, "v3", bucket=2)
    assert [(point.coverage, point.rate) for point in points] == [(Coverage.OK, 2.0), (Coverage.NO_TARGET, None)]


def test_the_fleet_is_worst_first() -> None:
    state = after(READ)
    assert [item.ref.name for item in fleet(state, START)] == ["fraud", "wine"]
    wine = BACKEND.endpoints[WINE]
    degraded = replace(wine, rollout=replace(wine.rollout, phase=Phase.DEGRADED))
    assert fleet(after(EndpointObserved(degraded), state=state), START)[0].ref == WINE
    assert waiting(state) == 1


def test_the_binding_of_the_configuration_fills_what_the_backend_does_not_say() -> None:
    bare = replace(BACKEND.endpoints[FRAUD], model=None, alias="")
    state = after(
        EndpointObserved(bare),
        ModelsObserved("world", tuple(BACKEND.models.values()), START),
        BindingsConfigured((Binding(FRAUD, FRAUD_MODEL, "champion"),)),
    )
    status = status_of(state, FRAUD, START)
    assert status is not None
    assert status.mismatch == "alias champion says v3, endpoint runs v2, v3 only as canary"


def test_what_is_not_known_has_no_status() -> None:
    assert status_of(State(), FRAUD, START) is None
    assert VersionRef(FRAUD_MODEL, "1") not in State().lineage


# --- the store --------------------------------------------------------------------------------------------------------------


def test_a_subscriber_that_raises_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    seen: list[Fact] = []

    def fails(_state: State, _fact: Fact) -> None:
        raise RuntimeError("a fault of a screen")

    store.subscribe(fails)
    end = store.subscribe(lambda _state, fact: seen.append(fact))
    with caplog.at_level(logging.CRITICAL):
        store.emit(READ)
    assert seen == [READ]
    end()
    end()
    store.emit(ReadFailed("world", "endpoints", "x", "x", START))
    assert seen == [READ]


def test_nobody_is_told_of_nothing() -> None:
    store = Store()
    seen: list[Fact] = []
    store.subscribe(lambda _state, fact: seen.append(fact))
    health = ConnectionObserved(ConnectionHealth("world", "fake", LinkState.OK))
    for _ in range(3):
        store.emit(health)
    assert seen == [health]
