"""Logs of pods as an operator sees them: the end, the run before, as they come, and why there are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
from tests.cluster.api import CRON_JOBS, DEPLOYMENTS, JOBS, PODS, Json, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.desk import CONNECTION, Operator
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import PODS_BEHAVE, deployment, pod_template
from tests.cluster.pod_logs import PodLog
from tests.cluster.users import TENANT

from mlrelease_tui.connectors.api import Connector, Settings
from mlrelease_tui.connectors.conformance import HOSTILE, LogConformance
from mlrelease_tui.connectors.kubernetes.connector import KubernetesConnector
from mlrelease_tui.connectors.kubernetes.logs import OUTPUTS
from mlrelease_tui.domain.logs import LogTail, LogWish
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.errors import Forbidden, NotFound

pytestmark = [pytest.mark.kubernetes, pytest.mark.real]

MODEL = {"mlrelease.dev/model": "registry/fraud"}


class Lab:
    """Deployments whose pods print what a test says."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.control_plane = control_plane
        self.namespace = namespace
        self._known: set[str] = set()

    def deploy(self, name: str, *, replicas: int = 1, behaves: str = "", ready: bool = True) -> list[PodLog]:
        """The logs of its pods, once they are there and say something."""
        labels = {PODS_BEHAVE: behaves} if behaves else None
        item = deployment(name, replicas=replicas, annotations=MODEL, pod_labels=labels)
        self.control_plane.kubectl.apply(item, namespace=self.namespace)
        wanted = "availableReplicas" if ready else "replicas"
        self.control_plane.api.wait(
            DEPLOYMENTS, self.namespace, name, lambda found: found.get("status", {}).get(wanted) == replicas
        )
        return self.logs(f"app={name}", replicas)

    def logs(self, selector: str, count: int) -> list[PodLog]:
        """The logs of pods that had none yet, once so many pods are on their nodes."""
        api = self.control_plane.api

        def scheduled() -> list[Json] | None:
            found = api.items(PODS, self.namespace, selector=selector)
            return found if len(found) >= count and all(pod["spec"].get("nodeName") for pod in found) else None

        names = [pod["metadata"]["name"] for pod in wait_for(scheduled, within_s=60)]
        new = [name for name in names if name not in self._known]
        self._known |= set(new)
        return [PodLog(self.control_plane, self.namespace, name) for name in new]


@pytest.fixture
def lab(control_plane: ControlPlane, namespace: str) -> Lab:
    return Lab(control_plane, namespace)


@pytest.fixture
async def operator(cluster: Cluster, namespace: str) -> AsyncIterator[Operator]:
    found = Operator(cluster.kubeconfig, namespace)
    yield found
    await found.close()


async def tails(operator: Operator, endpoint: Endpoint, **wish: int) -> tuple[LogTail, ...]:
    assert endpoint.stable is not None
    return await operator.connector.logs(endpoint, LogWish(endpoint.ref, endpoint.stable.name, **wish))  # type: ignore[arg-type]


async def printed(operator: Operator, endpoint: Endpoint, **wish: int) -> tuple[LogTail, ...]:
    """The tails once all of them have lines: the node serves what was written a moment later."""
    async with asyncio.timeout(60):
        while True:
            found = await tails(operator, endpoint, **wish)
            if all(tail.lines or "not read" in tail.note for tail in found):
                return found
            await asyncio.sleep(0.1)


class TestLogs(LogConformance):
    @pytest.fixture
    def connector(self, cluster: Cluster, lab: Lab, namespace: str) -> Iterator[Connector]:
        (log,) = lab.deploy("fraud")
        log.write(*(f"request {number}" for number in range(20)), *HOSTILE.split("\n"), "x" * 20_000, "the end")
        log.write_previous("the run that failed")
        yield KubernetesConnector(
            Settings(CONNECTION, "kubernetes", {"kubeconfig": str(cluster.kubeconfig), "namespaces": [namespace]})
        )

    @pytest.fixture
    def endpoint(self, namespace: str) -> EndpointRef:
        return EndpointRef(CONNECTION, namespace, "fraud")

    @pytest.fixture
    async def variant(self, connector: KubernetesConnector, endpoint: EndpointRef) -> str:
        seen = await connector.endpoint(endpoint)
        assert seen.stable is not None
        async with asyncio.timeout(60):
            while not (await connector.logs(seen, LogWish(endpoint, seen.stable.name)))[0].lines:
                await asyncio.sleep(0.1)
        return seen.stable.name


async def test_each_container_of_each_pod_is_an_output_with_its_time(lab: Lab, operator: Operator) -> None:
    for number, log in enumerate(lab.deploy("fraud", replicas=2)):
        log.write(f"pod {number} loaded", f"pod {number} serves")
        log.write_previous(f"pod {number} ran out of memory")
    found = await printed(operator, await operator.read("fraud"))
    assert sorted(str(line) for tail in found for line in tail.lines[-1:]) == ["pod 0 serves", "pod 1 serves"]
    assert all(tail.source.endswith("/model") and tail.written_at is not None for tail in found)
    before = await printed(operator, await operator.read("fraud"), previous=True)
    assert sorted(str(tail.lines[-1]) for tail in before) == ["pod 0 ran out of memory", "pod 1 ran out of memory"]


