"""The composition root: the only place that builds concrete objects from configuration.

Nothing here touches the network or imports an SDK; connectors do that when they are first asked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from mlrelease_tui import __version__
from mlrelease_tui.actions.desk import Desk, Rules
from mlrelease_tui.actions.journal import Journal
from mlrelease_tui.audit.identity import this_identity
from mlrelease_tui.audit.log import AuditLog
from mlrelease_tui.config.model import Binding as ConfiguredBinding
from mlrelease_tui.config.model import Config, ConnectionConfig
from mlrelease_tui.config.reading import load
from mlrelease_tui.connectors import plugins
from mlrelease_tui.connectors.api import Connector, Credential, Option, Settings
from mlrelease_tui.credentials.command import run_command
from mlrelease_tui.credentials.wallet import Prompt, Wallet
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.status import DEFAULT_GUARD, MIN_REQUESTS, Binding, Guard
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ConfigError
from mlrelease_tui.judgement.jury import SLOW_S, Jury
from mlrelease_tui.store import cache
from mlrelease_tui.store.facts import AccessChanged, BindingsConfigured, ConnectionObserved
from mlrelease_tui.store.poller import Intervals, Poller
from mlrelease_tui.store.store import Store

CALL_TIMEOUT_S = 10.0


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

    @property
    def cache_path(self) -> Path:
        return self.config.state_dir / "last-known.json"

    def remember(self) -> None:
        """Keep the fleet for the next start. That it can't be kept is no error: the next start is only emptier."""
        with suppress(OSError):
            cache.save(self.cache_path, self.store.state, config=str(self.config.path), now=_utc_now())

    async def close(self) -> None:
        """Stop reading, let the actions under way end, close every connection."""
        await self.poller.stop()
        await self.desk.settle(5.0)
        self.remember()
        await asyncio.gather(*(connector.close() for connector in self.connectors.values()), return_exceptions=True)
        self.audit.close()


def load_config(path: Path | None, environ: Mapping[str, str], *, action_ids: Collection[str] | None = None) -> Config:
    """Read the configuration with the keys of every installed connector. ConfigError as `config.reading.load` raises it."""
    known: dict[str, Mapping[str, Option] | None] = {}
    for plugin in plugins.plugins():
        if not plugin.is_own:
            try:
                known[plugin.kind] = plugins.load(plugin.kind).options
            except ConfigError:
                known[plugin.kind] = None
    return load(path, environ, known_keys=known, action_ids=action_ids)


def build(
    config: Config,
    *,
    environ: Mapping[str, str] | None = None,
    prompt: Prompt | None = None,
    restore: bool = True,
) -> Program:
    """Wire a program for `config`. `prompt` asks the person for a secret, None where nobody can be asked."""
    env = dict(os.environ if environ is None else environ)
    wallet = Wallet(config, env=env, prompt=prompt, run=run_command, clock=_utc_now)
    state = (
        cache.load(config.state_dir / "last-known.json", config=str(config.path), now=_utc_now()) if restore else None
    )
    store = Store(state)
    connectors = _connect(config, wallet, env, store)
    bindings = tuple(_binding(item) for item in config.bindings)
    store.emit(BindingsConfigured(bindings))
    read_only = frozenset(item.name for item in config.connections.values() if item.options.get("read_only") is True)
    store.emit(AccessChanged(Access(read_only=read_only)))
    identity = this_identity(tool_version=__version__, environ=env)
    audit = AuditLog(config.audit_dir, identity=identity)
    journal = Journal(audit)
    jury = Jury(_slow_by_guard(bindings))
    desk = Desk(
        store,
        connectors,
        journal,
        rules=Rules(config.floor, config.is_production),
        lifetime=timedelta(seconds=config.policy.plan_expires_s),
    )
    poller = Poller(store, connectors, intervals=_intervals(config), judging=jury.hear)
    return Program(config, store, connectors, poller, desk, journal, audit, wallet, journal.operator, identity.host)


def _connect(config: Config, wallet: Wallet, env: Mapping[str, str], store: Store) -> Mapping[str, Connector]:
    """One connector for each configured connection. One that can't be built is a broken row, not the end."""
    found: dict[str, Connector] = {}
    for connection in config.connections.values():
        known = store.state.connections.get(connection.name)
        health = replace(
            known or ConnectionHealth(connection.name, connection.kind, LinkState.UNKNOWN),
            environment=connection.environment,
            credential_source=wallet.describe(connection.name).badge,
        )
        try:
            found[connection.name] = plugins.connect(connection.kind, _settings(connection, wallet, env))
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


def _settings(connection: ConnectionConfig, wallet: Wallet, env: Mapping[str, str]) -> Settings:
    async def credential() -> Credential | None:
        return await asyncio.to_thread(wallet.credential, connection.name)

    async def renew() -> Credential | None:
        return await asyncio.to_thread(wallet.renew, connection.name)

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
    )


def _binding(item: ConfiguredBinding) -> Binding:
    found = item.guard
    if found is None:
        return Binding(item.endpoint, item.model, item.alias)
    guard = Guard(
        error_ratio=found.error_ratio,
        p50_s=_seconds(found.p50_ms),
        p95_s=_seconds(found.p95_ms),
        p99_s=_seconds(found.p99_ms),
        min_requests=MIN_REQUESTS if found.min_requests is None else found.min_requests,
    )
    return Binding(item.endpoint, item.model, item.alias, guard)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _slow_by_guard(bindings: tuple[Binding, ...]) -> Callable[[EndpointRef], float]:
    """What counts as slow for an endpoint: its p99 guard, where it has one."""
    limits = {item.endpoint: (item.guard or DEFAULT_GUARD).p99_s or SLOW_S for item in bindings}
    return lambda ref: limits.get(ref, SLOW_S)


def _utc_now() -> datetime:
    return datetime.now(UTC)
