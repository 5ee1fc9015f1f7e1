"""Where a Deployment stands, read from objects in the shape that the API server gives them."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.workloads.api import Choice, Frame, Reading, World, world_of
from mlrelease_tui.connectors.kubernetes.workloads.deployment import Deployments
from mlrelease_tui.connectors.kubernetes.workloads.deployment_driver import DeploymentDriver
from mlrelease_tui.connectors.kubernetes.workloads.deployment_standing import standing_of
from mlrelease_tui.domain.expectation import EndpointExpectation, endpoint_mismatches
from mlrelease_tui.domain.rollout import BindingSource, Phase, Role, Verb
from mlrelease_tui.domain.status import mismatch_of
from mlrelease_tui.errors import Refused

Json = dict[str, Any]
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
SERVED = Served({("apps", "deployments"): DEPLOYMENTS, ("apps", "replicasets"): SETS})
FRAME = Frame("lab", "staging", "lab", "registry", datetime(2026, 1, 2, tzinfo=UTC))


def template(version: str, **env: str) -> Json:
    variables = [{"name": key, "value": value} for key, value in env.items()]
    return {
        "metadata": {"labels": {"app": "fraud"}},
        "spec": {"containers": [{"name": "m", "image": f"fraud:{version}", "env": variables}]},
    }


def deployment(version: str, *, replicas: int = 3, reason: str = "NewReplicaSetAvailable", **more: Any) -> Json:
    status = {
        "observedGeneration": 1,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "availableReplicas": replicas,
        "conditions": [
            {
                "type": "Progressing",
                "status": "True",
                "reason": reason,
                "message": 'ReplicaSet "fraud-2" has timed out progressing.',
            }
        ],
    }
    return {
        "metadata": {
            "name": "fraud",
            "namespace": "ml",
            "uid": "d",
            "generation": 1,
            "annotations": dict(more.pop("annotations", {})),
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "fraud"}},
            "template": more.pop("template", template(version)),
            **more,
        },
        "status": status,
    }


def replica_set(
    number: int,
    version: str,
    replicas: int,
    *,
    available: int | None = None,
    pods: Json | None = None,
    notes: Json | None = None,
) -> Json:
    made = copy.deepcopy(pods or template(version))
    made["metadata"]["labels"]["pod-template-hash"] = f"h{number}"
    return {
        "metadata": {
            "name": f"fraud-{number}",
            "namespace": "ml",
            "uid": f"rs{number}",
            "labels": {"app": "fraud", "pod-template-hash": f"h{number}"},
            "annotations": {"deployment.kubernetes.io/revision": str(number), **(notes or {})},
            "ownerReferences": [{"uid": "d", "controller": True}],
        },
        "spec": {"replicas": replicas, "template": made},
        "status": {"replicas": replicas, "availableReplicas": replicas if available is None else available},
    }


def read(item: Json, *sets: Json) -> Reading:
    world = world_of({DEPLOYMENTS: [item], SETS: sets})
    (sighting,) = Deployments().sightings(world, SERVED)
    return Deployments().read(sighting, world, SERVED, FRAME)


def test_at_rest_one_variant_serves_and_the_only_other_version_is_the_way_back() -> None:
    endpoint = read(deployment("2"), replica_set(1, "1", 0), replica_set(2, "2", 3)).endpoint
    assert [(found.name, found.role, found.version, found.ready) for found in endpoint.variants] == [
        ("fraud-2", Role.STABLE, "2", 3)
    ]
    assert (endpoint.rollout.phase, endpoint.previous_version, endpoint.rollout.in_flight) == (
        Phase.COMPLETE,
        "1",
        False,
    )


def test_of_two_other_versions_nobody_says_which_ran_well_but_our_notes_or_who_returned_to_one() -> None:
    sets = (replica_set(1, "1", 0), replica_set(2, "2", 0), replica_set(3, "3", 3))
    assert read(deployment("3"), *sets).endpoint.previous_version == ""
    noted = deployment("3", annotations={"mlrelease.dev/history": '["1"]'})
    assert read(noted, *sets).endpoint.previous_version == "1"
    returned = replica_set(1, "1", 0, notes={"deployment.kubernetes.io/revision-history": "1"})
    assert read(deployment("3"), returned, *sets[1:]).endpoint.previous_version == "1"


def test_two_bad_releases_in_a_row_leave_the_one_that_runs_the_stable_one() -> None:
    item = deployment("3", reason="ReplicaSetUpdated")
    item["status"]["updatedReplicas"] = 1
    endpoint = read(
        item, replica_set(1, "1", 3), replica_set(2, "2", 1, available=0), replica_set(3, "3", 1, available=0)
    ).endpoint
    assert (endpoint.rollout.from_version, endpoint.rollout.to_version, endpoint.rollout.phase) == (
        "1",
        "3",
        Phase.PROGRESSING,
    )
    assert [found.role for found in endpoint.variants] == [Role.STABLE, Role.CANARY, Role.CANARY]


def test_a_deadline_of_another_replica_set_is_of_the_rollout_before() -> None:
    item = deployment("3", reason="ProgressDeadlineExceeded")
    item["status"]["updatedReplicas"] = 1
    about_another = read(item, replica_set(2, "2", 3), replica_set(3, "3", 1, available=0)).endpoint
    assert about_another.rollout.phase is Phase.PROGRESSING
    item["spec"]["template"] = template("2")
    assert (
        read(item, replica_set(1, "1", 3), replica_set(2, "2", 1, available=0)).endpoint.rollout.phase is Phase.DEGRADED
    )


def test_a_spec_that_nobody_looked_at_yet_is_unknown_and_changes_nothing_about_who_is_stable() -> None:
    item = deployment("2")
    item["metadata"]["generation"] = 2
    endpoint = read(item, replica_set(1, "1", 0), replica_set(2, "2", 3)).endpoint
    assert (endpoint.rollout.phase, endpoint.stable and endpoint.stable.version) == (Phase.UNKNOWN, "2")


def test_ready_pods_prove_no_new_number_of_replicas_before_the_controller_looked_at_it() -> None:
    now = [replica_set(1, "1", 3)]
    reading = read(deployment("1"), *now)
    driver: Any = reading.driver
    (write,) = driver.scale(reading.endpoint, 5)
    assert isinstance(write.expects, EndpointExpectation)
    # The spec has the number, and what is ready is still what was there before.
    asked = deployment("1") | {"spec": deployment("1")["spec"] | {"replicas": 5}}
    asked["metadata"] = asked["metadata"] | {"generation": 2}
    assert endpoint_mismatches(write.expects, read(asked, *now).endpoint) == ("replicas is not said, not 5",)
    asked["status"] |= {"observedGeneration": 2}
    grown = copy.deepcopy(now)
    grown[0]["spec"]["replicas"] = 5
    assert endpoint_mismatches(write.expects, read(asked, *grown).endpoint) == ("version 1 is not ready",)
    grown[0]["status"] |= {"availableReplicas": 5}
    assert endpoint_mismatches(write.expects, read(asked, *grown).endpoint) == ()


def test_a_pod_that_dies_under_a_pause_does_not_make_another_version_the_stable_one() -> None:
    item = deployment("2", reason="DeploymentPaused", paused=True)
    item["status"]["availableReplicas"] = 2
    endpoint = read(item, replica_set(1, "1", 0), replica_set(2, "2", 3, available=2)).endpoint
    assert (endpoint.rollout.phase, endpoint.stable and endpoint.stable.version) == (Phase.HELD, "2")


def test_another_configuration_of_one_version_is_told_apart_and_a_restart_is_not() -> None:
    changed = template("2", WORKERS="4")
    item = deployment("2", template=changed, reason="ReplicaSetUpdated")
    item["status"]["updatedReplicas"] = 1
    endpoint = read(item, replica_set(2, "2", 3), replica_set(3, "2", 1, available=0, pods=changed)).endpoint
    assert (endpoint.rollout.from_version, endpoint.rollout.to_version) == ("2", "2+h3")
    restarted = template("2")
    restarted["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    item = deployment("2", template=restarted, reason="ReplicaSetUpdated")
    item["status"]["updatedReplicas"] = 1
    endpoint = read(item, replica_set(2, "2", 3), replica_set(3, "2", 1, available=0, pods=restarted)).endpoint
    assert (endpoint.rollout.from_version, endpoint.rollout.to_version) == ("2", "2")


def test_recreated_pods_leave_no_old_one_and_the_only_other_version_is_the_stable_one() -> None:
    item = deployment("2", reason="ReplicaSetUpdated", strategy={"type": "Recreate"})
    item["status"]["availableReplicas"] = 0
    endpoint = read(item, replica_set(1, "1", 0), replica_set(2, "2", 3, available=0)).endpoint
    assert (endpoint.rollout.from_version, endpoint.rollout.to_version, endpoint.rollout.phase) == (
        "1",
        "2",
        Phase.PROGRESSING,
    )


def test_every_verb_is_either_there_or_says_why_not() -> None:
    endpoint = read(deployment("2"), replica_set(1, "1", 0), replica_set(2, "2", 3)).endpoint
    can = {entry.verb for entry in endpoint.verbs if entry.available}
    assert can == {Verb.PROMOTE, Verb.HOLD, Verb.ROLLBACK, Verb.RESTART, Verb.SCALE}
    assert all(entry.reason for entry in endpoint.verbs if not entry.available)
    assert {entry.verb for entry in endpoint.verbs} == set(Verb) - {Verb.ALIAS}


def test_the_patch_of_a_rollback_tests_what_was_shown_and_carries_no_template() -> None:
    item = deployment("2", paused=True, annotations={"deployment.kubernetes.io/revision": "2"})
    reading = read(item, replica_set(1, "1", 0), replica_set(2, "2", 3))
    driver: Any = reading.driver
    (write,) = driver.roll_back(reading.endpoint, Artifact("1"))
    assert "spec.paused removed" in write.call
    assert write.precondition == (
        'metadata.uid is "d" and metadata.annotations.deployment.kubernetes.io/revision is "2" and spec.paused is true'
        ' and spec.template.spec.containers.0.image is "fraud:2"'
        " and spec.template.metadata.annotations is null"
    )
    assert "containers" not in write.payload.partition('"template"')[2]
    assert write.shell.startswith("kubectl --context lab -n ml rollout resume deployment/fraud && ")


def test_a_version_that_nothing_holds_and_no_template_names_is_refused() -> None:
    pinned = template("2")
    pinned["spec"]["containers"][0]["image"] = "fraud@sha256:" + "ab" * 32
    reading = read(deployment("2", template=pinned), replica_set(2, "2", 3, pods=pinned))
    driver: Any = reading.driver
    with pytest.raises(Refused, match="names its version nowhere"):
        driver.roll_back(reading.endpoint, Artifact("1"))


def test_what_serves_no_model_is_passed_over_unless_it_is_bound_or_all_are_wanted() -> None:
    plain, marked = deployment("1"), deployment("1", annotations={"mlrelease.dev/model": "fraud"})
    marked["metadata"] |= {"name": "marked", "uid": "m"}
    owned = deployment("1", annotations={"mlrelease.dev/model": "fraud"})
    owned["metadata"] |= {"name": "owned", "uid": "o", "ownerReferences": [{"uid": "x", "controller": True}]}
    objects = {DEPLOYMENTS: {("ml", item["metadata"]["name"]): item for item in (plain, marked, owned)}}

    def seen(choice: Choice) -> tuple[set[str], int]:
        world = World(objects, choice)
        return {found.name for found in Deployments().sightings(world, SERVED)}, Deployments().passed_over(
            world, SERVED
        )

    assert seen(Choice(everything=False)) == ({"marked"}, 1)
    assert seen(Choice(everything=False, bound=frozenset({("ml", "fraud")}))) == ({"marked", "fraud"}, 0)
    assert seen(Choice(everything=True)) == ({"marked", "fraud"}, 0)


def test_the_newest_revision_is_the_first() -> None:
    standing = standing_of(deployment("3"), (replica_set(9, "9", 0), replica_set(10, "10", 0), replica_set(3, "3", 3)))
    assert [found["metadata"]["name"] for found in standing.sets] == ["fraud-10", "fraud-9", "fraud-3"]


def test_an_alias_on_the_deployment_that_points_elsewhere_is_a_mismatch() -> None:
    marks = {"mlrelease.dev/model": "fraud", "mlrelease.dev/alias": "champion"}
    endpoint = read(deployment("2", annotations=marks), replica_set(2, "2", 3)).endpoint
    assert (str(endpoint.model), endpoint.model_source) == ("registry/fraud", BindingSource.ANNOTATION)
    assert mismatch_of(endpoint, endpoint.alias, "3") == "alias champion says v3, endpoint runs v2"
    assert mismatch_of(endpoint, endpoint.alias, "2") == ""


def test_what_is_let_go_is_the_template_that_was_seen() -> None:
    """Whatever is put into the template of a paused Deployment begins with its continuing."""
    found = read(deployment("2", paused=True), replica_set(1, "1", 3), replica_set(2, "2", 0))
    assert isinstance(found.driver, DeploymentDriver)
    (write,) = found.driver.resume(found.endpoint)
    tests = {op["path"]: op["value"] for op in json.loads(write.payload)["patch"] if op["op"] == "test"}
    assert tests["/spec/template/spec/containers/0/image"].endswith(":2")
    assert tests["/spec/paused"] is True


def test_another_template_of_a_version_that_is_not_kept_any_more_is_not_written_as_a_tag() -> None:
    found = read(deployment("2"), replica_set(1, "1", 0), replica_set(2, "2", 3))
    assert isinstance(found.driver, DeploymentDriver)
    with pytest.raises(Refused, match=r"1\+ccc is another template of 1, which is not kept any more") as no:
        found.driver.roll_back(found.endpoint, Artifact("1+ccc"))
    assert no.value.hint == "promote 1"
