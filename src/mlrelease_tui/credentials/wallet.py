"""The credentials of all connections: found when first wanted, kept in memory until they expire, described without their value."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mlrelease_tui.config.model import Config, ConnectionConfig, CredentialConfig
from mlrelease_tui.credentials import keyring_source, mlflow_client
from mlrelease_tui.credentials.answer import Answer
from mlrelease_tui.credentials.command import Runner
from mlrelease_tui.credentials.sources import from_command, from_env, from_file, variables_of
from mlrelease_tui.domain.secret import Credential, HiddenMapping, Scheme, Secret
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import CredentialError

Prompt = Callable[[ConnectionConfig], Secret | None]
"""Asks the person at the terminal; None where there is none, or they gave nothing."""


class Keyring(Protocol):
    """A store of secrets; `keyring_source` is the real one."""

    def read_secret(self, service: str, entry: str) -> Secret | None: ...

    def store_secret(self, service: str, entry: str, secret: Secret) -> str: ...


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """Where a connection's credential comes from, for screens and `doctor`.

    `kind` is "command", "file", "keyring", "env", "prompt", "mlflow", "none"; `detail` says which (program, path, entry, variable).
    `held`: it is in memory now, until `expires_at` (UTC; None where unknown).
    """

    kind: str
    detail: SafeText
    held: bool = False
    expires_at: datetime | None = None

    @property
    def badge(self) -> str:
        """A short word: the kind, but for the ambient and the anonymous."""
        return "anonymous" if self.kind == "none" else self.kind


class Wallet:
    """Finds credentials, one source per connection, and keeps them. All calls may block (10 s at most): call from a thread.

    `prompt` None: nobody can be asked. `clock` gives UTC. Safe to share between threads; two threads that want the same
    connection's credential run its source once.
    """

    def __init__(
        self,
        config: Config,
        *,
        env: Mapping[str, str],
        prompt: Prompt | None,
        run: Runner,
        clock: Callable[[], datetime],
        keyring: Keyring = keyring_source,
        uid: int | None = None,
    ) -> None:
        self._config = config
        self._env = HiddenMapping(env)
        self._prompt = prompt
        self._run = run
        self._clock = clock
        self._keyring = keyring
        self._uid = os.getuid() if uid is None else uid
        self._held: dict[str, Credential] = {}
        self._locks = {name: threading.Lock() for name in config.connections}

    def credential(self, connection: str) -> Credential | None:
        """The credential of a connection, from memory while it is good; None where it is to be anonymous.

        `CredentialError` where its configured source fails: nothing else is tried, because that could act as somebody else.
        """
        configured = self._connection(connection)
        with self._locks[connection]:
            held = self._held.get(connection)
            if held is not None and not held.expired(self._clock()):
                return held
            self._held.pop(connection, None)
            found = resolve(
                configured,
                self._config,
                env=self._env,
                prompt=self._prompt,
                run=self._run,
                clock=self._clock,
                keyring=self._keyring,
                uid=self._uid,
            )
            if found is not None:
                self._held[connection] = found
            return found

    def renew(self, connection: str) -> Credential | None:
        """Forget what is held and ask the source again: what to do once after a 401.

        What a person typed, who can't be asked again, is kept: a server that errs once must not cost them the session.
        """
        source = self._connection(connection).credential
        if source is None or source.kind != "prompt" or self._prompt is not None:
            self.forget(connection)
        return self.credential(connection)

    def forget(self, connection: str) -> None:
        with self._locks[self._connection(connection).name]:
            self._held.pop(connection, None)

    def login(self, connection: str, secret: Secret) -> str:
        """Store a secret where the connection's configuration will look for it; say where.

        A keyring is written and read back; a prompt is answered for this process. Other sources are not ours to write.
        """
        configured = self._connection(connection)
        source = configured.credential
        if source is not None and source.kind == "keyring":
            where = self._keyring.store_secret(source.service, source.entry, secret)
            self.forget(connection)
            return f"keyring ({where})"
        if source is not None and source.kind == "prompt":
            with self._locks[connection]:
                self._held[connection] = _credential(configured, source, Answer(secret))
            return "memory of this process"
        raise CredentialError(
            f"connection {SafeText(connection)} takes its credential from {self.describe(connection).badge}, "
            "which is not written here",
            hint=f"with credential = {{ keyring = true }} under [connections.{SafeText(connection)}] a login is stored",
        )

    def describe(self, connection: str) -> SourceDescription:
        """Where the credential comes from. Asks nothing, runs nothing, shows no value."""
        configured = self._connection(connection)
        held = self._held.get(connection)
        kind, detail = _described(configured, self._env)
        return SourceDescription(kind, SafeText(detail), held is not None, held.expires_at if held else None)

    def _connection(self, name: str) -> ConnectionConfig:
        try:
            return self._config.connections[name]
        except KeyError:
            raise CredentialError(f"there is no connection {SafeText(name)}") from None


def resolve(
    connection: ConnectionConfig,
    config: Config,
    *,
    env: Mapping[str, str],
    prompt: Prompt | None,
    run: Runner,
    clock: Callable[[], datetime],
    keyring: Keyring = keyring_source,
    uid: int | None = None,
) -> Credential | None:
    """Ask a connection's source once. None where it is anonymous; `CredentialError` where its source fails."""
    env = HiddenMapping(env)
    owner = os.getuid() if uid is None else uid
    try:
        return _resolved(connection, config, env, prompt, run, clock(), keyring, owner)
    except CredentialError as problem:
        # The frames that saw the secret are cut off: tracebacks that print locals would show it.
        failure = problem
    raise failure.with_traceback(None) from None


