"""What each verb does to a Deployment on a real control plane, beside what kubectl does to another one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from tests.cluster.api import DEPLOYMENTS, REPLICA_SETS, Json, condition
from tests.cluster.desk import Operator
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import PODS_BEHAVE, autoscaler, deployment

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Endpoint, Hold, Phase, Stamp, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict, Refused

pytestmark = [pytest.mark.kubernetes, pytest.mark.real]

IMAGE = "registry.example/fraud"
NOBODY = Hold(SafeText("anna"), SafeText(""))
Planned = Callable[[Any, Endpoint], tuple[Write, ...]]


@pytest.fixture
async def operator(cluster: Cluster, namespace: str) -> AsyncIterator[Operator]:
    found = Operator(cluster.kubeconfig, namespace)
    yield found
    await found.close()


@pytest.fixture
async def every(cluster: Cluster, namespace: str) -> AsyncIterator[Operator]:
    """An operator who is shown every Deployment."""
    found = Operator(cluster.kubeconfig, namespace, options={"all": True})
    yield found
    await found.close()


def is_settled(item: Json) -> bool:
    status, wanted = item.get("status", {}), item["spec"]["replicas"]
    return bool(
        status.get("observedGeneration", 0) >= item["metadata"]["generation"]
        and status.get("updatedReplicas", 0)
        == status.get("replicas", 0)
        == status.get("availableReplicas", 0)
        == wanted
    )


class Lab:
    """Deployments in one namespace, moved by other hands than the product's."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def kubectl(self, *words: str) -> str:
        return self.cluster.kubectl(*words, "--namespace", self.namespace)

    def get(self, name: str) -> Json:
        return self.cluster.api.get(DEPLOYMENTS, self.namespace, name)

    def settled(self, name: str) -> Json:
        return self.cluster.api.wait(DEPLOYMENTS, self.namespace, name, is_settled)

    def release(self, name: str, *versions: str, **wish: Any) -> None:
        """One version after the other, each rolled out."""
        for version in versions:
            self.cluster.kubectl.apply(deployment(name, f"{IMAGE}:{version}", **wish), namespace=self.namespace)
            self.settled(name)

    def bad_release(self, name: str, version: str, *, behaves: str = "crash-loop", **wish: Any) -> None:
        """A version that never becomes ready, on its way."""
        before = self.get(name)["status"]["observedGeneration"]
        labels = {PODS_BEHAVE: behaves}
        self.cluster.kubectl.apply(
            deployment(name, f"{IMAGE}:{version}", pod_labels=labels, **wish), namespace=self.namespace
        )
        self.cluster.api.wait(
            DEPLOYMENTS,
            self.namespace,
            name,
            lambda item: item["status"]["observedGeneration"] > before and item["status"].get("unavailableReplicas"),
        )

    def overdue(self, name: str) -> None:
        self.cluster.api.wait(
            DEPLOYMENTS,
            self.namespace,
            name,
            lambda item: condition(item, "Progressing").get("reason") == "ProgressDeadlineExceeded",
        )


@pytest.fixture
def lab(cluster: Cluster, namespace: str) -> Lab:
    return Lab(cluster, namespace)


def template(item: Json) -> Json:
    return cast(Json, item["spec"]["template"])


def image(item: Json) -> str:
    return cast(str, template(item)["spec"]["containers"][0]["image"])


def roll_back(version: str) -> Planned:
    return lambda driver, endpoint: driver.roll_back(endpoint, Artifact(version))


def promote(version: str, weight_bp: int | None = 10_000) -> Planned:
    return lambda driver, endpoint: driver.start(endpoint, Artifact(version), weight_bp)


async def test_promote_rolls_the_image_out_and_notes_what_ran_well_before(lab: Lab, operator: Operator) -> None:
    lab.release("ours", "1")
    lab.release("theirs", "1")
    after = await operator.do("ours", Verb.PROMOTE, promote("2"))
    lab.kubectl("set", "image", "deployment/theirs", f"model={IMAGE}:2")
    assert (after.rollout.phase, after.stable and after.stable.version, after.previous_version) == (
        Phase.COMPLETE,
        "2",
        "1",
    )
    assert after.stamp is not None
    assert (after.stamp.verb, after.stamp.by) == ("promote", "anna")
    assert template(lab.get("ours"))["spec"] == template(lab.settled("theirs"))["spec"]


