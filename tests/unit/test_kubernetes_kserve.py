"""InferenceServices as read: sources and their versions, phases that no condition tells, what is refused before it is sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.answers import refusal_of
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.patching import PATCH
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, world_of
from mlrelease_tui.connectors.kubernetes.workloads.kserve import InferenceServices
from mlrelease_tui.connectors.kubernetes.workloads.kserve_canary import CanaryDriver
from mlrelease_tui.connectors.kubernetes.workloads.kserve_driver import KnativeModeDriver
from mlrelease_tui.connectors.kubernetes.workloads.kserve_source import place_of, source_of, sources_of, uri_for
from mlrelease_tui.connectors.kubernetes.workloads.kserve_standard import StandardDriver
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import BindingSource, Hold, Phase, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

Json = dict[str, Any]

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FRAME = Frame("k8s", "staging", "lab", "registry", NOW)
ISVCS = Resource("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
SERVICES = Resource("serving.knative.dev", "v1", "services", "Service")
REVISIONS = Resource("serving.knative.dev", "v1", "revisions", "Revision")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
SERVED = Served({(one.group, one.plural): one for one in (ISVCS, SERVICES, REVISIONS, DEPLOYMENTS, SETS)})
SOURCE = "internal.serving.kserve.io/storage-initializer-sourceuri"


def revision(number: int, version: str, *, actual: int = 1, desired: int = 1, ready: str = "True") -> Json:
    return {
        "metadata": {
            "namespace": "ns",
            "name": f"fraud-predictor-0000{number}",
            "labels": {"serving.knative.dev/service": "fraud-predictor", "serving.kserve.io/inferenceservice": "fraud"},
            "annotations": {SOURCE: f"s3://models/fraud/{version}"},
            "creationTimestamp": f"2026-11-21T11:0{number}:00Z",
        },
        "spec": {"containers": [{"name": "kserve-container", "image": "registry.example/server:1"}]},
        "status": {
            "actualReplicas": actual,
            "desiredReplicas": desired,
            "conditions": [{"type": "Ready", "status": ready, "reason": "RevisionFailed", "message": "no pod came up"}],
        },
    }


def knative_mode(
    *revisions: Json,
    version: str,
    traffic: list[tuple[int, int]],
    created: int,
    ready: int,
    rolled_out: int,
    before: int = 0,
    percent: int | None = None,
    transition: str = "UpToDate",
    annotations: Json | None = None,
    observed: int = 4,
    written_s: float = 60.0,
    noted: Json | None = None,
) -> Reading:
    """An InferenceService `fraud` in Knative mode as the workload reads it; Revisions by their number."""

    def name(number: int) -> str:
        return f"fraud-predictor-0000{number}" if number else ""

    model = {"modelFormat": {"name": "sklearn"}, "storageUri": f"s3://models/fraud/{version}"}
    item: Json = {
        "kind": "InferenceService",
        "metadata": {
            "namespace": "ns",
            "name": "fraud",
            "uid": "u-1",
            "generation": 9,
            "annotations": annotations or {},
            "managedFields": [{"manager": "kubectl", "time": (NOW - timedelta(seconds=written_s)).isoformat()}],
        },
        "spec": {"predictor": {"model": model} | ({} if percent is None else {"canaryTrafficPercent": percent})},
        "status": {
            "deploymentMode": "Knative",
            "observedGeneration": 2,
            "annotations": noted or {},
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "RoutesReady", "status": "True"}],
            "modelStatus": {
                "transitionStatus": transition,
                "lastFailureInfo": {"reason": "ModelLoadFailed", "message": "of long ago"},
            },
            "components": {
                "predictor": {
                    "latestCreatedRevision": name(created),
                    "latestReadyRevision": name(ready),
                    "latestRolledoutRevision": name(rolled_out),
                    "previousRolledoutRevision": name(before),
                    "traffic": [{"revisionName": name(number), "percent": share} for number, share in traffic],
                }
            },
        },
    }
    owner = [{"controller": True, "uid": "u-1"}]
    service = {
        "metadata": {
            "namespace": "ns",
            "name": "fraud-predictor",
            "uid": "s-1",
            "generation": 4,
            "ownerReferences": owner,
        },
        "status": {"observedGeneration": observed},
    }
    return read({ISVCS: [item], SERVICES: [service], REVISIONS: list(revisions)})


def read(objects: dict[Resource, list[Json]]) -> Reading:
    workload = InferenceServices()
    world = world_of(objects)
    (sighting,) = workload.sightings(world, SERVED)
    return workload.read(sighting, world, SERVED, FRAME)


def at_rest(**more: Any) -> Reading:
    found: Json = {"version": "2", "traffic": [(2, 100)], "created": 2, "ready": 2, "rolled_out": 2, "before": 1} | more
    return knative_mode(revision(1, "1"), revision(2, "2"), **found)


def in_canary(**more: Any) -> Reading:
    traffic = [(2, 10), (1, 90)]
    found: Json = {"version": "2", "traffic": traffic, "created": 2, "ready": 2, "rolled_out": 1, "percent": 10} | more
    return knative_mode(revision(1, "1"), revision(2, "2"), **found)


def driver(reading: Reading) -> KnativeModeDriver:
    assert isinstance(reading.driver, KnativeModeDriver)
    return reading.driver


# --- sources


@pytest.mark.parametrize(
    ("uri", "pattern", "model", "version"),
    [
        ("s3://models/fraud/3", "", "fraud", "3"),
        ("gs://kfserving-examples/models/sklearn/1.0/model", "", "sklearn", "1.0"),
        ("gs://kfserving-examples/models/tensorflow/flowers-2", "", "", "flowers-2"),
        ("pvc://claim/fraud/v12", "", "fraud", "v12"),
        ("s3://mlflow/0/0123456789abcdef0123456789abcdef/artifacts/model", "", "", "01234567"),
        ("s3://b/fraud-rel7.tar", "s3://b/fraud-rel{version}.tar", "", "7"),
        ("models:/fraud/7", "", "fraud", "7"),
        ("hf://org/model", "", "", "org"),
    ],
)
def test_a_storage_uri_names_a_version(uri: str, pattern: str, model: str, version: str) -> None:
    source = source_of(uri, pattern)
    assert (source.model, source.version) == (model, version)


def test_two_uris_of_one_version_are_told_apart() -> None:
    found = sources_of(["s3://a/fraud/1", "s3://b/fraud/1", "s3://a/fraud/2"])
    assert len({source.version for source in found.values()}) == 3
    assert found["s3://a/fraud/2"].version == "2"


def isvc(uri: str, **annotations: str) -> Json:
    return {
        "metadata": {"name": "fraud", "annotations": annotations},
        "spec": {"predictor": {"model": {"storageUri": uri}}},
    }


@pytest.mark.parametrize(
    ("item", "artifact", "wanted"),
    [
        (isvc("s3://m/fraud/1"), Artifact("2", "models:/fraud/2"), "s3://m/fraud/2"),
        (isvc("s3://m/fraud/1/model"), Artifact("2"), "s3://m/fraud/2/model"),
        (isvc("s3://m/x", **{"mlrelease.dev/source": "s3://m/f-{version}"}), Artifact("2"), "s3://m/f-2"),
        (isvc("s3://m/x"), Artifact("2", "oci://registry.example/fraud@sha256:ab"), "oci://registry.example/fraud@sha256:ab"),
    ],
)  # fmt: skip
def test_the_uri_of_another_version(item: Json, artifact: Artifact, wanted: str) -> None:
    place = place_of(item)
    assert place is not None
    assert uri_for(item, artifact, sources_of([place.uri])) == wanted


@pytest.mark.parametrize("uri", ["models:/fraud/1", "s3://m/flowers"])
def test_a_registry_uri_that_kserve_takes_for_a_path_is_never_written(uri: str) -> None:
    with pytest.raises(Refused):
        uri_for(isvc(uri), Artifact("2", "models:/fraud/2"), sources_of([uri]))


def test_the_storage_uri_says_which_model_and_version_runs() -> None:
    endpoint = at_rest().endpoint
    assert endpoint.model is not None
    assert str(endpoint.model.name) == "fraud"
    assert endpoint.model_source is BindingSource.STORAGE_URI
    assert [(variant.version, variant.weight_bp) for variant in endpoint.variants] == [("2", 10_000)]


def test_an_annotation_names_the_model_before_the_uri_does() -> None:
    endpoint = at_rest(annotations={"mlrelease.dev/model": "scoring", "mlrelease.dev/alias": "champion"}).endpoint
    assert endpoint.model is not None
    assert (str(endpoint.model.name), endpoint.alias) == ("scoring", "champion")
    assert endpoint.model_source is BindingSource.ANNOTATION


# --- what no condition tells


def test_observed_generation_is_of_another_object_and_is_not_read() -> None:
    assert at_rest().endpoint.rollout.phase is Phase.COMPLETE


def test_ready_stays_true_with_no_ready_pod_and_is_not_believed() -> None:
    reading = knative_mode(
        revision(1, "1", actual=0), version="1", traffic=[(1, 100)], created=1, ready=1, rolled_out=1
    )  # fmt: skip
    assert reading.endpoint.rollout.phase is Phase.DEGRADED
    assert "no ready pod" in " ".join(reading.endpoint.problems)


def test_a_revision_scaled_to_zero_is_no_failure() -> None:
    reading = knative_mode(
        revision(1, "1", actual=0, desired=0), version="1", traffic=[(1, 100)], created=1, ready=1, rolled_out=1
    )  # fmt: skip
    assert reading.endpoint.rollout.phase is Phase.COMPLETE


def test_last_failure_info_of_long_ago_is_not_shown() -> None:
    assert "of long ago" not in str(at_rest().endpoint.rollout)


@pytest.mark.parametrize(
    ("transition", "ready", "phase"),
    [
        ("BlockedByFailedLoad", 1, Phase.DEGRADED),
        # It lingers while the failed pod is still listed.
        ("BlockedByFailedLoad", 2, Phase.WAITING),
        ("InvalidSpec", 2, Phase.DEGRADED),
        ("InProgress", 1, Phase.PROGRESSING),
    ],
)
def test_the_model_status_counts_only_as_long_as_it_is_true(transition: str, ready: int, phase: Phase) -> None:
    traffic = [(2, 10), (1, 90)] if ready == 2 else [(1, 10), (1, 90)]
    assert in_canary(transition=transition, ready=ready, traffic=traffic).endpoint.rollout.phase is phase


def test_a_start_shows_the_old_revision_twice_and_no_canary_yet() -> None:
    endpoint = in_canary(ready=1, traffic=[(1, 10), (1, 90)]).endpoint
    assert {variant.name: variant.weight_bp for variant in endpoint.variants} == {
        "fraud-predictor-00001": 10_000,
        "fraud-predictor-00002": 0,
    }


@pytest.mark.parametrize(("written_s", "phase"), [(2.0, Phase.PROGRESSING), (60.0, Phase.UNKNOWN)])
@pytest.mark.parametrize(
    ("change", "who"), [({"version": "3"}, "KServe"), ({"observed": 3}, "Knative Serving"), ({"percent": 10}, "KServe")]
)
def test_a_controller_that_does_not_run_is_told_from_one_that_is_slow(
    change: Json, who: str, written_s: float, phase: Phase
) -> None:
    base: Json = {"rolled_out": 1, "traffic": [(2, 50), (1, 50)], "percent": 50}
    rollout = at_rest(**base | change, written_s=written_s).endpoint.rollout
    assert rollout.phase is phase
    assert (f"is {who} running?" in rollout.message) is (phase is Phase.UNKNOWN)


# --- what is refused


def refusal(reading: Reading, verb: Verb) -> str:
    support = reading.endpoint.support(verb)
    assert not support.available
    return str(support.reason)


def test_a_percent_without_a_canary_is_the_rollback_gesture_and_is_refused() -> None:
    assert "would go back to the version before" in refusal(at_rest(), Verb.WEIGHT)


def test_promote_is_refused_until_the_newest_revision_is_ready() -> None:
    reading = in_canary(ready=1, traffic=[(1, 10), (1, 90)])
    assert "the last ready one would get everything" in refusal(reading, Verb.PROMOTE)


def test_a_new_canary_beside_a_rejected_one_is_refused() -> None:
    pinned = in_canary(percent=0, traffic=[(2, 0), (1, 100)])
    with pytest.raises(Refused, match="between 1 and 2"):
        driver(pinned).start(pinned.endpoint, Artifact("3"), 1000)
    assert "once the percent is cleared" in " ".join(pinned.endpoint.problems)


@pytest.mark.parametrize("weight_bp", [10_100, -500, 1050])
def test_kserve_admits_percents_that_cannot_be_and_we_do_not(weight_bp: int) -> None:
    reading = in_canary()
    with pytest.raises(Refused):
        driver(reading).set_weight(reading.endpoint, weight_bp)


@pytest.mark.parametrize("annotation", ["serving.kserve.io/disable-auto-update", "serving.kserve.io/stop"])
def test_a_service_that_ignores_edits_or_is_stopped_is_not_written_to(annotation: str) -> None:
    reading = at_rest(annotations={annotation: "true"})
    for verb in (Verb.PROMOTE, Verb.ROLLBACK, Verb.RESTART, Verb.SCALE):
        assert annotation.partition("/")[2] in refusal(reading, verb) or "stopped" in refusal(reading, verb)
    assert reading.endpoint.problems


def test_a_rollback_never_restores_and_clears_in_one_patch() -> None:
    reading = in_canary()
    writes = driver(reading).roll_back(reading.endpoint, Artifact("1"))
    changed = [write.call.partition(": ")[2] for write in writes]
    assert changed == [
        "spec.predictor.canaryTrafficPercent = 0",
        'spec.predictor.model.storageUri = "s3://models/fraud/1"',
        "spec.predictor.canaryTrafficPercent removed",
    ]
    assert all(write.operation == PATCH for write in writes)


def test_a_rollback_to_a_revision_that_is_gone_does_not_pin_it() -> None:
    reading = knative_mode(
        revision(2, "2"), version="2", traffic=[(2, 100)], created=2, ready=2, rolled_out=2, before=1
    )  # fmt: skip
    assert reading.endpoint.previous_version == ""
    first, second = driver(reading).roll_back(reading.endpoint, Artifact("1"))
    assert "storageUri" in first.call
    assert "canaryTrafficPercent = 0" in first.call
    assert "canaryTrafficPercent removed" in second.call


def test_what_differs_in_more_than_its_model_is_not_rolled_back_by_the_model_alone() -> None:
    other = revision(2, "2")
    other["spec"]["containers"][0]["image"] = "registry.example/server:2"
    reading = knative_mode(
        revision(1, "1"), other, version="2", traffic=[(2, 10), (1, 90)], created=2, ready=2, rolled_out=1, percent=10
    )  # fmt: skip
    assert "more than its model" in refusal(reading, Verb.ROLLBACK)
    assert reading.endpoint.support(Verb.ABORT).available


def test_a_restart_in_mid_canary_would_replace_the_canary_and_is_refused() -> None:
    assert "would be its canary" in refusal(in_canary(), Verb.RESTART)
    assert "would be its canary" in refusal(in_canary(), Verb.SCALE)


# --- Standard mode


def standard(**more: Any) -> Reading:
    return read(standard_objects(**more))


def standard_objects(*, version: str = "1", percent: int | None = None, **more: Any) -> dict[Resource, list[Json]]:
    predictor: Json = {"minReplicas": 1, "model": {"storageUri": f"s3://models/fraud/{version}"}}
    item = {
        "metadata": {"namespace": "ns", "name": "fraud", "uid": "u-1", "generation": 1, "annotations": {}},
        "spec": {"predictor": predictor | ({} if percent is None else {"canaryTrafficPercent": percent})},
        "status": {"deploymentMode": "Standard", "modelStatus": {"transitionStatus": "UpToDate"}},
    }

    def template(of: str) -> Json:
        return {"metadata": {"annotations": {SOURCE: f"s3://models/fraud/{of}"}}}

    numbers = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "observedGeneration": 3}
    deployment = {
        "metadata": {
            "namespace": "ns", "name": "fraud-predictor", "uid": "d-1", "generation": 3,
            "ownerReferences": [{"controller": True, "uid": "u-1"}],
        },
        "spec": {"replicas": 1, "template": template(more.get("running", "1"))},
        "status": numbers,
    }  # fmt: skip
    sets = [
        {
            "metadata": {
                "namespace": "ns", "name": f"fraud-predictor-{of}", "uid": f"r-{of}",
                "annotations": {"deployment.kubernetes.io/revision": of},
                "ownerReferences": [{"controller": True, "uid": "d-1"}],
            },
            "spec": {"replicas": int(of == more.get("running", "1")), "template": template(of)},
            "status": {"availableReplicas": int(of == more.get("running", "1"))},
        }
        for of in more.get("sets", ("1",))
    ]  # fmt: skip
    return {ISVCS: [item], DEPLOYMENTS: [deployment], SETS: sets}


def test_standard_mode_ignores_the_percent_and_we_say_so() -> None:
    reading = standard(percent=10)
    assert "ignores" in " ".join(reading.endpoint.problems)
    assert "ignores canaryTrafficPercent" in refusal(reading, Verb.WEIGHT)
    assert isinstance(reading.driver, StandardDriver)
    (write,) = reading.driver.start(reading.endpoint, Artifact("2"), 1000)
    assert "canaryTrafficPercent" not in write.call


def test_standard_mode_has_its_history_from_replica_sets() -> None:
    reading = standard(version="2", running="2", sets=("1", "2"))
    assert reading.endpoint.rollout.phase is Phase.COMPLETE
    assert reading.endpoint.previous_version == "1"
    assert isinstance(reading.driver, StandardDriver)
    (write,) = reading.driver.roll_back(reading.endpoint, Artifact("1"))
    assert 'storageUri = "s3://models/fraud/1"' in write.call


@pytest.mark.parametrize(("said", "mode"), [("Serverless", "Knative"), ("RawDeployment", "Standard")])
def test_the_legacy_names_of_modes_are_known(said: str, mode: str) -> None:
    item = {
        "metadata": {"namespace": "ns", "name": "fraud", "annotations": {"serving.kserve.io/deploymentMode": said}},
        "spec": {"predictor": {"sklearn": {"storageUri": "gs://kfserving-examples/models/sklearn/1.0/model"}}},
    }
    assert read({ISVCS: [item]}).endpoint.labels["mode"] == mode


# --- spec.canary[], written by its definition of 0.20: no controller of it runs here


def listed(*, observed: int | None = 10, ready: bool = True, transition: str = "UpToDate") -> Reading:
    """`fraud` at version 1 with a canary of version 2, its status written as KServe 0.20's definition has it."""
    found = standard_objects()
    item = found[ISVCS][0]
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/fraud/2"}
    item["spec"]["canary"] = [{"trafficPercent": 10, "predictor": {"name": "canary-2", "model": model}}]
    status = {"name": "canary-2", "ready": ready, "modelStatus": {"transitionStatus": transition}}
    item["status"]["canaryStatuses"] = [status | ({} if observed is None else {"trafficPercent": observed})]
    item["status"]["conditions"] = [{"type": "CanaryPredictorReady", "status": str(ready)}]
    return read(found)


