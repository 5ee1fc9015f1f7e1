"""Reading kubeconfig files as kubectl does: which server, whom to trust there, and as whom to speak.

Source: the Kubernetes documentation on organising cluster access, and kubectl's own merging: of several files the first that names
something wins, entry by entry, and the first `current-context` that is set.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes import documents
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ConfigError

_KINDS: Final = ("clusters", "users", "contexts")
_ENTRY: Final = {"clusters": "cluster", "users": "user", "contexts": "context"}


@dataclass(frozen=True, slots=True)
class Named:
    """One entry of a kubeconfig, the folder of its file (relative paths in it begin there) and that file, where there is one."""

    values: Mapping[str, Any] = field(repr=False)
    folder: Path
    file: Path | None = None

    def text(self, key: str) -> str:
        """The text under this key, "" where there is none. ConfigError where it is something else."""
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise ConfigError(f"kubeconfig: {key} is {type(value).__name__}, not text", hint="correct the file")
        return value

    def path(self, key: str) -> Path | None:
        """The file that this key names, relative to the kubeconfig's folder; None where there is none."""
        value = self.text(key)
        return self.folder / Path(value).expanduser() if value else None

    def data(self, key: str) -> bytes:
        """What a `…-data` key holds in base64, b"" where there is none."""
        try:
            return base64.b64decode(self.text(key), validate=True)
        except binascii.Error as error:
            raise ConfigError(f"kubeconfig: {key} is no base64", hint="correct the file") from error

    def mapping(self, key: str) -> Named | None:
        """The table under this key; None where there is none."""
        value = self.values.get(key)
        return Named(value, self.folder, self.file) if isinstance(value, Mapping) else None


@dataclass(frozen=True, slots=True)
class Context:
    """A context with what it names, resolved once: a later `kubectl config use-context` does not move us."""

    name: str
    namespace: str
    cluster: Named
    user: Named

    @property
    def server(self) -> str:
        return self.cluster.text("server").rstrip("/")


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """Merged files. Names keep the order of the files."""

    clusters: Mapping[str, Named]
    users: Mapping[str, Named]
    contexts: Mapping[str, Named]
    current: str
    files: tuple[Path, ...]

    def context(self, name: str = "") -> Context:
        """The named context, or the current one. ConfigError where it, its cluster or its user is not there."""
        wanted = name or self.current
        if not wanted:
            raise ConfigError("the kubeconfig has no current context", hint=f"set `context` to one of: {self._known()}")
        entry = self.contexts.get(wanted)
        if entry is None:
            raise ConfigError(f"the kubeconfig has no context {SafeText(wanted)}", hint=f"there are: {self._known()}")
        cluster, user = entry.text("cluster"), entry.text("user")
        for what, called, there in (("cluster", cluster, self.clusters), ("user", user, self.users)):
            if called and called not in there:
                raise ConfigError(
                    f"context {SafeText(wanted)} names {what} {SafeText(called)}, which the kubeconfig does not have",
                    hint=f"add it, or set `context` to another of: {self._known()}",
                )
        nothing = Named({}, entry.folder)
        found = Context(
            wanted, entry.text("namespace"), self.clusters.get(cluster, nothing), self.users.get(user, nothing)
        )
        if not found.server:
            raise ConfigError(f"the cluster of context {SafeText(wanted)} has no server", hint="correct the kubeconfig")
        return found

    def _known(self) -> str:
        return ", ".join(SafeText(name) for name in self.contexts) or "none"


def paths_of(environ: Mapping[str, str], explicit: str = "") -> tuple[Path, ...]:
    """The files to read, in order: the one that is named, else those of KUBECONFIG, else the default one."""
    if explicit:
        return (Path(explicit),)
    listed = [Path(item) for item in environ.get("KUBECONFIG", "").split(":") if item]
    home = environ.get("HOME")
    return tuple(listed) or ((Path(home) / ".kube" / "config",) if home else ())


def load(paths: tuple[Path, ...]) -> Kubeconfig:
    """Read and merge. Files that are not there are left out, as kubectl does; ConfigError where none is, or one can't be read."""
    merged: dict[str, dict[str, Named]] = {kind: {} for kind in _KINDS}
    current, read = "", []
    for path in paths:
        document = documents.read(path)
        if document is None:
            continue
        read.append(path)
        for kind in _KINDS:
            for name, values in _entries(document, kind, path):
                merged[kind].setdefault(name, Named(values, path.parent, path))
        current = current or str(document.get("current-context") or "")
    if not read:
        tried = ", ".join(str(SafeText(path)) for path in paths) or "none"
        raise ConfigError(f"there is no kubeconfig (tried: {tried})", hint="set `kubeconfig`, or KUBECONFIG")
    return Kubeconfig(merged["clusters"], merged["users"], merged["contexts"], current, tuple(read))


def doubts_of(path: Path) -> str:
    """Why this file should not be believed without a second thought: it may be another user's words; "" where it is ours alone."""
    try:
        status = path.stat()
    except OSError:
        return ""
    if status.st_uid not in {os.getuid(), 0}:
        return "belongs to another user"
    return "can be written by others" if status.st_mode & 0o022 else ""


def _entries(document: Mapping[str, Any], kind: str, path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    listed = document.get(kind) or []
    found = []
    for item in listed if isinstance(listed, list) else [None]:
        if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
            raise ConfigError(
                f"has an entry of {kind} without a name", path=str(SafeText(path)), hint="correct the file"
            )
        values = item.get(_ENTRY[kind])
        found.append((item["name"], values if isinstance(values, Mapping) else {}))
    return found
