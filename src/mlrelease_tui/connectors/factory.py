"""How a connector comes to be: the factory that an entry point names, and what the core gives to it.

Authors import these names from `connectors/api.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mlrelease_tui.connectors.api import Connector

GROUP = "mlrelease_tui.connectors"
"""The entry point group by which third parties add connectors."""


class Revealable(Protocol):
    """A secret: shows `***` everywhere but here."""

    def reveal(self) -> str: ...


class Credential(Protocol):
    """What authenticates us: `scheme` is "bearer" or "basic"; `source` says where it came from, for people."""

    @property
    def scheme(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def secret(self) -> Revealable: ...
    @property
    def source(self) -> str: ...


CredentialSource = Callable[[], Awaitable[Credential | None]]
"""Gives the connection's credential when it is needed, None where none is configured. Raises CredentialError."""


async def no_credential() -> Credential | None:
    return None


@dataclass(frozen=True, slots=True)
class Settings:
    """What the core gives a connector. `options` are the connection's own keys from the configuration, already checked
    against the factory's `options`; paths in them are absolute. `timeout_s` bounds every call, in seconds. `renew` asks
    the credential's source again although what it gave has not expired: once after a 401, for reads only. `bound` names the
    endpoints that the configuration ties to a model, by namespace and name: they are shown even where nothing on them says so."""

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    environment: str = ""
    timeout_s: float = 10.0
    credential: CredentialSource = no_credential
    renew: CredentialSource = no_credential
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    environ: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    cache_dir: Path | None = None
    bound: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Option:
    """One key that a connector accepts in its `[connections.NAME]` table. `types` are TOML's: str, int, float, bool, list, dict."""

    types: tuple[type, ...]
    help: str
    required: bool = False
    path: bool = False
    """Whether the value is a path, made absolute against the configuration file's folder."""


@dataclass(frozen=True, slots=True)
class ConnectorFactory:
    """What an entry point names. `build` is called once for each configured connection and must not touch the network.

    `modules` are what `build` and the first requests will import. The app imports them in a thread before, so that no key waits;
    whether it did must make no other difference.
    """

    build: Callable[[Settings], Connector]
    options: Mapping[str, Option] = field(default_factory=lambda: MappingProxyType({}))
    modules: tuple[str, ...] = ()

    def __call__(self, settings: Settings) -> Connector:
        return self.build(settings)
