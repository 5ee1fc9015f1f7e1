"""The numbers of a canary pair: weights are shares of pods, exact or refused."""

from __future__ import annotations

from typing import Any

import pytest

from mlrelease_tui.connectors.kubernetes.workloads.deployment_standing import standing_of
from mlrelease_tui.connectors.kubernetes.workloads.pair_standing import (
    Pair,
    nearest,
    picks,
    pods_for,
    reached_of,
    role_of,
    share,
)

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("weight_bp", "total", "pods"),
    [
        (1000, 10, 1),
        (3333, 3, 1),
        (6667, 3, 2),
        (10_000, 3, 3),
        (0, 3, 0),
        (1000, 3, None),
        (3300, 3, None),
        (1, 10, None),
    ],
)
def test_a_weight_is_a_number_of_pods_or_none(weight_bp: int, total: int, pods: int | None) -> None:
    assert pods_for(weight_bp, total) == pods


@pytest.mark.parametrize(
    ("weight_bp", "total", "around"),
    [(1000, 3, (0, 3333)), (5000, 3, (3333, 6667)), (9900, 10, (9000, 10_000)), (1, 10, (0, 1000))],
)
def test_the_two_weights_around_one_that_cant_be(weight_bp: int, total: int, around: tuple[int, int]) -> None:
    assert nearest(weight_bp, total) == around


def test_no_pods_have_no_share() -> None:
    assert share(0, 0) == 0


def half(replicas: int, **labels: str) -> Json:
    pods = {"metadata": {"labels": {"serves": "fraud", "side": "a"}}, "spec": {"containers": []}}
    return {"metadata": {"name": "x", "labels": labels}, "spec": {"replicas": replicas, "template": pods}}


def service(selector: Json, steps: str = "") -> Json:
    notes = {"mlrelease.dev/steps": steps} if steps else {}
    return {"metadata": {"name": "fraud", "annotations": notes}, "spec": {"selector": selector}}


def test_a_half_says_which_it_is_and_anything_else_is_none() -> None:
    assert role_of(half(1, **{"mlrelease.dev/role": "canary"})) == "canary"
    assert role_of(half(1, **{"mlrelease.dev/role": "primary"})) == ""
    assert role_of(half(1)) == ""


def test_a_service_without_a_selector_sends_to_nobody_that_it_names() -> None:
    assert picks(service({"serves": "fraud"}), half(1))
    assert not picks(service({"serves": "fraud", "side": "b"}), half(1))
    assert not picks(service({}), half(1))


@pytest.mark.parametrize(
    ("noted", "steps"),
    [("[50, 10]", (1000, 5000)), ("[12.5]", (1250,)), ("[0, 100, true]", ()), ("10", ()), ("nonsense", ()), ("", ())],
)
def test_steps_are_what_the_service_notes(noted: str, steps: tuple[int, ...]) -> None:
    pair = Pair(service({}, noted), standing_of(half(9), ()), standing_of(half(1), ()))
    assert pair.steps == steps


def test_the_step_is_the_last_one_whose_weight_is_reached() -> None:
    pair = Pair(service({}, "[10, 50]"), standing_of(half(5), ()), standing_of(half(5), ()))
    assert (pair.weight_bp, pair.step_index) == (5000, 1)
    resting = Pair(service({}, "[10, 50]"), standing_of(half(10), ()), standing_of(half(0), ()))
    assert (resting.weight_bp, resting.step_index, resting.in_flight) == (0, None, False)


def test_ready_addresses_are_counted_once_by_whose_pods_they_are() -> None:
    def pod(uid: str, owner: str) -> Json:
        return {"metadata": {"uid": uid, "ownerReferences": [{"uid": owner, "controller": True}]}}

    def address(uid: str, *, ready: bool | None = True) -> Json:
        return {"conditions": {} if ready is None else {"ready": ready}, "targetRef": {"uid": uid}}

    pods = [pod("p1", "rs-a"), pod("p2", "rs-a"), pod("p3", "rs-b"), pod("p4", "rs-x")]
    # A Service of two address families has a slice for each; readiness that is not said counts as ready.
    slices = [
        {"endpoints": [address("p1"), address("p2", ready=False), address("p3", ready=None), address("p4")]},
        {"endpoints": [address("p1")]},
    ]
    assert reached_of(slices, pods, {"rs-a": "a", "rs-b": "b"}) == {"a": 1, "b": 1, "": 1}
