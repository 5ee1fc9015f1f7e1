"""A first configuration file: rendered from what was found, checked, and put in place without overwriting."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from mlrelease_tui.config.reading import parse
from mlrelease_tui.config.schema import KnownKeys
from mlrelease_tui.domain.text import escape_hidden
from mlrelease_tui.errors import ConfigError

Value = str | bool | int | float | Sequence["Value"] | Mapping[str, "Value"]
"""What a key of a draft may hold."""

_HEAD = """\
# Configuration of mlrelease. It holds no secrets: a credential says where the secret is, not what it is.
#
#   credential = { command = ["pass", "show", "mlflow"] }    first line of the output, or JSON with an expiry
#   credential = { file = "~/.secrets/mlflow" }              yours alone: chmod 600
#   credential = { keyring = true }                          stored by `mlrelease connections login NAME`
#   credential = { env = "MLFLOW_TRACKING_TOKEN" }
#   credential = { prompt = true }                           asked for, kept in memory only
#
# With `user = "..."` in it a credential is sent as basic, otherwise as bearer.
"""

_FOOT = """\

# Which model an endpoint serves, where no label or annotation says it:
# [[bindings]]
# endpoint = "connection/namespace/name"
# model = "registry/name"
# alias = "champion"
# guard = { error_ratio = 0.01, p99_ms = 400 }

# [environments.production]
# confirm = 3              # at least this level: 1 key, 2 plan, 3 name and reason, 4 second person

# [ui]
# theme = "dark"           # dark, light, contrast, ansi, mono
# [ui.keymap]
# preset = "default"       # default, k9s, lazygit

# [policy]
# arm_minutes = 15         # how long W arms writes
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """A connection to write. `options` holds `url`, `context`, `credential` …; `comment` is a line above it, "" for none."""

    name: str
    kind: str
    options: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))
    environment: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class DraftBinding:
    """A binding to write: `connection/namespace/name` → `connection/name`."""

    endpoint: str
    model: str
    alias: str = ""
    guard: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))


def render(
    connections: Sequence[Draft],
    bindings: Sequence[DraftBinding] = (),
    *,
    settings: Mapping[str, Value] = MappingProxyType({}),
    comment: str = "",
) -> str:
    """The text of a configuration. `settings` are keys of the root (`state_dir`, `ui` …); `comment` goes to the top."""
    out = [_comment(comment) + _HEAD]
    for key, value in settings.items():
        if not isinstance(value, Mapping):
            out.append(f"{_key(key)} = {_value(value)}\n")
    for key, value in settings.items():
        if isinstance(value, Mapping):
            out.append(f"\n[{_key(key)}]\n" + _pairs(value))
    for draft in connections:
        pairs: dict[str, Value] = {"kind": draft.kind, **draft.options}
        if draft.environment:
            pairs["environment"] = draft.environment
        out.append(f"\n{_comment(draft.comment)}[connections.{_key(draft.name)}]\n" + _pairs(pairs))
    for binding in bindings:
        pairs = {"endpoint": binding.endpoint, "model": binding.model}
        if binding.alias:
            pairs["alias"] = binding.alias
        if binding.guard:
            pairs["guard"] = binding.guard
        out.append("\n[[bindings]]\n" + _pairs(pairs))
    return "".join(out) + _FOOT


def write_initial(
    path: Path,
    text: str,
    env: Mapping[str, str],
    *,
    force: bool = False,
    known_keys: KnownKeys = MappingProxyType({}),
) -> None:
    """Put `text` at `path`, mode 0600, whole or not at all; its folder is made with 0700.

    Text that would not load is refused before anything is written. An existing file is kept, `ConfigError`, unless `force`.
    """
    parse(text, path, env, known_keys=known_keys)
    if not force and os.path.lexists(path):
        raise ConfigError("exists already", hint="--force writes it anew", path=str(path))
    try:
        # Each by itself: `parents` would give those above the mode that the umask leaves, which may be everybody's.
        for folder in (*reversed(path.parent.parents), path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        _put(path, text, force)
    except OSError as problem:
        raise ConfigError(f"cannot be written: {problem.strerror}", path=str(path)) from None


def _put(path: Path, text: str, force: bool) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if force:
            Path(name).replace(path)
        else:
            # A link fails where the name is taken; a rename would overwrite what came in between.
            os.link(name, path, follow_symlinks=False)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


def _comment(text: str) -> str:
    return "".join(f"# {escape_hidden(line)}\n" for line in text.splitlines())


def _pairs(table: Mapping[str, Value]) -> str:
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in table.items())


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return (
            "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }" if value else "{}"
        )
    return "[" + ", ".join(_value(item) for item in value) + "]"


def _string(text: str) -> str:
    """A basic string of TOML 1.0. Lone surrogates have no form there: they become U+FFFD."""
    out = text.encode("utf-8", "replace").decode("utf-8")
    out = out.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", _escape, out) + '"'


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04X}"