def _resolved(
    connection: ConnectionConfig,
    config: Config,
    env: Mapping[str, str],
    prompt: Prompt | None,
    run: Runner,
    now: datetime,
    keyring: Keyring,
    uid: int,
) -> Credential | None:
    source = connection.credential
    if source is None:
        if connection.kind != "mlflow":
            return None
        return mlflow_client.find(connection, config.connections.values(), env=env, uid=uid)
    if source.kind == "none":
        return None
    name = connection.name
    if source.kind == "command":
        drop = variables_of(other.credential for other in config.connections.values())
        answer = from_command(name, source, env=env, drop=drop, run=run, now=now)
    elif source.kind == "file":
        answer = from_file(name, source.file, uid=uid, now=now)
    elif source.kind == "keyring":
        secret = keyring.read_secret(source.service, source.entry)
        if secret is None:
            raise CredentialError(
                f"the keyring has nothing for {SafeText(name)} "
                f"(service {SafeText(source.service)}, entry {SafeText(source.entry)})",
                hint=f"mlrelease connections login {SafeText(name)}",
            )
        answer = Answer(secret)
    elif source.kind == "env":
        answer = from_env(name, source.variable, env)
    else:
        secret = prompt(connection) if prompt is not None else None
        if secret is None:
            raise CredentialError(
                f"the credential of {SafeText(name)} is asked for, and nobody answered",
                hint="it is asked for at the start, at a terminal: start again, or configure another source",
            )
        answer = Answer(secret)
    return _credential(connection, source, answer)


def _credential(connection: ConnectionConfig, source: CredentialConfig, answer: Answer) -> Credential:
    user = source.user or answer.user
    basic = source.scheme == "basic" or (not source.scheme and bool(user))
    scheme: Scheme = "basic" if basic else "bearer"
    if scheme == "basic" and not user:
        raise CredentialError(
            f"the credential of {SafeText(connection.name)} is basic and names no user",
            hint='credential = { ..., user = "..." }',
        )
    return Credential(scheme, user if scheme == "basic" else "", answer.secret, source.kind, answer.expires_at)


def _described(connection: ConnectionConfig, env: Mapping[str, str]) -> tuple[str, str]:
    source = connection.credential
    if source is None:
        if connection.kind == "mlflow" and mlflow_client.speaks_http(connection):
            return "mlflow", "where MLflow's own client looks (MLFLOW_TRACKING_*, ~/.mlflow/credentials)"
        return "none", "no credential configured"
    details = {
        "command": source.command[0] if source.command else "",
        "file": source.file,
        "keyring": f"{source.service}/{source.entry}",
        "env": f"${source.variable}" + ("" if env.get(source.variable) else " (not set)"),
        "prompt": "asked for, kept in memory",
        "none": "anonymous on purpose",
    }
    return source.kind, details[source.kind]
