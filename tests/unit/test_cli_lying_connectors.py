"""Connectors that are broken, lie, hang or ask to exit: each costs its own answers, and what it might have had is not denied."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.cli_host import CALM, Script, Shell, moving, valid, with_fault

from mlrelease_tui import bootstrap
from mlrelease_tui.bootstrap import Program, build
from mlrelease_tui.cli import connections, finding, models
from mlrelease_tui.cli.output import Output
from mlrelease_tui.cli.watching import watch_changes
from mlrelease_tui.config.reading import load
from mlrelease_tui.connectors.api import ModelPage
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.intents import HoldRollout
from mlrelease_tui.domain.models import VersionPage
from mlrelease_tui.domain.plan import Refusal
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.errors import UnexpectedAnswer, UnknownName, Unreachable

IRIS = EndpointRef("cluster", "ml", "iris")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


def program_of(shell: Shell, **scripts: Script) -> Program:
    return build(load(shell.play(**scripts).config, shell.environment), environ=shell.environment)


def without_script(shell: Shell, name: str) -> None:
    """From now on the connector of `name` can't be built."""
    (shell.home / f"{name}.json").unlink()


# --- broken -----------------------------------------------------------------------------------------------------------


def test_an_endpoint_of_a_broken_connection_is_not_denied(shell: Shell) -> None:
    shell.play(cluster=CALM)
    without_script(shell, "cluster")
    for arguments in (
        ("hold", "cluster/ml/iris", "--yes"),
        ("plan", "rollback", "cluster/ml/iris"),
        ("hold", "iris", "--yes"),
        ("status", "iris"),
        ("status", "cluster/ml/iris"),
        ("endpoint", "iris"),
        ("versions", "cluster/iris"),
        ("versions", "iris"),
        ("alias", "iris", "champion", "1", "--yes"),
    ):
        answer = shell.run(*arguments, "--json")
        assert (answer.code, answer.error["code"]) == (3, "unreachable"), arguments
        assert "cluster" in answer.error["message"]
    told = shell.run("hold", "cluster/ml/iris", "--yes", "--json").error
    assert "script can't be read" in told["message"], "and why"


def test_models_of_a_broken_registry_are_not_said_to_be_none(shell: Shell) -> None:
    shell.play(cluster=CALM, broken=CALM)
    without_script(shell, "broken")
    answer = shell.run("models", "--json")
    assert answer.code == 3
    assert [model["id"] for model in answer.document["models"]] == ["cluster/iris"]
    (failed,) = answer.document["failed"]
    assert (failed["connection"], failed["error"]["code"]) == ("broken", "unreachable")


def test_what_a_connection_offered_when_it_worked_says_what_it_could_have_had(shell: Shell) -> None:
    """A broken source of metrics keeps nobody from saying that a model is not there."""
    shell.play(cluster=CALM)
    table = (
        shell.config.read_text() + '[connections.traffic]\nkind = "scrape"\ntargets = ["http://127.0.0.1:9/metrics"]\n'
    )
    shell.configure(table)
    shell.run("status", "--window", "0")
    program = build(load(shell.config, shell.environment), environ=shell.environment)
    lost = {name: item for name, item in program.connectors.items() if name != "traffic"}
    object.__setattr__(program, "connectors", lost)
    assert program.store.state.connections["traffic"].capabilities == ("metrics",)
    with pytest.raises(UnknownName):
        asyncio.run(finding.find_model(program, "wine"))


def test_a_name_that_is_nearly_one_is_suggested_although_somebody_did_not_answer(shell: Shell) -> None:
    shell.play(cluster=CALM, edge=with_fault({}, "refused"))
    told = shell.run("hold", "irsi", "--yes", "--json").error
    assert "did you mean cluster/ml/iris?" in told["hint"]
    assert "connections test" in told["hint"]


# --- crashing and lying -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["crash", "exit"])
def test_a_registry_whose_connector_fails_costs_its_own_models_only(shell: Shell, fault: str) -> None:
    shell.play(cluster=CALM, edge=with_fault(CALM, fault, "models"))
    answer = shell.run("models", "--json")
    assert answer.code == 3
    assert [model["id"] for model in answer.document["models"]] == ["cluster/iris"]
    (failed,) = answer.document["failed"]
    assert (failed["connection"], failed["error"]["code"]) == ("edge", "unexpected_answer")
    assert shell.run("versions", "cluster/iris", "--json").code == 0
    moved = shell.run("alias", "cluster/iris", "champion", "1", "--yes", "--json")
    assert (moved.code, moved.document["outcome"]) == (0, "applied")


@pytest.mark.parametrize("operation", ["versions", "lineage"])
@pytest.mark.parametrize("fault", ["crash", "exit"])
def test_versions_of_a_connector_that_fails_are_an_error_of_a_backend(shell: Shell, fault: str, operation: str) -> None:
    shell.play(cluster=with_fault(CALM, fault, operation))
    answer = shell.run("versions", "cluster/iris", "--lineage", "--json")
    assert (answer.code, answer.error["code"]) == (3, "unexpected_answer")


