"""The kept judgement equals judging everything anew, after every fact and step of the clock; what did not change is left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.release_parts import FRAUD, FRAUD_MODEL, SCRIPT, START, WINE

from mlrelease_tui.connectors.fake.script import backend_of
from mlrelease_tui.domain.metrics import VariantSample
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.status import Binding, EndpointStatus, Guard
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.domain.verdict import Verdict, VerdictKind
from mlrelease_tui.store import select
from mlrelease_tui.store.facts import (
    BindingsConfigured,
    EndpointObserved,
    EndpointsObserved,
    Fact,
    ModelObserved,
    ModelsObserved,
    ReadFailed,
    SamplesObserved,
    VerdictReached,
    VerdictsReached,
)
from mlrelease_tui.store.judge import FleetJudge, Judged
from mlrelease_tui.store.order import Order, differing
from mlrelease_tui.store.state import Freshness, State, reduce

WORLD = backend_of(SCRIPT, "world", START)
OTHER = backend_of(SCRIPT, "other", START)
TROUBLE = (SafeText("a router lies"),)


def seen(endpoint: Endpoint, second: int, changed: bool) -> Endpoint:
    """Read at `second`, with all parts made anew, as a backend's answer is parsed."""
    again = replace(endpoint, observed_at=START + timedelta(seconds=second))
    return replace(again, revision="9", problems=TROUBLE) if changed else again


seconds = st.integers(0, 120)
instants = seconds.map(lambda second: START + timedelta(seconds=second))


def listings(name: str, endpoints: Iterable[Endpoint]) -> st.SearchStrategy[Fact]:
    picked = st.lists(
        st.builds(seen, st.sampled_from(list(endpoints)), seconds, st.booleans()),
        max_size=4,
        unique_by=lambda item: item.ref,
    )
    return st.builds(EndpointsObserved, st.just(name), picked.map(tuple), instants)


samples = st.lists(
    st.builds(
        lambda ref, variant, second, requests, errors: VariantSample(
            ref, variant, START + timedelta(seconds=second), float(second), requests, errors
        ),
        st.sampled_from([FRAUD, WINE, EndpointRef("other", "ml", "fraud")]),
        st.sampled_from(["v2", "v3"]),
        seconds,
        st.integers(0, 500).map(float),
        st.integers(0, 500).map(float),
    ),
    max_size=4,
).map(tuple)
models = st.builds(
    lambda model, alias, second: replace(
        model, aliases=MappingProxyType({"champion": alias}), observed_at=START + timedelta(seconds=second)
    ),
    st.sampled_from(list(WORLD.models.values())),
    st.sampled_from(["2", "3"]),
    seconds,
)
verdicts = st.sampled_from([Verdict(kind, "so") for kind in VerdictKind])
refs = st.sampled_from([*WORLD.endpoints, *OTHER.endpoints])
facts: st.SearchStrategy[Fact] = st.one_of(
    listings("world", WORLD.endpoints.values()),
    listings("other", OTHER.endpoints.values()),
    st.builds(
        EndpointObserved, st.builds(seen, st.sampled_from(list(WORLD.endpoints.values())), seconds, st.booleans())
    ),
    st.builds(SamplesObserved, st.just("world"), samples, instants),
    st.builds(ModelsObserved, st.just("world"), st.lists(models, unique_by=lambda item: item.ref).map(tuple), instants),
    st.builds(ModelObserved, models),
    st.builds(VerdictReached, refs, verdicts),
    st.builds(VerdictsReached, st.dictionaries(refs, verdicts)),
    st.builds(
        ReadFailed, st.sampled_from(["world", "other"]), st.just("endpoints"), st.just("down"), st.just("no"), instants
    ),
    st.builds(
        BindingsConfigured,
        st.sampled_from(
            [(), (Binding(FRAUD, FRAUD_MODEL, "champion"),), (Binding(WINE, FRAUD_MODEL, "", Guard(0.5)),)]
        ),
    ),
)
steps = st.lists(st.tuples(facts, st.integers(-5, 45)), max_size=12)
"""Facts, and the seconds by which the clock moves after each; now and then it goes back."""


