"""Canaries read from objects as the project's documentation shows them, and what is planned for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.workloads import ALL
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, world_of
from mlrelease_tui.connectors.kubernetes.workloads.flagger import Canaries
from mlrelease_tui.connectors.kubernetes.workloads.flagger_driver import FlaggerDriver
from mlrelease_tui.connectors.kubernetes.workloads.flagger_standing import print_of, seconds
from mlrelease_tui.domain.expectation import EndpointExpectation, failure_of
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Endpoint, GateResult, Hold, Phase, Role, Strategy, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KINDS = {
    (group, plural): Resource(group, version, plural, kind)
    for group, version, plural, kind in (
        ("flagger.app", "v1beta1", "canaries", "Canary"),
        ("apps", "v1", "deployments", "Deployment"),
        ("apps", "v1", "replicasets", "ReplicaSet"),
        ("", "v1", "services", "Service"),
        ("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"),
        ("networking.istio.io", "v1", "virtualservices", "VirtualService"),
        ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    )
}
SERVED = Served(KINDS)
PLURALS = {plural: resource for (_, plural), resource in KINDS.items()}
Json = dict[str, Any]
ANALYSIS: Json = {"interval": "1m", "threshold": 10, "maxWeight": 50, "stepWeight": 10}
OWNED = {"ownerReferences": [{"kind": "Canary", "name": "podinfo", "uid": "u-canary", "controller": True}]}
NOBODY = Hold(SafeText("nobody"), SafeText())


def at(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def canary(phase: str, *, notes: Mapping[str, str] | None = None, ago_s: float = 30, **status: Any) -> Json:
    spec = {
        "provider": "gatewayapi:v1",
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
        "service": {"port": 9898},
        "analysis": ANALYSIS,
        **status.pop("spec", {}),
    }
    found: Json = {
        "metadata": {
            "name": "podinfo", "namespace": "test", "uid": "u-canary", "generation": 1,
            "creationTimestamp": at(86400), "annotations": dict(notes or {}),
            "managedFields": [{"manager": "flagger-1.44", "subresource": "status", "time": at(ago_s)}],
        },
        "spec": spec,
    }  # fmt: skip
    if phase:
        found["status"] = {
            "phase": phase, "canaryWeight": 0, "failedChecks": 0, "iterations": 0, "lastTransitionTime": at(ago_s),
            "lastAppliedSpec": "5978589476", "lastPromotedSpec": "5978589476", **status,
        }  # fmt: skip
    return found


def template(version: str, *, primary: bool = False) -> Json:
    marks = {"flagger-id": "an-id"} if primary else {}
    config = "settings-primary" if primary else "settings"
    return {
        "metadata": {"labels": {"app": "podinfo-primary" if primary else "podinfo"}, "annotations": marks},
        "spec": {
            "containers": [
                {
                    "name": "podinfod",
                    "image": f"ghcr.io/stefanprodan/podinfo:{version}",
                    "envFrom": [{"configMapRef": {"name": config}}],
                }
            ]
        },
    }


def deployment(version: str, replicas: int, *, primary: bool = False, touched_s: float = 3600, **more: Any) -> Json:
    name = "podinfo-primary" if primary else "podinfo"
    manager = "flagger-1.44" if primary else "kubectl-set"
    return {
        "metadata": {
            "name": name, "namespace": "test", "uid": f"u-{name}", "generation": 1,
            "annotations": {"deployment.kubernetes.io/revision": more.pop("revision", "1")},
            "managedFields": [
                {"manager": manager, "time": at(touched_s)},
                {"manager": "flagger-1.44", "time": at(1)},
                {"manager": "kube-controller-manager", "time": at(1)},
            ],
            **(OWNED if primary else {}),
        },
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": template(version, primary=primary),
        },
        "status": {
            "observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas,
            "conditions": [{"type": "Progressing", "reason": "NewReplicaSetAvailable"}],
        },
    }  # fmt: skip


def replicaset(of: Json, version: str, revision: str, replicas: int, *, made_s: float = 7200) -> Json:
    name, primary = of["metadata"]["name"], of["metadata"]["name"].endswith("-primary")
    return {
        "metadata": {
            "name": f"{name}-{revision}", "namespace": "test", "uid": f"u-{name}-{revision}",
            "creationTimestamp": at(made_s), "labels": {"pod-template-hash": f"h{revision}"},
            "annotations": {"deployment.kubernetes.io/revision": revision},
            "ownerReferences": [{"uid": of["metadata"]["uid"], "controller": True}],
        },
        "spec": {"replicas": replicas, "template": template(version, primary=primary)},
        "status": {"replicas": replicas, "availableReplicas": replicas},
    }  # fmt: skip


def http_route(weight: int) -> Json:
    refs = [{"name": "podinfo-primary", "weight": 100 - weight}, {"name": "podinfo-canary", "weight": weight}]
    return {
        "metadata": {"name": "podinfo", "namespace": "test", "uid": "u-route", "generation": 1, **OWNED},
        "spec": {"rules": [{"backendRefs": refs}]},
    }


def virtual_service(weight: int) -> Json:
    route = [
        {"destination": {"host": "podinfo-primary"}, "weight": 100 - weight},
        {"destination": {"host": "podinfo-canary"}, "weight": weight},
    ]
    return {
        "metadata": {"name": "podinfo", "namespace": "test", "uid": "u-mesh", **OWNED},
        "spec": {"http": [{"route": route}]},
    }


def world(item: Json, stable: str = "6.0.0", wanted: str = "6.0.1", *, pods: int = 2, **more: Any) -> dict[str, Any]:
    """A Canary with its Deployments and their ReplicaSets: the primary runs `stable`, the target holds `wanted`."""
    primary = deployment(stable, 2, primary=True)
    target = deployment(wanted, pods, revision="2", **{k: more.pop(k) for k in ("touched_s",) if k in more})
    sets = [
        replicaset(primary, stable, "1", 2),
        replicaset(target, wanted, "2", pods, made_s=more.pop("made_s", 3600)),
    ]
    if wanted != stable:
        sets.append(replicaset(target, stable, "1", 0))
    return {"canaries": [item], "deployments": [target, primary], "replicasets": sets, **more}


def seen(objects: Mapping[str, Any], *, now: datetime = NOW) -> tuple[Endpoint, FlaggerDriver]:
    found = world_of({PLURALS[plural]: items for plural, items in objects.items()})
    workload = Canaries()
    (sighting,) = workload.sightings(found, SERVED)
    reading = workload.read(sighting, found, SERVED, Frame("k8s", "", "a-context", "registry", now))
    assert isinstance(reading.driver, FlaggerDriver)
    return reading.endpoint, reading.driver


def ops(write: Write) -> list[tuple[str, str, Any]]:
    return [(op["op"], op["path"], op.get("value")) for op in json.loads(write.payload)["patch"]]


def done(write: Write) -> list[tuple[str, str, Any]]:
    return [op for op in ops(write) if op[0] != "test"]


@pytest.mark.parametrize(
    ("native", "status", "weight", "stable", "wanted", "phase"),
    [
        ("", {}, 0, "6.0.0", "6.0.0", Phase.UNKNOWN),
        ("Initializing", {}, 0, "6.0.0", "6.0.0", Phase.PROGRESSING),
        ("Initialized", {}, 0, "6.0.0", "6.0.0", Phase.COMPLETE),
        ("Waiting", {}, 0, "6.0.0", "6.0.1", Phase.WAITING),
        ("Progressing", {"canaryWeight": 20}, 20, "6.0.0", "6.0.1", Phase.PROGRESSING),
        ("Progressing", {"failedChecks": 10}, 20, "6.0.0", "6.0.1", Phase.ABORTING),
        ("Progressing", {"spec": {"suspend": True}}, 20, "6.0.0", "6.0.1", Phase.HELD),
        ("WaitingPromotion", {"iterations": -1}, 50, "6.0.0", "6.0.1", Phase.WAITING),
        ("Promoting", {"canaryWeight": 50}, 50, "6.0.1", "6.0.1", Phase.PROGRESSING),
        ("Finalising", {}, 0, "6.0.1", "6.0.1", Phase.PROGRESSING),
        ("Succeeded", {"failedChecks": 3}, 0, "6.0.1", "6.0.1", Phase.COMPLETE),
        ("Succeeded", {}, 0, "6.0.0", "6.0.1", Phase.DEGRADED),
        ("Succeeded", {}, 40, "6.0.1", "6.0.1", Phase.DEGRADED),
        ("Failed", {}, 0, "6.0.0", "6.0.1", Phase.DEGRADED),
        ("Failed", {}, 0, "6.0.0", "6.0.0", Phase.COMPLETE),
        ("Terminating", {}, 0, "6.0.0", "6.0.0", Phase.UNKNOWN),
    ],
)
def test_each_phase_of_flaggers_is_one_of_ours(
    native: str, status: Json, weight: int, stable: str, wanted: str, phase: Phase
) -> None:
    endpoint, _ = seen(world(canary(native, **status), stable, wanted, httproutes=[http_route(weight)]))
    assert endpoint.rollout.phase is phase
    assert endpoint.native.phase == (native or "no status")
    assert (endpoint.rollout.from_version, endpoint.rollout.to_version) == (stable, wanted)
    assert endpoint.variants[0].weight_bp == 10_000 - weight * 100


def test_a_canary_is_read_with_its_steps_weights_and_checks() -> None:
    item = canary("Progressing", canaryWeight=20, failedChecks=2)
    metric = {"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "1m"}
    hook = {"name": "gate", "type": "confirm-promotion", "url": "http://flagger-loadtester.test/gate/check"}
    item["spec"]["analysis"] = {**ANALYSIS, "metrics": [metric], "webhooks": [hook]}
    endpoint, _ = seen(world(item, httproutes=[http_route(20)]))
    assert [(one.name, one.role, one.version, one.weight_bp, one.ready) for one in endpoint.variants] == [
        ("podinfo-primary", Role.STABLE, "6.0.0", 8000, 2),
        ("podinfo", Role.CANARY, "6.0.1", 2000, 2),
    ]
    assert endpoint.rollout.strategy is Strategy.CANARY
    assert [step.weight_bp for step in endpoint.rollout.steps] == [1000, 2000, 3000, 4000, 5000]
    assert endpoint.rollout.step_index == 1
    assert [(str(gate.name), gate.result, str(gate.measured)) for gate in endpoint.rollout.gates] == [
        ("checks", GateResult.RUNNING, "2 of 10 failed"),
        ("request-success-rate", GateResult.RUNNING, ""),
        ("confirm-promotion gate", GateResult.PENDING, ""),
    ]
    assert str(endpoint.rollout.gates[1].message) == "wanted: min 99"


def test_steps_may_be_given_one_by_one() -> None:
    item = canary("Progressing", spec={"analysis": {"interval": "15s", "threshold": 15, "stepWeights": [5, 10, 80]}})
    endpoint, _ = seen(world(item, httproutes=[http_route(10)]))
    assert [step.weight_bp for step in endpoint.rollout.steps] == [500, 1000, 8000]
    assert endpoint.rollout.step_index == 1


def test_weights_are_the_routes_and_not_the_statuses() -> None:
    endpoint, _ = seen(world(canary("Progressing", canaryWeight=20), httproutes=[http_route(70)]))
    assert [one.weight_bp for one in endpoint.variants] == [3000, 7000]


def test_a_mesh_is_read_by_its_virtual_service_and_its_weights_are_not_written() -> None:
    endpoint, driver = seen(
        world(canary("Progressing", spec={"provider": "istio"}), virtualservices=[virtual_service(30)])
    )
    assert [one.weight_bp for one in endpoint.variants] == [7000, 3000]
    with pytest.raises(Refused, match="Flagger's alone"):
        driver.set_weight(endpoint, 5000)


def test_without_a_route_that_we_read_the_weight_is_the_statuses() -> None:
    endpoint, driver = seen(world(canary("Progressing", canaryWeight=30, spec={"provider": "nginx"})))
    assert [one.weight_bp for one in endpoint.variants] == [7000, 3000]
    assert not endpoint.support(Verb.WEIGHT).available
    assert driver.abort(endpoint)


def test_blue_green_has_iterations_and_a_preview_without_weights() -> None:
    spec = {"provider": "kubernetes", "analysis": {"interval": "1m", "threshold": 2, "iterations": 10}}
    endpoint, _ = seen(world(canary("Progressing", iterations=4, spec=spec)))
    assert endpoint.rollout.strategy is Strategy.BLUE_GREEN
    assert [(one.role, one.weight_bp) for one in endpoint.variants] == [(Role.STABLE, None), (Role.PREVIEW, None)]
    assert endpoint.rollout.step_index == 4
    assert (str(endpoint.rollout.gates[1].name), str(endpoint.rollout.gates[1].measured)) == ("iterations", "4 of 10")
    assert "users stay on the primary" in endpoint.support(Verb.WEIGHT).reason


def test_a_b_is_split_by_headers_and_has_no_weights() -> None:
    match = [{"headers": {"user-agent": {"regex": ".*Firefox.*"}}}]
    spec = {"analysis": {"interval": "1m", "threshold": 2, "iterations": 10, "match": match}}
    endpoint, _ = seen(world(canary("Progressing", iterations=1, spec=spec), httproutes=[http_route(100)]))
    assert endpoint.rollout.strategy is Strategy.AB
    assert [one.weight_bp for one in endpoint.variants] == [None, None]
    assert "headers" in endpoint.support(Verb.WEIGHT).reason


def test_target_primary_route_and_services_belong_to_the_canary() -> None:
    services = [
        {"metadata": {"name": f"podinfo{part}", "namespace": "test", "uid": f"u-service{part}"}}
        for part in ("", "-primary", "-canary")
    ]
    objects = world(canary("Initialized"), "6.0.0", "6.0.0", services=services, httproutes=[http_route(0)])
    (sighting,) = Canaries().sightings(world_of({PLURALS[key]: found for key, found in objects.items()}), SERVED)
    owned = {
        "u-canary",
        "u-podinfo",
        "u-podinfo-primary",
        "u-route",
        *(f"u-service{x}" for x in ("", "-primary", "-canary")),
    }
    assert sighting.claims == owned
    kinds = [workload.kind for workload in ALL]
    assert kinds.index("Canary") < min(kinds.index("HTTPRoute"), kinds.index("Deployment"))


def test_a_route_of_the_same_name_that_somebody_else_owns_is_not_the_canarys() -> None:
    route = http_route(40)
    route["metadata"]["ownerReferences"] = [{"uid": "u-another", "controller": True}]
    endpoint, _ = seen(world(canary("Initialized"), "6.0.0", "6.0.0", httproutes=[route]))
    assert endpoint.variants[0].weight_bp == 10_000


def test_what_flagger_makes_of_a_template_is_the_same_release() -> None:
    target, primary = deployment("6.0.0", 0), deployment("6.0.0", 2, primary=True)
    assert print_of(target) == print_of(primary)
    assert print_of(deployment("6.0.1", 0)) != print_of(primary)


def test_another_template_of_the_same_version_is_told_apart() -> None:
    objects = world(canary("Progressing"), "6.0.0", "6.0.0", httproutes=[http_route(20)])
    for one in (objects["deployments"][0], objects["replicasets"][1]):
        one["spec"]["template"]["spec"]["containers"][0]["args"] = ["--level=debug"]
    endpoint, _ = seen(objects)
    assert (endpoint.rollout.from_version, endpoint.rollout.to_version) == ("6.0.0", "6.0.0+h2")


def test_an_abort_writes_the_threshold_under_tests_of_phase_revision_and_suspension() -> None:
    endpoint, driver = seen(world(canary("Progressing", failedChecks=1), httproutes=[http_route(20)]))
    (write,) = driver.abort(endpoint)
    assert ops(write) == [
        ("test", "/metadata/uid", "u-canary"),
        ("test", "/status/phase", "Progressing"),
        ("test", "/status/lastAppliedSpec", "5978589476"),
        ("test", "/spec/suspend", None),
        ("replace", "/status/failedChecks", 10),
    ]
    assert "--subresource=status" in write.shell


def test_a_weight_is_written_to_the_route_alone_and_nothing_else_of_it() -> None:
    endpoint, driver = seen(world(canary("Progressing"), httproutes=[http_route(20)]))
    first, second = driver.set_weight(endpoint, 3500)
    assert ("add", "/spec/suspend", True) in done(first)
    assert json.loads(json.loads(first.payload)["notes"]["mlrelease.dev/held"])["canary"] == 35
    assert done(second) == [
        ("replace", "/spec/rules/0/backendRefs/0/weight", 65),
        ("replace", "/spec/rules/0/backendRefs/1/weight", 35),
    ]
    assert json.loads(second.payload)["marked_at"] == ""
    with pytest.raises(Refused, match="whole percent"):
        driver.set_weight(endpoint, 3550)


def test_what_git_keeps_is_aborted_and_its_target_left_to_git() -> None:
    objects = world(canary("Progressing"), httproutes=[http_route(20)])
    objects["deployments"][0]["metadata"]["labels"] = {"kustomize.toolkit.fluxcd.io/name": "apps"}
    endpoint, driver = seen(objects)
    assert endpoint.owner == "Flux kustomization apps"
    (write,) = driver.roll_back(endpoint, Artifact("6.0.0"))
    assert json.loads(write.payload)["subresource"] == "status"


def test_a_rollback_in_a_canary_restores_the_replicaset_that_holds_what_the_primary_runs() -> None:
    endpoint, driver = seen(world(canary("Progressing"), httproutes=[http_route(20)]))
    _, second = driver.roll_back(endpoint, Artifact("6.0.0"))
    assert json.loads(second.payload)["template"]["name"] == "podinfo-1"


def test_a_rollback_whose_replicaset_was_pruned_names_the_version() -> None:
    objects = world(canary("Failed"), pods=0, httproutes=[http_route(0)])
    objects["replicasets"] = objects["replicasets"][:2]
    endpoint, driver = seen(objects)
    (write,) = driver.roll_back(endpoint, Artifact("6.0.0"))
    image = "ghcr.io/stefanprodan/podinfo:6.0.0"
    assert done(write) == [("replace", "/spec/template/spec/containers/0/image", image)]


def test_a_flagger_of_any_programs_name_is_no_other_hand() -> None:
    objects = world(canary("Progressing"), httproutes=[http_route(20)])
    endpoint, _ = seen(objects)
    assert endpoint.stamp is not None
    assert str(endpoint.stamp.by) == "kubectl-set"


def test_a_change_that_flagger_has_not_seen_is_slow_first_and_then_nobody_is_there() -> None:
    objects = world(canary("Succeeded", ago_s=600), touched_s=60, pods=0, httproutes=[http_route(0)])
    endpoint, driver = seen(objects)
    assert endpoint.rollout.phase is Phase.UNKNOWN
    assert endpoint.rollout.message == "podinfo was changed, and Flagger has not looked yet: it does every 60 s"
    assert not endpoint.problems
    with pytest.raises(Refused, match="has not looked"):
        driver.start(endpoint, Artifact("6.0.2"), None)
    endpoint, _ = seen(objects, now=NOW + timedelta(minutes=5))
    assert endpoint.rollout.message == "podinfo was changed, and no Flagger has reacted for 360 s: is it running?"
    assert endpoint.problems == (endpoint.rollout.message,)


def test_silence_means_nothing_where_a_gate_is_waited_for_or_nothing_is_to_be_done() -> None:
    later = NOW + timedelta(hours=1)
    gate = {"name": "gate", "type": "confirm-traffic-increase", "url": "http://a-gate/"}
    gated = canary("Progressing", spec={"analysis": {**ANALYSIS, "webhooks": [gate]}})
    for item, version in ((gated, "6.0.1"), (canary("Succeeded"), "6.0.0")):
        endpoint, _ = seen(world(item, "6.0.0", version, httproutes=[http_route(0)]), now=later)
        assert not endpoint.problems
    endpoint, _ = seen(world(canary("Progressing"), httproutes=[http_route(20)]), now=later)
    assert "is it running?" in endpoint.problems[0]


def test_a_target_that_is_no_deployment_is_held_and_let_go_and_nothing_else() -> None:
    item = canary("Progressing", spec={"targetRef": {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "podinfo"}})
    endpoint, driver = seen({"canaries": [item], "httproutes": [http_route(20)]})
    assert endpoint.variants == ()
    assert "DaemonSet" in endpoint.problems[0]
    assert driver.hold(endpoint, NOBODY)
    assert driver.abort(endpoint)
    for verb in (Verb.PROMOTE, Verb.ROLLBACK, Verb.RESTART, Verb.SCALE):
        assert "DaemonSet" in endpoint.support(verb).reason


@pytest.mark.parametrize(
    ("text", "expected"), [("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), ("", 0), ("soon", 0)]
)
def test_durations_are_gos(text: str, expected: float) -> None:
    assert seconds(text) == expected


def test_an_interval_below_ten_seconds_is_ten_seconds() -> None:
    item = canary("Initialized", spec={"analysis": {**ANALYSIS, "interval": "2s"}})
    endpoint, _ = seen(world(item, "6.0.0", "6.0.0", httproutes=[http_route(0)]))
    assert endpoint.labels["interval"] == "10 s"


@pytest.mark.parametrize(("routed", "in_status", "goes_on"), [(20, 20, True), (40, 40, True), (97, 20, False)])
def test_a_step_that_flagger_was_just_taking_when_it_was_held_is_no_other_hand(
    routed: int, in_status: int, goes_on: bool
) -> None:
    held = json.dumps({"template": print_of(deployment("6.0.1", 2)), "canary": 20})
    item = canary("Progressing", notes={"mlrelease.dev/held": held}, canaryWeight=in_status, spec={"suspend": True})
    endpoint, driver = seen(world(item, httproutes=[http_route(routed)]))
    assert endpoint.support(Verb.CONTINUE).available is goes_on
    assert bool(endpoint.problems) is not goes_on
    if goes_on:
        (write,) = driver.resume(endpoint)
        assert done(write) == [
            ("remove", "/spec/suspend", None),
            ("remove", "/metadata/annotations/mlrelease.dev~1held", None),
        ]


def test_a_promotion_that_is_suspended_is_taken_back_by_its_primary_and_let_go() -> None:
    item = canary("Promoting", canaryWeight=50, spec={"suspend": True})
    objects = world(item, "6.0.1", "6.0.1", httproutes=[http_route(50)])
    objects["replicasets"].append(replicaset(objects["deployments"][1], "6.0.0", "0", 0))
    endpoint, driver = seen(objects)
    writes = driver.roll_back(endpoint, Artifact("6.0.0"))
    assert [write.target.partition(" ")[0] for write in writes] == ["Deployment", "Canary", "Deployment"]
    assert json.loads(writes[0].payload)["template"]["name"] == "podinfo-primary-0"
    with pytest.raises(Refused, match="no ReplicaSet of the primary"):
        driver.roll_back(endpoint, Artifact("5.0.0"))


def test_a_release_does_not_begin_from_traffic_that_a_hand_left_at_rest() -> None:
    endpoint, driver = seen(world(canary("Succeeded"), "6.0.0", "6.0.0", pods=0, httproutes=[http_route(50)]))
    with pytest.raises(Refused, match="a canary would begin from there"):
        driver.start(endpoint, Artifact("6.0.1"), None)
    (write,) = driver.abort(endpoint)
    assert [value for _, _, value in done(write)] == [100, 0]


def test_an_abort_that_another_hand_suspends_is_told_at_once_and_by_whom() -> None:
    """The two write to different parts of one object, and the count of failed checks moves by itself: neither can be tested on."""
    endpoint, driver = seen(world(canary("Progressing", failedChecks=1), httproutes=[http_route(20)]))
    (write,) = driver.abort(endpoint)
    mark = {"mlrelease.dev/hold": json.dumps({"by": "bo", "why": "wait"})}
    item = canary("Progressing", notes=mark, failedChecks=10)
    item["spec"]["suspend"] = True
    now, driver = seen(world(item, httproutes=[http_route(20)]))
    assert isinstance(write.expects, EndpointExpectation)
    assert failure_of(write.expects, now) == (
        "Canary says Progressing: an abort waits: it is suspended by bo; continued, Flagger carries it out at its next look"
    )
    (again,) = driver.abort(now)
    assert ("remove", "/spec/suspend", None) in done(again), "what is left to do is to let it go"
