"""SIGKILL between any two requests of a plan of several writes: the next start says what is so, and the same wish finishes it.

The operators are processes of their own. All of them die first, each before an object of its own; then one start looks at what they
left. "During" is a request that left and whose answer nobody read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Queue
from typing import Any, Final

import pytest
from tests.cluster.api import DEPLOYMENTS, Json
from tests.cluster.argo_bench import Bench as ArgoBench
from tests.cluster.controllers import Controller
from tests.cluster.dying_operator import CONNECTION, log_at
from tests.cluster.fixtures import Cluster
from tests.cluster.knative import Knative
from tests.cluster.kserve import KServe
from tests.cluster.kserve_bench import KnativeMode
from tests.cluster.kserve_bench import uri as model_uri
from tests.cluster.manifests import deployment
from tests.connectors.mlflow_server import Tracking, connector_to
from tests.e2e.dying import Operators

from mlrelease_tui.actions import reconcile
from mlrelease_tui.actions.desk import Desk
from mlrelease_tui.actions.journal import Journal
from mlrelease_tui.audit.log import AuditLog
from mlrelease_tui.audit.verify import verify
from mlrelease_tui.connectors.api import Connector, Settings
from mlrelease_tui.connectors.kubernetes.connector import KubernetesConnector
from mlrelease_tui.domain.intents import RollBack
from mlrelease_tui.domain.plan import Outcome, Plan
from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.store.facts import AccessChanged
from mlrelease_tui.store.store import Store

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.timeout(480)]
pytest_plugins = ["tests.connectors.mlflow_fixtures"]

AT_ONCE: Final = 3
IMAGE: Final = "registry.example/fraud"
SETTLED_S: Final = 90.0

DEATHS: Final[dict[str, tuple[str, ...]]] = {
    # The patch, with who and why in it; then the alias in the registry.
    "deployment": ("after intent 0", "during request 0", "after request 0", "after sent 1", "before outcome 0"),
    # The canary's pods away; the stable ones back.
    "pair": ("during request 0", "after request 0", "after sent 1", "during request 1", "after request 1"),
    # Abort; who and why beside it; the template with who and why.
    "rollout": ("during request 0", "after request 0", "after request 1", "during request 2", "after request 2"),
    # Percent 0, the model, percent away: each with who and why behind it.
    "inference": ("after request 0", "after request 3", "during request 4", "after request 4"),
}
WRITES: Final = {"deployment": 2, "pair": 2, "rollout": 2, "inference": 3}
CASES: Final = [(kind, at) for kind, deaths in DEATHS.items() for at in deaths]


def name_of(kind: str, at: str) -> str:
    return f"{kind}-{DEATHS[kind].index(at)}"


@dataclass
class Lab:
    """One endpoint for each death, in one namespace, each in the middle of a release that is to be taken back to version 1."""

    cluster: Cluster
    namespace: str
    tracking: Tracking
    models: dict[str, str] = field(default_factory=dict)

    def prepare(self) -> None:
        names = {kind: [name_of(kind, at) for at in deaths] for kind, deaths in DEATHS.items()}
        inference = KnativeMode(self.cluster, self.namespace)
        self._deployments(names["deployment"], "1")
        self._pairs(names["pair"])
        inference.in_canary(*names["inference"])
        rollouts = ArgoBench(self.cluster, self.namespace)
        rollouts.at_pause(*names["rollout"])
        helm = {
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-name": "shop"},
        }
        for name in names["rollout"]:
            rollouts.patch(name, {"metadata": helm})
        self._deployments(names["deployment"], "2")

    def _deployments(self, names: list[str], version: str) -> None:
        for name in names:
            model = self.models.setdefault(name, "") or self.tracking.model(name, versions=2)
            self.models[name] = model
            self.tracking.alias(model, "champion", version)
        marked = {name: {"mlrelease.dev/model": f"registry/{self.models[name]}", "mlrelease.dev/alias": "champion"}
                  for name in names}  # fmt: skip
        self._apply(*(deployment(name, f"{IMAGE}:{version}", replicas=1, annotations=marked[name]) for name in names))
        for name in names:
            self.cluster.api.wait(DEPLOYMENTS, self.namespace, name, rolled_out)

    def _pairs(self, names: list[str]) -> None:
        for name in names:
            halves = [
                deployment(f"{name}-{role}", f"{IMAGE}:{version}", replicas=replicas,
                           labels={"mlrelease.dev/role": role}, pod_labels={"serves": name})
                for role, version, replicas in (("stable", "1", 3), ("canary", "2", 1))
            ]  # fmt: skip
            marks = {"mlrelease.dev/model": "elsewhere/fraud"}
            front = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": marks},
                     "spec": {"selector": {"serves": name}, "ports": [{"port": 80, "targetPort": 8080}]}}  # fmt: skip
            self._apply(*halves, front)
        for name in names:
            for role in ("stable", "canary"):
                self.cluster.api.wait(DEPLOYMENTS, self.namespace, f"{name}-{role}", rolled_out)

    def _apply(self, *manifests: Json) -> None:
        self.cluster.kubectl.apply(
            {"apiVersion": "v1", "kind": "List", "items": list(manifests)}, namespace=self.namespace
        )

    # --- what is so, past everything that is under test

    def in_force(self, kind: str, name: str) -> int:
        """How many of the plan's writes are in force."""
        looks: dict[str, Callable[[str], int]] = {
            "deployment": self._of_deployment, "pair": self._of_pair,
            "rollout": self._of_rollout, "inference": self._of_inference,
        }  # fmt: skip
        return looks[kind](name)

    def _of_deployment(self, name: str) -> int:
        image = self._deployed(name)["spec"]["template"]["spec"]["containers"][0]["image"]
        alias = self.tracking.aliases(self.models[name])["champion"]
        assert not (alias == "1" and image.endswith(":2")), "the alias went first"
        return int(image.endswith(":1")) + int(alias == "1")

    def _of_pair(self, name: str) -> int:
        stable, canary = (self._deployed(f"{name}-{role}")["spec"]["replicas"] for role in ("stable", "canary"))
        return {(3, 1): 0, (3, 0): 1, (4, 0): 2}[stable, canary]

    def _of_rollout(self, name: str) -> int:
        item = ArgoBench(self.cluster, self.namespace).get(name)
        if item["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":1"):
            return 2
        return int(bool(item["status"].get("abort")))

    def _of_inference(self, name: str) -> int:
        wanted = KnativeMode(self.cluster, self.namespace).get(name)["spec"]["predictor"]
        back = wanted["model"]["storageUri"] == model_uri("1")
        if "canaryTrafficPercent" not in wanted:
            assert back, "the percent went before the model"
            return 3
        return int(wanted["canaryTrafficPercent"] == 0) + int(back)

    def _deployed(self, name: str) -> Json:
        return self.cluster.api.get(DEPLOYMENTS, self.namespace, name)


def rolled_out(item: Json) -> bool:
    status, wanted = item.get("status", {}), item["spec"]["replicas"]
    numbers = {status.get(key) for key in ("replicas", "updatedReplicas", "availableReplicas")}
    return bool(status.get("observedGeneration") == item["metadata"]["generation"] and numbers == {wanted})


@dataclass
class Aftermath:
    """What each operator's end was, what was in force then, and what the next start and the same wish again made of it."""

    ends: dict[str, str]
    in_force: dict[str, int]
    truths: dict[str, list[str]]
    again: dict[str, str]
    finished: dict[str, int]
    root: Path


@pytest.fixture(scope="module")
def aftermath(
    cluster: Cluster,
    argo_started: Controller | None,
    knative_started: Knative,
    kserve_started: KServe,
    tracking: Tracking,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Aftermath]:
    for controller in (argo_started, knative_started, kserve_started):
        if controller is not None:
            controller.start()
    root = tmp_path_factory.mktemp("audit")
    with cluster.namespace() as namespace:
        lab = Lab(cluster, namespace, tracking)
        lab.prepare()
        ends = killed(lab, root)
        with pytest.MonkeyPatch.context() as clock:
            # The same behaviour on a shorter clock: what a dead process sent here arrives within moments.
            clock.setattr(reconcile, "_LONGEST_SETTLING", timedelta(seconds=4))
            found = asyncio.run(looked_at(lab, root, ends))
        yield found


def killed(lab: Lab, root: Path) -> dict[str, str]:
    """How each of the operators ended."""
    idle: Queue[Operators] = Queue()

    def die(case: tuple[str, str]) -> str:
        kind, at = case
        job = {
            "root": str(root), "kubeconfig": str(lab.cluster.kubeconfig), "namespace": lab.namespace,
            "endpoint": name_of(kind, at), "version": "1", "at": at, "seed": CASES.index(case) + 1,
            "registry": lab.tracking.url if kind == "deployment" else "",
        }  # fmt: skip
        operators = idle.get()
        try:
            return operators.die(job)
        finally:
            idle.put(operators)

    with ExitStack() as started:
        for _ in range(AT_ONCE):
            idle.put(started.enter_context(Operators("tests.cluster.dying_operator")))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            ends = list(pool.map(die, CASES))
    return {name_of(*case): end for case, end in zip(CASES, ends, strict=True)}


async def looked_at(lab: Lab, root: Path, ends: dict[str, str]) -> Aftermath:
    """The next start, and the same wish again where the way back is not finished."""
    log = log_at(root, seed=1000)
    options = {"kubeconfig": str(lab.cluster.kubeconfig), "namespaces": [lab.namespace]}
    connector = KubernetesConnector(Settings(CONNECTION, "kubernetes", options))
    registry = connector_to(lab.tracking.url)
    connectors: dict[str, Connector] = {CONNECTION: connector, "registry": registry}
    store = Store()
    desk = Desk(store, connectors, Journal(log))
    try:
        left = await desk.open()
        deadline = time.monotonic() + SETTLED_S
        while left and time.monotonic() < deadline:
            # Pods that go take a moment: until then an abort is under way, and no look may say more than that.
            await asyncio.sleep(0.5)
            left = await desk.reconcile()
        assert not left, left
        in_force = {name_of(*case): lab.in_force(case[0], name_of(*case)) for case in CASES}
        truths = told(log)
        store.emit(AccessChanged(Access(armed_until=datetime.now(UTC).replace(year=2999))))
        tries = [again(desk, lab, name_of(*case)) for case in CASES]
        outcomes = await asyncio.gather(*tries)
    finally:
        await connector.close()
        await registry.close()
    names = [name_of(*case) for case in CASES]
    finished = {name: lab.in_force(kind, name) for (kind, _), name in zip(CASES, names, strict=True)}
    return Aftermath(ends, in_force, truths, dict(zip(names, outcomes, strict=True)), finished, root)


def told(log: AuditLog) -> dict[str, list[str]]:
    """What the looks said of each endpoint, in their order."""
    found: dict[str, list[str]] = {}
    for item in log.read():
        if item.kind == "reconciled":
            name = str(item.section("target")["id"]).rpartition("/")[2]
            found.setdefault(name, []).append(str(item.section("result")["status"]))
    return found


async def again(desk: Desk, lab: Lab, name: str) -> str:
    """What the same wish comes to now."""
    plan: Any = await desk.prepare(RollBack(EndpointRef(CONNECTION, lab.namespace, name), "1"))
    if not isinstance(plan, Plan):
        return str(plan.code)
    outcome = await desk.submit(plan, why="the canary hurts", typed=name)
    assert isinstance(outcome, Outcome), outcome
    return f"{outcome.kind}: {outcome.message}"


@pytest.mark.parametrize(("kind", "at"), CASES, ids=[f"{kind}, {at}" for kind, at in CASES])
def test_the_next_start_says_what_a_killed_operator_left_and_the_same_wish_finishes_it(
    aftermath: Aftermath, kind: str, at: str
) -> None:
    name, total = name_of(kind, at), WRITES[kind]
    assert aftermath.ends[name] == "killed"
    done = aftermath.in_force[name]
    truth = "not_applied" if not done else "partial" if done < total else "applied"
    looks = aftermath.truths[name]
    assert looks[-1] == truth, (done, looks)
    assert set(looks[:-1]) <= {"indeterminate"}, looks
    if at.startswith("after request"):
        assert done > 0
    if done < total:
        assert aftermath.again[name].startswith("applied"), aftermath.again[name]
    else:
        assert not aftermath.again[name].startswith("applied"), aftermath.again[name]
    assert aftermath.finished[name] == total


def test_the_audit_of_all_of_them_holds(aftermath: Aftermath) -> None:
    found = verify(aftermath.root)
    assert found.ok, found.breaks