async def test_a_promotion_says_no_more_than_that_it_began_unless_all_is_asked_for(
    lab: Lab, operator: Operator
) -> None:
    lab.release("fraud", "1")
    (write,) = await operator.plan("fraud", promote("2", None))
    await operator.send(write, Verb.PROMOTE)
    await operator.seen(write, "fraud")
    await operator.until("fraud", lambda endpoint: endpoint.rollout.phase is Phase.COMPLETE)


async def test_a_release_that_crashes_is_shown_beside_the_one_that_serves_and_rolled_back_by_one_patch(
    lab: Lab, operator: Operator
) -> None:
    lab.release("fraud", "1", progressDeadlineSeconds=600)
    lab.bad_release("fraud", "2", progressDeadlineSeconds=600)
    endpoint = await operator.until("fraud", lambda found: found.canary is not None and found.canary.message)
    assert endpoint.stable is not None
    assert endpoint.canary is not None
    assert (endpoint.stable.version, endpoint.canary.version) == ("1", "2")
    assert (endpoint.rollout.phase, endpoint.rollout.in_flight) == (Phase.PROGRESSING, True)
    assert "CrashLoopBackOff (4 restarts, last Error 1)" in endpoint.canary.message
    (write,) = await operator.plan("fraud", roll_back("1"))
    assert "registry.example" not in write.payload.split('"template"')[1], "a payload names a template, it holds none"
    await operator.send(write, Verb.ROLLBACK)
    await operator.seen(write, "fraud")
    assert image(lab.settled("fraud")) == f"{IMAGE}:1"


@pytest.mark.parametrize("behaves", ["oom-killed", "bad-image", "never-ready"])
async def test_what_ails_pods_is_said(lab: Lab, operator: Operator, behaves: str) -> None:
    said = {"oom-killed": "last OOMKilled 137", "bad-image": "ImagePullBackOff", "never-ready": "not ready"}[behaves]
    lab.release("fraud", "1", replicas=1)
    lab.bad_release("fraud", "2", behaves=behaves, replicas=1)
    endpoint = await operator.until("fraud", lambda found: found.canary is not None and said in found.canary.message)
    assert endpoint.stable is not None
    assert not endpoint.stable.message


async def test_trap_two_bad_releases_go_back_to_the_last_healthy_one_where_kubectl_lands_on_a_bad_one(
    lab: Lab, operator: Operator
) -> None:
    for name in ("ours", "theirs"):
        lab.release(name, "1")
        lab.bad_release(name, "2")
        lab.bad_release(name, "3")
    lab.kubectl("rollout", "undo", "deployment/theirs")
    assert image(lab.get("theirs")) == f"{IMAGE}:2"
    endpoint = await operator.read("ours")
    assert (endpoint.rollout.from_version, endpoint.rollout.to_version) == ("1", "3")
    after = await operator.do("ours", Verb.ROLLBACK, roll_back(endpoint.rollout.from_version))
    assert (after.rollout.phase, [variant.version for variant in after.variants]) == (Phase.COMPLETE, ["1"])


async def test_trap_an_undo_twice_toggles_in_kubectl_and_goes_no_further_here(lab: Lab, operator: Operator) -> None:
    lab.release("fraud", "1")
    await operator.do("fraud", Verb.PROMOTE, promote("2"))
    after = await operator.do("fraud", Verb.ROLLBACK, roll_back("1"))
    assert (after.stable and after.stable.version, after.previous_version) == ("1", "2"), (
        "2 is kept and is the only other one"
    )
    with pytest.raises(Refused, match="runs 1 already"):
        await operator.plan("fraud", roll_back("1"))


async def test_trap_a_paused_deployment_is_undone_and_resumed_in_one_patch(lab: Lab, operator: Operator) -> None:
    lab.release("fraud", "1")
    lab.bad_release("fraud", "2")
    await operator.do("fraud", Verb.HOLD, lambda driver, endpoint: driver.hold(endpoint, NOBODY))
    held = await operator.read("fraud")
    assert held.rollout.phase is Phase.HELD
    assert held.rollout.hold is not None
    assert held.rollout.hold.by == "anna"
    refused = lab.cluster.kubectl.run("rollout", "undo", "deployment/fraud", "--namespace", lab.namespace)
    assert "paused" in refused.stderr
    after = await operator.do("fraud", Verb.ROLLBACK, roll_back("1"))
    assert (after.rollout.phase, after.rollout.hold, len(after.variants)) == (Phase.COMPLETE, None, 1)
    assert "mlrelease.dev/hold" not in lab.get("fraud")["metadata"]["annotations"]


