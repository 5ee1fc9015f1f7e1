"""What breaks between us and an API server while it is watched: found, told, mended, and no number is called fresh meanwhile."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.cluster.api import DEPLOYMENTS
from tests.cluster.control_plane import ADMIN, ControlPlane
from tests.cluster.manifests import deployment
from tests.cluster.reaching import Watching, connector, fails, opened, until, until_async
from tests.connectors.fault_proxy import (
    LOGIN_PAGE,
    Drip,
    FaultProxy,
    Reset,
    Says,
    Silent,
    Swallowed,
    Truncated,
    rate_limited,
    redirect,
)

from mlrelease_tui.connectors.kubernetes import api, lagging, mirror, session
from mlrelease_tui.errors import RateLimited, ReleaseError, TimedOut, UnexpectedAnswer, Unreachable

GONE = b'{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same behaviour on a shorter clock."""
    monkeypatch.setattr(mirror, "PULSE_S", 0.5)
    monkeypatch.setattr(session, "PULSE_TIMEOUT_S", 1.0)


@pytest.fixture
def place(control_plane: ControlPlane, namespace: str) -> Iterator[str]:
    """A namespace with one Deployment `fraud` that is ready."""
    control_plane.kubectl.apply(deployment("fraud", replicas=1), namespace=namespace)
    control_plane.api.wait(DEPLOYMENTS, namespace, "fraud", lambda item: item["status"].get("availableReplicas") == 1)
    yield namespace


def proxied(control_plane: ControlPlane) -> FaultProxy:
    parts = urlsplit(control_plane.url)
    assert parts.hostname is not None
    assert parts.port is not None
    tls = ssl.create_default_context(cafile=str(control_plane.authority.bundle))
    return FaultProxy(parts.hostname, parts.port, tls=tls)


def through(control_plane: ControlPlane, proxy: FaultProxy, folder: Path) -> Path:
    user = {"token": control_plane.token(ADMIN)}
    return control_plane.write_kubeconfig("through", user, server=proxy.url, folder=folder)


def scaled(control_plane: ControlPlane, namespace: str, replicas: int) -> None:
    control_plane.api.patch(DEPLOYMENTS, namespace, "fraud", {"spec": {"replicas": replicas}})


def test_a_killed_api_server_makes_rows_stale_and_its_return_makes_them_fresh(
    control_plane: ControlPlane, place: str
) -> None:
    async def whole() -> None:
        async with Watching(connector(control_plane.kubeconfig, namespaces=[place])) as watching:
            await watching.seen("fraud", lambda item: item.stable)
            control_plane.api_server.kill()
            killed = datetime.now(UTC)
            try:
                met = await fails(watching.connector)
                assert isinstance(met, Unreachable), met
                seen = watching.connector.seen_at()
                assert seen is not None
                assert seen <= killed + timedelta(seconds=1)
            finally:
                # From this thread: a program ends with the thread that started it.
                control_plane.api_server.start()
                await asyncio.to_thread(control_plane.wait_api_server)
            await asyncio.to_thread(scaled, control_plane, place, 2)
            await watching.seen("fraud", lambda item: item.stable and item.stable.ready == 2, within_s=60)
            after = watching.connector.seen_at()
            assert after is not None
            assert after > killed

    asyncio.run(whole())


def test_a_frozen_api_server_is_found_though_its_sockets_stay_open(control_plane: ControlPlane, place: str) -> None:
    async def whole() -> None:
        async with Watching(connector(control_plane.kubeconfig, namespaces=[place])) as watching:
            await watching.seen("fraud", lambda item: item.stable)
            with control_plane.api_server.frozen():
                frozen = datetime.now(UTC)
                met = await fails(watching.connector)
                assert isinstance(met, TimedOut), met
                seen = watching.connector.seen_at()
                assert seen is not None
                assert seen <= frozen + timedelta(seconds=0.1), "rows were called fresh while the server was frozen"
            await asyncio.to_thread(control_plane.wait_api_server)
            await asyncio.to_thread(scaled, control_plane, place, 3)
            await watching.seen("fraud", lambda item: item.stable and item.stable.ready == 3, within_s=60)

    asyncio.run(whole())


def test_a_watch_that_went_silent_alone_is_begun_again_and_nothing_is_called_down(
    control_plane: ControlPlane, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "WATCH_SILENCE_S", 2.0)

    async def whole() -> None:
        async with proxied(control_plane) as proxy:
            found = connector(through(control_plane, proxy, tmp_path), namespaces=[place])
            async with Watching(found) as watching:
                await watching.seen("fraud", lambda item: item.stable)
                begun = proxy.count("GET", "watch=1")

                def all_again() -> bool:
                    found.mirror.check()
                    return proxy.count("GET", "watch=1") >= 2 * begun

                await until(all_again, "the watches were not begun again")
                await asyncio.to_thread(scaled, control_plane, place, 2)
                await watching.seen("fraud", lambda item: item.stable and item.stable.ready == 2)

    asyncio.run(whole())


