"""Documents of local endpoints that another hand edited, replaced or took away: named as such, never followed, never a crash."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.local_model import LAYOUT
from tests.unit.test_local_planning import canary

from mlrelease_tui.connectors.api import Artifact, Settings
from mlrelease_tui.connectors.local import planning
from mlrelease_tui.connectors.local.connector import LocalConnector
from mlrelease_tui.connectors.local.definitions import EndpointDefinition, define_endpoint, read_definitions
from mlrelease_tui.connectors.local.desired import Mark, WantedProcess, change_desired, read_desired
from mlrelease_tui.connectors.local.documents import read_json
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.observed import read_observed
from mlrelease_tui.connectors.local.ports import read_ports, write_ports
from mlrelease_tui.connectors.local.processes import start_ticks
from mlrelease_tui.connectors.local.supervisor import Supervisor
from mlrelease_tui.connectors.local.writes import ROUTE
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Stamp
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ConfigError, Conflict, Refused, Rejected, ReleaseError, UnexpectedAnswer
from mlrelease_tui.routing.traefik_directory import RoutesDirectory
from mlrelease_tui.routing.traefik_process import TraefikAddresses

Edit = Callable[[dict[str, Any]], None]

KEY, NAME = "local/iris", "v1"
COMMAND = ("sleep", "600", "{port}", "{version}")
"""Runs on whatever is filled in, and listens nowhere: sleep adds its arguments up."""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A directory with one endpoint, of which version 1 is wanted; the supervisor's own documents beside it."""
    found = Layout(tmp_path / "site")
    define_endpoint(found.directory, EndpointDefinition("iris", COMMAND, model="registry/iris"))
    wanted = {NAME: WantedProcess("1", "models:/iris/1")}
    change_desired(found, KEY, 0, lambda _: wanted, Mark("intent-1"), lock_s=1.0)
    write_ports(found, TraefikAddresses(18_000, 18_001), {KEY: {NAME: 19_000}})
    process = {"version": "1", "state": "ready", "pid": os.getpid(), "started": start_ticks(os.getpid())}
    supervisor = {"pid": os.getpid(), "started": start_ticks(os.getpid())}
    shape = {"format": 1, "supervisor": supervisor, "router": process, "endpoints": {KEY: {NAME: process}}}
    found.observed.write_text(json.dumps(shape))
    return found


@pytest.fixture
async def connector(layout: Layout) -> AsyncIterator[LocalConnector]:
    found = connector_of(layout.directory)
    yield found
    await found.close()


def connector_of(directory: Path) -> LocalConnector:
    return LocalConnector(Settings("here", "local", {"directory": str(directory)}, timeout_s=2.0))


def edit(path: Path, change: Edit) -> None:
    shape = json.loads(path.read_text())
    change(shape)
    path.write_text(json.dumps(shape))


def test_the_documents_are_whole_before_anybody_edits_them(layout: Layout) -> None:
    assert read_definitions(layout)[KEY].grace_s == 10.0
    assert read_desired(layout)[KEY].processes[NAME].artifact == "models:/iris/1"
    assert read_ports(layout).processes == {KEY: {NAME: 19_000}}
    assert read_observed(layout).alive


DEFINITIONS: dict[str, object] = {
    "name": "wine",
    "namespace": None,
    "model": "iris",
    "alias": None,
    "environment": 3,
    "command": "sleep {port}",
    "steps_bp": ["10%"],
    "env": {"PORT": 1},
    "labels": ["team"],
    "health_path": None,
    "metrics_path": 3,
    "start_timeout_s": "60",
    "grace_s": "10",
    "uid": 7,
    "surprise": 1,
}


@pytest.mark.parametrize("field", DEFINITIONS)
async def test_a_definition_edited_into_what_it_can_not_be_is_named(
    layout: Layout, connector: LocalConnector, field: str
) -> None:
    edit(layout.endpoints, lambda shape: shape["endpoints"][KEY].update({field: DEFINITIONS[field]}))
    with pytest.raises(UnexpectedAnswer, match=r"endpoints\.json") as named:
        read_definitions(layout)
    assert "cp -p" in named.value.hint
    with pytest.raises(ReleaseError):
        await connector.endpoints()
    assert (await connector.probe()).error_code == "unexpected_answer"


@pytest.mark.parametrize("text", ["{port:>999999999}", "{port!r}", "{port.real}", "{{port}}"])
def test_a_placeholder_is_filled_in_as_it_is_or_not_at_all(layout: Layout, text: str) -> None:
    with pytest.raises(ConfigError):
        define_endpoint(layout.directory, EndpointDefinition("wine", ("serve", text)))


@pytest.mark.parametrize(
    "change",
    [
        lambda shape: shape["endpoints"][KEY].update(generation=1e400),
        lambda shape: shape["endpoints"][KEY].update(generation="1"),
        lambda shape: shape["endpoints"][KEY]["processes"][NAME].update(version=1),
        lambda shape: shape["endpoints"][KEY]["processes"][NAME].update(turn=None),
        lambda shape: shape["endpoints"][KEY]["mark"].update(at=5),
    ],
)
async def test_wanted_processes_edited_into_what_they_can_not_be_are_named(
    layout: Layout, connector: LocalConnector, change: Edit
) -> None:
    edit(layout.desired, change)
    with pytest.raises(UnexpectedAnswer, match=r"desired\.json"):
        read_desired(layout)
    with pytest.raises(ReleaseError):
        await connector.endpoints()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ports", lambda shape: shape["router"].update(api=1e400)),
        ("ports", lambda shape: shape["router"].update(api=70_000)),
        ("ports", lambda shape: shape["processes"][KEY].update(v1="19000")),
        ("observed", lambda shape: shape["supervisor"].update(pid=1e400)),
        ("observed", lambda shape: shape["endpoints"][KEY][NAME].update(failures=None)),
        ("observed", lambda shape: shape["endpoints"][KEY][NAME].update(port="19000")),
    ],
)
async def test_what_the_supervisor_wrote_is_read_by_its_types_too(
    layout: Layout, connector: LocalConnector, name: str, change: Edit
) -> None:
    edit(getattr(layout, name), change)
    with pytest.raises(UnexpectedAnswer, match=rf"{name}\.json"):
        await connector.endpoints()
    assert (await connector.probe()).error_code == "unexpected_answer"


