"""Knative Services as read: Revisions as variants, traffic by name, and lists that pin what runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, world_of
from mlrelease_tui.connectors.kubernetes.workloads.knative import KnativeServices
from mlrelease_tui.connectors.kubernetes.workloads.knative_driver import KnativeDriver
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Hold, Phase, Role, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

Json = dict[str, Any]

FRAME = Frame("k8s", "staging", "lab", "", datetime(2026, 11, 21, 12, 0, tzinfo=UTC))
SERVICES = Resource("serving.knative.dev", "v1", "services", "Service")
REVISIONS = Resource("serving.knative.dev", "v1", "revisions", "Revision")
SERVED = Served({(one.group, one.plural): one for one in (SERVICES, REVISIONS)})


def named(number: int) -> str:
    return f"fraud-0000{number}"


def revision(number: int, *, ready: str = "True", actual: int = 1) -> Json:
    return {
        "metadata": {"namespace": "ns", "name": named(number), "labels": {"serving.knative.dev/service": "fraud"}},
        "spec": {"containers": [{"image": f"registry.example/fraud:{number}"}]},
        "status": {
            "actualReplicas": actual,
            "desiredReplicas": 1,
            "conditions": [{"type": "Ready", "status": ready, "reason": "ExitCode1", "message": "it ended"}],
        },
    }


def entry(number: int, percent: int, **more: Any) -> Json:
    return {"revisionName": named(number), "percent": percent, **more}


def service(
    *,
    wanted: list[Json],
    traffic: list[Json],
    created: int = 2,
    ready: int = 2,
    generation: int = 5,
    routes: str = "True",
    reason: str = "",
    revisions: list[Json] | None = None,
    owner: bool = False,
    notes: Json | None = None,
) -> list[Reading]:
    meta: Json = {
        "namespace": "ns",
        "name": "fraud",
        "uid": "u-1",
        "generation": generation,
        "annotations": notes or {},
    }
    if owner:
        meta["ownerReferences"] = [{"controller": True, "uid": "isvc"}]
    item = {
        "metadata": meta,
        "spec": {"template": {"spec": {"containers": [{"image": "registry.example/fraud:2"}]}}, "traffic": wanted},
        "status": {
            "observedGeneration": 5,
            "latestCreatedRevisionName": named(created),
            "latestReadyRevisionName": named(ready),
            "traffic": traffic,
            "conditions": [
                {"type": "Ready", "status": routes, "reason": reason},
                {"type": "RoutesReady", "status": routes, "reason": reason},
            ],
        },
    }
    workload = KnativeServices()
    world = world_of({SERVICES: [item], REVISIONS: revisions or [revision(1), revision(2)]})
    return [workload.read(one, world, SERVED, FRAME) for one in workload.sightings(world, SERVED)]


def split(percent: int = 10, **more: Any) -> Reading:
    traffic = [entry(1, 100 - percent, tag="stable"), entry(2, percent, tag="canary")]
    (found,) = service(**{"wanted": traffic, "traffic": traffic} | more)
    return found


def at_rest(number: int = 2, **more: Any) -> Reading:
    traffic = [entry(number, 100)]
    (found,) = service(**{"wanted": traffic, "traffic": traffic} | more)
    return found


def traffic_of(write: Write) -> list[Json]:
    ops = json.loads(write.payload)["patch"]
    found: list[Json] = next(op["value"] for op in ops if op["path"] == "/spec/traffic" and op["op"] != "test")
    return found


def driver(reading: Reading) -> KnativeDriver:
    assert isinstance(reading.driver, KnativeDriver)
    return reading.driver


def test_revisions_are_the_variants_and_weights_go_by_their_name() -> None:
    endpoint = split().endpoint
    assert [(one.name, one.role, one.version, one.weight_bp) for one in endpoint.variants] == [
        (named(1), Role.STABLE, "1", 9000),
        (named(2), Role.CANARY, "2", 1000),
    ]
    assert endpoint.rollout.phase is Phase.WAITING


def test_a_service_that_kserve_owns_is_no_endpoint() -> None:
    traffic = [entry(2, 100)]
    assert service(wanted=traffic, traffic=traffic, owner=True) == []


def test_traffic_is_not_in_force_before_its_routes_are_ready() -> None:
    endpoint = split(routes="Unknown", reason="IngressNotConfigured").endpoint
    assert [one.weight_bp for one in endpoint.variants] == [None, None]
    assert endpoint.rollout.phase is Phase.PROGRESSING


def test_a_ramp_shows_two_latest_revisions_and_is_still_read_by_name() -> None:
    traffic = [entry(1, 70, latestRevision=True), entry(2, 30, latestRevision=True)]
    (reading,) = service(
        wanted=[{"latestRevision": True, "percent": 100}], traffic=traffic, routes="Unknown", reason="RolloutInProgress"
    )
    assert reading.endpoint.rollout.phase is Phase.PROGRESSING
    assert (reading.endpoint.rollout.from_version, reading.endpoint.rollout.to_version) == ("1", "2")


def test_a_missing_revision_is_told_and_keeps_the_old_traffic() -> None:
    endpoint = at_rest(routes="False", reason="RevisionMissing").endpoint
    assert endpoint.rollout.phase is Phase.DEGRADED
    assert "RevisionMissing" in " ".join(endpoint.problems)


def test_a_generation_that_nobody_looked_at_says_that_knative_does_not_run() -> None:
    endpoint = at_rest(generation=6).endpoint
    assert endpoint.rollout.phase is Phase.UNKNOWN
    assert "is Knative Serving running?" in endpoint.rollout.message


def test_all_green_without_a_ready_pod_is_degraded() -> None:
    assert at_rest(revisions=[revision(1), revision(2, actual=0)]).endpoint.rollout.phase is Phase.DEGRADED


def test_a_release_pins_what_runs_in_the_same_patch_as_the_new_template() -> None:
    reading = at_rest()
    (write,) = driver(reading).start(reading.endpoint, Artifact("3"), 2000)
    assert traffic_of(write) == [
        {"revisionName": named(2), "percent": 80, "tag": "stable"},
        {"latestRevision": True, "percent": 20, "tag": "canary"},
    ]
    assert "registry.example/fraud:3" in write.payload


def test_weights_name_their_revisions_and_sum_to_100() -> None:
    reading = split()
    (write,) = driver(reading).set_weight(reading.endpoint, 3300)
    assert traffic_of(write) == [entry(1, 67, tag="stable"), entry(2, 33, tag="canary")]


@pytest.mark.parametrize("weight_bp", [1050, -100, 10_100])
def test_knative_knows_whole_percents_of_100(weight_bp: int) -> None:
    reading = split()
    with pytest.raises(Refused, match="whole percents"):
        driver(reading).set_weight(reading.endpoint, weight_bp)


def test_a_rollback_gives_everything_to_the_revision_of_that_version_by_name() -> None:
    reading = at_rest(notes={"mlrelease.dev/history": '["1"]'})
    assert reading.endpoint.previous_version == "1"
    (write,) = driver(reading).roll_back(reading.endpoint, Artifact("1"))
    assert traffic_of(write) == [entry(1, 100, tag="stable")]


def test_a_rollback_to_no_revision_or_to_one_that_is_not_ready_is_refused() -> None:
    reading = at_rest()
    with pytest.raises(Refused, match="no Revision of version 7"):
        driver(reading).roll_back(reading.endpoint, Artifact("7"))
    reading = at_rest(revisions=[revision(1, ready="False"), revision(2)])
    with pytest.raises(Refused, match="is not ready"):
        driver(reading).roll_back(reading.endpoint, Artifact("1"))


def test_a_template_that_was_rolled_back_is_history_and_said() -> None:
    endpoint = at_rest(1).endpoint
    assert endpoint.rollout.phase is Phase.COMPLETE
    assert "its template says 2" in " ".join(endpoint.problems)


def test_a_canary_that_does_not_come_up_is_degraded_and_not_promoted() -> None:
    traffic = [entry(1, 90, tag="stable"), {"latestRevision": True, "percent": 10, "tag": "canary"}]
    (reading,) = service(
        wanted=traffic,
        traffic=[entry(1, 90), entry(1, 10)],
        ready=1,
        revisions=[revision(1), revision(2, ready="False")],
    )
    assert reading.endpoint.rollout.phase is Phase.DEGRADED
    assert "it ended" in reading.endpoint.rollout.message
    assert not reading.endpoint.support(Verb.PROMOTE).available
    assert reading.endpoint.support(Verb.ROLLBACK).available


@pytest.mark.parametrize("held", [False, True])
def test_of_two_that_hold_it_one_is_told_and_nobody_takes_a_hold_away_that_he_did_not_see(held: bool) -> None:
    mark = json.dumps({"by": "ana", "why": "looks odd"})
    found = at_rest(notes={"some": "note", **({"mlrelease.dev/hold": mark} if held else {})})
    one = driver(found)
    (write,) = one.resume(found.endpoint) if held else one.hold(found.endpoint, Hold(SafeText("bo"), SafeText()))
    tests = {op["path"]: op["value"] for op in json.loads(write.payload)["patch"] if op["op"] == "test"}
    assert tests["/metadata/annotations/mlrelease.dev~1hold"] == (mark if held else None)
    assert ("the same hand holds it" if held else "nobody holds it") in write.precondition
