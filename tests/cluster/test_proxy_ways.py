"""Through an HTTP proxy, as companies have one: reads, watches and writes, a proxy that wants a password, one that is gone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.cluster.api import DEPLOYMENTS, Json
from tests.cluster.argo_bench import seated
from tests.cluster.connect_proxy import ConnectProxy
from tests.cluster.control_plane import ADMIN, ControlPlane
from tests.cluster.manifests import deployment
from tests.cluster.processes import Ports
from tests.cluster.reaching import Watching, connector, fails, opened

from mlrelease_tui.connectors.kubernetes import mirror, session
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.intents import ScaleEndpoint
from mlrelease_tui.domain.plan import OutcomeKind
from mlrelease_tui.errors import TimedOut, Unreachable

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

NAME = "fraud"
PASSWORD = "hunter2hunter2"


@pytest.fixture
def place(control_plane: ControlPlane, namespace: str) -> str:
    """A namespace with one Deployment `fraud` that is ready."""
    control_plane.kubectl.apply(
        deployment(NAME, replicas=1, annotations={"mlrelease.dev/model": NAME}), namespace=namespace
    )
    control_plane.api.wait(DEPLOYMENTS, namespace, NAME, lambda item: item["status"].get("availableReplicas") == 1)
    return namespace


def behind(control_plane: ControlPlane, folder: Path, proxy: str) -> Path:
    """A kubeconfig whose cluster is behind a proxy."""
    config = control_plane.write_kubeconfig("behind", {"token": control_plane.token(ADMIN)}, folder=folder)
    content = json.loads(config.read_text())
    content["clusters"][0]["cluster"]["proxy-url"] = proxy
    config.write_text(json.dumps(content))
    return config


def replicas(control_plane: ControlPlane, namespace: str) -> int:
    item: Json = control_plane.api.get(DEPLOYMENTS, namespace, NAME)
    return int(item["spec"]["replicas"])


async def test_reads_watches_and_writes_go_through_the_proxy_of_the_kubeconfig_and_nowhere_else(
    control_plane: ControlPlane, place: str, tmp_path: Path
) -> None:
    async with ConnectProxy() as proxy:
        config = behind(control_plane, tmp_path, proxy.url)
        async with Watching(connector(config, namespaces=[place])) as watching:
            await watching.seen(NAME, lambda item: item.stable and item.stable.ready == 1)
            await asyncio.to_thread(control_plane.api.patch, DEPLOYMENTS, place, NAME, {"spec": {"replicas": 2}})
            await watching.seen(NAME, lambda item: item.stable and item.stable.ready == 2)
        async with seated(config, place, tmp_path / "audit") as seat:
            assert (await seat.do(ScaleEndpoint(seat.ref(NAME), 3))).kind is OutcomeKind.APPLIED
        assert set(proxy.tunnels) == {f"127.0.0.1:{control_plane.port}"}
    assert replicas(control_plane, place) == 3


async def test_a_proxy_that_wants_a_password_is_named_and_no_request_goes_around_it(
    control_plane: ControlPlane, place: str, tmp_path: Path
) -> None:
    async with ConnectProxy(f"anna:{PASSWORD}") as proxy:
        mark = control_plane.audit_mark()
        async with opened(connector(behind(control_plane, tmp_path, proxy.url), namespaces=[place])) as found:
            health = await found.probe()
            assert (health.state, health.error_code) == (LinkState.DOWN, "unreachable")
            assert proxy.url in health.error
            assert "407" in health.error
            assert "proxy-url" in health.hint
        assert proxy.refused
        assert control_plane.requests(mark) == []


async def test_the_password_of_a_proxy_opens_it_and_is_shown_nowhere(
    control_plane: ControlPlane, place: str, tmp_path: Path
) -> None:
    async with ConnectProxy(f"anna:{PASSWORD}") as proxy:
        known = proxy.url.replace("//", f"//anna:{PASSWORD}@")
        async with opened(connector(behind(control_plane, tmp_path, known), namespaces=[place])) as found:
            health = await found.probe()
            assert health.state is LinkState.OK, health.error
            assert [str(item.ref.name) for item in await found.endpoints()] == [NAME]
        assert (proxy.refused, bool(proxy.tunnels)) == (0, True)
        wrong = proxy.url.replace("//", f"//anna:not-{PASSWORD}@")
        async with opened(connector(behind(control_plane, tmp_path, wrong), namespaces=[place])) as found:
            refused = await found.probe()
        assert refused.state is LinkState.DOWN
        for told in (health, refused):
            assert PASSWORD not in f"{told} {told.error} {told.hint} {told.warnings}"


async def test_a_proxy_that_is_gone_is_named(control_plane: ControlPlane, tmp_path: Path) -> None:
    (port,) = Ports().free(1)
    gone = f"http://127.0.0.1:{port}"
    async with opened(connector(behind(control_plane, tmp_path, gone))) as found:
        health = await found.probe()
    assert (health.state, health.error_code) == (LinkState.DOWN, "unreachable")
    assert gone in health.error


async def test_tunnels_that_are_cut_make_rows_stale_and_come_back(
    control_plane: ControlPlane, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "PULSE_S", 0.5)
    monkeypatch.setattr(session, "PULSE_TIMEOUT_S", 1.0)
    async with (
        ConnectProxy() as proxy,
        Watching(connector(behind(control_plane, tmp_path, proxy.url), namespaces=[place])) as watching,
    ):
        await watching.seen(NAME, lambda item: item.stable)
        with control_plane.api_server.frozen():
            proxy.cut()
            assert isinstance(await fails(watching.connector), Unreachable | TimedOut)
        await asyncio.to_thread(control_plane.wait_api_server)
        await asyncio.to_thread(control_plane.api.patch, DEPLOYMENTS, place, NAME, {"spec": {"replicas": 2}})
        await watching.seen(NAME, lambda item: item.stable and item.stable.ready == 2, within_s=60)
