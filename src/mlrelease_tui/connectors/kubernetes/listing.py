"""What lists and watches say: pages of objects that nobody has read yet, and events.

Objects of a page stay bytes until somebody wants one: reading all of a large list takes a second that keys would wait for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from mlrelease_tui.connectors.kubernetes.answers import Object, refusal_of
from mlrelease_tui.errors import UnexpectedAnswer


@dataclass(frozen=True, slots=True)
class Page:
    """A list and the version of the store that it shows: where a watch goes on."""

    items: tuple[Object, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Raw:
    """A page of a list as the server wrote it: each object's JSON, not read yet. `last` with the end of the list."""

    items: tuple[bytes | memoryview, ...]
    resource_version: str
    last: bool


def page_of(content: bytes, where: str, plural: str) -> tuple[Raw, str]:
    """A page and the token of the next one, "" for none. `where` and `plural` say in an error whose list of what it was."""
    import msgspec

    try:
        found = msgspec.json.decode(content, type=_listed())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnexpectedAnswer(
            f"{where} lists {plural} in a way that can't be read", hint="is it an API server?"
        ) from error
    token = str(found.metadata.get("continue") or "")
    version = str(found.metadata.get("resourceVersion") or "")
    # A list of a kind that has no objects may come as null.
    return Raw(tuple(memoryview(item) for item in found.items or ()), version, not token), token


def decoded(item: bytes | memoryview) -> Object:
    """An object of a page; an empty one where it is none."""
    import msgspec

    found = msgspec.json.decode(item)
    return found if isinstance(found, dict) else {}


def event_of(text: str, where: str, plural: str) -> Object:
    """One event of a watch. Raises what the server says in one that is an error: Gone, Forbidden …"""
    import msgspec

    try:
        event = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise UnexpectedAnswer(f"{where} sent a watch event that is no JSON", hint="read again") from error
    if not isinstance(event, dict):
        raise UnexpectedAnswer(f"{where} sent a watch event that is none", hint="read again")
    if event.get("type") == "ERROR":
        status = event.get("object") or {}
        raise refusal_of(where, int(status.get("code") or 500), status, f"watch {plural}")
    return event


@cache
def _listed() -> Any:
    """The type of a list whose objects are not read yet."""
    import msgspec

    return msgspec.defstruct("Listed", [("items", list[msgspec.Raw] | None), ("metadata", dict[str, Any])])
