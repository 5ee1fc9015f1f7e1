"""The objects of one namespace, opened as they are looked at; what was looked at is noted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.shelf import Key, Packed, Shelves, Token, unpacked
from mlrelease_tui.connectors.kubernetes.workloads.api import Choice, World

_NOTHING: Final[Mapping[Key, Packed]] = {}


@dataclass(slots=True)
class _Books:
    """What a `NamespaceWorld` keeps: its objects by kind, their owners, those that are open, and what was looked at."""

    place: str
    own: dict[Resource, dict[Key, Packed]]
    owners: dict[tuple[Resource, str], list[Key]]
    opened: dict[tuple[Resource, Key], Object] = field(default_factory=dict)
    touched: set[Token] = field(default_factory=set)
    indexes: dict[str, tuple[Mapping[Key, Object], frozenset[Token]]] = field(default_factory=dict)

    def object(self, resource: Resource, key: Key, found: Packed) -> Object:
        item = self.opened.get((resource, key))
        if item is None:
            item = self.opened[resource, key] = unpacked(found)
        return item


class NamespaceWorld(World):
    """Iterating a kind gives the namespace's own objects and those of no namespace; what another namespace has is found by key."""

    _books: _Books

    def __init__(self, shelves: Shelves, place: str, choice: Choice) -> None:
        # Copied: the mirror goes on while this is read on another thread.
        own = {
            resource: {**(by.get("", _NOTHING) if place else _NOTHING), **by.get(place, _NOTHING)}
            for resource, by in shelves.items()
        }
        books = _Books(place, own, _by_owner(own))
        views = {resource: _View(books, resource, by) for resource, by in shelves.items()}
        super().__init__(views, choice)
        object.__setattr__(self, "_books", books)

    def owned(self, resource: Resource, uid: str) -> tuple[Object, ...]:
        books = self._books
        books.touched.add(("uid", uid))
        keys = books.owners.get((resource, uid), ())
        return tuple(books.object(resource, key, books.own[resource][key]) for key in keys)

    def index(self, what: str, build: Callable[[], Mapping[Key, Object]]) -> Mapping[Key, Object]:
        books = self._books
        if what not in books.indexes:
            before, books.touched = books.touched, set()
            found = build()
            books.indexes[what] = (found, frozenset(books.touched))
            books.touched = before
        # Whoever uses an index depends on all that it was made of.
        books.touched |= books.indexes[what][1]
        return books.indexes[what][0]

    def take_touched(self) -> frozenset[Token]:
        """What was looked at since this was asked last."""
        found, self._books.touched = frozenset(self._books.touched), set()
        return found


def _by_owner(own: Mapping[Resource, Mapping[Key, Packed]]) -> dict[tuple[Resource, str], list[Key]]:
    found: dict[tuple[Resource, str], list[Key]] = {}
    for resource, items in own.items():
        for key, item in items.items():
            if item.owner:
                found.setdefault((resource, item.owner), []).append(key)
    return found


class _View(Mapping[Key, Any]):
    """One kind in a `NamespaceWorld`."""

    __slots__ = ("_books", "_everywhere", "_resource")

    def __init__(self, books: _Books, resource: Resource, everywhere: Mapping[str, Mapping[Key, Packed]]) -> None:
        self._books, self._resource, self._everywhere = books, resource, everywhere

    def __getitem__(self, key: Key) -> Object:
        books = self._books
        books.touched.add(("key", self._resource.id, *key))
        found = books.own[self._resource].get(key) or self._everywhere.get(key[0], _NOTHING).get(key)
        if found is None:
            raise KeyError(key)
        return books.object(self._resource, key, found)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> Mapping[Key, Packed]:
        self._books.touched.add(("kind", self._resource.id, self._books.place))
        return self._books.own[self._resource]