@pytest.mark.parametrize("name", ["endpoints", "desired", "observed", "ports"])
def test_a_pipe_in_place_of_a_document_holds_nobody(layout: Layout, name: str) -> None:
    path: Path = getattr(layout, name)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UnexpectedAnswer, match="no plain file"):
        read_json(path)


async def test_a_directory_that_can_not_even_be_looked_for_is_unreachable(tmp_path: Path) -> None:
    connector = connector_of(tmp_path / ("x" * 300))
    with pytest.raises(ReleaseError, match="can't be looked at"):
        await connector.endpoints()
    assert (await connector.probe()).state is LinkState.DOWN
    await connector.close()


def test_a_route_whose_shared_state_is_not_ours_is_shown_and_not_planned_on() -> None:
    model = canary()
    assert model.plan is not None
    for wrong in ({"canary": 2}, {"steps_bp": ["10%"]}, {"history": [None]}, {"hold": {"by": 1}}, {"surprise": 1}):
        model.plan = replace(model.plan, state={**canary_state(), **wrong})
        found = model.read()
        assert [variant.name for variant in found.variants] == ["v1", "v2"]
        assert any("shared state is not ours" in problem for problem in found.problems)
        with pytest.raises(Refused, match="shared state is not ours"):
            planning.roll_back(LAYOUT, found, Artifact("1"))


def canary_state() -> dict[str, Any]:
    plan = canary().plan
    assert plan is not None
    return dict(plan.state)


async def test_a_lock_that_somebody_keeps_is_a_refusal_not_an_unknown_outcome(
    layout: Layout, connector: LocalConnector
) -> None:
    edit(layout.observed, lambda shape: shape["endpoints"][KEY][NAME].update(port=19_000))
    RoutesDirectory(layout.routes).begin()
    endpoint = await connector.endpoint(EndpointRef("here", "local", "iris"))
    (*_, write) = connector.start(endpoint, Artifact("1"), None)
    assert write.operation == ROUTE
    with held(layout.routes), pytest.raises(Conflict, match=rf"another writer \(process {os.getpid()}\) has held"):
        await connector.perform(write, Stamp("intent-2", "promote", SafeText("anna"), SafeText("")))
    assert RoutesDirectory(layout.routes).file.read_text() == "{}\n"


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


# --- the supervisor -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def supervisor(layout: Layout) -> AsyncIterator[Supervisor]:
    """One that follows the documents and has started the process; its router is never started."""
    layout.observed.unlink()
    layout.ports.unlink()
    found = Supervisor(layout, Path("/nowhere/traefik"), dict(os.environ))
    turn(found)
    assert running(found) is not None
    yield found
    for process in found._processes.values():
        process.kill()
    async with asyncio.timeout(10):
        while not all(process.gone for process in found._processes.values()):
            for process in found._processes.values():
                process.tick()
            await asyncio.sleep(0.01)
    for process in found._processes.values():
        await process.close()


def turn(supervisor: Supervisor) -> None:
    supervisor._read_documents()
    supervisor._reconcile()
    supervisor._report()


def running(supervisor: Supervisor) -> int | None:
    """The process id of what runs and was not told to stop."""
    process = supervisor._processes.get((KEY, NAME))
    return process.observed().pid if process is not None and process.follows is not None else None


@pytest.mark.parametrize("field", [name for name in DEFINITIONS if name != "surprise"])
async def test_an_edited_definition_ends_nothing_that_runs(layout: Layout, supervisor: Supervisor, field: str) -> None:
    pid = running(supervisor)
    edit(layout.endpoints, lambda shape: shape["endpoints"][KEY].update({field: DEFINITIONS[field]}))
    turn(supervisor)
    turn(supervisor)
    assert running(supervisor) == pid
    assert "endpoints.json" in read_observed(layout).message


async def test_a_folder_that_is_moved_away_ends_nothing_that_runs(layout: Layout, supervisor: Supervisor) -> None:
    pid = running(supervisor)
    elsewhere = layout.directory.with_name("elsewhere")
    layout.directory.rename(elsewhere)
    turn(supervisor)
    turn(supervisor)
    assert running(supervisor) == pid
    elsewhere.rename(layout.directory)
    turn(supervisor)
    assert running(supervisor) == pid
    assert read_observed(layout).message == ""


async def test_a_trouble_that_is_over_is_told_no_longer(
    layout: Layout, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Rejected("ports.json could not be written: No space left on device")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("mlrelease_tui.connectors.local.supervisor.write_ports", full)
        wanted = {NAME: WantedProcess("1", "models:/iris/1"), "v2": WantedProcess("2")}
        change_desired(layout, KEY, 1, lambda _: wanted, Mark("intent-2"), lock_s=1.0)
        turn(supervisor)
        assert "local/iris v2: ports.json could not be written" in read_observed(layout).message
    turn(supervisor)
    assert read_observed(layout).message == ""
    assert (KEY, "v2") in supervisor._processes
