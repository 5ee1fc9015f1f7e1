"""What stands before anything is read or wired: the configuration, the last known fleet, who may write, and who operates.

The first half of the composition root, and all that the first frame needs, so it imports little. `bootstrap.wire` makes a program
of it.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from mlrelease_tui.config.model import Binding as ConfiguredBinding
from mlrelease_tui.config.model import Config
from mlrelease_tui.config.reading import load
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.status import MIN_REQUESTS, Binding, Guard
from mlrelease_tui.errors import ConfigError
from mlrelease_tui.store import cache
from mlrelease_tui.store.state import State
from mlrelease_tui.store.store import Store

if TYPE_CHECKING:
    from mlrelease_tui.connectors.api import Option
    from mlrelease_tui.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class Outset:
    """What is known before anything is wired. `secrets` were typed by the operator for connections that ask for one."""

    config: Config
    store: Store
    operator: str
    secrets: Mapping[str, Secret] = field(default_factory=lambda: MappingProxyType({}), repr=False)


def load_config(path: Path | None, environ: Mapping[str, str], *, action_ids: Collection[str] | None = None) -> Config:
    """Read the configuration with the keys of every installed connector. ConfigError as `config.reading.load` raises it."""
    try:
        return load(path, environ, action_ids=action_ids)
    except ConfigError:
        # Looking through what is installed takes longer than reading the file: only where it may speak of a foreign connector.
        foreign = _foreign_keys()
        if not foreign:
            raise
    return load(path, environ, known_keys=foreign, action_ids=action_ids)


def _foreign_keys() -> Mapping[str, Mapping[str, Option] | None]:
    """The keys of connectors that other packages bring; None for one that can't be loaded."""
    from mlrelease_tui.connectors import plugins

    known: dict[str, Mapping[str, Option] | None] = {}
    for plugin in plugins.plugins():
        if not plugin.is_own:
            try:
                known[plugin.kind] = plugins.load(plugin.kind).options
            except ConfigError:
                known[plugin.kind] = None
    return known


def begin(
    config: Config,
    *,
    restore: bool = True,
    secrets: Mapping[str, Secret] = MappingProxyType({}),
) -> Outset:
    """What is known at once. `restore`: with the fleet that the last run saw."""
    now = datetime.now(UTC)
    last = cache.load(cache_path(config), config=str(config.path), now=now) if restore else State()
    connections = dict(last.connections)
    for item in config.connections.values():
        health = connections.get(item.name) or ConnectionHealth(item.name, item.kind, LinkState.UNKNOWN)
        connections[item.name] = replace(health, environment=item.environment)
    state = replace(
        last,
        connections=MappingProxyType(connections),
        bindings=MappingProxyType({item.endpoint: _binding(item) for item in config.bindings}),
        access=Access(read_only=frozenset(_read_only(config))),
    )
    return Outset(config, Store(state), operator_name(), secrets)


def _read_only(config: Config) -> Iterable[str]:
    """The connections to which nothing is ever written."""
    return (item.name for item in config.connections.values() if item.options.get("read_only") is True)


def operator_name() -> str:
    """Who acts, as the audit calls them: the login name, or the uid where there is no name."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name or f"uid {uid}"
    except KeyError:
        return f"uid {uid}"


def cache_path(config: Config) -> Path:
    """Where the fleet is kept for the next start."""
    return config.state_dir / "last-known.json"


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
