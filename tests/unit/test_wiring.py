"""What stands before the program is wired, and what becomes of wishes and endings that come too early for it."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mlrelease_tui.bootstrap import Program, build
from mlrelease_tui.cli.wiring import LateAuditor, LateDesk, LateReader, Wiring
from mlrelease_tui.domain.intents import RollBack
from mlrelease_tui.domain.plan import Plan
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.errors import CredentialError
from mlrelease_tui.outset import Outset, begin, load_config

IRIS = EndpointRef("prod", "ml", "iris")
MODEL = ModelRef("registry", "iris")
CONFIG = """\
state_dir = "state"
[connections.prod]
kind = "fake"
script = "prod.json"
environment = "staging"
[connections.registry]
kind = "fake"
script = "registry.json"
read_only = true
[[bindings]]
endpoint = "prod/ml/iris"
model = "registry/iris"
alias = "champion"
"""
PROD = """{"endpoints": [{"namespace": "ml", "name": "iris", "model": "registry/iris", "alias": "champion",
 "environment": "staging", "previous_version": "1", "phase": "progressing", "steps": [1000, 10000],
 "variants": [{"version": "1", "role": "stable", "weight_bp": 9000}, {"version": "2", "role": "canary", "weight_bp": 1000}]}]}"""
REGISTRY = (
    '{"models": [{"name": "iris", "aliases": {"champion": "1"}, "versions": [{"version": "1"}, {"version": "2"}]}]}'
)


class Held(Wiring):
    """Imports nothing before it may."""

    def __init__(self, outset: Outset, environ: Mapping[str, str]) -> None:
        super().__init__(outset, environ)
        self.may_load = threading.Event()

    def _load(self) -> None:
        self.may_load.wait(10)
        super()._load()


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    """Wiring sets aside what was loaded; the tests after these must not inherit that."""
    yield
    gc.unfreeze()
    gc.enable()


@pytest.fixture
def outset(tmp_path: Path) -> Outset:
    (tmp_path / "prod.json").write_text(PROD, "utf-8")
    (tmp_path / "registry.json").write_text(REGISTRY, "utf-8")
    path = tmp_path / "config.toml"
    path.write_text(CONFIG, "utf-8")
    path.chmod(0o600)
    return begin(load_config(path, os.environ))


@pytest.fixture
async def wiring(outset: Outset) -> AsyncIterator[Wiring]:
    made = Wiring(outset, os.environ)
    yield made
    await made.close()


async def test_the_outset_says_what_the_program_says(outset: Outset) -> None:
    program = build(outset.config, environ=os.environ)
    assert outset.operator == program.operator == program.journal.operator
    assert program.store.state.access == outset.store.state.access
    assert program.store.state.bindings == outset.store.state.bindings
    assert {name: health.environment for name, health in outset.store.state.connections.items()} == {
        "prod": "staging",
        "registry": "",
    }
    assert outset.store.state.access.read_only == {"registry"}
    await program.close()


async def test_a_plan_that_is_wanted_too_early_comes_when_all_is_wired(wiring: Wiring) -> None:
    desk = LateDesk(wiring)
    wanted = asyncio.create_task(desk.prepare(RollBack(IRIS)))
    given_up = asyncio.create_task(desk.prepare(RollBack(IRIS)))
    await asyncio.sleep(0)
    assert not wanted.done()
    assert desk.busy == ()
    given_up.cancel()
    wiring.begin()
    plan = await asyncio.wait_for(wanted, 20)
    assert isinstance(plan, Plan), plan
    assert plan.target == IRIS


async def test_what_was_asked_of_the_reader_and_the_auditor_is_not_lost(wiring: Wiring, outset: Outset) -> None:
    reader, auditor = LateReader(wiring), LateAuditor(wiring)
    reader.refresh()
    reader.want_versions(MODEL)
    checked = asyncio.create_task(auditor.verify())
    wiring.begin()
    async with asyncio.timeout(20):
        await checked
        while MODEL not in outset.store.state.versions:
            await asyncio.sleep(0.01)
    assert [item.ref.version for item in outset.store.state.versions[MODEL].versions] == ["2", "1"]


async def test_arming_waits_too(wiring: Wiring, outset: Outset) -> None:
    desk = LateDesk(wiring)
    armed = asyncio.create_task(desk.arm(5))
    await asyncio.sleep(0)
    assert not armed.done()
    wiring.begin()
    assert await asyncio.wait_for(armed, 20) is None
    assert outset.store.state.access.armed_until is not None


async def test_the_collector_is_on_again_when_all_is_wired(outset: Outset) -> None:
    told: list[Program] = []
    wiring = Wiring(outset, os.environ, when_wired=told.append)
    gc.disable()
    wiring.begin()
    program = await asyncio.wait_for(wiring.program(), 20)
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    assert told == [program] == [wiring.wired]
    await wiring.close()


async def test_leaving_before_it_begins_or_before_it_is_done_leaves_nothing(outset: Outset, tmp_path: Path) -> None:
    await Wiring(outset, os.environ).close()
    begun = Held(outset, os.environ)
    failed: list[bool] = []
    begun.begin(failed=lambda: failed.append(True))
    waiting = asyncio.create_task(LateDesk(begun).prepare(RollBack(IRIS)))
    await asyncio.sleep(0)
    await asyncio.wait_for(begun.close(), 5)
    begun.may_load.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert begun.wired is None
    assert failed == []
    assert not (tmp_path / "state").exists()


async def test_what_keeps_it_from_being_wired_is_told_to_all_who_wait(outset: Outset) -> None:
    wiring = Wiring(replace(outset, secrets={"prod": Secret("s3cret")}), os.environ)
    failed = asyncio.Event()
    LateReader(wiring).want_versions(MODEL)
    wanted = asyncio.create_task(LateDesk(wiring).prepare(RollBack(IRIS)))
    wiring.begin(failed=failed.set)
    await asyncio.wait_for(failed.wait(), 20)
    with pytest.raises(CredentialError, match="prod"):
        await wanted
    assert wiring.wired is None
    with pytest.raises(CredentialError, match="prod"):
        await wiring.close()


ALREADY_LOADED = """
import asyncio, os, sys
from pathlib import Path
from mlrelease_tui.cli.wiring import Wiring
from mlrelease_tui.outset import begin, load_config

async def main():
    wiring = Wiring(begin(load_config(Path(sys.argv[1]), os.environ)), os.environ)
    wiring._load()
    before = set(sys.modules)
    from mlrelease_tui.bootstrap import wire
    wire(wiring._outset, environ=os.environ)
    print(*sorted(set(sys.modules) - before, key=lambda name: (len(name), name)))

asyncio.run(main())
"""
KINDS = """\
[connections.cluster]
kind = "kubernetes"
kubeconfig = "kubeconfig"
[connections.host]
kind = "local"
directory = "site"
[connections.metrics]
kind = "scrape"
targets = ["http://127.0.0.1:9/metrics"]
[connections.registry]
kind = "mlflow"
url = "http://127.0.0.1:9"
"""
KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: one
contexts: [{name: one, context: {cluster: one, user: one}}]
clusters: [{name: one, cluster: {server: "https://127.0.0.1:9"}}]
users: [{name: one, user: {token: abc}}]
"""


def test_what_is_imported_is_imported_in_the_thread_that_keeps_no_key_waiting(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'state_dir = "state"\n{KINDS}')
    (tmp_path / "config.toml").chmod(0o600)
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    (tmp_path / "kubeconfig").chmod(0o600)
    argv = [sys.executable, "-c", ALREADY_LOADED, str(tmp_path / "config.toml")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == []
