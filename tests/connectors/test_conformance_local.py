"""The conformance kit on local endpoints: supervised processes behind a real Traefik."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.connectors.local_host import COMMAND, connector_for, definition, stamp

from mlrelease_tui.connectors.api import Artifact, Connector
from mlrelease_tui.connectors.conformance import (
    HOSTILE,
    FailureConformance,
    LogConformance,
    PlanningConformance,
    TargetConformance,
    WritingConformance,
)
from mlrelease_tui.connectors.conformance.looking import assert_says
from mlrelease_tui.connectors.local.connector import LocalConnector
from mlrelease_tui.connectors.local.definitions import define_endpoint
from mlrelease_tui.connectors.local.processes import leftovers
from mlrelease_tui.connectors.local.setup import deploy, start_supervisor, wait_until_up
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Hold
from mlrelease_tui.domain.text import SafeText

pytestmark = pytest.mark.real

_NAMES = [f"e{number}" for number in range(12)]
_CHATTY = "chatty"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with many endpoints, its supervisor and its router; nothing is deployed."""
    folder = tmp_path_factory.mktemp("site")
    for name in _NAMES:
        define_endpoint(folder, definition(name, labels={"note": HOSTILE}))
    printed = folder / "printed"
    lines = [*(f"line {number}" for number in range(30)), HOSTILE, "x" * 20_000, "at the end"]
    printed.write_bytes("\n".join(lines).encode() + b"\n\xff\xfe no UTF-8\n")
    chatty = ("/bin/sh", "-c", 'cat "$0"; exec "$@"', str(printed), *COMMAND)
    define_endpoint(folder, definition(_CHATTY, command=chatty))
    supervisor = start_supervisor(folder, dict(os.environ))
    try:
        asyncio.run(wait_until_up(folder, supervisor, deadline_s=60))
        yield folder
    finally:
        supervisor.terminate()
        try:
            supervisor.wait(30)
        except subprocess.TimeoutExpired:
            supervisor.kill()
        left = leftovers(folder.resolve())
        for process in left:
            process.kill()
    assert left == ()


@pytest.fixture(scope="module")
def name(site: Path) -> Callable[[], str]:
    """An endpoint that no other test has."""
    free = iter(_NAMES)
    return lambda: next(free)


async def serving(connector: LocalConnector, name: str, *versions: str) -> EndpointRef:
    """Deploys the versions one after another, the second as a canary at 10%."""
    ref = EndpointRef(connector.name, "local", name)
    for version, weight in zip(versions, (None, 1000), strict=False):
        await deploy(connector, ref, Artifact(version, f"models:/iris/{version}"), stamp(), weight_bp=weight)
    return ref


@pytest.fixture(scope="module")
def moving(site: Path, name: Callable[[], str]) -> EndpointRef:
    """An endpoint with a canary, to look at."""

    async def deployed() -> EndpointRef:
        connector = connector_for(site)
        ref = await serving(connector, name(), "1", "2")
        await connector.close()
        return ref

    return asyncio.run(deployed())


@pytest.fixture(scope="module")
def observed(site: Path, name: Callable[[], str]) -> Mapping[str, Endpoint]:
    async def read() -> Mapping[str, Endpoint]:
        connector = connector_for(site)
        going = await serving(connector, name(), "1", "2")
        rest = await serving(connector, name(), "1")
        found = {
            "in flight": await connector.endpoint(going),
            "at rest": await connector.endpoint(rest),
            "empty": await connector.endpoint(EndpointRef(connector.name, "local", name())),
        }
        for write in connector.hold(found["in flight"], Hold(SafeText("ana"), SafeText("a test"))):
            await connector.perform(write, stamp("hold"))
        found["held"] = await connector.endpoint(going)
        await connector.close()
        return found

    return asyncio.run(read())


@pytest.fixture(scope="module")
def chatty(site: Path) -> EndpointRef:
    """An endpoint whose process has printed much, hostile text among it."""

    async def deployed() -> EndpointRef:
        connector = connector_for(site)
        ref = await serving(connector, _CHATTY, "1")
        await connector.close()
        return ref

    return asyncio.run(deployed())


class _Local:
    @pytest.fixture
    async def connector(self, site: Path) -> AsyncIterator[Connector]:
        connector = connector_for(site)
        yield connector
        await connector.close()


class TestTarget(_Local, TargetConformance):
    @pytest.fixture
    def endpoint(self, moving: EndpointRef) -> EndpointRef:
        return moving

    async def test_the_hostile_text_is_there(self, connector: LocalConnector, endpoint: EndpointRef) -> None:
        assert_says(await connector.endpoint(endpoint), HOSTILE)


class TestPlanning(_Local, PlanningConformance):
    @pytest.fixture
    def situations(self, observed: Mapping[str, Endpoint]) -> Mapping[str, Endpoint]:
        return observed

    @pytest.fixture
    def artifact(self) -> Artifact:
        return Artifact("7", "models:/iris/7")


class TestWriting(_Local, WritingConformance):
    @pytest.fixture
    async def endpoint(self, connector: LocalConnector, name: Callable[[], str]) -> EndpointRef:
        return await serving(connector, name(), "1", "2")


class TestLogs(_Local, LogConformance):
    @pytest.fixture
    def endpoint(self, chatty: EndpointRef) -> EndpointRef:
        return chatty

    @pytest.fixture
    def variant(self) -> str:
        return "v1"


class TestFailures(FailureConformance):
    failures = ("no folder", "no supervisor", "no JSON")

    @pytest.fixture
    def deadline_s(self) -> float:
        return 2.0

    @pytest.fixture
    async def failing(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Connector]:
        folder = tmp_path / "site"
        if request.param != "no folder":
            define_endpoint(folder, definition("iris"))
        if request.param == "no JSON":
            for path in itertools.chain(folder.glob("*.json")):
                path.write_text("{'not JSON\x1b[31m")
        connector = connector_for(folder)
        yield connector
        await connector.close()
