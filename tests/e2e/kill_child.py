"""Operators of a fake or a local backend who die at a given step of a rollback: a script of `tests.e2e.dying`.

Each job has `root` (the audit), `world` (a pickled fake backend) or `site` (a folder of local endpoints), `at` (where to die),
`seed` (of its ids).
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.e2e.dying import Doomed, Fate, die, fork_each
from tests.unit.audit_parts import Unsynced
from tests.unit.release_parts import FRAUD, VirtualClock, connector_of, log_in

from mlrelease_tui.actions.desk import Desk
from mlrelease_tui.actions.executor import Pace
from mlrelease_tui.connectors.api import Connector, Receipt, Settings
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.connectors.local.connector import LocalConnector
from mlrelease_tui.domain.intents import RollBack
from mlrelease_tui.domain.plan import Outcome, Plan, Write
from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Stamp
from mlrelease_tui.store.facts import AccessChanged
from mlrelease_tui.store.store import Store


class Torn(Unsynced):
    """Dies in the middle of writing the line of a given step."""

    def __init__(self, fate: Fate) -> None:
        self._fate = fate

    def write(self, fd: int, data: bytes) -> int:
        kind = json.loads(data)["kind"]
        step = self._fate.before(f"line of {kind}")
        if self._fate.inside(step):
            os.write(fd, data[: len(data) // 2])
            die()
        return super().write(fd, data)


class Kept(FakeConnector):
    """The fake over a file: a write is in force when it returns, whoever dies then."""

    def __init__(self, settings: Settings, backend: FakeBackend, path: Path, fate: Fate) -> None:
        super().__init__(settings, backend)
        self._path, self._fate = path, fate

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        step = self._fate.before("perform")
        receipt = await super().perform(write, stamp)
        save(self._path, self.backend)
        self._fate.after(step)
        return receipt


class Local(LocalConnector):
    fate: Fate

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        step = self.fate.before("perform")
        receipt = await super().perform(write, stamp)
        self.fate.after(step)
        return receipt


def save(path: Path, backend: FakeBackend) -> None:
    content = (
        dict(backend.endpoints),
        {ref: (dict(model.aliases), dict(model.stamps)) for ref, model in backend.models.items()},
        backend.written,
    )
    temporary = path.with_suffix(".new")
    temporary.write_bytes(pickle.dumps(_plain(content)))
    temporary.replace(path)


def _plain(content: Any) -> Any:
    """Read-only mappings can't be pickled: endpoints have one."""
    from dataclasses import replace

    endpoints, models, written = content
    return {ref: replace(item, labels={}) for ref, item in endpoints.items()}, models, written


def restore(path: Path, backend: FakeBackend) -> FakeBackend:
    from dataclasses import replace

    endpoints, models, written = pickle.loads(path.read_bytes())
    backend.endpoints = endpoints
    for ref, (aliases, stamps) in models.items():
        backend.models[ref] = replace(backend.models[ref], aliases=aliases, stamps=stamps)
    backend.written = written
    return backend


async def rollback(job: Mapping[str, Any]) -> str:
    from tests.unit.release_parts import world

    fate, clock = Fate(job["at"]), VirtualClock()
    connector: Connector
    if "site" in job:
        local = Local(Settings("here", "local", {"directory": job["site"]}))
        local.fate = fate
        connector, target, pace = local, EndpointRef("here", "local", job["endpoint"]), Pace()
    else:
        path = Path(job["world"])
        backend = restore(path, world(clock))
        connector = Kept(connector_of(backend, clock)._settings, backend, path, fate)
        target, pace = FRAUD, clock.pace
    log = log_in(Path(job["root"]), syscalls=Torn(fate), seed=job["seed"])
    store = Store()
    desk = Desk(store, {connector.name: connector}, Doomed(log, fate=fate), pace=pace)
    store.emit(AccessChanged(Access(armed_until=pace.now().replace(year=2999))))
    plan = await desk.prepare(RollBack(target, job.get("version", "2")))
    assert isinstance(plan, Plan), plan
    outcome = await desk.submit(plan, why="the canary hurts")
    assert isinstance(outcome, Outcome), outcome
    return str(outcome.kind)


if __name__ == "__main__":
    fork_each(rollback)
