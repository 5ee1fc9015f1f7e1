"""How an action that was carried out ends: failed in the controller's own words, reverted by somebody, each told at once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from tests.cluster.api import DEPLOYMENTS, Api, Json, condition
from tests.cluster.argo_bench import Bench, in_flight, seated, updated
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import PODS_BEHAVE, deployment
from tests.cluster.playing import playing

from mlrelease_tui.domain.intents import PromoteVersion, RollBack
from mlrelease_tui.domain.plan import OutcomeKind, StepStatus

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

NAME = "fraud"
IMAGE = "registry.example/fraud"
AT_ONCE_S = 60.0
"""Far below the 300 s that a write may take to settle; the machine may be slow."""


def released(cluster: Cluster, namespace: str, version: str, *, behaves: str = "", deadline_s: int = 600) -> Json:
    """A version put there by kubectl; the Deployment once its controller has come to an end with it."""
    labels = {PODS_BEHAVE: behaves} if behaves else {}
    cluster.kubectl.apply(
        deployment(NAME, f"{IMAGE}:{version}", replicas=2, pod_labels=labels, progressDeadlineSeconds=deadline_s),
        namespace=namespace,
    )
    reason = "ProgressDeadlineExceeded" if behaves else "NewReplicaSetAvailable"

    def ended(item: Json) -> bool:
        seen = item.get("status", {}).get("observedGeneration") == item["metadata"]["generation"]
        return bool(seen and condition(item, "Progressing").get("reason") == reason)

    return cluster.api.wait(DEPLOYMENTS, namespace, NAME, ended)


def keep_the_deadline(api: Api, namespace: str) -> None:
    """Have the Deployment's controller count the deadline of a ReplicaSet that was there before, as it mostly does by itself.

    Where its first status of such a rollout is lost to a conflict, it takes what it had said of the rollout before for said of this
    one, and counts nothing for ever (`kubectl rollout status` waits on and on). Without that condition it begins to count.
    """
    status = api.get(DEPLOYMENTS, namespace, NAME)["status"]
    under_way = status.get("updatedReplicas", 0) < status.get("replicas", 0)
    said = {one["type"]: one for one in status["conditions"]}
    if under_way and said.pop("Progressing", {}).get("reason") == "NewReplicaSetAvailable":
        api.patch(DEPLOYMENTS, namespace, NAME, {"status": {"conditions": list(said.values())}}, sub="status")


async def test_a_deployment_that_misses_its_deadline_has_failed_and_says_why(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    released(cluster, namespace, "1", deadline_s=2)
    released(cluster, namespace, "2", behaves="crash-loop", deadline_s=2)
    released(cluster, namespace, "1", deadline_s=2)
    async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
        with playing(lambda: keep_the_deadline(cluster.api, namespace), "deadline"):
            outcome = await seat.submit(await seat.plan(RollBack(seat.ref(NAME), "2")))
        assert (outcome.kind, outcome.steps[0].status) == (OutcomeKind.FAILED, StepStatus.FAILED), outcome
        assert "Deployment says ProgressDeadlineExceeded" in outcome.message
        assert "became available before the deadline" in outcome.message
        assert outcome.duration_s < AT_ONCE_S
        # What failed is over, as far as the audit goes: nothing of it is open.
        assert await seat.desk.ready() == ()
        # The deadline of that one is no failure of the way back.
        back = await seat.do(RollBack(seat.ref(NAME), "1"))
        assert back.kind is OutcomeKind.APPLIED


async def test_a_full_promotion_whose_pods_miss_their_deadline_has_failed_and_says_why(
    rollouts: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = Bench(rollouts, namespace)
    bench.at_rest(NAME, progressDeadlineSeconds=8)
    bench.release(NAME, "2", behaves="never-ready")
    bench.wait(NAME, lambda item: in_flight(item) and updated(item))
    async with seated(rollouts.kubeconfig, namespace, tmp_path) as seat:
        outcome = await seat.submit(await seat.plan(PromoteVersion(seat.ref(NAME), full=True)))
        assert outcome.kind is OutcomeKind.FAILED, outcome
        assert "Rollout says Degraded" in outcome.message
        assert "timed out progressing" in outcome.message or "ProgressDeadlineExceeded" in outcome.message
        assert outcome.duration_s < AT_ONCE_S


async def test_a_full_promotion_that_somebody_aborts_has_failed_with_the_controllers_words(
    rollouts: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = Bench(rollouts, namespace)
    bench.at_rest(NAME)
    bench.release(NAME, "2", behaves="never-ready")
    bench.wait(NAME, lambda item: in_flight(item) and updated(item))
    async with seated(rollouts.kubeconfig, namespace, tmp_path) as seat:
        going = asyncio.create_task(seat.submit(await seat.plan(PromoteVersion(seat.ref(NAME), full=True))))
        await asyncio.to_thread(bench.wait, NAME, lambda item: item["status"].get("promoteFull"))
        bench.patch(NAME, {"status": {"promoteFull": False, "abort": True}}, sub="status")
        outcome = await going
        # An abort is a removal in the status: the server keeps no name of who asked for it.
        assert outcome.kind in {OutcomeKind.FAILED, OutcomeKind.REVERTED}, outcome
        assert outcome.duration_s < AT_ONCE_S
        assert "abort" in outcome.message.lower()


async def test_a_rollback_that_somebody_writes_over_is_told_with_their_name_at_once(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    released(cluster, namespace, "1")
    released(cluster, namespace, "2", behaves="crash-loop", deadline_s=2)
    released(cluster, namespace, "1")
    async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
        # To a version that takes its time, so that there is something to write over.
        plan = await seat.plan(RollBack(seat.ref(NAME), "2"))
        began = time.monotonic()
        going = asyncio.create_task(seat.submit(plan))
        await asyncio.to_thread(
            cluster.api.wait, DEPLOYMENTS, namespace, NAME, lambda item: image(item) == f"{IMAGE}:2"
        )
        # The server's record has whole seconds: only what is written in a later one is later.
        await asyncio.sleep(1.1)
        other = {"spec": {"template": {"spec": {"containers": [{"name": "model", "image": f"{IMAGE}:7"}]}}}}
        cluster.api.patch(DEPLOYMENTS, namespace, NAME, other, how="strategic", manager="their-pipeline")
        outcome = await going
        assert (outcome.kind, outcome.by) == (OutcomeKind.REVERTED, "their-pipeline"), outcome
        assert time.monotonic() - began < AT_ONCE_S


def image(item: Json) -> str:
    return str(item["spec"]["template"]["spec"]["containers"][0]["image"])
