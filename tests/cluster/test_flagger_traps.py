"""What Flagger does with writes that look right, and that ours go around it. Numbers are those of the notes on a live Flagger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.api import CANARIES, DEPLOYMENTS, HTTP_ROUTES
from tests.cluster.argo_bench import Seat, seated
from tests.cluster.control_plane import ControlPlane
from tests.cluster.controllers import Controller
from tests.cluster.fixtures import Cluster
from tests.cluster.flagger_bench import LONG_S, Bench, begun, image, phase, version_of
from tests.cluster.listeners import Gate
from tests.cluster.manifests import deployment

from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.kubernetes.connector import KubernetesConnector
from mlrelease_tui.connectors.kubernetes.marks import hold_text
from mlrelease_tui.domain.intents import (
    AbortRollout,
    ContinueRollout,
    HoldRollout,
    PromoteVersion,
    RetryRollout,
    RollBack,
    ScaleEndpoint,
    SetWeight,
)
from mlrelease_tui.domain.plan import OutcomeKind, Plan
from mlrelease_tui.domain.rollout import Endpoint, GateResult, Phase, Role, Stamp, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict, NotFound

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(200)]

AT_REST = ("stray", "parted", "deleted", "slow", "unseen")
RELEASED = (
    "aborted",
    "returned",
    "changed",
    "weighed",
    "plain",
    "halted",
    "scaled",
    "again",
    "guarded",
    "listed",
    "crept",
    "disputed",
)


@dataclass
class Room:
    """The Canaries of all tests here, each with its own, and an operator before them."""

    bench: Bench
    seat: Seat
    kubeconfig: Path

    async def look(self, name: str) -> Endpoint:
        return await self.seat.look(name)

    async def plan(self, intent: Any) -> Plan:
        return await self.seat.plan(intent)

    async def later(self, name: str, by: timedelta) -> Endpoint:
        """What a look says of it at another time."""
        options = {"kubeconfig": str(self.kubeconfig), "namespaces": [self.bench.namespace]}
        connector = KubernetesConnector(Settings("k8s", "kubernetes", options, now=lambda: datetime.now(UTC) + by))
        try:
            return await connector.endpoint(self.seat.ref(name))
        finally:
            await connector.close()


@pytest.fixture(scope="module")
def gates() -> Iterator[Gate]:
    with Gate() as opened:
        opened.set("/rollout", code=403)
        opened.set("/promotion", code=403)
        yield opened


@pytest.fixture(scope="module")
def bench(
    cluster: Cluster, control_plane: ControlPlane, flagger_started: tuple[Controller, Any], gates: Gate
) -> Iterator[Bench]:
    """A Canary for each test, in its state."""
    flagger_started[0].start()
    with cluster.namespace() as place:
        made = Bench(control_plane.api, control_plane.kubectl, place)

        def hook(kind: str, path: str) -> dict[str, str]:
            return {"name": path, "type": kind, "url": f"{gates.url}/{path}"}

        made.made(*AT_REST, *RELEASED)
        made.made("asking", analysis={"webhooks": [hook("confirm-rollout", "rollout")]})
        judged = [hook("confirm-promotion", "promotion"), hook("rollout", "check")]
        made.made("judged", analysis={"webhooks": judged, "stepWeight": 50, "maxWeight": 50})
        made.made("mirrored", analysis={"mirror": True, "iterations": 5})
        made.made("broken", analysis={"canaryReadyThreshold": 0})
        everything = (*AT_REST, *RELEASED, "asking", "judged", "mirrored", "broken")
        made.reach("Initialized", *everything)
        made.released(*RELEASED, "judged")
        made.release("asking", "mirrored")
        made.reach("Waiting", "asking")
        made.reach("WaitingPromotion", "judged")
        made.until(lambda item: item.get("status", {}).get("iterations", 0) >= 1, "mirrored")
        made.broken("broken")
        yield made


@pytest.fixture
async def room(bench: Bench, control_plane: ControlPlane, flagger: Controller, tmp_path: Path) -> AsyncIterator[Room]:
    async with seated(control_plane.kubeconfig, bench.namespace, tmp_path) as seat:
        yield Room(bench, seat, control_plane.kubeconfig)


def payloads(plan: Plan) -> list[dict[str, Any]]:
    return [json.loads(step.payload) for step in plan.steps]


# --- the corrections


async def test_correction_1_an_abort_is_one_write_on_the_status_and_outlives_a_flagger_that_is_away(
    room: Room, flagger: Controller
) -> None:
    plan = await room.plan(AbortRollout(room.seat.ref("aborted")))
    (payload,) = payloads(plan)
    assert payload["subresource"] == "status"
    tested = {op["path"] for op in payload["patch"] if op["op"] == "test"}
    assert {"/metadata/uid", "/status/phase", "/status/lastAppliedSpec"} <= tested
    with flagger.stopped():
        stamp = Stamp("an-intent", "abort", SafeText("ana"), SafeText("errors"), datetime.now(UTC))
        await room.seat.connector.perform(plan.steps[0], stamp)
        endpoint = await room.look("aborted")
        assert endpoint.rollout.phase is Phase.ABORTING
        assert endpoint.stamp is not None
        assert str(endpoint.stamp.why) == "errors"
        assert not endpoint.support(Verb.HOLD).available, "suspended, it would not be aborted"
    room.bench.reach("Failed", "aborted")
    assert (await room.look("aborted")).rollout.phase is Phase.DEGRADED


async def test_an_abort_that_another_hand_suspends_at_the_same_moment_is_told_as_it_is(
    room: Room, flagger: Controller
) -> None:
    """They touch different parts of a Canary, so that both are taken: then the abort waits, and whoever asked for it is told."""
    ref, api, place = room.seat.ref("disputed"), room.bench.api, room.bench.namespace
    api.patch(CANARIES, place, "disputed", {"metadata": {"annotations": {"team": "fraud"}}})
    held, aborted = await room.plan(HoldRollout(ref)), await room.plan(AbortRollout(ref))
    stamp = Stamp("another", "hold", SafeText("bo"), SafeText("wait"), datetime.now(UTC))
    with flagger.stopped():
        ending = asyncio.create_task(room.seat.submit(aborted, why="errors"))
        async with asyncio.timeout(60):
            while (found := (await room.look("disputed")).stamp) is None or found.verb != "abort":
                await asyncio.sleep(0.1)
        with pytest.raises(Conflict, match=r"another action wrote to it \(last: abort by ana\)"):
            await room.seat.connector.perform(held.steps[0], stamp)
        mark = {"mlrelease.dev/hold": hold_text(stamp)}
        api.patch(CANARIES, place, "disputed", {"metadata": {"annotations": mark}, "spec": {"suspend": True}})
        outcome = await ending
        assert outcome.kind is OutcomeKind.FAILED
        assert "an abort waits: it is suspended by bo; continued, Flagger carries it out" in outcome.message
        assert (await room.look("disputed")).rollout.phase is Phase.HELD
        await room.seat.do(ContinueRollout(ref))
    room.bench.reach("Failed", "disputed")


async def test_correction_2_the_old_template_goes_back_only_once_flagger_has_failed_the_release(room: Room) -> None:
    plan = await room.plan(RollBack(room.seat.ref("returned")))
    assert [payload["subresource"] or "template" for payload in payloads(plan)] == ["status", "template"]
    stamp = Stamp("an-intent", "rollback", SafeText("ana"), SafeText("errors"), datetime.now(UTC))
    await room.seat.connector.perform(plan.steps[0], stamp)
    assert version_of(room.bench.deployment("returned")) == "2"
    with room.bench.looking("returned"):
        room.bench.until(lambda item: phase(item) == "Failed", "returned")
        await room.seat.do(RollBack(room.seat.ref("returned")))
    room.bench.look("returned")
    item = room.bench.get("returned")
    assert phase(item) == "Failed", "no second release of the old image began"
    assert item["status"]["lastAppliedSpec"] == item["status"]["lastPromotedSpec"]
    endpoint = await room.look("returned")
    assert endpoint.rollout.phase is Phase.COMPLETE
    assert [variant.version for variant in endpoint.variants] == ["1"]


async def test_correction_3_and_trap_10_what_waits_for_its_rollout_has_no_abort_and_is_taken_back_by_its_template(
    room: Room,
) -> None:
    endpoint = await room.look("asking")
    assert endpoint.rollout.phase is Phase.WAITING
    assert "heeds no abort" in endpoint.support(Verb.ABORT).reason
    assert "does not pass that one" in endpoint.support(Verb.PROMOTE).reason
    await room.seat.do(RollBack(room.seat.ref("asking")))
    room.bench.look("asking")
    assert phase(room.bench.get("asking")) == "Waiting"
    endpoint = await room.look("asking")
    assert not endpoint.rollout.in_flight, "whatever the gate lets through is what runs already"
    assert endpoint.support(Verb.HOLD).available


async def test_correction_4_a_canary_that_waits_at_a_gate_goes_on_being_judged(room: Room, gates: Gate) -> None:
    endpoint = await room.look("judged")
    found = {str(gate.name): gate for gate in endpoint.rollout.gates}
    assert endpoint.rollout.phase is Phase.WAITING
    assert found["confirm-promotion promotion"].result is GateResult.RUNNING
    assert str(found["checks"].measured) == "0 of 3 failed"
    gates.set("/check", code=500)
    room.bench.until(lambda item: item["status"]["failedChecks"] >= 1, "judged")
    endpoint = await room.look("judged")
    assert "goes on being measured" in endpoint.rollout.message
    assert "of 3 failed" in endpoint.rollout.gates[0].measured
    assert str(endpoint.rollout.gates[0].measured) != "0 of 3 failed"
    gates.set("/check", code=200)


async def test_correction_5_a_template_that_comes_while_it_is_held_is_said_and_not_gone_on_with(room: Room) -> None:
    await room.seat.do(HoldRollout(room.seat.ref("changed")))
    room.bench.release("changed", version="3")
    room.bench.rolled_out("changed")
    endpoint, weight = await room.look("changed"), room.bench.weight("changed")
    told = f"changed was changed to 3 while it is held: {weight}% of the traffic meets it, unjudged"
    assert weight
    assert told in endpoint.problems
    refusal = await room.seat.refused(ContinueRollout(room.seat.ref("changed")))
    assert "would begin anew with it" in refusal.reason
    # An abort on the status would be forgotten: the newer template begins a release of its own.
    plan = await room.plan(AbortRollout(room.seat.ref("changed")))
    assert [payload["resource"][2] for payload in payloads(plan)] == ["canaries", "httproutes"]
    assert (await room.seat.submit(plan)).kind == "applied"
    assert room.bench.weight("changed") == 0
    await room.seat.do(ContinueRollout(room.seat.ref("changed")))
    room.bench.until(lambda item: phase(item) == "Progressing" and item["status"]["canaryWeight"] == 0, "changed")


async def test_correction_6_a_promotion_without_analysis_is_done_when_the_primary_is_and_leaves_nothing_on(
    room: Room,
) -> None:
    bench = room.bench
    slow = {"metadata": {"annotations": {"mlrelease.test/ready-after": "3s"}}}
    template = {**slow, "spec": {"containers": [{"name": "model", "image": image("2")}]}}
    bench.on_deployment("patch", "deployment", "slow", "-p", json.dumps({"spec": {"template": template}}))
    bench.reach("Progressing", "slow")
    bench.rolled_out("slow")
    plan = await room.plan(PromoteVersion(room.seat.ref("slow"), full=True))
    stamp = Stamp("an-intent", "promote", SafeText("ana"), SafeText("now"), datetime.now(UTC))
    await room.seat.connector.perform(plan.steps[0], stamp)
    bench.reach("Succeeded", "slow")
    endpoint = await room.look("slow")
    assert endpoint.rollout.phase is Phase.PROGRESSING, "Flagger says Succeeded, the primary still rolls"
    assert any("skipAnalysis is set" in told for told in endpoint.problems)
    bench.rolled_out("slow-primary")
    assert (await room.look("slow")).stable is not None
    refusal = await room.seat.refused(PromoteVersion(room.seat.ref("slow"), "3"))
    assert "would get all traffic unjudged" in refusal.reason
    # As after a promotion that was cut short between its two writes.
    await room.seat.do(ContinueRollout(room.seat.ref("slow")))
    assert "skipAnalysis" not in bench.get("slow")["spec"]


async def test_correction_7_the_same_version_can_be_released_again_after_it_was_taken_back(room: Room) -> None:
    with room.bench.looking("again"):
        await room.seat.do(RollBack(room.seat.ref("again")))
        await room.seat.do(PromoteVersion(room.seat.ref("again"), "2"))
    assert phase(room.bench.get("again")) == "Progressing"


async def test_correction_8_an_opaque_refusal_is_told_as_what_moved_and_who_moved_it(room: Room) -> None:
    (write,) = (await room.plan(HoldRollout(room.seat.ref("guarded")))).steps
    await room.seat.connector.perform(write, Stamp("one", "hold", SafeText("ana"), SafeText("look"), datetime.now(UTC)))
    with pytest.raises(Conflict, match=r"spec\.suspend is true, not null.*hold by ana"):
        await room.seat.connector.perform(write, Stamp("two", "hold", SafeText("bo"), SafeText("look")))


async def test_correction_9_a_mirror_shows_as_a_shadow_that_answers_nobody(room: Room) -> None:
    endpoint = await room.look("mirrored")
    assert [(variant.role, variant.weight_bp) for variant in endpoint.variants] == [
        (Role.STABLE, 10_000),
        (Role.SHADOW, 0),
    ]


async def test_correction_10_a_failed_canary_is_written_at_each_look_and_its_silence_is_told(room: Room) -> None:
    before = room.bench.get("broken")["status"]["lastTransitionTime"]
    room.bench.until(lambda item: item["status"]["lastTransitionTime"] > before, "broken")
    endpoint = await room.look("broken")
    assert not any("is it running?" in told for told in endpoint.problems)
    endpoint = await room.later("broken", timedelta(hours=2))
    assert any("is it running?" in told for told in endpoint.problems)


async def test_correction_5_what_came_while_it_is_held_is_taken_back_whole(room: Room) -> None:
    await room.seat.do(HoldRollout(room.seat.ref("crept")))
    room.bench.release("crept", version="3")
    room.bench.rolled_out("crept")
    with room.bench.looking("crept"):
        await room.seat.do(RollBack(room.seat.ref("crept")))
    item = room.bench.get("crept")
    assert phase(item) == "Failed"
    assert item["status"]["lastAppliedSpec"] == item["status"]["lastPromotedSpec"]
    assert room.bench.weight("crept") == 0
    assert [variant.version for variant in (await room.look("crept")).variants] == ["1"]


# --- the traps


async def test_trap_1_a_route_that_somebody_changed_while_it_is_held_is_not_gone_on_from(room: Room) -> None:
    await room.seat.do(SetWeight(room.seat.ref("weighed"), 3000))
    room.bench.weigh("weighed", 97)
    refusal = await room.seat.refused(ContinueRollout(room.seat.ref("weighed")))
    assert "97%, not 30%" in refusal.reason
    await room.seat.do(SetWeight(room.seat.ref("weighed"), 1000))
    await room.seat.do(ContinueRollout(room.seat.ref("weighed")))
    room.bench.until(lambda item: item["status"]["canaryWeight"] == 30, "weighed")


async def test_trap_2_traffic_to_a_target_at_rest_is_said_and_can_be_taken_back(room: Room) -> None:
    room.bench.weigh("stray", 50)
    room.bench.look("stray")
    endpoint = await room.look("stray")
    assert any("50% of the traffic goes to stray, which has no pods" in told for told in endpoint.problems)
    refusal = await room.seat.refused(PromoteVersion(room.seat.ref("stray"), "2"))
    assert "a canary would begin from there" in refusal.reason
    await room.seat.do(AbortRollout(room.seat.ref("stray")))
    assert room.bench.weight("stray") == 0


async def test_trap_3_no_mark_of_ours_is_left_on_the_route_so_that_flagger_goes_on_from_its_weight(room: Room) -> None:
    before = room.bench.route("plain")
    await room.seat.do(SetWeight(room.seat.ref("plain"), 1000))
    after = room.bench.route("plain")
    assert before is not None
    assert after is not None
    assert after["metadata"].get("annotations") == before["metadata"].get("annotations")
    assert after["metadata"].get("labels") == before["metadata"].get("labels")
    noted = room.bench.get("plain")["metadata"]["annotations"]
    assert json.loads(noted["mlrelease.dev/stamp"])["verb"] == "weight"
    await room.seat.do(ContinueRollout(room.seat.ref("plain")))
    room.bench.until(lambda item: item["status"]["canaryWeight"] == 30, "plain")


async def test_trap_4_after_a_failed_promotion_nothing_begins_before_the_primary_is_repaired(room: Room) -> None:
    endpoint = await room.look("broken")
    assert endpoint.rollout.phase is Phase.DEGRADED
    assert (endpoint.rollout.from_version, endpoint.rollout.to_version) == ("1", "2")
    assert room.bench.weight("broken") == 100
    assert any("100% of the traffic goes to broken" in told for told in endpoint.problems)
    assert "would send everything there" in endpoint.support(Verb.RETRY).reason
    assert not endpoint.support(Verb.PROMOTE).available
    with room.bench.looking("broken"):
        await room.seat.do(RollBack(room.seat.ref("broken")))
    assert room.bench.weight("broken") == 0
    assert version_of(room.bench.deployment("broken-primary")) == "1"
    assert (await room.look("broken")).support(Verb.PROMOTE).available


async def test_traps_5_and_7_a_primary_that_was_taken_back_by_hand_stays_and_is_told_from_its_target(
    room: Room,
) -> None:
    bench = room.bench
    bench.release("parted")
    bench.until(begun, "parted")
    bench.promoted("parted")
    bench.on_deployment("rollout", "undo", "deployment/parted-primary")
    bench.rolled_out("parted-primary")
    bench.look("parted")
    item, endpoint = bench.get("parted"), await room.look("parted")
    assert item["status"]["lastAppliedSpec"] == item["status"]["lastPromotedSpec"]
    assert phase(item) == "Succeeded"
    assert endpoint.rollout.phase is Phase.DEGRADED
    assert (endpoint.rollout.from_version, endpoint.rollout.to_version) == ("1", "2")
    assert any("parted holds 2 and its primary runs 1" in told for told in endpoint.problems)
    bench.look("parted")
    assert version_of(bench.deployment("parted-primary")) == "1"
    with bench.looking("parted"):
        await room.seat.do(RollBack(room.seat.ref("parted")))
    assert version_of(bench.deployment("parted")) == "1"


async def test_trap_6_a_route_that_its_gateway_has_not_accepted_stops_flagger_and_the_abort_goes_by_the_route(
    room: Room,
) -> None:
    route = room.bench.route("halted")
    assert route is not None
    parent = {
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"},
        "controllerName": "example.com/a-test",
        "conditions": [
            {
                "type": "Accepted",
                "status": "False",
                "reason": "Pending",
                "message": "a test says so",
                "observedGeneration": route["metadata"]["generation"],
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    }
    body = {"status": {"parents": [parent]}}
    room.bench.api.patch(HTTP_ROUTES, room.bench.namespace, "halted", body, sub="status")
    endpoint = await room.look("halted")
    assert any("public has not accepted its route" in told for told in endpoint.problems)
    await room.seat.do(AbortRollout(room.seat.ref("halted")))
    assert room.bench.weight("halted") == 0
    assert room.bench.get("halted")["spec"]["suspend"] is True


async def test_trap_8_a_canary_is_not_scaled_while_a_promotion_would_copy_its_replicas(room: Room) -> None:
    refusal = await room.seat.refused(ScaleEndpoint(room.seat.ref("scaled"), 5))
    assert "copies the target over it" in refusal.reason


async def test_trap_9_a_deleted_canary_leaves_its_target_without_pods_as_an_endpoint_of_its_own(room: Room) -> None:
    bench = room.bench
    bench.kubectl("delete", "canaries.flagger.app", "deleted", "-n", bench.namespace)
    bench.api.gone(DEPLOYMENTS, bench.namespace, "deleted-primary", within_s=LONG_S)
    endpoint = await room.look("deleted")
    assert str(endpoint.native.kind) == "Deployment"
    assert [variant.desired for variant in endpoint.variants] == [0]


async def test_trap_11_no_write_of_ours_changes_how_often_flagger_looks(room: Room) -> None:
    ref = room.seat.ref("listed")
    for intent in (
        AbortRollout(ref),
        RollBack(ref),
        HoldRollout(ref),
        SetWeight(ref, 5000),
        PromoteVersion(ref, full=True),
    ):
        for payload in payloads(await room.plan(intent)):
            assert not [op for op in payload["patch"] if op["path"].startswith("/spec/analysis")]


async def test_trap_12_a_flagger_that_is_not_running_is_told_from_one_that_has_not_looked_yet(
    room: Room, flagger: Controller
) -> None:
    bench = room.bench
    with flagger.stopped():
        bench.release("unseen")
        endpoint = await room.look("unseen")
        assert endpoint.rollout.phase is Phase.UNKNOWN
        assert "has not looked yet: it does every" in endpoint.rollout.message
        assert not endpoint.problems
        endpoint = await room.later("unseen", timedelta(hours=1))
        assert "is it running?" in endpoint.rollout.message
        assert endpoint.problems == (endpoint.rollout.message,)
        refusal = await room.seat.refused(RetryRollout(room.seat.ref("unseen")))
        assert refusal.code == "unsupported"
        bench.made("new")
        endpoint = await room.later("new", timedelta(hours=1))
        assert (endpoint.native.phase, endpoint.rollout.phase) == ("no status", Phase.UNKNOWN)
        assert "is it running?" in endpoint.rollout.message
    bench.reach("Progressing", "unseen")
    assert (await room.look("unseen")).rollout.phase is Phase.PROGRESSING


async def test_what_belongs_to_a_canary_is_no_endpoint_of_its_own(room: Room) -> None:
    async def kinds() -> set[tuple[str, str]]:
        found = await room.seat.connector.endpoints()
        return {(str(endpoint.ref.name), str(endpoint.native.kind)) for endpoint in found}

    bench, manifest = room.bench, room.bench.get("listed")
    assert ("listed", "Canary") in await kinds()
    assert {kind for name, kind in await kinds() if name.startswith("listed")} == {"Canary"}
    # A Canary may be called otherwise than its target: nothing on that tells.
    bench.kubectl.apply(deployment("served", image("1"), replicas=1), namespace=bench.namespace)
    spec = {**manifest["spec"], "targetRef": {**manifest["spec"]["targetRef"], "name": "served"}}
    other = {"apiVersion": manifest["apiVersion"], "kind": "Canary", "metadata": {"name": "shop"}, "spec": spec}
    bench.kubectl.apply(other, namespace=bench.namespace)
    bench.reach("Initialized", "shop")
    for called in ("served", "deployment.served", "httproute.served"):
        with pytest.raises(NotFound, match="belongs to Canary shop"):
            await room.look(called)
    assert {called for called, _ in await kinds()} >= {"shop"}
    assert not {called for called, _ in await kinds()} & {"served", "served-primary"}
