"""Reading a YAML or JSON file that people wrote: nothing is executed, nothing grows, nothing is said twice.

Refused, with the line: a key that stands twice (one of them would silently win), anchors and aliases (a small file that becomes a
huge one), tags of Python's own. JSON is YAML, and is read as JSON where it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ConfigError

LIMIT: Final = 8 * 1024 * 1024
"""Bytes; kubeconfigs with hundreds of embedded certificates stay below."""


_DEEPEST: Final = 64
_KEPT: Final = 8
_Stamp = tuple[int, int, int]
_parsed: dict[Path, tuple[_Stamp, Mapping[str, Any]]] = {}
"""The files read last, each as it was when it was read: many connections name one file."""


def read(path: Path) -> Mapping[str, Any] | None:
    """The table that a file holds, None where there is no file. ConfigError with path and line where it can't be used."""
    try:
        status = path.stat()
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        known = _parsed.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        if status.st_size > LIMIT:
            raise _refused(path, f"is larger than {LIMIT // 2**20} MiB", 0)
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8"
        raise ConfigError(f"can't be read: {why}", path=str(SafeText(path)), hint="correct the file") from error
    found = _table(path, content)
    while len(_parsed) >= _KEPT:
        _parsed.pop(next(iter(_parsed)), None)
    _parsed[path] = (stamp, found)
    return found


def _table(path: Path, content: str) -> Mapping[str, Any]:
    try:
        found = (
            json.loads(content, object_pairs_hook=_once) if content.lstrip().startswith("{") else _yaml(path, content)
        )
    except _Twice as twice:
        raise _refused(path, f"has the key {SafeText(twice)} twice", 0) from None
    except ValueError:
        # Flow-style YAML begins as JSON does.
        found = _yaml(path, content)
    except RecursionError as error:
        raise _refused(path, "is nested too deep", 0) from error
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise _refused(path, "is no table", 0)
    return found


class _Twice(Exception):
    """A key of a JSON object that stands there twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(key)
        found[key] = value
    return found


def _yaml(path: Path, content: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ConfigError(
            "is YAML, and nothing here can read that",
            path=str(SafeText(path)),
            hint="pip install 'mlrelease-tui[kubernetes]'",
        ) from error

    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # Before anything is built of it: what builds it goes as deep as the text does.
        _looked_at(path, yaml.parse(content, Loader=kind))
        loader = kind(content)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _each_once(path, node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise _refused(path, "is no YAML that can be used", mark.line + 1 if mark else 0) from error
    except ValueError as error:
        raise _refused(path, "has a value that is none", 0) from error


def _looked_at(path: Path, events: Iterable[Any]) -> None:
    depth = 0
    for event in events:
        kind = type(event).__name__
        if kind == "AliasEvent":
            raise _refused(path, "uses an alias (`*name`), which is not taken here", event.start_mark.line + 1)
        depth += (kind in {"SequenceStartEvent", "MappingStartEvent"}) - (
            kind in {"SequenceEndEvent", "MappingEndEvent"}
        )
        if depth > _DEEPEST:
            raise _refused(path, "is nested too deep", event.start_mark.line + 1)


def _each_once(path: Path, node: Any) -> None:
    if not isinstance(node.value, list):
        return
    keys: set[str] = set()
    for part in node.value:
        if not isinstance(part, tuple):
            _each_once(path, part)
            continue
        key, value = part
        if isinstance(key.value, str):
            if key.value in keys:
                raise _refused(path, f"has the key {SafeText(key.value)} twice", key.start_mark.line + 1)
            keys.add(key.value)
        _each_once(path, value)


def _refused(path: Path, why: str, line: int) -> ConfigError:
    return ConfigError(why, path=str(SafeText(path)), line=line, hint="correct the file")
