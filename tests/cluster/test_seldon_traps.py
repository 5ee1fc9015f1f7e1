"""What Seldon does that a tool must know, as its operators' source says it: the status is the test's own, the server is real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.cluster.api import DEPLOYMENTS as PLAIN
from tests.cluster.argo_bench import seated
from tests.cluster.desk import Operator
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import deployment
from tests.cluster.seldon_bench import (
    CRASHES,
    DEPLOYMENTS,
    EXPERIMENTS,
    MODELS,
    Bench,
    followed,
    loaded,
    model,
    operators,
    predictor,
    seldon_deployment,
    uri,
)

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.domain.intents import AbortRollout, PromoteVersion, RollBack
from mlrelease_tui.domain.rollout import Phase, Role, Stamp, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.usefixtures("seldon")]

STAMP = Stamp("i-x", "weight", SafeText("ben"), SafeText("why"), datetime.now(UTC))


@pytest.fixture(scope="module")
def bench(cluster: Cluster) -> Iterator[Bench]:
    """A namespace where nobody writes the status of Seldon's objects but the test."""
    with cluster.namespace() as namespace:
        yield Bench(cluster, namespace)


@pytest.fixture
async def operator(bench: Bench) -> AsyncIterator[Operator]:
    found = Operator(bench.cluster.kubeconfig, bench.namespace)
    yield found
    await found.close()


async def test_what_no_operator_looked_at_is_a_state_of_its_own(bench: Bench, operator: Operator) -> None:
    bench.apply(seldon_deployment("unseen", predictor("main", "1")), model("unseen-model", "1"))
    for name, told in (("unseen", "is Seldon Core running?"), ("unseen-model", "is Seldon Core 2 running?")):
        seen = await operator.read(name)
        assert (seen.rollout.phase, told in seen.rollout.message) == (Phase.UNKNOWN, True)


async def test_a_canary_that_crashes_keeps_its_share_whatever_an_abort_says_and_a_rollback_takes_it_away(
    bench: Bench, tmp_path: Path
) -> None:
    with operators(bench.api, bench.namespace):
        bench.deployed("crashing", predictor("main", "1", 90), predictor("canary", f"2-{CRASHES}", 10))
        assert bench.get(DEPLOYMENTS, "crashing")["status"]["state"] == "Creating"
        async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
            refusal = await seat.refused(AbortRollout(seat.ref("crashing")))
            assert "moves no traffic while pods of canary are not ready" in refusal.reason
            await seat.do(RollBack(seat.ref("crashing")))
            after = await seat.look("crashing")
    assert (after.rollout.phase, [str(one.name) for one in after.variants]) == (Phase.COMPLETE, ["main"])


async def test_a_version_that_crashes_gets_no_request_and_leaves_the_stable_one_alone(
    bench: Bench, operator: Operator
) -> None:
    with operators(bench.api, bench.namespace):
        bench.deployed("guarded", predictor("main", "1"))
        made, _ = await operator.plan(
            "guarded",
            lambda driver, endpoint: driver.start(endpoint, Artifact(f"2-{CRASHES}", uri(f"2-{CRASHES}")), 1000),
        )
        await operator.send(made, Verb.PROMOTE)
        seen = await operator.until("guarded", lambda found: len(found.variants) == 2 and found.variants[1].ready == 0)
        shares = {one["name"]: one["traffic"] for one in bench.get(DEPLOYMENTS, "guarded")["spec"]["predictors"]}
        assert shares == {"main": 100, "canary": 0}
        assert seen.rollout.phase is Phase.PROGRESSING
        assert "pods of canary are not ready" in seen.rollout.message
        await operator.do("guarded", Verb.ROLLBACK, lambda driver, endpoint: driver.roll_back(endpoint, Artifact("1")))
    assert [one["name"] for one in bench.get(DEPLOYMENTS, "guarded")["spec"]["predictors"]] == ["main"]


async def test_a_share_that_moved_voids_the_plan_and_its_writer_is_named_not_the_operator(
    bench: Bench, operator: Operator
) -> None:
    with operators(bench.api, bench.namespace):
        bench.deployed("moved", predictor("main", "1", 90), predictor("canary", "2", 10))
    (write,) = await operator.plan("moved", lambda driver, endpoint: driver.set_weight(endpoint, 5000))
    shares = [predictor("main", "1", 80), predictor("canary", "2", 20)]
    bench.patch(DEPLOYMENTS, "moved", {"spec": {"predictors": shares}})
    with operators(bench.api, bench.namespace):
        bench.wait(DEPLOYMENTS, "moved", followed)
    with pytest.raises(Conflict) as lost:
        await operator.connector.perform(write, STAMP)
    assert "spec.predictors.0.traffic is 80, not 90" in lost.value.message
    # Two of one second are both named.
    last = lost.value.message.rpartition("(last: edit by ")[2]
    assert "kubectl-patch" in last
    assert "manager" not in last


