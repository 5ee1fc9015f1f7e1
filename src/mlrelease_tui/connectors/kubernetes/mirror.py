"""What a cluster has, kept up to date: one list, then one watch, for each kind and scope.

A watch that ends goes on from where it was; one that was forgotten (410) lists anew; a link that fell silent is found by a pulse
and begun again; a server that says no is asked less and less often. Whoever may not see a kind everywhere sees it in one namespace.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mlrelease_tui.connectors._blocking import collector_at_rest
from mlrelease_tui.connectors.kubernetes.answers import Gone, Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Raw, Resource
from mlrelease_tui.connectors.kubernetes.lagging import Lag
from mlrelease_tui.connectors.kubernetes.objects import at, text
from mlrelease_tui.connectors.kubernetes.shelf import Key, Packed, Shelves, Token, opened, packed, tokens_of
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Forbidden, NotFound, RateLimited, ReleaseError, TimedOut, UnexpectedAnswer

__all__ = ["Key", "Mirror", "Scope"]

Changes = Callable[[Mapping[str, set[Token]]], None]
"""Is told what changed, by namespace; nothing where only the link did."""
WATCH_S: Final = 300.0
PULSE_S: Final = 12.0
_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_FORBIDDEN_PAUSE_S: Final = 120.0
_SHORT_S: Final = 2.0
"""A watch that ends sooner has not worked, whatever it said."""
_MANY: Final = 100
_FUTILE: Final = 3
"""Refusals in a row after which a version that the server may not know is forgotten."""


@dataclass(slots=True)
class Scope:
    """One kind in one namespace ("" for all of them): its objects by namespace, and how far they are known. `heard_at` is when it
    was last known that nothing was missed."""

    resource: Resource
    namespace: str
    shelf: dict[str, dict[Key, Packed]] = field(default_factory=dict)
    since: str = ""
    heard_at: datetime | None = None
    watched: bool = False
    narrowed: bool = False
    problem: ReleaseError | None = None
    futile: int = 0
    lag: Lag = field(default_factory=Lag)
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def left_out(self) -> bool:
        """Whether this kind can't be read here, while others can: no reason to hold up those."""
        return self.heard_at is None and isinstance(self.problem, Forbidden | NotFound | UnexpectedAnswer)

    def put(self, key: Key, item: Packed | None) -> set[Token]:
        """Remember an object, or forget it (None); what changed by that, nothing where it is as it was."""
        there = self.shelf.setdefault(key[0], {})
        before = there.get(key)
        if item is None:
            there.pop(key, None)
        elif before is None or before.data != item.data:
            there[key] = item
        else:
            return set()
        return tokens_of(self.resource, key, before, item) if before is not None or item is not None else set()


