"""Rollouts read from objects as the project's documentation shows them, and what is planned for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Sighting, world_of
from mlrelease_tui.connectors.kubernetes.workloads.argo import ArgoRollouts
from mlrelease_tui.connectors.kubernetes.workloads.argo_driver import ArgoDriver
from mlrelease_tui.domain.expectation import EndpointExpectation, endpoint_mismatches
from mlrelease_tui.domain.rollout import Endpoint, GateResult, Hold, Phase, Role, Strategy, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KINDS = {
    (group, plural): Resource(group, version, plural, kind)
    for group, version, plural, kind in (
        ("argoproj.io", "v1alpha1", "rollouts", "Rollout"),
        ("argoproj.io", "v1alpha1", "analysisruns", "AnalysisRun"),
        ("argoproj.io", "v1alpha1", "experiments", "Experiment"),
        ("apps", "v1", "replicasets", "ReplicaSet"),
        ("apps", "v1", "deployments", "Deployment"),
        ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    )
}
SERVED = Served(KINDS)
STEPS = [{"setWeight": 20}, {"pause": {}}, {"setWeight": 40}, {"pause": {"duration": 10}}, {"analysis": {}}]
Json = dict[str, Any]


def rollout(status: Mapping[str, Any], *, notes: Mapping[str, str] | None = None, **spec: Any) -> Json:
    return {
        "kind": "Rollout",
        "metadata": {
            "name": "fraud",
            "namespace": "ml",
            "uid": "u-1",
            "generation": 3,
            "annotations": dict(notes or {}),
        },
        "spec": {"replicas": 10, "template": template("2"), "strategy": {"canary": {"steps": STEPS}}, **spec},
        "status": {"observedGeneration": "3", "stableRS": "aaa", "currentPodHash": "bbb", **status},
    }


def template(version: str) -> Json:
    return {"spec": {"containers": [{"name": "model", "image": f"registry.example/fraud:{version}"}]}}


def replicaset(key: str, version: str, replicas: int, *, owner: str = "u-1", at: str = "2026-03-01T10:00:00Z") -> Json:
    return {
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"fraud-{key}", "namespace": "ml", "uid": f"u-{key}", "creationTimestamp": at,
            "labels": {"rollouts-pod-template-hash": key},
            "annotations": {"rollout.argoproj.io/revision": "1"},
            "ownerReferences": [{"uid": owner, "controller": True}],
        },
        "spec": {"replicas": replicas, "template": template(version)},
        "status": {"replicas": replicas, "availableReplicas": replicas},
    }  # fmt: skip


def run(phase: str, message: str, value: str, *, metric: str = "Successful", index: str = "4", **spec: Any) -> Json:
    result = {"name": "success-rate", "phase": metric, "measurements": [{"value": value, "phase": metric}]}
    return {
        "kind": "AnalysisRun",
        "metadata": {
            "name": f"fraud-bbb-2-{index}", "namespace": "ml", "uid": f"u-run-{index}",
            "creationTimestamp": "2026-03-01T10:00:00Z",
            "labels": {"rollouts-pod-template-hash": "bbb", "rollout-type": "Step", "step-index": index},
            "ownerReferences": [{"uid": "u-1", "controller": True}],
        },
        "spec": {"metrics": [{"name": "success-rate"}], **spec},
        "status": {"phase": phase, "message": message, "metricResults": [result]},
    }  # fmt: skip


BOTH = (replicaset("aaa", "1", 8), replicaset("bbb", "2", 2))
PAUSED: Json = {
    "phase": "Paused",
    "currentStepIndex": 1,
    "controllerPause": True,
    "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2026-03-01T11:59:00Z"}],
}


def seen(item: Json, *sets: Json, now: datetime = NOW, **others: tuple[Json, ...]) -> tuple[Endpoint, ArgoDriver]:
    by_plural = {plural: resource for (_, plural), resource in KINDS.items()}
    objects = {by_plural["rollouts"]: [item], by_plural["replicasets"]: list(sets or BOTH)}
    objects |= {by_plural[plural]: list(found) for plural, found in others.items()}
    world = world_of(objects)
    workload = ArgoRollouts()
    (sighting,) = workload.sightings(world, SERVED)
    assert isinstance(sighting, Sighting)
    reading = workload.read(sighting, world, SERVED, Frame("k8s", "", "a-context", "registry", now))
    assert isinstance(reading.driver, ArgoDriver)
    return reading.endpoint, reading.driver


def patched(driver: ArgoDriver, writes: tuple[Any, ...]) -> list[list[tuple[str, str, Any]]]:
    """The operations of each write: what is done, where, with what."""
    return [[(op["op"], op["path"], op.get("value")) for op in json.loads(write.payload)["patch"]] for write in writes]


def test_a_canary_is_read_with_its_steps_and_shares() -> None:
    endpoint, _ = seen(rollout(PAUSED))
    assert [(item.role, item.version, item.weight_bp, item.ready) for item in endpoint.variants] == [
        (Role.STABLE, "1", 8000, 8),
        (Role.CANARY, "2", 2000, 2),
    ]
    told = endpoint.rollout
    assert (told.strategy, told.phase, told.from_version, told.to_version) == (Strategy.CANARY, Phase.WAITING, "1", "2")
    assert [step.weight_bp for step in told.steps] == [2000, None, 4000, None, None]
    assert [str(step.label) for step in told.steps] == ["", "pause", "", "pause 10", "analysis"]
    assert told.step_index == 1


@pytest.mark.parametrize(
    ("verified", "weights"), [(True, [9500, 500]), (None, [9500, 500]), (False, [None, None])], ids=str
)
def test_weights_that_a_router_does_not_confirm_are_not_shown(verified: bool | None, weights: list[int | None]) -> None:
    found: Json = {
        "canary": {"weight": 5, "podTemplateHash": "bbb"},
        "stable": {"weight": 95, "podTemplateHash": "aaa"},
    } | ({} if verified is None else {"verified": verified})
    strategy = {"canary": {"steps": STEPS, "trafficRouting": {"nginx": {"stableIngress": "fraud"}}}}
    endpoint, _ = seen(rollout({**PAUSED, "canary": {"weights": found}}, strategy=strategy))
    assert [item.weight_bp for item in endpoint.variants] == weights
    assert any("does not confirm" in str(problem) for problem in endpoint.problems) == (verified is False)


@pytest.mark.parametrize(
    ("status", "spec", "phase"),
    [
        (PAUSED, {"paused": True}, Phase.HELD),
        ({"phase": "Paused", "controllerPause": True, "currentStepIndex": 1}, {}, Phase.UNKNOWN),
        ({"phase": "Paused", "controllerPause": False, "currentStepIndex": 2}, {}, Phase.UNKNOWN),
        ({"observedGeneration": "2"}, {}, Phase.UNKNOWN),
        ({"abort": True, "phase": "Progressing"}, {}, Phase.ABORTING),
        ({"abort": True, "abortedAt": "2026-03-01T11:00:00Z", "phase": "Degraded"}, {}, Phase.DEGRADED),
        ({"phase": "Degraded"}, {}, Phase.DEGRADED),
        ({"phase": "Progressing", "currentStepIndex": 2}, {}, Phase.PROGRESSING),
        ({"phase": "Healthy", "currentPodHash": "aaa"}, {}, Phase.COMPLETE),
        ({"phase": "Healthy", "currentPodHash": "aaa"}, {"restartAt": "2026-03-01T11:00:00Z"}, Phase.PROGRESSING),
        ({"phase": "Healthy", "currentPodHash": "aaa", "canary": {"weights": {"canary": {"weight": 50}}}}, {},
         Phase.PROGRESSING),
    ],
)  # fmt: skip
def test_phases(status: Json, spec: Json, phase: Phase) -> None:
    assert seen(rollout(status, **spec))[0].rollout.phase is phase


def test_a_restart_is_over_when_the_controller_says_its_time() -> None:
    status = {"phase": "Healthy", "currentPodHash": "aaa", "restartedAt": "2026-03-01T11:00:00Z"}
    assert seen(rollout(status, restartAt="2026-03-01T11:00:00Z"))[0].rollout.phase is Phase.COMPLETE


@pytest.mark.parametrize(("after_s", "word"), [(2, "has not reacted yet"), (60, "is argo-rollouts running?")])
def test_a_slow_controller_is_told_from_one_that_is_not_there(after_s: int, word: str) -> None:
    stamp = {"intent": "i", "verb": "promote", "by": "ana", "why": "w", "at": NOW.isoformat()}
    item = rollout(
        {"phase": "Paused", "controllerPause": True, "currentStepIndex": 1},
        notes={"mlrelease.dev/stamp": json.dumps(stamp)},
    )
    endpoint, _ = seen(item, now=NOW + timedelta(seconds=after_s))
    assert word in endpoint.rollout.message
    assert bool(endpoint.problems) == (after_s == 60)


@pytest.mark.parametrize(
    ("phase", "message", "metric", "terminate", "result"),
    [
        ("Successful", "", "Successful", False, GateResult.PASSED),
        ("Successful", "Run Terminated", "Successful", True, GateResult.TERMINATED),
        ("Successful", "Run Terminated", "Failed", True, GateResult.FAILED),
        ("Running", "", "Running", False, GateResult.RUNNING),
        ("Inconclusive", "", "Inconclusive", False, GateResult.INCONCLUSIVE),
        ("Error", "", "Error", False, GateResult.ERROR),
        ("", "", "", False, GateResult.PENDING),
        ("A phase of tomorrow", "", "A phase of tomorrow", False, GateResult.PENDING),
    ],
)
def test_a_run_that_was_terminated_never_passed(
    phase: str, message: str, metric: str, terminate: bool, result: GateResult
) -> None:
    found = run(phase, message, "0.7", metric=metric, terminate=terminate)
    endpoint, _ = seen(rollout(PAUSED), analysisruns=(found,))
    (gate,) = endpoint.rollout.gates
    assert (str(gate.name), gate.result, str(gate.measured), gate.step) == ("success-rate", result, "0.7", 4)


def test_of_a_run_that_was_repeated_the_last_counts() -> None:
    again = run("Successful", "", "0.99")
    again["metadata"]["name"] += ".1"
    endpoint, _ = seen(rollout(PAUSED), analysisruns=(again, run("Failed", "", "0.2", metric="Failed")))
    assert [str(gate.measured) for gate in endpoint.rollout.gates] == ["0.99"]


def test_runs_of_an_earlier_release_are_no_gates_of_this_one() -> None:
    earlier = run("Failed", "", "0.2", metric="Failed")
    earlier["metadata"]["labels"]["rollouts-pod-template-hash"] = "aaa"
    assert not seen(rollout(PAUSED), analysisruns=(earlier,))[0].rollout.gates


def test_text_of_a_cluster_is_safe() -> None:
    hostile = run("Failed", "", "\x1b[2J0.2", metric="Failed")
    endpoint, _ = seen(rollout({**PAUSED, "message": "\x1b]0;owned\x07"}), analysisruns=(hostile,))
    assert "\x1b" not in endpoint.rollout.message
    assert "\x1b" not in endpoint.rollout.gates[0].measured


def test_a_promotion_is_guarded_by_the_pause_as_it_was_shown() -> None:
    endpoint, driver = seen(rollout(PAUSED))
    assert patched(driver, driver.advance(endpoint)) == [
        [
            ("test", "/metadata/uid", "u-1"),
            ("test", "/status/currentPodHash", "bbb"),
            ("test", "/status/currentStepIndex", 1),
            ("test", "/status/pauseConditions", PAUSED["pauseConditions"]),
            ("remove", "/status/pauseConditions", None),
        ]
    ]


def test_an_inconclusive_analysis_is_passed_by_its_step() -> None:
    waits = [{"reason": "CanaryPauseStep"}, {"reason": "InconclusiveAnalysisRun"}]
    endpoint, driver = seen(rollout({**PAUSED, "pauseConditions": waits}))
    (ops,) = patched(driver, driver.advance(endpoint))
    assert ops[-3:] == [
        ("remove", "/status/pauseConditions", None),
        ("replace", "/status/currentStepIndex", 2),
        ("replace", "/status/controllerPause", False),
    ]


def test_no_step_is_taken_beyond_the_last() -> None:
    endpoint, driver = seen(rollout({**PAUSED, "currentStepIndex": len(STEPS)}, paused=True))
    with pytest.raises(Refused, match="no step left"):
        driver.advance(endpoint)


def test_a_rollback_names_the_template_and_holds_nothing_of_it() -> None:
    item = rollout(PAUSED)
    item["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "TOKEN", "value": "hush"}]
    endpoint, driver = seen(item)
    (write,) = driver.roll_back(endpoint, Artifact("1"))
    payload = json.loads(write.payload)
    assert payload["template"]["name"] == "fraud-aaa"
    assert "hush" not in write.payload
    assert ("add", "/spec/paused", False) in patched(driver, (write,))[0]
    assert "undo fraud --to-revision=1" in write.shell


@pytest.mark.parametrize(
    ("notes", "strategy", "kinds"),
    [
        ({}, {"canary": {"steps": STEPS}}, [""]),
        ({}, {"canary": {"steps": STEPS, "dynamicStableScale": True}}, ["status", ""]),
        ({"argocd.argoproj.io/tracking-id": "shop:x"}, {"canary": {"steps": STEPS}}, ["status"]),
    ],
    ids=["plain", "stable that shrinks", "kept by Argo CD"],
)
def test_abort_comes_first_only_where_it_has_to(notes: Json, strategy: Json, kinds: list[str]) -> None:
    endpoint, driver = seen(rollout(PAUSED, notes=notes, strategy=strategy))
    writes = driver.roll_back(endpoint, Artifact("1"))
    assert [json.loads(write.payload)["subresource"] for write in writes] == kinds


def test_history_is_written_when_a_release_begins_and_read_without_what_is_stable_now() -> None:
    sets = (replicaset("aaa", "3", 10), replicaset("ccc", "2", 0), replicaset("ddd", "1", 0))
    rest = {"phase": "Healthy", "currentPodHash": "aaa"}
    endpoint, driver = seen(rollout(rest, notes={"mlrelease.dev/history": '["3","1"]'}, template=template("3")), *sets)
    assert endpoint.previous_version == "1"
    assert endpoint.support(Verb.ROLLBACK).available
    (write,) = driver.start(endpoint, Artifact("4"), None)
    assert json.loads(json.loads(write.payload)["notes"]["mlrelease.dev/history"]) == ["3", "1"]


def test_another_version_at_rest_can_be_returned_to_without_a_history() -> None:
    sets = (replicaset("aaa", "2", 10), replicaset("ccc", "1", 0))
    endpoint, _ = seen(rollout({"phase": "Healthy", "currentPodHash": "aaa"}), *sets)
    assert endpoint.previous_version == ""
    assert endpoint.support(Verb.ROLLBACK).available


def test_a_referred_template_that_was_not_looked_at_yet_is_unknown() -> None:
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "fraud", "namespace": "ml", "uid": "u-d", "generation": 7},
        "spec": {"template": template("2")},
    }
    reference = {"kind": "Deployment", "name": "fraud"}
    for observed, phase in (("6", Phase.UNKNOWN), ("7", Phase.WAITING)):
        item = rollout({**PAUSED, "workloadObservedGeneration": observed}, workloadRef=reference)
        assert seen(item, deployments=(deployment,))[0].rollout.phase is phase


def test_a_referred_template_that_may_not_be_read_is_said_and_the_way_back_is_abort() -> None:
    endpoint, driver = seen(rollout(PAUSED, workloadRef={"kind": "StatefulSet", "name": "fraud"}))
    assert any("can't be read" in str(problem) for problem in endpoint.problems)
    with pytest.raises(Refused, match="StatefulSet fraud"):
        driver.roll_back(endpoint, Artifact("1"))
    assert endpoint.support(Verb.ABORT).available


def test_a_pause_by_another_hand_is_a_hold_without_a_name() -> None:
    endpoint, _ = seen(rollout(PAUSED, paused=True))
    assert endpoint.rollout.hold == Hold(SafeText("an unknown hand"), SafeText("spec.paused is set"))


def test_a_later_writer_than_us_is_named_by_the_servers_record() -> None:
    item = rollout(PAUSED, notes={"mlrelease.dev/stamp": json.dumps({"intent": "i", "by": "ana", "verb": "hold"})})
    item["metadata"]["managedFields"] = [
        {"manager": "mlrelease", "time": "2026-03-01T11:00:00Z"},
        {"manager": "rollouts-controller", "time": "2026-03-01T11:59:00Z"},
        {"manager": "kubectl-edit", "time": "2026-03-01T11:30:00Z"},
    ]
    stamp = seen(item)[0].stamp
    assert stamp is not None
    assert (stamp.intent_id, str(stamp.by)) == ("", "kubectl-edit")


def other(key: str, version: str, replicas: int, *, at: str = "2026-03-01T10:00:00Z") -> Json:
    """A ReplicaSet of a version whose template is another one than usual."""
    found = replicaset(key, version, replicas, at=at)
    found["spec"]["template"] = {**template(version), "metadata": {"annotations": {"cpu": "more"}}}
    return found


def test_of_two_templates_of_one_version_the_one_that_serves_keeps_the_name() -> None:
    item = rollout({"phase": "Healthy", "stableRS": "aaa", "currentPodHash": "aaa"})
    endpoint, driver = seen(item, replicaset("aaa", "1", 10), other("bbb", "1", 0))
    assert endpoint.stable is not None
    assert endpoint.stable.version == "1"
    (first, second) = driver.roll_back(endpoint, Artifact("1+bbb"))
    assert json.loads(first.payload)["template"]["name"] == "fraud-bbb"
    assert second.expects.stable_version == "1"  # type: ignore[union-attr]
    assert second.expects.absent == ("fraud-aaa",)  # type: ignore[union-attr]


def test_of_two_old_templates_of_one_version_the_newest_has_the_name_that_a_history_keeps() -> None:
    old = replicaset("old", "1", 0, at="2026-02-01T10:00:00Z")
    item = rollout({"phase": "Healthy", "stableRS": "bbb"}, notes={"mlrelease.dev/history": '["1"]'})
    endpoint, driver = seen(item, old, other("new", "1", 0), replicaset("bbb", "2", 10))
    assert endpoint.previous_version == "1"
    first, _ = driver.roll_back(endpoint, Artifact("1"))
    assert json.loads(first.payload)["template"]["name"] == "fraud-new"


def test_a_release_from_a_version_to_itself_tells_both_apart_and_ends_with_its_own_name() -> None:
    endpoint, driver = seen(rollout(PAUSED), replicaset("aaa", "2", 8), other("bbb", "2", 2))
    assert [str(variant.version) for variant in endpoint.variants] == ["2+aaa", "2+bbb"]
    assert (endpoint.rollout.from_version, endpoint.rollout.to_version) == ("2+aaa", "2+bbb")
    (full,) = driver.complete(endpoint)
    assert full.expects.stable_version == "2"  # type: ignore[union-attr]
    (back,) = driver.roll_back(endpoint, Artifact("2+aaa"))
    assert (back.expects.stable_version, back.expects.absent) == ("2", ("fraud-bbb",))  # type: ignore[union-attr]


def guards(driver: ArgoDriver, writes: tuple[Any, ...], at: int = 0) -> dict[str, Any]:
    return {path: value for op, path, value in patched(driver, writes)[at] if op == "test"}


def test_a_full_promotion_does_not_go_over_an_abort_that_came_meanwhile() -> None:
    endpoint, driver = seen(rollout(PAUSED))
    assert guards(driver, driver.complete(endpoint))["/status/abort"] is None
    endpoint, driver = seen(rollout({**PAUSED, "abort": False}))
    assert guards(driver, driver.complete(endpoint))["/status/abort"] is False


@pytest.mark.parametrize(("abort", "left"), [(None, None), (False, False), (True, None)])
def test_the_whole_way_to_an_older_version_does_not_go_over_an_abort_that_came_meanwhile(
    abort: bool | None, left: bool | None
) -> None:
    """A new template takes an abort away, and leaves `false` where that stands."""
    status = {**PAUSED, **({} if abort is None else {"abort": abort, "abortedAt": "2026-03-01T11:59:30Z"})}
    older = replicaset("ccc", "0", 0, at="2026-03-01T09:00:00Z")
    endpoint, driver = seen(rollout(status), *BOTH, older)
    writes = driver.roll_back(endpoint, Artifact("0"))
    assert guards(driver, writes, 1)["/status/abort"] is left


def test_a_hold_and_an_abort_at_the_same_moment_are_not_both_written() -> None:
    """Under a pause an abort moves nothing: whoever comes second has to know."""
    endpoint, driver = seen(rollout(PAUSED))
    assert guards(driver, driver.hold(endpoint, Hold(SafeText("ana"), SafeText("")))) == {
        "/metadata/uid": "u-1",
        "/spec/paused": None,
        "/status/abort": None,
    }
    assert guards(driver, driver.abort(endpoint))["/spec/paused"] is None


def test_a_rollout_without_a_status_can_be_held() -> None:
    item = rollout(PAUSED)
    del item["status"]
    endpoint, driver = seen(item)
    found = guards(driver, driver.hold(endpoint, Hold(SafeText("ana"), SafeText(""))))
    assert found == {"/metadata/uid": "u-1", "/spec/paused": None}, "a test below a status that is not there fails"


def test_what_is_let_go_is_the_template_that_was_seen() -> None:
    endpoint, driver = seen(rollout(PAUSED, paused=True))
    assert guards(driver, driver.resume(endpoint)) == {
        "/metadata/uid": "u-1",
        "/status/currentPodHash": "bbb",
        "/spec/paused": True,
    }


def test_replicas_that_the_spec_does_not_say_are_one() -> None:
    item = rollout(PAUSED)
    del item["spec"]["replicas"]
    endpoint, driver = seen(item)
    (write,) = driver.scale(endpoint, 3)
    assert (write.before, write.undo) == ("1 replicas", "scale to 1")
    assert patched(driver, (write,)) == [
        [("test", "/metadata/uid", "u-1"), ("test", "/spec/replicas", None), ("add", "/spec/replicas", 3)]
    ]


def test_a_context_of_any_name_is_one_word_of_the_command_that_is_shown() -> None:
    by_plural = {plural: resource for (_, plural), resource in KINDS.items()}
    world = world_of({by_plural["rollouts"]: [rollout(PAUSED)], by_plural["replicasets"]: list(BOTH)})
    workload = ArgoRollouts()
    (sighting,) = workload.sightings(world, SERVED)
    reading = workload.read(sighting, world, SERVED, Frame("k8s", "", "a; reboot", "registry", NOW))
    assert isinstance(reading.driver, ArgoDriver)
    for writes in (reading.driver.abort(reading.endpoint), reading.driver.scale(reading.endpoint, 3)):
        assert "--context 'a; reboot' " in writes[0].shell


def test_reasons_beside_an_endpoint_do_not_name_it_again_and_fit_a_menu() -> None:
    """What is cut at 80 columns is the end of a reason: 60 cells are left of a line there."""
    endpoint, driver = seen(rollout(PAUSED))
    retry = endpoint.support(Verb.RETRY)
    assert (retry.reason, retry.hint) == ("was not aborted", "there is nothing to retry")
    assert [one.reason for one in endpoint.verbs if len(one.reason) > 60] == []
    with pytest.raises(Refused, match=r"^fraud was not aborted \("):
        driver.retry(endpoint)


def test_a_release_that_another_hand_took_back_at_once_did_not_begin() -> None:
    """Its phase is one of those that a release has: only the version tells."""
    endpoint, driver = seen(rollout({"phase": "Healthy", "currentPodHash": "aaa"}, template=template("1")))
    (write,) = driver.start(endpoint, Artifact("2"), None)
    assert isinstance(write.expects, EndpointExpectation)
    assert endpoint_mismatches(write.expects, endpoint) == ("wanted is 1, not 2",)
    begun, _ = seen(rollout(PAUSED))
    assert endpoint_mismatches(write.expects, begun) == ()


def test_a_step_is_not_taken_where_another_hand_rolled_back() -> None:
    endpoint, driver = seen(rollout(PAUSED))
    (write,) = driver.advance(endpoint)
    assert isinstance(write.expects, EndpointExpectation)
    back, _ = seen(rollout({"phase": "Healthy", "currentPodHash": "aaa"}, template=template("1")))
    assert endpoint_mismatches(write.expects, back) == ("wanted is 1, not 2",)
    further, _ = seen(rollout({**PAUSED, "currentStepIndex": 3}))
    assert endpoint_mismatches(write.expects, further) == ()


def test_a_version_that_would_steer_the_terminal_is_shown_escaped_in_each_word_of_a_write() -> None:
    hostile = "2\x1b]52;c;aGk=\x07"
    sets = (replicaset("aaa", "1", 8), replicaset("bbb", "2", 2))
    for one in sets:
        one["spec"]["template"]["metadata"] = {"annotations": {"mlrelease.dev/version": hostile}}
        one["metadata"]["annotations"]["rollout.argoproj.io/revision"] = hostile
    endpoint, driver = seen(rollout(PAUSED), *sets)
    for writes in (driver.advance(endpoint), driver.complete(endpoint), driver.abort(endpoint)):
        for write in writes:
            for words in (write.before, write.after, write.undo, write.call, write.precondition, write.shell):
                assert words.isprintable()
    (back,) = driver.roll_back(endpoint, Artifact(f"{hostile}+aaa"))
    assert back.shell.isprintable()
    assert "undo" in back.shell
