"""The configuration as values: frozen, checked, paths absolute, no secret anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from mlrelease_tui.config.lines import KeyLines, KeyPath
from mlrelease_tui.domain.level import Level
from mlrelease_tui.domain.policy import is_production
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.rollout import Verb
from mlrelease_tui.errors import ConfigError

SourceKind = Literal["command", "file", "keyring", "env", "prompt", "none"]

THEMES: Final = ("dark", "light", "contrast", "ansi", "mono")
KEYMAP_PRESETS: Final = ("default", "k9s", "lazygit")
KNOWN_ENVIRONMENTS: Final = ("dev", "test", "demo", "staging", "production")
"""Environments that need no `[environments.NAME]`. Any other has to be declared, because policy hangs on the word."""


@dataclass(frozen=True, slots=True)
class CredentialConfig:
    """Where a connection's secret comes from; never the secret.

    Of the fields after `kind` those of that kind are set: `command` (argv, with `pass_env` the variables that it needs and would
    not get otherwise) · `file` (absolute) · `service` and `entry` (keyring) · `variable` (env). `none` is anonymous on purpose.
    `user` and `scheme` ("bearer", "basic") are "" where the source or the kind decides.
    """

    kind: SourceKind
    command: tuple[str, ...] = ()
    pass_env: tuple[str, ...] = ()
    file: str = ""
    service: str = ""
    entry: str = ""
    variable: str = ""
    user: str = ""
    scheme: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """One configured instance of a connector. `environment` is "" where none is named. `line` is 1-based."""

    name: str
    kind: str
    environment: str = ""
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    credential: CredentialConfig | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Guard:
    """Limits which a canary may not pass. Error ratio 0–1, latencies in milliseconds; None where no limit is set."""

    error_ratio: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    min_requests: int | None = None


@dataclass(frozen=True, slots=True)
class Binding:
    """Which model an endpoint serves, said where no label says it. `alias` is "" where none follows."""

    endpoint: EndpointRef
    model: ModelRef
    alias: str = ""
    guard: Guard | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class EnvironmentConfig:
    """What configuration asks of an environment, beyond what the program asks anyway."""

    name: str
    production: bool = False
    confirm: Level = Level.READ
    verbs: Mapping[Verb, Level] = field(default_factory=lambda: MappingProxyType({}))
    line: int = 0

    def floor(self, verb: Verb) -> Level:
        """The level that `verb` wants here at least. A floor: it can raise what policy says and never lower it."""
        return max(self.confirm, self.verbs.get(verb, Level.READ))


@dataclass(frozen=True, slots=True)
class Keymap:
    """Keys by preset, then by action id. Whether ids and keys exist is for the key catalogue to say."""

    preset: str = "default"
    remap: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class UiConfig:
    """`theme` "" and `ascii`, `mouse` None: decided from the terminal. `refresh_s` is the time between two reads, in seconds.
    `bell`: ring when an endpoint becomes critical. `slow`: draw for a slow link from the start."""

    theme: str = ""
    ascii: bool | None = None
    mouse: bool | None = None
    bell: bool = True
    slow: bool = False
    refresh_s: float = 2.0
    keymap: Keymap = field(default_factory=Keymap)


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """`arm_minutes`: how long writes stay armed. `plan_expires_s`: how old a plan may be when it is sent (120 at most)."""

    arm_minutes: int = 15
    plan_expires_s: int = 120


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the file said. `warnings` are sentences for `doctor` and the connections screen."""

    path: Path
    connections: Mapping[str, ConnectionConfig]
    bindings: tuple[Binding, ...]
    environments: Mapping[str, EnvironmentConfig]
    ui: UiConfig
    policy: PolicyConfig
    state_dir: Path
    audit_dir: Path
    warnings: tuple[str, ...] = ()
    lines: KeyLines = field(default_factory=lambda: KeyLines(MappingProxyType({})), repr=False, compare=False)

    def error(self, where: KeyPath, message: str, *, hint: str = "") -> ConfigError:
        """An error at a key of this file, for those who check what only they know (action ids, plugin options)."""
        return ConfigError(message, hint=hint, path=str(self.path), line=self.lines.line_of(where))

    def floor(self, environment: str, verb: Verb) -> Level:
        """The confirmation level that configuration asks for at least; READ where it says nothing."""
        named = self.environments.get(environment)
        return named.floor(verb) if named else Level.READ

    def is_production(self, environment: str) -> bool:
        """Whether an environment is production, by its name or because the file says so."""
        named = self.environments.get(environment)
        return is_production(environment) or bool(named and named.production)