async def test_trap_a_template_changed_under_a_pause_has_no_pods_and_is_taken_back(
    lab: Lab, operator: Operator
) -> None:
    lab.release("fraud", "1")
    lab.kubectl("rollout", "pause", "deployment/fraud")
    lab.kubectl("set", "image", "deployment/fraud", f"model={IMAGE}:2")
    endpoint = await operator.until("fraud", lambda found: found.rollout.to_version == "2")
    assert (endpoint.rollout.from_version, endpoint.rollout.phase) == ("1", Phase.HELD)
    assert endpoint.rollout.hold is not None
    assert endpoint.rollout.hold.by == "an unknown hand"
    after = await operator.do("fraud", Verb.ROLLBACK, roll_back("1"))
    assert (after.rollout.to_version, after.rollout.phase) == ("1", Phase.COMPLETE)


async def test_trap_the_deadline_of_the_rollout_before_is_no_failure_of_this_one(lab: Lab, operator: Operator) -> None:
    lab.release("fraud", "1", progressDeadlineSeconds=2)
    lab.bad_release("fraud", "2", progressDeadlineSeconds=2)
    lab.overdue("fraud")
    degraded = await operator.read("fraud")
    assert degraded.rollout.phase is Phase.DEGRADED
    (write,) = await operator.plan("fraud", roll_back("1"))
    await operator.send(write, Verb.ROLLBACK)
    phases: list[Phase] = []

    def ended(endpoint: Endpoint) -> bool:
        phases.append(endpoint.rollout.phase)
        return endpoint.rollout.phase is Phase.COMPLETE

    await operator.until("fraud", ended)
    assert Phase.DEGRADED not in phases


async def test_trap_paused_past_its_deadline_it_goes_on_saying_so(lab: Lab, operator: Operator) -> None:
    lab.release("fraud", "1", progressDeadlineSeconds=2)
    lab.bad_release("fraud", "2", progressDeadlineSeconds=2)
    lab.overdue("fraud")
    lab.kubectl("rollout", "pause", "deployment/fraud")
    endpoint = await operator.until("fraud", lambda found: found.rollout.phase is Phase.HELD)
    assert any("missed its deadline" in problem for problem in endpoint.problems)


async def test_a_pruned_version_comes_back_by_its_image(lab: Lab, operator: Operator) -> None:
    lab.release("fraud", "1", "2", "3", revisionHistoryLimit=0)
    lab.cluster.api.wait(
        DEPLOYMENTS, lab.namespace, "fraud", lambda item: len(lab.cluster.api.items(REPLICA_SETS, lab.namespace)) == 1
    )
    after = await operator.do("fraud", Verb.ROLLBACK, roll_back("1"))
    assert (after.rollout.phase, after.stable and after.stable.version) == (Phase.COMPLETE, "1")


async def test_without_notes_nobody_guesses_which_of_two_versions_ran_well(lab: Lab, operator: Operator) -> None:
    lab.release("fraud", "1", "2", "3")
    assert (await operator.read("fraud")).previous_version == ""
    lab.kubectl("rollout", "undo", "deployment/fraud", "--to-revision=1")
    lab.settled("fraud")
    lab.release("fraud", "4")
    assert (await operator.until("fraud", lambda found: found.rollout.to_version == "4")).previous_version == "1"


async def test_hold_and_continue_are_pause_and_resume(lab: Lab, operator: Operator) -> None:
    lab.release("fraud", "1")
    await operator.do("fraud", Verb.HOLD, lambda driver, endpoint: driver.hold(endpoint, NOBODY))
    assert lab.get("fraud")["spec"]["paused"] is True
    after = await operator.do("fraud", Verb.CONTINUE, lambda driver, endpoint: driver.resume(endpoint))
    assert "paused" not in lab.get("fraud")["spec"]
    assert after.rollout.phase is Phase.COMPLETE