def same(judged: Judged, state: State, now: datetime, *, anew: bool = True) -> None:
    fleet = select.fleet(state, now) if anew else judged.worst_first
    assert judged.worst_first == fleet
    assert dict(judged.statuses) == {item.ref: item for item in fleet}
    assert judged.counts == Counter(item.severity for item in fleet)


@settings(max_examples=300, deadline=None)
@given(steps, st.booleans())
def test_it_says_what_judging_everything_anew_says(walk: list[tuple[Fact, int]], cached: bool) -> None:
    state = State()
    if cached:
        state = State(
            endpoints=MappingProxyType(dict(WORLD.endpoints)),
            from_cache=frozenset({"world"}),
            freshness=MappingProxyType({"world": Freshness(read_at=START)}),
        )
    judge, now = FleetJudge(), START
    same(judge.at_once(state, now), state, now)
    for fact, passed in walk:
        state, now = reduce(state, fact), now + timedelta(seconds=passed)
        same(judge.at_once(state, now), state, now)


def test_an_endpoint_in_which_nothing_changed_is_the_same_and_is_seen_later() -> None:
    first = tuple(WORLD.endpoints.values())
    later = START + timedelta(seconds=60)
    state = reduce(State(), EndpointsObserved("world", first, START))
    again = tuple(replace(item, observed_at=later) for item in first)
    after = reduce(state, EndpointsObserved("world", again, later))
    assert after.endpoints is state.endpoints
    seen_again = after.seen(FRAUD)
    assert seen_again is not None
    assert seen_again.observed_at == later
    status = select.status_of(after, FRAUD, later)
    assert status is not None
    assert status.endpoint.observed_at == later, "a row looks older than it is"


def test_an_endpoint_read_long_before_the_others_does_not_look_younger_than_it_is() -> None:
    first = tuple(WORLD.endpoints.values())
    state = reduce(State(), EndpointsObserved("world", first, START))
    later = START + timedelta(seconds=60)
    mixed = (first[0], *(replace(item, observed_at=later) for item in first[1:]))
    after = reduce(state, EndpointsObserved("world", mixed, later))
    found = after.seen(first[0].ref)
    assert found is not None
    assert found.observed_at == first[0].observed_at
    assert all(after.endpoints[item.ref].observed_at == later for item in mixed[1:])


def test_what_the_last_run_wrote_down_is_not_taken_for_what_is_read() -> None:
    first = tuple(WORLD.endpoints.values())
    cached = State(endpoints=MappingProxyType({item.ref: item for item in first}), from_cache=frozenset({"world"}))
    read = tuple(replace(item, observed_at=START + timedelta(seconds=9)) for item in first)
    after = reduce(cached, EndpointsObserved("world", read, START + timedelta(seconds=9)))
    assert all(after.endpoints[item.ref] is item for item in read)


def test_one_endpoint_read_again_is_taken_even_where_nothing_changed() -> None:
    """A plan asks how old a reading is: it must be the newest."""
    state = reduce(State(), EndpointsObserved("world", tuple(WORLD.endpoints.values()), START))
    newer = replace(WORLD.endpoints[FRAUD], observed_at=START + timedelta(seconds=5))
    assert reduce(state, EndpointObserved(newer)).endpoints[FRAUD] is newer


def test_what_is_measured_of_an_endpoint_that_is_gone_is_dropped() -> None:
    state = reduce(State(), EndpointsObserved("world", (WORLD.endpoints[WINE],), START))
    late = VariantSample(FRAUD, "v3", START, 1.0, 1.0, 0.0)
    state = reduce(state, SamplesObserved("world", (late,), START))
    state = reduce(state, VerdictReached(FRAUD, Verdict(VerdictKind.HARM, "so")))
    state = reduce(state, VerdictsReached({FRAUD: Verdict(VerdictKind.HARM, "so")}))
    assert not state.series
    assert not state.verdicts


