"""Each verb on a Deployment, a pair and a schedule beside kubectl, on objects of the same past: the same end state of both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import pytest
from tests.cluster.api import CRON_JOBS, DEPLOYMENTS, Json
from tests.cluster.desk import Operator
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import PODS_BEHAVE, deployment, pod_template
from tests.cluster.verb_table import Row, VerbTable

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Endpoint, Hold, Verb
from mlrelease_tui.domain.text import SafeText

pytestmark = [pytest.mark.kubernetes, pytest.mark.real]

IMAGE: Final = "registry.example/fraud"
NOBODY: Final = Hold(SafeText("anna"), SafeText(""))
RESTARTED: Final = "kubectl.kubernetes.io/restartedAt"
Planned = Callable[[Any, Endpoint], tuple[Write, ...]]


@dataclass(frozen=True, slots=True)
class Case:
    """A verb, how ours is planned, what kubectl is told, from which past, and what the page says of it."""

    verb: Verb
    told: str
    ours: Planned
    native: tuple[str, ...]
    writes: str
    end: str
    bad: bool = False
    held: bool = False


def _to(version: str) -> Planned:
    return lambda driver, endpoint: driver.roll_back(endpoint, Artifact(version))


CASES: Final = (
    Case(
        Verb.PROMOTE,
        "promote --full",
        lambda driver, endpoint: driver.start(endpoint, Artifact("2"), 10_000),
        ("set image deployment/NAME model=registry.example/fraud:2",),
        "1 JSON Patch: image, annotations",
        "2 on 3 of 3 pods",
    ),
    Case(
        Verb.HOLD,
        "hold",
        lambda driver, endpoint: driver.hold(endpoint, NOBODY),
        ("rollout pause deployment/NAME",),
        "1 JSON Patch: spec.paused, annotations",
        "1 on 3 of 3 pods, paused",
    ),
    Case(
        Verb.CONTINUE,
        "continue",
        lambda driver, endpoint: driver.resume(endpoint),
        ("rollout resume deployment/NAME",),
        "1 JSON Patch: spec.paused removed",
        "1 on 3 of 3 pods",
        held=True,
    ),
    Case(
        Verb.ROLLBACK,
        "rollback, release under way",
        _to("1"),
        ("rollout undo deployment/NAME --to-revision=1",),
        "1 JSON Patch: the last healthy ReplicaSet's template",
        "1 on 3 of 3 pods",
        bad=True,
    ),
    Case(
        Verb.ROLLBACK,
        "rollback, release under way and paused",
        _to("1"),
        ("rollout resume deployment/NAME", "rollout undo deployment/NAME --to-revision=1"),
        "1 JSON Patch: the last healthy ReplicaSet's template, spec.paused removed",
        "1 on 3 of 3 pods",
        bad=True,
        held=True,
    ),
    Case(
        Verb.RESTART,
        "restart",
        lambda driver, endpoint: driver.restart(endpoint),
        ("rollout restart deployment/NAME",),
        "1 JSON Patch: restartedAt on the template",
        "1 on 3 of 3 pods, restarted",
    ),
    Case(
        Verb.SCALE,
        "scale",
        lambda driver, endpoint: driver.scale(endpoint, 5),
        ("scale deployment/NAME --replicas=5",),
        "1 JSON Patch on scale: replicas",
        "1 on 5 of 5 pods",
    ),
)


@pytest.fixture
async def operator(cluster: Cluster, namespace: str) -> AsyncIterator[Operator]:
    found = Operator(cluster.kubeconfig, namespace)
    yield found
    await found.close()


def _settled(item: Json) -> bool:
    status, wanted = item.get("status", {}), item["spec"]["replicas"]
    seen = status.get("observedGeneration", 0) >= item["metadata"]["generation"]
    counts = {status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")}
    return bool(seen and counts == {wanted})


def _prepared(cluster: Cluster, namespace: str, name: str, case: Case) -> None:
    cluster.kubectl.apply(deployment(name, f"{IMAGE}:1"), namespace=namespace)
    cluster.api.wait(DEPLOYMENTS, namespace, name, _settled)
    if case.bad:
        bad = deployment(name, f"{IMAGE}:2", pod_labels={PODS_BEHAVE: "crash-loop"})
        cluster.kubectl.apply(bad, namespace=namespace)
        cluster.api.wait(DEPLOYMENTS, namespace, name, lambda item: item["status"].get("unavailableReplicas"))
    if case.held:
        cluster.kubectl("rollout", "pause", f"deployment/{name}", "--namespace", namespace)


def _end(item: Json) -> Json:
    """What both must come to: the spec whole, and how many pods there are."""
    spec = cast(Json, item["spec"])
    template = spec["template"]
    if RESTARTED in template["metadata"].get("annotations", {}):
        template["metadata"]["annotations"][RESTARTED] = "then"
    template["metadata"]["labels"]["app"] = spec["selector"]["matchLabels"]["app"] = "NAME"
    counts = {key: item["status"].get(key) for key in ("replicas", "updatedReplicas", "availableReplicas")}
    return {"spec": spec, **counts}


def _told(item: Json) -> str:
    version = item["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[2]
    ready, wanted = item["status"].get("availableReplicas", 0), item["spec"]["replicas"]
    words = f"{version} on {ready} of {wanted} pods"
    if item["spec"].get("paused"):
        words += ", paused"
    return words + (", restarted" if RESTARTED in item["spec"]["template"]["metadata"].get("annotations", {}) else "")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.told)
async def test_a_verb_on_a_deployment_ends_as_with_kubectl(
    cluster: Cluster, namespace: str, operator: Operator, verb_table: VerbTable, case: Case
) -> None:
    for name in ("ours", "theirs"):
        _prepared(cluster, namespace, name, case)
    await operator.do("ours", case.verb, case.ours)
    for words in case.native:
        cluster.kubectl(*words.replace("NAME", "theirs").split(), "--namespace", namespace)
    ours, theirs = (cluster.api.wait(DEPLOYMENTS, namespace, name, _settled) for name in ("ours", "theirs"))
    assert _told(ours) == case.end
    assert _end(ours) == _end(theirs)
    native = " && ".join(f"`kubectl {words}`" for words in case.native)
    verb_table.record(Row("Deployment", case.told, case.writes, native, case.end))


def _half(side: str, role: str, version: str, replicas: int) -> Json:
    labels = {"mlrelease.dev/role": role}
    return deployment(
        f"{side}-{role}", f"{IMAGE}:{version}", replicas=replicas, labels=labels, pod_labels={"serves": side}
    )


PAIR_CASES: Final = (
    Case(
        Verb.PROMOTE,
        "promote at 10%",
        lambda driver, endpoint: driver.start(endpoint, Artifact("2"), 1000),
        (
            "set image deployment/NAME-canary model=registry.example/fraud:2",
            "scale deployment/NAME-canary --replicas=1",
            "scale deployment/NAME-stable --replicas=9",
        ),
        "2 JSON Patches: canary's image and replicas, then stable's replicas",
        "1 on 9 pods, 2 on 1",
    ),
    Case(
        Verb.ABORT,
        "abort",
        lambda driver, endpoint: driver.abort(endpoint),
        ("scale deployment/NAME-canary --replicas=0", "scale deployment/NAME-stable --replicas=10"),
        "2 JSON Patches: canary's replicas 0, then stable's",
        "1 on 10 pods, 2 on 0",
        bad=True,
    ),
    Case(
        Verb.PROMOTE,
        "promote --full",
        lambda driver, endpoint: driver.complete(endpoint),
        (
            "set image deployment/NAME-stable model=registry.example/fraud:2",
            "scale deployment/NAME-stable --replicas=10",
            "scale deployment/NAME-canary --replicas=0",
        ),
        "2 JSON Patches: stable's image and replicas, then canary's replicas 0",
        "2 on 10 pods, 2 on 0",
        bad=True,
    ),
)


@pytest.mark.parametrize("case", PAIR_CASES, ids=lambda case: case.told)
async def test_a_verb_on_a_pair_ends_as_with_kubectl(
    cluster: Cluster, namespace: str, operator: Operator, verb_table: VerbTable, case: Case
) -> None:
    stable, canary, version = (9, 1, "2") if case.bad else (10, 0, "1")
    for side in ("ours", "theirs"):
        front = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": side},
            "spec": {"selector": {"serves": side}, "ports": [{"port": 80, "targetPort": 8080}]},
        }
        halves = _half(side, "stable", "1", stable), _half(side, "canary", version, canary)
        cluster.kubectl.apply(front, *halves, namespace=namespace)
        for half in halves:
            cluster.api.wait(DEPLOYMENTS, namespace, half["metadata"]["name"], _settled)
    await operator.do("ours", case.verb, case.ours)
    for words in case.native:
        cluster.kubectl(*words.replace("NAME", "theirs").split(), "--namespace", namespace)
    told = {}
    for side in ("ours", "theirs"):
        found = [cluster.api.wait(DEPLOYMENTS, namespace, f"{side}-{role}", _settled) for role in ("stable", "canary")]
        parts = [
            (item["spec"]["template"]["spec"]["containers"][0]["image"][-1], item["spec"]["replicas"]) for item in found
        ]
        told[side] = f"{parts[0][0]} on {parts[0][1]} pods, {parts[1][0]} on {parts[1][1]}"
    assert told["ours"] == told["theirs"] == case.end
    native = " && ".join(f"`kubectl {words}`" for words in case.native)
    verb_table.record(Row("Canary pair", case.told, case.writes, native, case.end))


def _schedule(name: str) -> Json:
    template = pod_template(name, f"{IMAGE}:1")
    template["spec"]["restartPolicy"] = "Never"
    spec = {"schedule": "0 3 1 1 *", "jobTemplate": {"spec": {"template": template}}}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}


JOB_CASES: Final = (
    Case(
        Verb.PROMOTE,
        "promote",
        lambda driver, endpoint: driver.start(endpoint, Artifact("2"), None),
        ("set image cronjob/NAME model=registry.example/fraud:2",),
        "1 JSON Patch: image, annotations",
        "the next run is of 2",
    ),
    Case(
        Verb.HOLD,
        "hold",
        lambda driver, endpoint: driver.hold(endpoint, NOBODY),
        ('patch cronjob/NAME -p {"spec":{"suspend":true}}',),
        "1 JSON Patch: spec.suspend, annotations",
        "the next run is of 1, suspended",
    ),
    Case(
        Verb.CONTINUE,
        "continue",
        lambda driver, endpoint: driver.resume(endpoint),
        ('patch cronjob/NAME -p {"spec":{"suspend":false}}',),
        "1 JSON Patch: spec.suspend false",
        "the next run is of 1",
        held=True,
    ),
)


@pytest.mark.parametrize("case", JOB_CASES, ids=lambda case: case.told)
async def test_a_verb_on_a_schedule_ends_as_with_kubectl(
    cluster: Cluster, namespace: str, operator: Operator, verb_table: VerbTable, case: Case
) -> None:
    for name in ("ours", "theirs"):
        cluster.kubectl.apply(_schedule(name), namespace=namespace)
        if case.held:
            cluster.api.patch(CRON_JOBS, namespace, name, {"spec": {"suspend": True}})
    await operator.do("ours", case.verb, case.ours)
    for words in case.native:
        cluster.kubectl(*words.replace("NAME", "theirs").split(), "--namespace", namespace)
    told = {}
    for name in ("ours", "theirs"):
        spec = cluster.api.get(CRON_JOBS, namespace, name)["spec"]
        version = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"][-1]
        told[name] = f"the next run is of {version}" + (", suspended" if spec["suspend"] else "")
    assert told["ours"] == told["theirs"] == case.end
    native = " && ".join(f"`kubectl {words}`" for words in case.native)
    verb_table.record(Row("CronJob", case.told, case.writes, native, case.end))