class Mirror:
    """Kinds of one cluster. `load` lists them; `follow` watches them until it is cancelled. `home` is the namespace to which
    whoever may not list a kind everywhere is confined."""

    def __init__(
        self,
        api: KubeApi,
        namespaces: Sequence[str],
        now: Callable[[], datetime],
        *,
        home: str = "default",
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._api = api
        self._namespaces = tuple(dict.fromkeys(namespaces))
        self._home = home
        self._now = now
        self._jitter = jitter
        self._scopes: dict[tuple[str, str], Scope] = {}
        self._optional: frozenset[Resource] = frozenset()
        self._loading = asyncio.Lock()
        self._loaded_s = float("-inf")
        self._following = False
        self._pulse_lost: ReleaseError | None = None
        self._recovered = asyncio.Event()

    # --- what is known

    def shelves(self) -> Shelves:
        """All that is known, by kind and namespace."""
        found: dict[Resource, dict[str, dict[Key, Packed]]] = {}
        for scope in self._scopes.values():
            # No two scopes of a kind share a namespace.
            found.setdefault(scope.resource, {}).update(scope.shelf)
        return found

    def good_at(self) -> datetime | None:
        """When all of it was last known to be what the server has; None before that."""
        heard = [scope.heard_at for scope in self._needed() if not scope.left_out]
        known = [moment for moment in heard if moment is not None]
        return min(known) if known and len(known) == len(heard) else None

    def check(self) -> None:
        """Raise what makes the mirror untrue now: the link, the server, our credential, or a kind that was seen and is no more."""
        if self._pulse_lost is not None:
            raise self._pulse_lost.with_traceback(None)
        needed = self._needed()
        for scope in needed:
            if scope.problem is not None and not scope.left_out:
                raise scope.problem.with_traceback(None)
        if needed and all(scope.left_out for scope in needed):
            raise next(scope.problem for scope in needed if scope.problem is not None).with_traceback(None)

    def compare(self, objects: Mapping[Resource, Mapping[Key, Object]]) -> None:
        """Hold what was read from the server by itself against what the watches told: one that lost something is begun again."""
        for resource, items in objects.items():
            for key, item in items.items():
                scope = self._scopes.get((resource.id, key[0])) or self._scopes.get((resource.id, ""))
                if scope is None or not scope.watched or scope.namespace not in {"", key[0]}:
                    continue
                if scope.lag.lost(key, scope.shelf.get(key[0], {}).get(key), item, time.monotonic()):
                    scope.lost.set()

    def notes(self) -> tuple[str, ...]:
        """What a person should know of what is not seen."""
        out = [scope for scope in self._scopes.values() if scope.left_out and scope.problem is not None]
        found = [
            f"{SafeText(scope.resource.plural)} {_in(scope.namespace)} are not seen: {scope.problem.message}"
            for scope in out
            if scope.problem is not None
        ]
        narrowed = sorted({scope.resource.plural for scope in self._scopes.values() if scope.narrowed})
        if narrowed:
            found.append(
                f"only {_in(self._home)}, since we may not list everywhere: {', '.join(map(SafeText, narrowed))}; "
                "other namespaces are named by the key `namespaces`"
            )
        return tuple(found)

    @property
    def live(self) -> bool:
        """Whether all that can be read is watched, so that what is held is what is so now."""
        needed = self._needed()
        return self._following and bool(needed) and all(scope.watched or scope.left_out for scope in needed)

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return sum(scope.watched for scope in self._scopes.values())

    def _needed(self) -> list[Scope]:
        return [scope for scope in self._scopes.values() if scope.resource not in self._optional]

    # --- listing

    async def load(
        self, resources: Iterable[Resource], changed: Changes, *, optional: frozenset[Resource] = frozenset()
    ) -> None:
        """List all that is not watched, each kind at once. Raises nothing that a list met: `check` does."""
        asked = time.monotonic()
        async with self._loading:
            # Somebody else may have listed it all while we waited for our turn: a watch goes on from there.
            if (self._following and self._scopes) or self._loaded_s >= asked:
                return
            self._optional = optional
            wanted = [scope for resource in resources for scope in self._scopes_of(resource)]
            results = await asyncio.gather(*(self._listed(scope, changed) for scope in wanted), return_exceptions=True)
            for scope, result in zip(wanted, results, strict=True):
                if isinstance(result, ReleaseError):
                    scope.problem = result
                elif isinstance(result, BaseException):
                    raise result
            self._loaded_s = time.monotonic()

    def _scopes_of(self, resource: Resource) -> list[Scope]:
        places = self._namespaces if resource.namespaced and self._namespaces else ("",)
        return [self._scopes.setdefault((resource.id, place), Scope(resource, place)) for place in places]

    async def _listed(self, scope: Scope, changed: Changes) -> None:
        """List a scope, in one namespace where it may not be listed everywhere; what is other than before is told."""
        try:
            await self._list(scope, changed)
        except Forbidden:
            narrower = not scope.namespace and scope.resource.namespaced and not self._namespaces
            if not narrower:
                raise
            scope.namespace, scope.narrowed = self._home, True
            try:
                await self._list(scope, changed)
            except Forbidden:
                # What it is not allowed to see anywhere is told as it was asked for first.
                scope.namespace, scope.narrowed = "", False
                raise

    async def _list(self, scope: Scope, changed: Changes) -> None:
        began = self._now()
        for attempt in (1, 2):
            found: dict[str, dict[Key, Packed]] = {}
            since = ""
            try:
                async for page in self._api.pages(scope.resource, scope.namespace):
                    # Off the thread that answers keys: a page takes tens of milliseconds.
                    for key, item in await asyncio.to_thread(_packed, page):
                        found.setdefault(key[0], {})[key] = item
                    since = page.resource_version
                break
            except Gone:
                if attempt == 2:
                    raise
        tokens = _differences(scope, found)
        scope.shelf, scope.since, scope.heard_at, scope.problem, scope.futile = found, since, began, None, 0
        if tokens:
            changed(tokens)

    # --- watching

    async def follow(self, changed: Changes, pulse: Callable[[], Awaitable[None]]) -> None:
        """Watch every scope that was loaded, and ask by `pulse` now and then whether the server is there. `changed` is told what is
        other than before, by namespace."""
        self._following = True
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat(changed, pulse))
                for scope in tuple(self._scopes.values()):
                    group.create_task(self._keep(scope, changed))
        finally:
            self._following = False
            self._pulse_lost = None

    async def _beat(self, changed: Changes, pulse: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(PULSE_S * (0.9 + 0.2 * self._jitter()))
            began = self._now()
            lost, self._pulse_lost = self._pulse_lost, await _failure(pulse)
            if self._pulse_lost is not None:
                changed({})
                continue
            if lost is not None:
                # What was cut may have taken watches with it that look alive: all of them go on from where they were.
                self._recovered.set()
                self._recovered = asyncio.Event()
                changed({})
                continue
            for scope in self._scopes.values():
                if scope.watched:
                    scope.heard_at = began

    async def _keep(self, scope: Scope, changed: Changes) -> None:
        pause = _PAUSE_S
        try:
            while True:
                began = time.monotonic()
                error = await self._followed(scope, changed)
                scope.watched = False
                if error is None and time.monotonic() - began >= _SHORT_S:
                    pause = _PAUSE_S
                    continue
                await self._rest(scope, error, pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
        finally:
            scope.watched = False

    async def _followed(self, scope: Scope, changed: Changes) -> ReleaseError | None:
        """Watch until the watch ends; what ended it, None where it was time."""
        recovered = self._recovered
        try:
            if not scope.since:
                await self._listed(scope, changed)
            watching = asyncio.ensure_future(self._watch(scope, changed))
            outage, lost = asyncio.ensure_future(recovered.wait()), asyncio.ensure_future(scope.lost.wait())
            try:
                await asyncio.wait({watching, outage, lost}, return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
            finally:
                for waiting in (watching, outage, lost):
                    waiting.cancel()
                await asyncio.gather(watching, outage, lost, return_exceptions=True)
                scope.lost.clear()
        except Gone:
            scope.since = ""
        except ReleaseError as error:
            self._failed(scope, error)
            changed({})
            return error
        return None

    def _failed(self, scope: Scope, error: ReleaseError) -> None:
        scope.problem = error
        scope.futile = scope.futile + 1 if isinstance(error, UnexpectedAnswer) else 0
        if scope.futile >= _FUTILE:
            # "Too large resource version" (504) of a store that was restored, or a version that can't be read.
            scope.since, scope.futile = "", 0

    async def _rest(self, scope: Scope, error: ReleaseError | None, pause: float) -> None:
        """Wait before the next try: longer each time, as long as the server asks for; less where the server is back."""
        asked = error.retry_after_s if isinstance(error, RateLimited) else 0.0
        if isinstance(error, Forbidden) or (scope.left_out and isinstance(error, NotFound)):
            # Where a kind may not be seen, nothing is to be expected soon.
            pause = _FORBIDDEN_PAUSE_S
        try:
            async with asyncio.timeout(max(pause * (0.5 + self._jitter()), asked)):
                await (self._recovered if not asked else asyncio.Event()).wait()
        except TimeoutError:
            return

    async def _watch(self, scope: Scope, changed: Changes) -> None:
        # Servers end watches on their own time as well: spread, so that not all of them come back at once.
        length = WATCH_S * (0.8 + 0.4 * self._jitter())
        events = self._api.watch(scope.resource, scope.namespace, scope.since, timeout_s=length)
        try:
            async for event in events:
                self._heard(scope, event, changed)
        except TimedOut:
            # Nothing came for long. That alone is no failure: where a kind is quiet and the store tells of no progress, there is
            # nothing to send. Whether the server is there is said by the pulse; the watch goes on from where it was.
            if self._pulse_lost is not None or not scope.watched:
                raise
        finally:
            await events.aclose()  # type: ignore[attr-defined]

    def _heard(self, scope: Scope, event: Object | None, changed: Changes) -> None:
        scope.heard_at = self._now()
        if event is None:
            troubled, scope.problem, scope.watched = scope.problem is not None, None, True
            if troubled:
                changed({})
            return
        item = event.get("object") or {}
        scope.since = text(item, "metadata", "resourceVersion") or scope.since
        scope.futile = 0
        kind = event.get("type")
        if kind in {"ADDED", "MODIFIED", "DELETED"} and at(item, "metadata", "name"):
            key, found = packed(item)
            tokens = scope.put(key, found if kind != "DELETED" else None)
            if tokens:
                changed({key[0]: tokens})


async def _failure(pulse: Callable[[], Awaitable[None]]) -> ReleaseError | None:
    try:
        await pulse()
    except ReleaseError as error:
        return error
    return None


def _packed(page: Raw) -> list[tuple[Key, Packed]]:
    # What is made here and thrown away would have the collector walk through all there is, while keys wait.
    with collector_at_rest() if len(page.items) > _MANY else nullcontext():
        return [packed(opened(item)) for item in page.items]


def _differences(scope: Scope, now: Mapping[str, Mapping[Key, Packed]]) -> dict[str, set[Token]]:
    found: dict[str, set[Token]] = {}
    for key, before, after in _pairs(scope.shelf, now):
        if before is None or after is None or before.data != after.data:
            found.setdefault(key[0], set()).update(tokens_of(scope.resource, key, before, after))
    return found


def _pairs(
    before: Mapping[str, Mapping[Key, Packed]], now: Mapping[str, Mapping[Key, Packed]]
) -> Iterator[tuple[Key, Packed | None, Packed | None]]:
    for place in {*before, *now}:
        old, new = before.get(place, {}), now.get(place, {})
        for key in {*old, *new}:
            yield key, old.get(key), new.get(key)


def _in(namespace: str) -> str:
    return f"in {SafeText(namespace)}" if namespace else "in all namespaces"
