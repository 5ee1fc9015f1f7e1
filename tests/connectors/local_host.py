"""A directory of local endpoints with its supervisor and a connector, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from mlrelease_tui.connectors.api import Artifact, Receipt, Settings
from mlrelease_tui.connectors.local.connector import LocalConnector
from mlrelease_tui.connectors.local.definitions import EndpointDefinition, define_endpoint
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.observed import Supervision, read_observed
from mlrelease_tui.connectors.local.ports import read_ports
from mlrelease_tui.connectors.local.processes import leftovers
from mlrelease_tui.connectors.local.setup import deploy, start_supervisor, wait_until_up
from mlrelease_tui.domain.expectation import EndpointExpectation, endpoint_mismatches
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Stamp, weights_of
from mlrelease_tui.domain.text import SafeText

SERVER = Path(__file__).with_name("local_model_server.py")
COMMAND = (
    sys.executable,
    "-S",
    "-E",
    str(SERVER),
    "--version={version}",
    "--port={port}",
    "--artifact={artifact}",
)
_intents = itertools.count(1)


def stamp(verb: str = "promote", *, by: str = "anna", why: str = "a test") -> Stamp:
    at = datetime.now(UTC)
    return Stamp(f"intent-{next(_intents)}", verb, SafeText(by), SafeText(why), at)


def definition(name: str = "iris", **options: object) -> EndpointDefinition:
    settings: dict[str, object] = {
        "command": COMMAND, "model": f"registry/{name}", "alias": "champion", "grace_s": 1.0,
    }  # fmt: skip
    return EndpointDefinition(name=name, **(settings | options))  # type: ignore[arg-type]


def connector_for(directory: Path, *, name: str = "here") -> LocalConnector:
    return LocalConnector(Settings(name=name, kind="local", options={"directory": str(directory)}))


@dataclass
class LocalHost:
    directory: Path
    connector: LocalConnector
    supervisor: subprocess.Popen[bytes]
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def layout(self) -> Layout:
        return Layout(self.directory)

    def ref(self, name: str = "iris") -> EndpointRef:
        return EndpointRef(self.connector.name, "local", name)

    async def read(self, name: str = "iris") -> Endpoint:
        return await self.connector.endpoint(self.ref(name))

    async def serve(
        self, version: str, *, name: str = "iris", artifact: str = "", weight_bp: int | None = None
    ) -> Endpoint:
        """Deploys the first version, or starts a canary."""
        found = Artifact(version, artifact or f"models:/{name}/{version}")
        return await deploy(self.connector, self.ref(name), found, stamp(), weight_bp=weight_bp)

    async def send(self, writes: tuple[Write, ...], mark: Stamp | None = None) -> list[Receipt]:
        """Performs each write as the executor does: what it assumes holds before, what it expects after."""
        receipts = []
        for write in writes:
            assumed = write.assumes
            assert isinstance(assumed, EndpointExpectation)
            assert endpoint_mismatches(assumed, await self.connector.endpoint(assumed.endpoint)) == (), write.call
            receipts.append(await self.connector.perform(write, mark or stamp()))
            await self.came_true(write)
        return receipts

    async def came_true(self, write: Write) -> None:
        expected = write.expects
        assert isinstance(expected, EndpointExpectation)
        deadline = time.monotonic() + write.settle_s
        while missing := endpoint_mismatches(expected, await self.connector.endpoint(expected.endpoint)):
            assert time.monotonic() < deadline, (write.call, missing)
            await asyncio.sleep(0.02)

    async def weights(self, name: str = "iris") -> dict[str, int]:
        return weights_of(await self.read(name))

    def supervision(self) -> Supervision:
        return read_observed(self.layout)

    def pid(self, variant: str, name: str = "iris") -> int:
        process = self.supervision().process(f"local/{name}", variant)
        return process.pid if process else 0

    def ports(self) -> list[int]:
        found = read_ports(self.layout)
        return sorted(found.taken())

    async def url(self, name: str = "iris") -> str:
        """What a client's base address is: paths as `/invocations` follow."""
        return (await self.read(name)).url.removesuffix("/invocations")

    async def start(self) -> None:
        self.supervisor = start_supervisor(self.directory, self.environ)
        await wait_until_up(self.directory, self.supervisor)

    async def kill_supervisor(self) -> None:
        self.supervisor.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self.supervisor.wait)

    async def stop(self) -> int:
        if self.supervisor.poll() is None:
            self.supervisor.send_signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(self.supervisor.wait, 20)
        except subprocess.TimeoutExpired:
            self.supervisor.kill()
            raise


@contextlib.asynccontextmanager
async def local_host(directory: Path, *definitions: EndpointDefinition) -> AsyncIterator[LocalHost]:
    """Ends with nothing running; fails where something is."""
    for item in definitions or (definition(),):
        define_endpoint(directory, item)
    host = LocalHost(directory, connector_for(directory), start_supervisor(directory, dict(os.environ)))
    try:
        await wait_until_up(directory, host.supervisor)
        yield host
    finally:
        await host.connector.close()
        await host.stop()
        left = leftovers(directory.resolve())
        for process in left:
            process.kill()
        assert left == ()


async def until(condition: Callable[[], Awaitable[bool]], *, deadline_s: float = 30.0) -> None:
    """Waits for a condition; fails the test when it does not come."""
    async with asyncio.timeout(deadline_s):
        while not await condition():
            await asyncio.sleep(0.02)


def listening(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(0.5)
        return client.connect_ex(("127.0.0.1", port)) == 0


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
