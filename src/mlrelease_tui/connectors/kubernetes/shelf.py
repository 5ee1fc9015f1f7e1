"""Objects kept small: each as the packed JSON of what is read of it, opened when somebody looks.

A cluster's worth of dictionaries is twenty times as large. What nobody reads (who owns which field, what was applied last,
the store's version) is not kept, so that an object in which nothing else moved is the same as before.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import name, namespace, owner_uid, trimmed, uid

_OF_MANAGERS: Final = ("manager", "time", "subresource", "operation")
Key = tuple[str, str]
"""Namespace ("" where a kind has none) and name."""
Token = tuple[str, ...]
"""What a reading depends on: ("uid", U) an object and all that it owns, ("kind", ID, namespace) every object of a kind there,
("key", ID, namespace, name) an object that is there or is not."""
CAME_OR_WENT: Final[Token] = ("came or went",)
"""An object is there that was not, or the other way round."""
Shelves = Mapping[Resource, Mapping[str, Mapping[Key, "Packed"]]]
"""Packed objects by kind and namespace."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One object: its own uid, that of the controller that owns it ("" for none), and what is read of it as JSON, compressed."""

    uid: str
    owner: str
    data: bytes


def packed(item: Object) -> tuple[Key, Packed]:
    """An object as it is kept."""
    import msgspec

    slim = dict(trimmed(item))
    meta = dict(slim.get("metadata") or {})
    meta.pop("resourceVersion", None)
    if managers := meta.get("managedFields"):
        meta["managedFields"] = [{key: entry[key] for key in _OF_MANAGERS if key in entry} for entry in managers]
    slim["metadata"] = meta
    data = zlib.compress(msgspec.json.encode(slim), 1)
    return (namespace(item), name(item)), Packed(uid(item), owner_uid(item), data)


def unpacked(item: Packed) -> Object:
    """The object that was packed."""
    return opened(zlib.decompress(item.data))


def opened(content: bytes | memoryview) -> Object:
    """The object that this JSON says. ValueError where it says none."""
    import msgspec

    try:
        found = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise ValueError("no JSON") from error
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def tokens_of(resource: Resource, key: Key, *states: Packed | None) -> set[Token]:
    """What changed with an object: whoever depends on one of these has to be read again."""
    found: set[Token] = {("key", resource.id, *key), ("kind", resource.id, key[0])}
    for state in states:
        if state is not None:
            found |= {("uid", state.uid)} | ({("uid", state.owner)} if state.owner else set())
    return found | ({CAME_OR_WENT} if None in states else set())
