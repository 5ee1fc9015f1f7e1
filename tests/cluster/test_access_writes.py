"""Writes of somebody whose rights or credential do not reach that far, and writes at a server that is in trouble."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.cluster.api import DEPLOYMENTS, Json
from tests.cluster.argo_bench import Seat, seated
from tests.cluster.control_plane import ADMIN, ControlPlane
from tests.cluster.manifests import deployment
from tests.connectors.fault_proxy import FaultProxy, Says

from mlrelease_tui.actions import executor
from mlrelease_tui.domain.intents import RestartEndpoint, ScaleEndpoint
from mlrelease_tui.domain.plan import OutcomeKind, Refusal

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

NAME = "fraud"
MODEL = {"mlrelease.dev/model": "fraud"}


@pytest.fixture
def place(control_plane: ControlPlane, namespace: str) -> str:
    """A namespace with one Deployment `fraud` that is ready."""
    control_plane.kubectl.apply(deployment(NAME, replicas=1, annotations=MODEL), namespace=namespace)
    control_plane.api.wait(DEPLOYMENTS, namespace, NAME, lambda item: item["status"].get("availableReplicas") == 1)
    return namespace


def replicas(control_plane: ControlPlane, namespace: str) -> int:
    item: Json = control_plane.api.get(DEPLOYMENTS, namespace, NAME)
    return int(item["spec"]["replicas"])


def reading_account(control_plane: ControlPlane, namespace: str, *, valid_s: float = 3600.0) -> str:
    """The token of a ServiceAccount that may read what is in its namespace, and ask what it may."""
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}
    control_plane.kubectl.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reads"}}, namespace=namespace
    )
    control_plane.kubectl.apply(
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": {"name": "reads"}, "rules": [rule]},
        namespace=namespace,
    )
    subject = {"kind": "ServiceAccount", "name": "reads", "namespace": namespace}
    control_plane.kubectl.apply(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "reads"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "reads"},
            "subjects": [subject],
        },
        namespace=namespace,
    )
    account = json.loads(control_plane.kubectl("get", "serviceaccount", "reads", "-n", namespace, "-o", "json"))
    return control_plane.tokens.token(namespace, "reads", account["metadata"]["uid"], valid_s=valid_s)


async def test_a_read_only_service_account_sees_everything_and_is_told_which_right_it_lacks(
    control_plane: ControlPlane, place: str, tmp_path: Path
) -> None:
    token = reading_account(control_plane, place)
    config = control_plane.write_kubeconfig("reads", {"token": token}, namespace=place, folder=tmp_path)
    me = f"system:serviceaccount:{place}:reads"
    mark = control_plane.audit_mark()
    async with seated(config, place, tmp_path / "audit") as seat:
        assert (await seat.connector.probe()).identity == me
        assert [str(item.ref.name) for item in await seat.connector.endpoints()] == [NAME]
        scaling = await seat.refused(ScaleEndpoint(seat.ref(NAME), 2))
        assert scaling.code == "preflight"
        assert f"we may not patch deployments/scale in {place}" in scaling.reason
        restarting = await seat.refused(RestartEndpoint(seat.ref(NAME)))
        assert f"we may not patch deployments in {place}" in restarting.reason
    asked = control_plane.requests(mark, user=me)
    assert asked
    assert not [item for item in asked if item.writes]


async def test_rights_that_are_taken_away_after_the_plan_end_as_rejected(
    control_plane: ControlPlane, place: str, tmp_path: Path
) -> None:
    control_plane.grant(place)
    config = control_plane.write_kubeconfig(
        "tenant", {"token": control_plane.token("tenant")}, namespace=place, folder=tmp_path
    )
    async with seated(config, place, tmp_path / "audit") as seat:
        plan = await seat.plan(ScaleEndpoint(seat.ref(NAME), 2))
        role = {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]}
        control_plane.kubectl("patch", "role", "mlrelease-test-tenant", "-n", place, "-p", json.dumps(role))
        outcome = await seat.submit(plan)
        assert outcome.kind is OutcomeKind.REJECTED, outcome
        assert "cannot patch resource" in outcome.message
    assert replicas(control_plane, place) == 1


async def test_a_token_that_ends_after_the_plan_sends_nothing_and_a_new_one_is_taken_up(
    control_plane: ControlPlane, place: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(control_plane.token(ADMIN))
    config = control_plane.write_kubeconfig("ending", {"tokenFile": "token"}, folder=tmp_path)
    async with seated(config, place, tmp_path / "audit") as seat:
        plan = await seat.plan(ScaleEndpoint(seat.ref(NAME), 2))
        file.write_text("a token that ended")
        mark = control_plane.audit_mark()
        refusal = await seat.desk.submit(plan, why="a test", typed=NAME)
        assert isinstance(refusal, Refusal), refusal
        assert refusal.code == "unauthenticated"
        assert not [item for item in control_plane.requests(mark) if item.writes]
        file.write_text(control_plane.token(ADMIN))
        assert (await seat.submit(plan)).kind is OutcomeKind.APPLIED
    assert replicas(control_plane, place) == 2


def _status(code: int, message: str, reason: str = "") -> Says:
    body = {"kind": "Status", "status": "Failure", "message": message, "code": code, "reason": reason}
    return Says(code, json.dumps(body).encode(), {"Content-Type": "application/json", "Retry-After": "1"})


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (_status(401, "Unauthorized", "Unauthorized"), "Unauthorized"),
        (_status(409, "the object has been modified", "Conflict"), "the object has been modified"),
        (_status(410, "gone", "Gone"), "gone"),
        (_status(429, "too many requests", "TooManyRequests"), "too many requests"),
    ],
    ids=["401", "409", "410", "429"],
)
async def test_a_write_that_the_server_does_not_take_is_rejected_and_sent_once(
    control_plane: ControlPlane, place: str, tmp_path: Path, fault: Says, said: str
) -> None:
    async with troubled(control_plane) as proxy, seat_behind(control_plane, proxy, place, tmp_path) as seat:
        plan = await seat.plan(ScaleEndpoint(seat.ref(NAME), 2))
        before = sent(proxy)
        proxy.on(fault, method="PATCH")
        outcome = await seat.submit(plan)
        assert outcome.kind is OutcomeKind.REJECTED, outcome
        assert said in outcome.message
        assert sent(proxy) - before == 1
        proxy.heal()
        assert (await seat.do(ScaleEndpoint(seat.ref(NAME), 2))).kind is OutcomeKind.APPLIED


async def test_a_write_of_which_the_server_cant_say_is_looked_for_and_found_not_to_have_happened(
    control_plane: ControlPlane, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same behaviour on a shorter clock.
    monkeypatch.setattr(executor, "LOST_ANSWER_S", 3.0)
    async with troubled(control_plane) as proxy, seat_behind(control_plane, proxy, place, tmp_path) as seat:
        plan = await seat.plan(ScaleEndpoint(seat.ref(NAME), 2))
        before = sent(proxy)
        proxy.on(_status(500, "etcdserver: request timed out"), method="PATCH")
        outcome = await seat.submit(plan)
        assert outcome.kind is OutcomeKind.REJECTED, outcome
        assert "reads show that it was not applied" in outcome.message
        assert sent(proxy) - before == 1
        # Far below the 300 s that the effect of a write may take to be seen.
        assert outcome.duration_s < 100
    assert replicas(control_plane, place) == 1


async def test_a_server_that_freezes_before_the_write_is_refused_and_nothing_is_sent(
    control_plane: ControlPlane, place: str, tmp_path: Path
) -> None:
    async with seated(control_plane.kubeconfig, place, tmp_path, timeout_s=2.0) as seat:
        plan = await seat.plan(ScaleEndpoint(seat.ref(NAME), 2))
        with control_plane.api_server.frozen():
            refusal = await seat.desk.submit(plan, why="a test", typed=NAME)
        assert isinstance(refusal, Refusal), refusal
        assert refusal.code == "timed_out"
        await asyncio.to_thread(control_plane.wait_api_server)
        assert replicas(control_plane, place) == 1
        assert (await seat.submit(plan)).kind is OutcomeKind.APPLIED


async def test_a_server_that_freezes_while_a_write_is_verified_is_waited_for(
    control_plane: ControlPlane, place: str, tmp_path: Path
) -> None:
    async with seated(control_plane.kubeconfig, place, tmp_path, timeout_s=2.0) as seat:
        plan = await seat.plan(ScaleEndpoint(seat.ref(NAME), 2))
        perform = seat.connector.perform
        thawing: list[asyncio.Task[None]] = []

        async def frozen_after(write: object, stamp: object) -> object:
            receipt = await perform(write, stamp)  # type: ignore[arg-type]
            thawing.append(asyncio.create_task(thawed(control_plane, 4.0)))
            await asyncio.sleep(0)
            return receipt

        seat.connector.perform = frozen_after  # type: ignore[method-assign,assignment]
        outcome = await seat.submit(plan)
        await asyncio.gather(*thawing)
        assert outcome.kind is OutcomeKind.APPLIED, outcome
    assert replicas(control_plane, place) == 2


async def thawed(control_plane: ControlPlane, after_s: float) -> None:
    with control_plane.api_server.frozen():
        await asyncio.sleep(after_s)


def troubled(control_plane: ControlPlane) -> FaultProxy:
    parts = urlsplit(control_plane.url)
    tls = ssl.create_default_context(cafile=str(control_plane.authority.bundle))
    return FaultProxy(str(parts.hostname), int(parts.port or 0), tls=tls)


def seat_behind(
    control_plane: ControlPlane, proxy: FaultProxy, place: str, folder: Path
) -> AbstractAsyncContextManager[Seat]:
    user = {"token": control_plane.token(ADMIN)}
    config = control_plane.write_kubeconfig("through", user, server=proxy.url, folder=folder)
    return seated(config, place, folder / "audit", timeout_s=5.0)


def sent(proxy: FaultProxy) -> int:
    """Requests that could have written."""
    return sum(item.method == "PATCH" and "dryRun" not in item.path for item in proxy.requests)