async def test_the_last_bytes_are_kept_where_the_servers_limit_would_keep_the_first(
    lab: Lab, operator: Operator, control_plane: ControlPlane
) -> None:
    (log,) = lab.deploy("fraud")
    log.write(*(f"line {number} {'y' * 500}" for number in range(100)), "the newest")
    endpoint = await operator.read("fraud")
    (tail,) = await printed(operator, endpoint, bytes=4_096)
    assert tail.lines[-1] == "the newest"
    assert tail.earlier
    (pod,) = control_plane.api.items(PODS, lab.namespace)
    path = PODS.path(lab.namespace, pod["metadata"]["name"], "log")
    native = control_plane.api.call("GET", path, tailLines="101", limitBytes="4096").text
    assert "the newest" not in native, "the server's own limit cuts the end off: if it no longer does, it can be used"


async def test_of_many_pods_only_some_are_read_and_that_is_said(lab: Lab, operator: Operator) -> None:
    for number, log in enumerate(lab.deploy("fraud", replicas=OUTPUTS + 2)):
        log.write(f"pod {number}")
    first, *rest = await printed(operator, await operator.read("fraud"))
    assert first.note == "2 other outputs of it are not read"
    assert len(rest) == OUTPUTS


async def test_why_a_container_has_no_log_is_said_in_the_servers_words(
    lab: Lab, operator: Operator, control_plane: ControlPlane
) -> None:
    control_plane.kubectl.apply(deployment("fraud", replicas=1, annotations=MODEL), namespace=lab.namespace)
    control_plane.api.wait(
        DEPLOYMENTS, lab.namespace, "fraud", lambda item: item.get("status", {}).get("availableReplicas")
    )
    # The node's logs come from an object of the test's: without it the node answers that it has none.
    (tail,) = await tails(operator, await operator.read("fraud"))
    (pod,) = control_plane.api.items(PODS, lab.namespace)
    native = control_plane.kubectl.run("logs", pod["metadata"]["name"], "--namespace", lab.namespace)
    assert not tail.lines
    assert str(tail.note)
    assert str(tail.note) in native.stderr


async def test_a_job_and_a_schedule_show_what_their_runs_print(lab: Lab, operator: Operator) -> None:
    api = lab.control_plane.api
    template = pod_template("batch", "registry.example/fraud:1")
    template["spec"]["restartPolicy"] = "Never"
    spec: Json = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}
    api.create(CRON_JOBS, lab.namespace, {"metadata": {"name": "nightly", "annotations": MODEL}, "spec": spec})
    endpoint = await operator.read("nightly")
    (none,) = await tails(operator, endpoint)
    assert none.note == "no pod of it is there"
    lab.control_plane.kubectl("create", "job", "by-hand", "--from=cronjob/nightly", "--namespace", lab.namespace)
    api.wait(JOBS, lab.namespace, "by-hand", lambda item: item.get("status", {}).get("active") or item["status"])
    (log,) = lab.logs("job-name=by-hand", 1)
    log.write("scored 12 rows")
    found = await printed(operator, endpoint)
    assert [str(line) for line in found[-1].lines] == ["scored 12 rows"]


async def test_a_variant_that_went_is_not_found(lab: Lab, operator: Operator) -> None:
    lab.deploy("fraud")
    endpoint = await operator.read("fraud")
    with pytest.raises(NotFound):
        await operator.connector.logs(endpoint, LogWish(endpoint.ref, "gone"))


async def test_who_may_not_read_logs_is_told(lab: Lab, operator: Operator, control_plane: ControlPlane) -> None:
    lab.deploy("fraud")
    endpoint = await operator.read("fraud")
    tenant = Operator(control_plane.kubeconfig_of(TENANT), lab.namespace)
    try:
        role = f"logless-{lab.namespace}"
        kubectl = control_plane.kubectl
        kubectl(
            *("create", "role", role, "--verb=get,list", "--resource=pods,services,replicasets.apps,deployments.apps"),
            *("--namespace", lab.namespace),
        )
        kubectl("create", "rolebinding", role, f"--role={role}", f"--user={TENANT}", "--namespace", lab.namespace)
        assert endpoint.stable is not None
        with pytest.raises(Forbidden, match="log"):
            await tenant.connector.logs(endpoint, LogWish(endpoint.ref, endpoint.stable.name))
    finally:
        await tenant.close()


async def test_a_log_is_followed_as_it_is_printed_over_a_pod_that_comes(
    lab: Lab, operator: Operator, control_plane: ControlPlane
) -> None:
    (log,) = lab.deploy("fraud")
    log.write("one")
    endpoint = await operator.read("fraud")
    await printed(operator, endpoint)
    assert endpoint.stable is not None
    wish = LogWish(endpoint.ref, endpoint.stable.name, lines=10)
    async with aclosing(operator.connector.follow(endpoint, wish)) as told, asyncio.timeout(120):  # type: ignore[type-var]
        (tail,) = await anext(told)
        assert [str(line) for line in tail.lines] == ["one"]
        requests = operator.connector.requests
        for number in range(20):
            log.write(f"line {number}")
        while tail.lines[-1] != "line 19":
            (tail,) = await anext(told)
        assert len(tail.lines) == 10, "only the end is kept"
        assert operator.connector.requests == requests, "what is printed comes without being asked for"
        control_plane.kubectl("scale", "deployment/fraud", "--replicas=2", "--namespace", lab.namespace)
        (new,) = lab.logs("app=fraud", 2)
        new.write("I am new")
        while not any("I am new" in tail.lines for tail in await anext(told)):
            pass
