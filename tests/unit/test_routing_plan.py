"""What a plan may say, and what is refused before anything is written."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrelease_tui.errors import Rejected
from mlrelease_tui.routing.api import (
    Capabilities,
    HeaderRule,
    Mirror,
    RoutedVersion,
    StaleGeneration,
    Stamp,
    TrafficPlan,
    check_plan,
    is_safe_name,
    plan_from_json,
    plan_to_json,
)

ABLE = Capabilities(
    exact_split=True,
    mirror=True,
    header_match=True,
    sticky=True,
    latency="histogram",
    durable=True,
    native_cas=False,
    weight_resolution_bp=1,
    worst_effect_s=2.0,
)
PLAN = TrafficPlan(
    "fraud",
    "v6",
    (RoutedVersion("v6", "http://127.0.0.1:8001", 9_000), RoutedVersion("v7", "https://model.internal:8443", 1_000)),
)


def _weights(*weights: Any) -> TrafficPlan:
    versions = tuple(replace(v, weight_bp=w) for v, w in zip(PLAN.versions, weights, strict=True))
    return replace(PLAN, versions=versions)


def _url(url: str) -> TrafficPlan:
    return replace(PLAN, versions=(replace(PLAN.versions[0], url=url), PLAN.versions[1]))


def _name(name: str) -> TrafficPlan:
    return replace(PLAN, versions=(PLAN.versions[0], replace(PLAN.versions[1], name=name)))


def test_a_sound_plan_passes() -> None:
    check_plan(PLAN, ABLE)
    check_plan(replace(PLAN, mirror=Mirror("v7", 10), header_rule=HeaderRule("X-A", "b", "v7")), ABLE)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (_weights(9_000, 999), "sum to 9999"),
        (_weights(0, 0), "sum to 0"),
        (_weights(10_001, -1), "-1, not an integer"),
        (_weights(9_999.5, 0.5), "not an integer"),
        (_weights(True, 9_999), "True, not an integer"),
        (_weights("9000", 1_000), "not an integer"),
        (replace(PLAN, stable="v5"), "stable version 'v5'"),
        (replace(PLAN, versions=()), "stable version 'v6'"),
        (_name("v6"), "named twice"),
        (_name("v--7"), "single hyphens"),
        (_name("v7`)||PathPrefix(`/"), "single hyphens"),
        (_name("-v7"), "single hyphens"),
        (_name(""), "single hyphens"),
        (_name("v\n7"), "single hyphens"),
        (_name("v7\n"), "single hyphens"),
        (_name("x" * 64), "single hyphens"),
        (replace(PLAN, route="../etc"), "the route's name"),
        (_url("ftp://127.0.0.1"), "not an http"),
        (_url("file:///etc/passwd"), "not an http"),
        (_url("http://"), "not an http"),
        (_url("http://127.0.0.1:99999"), "not a URL"),
        (_url("http://user:pw@127.0.0.1"), "more than scheme"),
        (_url("http://127.0.0.1/path"), "more than scheme"),
        (_url("http://127.0.0.1?x=1"), "more than scheme"),
        (_url("http://a`b"), "more than scheme"),
        (_url("http://{{env}}"), "more than scheme"),
        (_url("http://a\nb"), "not a plain URL"),
        (_url("127.0.0.1:80"), "not an http"),
        (replace(PLAN, mirror=Mirror("v9", 10)), "mirror names version 'v9'"),
        (replace(PLAN, mirror=Mirror("v7", 0)), "whole percentage"),
        (replace(PLAN, mirror=Mirror("v7", 101)), "whole percentage"),
        (replace(PLAN, header_rule=HeaderRule("X-A", "`) || PathPrefix(`/", "v7")), "header rule"),
        (replace(PLAN, header_rule=HeaderRule("X A", "b", "v7")), "header rule"),
        (replace(PLAN, header_rule=HeaderRule("X-A", "b", "v9")), "header rule names version 'v9'"),
        (replace(PLAN, sticky_cookie="a;b"), "sticky cookie"),
        (replace(PLAN, state={"x": math.nan}), "not JSON"),
        (replace(PLAN, state={"x": object()}), "not JSON"),
        (replace(PLAN, state={"x": "y" * 40_000}), "more than 32768"),
    ],
)
def test_an_unsound_plan_is_rejected_and_the_reason_named(plan: TrafficPlan, said: str) -> None:
    with pytest.raises(Rejected, match="nothing was changed") as raised:
        check_plan(plan, ABLE)
    assert said in raised.value.message
    assert raised.value.message.isprintable()


@pytest.mark.parametrize(
    ("lacking", "plan", "said"),
    [
        (replace(ABLE, mirror=False), replace(PLAN, mirror=Mirror("v7", 10)), "cannot mirror"),
        (replace(ABLE, header_match=False), replace(PLAN, header_rule=HeaderRule("A", "b", "v7")), "by header"),
        (replace(ABLE, sticky=False), replace(PLAN, sticky_cookie="release"), "on one version"),
        (replace(ABLE, weight_resolution_bp=100), _weights(9_950, 50), "finer"),
    ],
)
def test_what_a_router_cannot_do_is_refused_up_front(lacking: Capabilities, plan: TrafficPlan, said: str) -> None:
    check_plan(plan, ABLE)
    with pytest.raises(Rejected, match=said):
        check_plan(plan, lacking)


def test_receiving_counts_weight_header_and_mirror_and_answering_leaves_the_mirror_out() -> None:
    plan = _weights(10_000, 0)
    assert plan.receiving() == {"v6"}
    assert replace(plan, header_rule=HeaderRule("A", "b", "v7")).answering() == {"v6", "v7"}
    mirrored = replace(plan, mirror=Mirror("v7", 5))
    assert mirrored.receiving() == {"v6", "v7"} and mirrored.answering() == {"v6"}


def test_the_same_plan_is_the_same_whatever_its_generation() -> None:
    assert PLAN.same_as(replace(PLAN, generation=7))
    assert replace(PLAN, state={"steps": (1, 2)}).same_as(replace(PLAN, state={"steps": [1, 2]}))
    assert not PLAN.same_as(replace(PLAN, state={"hold": {"who": "ana"}}))
    assert not PLAN.same_as(PLAN.with_weights(v6=10_000, v7=0))


def test_a_lost_race_names_the_winner_without_trusting_the_name() -> None:
    stamp = Stamp.of({"intent": {"by": "ana\x1b[2J", "at": "2026-01-01T00:00:00Z", "intent_id": "i1", "more": 1}})
    told = StaleGeneration("fraud", 6, 7, stamp)
    assert "generation 7, written by ana\\e[2J, at 2026-01-01T00:00:00Z, intent i1, not at 6" in told.message
    assert "\x1b" not in str(told)
    assert str(Stamp.of({"intent": "garbled"})) == "by an unknown hand"


_texts = st.text(max_size=20)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)


@given(state=st.dictionaries(_texts, _json, max_size=4), mirrored=st.booleans(), sticky=st.sampled_from(["", "c"]))
def test_json_gives_the_same_plan_back(state: dict[str, Any], mirrored: bool, sticky: str) -> None:
    plan = replace(PLAN, state=state, mirror=Mirror("v7", 3) if mirrored else None, sticky_cookie=sticky)
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan


@given(st.text(max_size=70))
def test_a_safe_name_needs_no_quoting_anywhere(name: str) -> None:
    if is_safe_name(name):
        assert name.isascii() and len(name) <= 63 and "--" not in name and not set(name) & set("/`'\"\\@ {}:,\n")
