"""The kept judgement equals judging everything anew, after every fact and every step of the clock; what did not change is not judged."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.release_parts import FRAUD, FRAUD_MODEL, SCRIPT, START, WINE

from mlrelease_tui.connectors.fake.script import backend_of
from mlrelease_tui.domain.metrics import VariantSample
from mlrelease_tui.domain.models import Model
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.status import Binding, Guard, Severity
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
listings = st.one_of(
    st.builds(
        lambda name, picked, second: EndpointsObserved(name, tuple(picked), START + timedelta(seconds=second)),
        st.just(name),
        st.lists(
            st.builds(seen, st.sampled_from(list(backend.endpoints.values())), seconds, st.booleans()),
            max_size=4,
            unique_by=lambda item: item.ref,
        ),
        seconds,
    )
    for name, backend in (("world", WORLD), ("other", OTHER))
)
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
    listings,
    listings,
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


def same(judged: Judged, state: State, now: datetime) -> None:
    anew = select.fleet(state, now)
    assert judged.worst_first == anew
    assert dict(judged.statuses) == {item.ref: item for item in anew}
    assert judged.counts == Counter(item.severity for item in anew)


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
