"""What the controller of Argo Rollouts does with writes that look right, and that ours go around it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.api import DEPLOYMENTS, ROLLOUTS, Json
from tests.cluster.argo_bench import (
    REPLICAS,
    STEPS,
    Bench,
    healthy,
    image,
    in_flight,
    observed,
    paused_at,
    reasons,
    seated,
    updated,
)
from tests.cluster.control_plane import TENANT, ControlPlane
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import deployment, rollout

from mlrelease_tui.connectors.api import Promotable
from mlrelease_tui.domain.intents import (
    AbortRollout,
    ContinueRollout,
    HoldRollout,
    PromoteVersion,
    RollBack,
    ScaleEndpoint,
    SetWeight,
)
from mlrelease_tui.domain.rollout import Phase, Role, Stamp, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

NAME = "fraud"


@pytest.fixture
def bench(rollouts: Cluster, namespace: str) -> Bench:
    return Bench(rollouts, namespace)


async def test_a_promotion_sent_twice_advances_once(bench: Bench, tmp_path: Path) -> None:
    bench.at_pause(NAME)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        (write,) = (await seat.plan(PromoteVersion(seat.ref(NAME)))).steps
        await seat.connector.perform(write, Stamp("intent-of-ana", "promote", SafeText("ana"), SafeText("go on")))
        with pytest.raises(Conflict, match=r"moved since the plan was made.*promote by ana"):
            await seat.connector.perform(write, Stamp("intent-of-bo", "promote", SafeText("bo"), SafeText("go on")))
        bench.wait(NAME, paused_at(3))


async def test_a_promotion_under_a_manual_pause_is_not_lost(bench: Bench, tmp_path: Path) -> None:
    bench.held(NAME)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        endpoint = await seat.look(NAME)
        driver = seat.connector.driver(endpoint)
        assert isinstance(driver, Promotable)
        stamp = Stamp("an-intent", "promote", SafeText("ana"), SafeText("go on"))
        first, second = driver.advance(endpoint)
        await seat.connector.perform(first, stamp)
        # The controller looks at it meanwhile: the step that was chosen stays chosen.
        bench.wait(NAME, lambda item: item["status"]["currentStepIndex"] == 2)
        await seat.connector.perform(second, stamp)
        bench.wait(NAME, paused_at(3))


async def test_a_full_promotion_under_a_manual_pause_is_not_lost(bench: Bench, tmp_path: Path) -> None:
    bench.held(NAME)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        endpoint = await seat.look(NAME)
        driver = seat.connector.driver(endpoint)
        assert isinstance(driver, Promotable)
        for write in driver.complete(endpoint):
            await seat.connector.perform(write, Stamp("an-intent", "promote", SafeText("ana"), SafeText("go on")))
        item = bench.wait(NAME, lambda item: healthy(item) and not in_flight(item))
        assert updated(item) == REPLICAS


async def test_who_may_not_see_analyses_sees_and_moves_the_rollout(
    bench: Bench, control_plane: ControlPlane, tmp_path: Path
) -> None:
    bench.template_of_analysis("later", "http://127.0.0.1:9/")
    bench.at_pause(NAME, canary={"analysis": {"templates": [{"templateName": "later"}], "startingStep": 3}})
    rbac, name = "rbac.authorization.k8s.io", "only-rollouts"
    control_plane.kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "List",
            "items": [
                {
                    "apiVersion": f"{rbac}/v1",
                    "kind": "Role",
                    "metadata": {"name": name},
                    "rules": [
                        {
                            "apiGroups": ["argoproj.io"],
                            "resources": ["rollouts", "rollouts/status"],
                            "verbs": ["get", "list", "watch", "patch"],
                        },
                        {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["get", "list", "watch"]},
                    ],
                },
                {
                    "apiVersion": f"{rbac}/v1",
                    "kind": "RoleBinding",
                    "metadata": {"name": name},
                    "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
                    "subjects": [{"apiGroup": rbac, "kind": "User", "name": TENANT}],
                },
            ],
        },
        namespace=bench.namespace,
    )
    async with seated(control_plane.kubeconfig_of(TENANT), bench.namespace, tmp_path) as seat:
        assert [str(endpoint.ref.name) for endpoint in await seat.connector.endpoints()] == [NAME]
        assert not (await seat.look(NAME)).rollout.gates
        await seat.do(RollBack(seat.ref(NAME)))


async def test_a_pause_that_is_jumped_to_is_not_passed(bench: Bench, tmp_path: Path) -> None:
    bench.at_rest(NAME, steps=[{"setWeight": 25}, {"pause": {}}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}])
    bench.release(NAME, "2")
    bench.wait(NAME, paused_at(1))
    bench.tool("pause", NAME)
    bench.wait(NAME, lambda item: item["spec"].get("paused") and observed(item))
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        endpoint = await seat.look(NAME)
        driver = seat.connector.driver(endpoint)
        assert isinstance(driver, Promotable)
        for write in driver.advance(endpoint):
            await seat.connector.perform(write, Stamp("an-intent", "promote", SafeText("ana"), SafeText("go on")))
        bench.wait(NAME, paused_at(2))
        endpoint = await seat.look(NAME)
        assert endpoint.rollout.phase is Phase.WAITING


async def test_continue_skips_no_step(bench: Bench, tmp_path: Path) -> None:
    bench.held(NAME)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        held = await seat.look(NAME)
        assert held.rollout.phase is Phase.HELD
        assert held.rollout.hold is not None
        assert "unknown hand" in held.rollout.hold.by
        await seat.do(ContinueRollout(seat.ref(NAME)))
        assert bench.get(NAME)["status"]["currentStepIndex"] == 1
        assert (await seat.look(NAME)).rollout.phase is Phase.WAITING


async def test_a_hold_names_who_holds_and_why_and_going_on_takes_the_name_away(bench: Bench, tmp_path: Path) -> None:
    bench.at_pause(NAME)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        await seat.do(HoldRollout(seat.ref(NAME)), why="p99 is strange")
        hold = (await seat.look(NAME)).rollout.hold
        assert hold is not None
        assert (str(hold.by), str(hold.why)) == ("ana", "p99 is strange")
        assert (await seat.refused(PromoteVersion(seat.ref(NAME)))).code == "held"
        await seat.do(ContinueRollout(seat.ref(NAME)))
        assert "mlrelease.dev/hold" not in bench.get(NAME)["metadata"]["annotations"]


async def test_a_full_promotion_of_an_aborted_rollout_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.aborted(NAME)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        for wish in (PromoteVersion(seat.ref(NAME), full=True), PromoteVersion(seat.ref(NAME))):
            refusal = await seat.refused(wish)
            assert "was aborted" in refusal.reason
        endpoint = await seat.look(NAME)
        assert endpoint.rollout.phase is Phase.DEGRADED
        assert endpoint.support(Verb.RETRY).available
        assert not endpoint.support(Verb.PROMOTE).available


async def test_an_abort_beats_a_full_promotion_under_way(bench: Bench, tmp_path: Path) -> None:
    bench.promoting_fully(NAME)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        await seat.do(AbortRollout(seat.ref(NAME)))
        status = bench.get(NAME)["status"]
        assert status["abort"]
        assert status["abortedAt"]
        assert not status.get("promoteFull")


async def test_a_weight_is_a_step_at_which_it_pauses_and_never_beyond_the_last(bench: Bench, tmp_path: Path) -> None:
    bench.at_pause(NAME)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        refusal = await seat.refused(SetWeight(seat.ref(NAME), 3000))
        assert "its steps give: 25%, 50%" in refusal.hint
        await seat.do(SetWeight(seat.ref(NAME), 5000))
        await seat.do(SetWeight(seat.ref(NAME), 2500))
        bench.wait(NAME, lambda item: paused_at(1)(item) and updated(item) == 1)
        bench.patch(NAME, {"status": {"currentStepIndex": 4, "pauseConditions": None}}, sub="status")
        bench.wait(NAME, healthy)
        assert not (await seat.look(NAME)).support(Verb.PROMOTE).reason


async def test_an_abort_with_nothing_under_way_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.at_rest(NAME)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        assert "nothing is under way" in (await seat.refused(AbortRollout(seat.ref(NAME)))).reason
        assert "no ReplicaSet of another version" in (await seat.look(NAME)).support(Verb.ROLLBACK).reason


async def test_a_rollback_goes_to_the_last_healthy_version_not_to_the_second_highest_revision(
    bench: Bench, tmp_path: Path
) -> None:
    bench.at_rest(NAME)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        await seat.do(PromoteVersion(seat.ref(NAME), "2"))
        await seat.do(PromoteVersion(seat.ref(NAME), full=True))
        assert (await seat.look(NAME)).previous_version == "1"
        await seat.do(PromoteVersion(seat.ref(NAME), "3"))
        # A step that is taken between plan and confirmation would void the plan.
        bench.wait(NAME, paused_at(1))
        await seat.do(AbortRollout(seat.ref(NAME)))
        bench.release(NAME, "4")
        bench.wait(NAME, paused_at(1))
        bench.tool("promote", NAME, "--full")
        bench.wait(NAME, lambda item: healthy(item) and not in_flight(item))
        rest = await seat.look(NAME)
        assert rest.previous_version == "2"
        assert rest.support(Verb.ROLLBACK).available
        await seat.do(RollBack(seat.ref(NAME)))
        end = bench.end(NAME)
        assert (end["phase"], end["stable"], end["pods"]) == ("Healthy", "2", {"2": REPLICAS})
        assert (await seat.look(NAME)).rollout.phase is Phase.COMPLETE


async def test_a_rollback_after_the_cut_over_returns_the_users(bench: Bench, tmp_path: Path) -> None:
    bench.previewing(NAME, scaleDownDelaySeconds=60)
    bench.tool("promote", NAME)
    bench.wait(NAME, lambda item: healthy(item) and not in_flight(item))
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        await seat.do(RollBack(seat.ref(NAME), "1"))
        assert bench.end(NAME)["active"] == "1"
        endpoint = await seat.look(NAME)
        assert endpoint.stable is not None
        assert endpoint.stable.weight_bp == 10_000
        assert any("older ReplicaSet" in str(problem) for problem in endpoint.problems)


async def test_a_replicaset_of_the_preview_gets_no_traffic_before_the_cut_over(bench: Bench, tmp_path: Path) -> None:
    bench.previewing(NAME)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        endpoint = await seat.look(NAME)
        seen = {(variant.role, variant.version, variant.weight_bp, variant.ready) for variant in endpoint.variants}
        assert seen == {(Role.STABLE, "1", 10_000, 4), (Role.PREVIEW, "2", 0, 4)}
        assert "no weights" in endpoint.support(Verb.WEIGHT).reason


# --- templates that another object holds


def _referring(bench: Bench) -> None:
    bench.apply(deployment(NAME, image("1"), replicas=0, progressDeadlineSeconds=300))
    manifest = rollout(NAME, replicas=REPLICAS, steps=STEPS)
    del manifest["spec"]["template"], manifest["spec"]["selector"]
    manifest["spec"]["workloadRef"] = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    bench.apply(manifest)
    bench.wait(NAME, healthy)


async def test_a_referred_deployment_is_no_endpoint_of_its_own_and_holds_the_template(
    bench: Bench, tmp_path: Path
) -> None:
    _referring(bench)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        assert [str(endpoint.ref.name) for endpoint in await seat.connector.endpoints()] == [NAME]
        await seat.do(PromoteVersion(seat.ref(NAME), "2"))
        bench.wait(NAME, paused_at(1))
        assert bench.get(NAME)["spec"].get("template", {}).get("spec", {}).get("containers") in (None, [])
        template = bench.api.get(DEPLOYMENTS, bench.namespace, NAME)["spec"]["template"]
        assert template["spec"]["containers"][0]["image"] == image("2")
        plan = await seat.plan(RollBack(seat.ref(NAME)))
        assert [step.target.split()[0] for step in plan.steps] == ["Rollout", "Deployment"]
        outcome = await seat.submit(plan)
        assert outcome.kind == "applied", outcome
        end = bench.wait(NAME, healthy)
        assert not in_flight(end)
        assert updated(end) == REPLICAS
        assert (await seat.look(NAME)).rollout.to_version == "1"


# --- who else writes


async def test_what_git_keeps_is_aborted_and_left_to_git(bench: Bench, tmp_path: Path) -> None:
    bench.at_pause(NAME)
    bench.patch(NAME, {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop:argoproj.io/Rollout:a/b"}}})
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        plan = await seat.plan(RollBack(seat.ref(NAME)))
        assert [step.call.split()[1] for step in plan.steps] == [f"rollouts/{NAME}/status:"]
        assert any("Argo CD" in warning for warning in plan.warnings)
        outcome = await seat.submit(plan)
        assert outcome.kind == "applied", outcome
        refusal = await seat.refused(RollBack(seat.ref(NAME)))
        assert "keeps the template" in refusal.reason


async def test_what_helm_installed_is_aborted_first_and_ends_healthy(bench: Bench, tmp_path: Path) -> None:
    bench.at_pause(NAME)
    labels = {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {"meta.helm.sh/release-name": "shop"}}
    bench.patch(NAME, {"metadata": labels})
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        plan = await seat.plan(RollBack(seat.ref(NAME)))
        assert len(plan.steps) == 2
        outcome = await seat.submit(plan)
        assert outcome.kind == "applied", outcome
        assert bench.end(NAME)["phase"] == "Healthy"


async def test_a_rollback_that_another_hand_undoes_is_told_with_its_name(bench: Bench, tmp_path: Path) -> None:
    bench.at_pause(NAME)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        plan = await seat.plan(RollBack(seat.ref(NAME)))
        (step,) = plan.steps
        told = replace(plan, steps=(replace(step, settle_s=3.0),))
        perform = seat.connector.perform

        async def overtaken(write: Any, stamp: Stamp) -> Any:
            receipt = await perform(write, stamp)
            later = {"spec": {"template": {"metadata": {"annotations": {"by": "somebody"}}}}}
            # The server's record has whole seconds: only what is written in a later one is later.
            await asyncio.sleep(1.1)
            bench.api.patch(ROLLOUTS, bench.namespace, NAME, later, manager="their-pipeline")
            return receipt

        seat.connector.perform = overtaken  # type: ignore[method-assign]
        outcome = await seat.submit(told)
        assert (outcome.kind, outcome.by) == ("reverted", "their-pipeline"), outcome


async def test_an_autoscaler_keeps_its_replicas(bench: Bench, tmp_path: Path) -> None:
    bench.at_rest(NAME)
    target = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": NAME}
    bench.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "busy"},
            "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 8},
        }
    )
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        refusal = await seat.refused(ScaleEndpoint(seat.ref(NAME), 8))
        assert "HorizontalPodAutoscaler busy" in refusal.reason


# --- traffic routers


def _routed(bench: Bench, **more: Any) -> None:
    bench.apply(
        *({"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"{NAME}-{role}"},
           "spec": {"selector": {"app": NAME}, "ports": [{"port": 80, "targetPort": 8080}]}}
          for role in ("stable", "canary")),
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": NAME},
         "spec": {"ingressClassName": "nginx", "rules": [{"host": "fraud.example", "http": {"paths": [
             {"path": "/", "pathType": "Prefix",
              "backend": {"service": {"name": f"{NAME}-stable", "port": {"number": 80}}}}]}}]}},
    )  # fmt: skip
    router: Json = {
        "stableService": f"{NAME}-stable",
        "canaryService": f"{NAME}-canary",
        "trafficRouting": {"nginx": {"stableIngress": NAME}},
        **more,
    }
    bench.at_pause(NAME, canary=router)


async def test_weights_are_the_routers_not_the_share_of_replicas(bench: Bench, tmp_path: Path) -> None:
    _routed(bench)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        endpoint = await seat.look(NAME)
        weights = {variant.version: (variant.weight_bp, variant.ready) for variant in endpoint.variants}
        assert weights == {"1": (7500, 4), "2": (2500, 1)}
        await seat.do(RollBack(seat.ref(NAME)))
        assert bench.get(NAME)["status"]["canary"]["weights"]["canary"]["weight"] == 0
        assert (await seat.look(NAME)).rollout.phase is Phase.COMPLETE


async def test_a_stable_that_shrank_gets_its_pods_back_before_the_traffic(bench: Bench, tmp_path: Path) -> None:
    _routed(bench, dynamicStableScale=True)
    bench.wait(NAME, lambda item: item["status"].get("availableReplicas") == REPLICAS)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        plan = await seat.plan(RollBack(seat.ref(NAME)))
        assert [step.call.split()[1] for step in plan.steps] == [f"rollouts/{NAME}/status:", f"rollouts/{NAME}:"]
        outcome = await seat.submit(plan)
        assert outcome.kind == "applied", outcome
        end = bench.get(NAME)
        assert end["status"]["canary"]["weights"]["canary"]["weight"] == 0
        assert end["status"]["phase"] == "Healthy"
        assert not reasons(end)
