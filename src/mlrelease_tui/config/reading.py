"""From a path to a checked `Config`: where the file is, whether it may be trusted, what it says."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from mlrelease_tui.config.lines import MAX_DEPTH, KeyLines, locate
from mlrelease_tui.config.model import Config, PolicyConfig, UiConfig
from mlrelease_tui.config.schema import KnownKeys
from mlrelease_tui.config.sections import Sections, dotted
from mlrelease_tui.errors import ConfigError

MAX_BYTES: Final = 1024 * 1024
"""A configuration of a thousand connections is a fifth of this."""

_POSITION = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")


def config_path(path: Path | None, env: Mapping[str, str]) -> Path:
    """Where the configuration is: `path` (`--config`), `MLRELEASE_CONFIG`, `$XDG_CONFIG_HOME/mlrelease/config.toml`.

    ConfigError where that can't be said: an unknown home folder, or a relative path from a folder that was deleted.
    """
    named = path if path is not None else Path(found) if (found := env.get("MLRELEASE_CONFIG")) else None
    if named is None:
        return _xdg(env, "XDG_CONFIG_HOME", ".config") / "mlrelease" / "config.toml"
    try:
        return named.expanduser().absolute()
    except RuntimeError:
        raise ConfigError("begins in a home folder that is not known", path=str(named)) from None
    except FileNotFoundError:
        raise ConfigError(
            "is relative, and the current folder was deleted", hint="name it from / on", path=str(named)
        ) from None


def is_unnamed_and_missing(path: Path | None, env: Mapping[str, str]) -> bool:
    """Whether nobody named a configuration and none is where it is looked for: the one case in which the defaults are meant."""
    if path is not None or env.get("MLRELEASE_CONFIG"):
        return False
    try:
        config_path(None, env).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        # Whether there is one can't be seen; reading it says why.
        return False
    return False


def load(
    path: Path | None,
    env: Mapping[str, str],
    *,
    known_keys: KnownKeys = MappingProxyType({}),
    action_ids: Collection[str] | None = None,
    uid: int | None = None,
) -> Config:
    """Read and check the configuration.

    `known_keys` adds the kinds of plugins with their options; `action_ids` are the ids that `[ui.keymap.remap]` may name (None:
    not checked); `uid` is who must own the file (default: us; root's is trusted too). `ConfigError` with path, line, key and a
    suggestion for everything that is wrong; it holds no value of the file that could be a secret.
    """
    where = config_path(path, env)
    outcome = _read(where, env, known_keys, action_ids, os.getuid() if uid is None else uid)
    if isinstance(outcome, ConfigError):
        # A fresh traceback: the frames that saw the text of the file (and a secret in it) are not shown with their locals.
        raise outcome.with_traceback(None) from None
    return outcome


def parse(
    document: str,
    path: Path,
    env: Mapping[str, str],
    *,
    known_keys: KnownKeys = MappingProxyType({}),
    action_ids: Collection[str] | None = None,
    warnings: tuple[str, ...] = (),
) -> Config:
    """Check the text of a configuration as if it stood at `path`."""
    document = document.replace("\r\n", "\n")
    lines = locate(document)
    tables = _tables(document, path, lines)
    return Sections(path, lines, env, known_keys, action_ids).config(tables, lambda: _default_dirs(env), warnings)


def empty(env: Mapping[str, str]) -> Config:
    """A configuration without connections, for commands that make sense without a file."""
    state, audit = _default_dirs(env)
    nothing: Mapping[str, Any] = MappingProxyType({})
    return Config(config_path(None, env), nothing, (), nothing, UiConfig(), PolicyConfig(), state, audit)


def _read(
    path: Path, env: Mapping[str, str], known_keys: KnownKeys, action_ids: Collection[str] | None, uid: int
) -> Config | ConfigError:
    try:
        content, warnings = _content(path, uid)
        return parse(
            _decoded(content, path), path, env, known_keys=known_keys, action_ids=action_ids, warnings=warnings
        )
    except ConfigError as problem:
        return problem


def _content(path: Path, uid: int) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of a regular file that nobody else can have written; a command in it runs as us."""
    try:
        # Not blocking: a FIFO would hold the program for ever.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ConfigError(
            "there is no configuration", hint="`mlrelease init` writes one, `mlrelease demo` needs none", path=str(path)
        ) from None
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", path=str(path)) from None
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise ConfigError("is not a regular file", path=str(path))
        if facts.st_uid not in {uid, 0}:
            raise ConfigError(
                f"belongs to another user (uid {facts.st_uid})",
                hint="a configuration can run commands: use a file of your own",
                path=str(path),
            )
        if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ConfigError(
                f"others may write it (mode {stat.S_IMODE(facts.st_mode):04o})",
                hint=f"chmod go-w {path}",
                path=str(path),
            )
        if facts.st_size > MAX_BYTES:
            raise ConfigError(f"is larger than {MAX_BYTES // 1024} KiB", path=str(path))
        content = os.read(handle, MAX_BYTES + 1)
    finally:
        os.close(handle)
    if len(content) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES // 1024} KiB", path=str(path))
    return content, _folder_warnings(path)


