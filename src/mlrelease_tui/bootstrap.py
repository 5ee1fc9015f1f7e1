"""The composition root: the only place that builds concrete objects from configuration. What it begins with is `outset`.

Nothing here touches the network or imports an SDK; connectors do that when they are first asked.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from mlrelease_tui import __version__
from mlrelease_tui.actions.desk import Desk, Rules
from mlrelease_tui.actions.journal import Journal
from mlrelease_tui.audit.identity import this_identity
from mlrelease_tui.audit.log import AuditLog
from mlrelease_tui.config.model import Config, ConnectionConfig
from mlrelease_tui.connectors import plugins
from mlrelease_tui.connectors._blocking import BlockingPool
from mlrelease_tui.connectors.api import Connector, Credential, Settings
from mlrelease_tui.credentials.command import run_command
from mlrelease_tui.credentials.wallet import Wallet
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.domain.status import DEFAULT_GUARD, Binding
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ConfigError
from mlrelease_tui.judgement.jury import SLOW_S, Jury
from mlrelease_tui.outset import Outset, begin, cache_path, load_config
from mlrelease_tui.store import cache
from mlrelease_tui.store.facts import ConnectionObserved
from mlrelease_tui.store.poller import Intervals, Poller
from mlrelease_tui.store.store import Store

__all__ = ["CALL_TIMEOUT_S", "Program", "build", "load_config", "wire"]

CALL_TIMEOUT_S = 10.0
CLOSE_S = 5.0
"""Seconds that connectors get to close; who has not by then is left behind."""


@dataclass(frozen=True, slots=True)
class Program:
    """Everything that runs, wired. `operator` is who acts; `chain` names their audit on this host."""

    config: Config
    store: Store
    connectors: Mapping[str, Connector]
    poller: Poller
    desk: Desk
    journal: Journal
    audit: AuditLog
    wallet: Wallet
    operator: str
    host: str
    asking: Mapping[str, BlockingPool] = field(default_factory=lambda: MappingProxyType({}))
    """Where each connection's credential is asked for: a source that hangs holds no thread that the audit or the end waits for."""

    def remember(self) -> None:
        """Keep the fleet for the next start. That it can't be kept is no error: the next start is only emptier."""
        with suppress(OSError):
            cache.save(cache_path(self.config), self.store.state, config=str(self.config.path), now=_utc_now())

    async def close(self) -> None:
        """Stop reading, let the actions under way end, close every connection. What was not sent yet is not sent any more."""
        leaving = asyncio.ensure_future(self.desk.leave())
        await self.poller.stop()
        await asyncio.gather(leaving, self.desk.settle(5.0))
        self.remember()
        closing = [asyncio.ensure_future(_closed(connector)) for connector in self.connectors.values()]
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_S)
        for pool in self.asking.values():
            pool.close()
        self.audit.close()


def build(
    config: Config,
    *,
    environ: Mapping[str, str] | None = None,
    secrets: Mapping[str, Secret] = MappingProxyType({}),
    restore: bool = True,
) -> Program:
    """Wire a program for `config`. `secrets` were typed by the operator for connections that ask for one."""
    env = os.environ if environ is None else environ
    return wire(begin(config, restore=restore, secrets=secrets), environ=env)


def wire(outset: Outset, *, environ: Mapping[str, str]) -> Program:
    """A program that begins where `outset` stands."""
    config, store, env = outset.config, outset.store, dict(environ)
    # Nobody is asked any more: what is under way by now has deadlines, and the terminal is not ours alone.
    wallet = Wallet(config, env=env, prompt=None, run=run_command, clock=_utc_now)
    for name, secret in outset.secrets.items():
        wallet.login(name, secret)
    asking = {name: BlockingPool(name, workers=1) for name in config.connections}
    connectors = _connect(config, wallet, asking, env, store)
    identity = this_identity(tool_version=__version__, environ=env)
    audit = AuditLog(config.audit_dir, identity=identity)
    journal = Journal(audit)
    jury = Jury(_slow_by_guard(store.state.bindings.values()))
    desk = Desk(
        store,
        connectors,
        journal,
        rules=Rules(config.floor, config.is_production),
        lifetime=timedelta(seconds=config.policy.plan_expires_s),
    )
    poller = Poller(store, connectors, intervals=_intervals(config), judging=jury.hear)
    return Program(
        config,
        store,
        connectors,
        poller,
        desk,
        journal,
        audit,
        wallet,
        outset.operator,
        identity.host,
        MappingProxyType(asking),
    )


async def _closed(connector: Connector) -> None:
    # Whatever a plugin does here, the others are closed too.
    with suppress(Exception, SystemExit):
        await connector.close()


def _connect(
    config: Config, wallet: Wallet, asking: Mapping[str, BlockingPool], env: Mapping[str, str], store: Store
) -> Mapping[str, Connector]:
    """One connector for each configured connection. One that can't be built is a broken row, not the end."""
    found: dict[str, Connector] = {}
    bound = tuple(binding.endpoint for binding in config.bindings)
    for connection in config.connections.values():
        known = store.state.connections.get(connection.name)
        health = replace(
            known or ConnectionHealth(connection.name, connection.kind, LinkState.UNKNOWN),
            environment=connection.environment,
            credential_source=wallet.describe(connection.name).badge,
        )
        try:
            settings = _settings(connection, wallet, asking[connection.name], env, bound)
            found[connection.name] = plugins.connect(connection.kind, settings)
        except ConfigError as error:
            health = replace(
                health,
                state=LinkState.BROKEN,
                error_code=error.code,
                error=SafeText(error.message),
                hint=SafeText(error.hint),
                observed_at=_utc_now(),
            )
        store.emit(ConnectionObserved(health))
    return MappingProxyType(found)


def _intervals(config: Config) -> Intervals:
    own = {
        item.name: float(every)
        for item in config.connections.values()
        if isinstance(every := item.options.get("interval_s"), int | float)
    }
    return Intervals(refresh_s=config.ui.refresh_s, own_s=MappingProxyType(own))


def _settings(
    connection: ConnectionConfig,
    wallet: Wallet,
    pool: BlockingPool,
    env: Mapping[str, str],
    bound: Iterable[EndpointRef],
) -> Settings:
    # Each source has a deadline of its own, and says so when it is over.
    async def credential() -> Credential | None:
        return await pool.run(math.inf, wallet.credential, connection.name)

    async def renew() -> Credential | None:
        return await pool.run(math.inf, wallet.renew, connection.name)

    timeout = connection.options.get("timeout_s")
    return Settings(
        name=connection.name,
        kind=connection.kind,
        options=connection.options,
        environment=connection.environment,
        timeout_s=float(timeout) if isinstance(timeout, int | float) else CALL_TIMEOUT_S,
        credential=credential,
        renew=renew,
        environ=MappingProxyType(dict(env)),
        bound=frozenset((ref.namespace, ref.name) for ref in bound if ref.connection == connection.name),
    )


def _slow_by_guard(bindings: Iterable[Binding]) -> Callable[[EndpointRef], float]:
    """What counts as slow for an endpoint: its p99 guard, where it has one."""
    limits = {item.endpoint: (item.guard or DEFAULT_GUARD).p99_s or SLOW_S for item in bindings}
    return lambda ref: limits.get(ref, SLOW_S)


def _utc_now() -> datetime:
    return datetime.now(UTC)