async def test_restart_replaces_every_pod_and_keeps_the_version(lab: Lab, operator: Operator) -> None:
    lab.release("fraud", "1")
    await operator.do("fraud", Verb.RESTART, lambda driver, endpoint: driver.restart(endpoint))
    after = await operator.until(
        "fraud", lambda found: found.rollout.phase is Phase.COMPLETE and len(found.variants) == 1
    )
    assert after.rollout.to_version == "1"
    assert len(lab.cluster.api.items(REPLICA_SETS, lab.namespace)) == 2


async def test_scale_goes_by_its_subresource(lab: Lab, operator: Operator) -> None:
    lab.release("fraud", "1")
    after = await operator.do("fraud", Verb.SCALE, lambda driver, endpoint: driver.scale(endpoint, 5))
    assert after.stable is not None
    assert (after.stable.ready, lab.get("fraud")["spec"]["replicas"]) == (5, 5)
    assert after.stamp is not None
    assert after.stamp.verb == "scale"
    lab.cluster.kubectl.apply(autoscaler("fraud", "fraud"), namespace=lab.namespace)
    scaled = await operator.read("fraud")
    assert scaled.labels["scaled by"] == "HPA fraud (2 to 10)"
    assert "HPA fraud" in scaled.support(Verb.SCALE).reason


async def test_the_fleet_says_what_ails_the_pods_of_what_is_not_ready(lab: Lab, every: Operator) -> None:
    lab.release("fine", "1", replicas=1)
    lab.release("fraud", "1", replicas=1)
    lab.bad_release("fraud", "2", replicas=1)
    deadline = time.monotonic() + 30
    while True:
        seen = {str(found.ref.name): found for found in await every.connector.endpoints()}
        canary = seen["fraud"].canary
        if canary is not None and "CrashLoopBackOff" in canary.message:
            break
        assert time.monotonic() < deadline, seen["fraud"]
        await asyncio.sleep(0.2)
    assert not any(variant.message for variant in seen["fine"].variants)


async def test_a_plan_that_was_overtaken_says_what_moved_and_who_moved_it(lab: Lab, operator: Operator) -> None:
    lab.release("fraud", "1")
    (write,) = await operator.plan("fraud", promote("2"))
    lab.kubectl("set", "image", "deployment/fraud", f"model={IMAGE}:3", "--field-manager=pipeline")
    with pytest.raises(Conflict, match=r"image is .*fraud:3.* \(last: edit by pipeline\)"):
        await _sent_unrehearsed(operator, write)


async def test_a_status_tick_and_a_scaling_do_not_void_a_plan(lab: Lab, operator: Operator) -> None:
    lab.release("fraud", "1")
    (write,) = await operator.plan("fraud", promote("2"))
    lab.kubectl("scale", "deployment/fraud", "--replicas=4")
    lab.settled("fraud")
    await operator.send(write, Verb.PROMOTE)
    assert image(lab.get("fraud")) == f"{IMAGE}:2"


async def test_only_those_that_serve_a_model_are_in_the_fleet_and_the_rest_are_counted(
    cluster: Cluster, lab: Lab, namespace: str
) -> None:
    marked = deployment(
        "marked", annotations={"mlrelease.dev/model": "registry/fraud", "mlrelease.dev/alias": "champion"}
    )
    loads = deployment("loads", replicas=1)
    template(loads)["spec"]["containers"][0]["env"] = [{"name": "MODEL", "value": "models:/iris/3"}]
    cluster.kubectl.apply(marked, loads, deployment("web"), namespace=namespace)
    for every, bound, names in (
        (False, "", ["loads", "marked"]),
        (False, "web", ["loads", "marked", "web"]),
        (True, "", ["loads", "marked", "web"]),
    ):
        operator = Operator(cluster.kubeconfig, namespace, options={"all": every, "registry": "registry"}, bound=bound)
        found = {str(endpoint.ref.name): endpoint for endpoint in await operator.connector.endpoints()}
        health = await operator.connector.probe()
        await operator.close()
        assert sorted(found) == names
        assert any("1 other workloads, not models" in warning for warning in health.warnings) == ("web" not in names)
        assert str(found["marked"].model) == "registry/fraud"
        assert (str(found["loads"].model), found["loads"].rollout.to_version) == ("registry/iris", "3")
        assert found["marked"].alias == "champion"


async def _sent_unrehearsed(operator: Operator, write: Write) -> None:
    await operator.connector.perform(write, Stamp("i", "promote", SafeText("anna"), SafeText("why"), datetime.now(UTC)))