async def test_the_deployments_of_a_predictor_that_is_gone_tell_that_seldon_has_not_followed(
    bench: Bench, operator: Operator
) -> None:
    with operators(bench.api, bench.namespace):
        bench.deployed("stale", predictor("main", "1", 90), predictor("canary", "2", 10))
    (write,) = await operator.plan("stale", lambda driver, endpoint: driver.roll_back(endpoint, Artifact("1")))
    await operator.send(write, Verb.ROLLBACK)
    still = await operator.read("stale")
    assert (still.rollout.phase, still.variants[0].weight_bp) == (Phase.PROGRESSING, None)
    with operators(bench.api, bench.namespace):
        after = await operator.seen(write, "stale")
    assert after.rollout.phase is Phase.COMPLETE


async def test_a_models_condition_from_before_the_write_proves_nothing(bench: Bench, operator: Operator) -> None:
    bench.apply(model("loading", "1"))
    with operators(bench.api, bench.namespace):
        bench.wait(MODELS, "loading", loaded)
    (write,) = await operator.plan("loading", lambda driver, endpoint: driver.start(endpoint, Artifact("2"), None))
    await operator.send(write, Verb.PROMOTE)
    assert loaded(bench.get(MODELS, "loading"))
    still = await operator.read("loading")
    assert (still.rollout.phase, still.variants[0].ready) == (Phase.PROGRESSING, 0)
    with operators(bench.api, bench.namespace):
        await operator.seen(write, "loading")


async def test_a_finished_promotion_outlives_the_experiment(bench: Bench, tmp_path: Path) -> None:
    with operators(bench.api, bench.namespace):
        bench.split("outlived", 50, 50)
        async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
            await seat.do(PromoteVersion(seat.ref("outlived"), full=True))
            bench.api.delete(EXPERIMENTS, bench.namespace, "outlived")
            # Deleting an Experiment gives everything to its default's Model again.
            default = await seat.look("outlived-a")
    assert (bench.served("outlived-a"), [one.version for one in default.variants]) == ("2", ["2"])


async def test_models_belong_to_the_experiment_that_splits_between_them(cluster: Cluster, namespace: str) -> None:
    bench = Bench(cluster, namespace)
    with operators(bench.api, namespace):
        bench.split("iris", 90, 10)
        bench.apply(model("alone", "1"), seldon_deployment("first", predictor("main", "1")))
        bench.wait(MODELS, "alone", loaded)
    found = Operator(cluster.kubeconfig, namespace)
    try:
        kinds = {str(one.ref.name): str(one.native.kind) for one in await found.connector.endpoints()}
    finally:
        await found.close()
    assert kinds == {"iris": "Seldon Experiment", "alone": "Seldon Model", "first": "SeldonDeployment"}


async def test_a_shadow_comes_and_goes_without_touching_the_shares(bench: Bench, operator: Operator) -> None:
    with operators(bench.api, bench.namespace):
        bench.deployed("mirrored", predictor("main", "1", 90), predictor("canary", "2", 10))
        seen = await operator.do(
            "mirrored", Verb.SHADOW, lambda driver, endpoint: driver.shadow(endpoint, Artifact("3"), 2500)
        )
        shadow = seen.variant(Role.SHADOW)
        assert shadow is not None
        assert (shadow.version, shadow.weight_bp) == ("3", 2500)
        after = await operator.do(
            "mirrored", Verb.SHADOW, lambda driver, endpoint: driver.shadow(endpoint, Artifact("3"), 0)
        )
    assert {str(one.name): one.weight_bp for one in after.variants} == {"main": 9000, "canary": 1000}


async def test_pods_of_two_predictors_are_told_apart_and_nobody_elses_are_taken_for_theirs(
    bench: Bench, operator: Operator
) -> None:
    """A Deployment with the orchestrator is labelled by its predictor, the others by their own names alone."""
    bench.apply(seldon_deployment("podded", predictor("main", "1", 90), predictor("canary", "2", 10)))
    made = {"main-0-classifier": {"seldon-app": "podded-main"}, "main-1-scaler": {}, "canary-0-classifier": {}}
    for tail, more in made.items():
        marked = {"seldon-deployment-id": "podded", **more}
        item = deployment(f"podded-{tail}", replicas=1, pod_labels=marked)
        bench.cluster.kubectl.apply(item, namespace=bench.namespace)
    # It has a predictor's name, and nothing to do with it.
    bench.cluster.kubectl.apply(deployment("canary", replicas=1), namespace=bench.namespace)
    bench.api.wait(
        PLAIN, bench.namespace, "canary", lambda item: item.get("status", {}).get("readyReplicas"), within_s=90
    )
    endpoint, found = await operator.read("podded"), list[tuple[str, str]]()
    async with asyncio.timeout(90):
        while len(found) < len(made):
            told = (await operator.connector.details(endpoint)).replicas
            found = sorted((one.variant, str(one.name).rsplit("-", 2)[0]) for one in told)
            await asyncio.sleep(0.2)
    assert found == [
        ("canary", "podded-canary-0-classifier"),
        ("main", "podded-main-0-classifier"),
        ("main", "podded-main-1-scaler"),
    ]
