"""What the tests of Argo Rollouts share: an operator's desk on the cluster, the native tool, Rollouts in a given state, ends."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.cluster.api import ANALYSIS_TEMPLATES, PODS, REPLICA_SETS, ROLLOUTS, Api, Json, wait_for
from tests.cluster.controllers import argo_plugin
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import PODS_BEHAVE, pod_template, rollout
from tests.unit.release_parts import log_in

from mlrelease_tui.actions.desk import Desk
from mlrelease_tui.actions.journal import Journal
from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.kubernetes.connector import KubernetesConnector
from mlrelease_tui.domain.intents import Intent
from mlrelease_tui.domain.plan import Outcome, Plan, Refusal
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.store.state import State
from mlrelease_tui.store.store import Store

REPLICAS: Final = 4
STEPS: Final[tuple[Json, ...]] = ({"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}})


def image(version: str) -> str:
    return f"registry.example/fraud:{version}"


@dataclass
class Seat:
    """One operator at one desk before one namespace."""

    desk: Desk
    connector: KubernetesConnector
    namespace: str

    def ref(self, name: str) -> EndpointRef:
        return EndpointRef(self.connector.name, SafeText(self.namespace), SafeText(name))

    async def look(self, name: str) -> Endpoint:
        return await self.connector.endpoint(self.ref(name))

    async def plan(self, intent: Intent) -> Plan:
        plan = await self.desk.prepare(intent)
        assert isinstance(plan, Plan), plan
        return plan

    async def refused(self, intent: Intent) -> Refusal:
        refusal = await self.desk.prepare(intent)
        assert isinstance(refusal, Refusal), refusal
        return refusal

    async def submit(self, plan: Plan, why: str = "a test") -> Outcome:
        outcome = await self.desk.submit(plan, why=why, typed=str(plan.target.name))
        assert isinstance(outcome, Outcome), outcome
        return outcome

    async def do(self, intent: Intent, why: str = "a test") -> Outcome:
        """Plan and carry out; AssertionError with the outcome's own words where it is not seen to have worked."""
        outcome = await self.submit(await self.plan(intent), why)
        assert outcome.kind == "applied", outcome
        return outcome


@contextlib.asynccontextmanager
async def seated(
    kubeconfig: Path, namespace: str, root: Path, *, by: str = "ana", seed: int = 1, timeout_s: float = 20.0
) -> AsyncIterator[Seat]:
    """An operator who may write."""
    from mlrelease_tui.actions.executor import Pace
    from mlrelease_tui.domain.policy import Access
    from mlrelease_tui.store.facts import AccessChanged

    options = {"kubeconfig": str(kubeconfig), "namespaces": [namespace]}
    connector = KubernetesConnector(Settings("k8s", "kubernetes", options, timeout_s=timeout_s))
    store = Store(State())
    pace = Pace()
    desk = Desk(store, {connector.name: connector}, Journal(log_in(root, by=by, seed=seed)), pace=pace)
    store.emit(AccessChanged(Access(armed_until=pace.now().replace(year=2999))))
    try:
        yield Seat(desk, connector, namespace)
    finally:
        await connector.close()


