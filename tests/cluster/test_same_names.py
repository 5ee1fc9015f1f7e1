"""Several kinds of one name in one namespace: each is shown with its kind before its name, and the short name says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cluster.api import DEPLOYMENTS, ROLLOUTS, Json
from tests.cluster.argo_bench import Bench, seated
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import deployment

from mlrelease_tui.cli.finding import match
from mlrelease_tui.domain.intents import RollBack, ScaleEndpoint
from mlrelease_tui.domain.plan import OutcomeKind
from mlrelease_tui.errors import AmbiguousName

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

NAME = "fraud"
MODEL = {"mlrelease.dev/model": "fraud"}


@pytest.fixture
def twins(rollouts: Cluster, namespace: str) -> Bench:
    """A Rollout and a Deployment called `fraud`; the Deployment on version 2, promoted from 1."""
    bench = Bench(rollouts, namespace)
    for version in ("1", "2"):
        item = deployment(NAME, f"registry.example/fraud:{version}", replicas=1, annotations=MODEL)
        item["spec"]["selector"]["matchLabels"] = item["spec"]["template"]["metadata"]["labels"] = {"app": "twin"}
        bench.apply(item)
        bench.api.wait(DEPLOYMENTS, namespace, NAME, rolled_out)
    bench.at_rest(NAME)
    return bench


def rolled_out(item: Json) -> bool:
    status = item.get("status", {})
    numbers = {status.get(key) for key in ("replicas", "updatedReplicas", "availableReplicas")}
    return bool(status.get("observedGeneration") == item["metadata"]["generation"] and numbers == {1})


async def test_each_is_shown_with_its_kind_and_the_short_name_is_refused_with_the_names_there_are(
    twins: Bench, tmp_path: Path
) -> None:
    async with seated(twins.cluster.kubeconfig, twins.namespace, tmp_path) as seat:
        # Also of whoever has seen no fleet yet.
        for _ in range(2):
            with pytest.raises(AmbiguousName, match=r"names 2 endpoints: deployment\.fraud, rollout\.fraud"):
                await seat.look(NAME)
            shown = await seat.connector.endpoints()
            assert [(str(item.ref.name), str(item.native.kind)) for item in shown] == [
                ("deployment.fraud", "Deployment"),
                ("rollout.fraud", "Rollout"),
            ]
        with pytest.raises(AmbiguousName, match=r"deployment\.fraud, .*rollout\.fraud"):
            match(NAME, [item.ref for item in shown], what="endpoint")
        refusal = await seat.refused(ScaleEndpoint(seat.ref(NAME), 2))
        assert "names 2 endpoints" in refusal.reason


async def test_an_action_on_one_of_them_leaves_the_other_alone(twins: Bench, tmp_path: Path) -> None:
    before = twins.get(NAME)["metadata"]["generation"]
    async with seated(twins.cluster.kubeconfig, twins.namespace, tmp_path) as seat:
        outcome = await seat.do(RollBack(seat.ref("deployment.fraud"), "1"))
        assert outcome.kind is OutcomeKind.APPLIED
        (step,) = (await seat.plan(ScaleEndpoint(seat.ref("rollout.fraud"), 5))).steps
        assert "rollouts.argoproj.io/fraud " in step.shell
        fleet = await seat.connector.endpoints()
        assert all(seat.connector.driver(item) is not None for item in fleet)
    item = twins.api.get(DEPLOYMENTS, twins.namespace, NAME)
    assert item["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":1")
    assert twins.get(NAME)["metadata"]["generation"] == before


async def test_once_it_is_alone_its_short_name_is_enough_again(twins: Bench, tmp_path: Path) -> None:
    async with seated(twins.cluster.kubeconfig, twins.namespace, tmp_path) as seat:
        await seat.connector.endpoints()
        twins.api.delete(ROLLOUTS, twins.namespace, NAME)
        twins.api.gone(ROLLOUTS, twins.namespace, NAME)
        assert [str(item.ref.name) for item in await seat.connector.endpoints()] == [NAME]
        assert (await seat.look(NAME)).native.kind == "Deployment"
        # Who kept the long one, in a script or a plan, is understood.
        assert (await seat.look("deployment.fraud")).native.kind == "Deployment"


async def test_what_the_fleet_does_not_show_takes_no_name_from_what_it_shows(
    rollouts: Cluster, namespace: str, tmp_path: Path
) -> None:
    bench = Bench(rollouts, namespace)
    plain = deployment(NAME, "registry.example/not-a-model:7", replicas=0)
    plain["spec"]["selector"]["matchLabels"] = plain["spec"]["template"]["metadata"]["labels"] = {"app": "twin"}
    bench.apply(plain)
    bench.at_rest(NAME)
    async with seated(rollouts.kubeconfig, namespace, tmp_path) as seat:
        assert (await seat.look(NAME)).native.kind == "Rollout"
        assert [str(item.ref.name) for item in await seat.connector.endpoints()] == [NAME]
        assert (await seat.look("deployment.fraud")).native.kind == "Deployment"
