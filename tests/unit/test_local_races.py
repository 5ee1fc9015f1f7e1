"""One operator ends a process while another gives it traffic: whoever comes first, no request goes to what is about to end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mlrelease_tui.connectors.api import Artifact, Settings
from mlrelease_tui.connectors.local.connector import LocalConnector
from mlrelease_tui.connectors.local.definitions import EndpointDefinition, define_endpoint
from mlrelease_tui.connectors.local.desired import Mark, WantedProcess, change_desired, read_desired
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.ports import write_ports
from mlrelease_tui.connectors.local.processes import start_ticks
from mlrelease_tui.connectors.local.writes import PROCESSES, ROUTE
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Stamp
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict, Rejected
from mlrelease_tui.routing.traefik_directory import RoutesDirectory
from mlrelease_tui.routing.traefik_process import TraefikAddresses

KEY = "local/iris"
STAMP = Stamp("intent-2", "promote", SafeText("anna"), SafeText(""))


async def healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A model server that answers to its very end."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


@pytest.fixture
async def layout(tmp_path: Path) -> AsyncIterator[Layout]:
    """An endpoint whose version 1 runs and is wanted, and has no route yet. No router runs."""
    server = await asyncio.start_server(healthy, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = Layout(tmp_path / "site")
    define_endpoint(found.directory, EndpointDefinition("iris", ("serve", "{port}"), model="registry/iris"))
    wanted(found, 0, {"v1": WantedProcess("1", "models:/iris/1")})
    write_ports(found, TraefikAddresses(18_000, 18_001), {KEY: {"v1": port}})
    us = {"pid": os.getpid(), "started": start_ticks(os.getpid())}
    process = {"version": "1", "state": "ready", "port": port, **us}
    shape = {"format": 1, "supervisor": us, "router": process, "endpoints": {KEY: {"v1": process}}}
    found.observed.write_text(json.dumps(shape))
    RoutesDirectory(found.routes).begin()
    yield found
    server.close()


@pytest.fixture
async def connector(layout: Layout) -> AsyncIterator[LocalConnector]:
    found = LocalConnector(Settings("here", "local", {"directory": str(layout.directory)}, timeout_s=1.0))
    yield found
    await found.close()


def wanted(layout: Layout, generation: int, processes: Mapping[str, WantedProcess]) -> None:
    change_desired(layout, KEY, generation, lambda _: processes, Mark("intent-1"), lock_s=1.0)


async def planned(connector: LocalConnector, version: str) -> tuple[Write, ...]:
    return connector.start(await connector.endpoint(EndpointRef("here", "local", "iris")), Artifact(version), None)


async def test_what_shall_end_gets_no_traffic_though_it_still_answers(
    layout: Layout, connector: LocalConnector
) -> None:
    (write,) = await planned(connector, "1")
    assert write.operation == ROUTE
    wanted(layout, 1, {})
    with pytest.raises(Rejected, match="nothing was changed"):
        await connector.perform(write, STAMP)
    assert RoutesDirectory(layout.routes).file.read_text() == "{}\n"


async def test_nothing_is_ended_while_somebody_writes_the_routes(layout: Layout, connector: LocalConnector) -> None:
    add, *_ = await planned(connector, "2")
    assert add.operation == PROCESSES
    identity = {name: json.loads(add.payload)[name] for name in ("endpoint", "uid", "expect")}
    remove = replace(add, payload=json.dumps({**identity, "remove": ["v1"]}))
    with held(layout.routes), pytest.raises(Conflict, match="another writer"):
        await connector.perform(remove, STAMP)
    assert list(read_desired(layout)[KEY].processes) == ["v1"]
    await connector.perform(remove, STAMP)
    assert list(read_desired(layout)[KEY].processes) == []


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)
