"""Names for completion, from the configuration and the last known fleet: no network, no domain, a few milliseconds.

Where a file is missing or odd, there are no names: a Tab must never print an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def known_names(kind: str, config: Path | None, env: Mapping[str, str] = os.environ) -> list[str]:
    """Full and unambiguous short names of `kind` ("endpoints", "models"), or the names of "connections"."""
    try:
        tables, path = _tables(config, env)
        if kind == "connections":
            return sorted(name for name in tables.get("connections", {}) if _printable(name))
        return _last_known(kind, _state_dir(tables, path, env) / "last-known.json", str(path))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError):
        return []


def _tables(config: Path | None, env: Mapping[str, str]) -> tuple[dict[str, Any], Path]:
    import tomllib

    named = env.get("MLRELEASE_CONFIG")
    if config is not None:
        path = config.expanduser().absolute()
    elif named:
        path = Path(named).expanduser().absolute()
    else:
        path = _xdg(env, "XDG_CONFIG_HOME", ".config") / "mlrelease" / "config.toml"
    return tomllib.loads(path.read_text("utf-8-sig")), path


def _state_dir(tables: dict[str, Any], path: Path, env: Mapping[str, str]) -> Path:
    configured = tables.get("state_dir")
    if isinstance(configured, str):
        return path.parent / Path(configured).expanduser()
    return _xdg(env, "XDG_STATE_HOME", ".local/state") / "mlrelease"


def _xdg(env: Mapping[str, str], variable: str, default: str) -> Path:
    named = env.get(variable, "")
    home = env.get("HOME")
    return Path(named) if named.startswith("/") else (Path(home) if home else Path.home()) / default


def _last_known(kind: str, cache: Path, config: str) -> list[str]:
    import json

    content = json.loads(cache.read_bytes())
    if content["config"] != config:
        return []
    refs = [item["ref"] for item in content[kind]]
    parts = ("connection", "namespace", "name") if kind == "endpoints" else ("connection", "name")
    full = ["/".join(ref[part] for part in parts) for ref in refs]
    short = [ref["name"] for ref in refs]
    unique = [name for name in short if short.count(name) == 1]
    return sorted(name for name in {*full, *unique} if _printable(name))


def _printable(name: object) -> bool:
    """Whether a shell can take it as one word: what others named must not become a command."""
    return isinstance(name, str) and bool(name) and all(char.isalnum() or char in "-_./@:+=" for char in name)