@dataclass
class Bench:
    """Rollouts of one namespace, driven by the project's own tool."""

    cluster: Cluster
    namespace: str
    _made: list[str] = field(default_factory=list)

    @property
    def api(self) -> Api:
        return self.cluster.api

    def tool(self, *words: str) -> str:
        """`kubectl argo rollouts`; AssertionError with its output where it fails."""
        argv = [str(argo_plugin()), *words, "-n", self.namespace, "--kubeconfig", str(self.cluster.kubectl.kubeconfig)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def get(self, name: str) -> Json:
        return self.api.get(ROLLOUTS, self.namespace, name)

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        self.cluster.kubectl.apply(
            {"apiVersion": "v1", "kind": "List", "items": list(manifests)}, namespace=self.namespace
        )

    def wait(self, name: str, condition: Any, *, within_s: float = 90.0) -> Json:
        return self.api.wait(ROLLOUTS, self.namespace, name, condition, within_s=within_s)

    def patch(self, name: str, body: object, *, sub: str = "") -> None:
        self.api.patch(ROLLOUTS, self.namespace, name, body, sub=sub)

    def release(self, name: str, version: str, *, behaves: str = "") -> None:
        """A new template, as an operator without our tool would put it there."""
        template = pod_template(name, image(version), labels={PODS_BEHAVE: behaves} if behaves else {})
        self.api.patch(
            ROLLOUTS, self.namespace, name, [{"op": "replace", "path": "/spec/template", "value": template}], how="json"
        )

    # --- states

    def at_rest(self, *names: str, version: str = "1", **spec: Any) -> None:
        kept: dict[str, Any] = {"steps": STEPS, "replicas": REPLICAS, "progressDeadlineSeconds": 300} | spec
        self.apply(*(rollout(name, image(version), **kept) for name in names))
        for name in names:
            self.wait(name, healthy)

    def at_pause(self, *names: str, version: str = "2", **spec: Any) -> None:
        self.at_rest(*names, **spec)
        for name in names:
            self.release(name, version)
        for name in names:
            self.wait(name, paused_at(1))

    def held(self, *names: str) -> None:
        self.at_pause(*names)
        for name in names:
            self.tool("pause", name)
            self.wait(name, lambda item: item["spec"].get("paused") and observed(item))

    def aborted(self, *names: str) -> None:
        self.at_pause(*names)
        for name in names:
            self.tool("abort", name)
        for name in names:
            self.wait(name, lambda item: item["status"].get("abortedAt") and updated(item) == 0)

    def aborted_and_held(self, *names: str) -> None:
        self.held(*names)
        for name in names:
            self.tool("abort", name)
            self.wait(name, lambda item: item["status"].get("abortedAt"))

    def promoting_fully(self, *names: str) -> None:
        """A full promotion of a version whose pods never get ready."""
        self.at_rest(*names)
        for name in names:
            self.release(name, "2", behaves="never-ready")
            self.wait(name, lambda item: in_flight(item) and updated(item))
            self.tool("promote", name, "--full")
            self.wait(name, lambda item: item["status"].get("promoteFull"))

    def later_rest(self, *names: str) -> None:
        """At rest on version 2, which was promoted from 1."""
        self.at_pause(*names)
        for name in names:
            self.tool("promote", name, "--full")
        for name in names:
            self.wait(name, lambda item: healthy(item) and not in_flight(item))

    def services(self, *names: str) -> None:
        self.apply(*({"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"{name}-{role}"},
                      "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}}
                     for name in names for role in ("active", "preview")))  # fmt: skip

    def previewing(self, *names: str, **more: Any) -> None:
        """Blue-green, version 2 ready and waiting for its cut-over."""
        self.services(*names)
        for name in names:
            self.at_rest(name, blue_green=blue_green(name, **more))
            self.release(name, "2")
        for name in names:
            self.wait(name, lambda item: reasons(item) == ["BlueGreenPause"])

    # --- ends

    def end(self, name: str) -> Json:
        """What counts of the end: the same for two ways that led to the same."""
        item = self.get(name)
        status = item["status"]
        live = [pod for pod in self.api.items(PODS, self.namespace, selector=f"app={name}") if lives(pod)]
        images = [pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in live]
        sets = {
            one["metadata"]["labels"]["rollouts-pod-template-hash"]: one["spec"]["template"]["spec"]["containers"][0][
                "image"
            ]
            for one in self.api.items(REPLICA_SETS, self.namespace, selector=f"app={name}")
        }
        return {
            "phase": status.get("phase"),
            "step": status.get("currentStepIndex"),
            "aborted": bool(status.get("abort")),
            "held": bool(item["spec"].get("paused")),
            "waits": reasons(item),
            "template": item["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[2],
            "stable": sets.get(status.get("stableRS"), "").rpartition(":")[2],
            "active": sets.get(status.get("blueGreen", {}).get("activeSelector"), "").rpartition(":")[2],
            "pods": {version: images.count(version) for version in sorted(set(images))},
            "replicas": item["spec"].get("replicas"),
        }

    def same_end(self, ours: str, native: str, words: str, *, within_s: float = 90.0) -> Json:
        """The end that both came to, as `told`. AssertionError with both where it is another one after `within_s`."""
        seen: list[Json] = []

        def look() -> Json | None:
            seen[:] = [self.end(ours), self.end(native)]
            return seen[0] if seen[0] == seen[1] and told(seen[0]) == words else None

        return wait_for(look, within_s=within_s, otherwise=lambda: json.dumps(seen, indent=1))

    def template_of_analysis(self, name: str, url: str, **metric: Any) -> None:
        """An AnalysisTemplate with one metric `score`, read from a web address."""
        found = {
            "name": "score",
            "interval": "1s",
            "count": 1,
            "successCondition": "result >= 0.8",
            "failureCondition": "result < 0.5",
            "provider": {"web": {"url": url, "jsonPath": "{$.value}", "timeoutSeconds": 5}},
        } | metric
        self.api.create(
            ANALYSIS_TEMPLATES, self.namespace, {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
            "metadata": {"name": name}, "spec": {"metrics": [found]}}
        )  # fmt: skip


def blue_green(name: str, **more: Any) -> Json:
    return {
        "activeService": f"{name}-active",
        "previewService": f"{name}-preview",
        "autoPromotionEnabled": False,
        "scaleDownDelaySeconds": 2,
        "abortScaleDownDelaySeconds": 1,
        **more,
    }


def observed(item: Json) -> bool:
    return bool(item.get("status", {}).get("observedGeneration") == str(item["metadata"]["generation"]))


def healthy(item: Json) -> bool:
    return observed(item) and item["status"].get("phase") == "Healthy"


def in_flight(item: Json) -> bool:
    return bool(item["status"].get("stableRS") != item["status"].get("currentPodHash"))


def updated(item: Json) -> int:
    return int(item["status"].get("updatedReplicas") or 0)


def reasons(item: Json) -> list[str]:
    return [found["reason"] for found in item.get("status", {}).get("pauseConditions") or ()]


def paused_at(step: int) -> Any:
    return lambda item: observed(item) and reasons(item) and item["status"].get("currentStepIndex") == step


def lives(pod: Json) -> bool:
    return "deletionTimestamp" not in pod["metadata"]


def told(end: Json) -> str:
    """An end in words, for the table."""
    pods = (
        " + ".join(f"{count} pod{'s' if count != 1 else ''} on {version}" for version, count in end["pods"].items())
        or "no pods"
    )
    extras = [word for word in ("aborted", "held") if end[word]]
    step = f", step {end['step']}" if end["step"] is not None and end["phase"] != "Healthy" else ""
    return f"{end['phase']}{step}, {pods}" + (f", {', '.join(extras)}" if extras else "")


def names_of(values: Sequence[Json]) -> list[str]:
    return [str(value["metadata"]["name"]) for value in values]
