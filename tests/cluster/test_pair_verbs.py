"""A canary pair on a real control plane: two Deployments behind one Service, moved by numbers of pods."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from tests.cluster.api import DEPLOYMENTS, Json
from tests.cluster.desk import Operator
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import PODS_BEHAVE, autoscaler, deployment

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.domain.rollout import Endpoint, Hold, Phase, Stamp, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict, Refused

pytestmark = [pytest.mark.kubernetes, pytest.mark.real]

IMAGE = "registry.example/fraud"
FRONT = "fraud"
NOBODY = Hold(SafeText("anna"), SafeText(""))


def half(role: str, version: str, replicas: int) -> Json:
    return deployment(
        f"fraud-{role}",
        f"{IMAGE}:{version}",
        replicas=replicas,
        labels={"mlrelease.dev/role": role},
        pod_labels={"serves": FRONT},
    )


def front(**annotations: str) -> Json:
    marks = {f"mlrelease.dev/{key}": value for key, value in annotations.items()}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": FRONT, "annotations": marks},
        "spec": {"selector": {"serves": FRONT}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }


class Lab:
    """A pair in a namespace of its own."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def begin(self, *, stable: int = 10, canary: int = 0, steps: str = "[10, 50]") -> None:
        self.cluster.kubectl.apply(
            half("stable", "1", stable),
            half("canary", "1", canary),
            front(model="registry/fraud", steps=steps),
            namespace=self.namespace,
        )
        self.cluster.api.wait(
            DEPLOYMENTS, self.namespace, "fraud-stable", lambda item: item["status"].get("availableReplicas") == stable
        )

    def pods(self) -> tuple[int, int]:
        found = (self.cluster.api.get(DEPLOYMENTS, self.namespace, f"fraud-{role}") for role in ("stable", "canary"))
        stable, canary = (int(item["spec"]["replicas"]) for item in found)
        return stable, canary

    def image(self, role: str) -> str:
        item = self.cluster.api.get(DEPLOYMENTS, self.namespace, f"fraud-{role}")
        return str(item["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.fixture
def lab(cluster: Cluster, namespace: str) -> Lab:
    return Lab(cluster, namespace)


@pytest.fixture
async def operator(cluster: Cluster, namespace: str) -> AsyncIterator[Operator]:
    found = Operator(cluster.kubeconfig, namespace)
    yield found
    await found.close()


def shares(endpoint: Endpoint) -> dict[str, int | None]:
    return {variant.version: variant.weight_bp for variant in endpoint.variants}


async def promoted(operator: Operator, version: str = "2", weight_bp: int | None = None) -> Endpoint:
    return await operator.do(
        FRONT, Verb.PROMOTE, lambda driver, endpoint: driver.start(endpoint, Artifact(version), weight_bp)
    )


async def test_the_service_is_the_endpoint_and_its_deployments_are_none(lab: Lab, operator: Operator) -> None:
    lab.begin()
    (endpoint,) = await operator.connector.endpoints()
    assert (endpoint.ref.name, endpoint.native.kind, shares(endpoint)) == (FRONT, "Deployment pair", {"1": 10_000})


async def test_a_canary_goes_up_by_its_steps_and_becomes_the_stable_one(lab: Lab, operator: Operator) -> None:
    lab.begin()
    begun = await promoted(operator)
    assert (lab.pods(), shares(begun)) == ((9, 1), {"1": 9000, "2": 1000})
    assert (begun.rollout.phase, begun.rollout.step_index) == (Phase.WAITING, 0)
    further = await operator.do(FRONT, Verb.PROMOTE, lambda driver, endpoint: driver.advance(endpoint))
    assert (lab.pods(), shares(further)) == ((5, 5), {"1": 5000, "2": 5000})
    whole = await operator.do(FRONT, Verb.PROMOTE, lambda driver, endpoint: driver.complete(endpoint))
    assert (lab.pods(), lab.image("stable"), shares(whole)) == ((10, 0), f"{IMAGE}:2", {"2": 10_000})
    assert (whole.rollout.phase, whole.previous_version) == (Phase.COMPLETE, "1")


async def test_a_complete_rollback_of_a_canary_takes_it_away_and_gives_its_pods_back(
    lab: Lab, operator: Operator
) -> None:
    lab.begin()
    await promoted(operator, weight_bp=3000)
    assert lab.pods() == (7, 3)
    after = await operator.do(FRONT, Verb.ROLLBACK, lambda driver, endpoint: driver.roll_back(endpoint, Artifact("1")))
    assert (lab.pods(), shares(after), after.rollout.phase) == ((10, 0), {"1": 10_000}, Phase.COMPLETE)


async def test_where_the_canary_has_every_pod_the_stable_ones_come_back_first(lab: Lab, operator: Operator) -> None:
    lab.begin(stable=4)
    await promoted(operator, weight_bp=5000)
    await operator.do(FRONT, Verb.WEIGHT, lambda driver, endpoint: driver.set_weight(endpoint, 10_000))
    assert lab.pods() == (0, 4)
    writes = await operator.plan(FRONT, lambda driver, endpoint: driver.abort(endpoint))
    assert [write.after for write in writes] == ["fraud-stable: 4 pods", "fraud-canary: 0 pods"]
    await operator.do(FRONT, Verb.ABORT, lambda driver, endpoint: driver.abort(endpoint))
    assert lab.pods() == (4, 0)


async def test_a_finished_promotion_is_rolled_back_to_the_template_before(lab: Lab, operator: Operator) -> None:
    lab.begin()
    await promoted(operator)
    await operator.do(FRONT, Verb.PROMOTE, lambda driver, endpoint: driver.complete(endpoint))
    after = await operator.do(FRONT, Verb.ROLLBACK, lambda driver, endpoint: driver.roll_back(endpoint, Artifact("1")))
    assert (lab.image("stable"), shares(after)) == (f"{IMAGE}:1", {"1": 10_000})


async def test_a_weight_that_the_pods_cant_make_is_refused_with_the_two_nearest(lab: Lab, operator: Operator) -> None:
    lab.begin(stable=3)
    with pytest.raises(Refused) as refused:
        await promoted(operator, weight_bp=1000)
    assert refused.value.message == "3 pods can't make 10%"
    assert refused.value.hint.endswith("0% and 33.33%")


async def test_hold_is_a_note_on_the_service_that_says_who_and_why(lab: Lab, operator: Operator) -> None:
    lab.begin()
    await promoted(operator)
    held = await operator.do(FRONT, Verb.HOLD, lambda driver, endpoint: driver.hold(endpoint, NOBODY))
    assert held.rollout.hold is not None
    assert (held.rollout.phase, held.rollout.hold.by, held.rollout.hold.why) == (Phase.HELD, "anna", "a test")
    after = await operator.do(FRONT, Verb.CONTINUE, lambda driver, endpoint: driver.resume(endpoint))
    assert (after.rollout.phase, after.rollout.hold) == (Phase.WAITING, None)


async def test_a_canary_that_crashes_is_seen_and_none_of_the_stable_pods_went(
    lab: Lab, operator: Operator, cluster: Cluster
) -> None:
    lab.begin()
    patch = {"spec": {"template": {"metadata": {"labels": {PODS_BEHAVE: "crash-loop"}}}}}
    cluster.api.patch(DEPLOYMENTS, lab.namespace, "fraud-canary", patch, how="strategic")
    first, _ = await operator.plan(FRONT, lambda driver, endpoint: driver.start(endpoint, Artifact("2"), 1000))
    await operator.send(first, Verb.PROMOTE)
    seen = await operator.until(FRONT, lambda found: found.canary is not None and found.canary.message)
    assert seen.canary is not None
    assert "CrashLoopBackOff" in seen.canary.message
    assert lab.pods() == (10, 1)


async def test_what_the_service_does_not_reach_is_said(lab: Lab, operator: Operator, cluster: Cluster) -> None:
    lab.begin()
    await promoted(operator)
    seen = await operator.until(FRONT, lambda found: not found.problems)
    assert seen.variants[1].ready == 1
    cluster.kubectl.apply(autoscaler("fraud-stable", "fraud-stable"), namespace=lab.namespace)
    scaled = await operator.read(FRONT)
    assert "HPA fraud-stable (2 to 10) moves the weights by itself" in scaled.problems
    assert "HPA" in scaled.support(Verb.WEIGHT).reason or scaled.support(Verb.WEIGHT).available


async def test_half_a_move_is_seen_and_finished_by_the_way_back(lab: Lab, operator: Operator) -> None:
    lab.begin()
    first, second = await operator.plan(FRONT, lambda driver, endpoint: driver.start(endpoint, Artifact("2"), 2000))
    await operator.send(first, Verb.PROMOTE)
    await operator.seen(first, FRONT)
    # Whoever planned it died here: nobody takes the stable pods away.
    assert lab.pods() == (10, 2)
    cluster_says = await operator.read(FRONT)
    assert shares(cluster_says) == {"1": 8333, "2": 1667}
    await operator.do(FRONT, Verb.ROLLBACK, lambda driver, endpoint: driver.roll_back(endpoint, Artifact("1")))
    # As many as both were before that move, not as many as it left behind.
    assert lab.pods() == (10, 0)
    with pytest.raises(Conflict, match="another action wrote to it"):
        await operator.connector.perform(
            second, Stamp("i", "promote", SafeText("ben"), SafeText("why"), datetime.now(UTC))
        )


async def test_a_way_back_that_was_cut_short_is_seen_and_the_same_wish_gives_the_rest_of_the_pods_back(
    lab: Lab, operator: Operator
) -> None:
    lab.begin()
    await promoted(operator, weight_bp=3000)
    assert lab.pods() == (7, 3)
    first, _ = await operator.plan(FRONT, lambda driver, endpoint: driver.roll_back(endpoint, Artifact("1")))
    await operator.send(first, Verb.ROLLBACK)
    half = await operator.seen(first, FRONT)
    assert lab.pods() == (7, 0)
    assert "a way back was cut short: 7 of 10 pods are there; rollback gives the rest back" in half.problems
    assert half.support(Verb.ROLLBACK).available
    whole = await operator.do(FRONT, Verb.ROLLBACK, lambda driver, endpoint: driver.finish_return(endpoint))
    assert (lab.pods(), whole.problems) == ((10, 0), ())


async def test_pods_that_somebody_took_away_by_hand_are_no_way_back_that_was_cut_short(
    lab: Lab, operator: Operator, cluster: Cluster
) -> None:
    lab.begin()
    await promoted(operator, weight_bp=3000)
    await operator.do(FRONT, Verb.ROLLBACK, lambda driver, endpoint: driver.roll_back(endpoint, Artifact("1")))
    cluster.kubectl("scale", "deployment/fraud-stable", "--replicas=4", "-n", lab.namespace)
    fewer = await operator.until(FRONT, lambda endpoint: endpoint.stable and endpoint.stable.ready == 4)
    assert fewer.problems == ()
