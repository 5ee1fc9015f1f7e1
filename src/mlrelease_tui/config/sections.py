"""The tables of the configuration, checked key by key: unknown keys, wrong types, bad values, names that lead nowhere."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from mlrelease_tui.config import schema
from mlrelease_tui.config.lines import KeyLines, KeyPath
from mlrelease_tui.config.model import (
    KEYMAP_PRESETS,
    KNOWN_ENVIRONMENTS,
    THEMES,
    Binding,
    Config,
    ConnectionConfig,
    CredentialConfig,
    EnvironmentConfig,
    Guard,
    Keymap,
    PolicyConfig,
    SourceKind,
    UiConfig,
)
from mlrelease_tui.config.schema import BadValue, Check, Declared, KnownKeys, LooksSecret
from mlrelease_tui.domain.level import Level
from mlrelease_tui.domain.redaction import looks_like_token
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.rollout import Verb
from mlrelease_tui.domain.secret import HIDDEN
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_SOURCES: Final[tuple[SourceKind, ...]] = ("command", "file", "keyring", "env", "prompt", "none")
_INSTEAD: Final = (
    'say where it is: credential = { command = [...] }, { file = "..." }, { keyring = {...} } or { env = "NAME" }'
)
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})

Table = dict[str, Any]
_Ref = TypeVar("_Ref", EndpointRef, ModelRef)


@dataclass(frozen=True, slots=True)
class Sections:
    """Checks the tables of one file. Every method raises `ConfigError` at the line of the key that is wrong."""

    path: Path
    lines: KeyLines
    env: Mapping[str, str]
    known_keys: KnownKeys
    action_ids: Collection[str] | None

    def config(self, tables: Table, dirs: Callable[[], tuple[Path, Path]], warnings: tuple[str, ...]) -> Config:
        """All of the file. `dirs` gives the folders of state and audit where the file names none."""
        self.only((), tables, ("connections", "bindings", "environments", "ui", "policy", "state_dir", "audit_dir"))
        environments = self.environments(self.table((), tables, "environments"))
        connections = {
            name: self.connection(name, value, environments)
            for name, value in self.table((), tables, "connections").items()
        }
        state = self.value((), tables, "state_dir", schema.path)
        audit = self.value((), tables, "audit_dir", schema.path)
        state_dir = Path(cast(str, state)) if state else dirs()[0]
        audit_dir = Path(cast(str, audit)) if audit else state_dir / "audit" if state else dirs()[1]
        return Config(
            path=self.path,
            connections=MappingProxyType(connections),
            bindings=self.bindings(tables.get("bindings", []), connections),
            environments=MappingProxyType(environments),
            ui=self.ui(self.table((), tables, "ui")),
            policy=self.policy(self.table((), tables, "policy")),
            state_dir=state_dir,
            audit_dir=audit_dir,
            warnings=warnings + tuple(_connection_warnings(connections.values())),
            lines=self.lines,
        )

    def connection(self, name: str, value: object, environments: Mapping[str, EnvironmentConfig]) -> ConnectionConfig:
        at: KeyPath = ("connections", name)
        if not _NAME.fullmatch(name):
            raise self.wrong(at, "is no name for a connection", hint="letters, digits, . _ -; at most 63; no slash")
        given = self.as_table(at, value)
        if "kind" not in given:
            raise self.wrong(at, "has no `kind`", hint='for example kind = "mlflow"')
        kind = cast(str, self.value(at, given, "kind", schema.text))
        kinds: KnownKeys = {**self.known_keys, **schema.BUILT_IN_KEYS}
        if kind not in kinds:
            raise self.wrong((*at, "kind"), f"names no connector: {SafeText(kind)}", hint=suggest(kind, kinds))
        declared = kinds[kind]
        keys: Mapping[str, str | Declared] = {**schema.COMMON_KEYS, **(declared or {})}
        if declared is not None:
            self.only(at, given, ("kind", "environment", "credential", *keys))
        environment = cast(str, self.value(at, given, "environment", schema.text) or "")
        self.known_environment(at, environment, environments)
        options: dict[str, object] = {}
        for key, content in given.items():
            if key in {"kind", "environment", "credential"}:
                continue
            self.no_secret((*at, key), key, content)
            check = schema.check_of(keys[key]) if key in keys else _as_it_is
            options[key] = self.value(at, given, key, check)
        for key, option in keys.items():
            if schema.is_required(option) and key not in options:
                raise self.wrong(at, f"has no `{key}`, which kind {kind} needs")
        return ConnectionConfig(
            name=name,
            kind=kind,
            environment=environment,
            options=MappingProxyType(options),
            credential=self.credential(at, given["credential"]) if "credential" in given else None,
            line=self.lines.line_of(at),
        )

    def known_environment(self, at: KeyPath, name: str, environments: Mapping[str, EnvironmentConfig]) -> None:
        if name and name not in environments and name not in KNOWN_ENVIRONMENTS:
            raise self.wrong(
                (*at, "environment"),
                f"names an environment that is not declared: {SafeText(name)}",
                hint=suggest(name, {*environments, *KNOWN_ENVIRONMENTS})
                + f"; or declare it: [environments.{SafeText(name)}]",
            )

    def credential(self, connection: KeyPath, value: object) -> CredentialConfig:
        at = (*connection, "credential")
        if isinstance(value, str):
            raise self.wrong(at, "holds a string, maybe a secret", hint=_INSTEAD)
        given = self.as_table(at, value)
        self.no_secret(at, "", {key: content for key, content in given.items() if key not in _SOURCES})
        self.only(at, given, (*_SOURCES, "user", "scheme", "pass_env"))
        sources = [source for source in _SOURCES if source in given]
        if len(sources) != 1:
            raise self.wrong(at, "wants exactly one source: " + ", ".join(_SOURCES))
        kind = sources[0]
        if "pass_env" in given and kind != "command":
            raise self.wrong((*at, "pass_env"), "belongs to a command only")
        self.no_secret((*at, kind), "", given[kind])
        keyring = self.keyring(at, given["keyring"], str(connection[-1])) if kind == "keyring" else ("", "")
        if kind in {"prompt", "none"} and self.value(at, given, kind, schema.boolean) is not True:
            raise self.wrong((*at, kind), "wants true")
        command = cast(tuple[str, ...], self.value(at, given, "command", schema.arguments) or ())
        if kind == "command" and not (command and command[0]):
            raise self.wrong((*at, kind), 'wants a program and its arguments, such as ["pass", "show", "mlflow"]')
        if command and "/" in command[0] and not command[0].startswith(("/", "~/")):
            raise self.wrong((*at, kind), "wants a program by name or by absolute path, not by a relative one")
        variable = cast(str, self.value(at, given, "env", schema.text) or "")
        if variable and not _VARIABLE.fullmatch(variable):
            raise self.wrong(
                (*at, "env"),
                "wants the name of a variable in capitals, not its value",
                hint='env = "MLFLOW_TRACKING_TOKEN"',
            )
        scheme = cast(str, self.value(at, given, "scheme", schema.choice("bearer", "basic")) or "")
        return CredentialConfig(
            kind=kind,
            command=command,
            pass_env=cast(tuple[str, ...], self.value(at, given, "pass_env", schema.texts) or ()),
            file=cast(str, self.value(at, given, "file", self.credential_path) or ""),
            service=keyring[0],
            entry=keyring[1],
            variable=variable,
            user=cast(str, self.value(at, given, "user", schema.text) or ""),
            scheme=scheme,
            line=self.lines.line_of(at),
        )

    def credential_path(self, value: object, base: Path) -> object:
        """A path; `$CREDENTIALS_DIRECTORY` is where systemd puts a service's credentials."""
        given = schema.text(value)
        variable = "$CREDENTIALS_DIRECTORY/"
        if given.startswith(variable):
            folder = self.env.get("CREDENTIALS_DIRECTORY", "")
            if not folder:
                raise BadValue("names $CREDENTIALS_DIRECTORY, which is not set here")
            return str(Path(folder) / given.removeprefix(variable))
        return schema.path(value, base)

    def keyring(self, credential: KeyPath, value: object, connection: str) -> tuple[str, str]:
        at = (*credential, "keyring")
        if value is True:
            return "mlrelease", connection
        given = self.as_table(at, value)
        self.only(at, given, ("service", "user"))
        service = self.value(at, given, "service", schema.text) or "mlrelease"
        return cast(str, service), cast(str, self.value(at, given, "user", schema.text) or connection)

    def environments(self, given: Table) -> dict[str, EnvironmentConfig]:
        result: dict[str, EnvironmentConfig] = {}
        level = schema.integer(
            int(Level.KEY), int(Level.SECOND), "0 reads, 1 key, 2 plan, 3 name and reason, 4 second person"
        )
        verbs = {str(verb) for verb in Verb}
        for name, value in given.items():
            at: KeyPath = ("environments", name)
            if not _NAME.fullmatch(name):
                raise self.wrong(at, "is no name for an environment", hint="letters, digits, . _ -")
            table = self.as_table(at, value)
            self.only(at, table, ("confirm", "production"))
            confirm = table.get("confirm", 0)
            floors: dict[Verb, Level] = {}
            if isinstance(confirm, dict):
                self.only((*at, "confirm"), confirm, verbs)
                floors = {
                    Verb(key): Level(cast(int, self.value((*at, "confirm"), confirm, key, level))) for key in confirm
                }
                confirm = 0
            elif "confirm" in table:
                confirm = self.value(at, table, "confirm", level)
            production = bool(self.value(at, table, "production", schema.boolean))
            result[name] = EnvironmentConfig(
                name, production, Level(cast(int, confirm)), MappingProxyType(floors), self.lines.line_of(at)
            )
        return result

    def bindings(self, value: object, connections: Mapping[str, ConnectionConfig]) -> tuple[Binding, ...]:
        if not isinstance(value, list):
            raise self.wrong(("bindings",), f"wants [[bindings]], not {schema.kind_of(value)}")
        result: list[Binding] = []
        for index, item in enumerate(value):
            binding = self.binding(("bindings", index), item, connections)
            twin = next((other for other in result if other.endpoint == binding.endpoint), None)
            if twin is not None:
                raise self.wrong(
                    ("bindings", index, "endpoint"),
                    f"is bound twice: {SafeText(binding.endpoint.id)}",
                    hint=f"it is bound on line {twin.line} already",
                )
            result.append(binding)
        return tuple(result)

    def binding(self, at: KeyPath, item: object, connections: Mapping[str, ConnectionConfig]) -> Binding:
        given = self.as_table(at, item)
        self.only(at, given, ("endpoint", "model", "alias", "guard"))
        for key in ("endpoint", "model"):
            if key not in given:
                raise self.wrong(at, f"has no `{key}`")
        endpoint = self.reference(at, given, "endpoint", EndpointRef, "connection/namespace/name")
        model = self.reference(at, given, "model", ModelRef, "connection/name")
        for key, name in (("endpoint", endpoint.connection), ("model", model.connection)):
            if name not in connections:
                raise self.wrong((*at, key), f"names no connection: {SafeText(name)}", hint=suggest(name, connections))
        return Binding(
            endpoint=endpoint,
            model=model,
            alias=cast(str, self.value(at, given, "alias", schema.text) or ""),
            guard=self.guard((*at, "guard"), given["guard"]) if "guard" in given else None,
            line=self.lines.line_of(at),
        )

    def reference(self, at: KeyPath, given: Table, key: str, kind: type[_Ref], shape: str) -> _Ref:
        written = cast(str, self.value(at, given, key, schema.text))
        try:
            return kind.parse(written)
        except ValueError:
            raise self.wrong((*at, key), f"wants {shape}, not {str(SafeText(written))!r}") from None

    def guard(self, at: KeyPath, value: object) -> Guard:
        given = self.as_table(at, value)
        latencies = ("p50_ms", "p95_ms", "p99_ms")
        self.only(at, given, ("error_ratio", *latencies, "min_requests"))
        if not given:
            raise self.wrong(at, "sets no limit", hint="for example { error_ratio = 0.01, p99_ms = 400 }")
        limits = {key: self.value(at, given, key, schema.number(0.001, 3_600_000, "milliseconds")) for key in latencies}
        return Guard(
            error_ratio=cast("float | None", self.value(at, given, "error_ratio", schema.number(0, 1, "0.01 is 1 %"))),
            p50_ms=cast("float | None", limits["p50_ms"]),
            p95_ms=cast("float | None", limits["p95_ms"]),
            p99_ms=cast("float | None", limits["p99_ms"]),
            min_requests=cast("int | None", self.value(at, given, "min_requests", schema.integer(1, 1_000_000_000))),
        )

    def ui(self, given: Table) -> UiConfig:
        at: KeyPath = ("ui",)
        self.only(at, given, ("theme", "ascii", "mouse", "bell", "slow", "refresh_s", "keymap"))
        keymap = self.table(at, given, "keymap")
        keys: KeyPath = (*at, "keymap")
        self.only(keys, keymap, ("preset", "remap"))
        remap = self.table(keys, keymap, "remap")
        if self.action_ids is not None:
            self.only((*keys, "remap"), remap, self.action_ids, what="action")
        return UiConfig(
            theme=cast(str, self.value(at, given, "theme", schema.choice(*THEMES)) or ""),
            ascii=cast("bool | None", self.value(at, given, "ascii", schema.boolean)),
            mouse=cast("bool | None", self.value(at, given, "mouse", schema.boolean)),
            bell=self.value(at, given, "bell", schema.boolean) is not False,
            slow=self.value(at, given, "slow", schema.boolean) is True,
            refresh_s=cast(float, self.value(at, given, "refresh_s", schema.number(0.5, 3600, "seconds")) or 2.0),
            keymap=Keymap(
                preset=cast(str, self.value(keys, keymap, "preset", schema.choice(*KEYMAP_PRESETS)) or "default"),
                remap=MappingProxyType(
                    {action: cast(str, self.value((*keys, "remap"), remap, action, schema.text)) for action in remap}
                ),
            ),
        )

    def policy(self, given: Table) -> PolicyConfig:
        at: KeyPath = ("policy",)
        self.only(at, given, ("arm_minutes", "plan_expires_s"))
        usual = PolicyConfig()
        arm = self.value(at, given, "arm_minutes", schema.integer(1, 240, "minutes"))
        expires = self.value(at, given, "plan_expires_s", schema.integer(10, 120, "seconds"))
        return PolicyConfig(
            cast("int | None", arm) or usual.arm_minutes, cast("int | None", expires) or usual.plan_expires_s
        )

    def only(self, at: KeyPath, given: Table, known: Iterable[str], *, what: str = "key") -> None:
        """Every key of the table is known; a secret under an unknown one is told first, because the remedy is another."""
        allowed = sorted(known)
        for key, value in given.items():
            if key in allowed:
                continue
            self.no_secret((*at, key), key, value)
            raise self.wrong((*at, key), f"is an unknown {what}", hint=suggest(key, allowed))

    def no_secret(self, at: KeyPath, key: str, value: object) -> None:
        try:
            schema.refuse_secret(key, value)
        except LooksSecret as problem:
            raise self.wrong(at, str(problem), hint=_INSTEAD) from None

    def value(self, at: KeyPath, given: Table, key: str, check: Check) -> object | None:
        """The checked value of `key`; None where it is not given."""
        if key not in given:
            return None
        self.no_secret((*at, key), "", given[key])
        try:
            return check(given[key], self.path.parent)
        except BadValue as problem:
            raise self.wrong((*at, key), str(problem)) from None

    def table(self, at: KeyPath, given: Table, key: str) -> Table:
        return self.as_table((*at, key), given.get(key, {}))

    def as_table(self, at: KeyPath, value: object) -> Table:
        if not isinstance(value, dict):
            self.no_secret(at, str(at[-1]), value)
            raise self.wrong(at, f"wants a table, not {schema.kind_of(value)}")
        return value

    def wrong(self, at: KeyPath, message: str, *, hint: str = "") -> ConfigError:
        return ConfigError(f"`{dotted(at)}` {message}", hint=hint, path=str(self.path), line=self.lines.line_of(at))


def dotted(keys: KeyPath) -> str:
    """A key path as TOML writes it: `connections."a b".url`; `bindings[0].model` for an element of an array. A secret that was
    pasted where a key belongs is hidden."""
    out = ""
    for key in keys:
        if isinstance(key, int):
            out += f"[{key}]"
        elif looks_like_token(key):
            out += ("." if out else "") + HIDDEN
        else:
            out += ("." if out else "") + (key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'"{SafeText(key)}"')
    return out


def suggest(word: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known word, or all of them where none is near."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    return "known: " + ", ".join(words) if words else ""


def _as_it_is(value: object, _base: Path) -> object:
    return schema.frozen(value)


def _connection_warnings(connections: Iterable[ConnectionConfig]) -> Iterable[str]:
    for connection in connections:
        address = urlsplit(str(connection.options.get("url", "")))
        has_secret = connection.credential is not None and connection.credential.kind != "none"
        if has_secret and address.scheme == "http" and address.hostname not in _LOCAL_HOSTS:
            yield f"{connection.name}: its credential travels unencrypted (http)"
