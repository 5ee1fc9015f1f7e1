"""The control plane of the cluster tests: it works, it bears being killed, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from tests.cluster.api import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    ROLLOUTS,
    SERVICE_ACCOUNTS,
    Api,
    ApiError,
    Json,
    Kubectl,
    condition,
    holds,
    wait_for,
)
from tests.cluster.control_plane import ADMIN, NOBODY, READER, TENANT, ControlPlane
from tests.cluster.controllers import Controller
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import PODS_BEHAVE, deployment, pod_template, rollout
from tests.cluster.pod_logs import PodLog

REPOSITORY = Path(__file__).parents[2]


def test_a_deployment_becomes_ready_on_nodes_without_machines(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl.apply(deployment("fraud", "registry.example/fraud:1", replicas=3), namespace=namespace)
    cluster.api.wait(DEPLOYMENTS, namespace, "fraud", lambda item: item["status"].get("availableReplicas") == 3)


def test_pods_report_images_by_digest(control_plane: ControlPlane, namespace: str) -> None:
    api, digest = control_plane.api, "registry.example/fraud@sha256:" + "ab" * 32
    control_plane.kubectl.apply(
        deployment("tagged", "registry.example:5000/fraud:1", replicas=1),
        deployment("pinned", digest, replicas=1),
        namespace=namespace,
    )
    ids = {}
    for name in ("tagged", "pinned"):
        api.wait(DEPLOYMENTS, namespace, name, lambda item: item["status"].get("availableReplicas") == 1)
        (pod,) = api.items(PODS, namespace, selector=f"app={name}")
        ids[name] = pod["status"]["containerStatuses"][0]["imageID"]
    assert ids["pinned"] == digest
    assert ids["tagged"].startswith("registry.example:5000/fraud@sha256:")


@pytest.mark.parametrize(
    ("behaviour", "phase", "reason", "last"),
    [
        ("crash-loop", "Running", "CrashLoopBackOff", "Error"),
        ("oom-killed", "Running", "CrashLoopBackOff", "OOMKilled"),
        ("bad-image", "Pending", "ImagePullBackOff", ""),
        ("never-ready", "Running", "", ""),
    ],
)
def test_pods_fail_as_their_label_says(
    control_plane: ControlPlane, namespace: str, behaviour: str, phase: str, reason: str, last: str
) -> None:
    manifest = deployment("fraud", replicas=1, pod_labels={PODS_BEHAVE: behaviour}, progressDeadlineSeconds=2)
    control_plane.kubectl.apply(manifest, namespace=namespace)
    failed = control_plane.api.wait(
        DEPLOYMENTS,
        namespace,
        "fraud",
        lambda item: condition(item, "Progressing").get("reason") == "ProgressDeadlineExceeded",
    )
    (pod,) = control_plane.api.items(PODS, namespace)
    (container,) = pod["status"]["containerStatuses"]
    assert not failed["status"].get("availableReplicas")
    assert pod["status"]["phase"] == phase
    assert not container["ready"]
    assert container["state"].get("waiting", {}).get("reason", "") == reason
    assert container.get("lastState", {}).get("terminated", {}).get("reason", "") == last


@pytest.mark.parametrize(("label", "ended"), [("", "Complete"), ("job-failed", "Failed")])
def test_jobs_end_as_their_label_says(cluster: Cluster, namespace: str, label: str, ended: str) -> None:
    if cluster.own is None:
        pytest.skip("the label is understood by this repository's own nodes only")
    template = pod_template("score", "registry.example/score:1", labels={PODS_BEHAVE: label} if label else {})
    template["spec"]["restartPolicy"] = "Never"
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "score"},
        "spec": {"backoffLimit": 0, "template": template},
    }
    cluster.kubectl.apply(job, namespace=namespace)
    cluster.api.wait(JOBS, namespace, "score", lambda item: holds(item, ended))


def paused_at_ten_percent(item: Json) -> bool:
    status = item.get("status", {})
    return bool(
        status.get("phase") == "Paused"
        and status.get("currentStepIndex") == 1
        and status.get("updatedReplicas") == 1
        and status.get("availableReplicas") == 10
        and status.get("stableRS") != status.get("currentPodHash")
    )


def test_a_rollout_pauses_with_one_pod_in_ten_on_the_new_version(rollouts: Cluster, namespace: str) -> None:
    kubectl, api = rollouts.kubectl, rollouts.api
    kubectl.apply(rollout("fraud", "registry.example/fraud:1"), namespace=namespace)
    api.wait(ROLLOUTS, namespace, "fraud", lambda item: item.get("status", {}).get("phase") == "Healthy")
    kubectl.apply(rollout("fraud", "registry.example/fraud:2"), namespace=namespace)
    api.wait(ROLLOUTS, namespace, "fraud", paused_at_ten_percent)
    images = [pod["spec"]["containers"][0]["image"] for pod in api.items(PODS, namespace) if _lives(pod)]
    assert sorted(images) == ["registry.example/fraud:1"] * 9 + ["registry.example/fraud:2"]


def test_a_stopped_controller_moves_nothing_and_catches_up(
    argo: Controller, control_plane: ControlPlane, namespace: str
) -> None:
    kubectl, api = control_plane.kubectl, control_plane.api
    kubectl.apply(rollout("fraud", "registry.example/fraud:1"), namespace=namespace)
    api.wait(ROLLOUTS, namespace, "fraud", lambda item: item.get("status", {}).get("phase") == "Healthy")
    with argo.stopped():
        kubectl.apply(rollout("fraud", "registry.example/fraud:2"), namespace=namespace)
        waiting = api.get(ROLLOUTS, namespace, "fraud")
        assert str(waiting["metadata"]["generation"]) != waiting["status"]["observedGeneration"]
    api.wait(ROLLOUTS, namespace, "fraud", paused_at_ten_percent)


def test_a_killed_api_server_comes_back_at_its_address_with_its_state(
    control_plane: ControlPlane, namespace: str
) -> None:
    api = control_plane.api
    api.create(CONFIG_MAPS, namespace, {"metadata": {"name": "kept"}, "data": {"version": "7"}})
    control_plane.api_server.kill()
    with pytest.raises(httpx.TransportError):
        api.get(CONFIG_MAPS, namespace, "kept")
    control_plane.start_api_server()
    assert api.get(CONFIG_MAPS, namespace, "kept")["data"] == {"version": "7"}
    # Its controllers found it again too.
    control_plane.kubectl.apply(deployment("fraud", replicas=2), namespace=namespace)
    api.wait(DEPLOYMENTS, namespace, "fraud", lambda item: item["status"].get("availableReplicas") == 2)


def test_a_frozen_api_server_takes_connections_and_says_nothing(control_plane: ControlPlane) -> None:
    with control_plane.api_server.frozen(), pytest.raises(httpx.ReadTimeout):
        control_plane.api.client.get("/readyz", timeout=0.5)
    control_plane.wait_api_server()


def test_users_have_the_rights_that_their_names_say(
    control_plane: ControlPlane, cluster: Cluster, namespace: str
) -> None:
    def may(user: str, verb: str, where: str) -> bool:
        kubectl = Kubectl(control_plane.kubectl.program, control_plane.kubeconfig_of(user))
        return kubectl.run("auth", "can-i", verb, "deployments.apps", "--namespace", where).stdout.strip() == "yes"

    control_plane.grant(namespace, TENANT)
    with cluster.namespace() as other:
        rights = {
            user: (may(user, "list", namespace), may(user, "patch", namespace), may(user, "patch", other))
            for user in (ADMIN, READER, TENANT, NOBODY)
        }
    assert rights == {
        ADMIN: (True, True, True),
        READER: (True, False, False),
        TENANT: (True, True, False),
        NOBODY: (False, False, False),
    }


def _as_user(control_plane: ControlPlane, token: str) -> Api:
    context = ssl.create_default_context(cafile=str(control_plane.authority.bundle))
    headers = {"Authorization": f"Bearer {token}"}
    return Api(httpx.Client(base_url=control_plane.url, verify=context, headers=headers, trust_env=False))


def test_a_service_accounts_token_expires(control_plane: ControlPlane, namespace: str) -> None:
    account = control_plane.api.wait(SERVICE_ACCOUNTS, namespace, "default", lambda item: True)
    token = control_plane.tokens.token(namespace, "default", account["metadata"]["uid"], valid_s=3)
    api = _as_user(control_plane, token)

    def refused() -> bool:
        try:
            api.call("GET", "/version/")
        except ApiError as problem:
            return problem.code == 401
        return False

    assert not refused()
    wait_for(refused, within_s=30)


def test_the_audit_log_tells_who_wrote_what(control_plane: ControlPlane, namespace: str) -> None:
    api = _as_user(control_plane, control_plane.token(ADMIN))
    mark = control_plane.audit_mark()
    api.create(CONFIG_MAPS, namespace, {"metadata": {"name": "mine"}, "data": {"a": "1"}})
    api.patch(CONFIG_MAPS, namespace, "mine", {"data": {"a": "2"}})
    api.get(CONFIG_MAPS, namespace, "mine")
    wait_for(lambda: len(control_plane.requests(mark)) >= 3)
    seen = control_plane.requests(mark)
    assert [(entry.verb, entry.code, entry.writes) for entry in seen] == [
        ("create", 201, True),
        ("patch", 200, True),
        ("get", 200, False),
    ]
    assert seen[1].body == {"data": {"a": "2"}}


def test_pods_have_logs(control_plane: ControlPlane, namespace: str) -> None:
    kubectl, api = control_plane.kubectl, control_plane.api
    kubectl.apply(deployment("fraud", replicas=1), namespace=namespace)
    api.wait(DEPLOYMENTS, namespace, "fraud", lambda item: item["status"].get("availableReplicas") == 1)
    (pod,) = api.items(PODS, namespace)
    log = PodLog(control_plane, namespace, pod["metadata"]["name"])
    log.write("loaded model 1", "serving")
    log.write_previous("out of memory")

    def says(*words: str) -> str:
        return kubectl.run("logs", pod["metadata"]["name"], "--namespace", namespace, *words).stdout

    wait_for(lambda: says() == "loaded model 1\nserving\n")
    assert says("--previous") == "out of memory\n"
    assert says("--tail=1") == "serving\n"
    path = PODS.path(namespace, pod["metadata"]["name"], "log")
    with api.client.stream("GET", path, params={"follow": "true", "tailLines": "1"}) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "serving"
        log.write("request 1")
        assert next(lines) == "request 1"


STARTER = """
import sys, time
from pathlib import Path
from tests.cluster.control_plane import ControlPlane
plane = ControlPlane(Path(sys.argv[1]), nodes=1)
with plane:
    print(*(program.pid for program in plane.programs.values()), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["closed", "killed"])
def test_nothing_is_left_running(cluster: Cluster, tmp_path: Path, end: str) -> None:
    if cluster.own is None:
        pytest.skip("starts a control plane of its own")
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        pids = [int(word) for word in owner.stdout.readline().split()]
        assert len(pids) == 5
        assert all(psutil.pid_exists(pid) for pid in pids)
        if end == "killed":
            os.kill(owner.pid, signal.SIGKILL)
        owner.stdin.close()
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids), within_s=20)
    assert owner.returncode == (-signal.SIGKILL if end == "killed" else 0)


def _lives(pod: Json) -> bool:
    return "deletionTimestamp" not in pod["metadata"]


def test_several_manifests_are_applied_by_one_call_whatever_they_are_written_in(
    cluster: Cluster, namespace: str
) -> None:
    def config_map(name: str) -> dict[str, object]:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}

    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: written-in-yaml\n"
    cluster.kubectl.apply(config_map("first"), config_map("second"), text, namespace=namespace)
    found = cluster.kubectl("get", "configmaps", "-n", namespace, "-o", "name").split()
    assert {"configmap/first", "configmap/second", "configmap/written-in-yaml"} <= set(found)