class Endless:
    """A registry that always has one more page: the same one, or ever new ones without anything on them."""

    def __init__(self, *, new: bool) -> None:
        self._new = new
        self.asked = 0

    def _token(self) -> str:
        self.asked += 1
        return str(self.asked) if self._new else "again"

    async def models(self, *, query: str = "", limit: int = 200, page_token: str = "") -> ModelPage:
        return ModelPage((), self._token())

    async def versions(self, ref: ModelRef, *, limit: int = 200, page_token: str = "") -> VersionPage:
        return VersionPage((), self._token())

    async def model(self, ref: ModelRef) -> Any: ...
    async def version(self, ref: object) -> Any: ...
    def artifact(self, ref: object) -> str:
        return ""


@pytest.mark.parametrize("new", [False, True])
async def test_pages_without_end_come_to_an_end(shell: Shell, new: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_PAGES", 50)
    program = program_of(shell, cluster=CALM)
    endless = Endless(new=new)
    object.__setattr__(program, "connectors", {"cluster": endless})
    _, failed, _ = await models._read_models(program, "", 10)
    assert failed["cluster"].code == "unexpected_answer"
    with pytest.raises(UnexpectedAnswer):
        await models._read_versions(program, ModelRef("cluster", "iris"), 10, lineage=False)
    assert endless.asked < 200


class Odd:
    """A connector that is none: it has no kind, and its probe does what it is told."""

    def __init__(self, probe: Callable[[], Awaitable[Any]]) -> None:
        self.probe = probe

    async def close(self) -> None:
        await asyncio.Event().wait()


async def _none() -> None:
    return None


async def _silent() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("probe", [_none, _silent])
async def test_a_probe_that_lies_or_hangs_is_a_broken_connection(
    shell: Shell, probe: Callable[[], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PATIENCE_S", 0.05)
    program = program_of(shell, cluster=CALM, odd={})
    object.__setattr__(program, "connectors", {**program.connectors, "odd": Odd(probe)})
    good, bad = await connections.probe_all(program, ("cluster", "odd"))
    assert good.state is LinkState.OK
    assert (bad.state, bad.kind, bad.error_code) == (LinkState.BROKEN, "fake", "broken")


async def test_a_connector_that_does_not_close_is_left_behind(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "CLOSE_S", 0.05)
    program = program_of(shell, cluster=CALM)
    object.__setattr__(program, "connectors", {"odd": Odd(_none)})
    async with asyncio.timeout(10):
        await program.close()


# --- watching ---------------------------------------------------------------------------------------------------------


def test_nobody_waits_for_an_endpoint_that_is_not_there(shell: Shell) -> None:
    shell.play(cluster=CALM)
    for arguments in (("watch", "cluster/ml/irsi"), ("status", "cluster/ml/irsi", "--watch")):
        answer = shell.run(*arguments, "--json")
        assert (answer.code, answer.error["code"]) == (2, "unknown_name")
        assert "cluster/ml/iris" in answer.error["hint"]


class Ears:
    """An output that keeps what it is told."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.said: list[str] = []
        self.documents: list[Mapping[str, Any]] = []
        self.heard = asyncio.Event()

    def line(self, text: str) -> None:
        self.said.append(text)
        self.heard.set()

    def document(self, content: Mapping[str, Any]) -> None:
        self.documents.append(valid(json.loads(json.dumps(content))))
        self.heard.set()

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not what():
                self.heard.clear()
                await self.heard.wait()


@pytest.mark.parametrize("as_json", [False, True])
async def test_that_an_endpoint_is_gone_is_a_change(shell: Shell, as_json: bool) -> None:
    program = program_of(shell, cluster=moving())
    ears = Ears(as_json=as_json)
    output: Output = ears  # type: ignore[assignment]
    watching = asyncio.create_task(watch_changes(program, output, name="iris", problems=False))
    await ears.until(lambda: any("cluster/ml/iris" in str(item) for item in (*ears.said, *ears.documents)))
    backend = program.connectors["cluster"].backend  # type: ignore[attr-defined]
    kept = backend.endpoints.pop(IRIS)
    program.poller.refresh()
    if as_json:
        await ears.until(lambda: any(item.get("gone") == ["cluster/ml/iris"] for item in ears.documents))
    else:
        await ears.until(lambda: any("GONE cluster/ml/iris" in item for item in ears.said))
    told = len(ears.said) + len(ears.documents)
    backend.endpoints[IRIS] = kept
    program.poller.refresh()
    await ears.until(lambda: len(ears.said) + len(ears.documents) > told)
    assert "cluster/ml/iris" in str((*ears.said, *ears.documents)[-1]), "that it is back is a change too"
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await program.close()


def test_an_unreachable_connection_is_said_by_its_name() -> None:
    with pytest.raises(Unreachable, match="no answer from edge"):
        finding.match("wine", [IRIS], what="endpoint", silent={"edge"})


async def test_what_is_configured_and_broken_is_not_said_to_be_missing(shell: Shell) -> None:
    """As the app has it, whose rows of the last run are there although their connector is not."""
    shell.play(cluster=CALM)
    without_script(shell, "cluster")
    program = build(load(shell.config, shell.environment), environ=shell.environment)
    refused = await program.desk.prepare(HoldRollout(IRIS))
    assert isinstance(refused, Refusal)
    assert "or it is broken" in refused.reason
    assert "connections list" in refused.hint
    assert "configured" not in refused.hint
    await program.close()
