"""What an operator sees beneath an endpoint on a real control plane: replicas, events, what bears on it, dry runs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from tests.cluster.api import DEPLOYMENTS, PODS, REPLICA_SETS, ROLLOUTS, Json, Kind, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.desk import Operator
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import PODS_BEHAVE, deployment, pod_template, rollout
from tests.cluster.users import TENANT

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.domain.details import Details
from mlrelease_tui.domain.plan import CheckStatus, FieldChange, Write
from mlrelease_tui.domain.rollout import Endpoint, Verb

pytestmark = [pytest.mark.kubernetes, pytest.mark.real]

MODEL = {"mlrelease.dev/model": "registry/fraud"}
IMAGE = "registry.example/fraud"
SECRET = "hunter2-not-for-eyes"
BUDGETS = Kind("policy/v1", "poddisruptionbudgets")
SCALERS = Kind("autoscaling/v2", "horizontalpodautoscalers")
POLICIES = Kind("admissionregistration.k8s.io/v1", "mutatingadmissionpolicies", namespaced=False)
BINDINGS = Kind("admissionregistration.k8s.io/v1", "mutatingadmissionpolicybindings", namespaced=False)


@pytest.fixture
async def operator(cluster: Cluster, namespace: str) -> AsyncIterator[Operator]:
    found = Operator(cluster.kubeconfig, namespace)
    yield found
    await found.close()


async def details(operator: Operator, name: str) -> Details:
    return await operator.connector.details(await operator.read(name))


def settled(item: Json) -> bool:
    status, wanted = item.get("status", {}), item["spec"]["replicas"]
    counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")}
    return bool(counts == {wanted} and status.get("observedGeneration", 0) >= item["metadata"]["generation"])


def deploy(cluster: Cluster, namespace: str, name: str, *, replicas: int = 2, **wish: object) -> None:
    item = deployment(name, f"{IMAGE}:1", replicas=replicas, annotations=MODEL, **wish)  # type: ignore[arg-type]
    item["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "API_TOKEN", "value": SECRET}]
    cluster.kubectl.apply(item, namespace=namespace)
    cluster.api.wait(DEPLOYMENTS, namespace, name, settled, within_s=90)


async def test_the_pods_of_both_versions_of_a_rollout_are_told_as_kubectl_shows_them(
    rollouts: Cluster, namespace: str
) -> None:
    api, operator = rollouts.api, Operator(rollouts.kubeconfig, namespace)
    item = rollout("fraud", f"{IMAGE}:1", replicas=2, steps=({"setWeight": 50}, {"pause": {}}))
    item["metadata"]["annotations"] = MODEL
    rollouts.kubectl.apply(item, namespace=namespace)
    api.wait(ROLLOUTS, namespace, "fraud", lambda found: found.get("status", {}).get("phase") == "Healthy", within_s=90)
    template = pod_template("fraud", f"{IMAGE}:2", labels={PODS_BEHAVE: "oom-killed"})
    api.patch(
        ROLLOUTS, namespace, "fraud", [{"op": "replace", "path": "/spec/template", "value": template}], how="json"
    )

    def killed() -> Json | None:
        pods = api.items(PODS, namespace, selector=f"{PODS_BEHAVE}=oom-killed")
        return pods[0] if pods and pods[0].get("status", {}).get("containerStatuses") else None

    pod = wait_for(killed, within_s=90)
    endpoint = await operator.until("fraud", lambda found: found.canary is not None)
    found = await operator.connector.details(endpoint)
    await operator.close()
    assert endpoint.canary is not None
    assert endpoint.stable is not None
    (canary,) = [one for one in found.replicas if one.variant == endpoint.canary.name]
    status = pod["status"]["containerStatuses"][0]
    assert str(canary.name) == pod["metadata"]["name"]
    assert str(canary.node) == pod["spec"]["nodeName"]
    assert canary.restarts == status["restartCount"] > 0
    assert canary.why == "OOMKilled 137"
    assert canary.state.startswith("CrashLoopBackOff")
    assert not canary.ready
    assert canary.image.removeprefix("sha256:") in status["imageID"]
    assert canary.asks == "cpu 100m, memory 64Mi"
    stable = [one for one in found.replicas if one.variant == endpoint.stable.name]
    assert stable
    assert all(one.ready and one.state == "Ready" for one in stable)
    assert {"RolloutUpdated", "NewReplicaSetCreated"} <= {str(one.reason) for one in found.happenings}


async def test_events_are_of_the_workload_its_sets_and_its_pods_gone_ones_too_newest_first(
    cluster: Cluster, namespace: str, operator: Operator
) -> None:
    deploy(cluster, namespace, "fraud")
    deploy(cluster, namespace, "fraud-batch", replicas=1)
    (gone, *_) = cluster.api.items(PODS, namespace, selector="app=fraud")
    cluster.api.delete(PODS, namespace, gone["metadata"]["name"])
    cluster.api.gone(PODS, namespace, gone["metadata"]["name"], within_s=90)
    cluster.api.wait(DEPLOYMENTS, namespace, "fraud", settled, within_s=90)
    found = await details(operator, "fraud")
    about = {str(one.about) for one in found.happenings}
    sets = {item["metadata"]["name"] for item in cluster.api.items(REPLICA_SETS, namespace, selector="app=fraud")}
    pods = {item["metadata"]["name"] for item in cluster.api.items(PODS, namespace, selector="app=fraud")}
    pods.add(gone["metadata"]["name"])
    assert about == {"Deployment fraud", *(f"ReplicaSet {one}" for one in sets), *(f"Pod {one}" for one in pods)}
    times = [one.at for one in found.happenings if one.at is not None]
    assert len(times) == len(found.happenings)
    assert times == sorted(times, reverse=True)


async def test_what_scales_it_and_what_guards_it_are_told(cluster: Cluster, namespace: str, operator: Operator) -> None:
    deploy(cluster, namespace, "fraud")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "fraud"}
    cluster.api.create(
        SCALERS,
        namespace,
        {"metadata": {"name": "fraud"}, "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 7}},
    )
    for name, labels in (("fraud", {"app": "fraud"}), ("other", {"app": "other"})):
        spec = {"minAvailable": 1, "selector": {"matchLabels": labels}}
        cluster.api.create(BUDGETS, namespace, {"metadata": {"name": name}, "spec": spec})
    allowed = cluster.api.wait(
        BUDGETS, namespace, "fraud", lambda item: item.get("status", {}).get("disruptionsAllowed"), within_s=90
    )["status"]
    told = dict((await details(operator, "fraud")).bearings)
    assert told["scaled by"].startswith("HPA fraud: 2 to 7")
    assert told["budget"] == (
        f"PDB fraud: at least 1 stay; {allowed['disruptionsAllowed']} may be evicted now "
        f"({allowed['currentHealthy']} healthy, {allowed['desiredHealthy']} needed)"
    )


async def test_what_may_not_be_seen_is_a_note_and_hides_nothing_else(
    control_plane: ControlPlane, cluster: Cluster, namespace: str, operator: Operator
) -> None:
    deploy(cluster, namespace, "fraud")
    endpoint = await operator.read("fraud")
    kubectl, role = control_plane.kubectl, f"eyes-{namespace}"
    kubectl(
        *("create", "role", role, "--verb=get,list", "--resource=pods,services,replicasets.apps,deployments.apps"),
        *("--namespace", namespace),
    )
    kubectl("create", "rolebinding", role, f"--role={role}", f"--user={TENANT}", "--namespace", namespace)
    tenant = Operator(control_plane.kubeconfig_of(TENANT), namespace)
    try:
        found = await tenant.connector.details(endpoint)
    finally:
        await tenant.close()
    assert len(found.replicas) == 2
    assert not found.happenings
    assert any("events" in note and "forbidden" in note for note in found.notes)


Planned = Callable[[Any, Endpoint], tuple[Write, ...]]


def forward(driver: Any, endpoint: Endpoint) -> tuple[Write, ...]:
    found: tuple[Write, ...] = driver.start(endpoint, Artifact("2"), None)
    return found


async def _rehearsed(operator: Operator, planned: Planned) -> tuple[FieldChange, ...]:
    (write, *_) = await operator.plan("fraud", planned)
    (check,) = [one for one in await operator.connector.rehearse(write) if one.name == "dry run"]
    assert check.status is CheckStatus.PASS, check
    assert SECRET not in repr(check)
    return check.changes


async def test_a_dry_run_tells_what_the_write_then_changes_and_no_secret(
    cluster: Cluster, namespace: str, operator: Operator
) -> None:
    deploy(cluster, namespace, "fraud")
    changes = await _rehearsed(operator, forward)
    image = FieldChange(
        f"Deployment {namespace}/fraud",
        "spec.template.spec.containers[model].image",
        f"{IMAGE}:1",
        f"{IMAGE}:2",
    )
    assert changes[0] == image
    assert all(change.asked for change in changes)
    assert all("API_TOKEN" not in change.path for change in changes), "what stays is not told"
    await operator.do("fraud", Verb.PROMOTE, forward)
    (container,) = cluster.api.get(DEPLOYMENTS, namespace, "fraud")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image.after
    # Back: the template of the ReplicaSet, in which only the environment was changed by another hand meanwhile.
    patch = [
        {"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": f"{SECRET}-2"},
        {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "DEBUG", "value": SECRET}},
    ]
    cluster.api.patch(DEPLOYMENTS, namespace, "fraud", patch, how="json")
    cluster.api.wait(DEPLOYMENTS, namespace, "fraud", settled, within_s=90)
    back = await _rehearsed(operator, lambda driver, endpoint: driver.roll_back(endpoint, Artifact("1")))
    told = {change.path.rpartition("].")[2]: (change.before, change.after) for change in back}
    assert told["image"] == (f"{IMAGE}:2", f"{IMAGE}:1")
    assert told["env[API_TOKEN]"] == ("(not shown)", "(another value, not shown)")
    assert told["env[DEBUG]"] == ("(not shown)", "")


@contextlib.contextmanager
def meddling(cluster: Cluster, namespace: str) -> Iterator[None]:
    """Admission of the server's own that writes on every Deployment of the namespace that is changed."""
    name = f"meddler-{namespace}"
    annotations = '{"policy.example/checked": "yes"}'
    spec = {
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "resourceRules": [
                {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}
            ],
        },
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {
                    "expression": f"Object{{metadata: Object.metadata{{annotations: {annotations}}}}}"
                },
            }
        ],
    }
    cluster.api.create(POLICIES, "", {"metadata": {"name": name}, "spec": spec})
    cluster.api.create(BINDINGS, "", {"metadata": {"name": name}, "spec": {"policyName": name}})
    try:
        yield
    finally:
        cluster.api.delete(BINDINGS, "", name)
        cluster.api.delete(POLICIES, "", name)


async def test_what_admission_would_change_beside_the_plan_is_told_before_it_is_sent(
    control_plane: ControlPlane, cluster: Cluster, namespace: str, operator: Operator
) -> None:
    deploy(cluster, namespace, "fraud")
    with meddling(cluster, namespace):
        path = DEPLOYMENTS.path(namespace, "fraud")

        def meddles() -> bool:
            answer = cluster.api.call(
                "PATCH",
                path,
                {"spec": {"minReadySeconds": 1}},
                content_type="application/merge-patch+json",
                dryRun="All",
            )
            return "policy.example/checked" in answer.text

        wait_for(meddles, within_s=90)
        changes = await _rehearsed(operator, forward)
    beside = [change for change in changes if not change.asked]
    assert [(change.path, change.before, change.after) for change in beside] == [
        ("metadata.annotations[policy.example/checked]", "", "yes")
    ]
    annotations = cluster.api.get(DEPLOYMENTS, namespace, "fraud")["metadata"]["annotations"]
    assert "policy.example/checked" not in annotations, "nothing was written"