def _folder_warnings(path: Path) -> tuple[str, ...]:
    folder = path.resolve().parent
    try:
        mode = folder.stat().st_mode
    except OSError:
        return ()
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        return (f"anybody may replace the configuration: {folder} is writable by all (chmod o-w {folder})",)
    return ()


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise ConfigError("is not UTF-8 here", path=str(path), line=line) from None


def _tables(document: str, path: Path, lines: KeyLines) -> dict[str, Any]:
    if lines.too_deep:
        raise ConfigError(f"nested more than {MAX_DEPTH} deep", path=str(path), line=lines.too_deep)
    if lines.repeated is not None:
        keys, before, line = lines.repeated
        raise ConfigError(
            f"`{dotted(keys)}` is given twice", hint=f"it stands on line {before} already", path=str(path), line=line
        )
    try:
        return tomllib.loads(document)
    except tomllib.TOMLDecodeError as problem:
        said = str(problem)
        position = _POSITION.search(said)
        line = int(position.group(1)) if position and position.group(1) else document.count("\n") + 1
        what = _POSITION.sub("", said)
        raise ConfigError(
            f"is not valid TOML: {what[:1].lower()}{what[1:]}",
            hint=_toml_hint(document, line),
            path=str(path),
            line=line,
        ) from None
    except (ValueError, RecursionError):
        # Python converts no number of more than 4300 digits, and does not say where it stands.
        found = re.search(r"[0-9_]{4300,}", document)
        raise ConfigError(
            "is not valid TOML: a number is too long, or values are nested too deep",
            path=str(path),
            line=document.count("\n", 0, found.start()) + 1 if found else 0,
        ) from None


def _toml_hint(document: str, line: int) -> str:
    given = document.split("\n")[line - 1] if line <= document.count("\n") + 1 else ""
    if re.match(r"\s*[\w.-]+\s*:\s", given):
        return "TOML writes key = value, not key: value"
    if re.match(r"\s*[\w.-]+\s*=\s*[A-Za-z/~][^\"'\[{]*$", given):
        return 'a string wants quotes: key = "value"'
    return ""


def _xdg(env: Mapping[str, str], variable: str, default: str) -> Path:
    # The base directory specification: a relative path is to be ignored.
    named = env.get(variable, "")
    if named and Path(named).is_absolute():
        return Path(named)
    try:
        return Path(env.get("HOME") or Path.home()) / default
    except RuntimeError:
        # A container that runs as a number.
        raise ConfigError(
            "this user has no home folder: HOME is not set, and the system knows none",
            hint="set HOME, or XDG_CONFIG_HOME and XDG_STATE_HOME",
        ) from None


def _default_dirs(env: Mapping[str, str]) -> tuple[Path, Path]:
    state = _xdg(env, "XDG_STATE_HOME", ".local/state") / "mlrelease"
    return state, state / "audit"
