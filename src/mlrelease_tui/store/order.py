"""Values in order, kept between looks: what did not change is neither ranked nor sorted again.

The long parts are generators, which yield often: whoever runs them can let other work through in between.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import compress
from operator import is_, is_not, itemgetter
from typing import Any, Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Rank = tuple[Any, ...]
"""What a value is sorted by. Each value has another: it ends with what names the value."""

BREATH: Final = 32
"""Values between two yields."""
_ONE_BY_ONE: Final = 20
"""Up to one change in so many values each is moved by itself; beyond that all are sorted."""


def differing(old: Mapping[K, V], new: Mapping[K, V]) -> tuple[list[K], list[K]]:
    """Keys under which `new` holds another object than `old`, or which only it has; and keys that only `old` has.

    Ten thousand keys cost a millisecond where both hold the same key objects in the same order, but for one stretch.
    """
    if old is new:
        return [], []
    if len(old) == len(new) and all(map(is_, old, new)):
        return list(compress(new, map(is_not, old.values(), new.values()))), []
    before, after = list(old), list(new)
    shorter = min(len(before), len(after))
    head = next((i for i in range(shorter) if before[i] is not after[i]), shorter)
    tail = next((i for i in range(shorter - head) if before[-1 - i] is not after[-1 - i]), shorter - head)
    lost, found = before[head : len(before) - tail], after[head : len(after) - tail]
    was, now = list(old.values()), list(new.values())
    changed = list(compress(after[:head], map(is_not, was[:head], now[:head])))
    changed += [key for key in found if key not in old or old[key] is not new[key]]
    if tail:
        changed += compress(after[-tail:], map(is_not, was[-tail:], now[-tail:]))
    return changed, [key for key in lost if key not in new]


class Order(Generic[K, V]):
    """`place` takes the values by key; `names` and `values` are then those that are listed, in order.

    `rank` gives what a value is sorted by, None where it is not listed; `name` what it is called.
    """

    def __init__(self, rank: Callable[[V], Rank | None], name: Callable[[V], str]) -> None:
        self._rank = rank
        self._name = name
        self._seen: Mapping[K, V] = {}
        self._ranks: dict[K, Rank | None] = {}
        self._ahead: dict[K, tuple[V, Rank | None]] = {}
        self._entries: list[tuple[Rank, str, V]] = []
        self.names: tuple[str, ...] = ()
        self.values: tuple[V, ...] = ()

    def place(self, values: Mapping[K, V]) -> Iterator[None]:
        """Take these values. What was ranked stays so where this is given up half-way; nothing is shown before the end."""
        changed, gone = differing(self._seen, values)
        for count, key in enumerate(changed, start=1):
            value = values[key]
            ahead = self._ahead.get(key)
            if ahead is None or ahead[0] is not value:
                self._ahead[key] = (value, self._rank(value))
            if not count % BREATH:
                yield
        if changed or gone:
            yield from self._sort(values, changed, gone)

    def _sort(self, values: Mapping[K, V], changed: list[K], gone: list[K]) -> Iterator[None]:
        if (len(changed) + len(gone)) * _ONE_BY_ONE > len(self._entries):
            ranks = dict(self._ranks)
            entries = []
            for key in gone:
                del ranks[key]
            ranks.update((key, self._ahead[key][1]) for key in changed)
            for count, (key, rank) in enumerate(ranks.items(), start=1):
                if rank is not None:
                    value = values[key]
                    entries.append((rank, self._name(value), value))
                if not count % (BREATH * 8):
                    yield
            entries.sort(key=itemgetter(0))
            yield
            self._ranks, self._entries = ranks, entries
        else:
            for key in gone:
                self._take_out(self._ranks.pop(key))
            for key in changed:
                self._take_out(self._ranks.get(key))
                value, rank = self._ahead[key]
                self._ranks[key] = rank
                if rank is not None:
                    insort(self._entries, (rank, self._name(value), value), key=itemgetter(0))
        self._seen = values
        self._ahead.clear()
        self.names = tuple(map(itemgetter(1), self._entries))
        self.values = tuple(map(itemgetter(2), self._entries))

    def _take_out(self, rank: Rank | None) -> None:
        if rank is not None:
            del self._entries[bisect_left(self._entries, rank, key=itemgetter(0))]