def test_a_listed_canary_has_weights_once_it_is_ready() -> None:
    endpoint = listed().endpoint
    assert [(one.version, one.weight_bp) for one in endpoint.variants] == [("1", 9000), ("2", 1000)]
    assert endpoint.rollout.phase is Phase.WAITING
    starting = listed(observed=None, ready=False).endpoint
    assert [one.weight_bp for one in starting.variants] == [None, None]
    assert starting.rollout.phase is Phase.PROGRESSING
    assert listed(ready=False, transition="BlockedByFailedLoad").endpoint.rollout.phase is Phase.DEGRADED


def ops_of(writes: tuple[Write, ...]) -> list[tuple[str, str]]:
    (write,) = writes
    return [(op["op"], op["path"]) for op in json.loads(write.payload)["patch"] if op["op"] != "test"]


def test_a_listed_canary_begins_as_a_copy_of_the_model_with_another_source() -> None:
    reading = standard()
    assert isinstance(reading.driver, CanaryDriver)
    writes = reading.driver.start(reading.endpoint, Artifact("2"), 500)
    assert ops_of(writes) == [
        ("add", "/spec/canary"),
        ("copy", "/spec/canary/0/predictor/model"),
        ("add", "/spec/canary/0/predictor/model/name"),
        ("replace", "/spec/canary/0/predictor/model/storageUri"),
    ]
    assert '"trafficPercent":5' in writes[0].payload


