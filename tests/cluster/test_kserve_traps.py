"""What only real controllers show of InferenceServices: traps of KServe and Knative, and what we do about them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cluster.api import INFERENCE_SERVICES, KNATIVE_REVISIONS, KNATIVE_SERVICES, holds
from tests.cluster.argo_bench import seated
from tests.cluster.fixtures import Cluster
from tests.cluster.kserve import KServe
from tests.cluster.kserve_bench import KnativeMode, StandardMode, predictor, settled, spec, uri, weights
from tests.cluster.manifests import PODS_BEHAVE

from mlrelease_tui.domain.intents import AbortRollout, HoldRollout, PromoteVersion, RollBack, SetWeight
from mlrelease_tui.domain.plan import Plan
from mlrelease_tui.domain.rollout import Phase, Verb

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]


@pytest.mark.usefixtures("knative", "kserve")
async def test_an_annotation_makes_a_new_revision_and_ours_do_not(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = KnativeMode(cluster, namespace)
    bench.in_canary("fraud", "noted")
    cluster.kubectl("annotate", "isvc", "noted", "-n", namespace, "example.com/note=1")
    bench.wait("noted", lambda item: predictor(item)["latestCreatedRevision"] == "noted-predictor-00003")
    async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
        ref = seat.ref("fraud")
        await seat.do(HoldRollout(ref), "looking at it")
        held = await seat.look("fraud")
        assert held.rollout.hold is not None
        assert str(held.rollout.hold.why) == "looking at it"
        assert held.stamp is not None
        await seat.do(SetWeight(ref, 500))
    assert bench.revisions("fraud") == 2


@pytest.mark.usefixtures("knative", "kserve")
async def test_a_knative_service_of_kserve_is_no_endpoint_of_its_own(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = KnativeMode(cluster, namespace)
    bench.at_rest("fraud")
    assert cluster.api.find(KNATIVE_SERVICES, namespace, "fraud-predictor") is not None
    async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
        assert [str(endpoint.ref.name) for endpoint in await seat.connector.endpoints()] == ["fraud"]


@pytest.mark.usefixtures("knative", "kserve")
async def test_a_canary_that_does_not_get_ready_is_not_promoted_and_gets_nothing(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = KnativeMode(cluster, namespace)
    bench.at_rest("fraud")
    never = {"labels": {PODS_BEHAVE: "never-ready"}}
    bench.patch("fraud", spec(canaryTrafficPercent=10, model={"storageUri": uri("2")}, **never))
    bench.wait("fraud", lambda item: predictor(item)["latestCreatedRevision"] == "fraud-predictor-00002")
    async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
        endpoint = await seat.look("fraud")
        assert endpoint.rollout.phase in {Phase.PROGRESSING, Phase.DEGRADED}
        stable = endpoint.stable
        assert stable is not None
        assert (stable.version, stable.weight_bp) == ("1", 10_000)
        refusal = await seat.refused(PromoteVersion(seat.ref("fraud"), full=True))
        assert "the last ready one would get everything" in refusal.reason
        await seat.do(AbortRollout(seat.ref("fraud")))
    assert weights(bench.get("fraud")) == [0, 100]


@pytest.mark.usefixtures("knative", "kserve")
async def test_a_rollback_to_a_revision_that_was_collected_starts_it_anew(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = KnativeMode(cluster, namespace)
    bench.promoted("fraud")
    cluster.api.delete(KNATIVE_REVISIONS, namespace, "fraud-predictor-00001")
    cluster.api.gone(KNATIVE_REVISIONS, namespace, "fraud-predictor-00001")
    async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
        await seat.do(RollBack(seat.ref("fraud"), "1"))
    assert bench.end("fraud") == "Ready, 1 100%, stable 1, model 1 in the spec"


@pytest.mark.usefixtures("knative", "kserve")
async def test_a_plan_is_void_once_the_canary_was_replaced_and_says_what_moved(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = KnativeMode(cluster, namespace)
    bench.in_canary("fraud")
    async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
        plan = await seat.plan(SetWeight(seat.ref("fraud"), 5000))
        bench.patch("fraud", spec(model={"storageUri": uri("3")}))
        bench.wait("fraud", lambda item: settled(item) and predictor(item)["latestCreatedRevision"].endswith("00003"))
        outcome = await seat.desk.submit(plan, why="a test", typed="fraud")
        assert "storageUri" in str(outcome) or "latestCreatedRevision" in str(outcome) or "moved" in str(outcome)
    assert bench.get("fraud")["spec"]["predictor"]["canaryTrafficPercent"] == 10


@pytest.mark.usefixtures("knative", "kserve")
async def test_an_unknown_format_is_degraded_though_it_says_ready(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = StandardMode(cluster, namespace)
    bench.at_rest("fraud")
    bench.patch("fraud", spec(model={"modelFormat": {"name": "unheard-of"}}))
    bench.wait("fraud", lambda item: item["status"]["modelStatus"]["transitionStatus"] == "InvalidSpec")
    async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
        endpoint = await seat.look("fraud")
        assert endpoint.rollout.phase is Phase.DEGRADED
        assert "NoSupportingRuntime" in endpoint.rollout.message


async def test_while_kserve_is_down_its_webhook_refuses_and_nothing_is_written(
    cluster: Cluster, kserve: KServe, namespace: str, tmp_path: Path
) -> None:
    bench = StandardMode(cluster, namespace)
    bench.at_rest("fraud")
    bench.wait("fraud", lambda item: holds(item, "Ready"))
    async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
        with kserve.stopped():
            answer = await seat.desk.prepare(PromoteVersion(seat.ref("fraud"), "2"))
            told = [check.text for check in answer.checks] if isinstance(answer, Plan) else [answer.reason]
            assert "webhook" in " ".join(told), told
        assert (await seat.look("fraud")).support(Verb.PROMOTE).available
    item = cluster.api.get(INFERENCE_SERVICES, namespace, "fraud")
    assert item["spec"]["predictor"]["model"]["storageUri"] == uri("1")
    assert holds(item, "Ready")


@pytest.mark.usefixtures("kserve")
async def test_a_kserve_that_would_drop_a_listed_canary_says_so_in_the_dry_run(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = StandardMode(cluster, namespace)
    bench.at_rest("fraud")
    async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
        answer = await seat.desk.prepare(PromoteVersion(seat.ref("fraud"), "2", weight_bp=1000))
        told = [check.text for check in answer.checks] if isinstance(answer, Plan) else [answer.reason]
    assert "spec.canary" in " ".join(told)
    assert "canary" not in bench.get("fraud")["spec"]
