"""Admission webhooks between us and what we write: a no, a no to the real write alone, one that is down, one that writes another
value. Real ones, which the API server asks over HTTPS."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cluster.admission import HOOK, Admission, allowed, denied, patched
from tests.cluster.api import DEPLOYMENTS, Json, condition
from tests.cluster.argo_bench import seated
from tests.cluster.control_plane import ADMIN, ControlPlane
from tests.cluster.manifests import deployment

from mlrelease_tui.domain.intents import RollBack
from mlrelease_tui.domain.plan import CheckStatus, OutcomeKind, StepStatus

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

NAME = "fraud"
IMAGE = "registry.example/fraud"
WORDS = "frozen until Monday, says the release board"


@pytest.fixture
def guard(control_plane: ControlPlane, namespace: str) -> Admission:
    """A webhook for the namespace's Deployments, with `fraud` on version 2 that was promoted from 1."""
    for version in ("1", "2"):
        item = deployment(NAME, f"{IMAGE}:{version}", replicas=1)
        control_plane.kubectl.apply(item, namespace=namespace)
        control_plane.api.wait(DEPLOYMENTS, namespace, NAME, rolled_out)
    return Admission(control_plane, namespace, "apps", "deployments")


def rolled_out(item: Json) -> bool:
    seen = item.get("status", {}).get("observedGeneration") == item["metadata"]["generation"]
    return bool(seen and condition(item, "Progressing").get("reason") == "NewReplicaSetAvailable")


def image(guard: Admission) -> str:
    item = guard.control_plane.api.get(DEPLOYMENTS, guard.namespace, NAME)
    return str(item["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]


def writes_since(guard: Admission, mark: int) -> list[str]:
    """Requests of ours that could have written to the Deployment: dry runs are none."""
    asked = guard.control_plane.requests(mark, user=ADMIN)
    return [item.uri for item in asked if item.writes and "deployments" in item.uri]


async def test_a_no_is_shown_at_the_dry_run_with_the_webhooks_name_and_words_and_nothing_is_written(
    guard: Admission, tmp_path: Path
) -> None:
    with guard.running():
        guard.judge = denied(WORDS)
        guard.wait_in_force(DEPLOYMENTS, NAME)
        mark = guard.control_plane.audit_mark()
        async with seated(guard.control_plane.kubeconfig, guard.namespace, tmp_path) as seat:
            refusal = await seat.refused(RollBack(seat.ref(NAME), "1"))
        assert refusal.code == "preflight"
        assert HOOK in refusal.reason
        assert WORDS in refusal.reason
        assert writes_since(guard, mark) == []
    assert image(guard) == "2"


@pytest.mark.parametrize("code", [403, 400, 422, 500])
async def test_a_no_to_the_real_write_alone_ends_as_rejected_whatever_its_status(
    guard: Admission, tmp_path: Path, code: int
) -> None:
    with guard.running():
        guard.judge = denied(WORDS, dry_runs=False, code=code)
        guard.wait_in_force(DEPLOYMENTS, NAME)
        async with seated(guard.control_plane.kubeconfig, guard.namespace, tmp_path) as seat:
            outcome = await seat.submit(await seat.plan(RollBack(seat.ref(NAME), "1")))
            assert outcome.kind is OutcomeKind.REJECTED, outcome
            assert HOOK in outcome.message
            assert WORDS in outcome.message
            assert "nothing was changed" in outcome.message
            assert not outcome.overtaken
    assert image(guard) == "2"


async def test_one_that_is_down_refuses_the_plan_and_one_that_dies_later_the_write(
    guard: Admission, tmp_path: Path
) -> None:
    def gone(request: Json) -> Json:
        raise ConnectionResetError

    with guard.running():
        guard.wait_in_force(DEPLOYMENTS, NAME)
        async with seated(guard.control_plane.kubeconfig, guard.namespace, tmp_path) as seat:
            plan = await seat.plan(RollBack(seat.ref(NAME), "1"))
            guard.judge = gone
            outcome = await seat.submit(plan)
            assert outcome.kind is OutcomeKind.REJECTED, outcome
            assert "failed calling webhook" in outcome.message
            assert HOOK in outcome.message
            refusal = await seat.refused(RollBack(seat.ref(NAME), "1"))
            assert (refusal.code, HOOK in refusal.reason) == ("preflight", True)
            guard.judge = allowed
            assert image(guard) == "2"
            await seat.do(RollBack(seat.ref(NAME), "1"))
    assert image(guard) == "1"


async def test_one_that_writes_another_value_is_seen_at_the_dry_run_and_the_write_is_not_called_done(
    guard: Admission, tmp_path: Path
) -> None:
    other = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": f"{IMAGE}:9"}
    with guard.running(mutating=True):
        guard.wait_in_force(DEPLOYMENTS, NAME)
        async with seated(guard.control_plane.kubeconfig, guard.namespace, tmp_path) as seat:
            guard.judge = patched(other)
            plan = await seat.plan(RollBack(seat.ref(NAME), "1"))
            warned = [check.text for check in plan.checks if check.status is CheckStatus.WARN]
            told = f'image = "{IMAGE}:9" instead of "{IMAGE}:1"'
            assert any(told in text for text in warned), plan.checks
            outcome = await seat.submit(plan)
            assert (outcome.kind, outcome.steps[0].status) == (OutcomeKind.FAILED, StepStatus.FAILED), outcome
            assert "the server wrote something else" in outcome.message
            assert told in outcome.message
            assert (await seat.look(NAME)).rollout.to_version == "9"


async def test_one_that_adds_something_beside_takes_nothing_from_the_outcome(guard: Admission, tmp_path: Path) -> None:
    beside = {"op": "add", "path": "/metadata/labels/seen-by", "value": "guard"}
    with guard.running(mutating=True):
        guard.wait_in_force(DEPLOYMENTS, NAME)
        guard.judge = patched(beside)
        async with seated(guard.control_plane.kubeconfig, guard.namespace, tmp_path) as seat:
            plan = await seat.plan(RollBack(seat.ref(NAME), "1"))
            assert not [check for check in plan.checks if check.status is CheckStatus.WARN], plan.checks
            assert (await seat.submit(plan)).kind is OutcomeKind.APPLIED


async def test_its_words_reach_the_screen_without_their_control_characters(guard: Admission, tmp_path: Path) -> None:
    with guard.running():
        guard.judge = denied("no\x1b]52;c;aGk=\x07 \u202ereally[bold]")
        guard.wait_in_force(DEPLOYMENTS, NAME)
        async with seated(guard.control_plane.kubeconfig, guard.namespace, tmp_path) as seat:
            refusal = await seat.refused(RollBack(seat.ref(NAME), "1"))
    assert HOOK in refusal.reason
    assert not {"\x1b", "\x07", "\u202e"} & set(refusal.reason)