def test_a_watch_that_was_swallowed_alone_is_found_by_the_looks_of_whoever_acts(
    control_plane: ControlPlane, place: str, tmp_path: Path
) -> None:
    async def whole() -> None:
        async with proxied(control_plane) as proxy:
            proxy.on(Swallowed(), path="/deployments?watch=1", times=1)
            found = connector(through(control_plane, proxy, tmp_path), namespaces=[place])
            async with Watching(found) as watching:
                endpoint = await watching.seen("fraud", lambda item: item.stable)
                await asyncio.to_thread(scaled, control_plane, place, 2)

                async def told() -> bool:
                    await found.endpoint(endpoint.ref)
                    (row,) = await found.endpoints()
                    # Said by the Deployment alone: the ReplicaSets are watched as before.
                    return row.labels["replicas"] == "2"

                # Far below the 90 s after which silence alone is taken for a link that is gone.
                await until_async(told, lambda: "the row is as it was", within_s=30)
                assert proxy.count("GET", "/deployments?watch=1") == 2

    asyncio.run(whole())


def test_looks_at_what_the_watch_tells_begin_none_again(
    control_plane: ControlPlane, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lagging, "BEHIND_S", 0.2)

    async def whole() -> None:
        async with proxied(control_plane) as proxy:
            found = connector(through(control_plane, proxy, tmp_path), namespaces=[place])
            async with Watching(found) as watching:
                endpoint = await watching.seen("fraud", lambda item: item.stable)
                begun = proxy.count("GET", "watch=1")
                for _ in range(10):
                    await found.endpoint(endpoint.ref)
                    await asyncio.sleep(0.1)
                assert proxy.count("GET", "watch=1") == begun

    asyncio.run(whole())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (rate_limited("1"), RateLimited),
        (Says(500, b'{"kind":"Status","code":500,"message":"etcdserver: request timed out"}'), UnexpectedAnswer),
        (Says(504, b'{"kind":"Status","code":504,"message":"Too large resource version"}'), UnexpectedAnswer),
        (Reset(), Unreachable),
        (Silent(), TimedOut),
        (Drip(0.5), TimedOut),
        (LOGIN_PAGE, UnexpectedAnswer),
        (redirect("http://elsewhere.invalid/login"), UnexpectedAnswer),
        (Truncated(), (Unreachable, UnexpectedAnswer)),
    ],
    ids=["429", "500", "504", "reset", "silent", "drip", "login-page", "redirect", "truncated"],
)
def test_a_read_that_fails_says_what_it_met_and_the_next_one_goes_well(
    control_plane: ControlPlane, place: str, tmp_path: Path, fault: object, kind: type[ReleaseError]
) -> None:
    async def whole() -> None:
        async with proxied(control_plane) as proxy:
            config = through(control_plane, proxy, tmp_path)
            async with opened(connector(config, namespaces=[place], timeout_s=1.5)) as found:
                proxy.on(fault)  # type: ignore[arg-type]
                with pytest.raises(kind) as met:
                    await found.endpoints()
                assert control_plane.token(ADMIN) not in str(met.value)
                health = await found.probe()
                assert health.state in {"down"}
                assert not [item for item in proxy.requests if "elsewhere" in item.path]
                proxy.heal()
                assert [item.ref.name for item in await found.endpoints()] == ["fraud"]

    asyncio.run(whole())


def test_a_version_that_the_server_forgot_lists_anew(control_plane: ControlPlane, place: str, tmp_path: Path) -> None:
    async def whole() -> None:
        async with proxied(control_plane) as proxy:
            proxy.on(Says(410, GONE), path="watch=1", times=6)
            found = connector(through(control_plane, proxy, tmp_path), namespaces=[place])
            async with Watching(found) as watching:
                await asyncio.to_thread(scaled, control_plane, place, 2)
                await watching.seen("fraud", lambda item: item.stable and item.stable.ready == 2)
                # A storm of them is met with pauses: a few lists, not hundreds.
                assert proxy.count("GET", "limit=") < 40

    asyncio.run(whole())


def test_a_watch_that_is_told_to_wait_waits(control_plane: ControlPlane, place: str, tmp_path: Path) -> None:
    async def whole() -> None:
        async with proxied(control_plane) as proxy:
            proxy.on(rate_limited("2"), path="/deployments?watch=1", times=1)
            loop = asyncio.get_running_loop()
            began = loop.time()
            async with Watching(connector(through(control_plane, proxy, tmp_path), namespaces=[place])):
                assert loop.time() - began >= 2.0
                assert proxy.count("GET", "/deployments?watch=1") == 2

    asyncio.run(whole())


def test_what_is_read_and_watched_at_once_is_listed_once(
    control_plane: ControlPlane, place: str, tmp_path: Path
) -> None:
    async def whole() -> None:
        async with proxied(control_plane) as proxy:
            found = connector(through(control_plane, proxy, tmp_path), namespaces=[place])
            changes = found.changed()
            try:
                rows, _ = await asyncio.gather(found.endpoints(), anext(changes))
                assert [item.ref.name for item in rows] == ["fraud"]
                assert proxy.count("GET", "/deployments?limit=") == 1
                assert proxy.count("GET", "/replicasets?limit=") == 1
            finally:
                await changes.aclose()  # type: ignore[attr-defined]
                await found.close()

    asyncio.run(whole())
