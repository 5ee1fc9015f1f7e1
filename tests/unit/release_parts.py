"""What the tests of the core share: a clock that nobody waits for, a fake world, and a desk with a real audit before it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.unit.audit_parts import Unsynced, identity, seeded

from mlrelease_tui.actions.desk import Desk, Rules
from mlrelease_tui.actions.executor import Pace
from mlrelease_tui.actions.journal import Journal
from mlrelease_tui.audit.identity import Identity, Process, this_process
from mlrelease_tui.audit.log import AuditLog
from mlrelease_tui.audit.syscalls import Syscalls
from mlrelease_tui.audit.verify import verify
from mlrelease_tui.connectors.api import Connector, Settings
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.connectors.fake.script import backend_of
from mlrelease_tui.domain.intents import Intent
from mlrelease_tui.domain.plan import Outcome, Plan, Refusal
from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.store.facts import AccessChanged, Fact
from mlrelease_tui.store.state import State
from mlrelease_tui.store.store import Store

START = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
FRAUD = EndpointRef("world", "ml", "fraud")
WINE = EndpointRef("world", "ml", "wine")
FRAUD_MODEL = ModelRef("world", "fraud")

SCRIPT: Mapping[str, Any] = {
    "models": [
        {
            "name": "fraud",
            "aliases": {"champion": "3"},
            "versions": [
                {"version": "1"},
                {"version": "2", "digest": "sha256:2"},
                {"version": "3"},
                {"version": "4", "readiness": "pending"},
                {"version": "5"},
            ],
        },
        {"name": "wine", "aliases": {"champion": "1"}, "versions": [{"version": "1"}, {"version": "2"}]},
    ],
    "endpoints": [
        {
            "namespace": "ml",
            "name": "fraud",
            "model": "world/fraud",
            "alias": "champion",
            "environment": "production",
            "previous_version": "1",
            "variants": [
                {"version": "2", "role": "stable", "weight_bp": 9000},
                {"version": "3", "role": "canary", "weight_bp": 1000},
            ],
            "steps": [1000, 5000, 10000],
        },
        {
            "namespace": "ml",
            "name": "wine",
            "model": "world/wine",
            "alias": "champion",
            "environment": "staging",
            "variants": [{"version": "1", "role": "stable", "weight_bp": 10000}],
            "steps": [2000, 10000],
        },
    ],
}


@dataclass
class VirtualClock:
    """Time passes only where somebody sleeps."""

    wall: datetime = START
    elapsed_s: float = 0.0

    def now(self) -> datetime:
        return self.wall + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        return self.elapsed_s

    def monotonic_ns(self) -> int:
        return int(self.elapsed_s * 1e9)

    def synchronized(self) -> bool | None:
        return True

    async def sleep(self, seconds: float) -> None:
        self.elapsed_s += seconds
        await asyncio.sleep(0)

    @property
    def pace(self) -> Pace:
        return Pace(self.now, self.monotonic, self.sleep)


def world(clock: VirtualClock, script: Mapping[str, Any] = SCRIPT) -> FakeBackend:
    return backend_of(script, "world", clock.now())


def connector_of(backend: FakeBackend, clock: VirtualClock, *, timeout_s: float = 0.05) -> FakeConnector:
    return FakeConnector(Settings("world", "fake", timeout_s=timeout_s, now=clock.now), backend)


def named(name: str, process: Process | None = None) -> Identity:
    """An operator of this name on the tests' chain."""
    known = identity()
    return replace(known, actor=replace(known.actor, name=name), process=process or this_process())


DEAD = replace(this_process(), starttime="1")
"""A process that is known not to run: this pid, at another time."""


def log_in(
    root: Path,
    *,
    by: str = "ana",
    process: Process | None = None,
    syscalls: Syscalls | None = None,
    seed: int = 1,
    clock: VirtualClock | None = None,
    reserve_bytes: int = 4096,
) -> AuditLog:
    return AuditLog(
        root,
        identity=named(by, process),
        clock=clock or VirtualClock(),
        entropy=seeded(seed),
        syscalls=syscalls or Unsynced(),
        reserve_bytes=reserve_bytes,
    )


@dataclass
class Bench:
    """One operator at one desk, before a world that others may share."""

    root: Path
    clock: VirtualClock
    backend: FakeBackend
    connectors: Mapping[str, Connector]
    store: Store
    log: AuditLog
    desk: Desk
    facts: list[Fact] = field(default_factory=list)

    @property
    def endpoint(self) -> Endpoint:
        return self.backend.endpoints[FRAUD]

    async def planned(self, intent: Intent) -> Plan:
        plan = await self.desk.prepare(intent)
        assert isinstance(plan, Plan), plan
        return plan

    async def refused(self, intent: Intent) -> Refusal:
        refusal = await self.desk.prepare(intent)
        assert isinstance(refusal, Refusal), refusal
        return refusal

    async def submitted(self, plan: Plan, *, why: str = "a test", typed: str = "") -> Outcome:
        outcome = await self.desk.submit(plan, why=why, typed=typed)
        assert isinstance(outcome, Outcome), outcome
        return outcome

    async def done(self, intent: Intent) -> Outcome:
        return await self.submitted(await self.planned(intent))

    def kinds(self) -> list[str]:
        """The kinds of all records, oldest first, without those that a session makes by itself."""
        return [record.kind for record in self.log.read() if record.kind != "session"]

    def audit_holds(self) -> None:
        found = verify(self.root)
        assert found.ok, found.breaks


def bench(
    root: Path,
    *,
    backend: FakeBackend | None = None,
    clock: VirtualClock | None = None,
    by: str = "ana",
    syscalls: Syscalls | None = None,
    seed: int = 1,
    connectors: Callable[[FakeBackend, VirtualClock], Mapping[str, Connector]] | None = None,
    rules: Rules | None = None,
    armed: bool = True,
    process: Process | None = None,
    reserve_bytes: int = 4096,
) -> Bench:
    clock = clock or VirtualClock()
    backend = backend or world(clock)
    found: Mapping[str, Connector] = (
        connectors(backend, clock) if connectors else {"world": connector_of(backend, clock)}
    )
    store = Store(State())
    log = log_in(root, by=by, syscalls=syscalls, seed=seed, process=process, clock=clock, reserve_bytes=reserve_bytes)
    desk = Desk(store, found, Journal(log), rules=rules, pace=clock.pace)
    seated = Bench(root, clock, backend, found, store, log, desk)
    store.subscribe(lambda _state, fact: seated.facts.append(fact))
    if armed:
        store.emit(AccessChanged(Access(armed_until=clock.now() + timedelta(hours=1))))
    return seated