def test_the_verbs_of_a_listed_canary_are_one_patch_each() -> None:
    reading = listed()
    driver, endpoint = reading.driver, reading.endpoint
    assert isinstance(driver, CanaryDriver)
    assert ops_of(driver.set_weight(endpoint, 5000)) == [("add", "/spec/canary/0/trafficPercent")]
    assert ops_of(driver.abort(endpoint)) == [("add", "/spec/canary/0/trafficPercent")]
    assert ops_of(driver.roll_back(endpoint, Artifact("1"))) == [("remove", "/spec/canary")]
    assert ops_of(driver.complete(endpoint)) == [
        ("add", "/spec/predictor/name"),
        ("copy", "/spec/predictor/model"),
        ("remove", "/spec/canary"),
    ]
    unready = listed(ready=False)
    assert "not ready" in refusal(unready, Verb.PROMOTE)


def test_a_refusal_that_quotes_the_whole_object_says_its_reason_instead() -> None:
    quoted = json.dumps({"env": "hunter2", "more": "x" * 3000}).replace('"', '\\"')
    message = f' "" is invalid: patch: Invalid value: "{quoted}": strict decoding error: unknown field "spec.canary"'
    error = refusal_of("lab", 422, {"message": message}, "patch InferenceService ns/fraud", writing=True)
    assert 'unknown field "spec.canary"' in error.message
    assert "hunter2" not in error.message


@pytest.mark.parametrize("held", [False, True])
def test_of_two_that_hold_it_one_is_told_and_nobody_takes_a_hold_away_that_he_did_not_see(held: bool) -> None:
    mark = json.dumps({"by": "ana", "why": "looks odd"})
    found = at_rest(noted={"some": "note", **({"mlrelease.dev/hold": mark} if held else {})})
    one = driver(found)
    (write,) = one.resume(found.endpoint) if held else one.hold(found.endpoint, Hold(SafeText("bo"), SafeText()))
    tests = {op["path"]: op["value"] for op in json.loads(write.payload)["patch"] if op["op"] == "test"}
    assert tests["/status/annotations/mlrelease.dev~1hold"] == (mark if held else None)
