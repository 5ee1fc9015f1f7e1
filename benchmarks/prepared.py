"""`benchmarks.opening` on fake backends whose answers were made before the app opens.

The fake works inside the app's process, where a real backend's answer comes from outside and is parsed in a thread or a piece at a
time. Its script is therefore read once, at the start, and what it answers for all endpoints is made from two sets of objects that
stand ready: alike in content and wholly other objects than those that the app holds, as a parsed answer is, so that comparing them
costs what it costs in life. Only what was moved is made anew. What the app does with an answer is all its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Final

from benchmarks.opening import main

from mlrelease_tui.connectors.fake import script
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.connectors.fake.connector import _VERBS, FakeConnector
from mlrelease_tui.domain.rollout import Endpoint

SETS: Final = 3
"""The first is taken in by the app at its first reading; the others are only compared with that."""


class Answers:
    """What a backend answers for all its endpoints, from sets made beforehand."""

    def __init__(self, backend: FakeBackend, sets: Sequence[tuple[Endpoint, ...]]) -> None:
        self._backend = backend
        self._original = tuple(backend.endpoints.values())
        self._first = sets[0]
        self._turn = cycle(sets[1:])
        self._begun = False

    def next(self, now: datetime, shown: Callable[[Endpoint], Endpoint]) -> tuple[Endpoint, ...]:
        """The next answer; `shown` makes one that was moved since."""
        answer = next(self._turn) if self._begun else self._first
        self._begun = True
        found = []
        for item, current, original in zip(answer, self._backend.endpoints.values(), self._original, strict=True):
            # In place, since making them anew is what is left out here.
            object.__setattr__(item, "observed_at", now)
            found.append(item if current is original else shown(current))
        return tuple(found)


def prepare(folder: Path) -> None:
    """Read the scripts in `folder` now, each named as its connection is, and have the fake answer from what is made of them."""
    backends: dict[Path, FakeBackend] = {}
    answers: dict[int, Answers] = {}
    read, now = script.read_script, datetime.now(UTC)
    for path in folder.glob("*.json"):
        backends[path] = backend = read(path, path.stem, lambda: now)
        sets = [read(path, path.stem, lambda: now).endpoints.values() for _ in range(SETS)]
        answers[id(backend)] = Answers(backend, [tuple(replace(item, verbs=_VERBS) for item in one) for one in sets])

    async def endpoints(self: FakeConnector) -> tuple[Endpoint, ...]:
        await self._ask("endpoints")
        return answers[id(self.backend)].next(self._settings.now(), self._shown)

    script.read_script = lambda path, connection, now: backends[path]
    FakeConnector.endpoints = endpoints  # type: ignore[method-assign]


if __name__ == "__main__":
    prepare(Path(sys.argv[1]).parent)
    raise SystemExit(main())