def test_only_what_changed_is_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = FleetJudge()
    state = reduce(State(), EndpointsObserved("world", tuple(WORLD.endpoints.values()), START))
    state = reduce(state, ModelsObserved("world", tuple(WORLD.models.values()), START))
    judge.at_once(state, START)
    looked: list[EndpointRef] = []
    real = select.judged

    def noted(state: State, endpoint: Endpoint, now: datetime) -> EndpointStatus:
        looked.append(endpoint.ref)
        return real(state, endpoint, now)

    monkeypatch.setattr(select, "judged", noted)
    later = START + timedelta(seconds=2)
    again = tuple(seen(item, 2, item.ref == FRAUD) for item in WORLD.endpoints.values())
    state = reduce(state, EndpointsObserved("world", again, later))
    same(judge.at_once(state, later), state, later, anew=False)
    assert looked == [FRAUD]
    models = tuple(replace(item, observed_at=later) for item in WORLD.models.values())
    judge.at_once(reduce(state, ModelsObserved("world", models, later)), later)
    assert looked == [FRAUD], "models that say the same were taken for others"


def test_a_pass_that_is_under_way_ends_before_the_next_begins() -> None:
    """However fast states come, there is a newer judgement after each pass."""
    judge = FleetJudge()
    state = reduce(State(), EndpointsObserved("world", tuple(WORLD.endpoints.values()), START))
    assert judge.step(state, START) is None
    other = reduce(state, VerdictReached(FRAUD, Verdict(VerdictKind.HARM, "so")))
    while judge.judged is None:
        judge.step(other, START)
    assert judge.judged.state is state
    same(judge.at_once(other, START), other, START)


numbers = st.dictionaries(st.integers(0, 60).map(str), st.integers(0, 9).map(lambda number: [number]), max_size=60)
"""Lists, since what differs is told by identity."""


@given(st.lists(numbers, max_size=6), st.data())
def test_an_order_that_is_kept_is_the_order_made_anew(walk: list[dict[str, list[int]]], data: st.DataObject) -> None:
    ranks = {id(value): value for values in walk for value in values.values()}
    of = {id(value): key for values in walk for key, value in values.items()}

    def rank(value: list[int]) -> tuple[int, str] | None:
        assert ranks[id(value)] is value
        return None if value[0] == 0 else (-value[0], of[id(value)])

    order: Order[str, list[int]] = Order(rank, lambda value: of[id(value)])
    kept: dict[str, list[int]] = {}
    for values in walk:
        # Some keys stay with the object that they had.
        stay = data.draw(st.sets(st.sampled_from(sorted(kept)))) if kept else set()
        kept = {**values, **{key: kept[key] for key in stay}}
        half = order.place(kept)
        if data.draw(st.booleans()):
            next(half, None)
            half = order.place(kept)
        for _ in half:
            pass
        listed = sorted((value for value in kept.values() if value[0]), key=lambda value: (-value[0], of[id(value)]))
        assert list(order.values) == listed
        assert list(order.names) == [of[id(value)] for value in listed]


@given(numbers, numbers, st.data())
def test_what_differs_is_found_whatever_stayed(
    old: dict[str, list[int]], new: dict[str, list[int]], data: st.DataObject
) -> None:
    stay = data.draw(st.sets(st.sampled_from(sorted(old)))) if old else set()
    new = {key: value for key, value in old.items() if key in stay} | new
    changed, gone = differing(old, new)
    assert sorted(changed) == sorted(key for key in new if key not in old or old[key] is not new[key])
    assert sorted(gone) == sorted(old.keys() - new.keys())


def test_readings_that_grew_too_old_count_again_where_the_clock_goes_back() -> None:
    state = reduce(State(), EndpointsObserved("world", tuple(WORLD.endpoints.values()), START))
    readings = tuple(
        VariantSample(FRAUD, "v3", START + timedelta(seconds=second), float(second), second * 10.0, second * 9.0)
        for second in (0, 20)
    )
    state = reduce(state, SamplesObserved("world", readings, START))
    judge, seen_as = FleetJudge(), []
    for second in (20, 90, 25):
        now = START + timedelta(seconds=second)
        judged = judge.at_once(state, now)
        same(judged, state, now)
        seen_as.append(bool(judged.statuses[FRAUD].metrics))
    assert seen_as == [True, False, True]
