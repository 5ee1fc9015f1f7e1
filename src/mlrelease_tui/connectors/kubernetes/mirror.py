"""What a cluster has, kept up to date: one list, then one watch, for each kind and scope.

A watch that ends goes on from where it was; one that was forgotten (410) lists anew; a link that fell silent is found and begun
again; a server that says no is asked less and less often. Whoever may not see a kind everywhere sees what they may.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mlrelease_tui.connectors.kubernetes.answers import Gone, Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.objects import by_key, name, namespace, text, trimmed
from mlrelease_tui.errors import BackendError, Forbidden

Key = tuple[str, str]
WATCH_S: Final = 300.0
_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 60.0


@dataclass(slots=True)
class Scope:
    """One kind in one namespace ("" for all of them): its objects, and how far they are known."""

    resource: Resource
    namespace: str
    objects: dict[Key, Object] = field(default_factory=dict)
    since: str = ""
    heard_at: datetime | None = None
    watched: bool = False
    problem: BackendError | None = None


class Mirror:
    """Kinds of one cluster. `load` lists them; `follow` watches them until it is cancelled."""

    def __init__(
        self,
        api: KubeApi,
        namespaces: Sequence[str],
        now: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._api = api
        self._namespaces = tuple(namespaces)
        self._now = now
        self._jitter = jitter
        self._scopes: dict[tuple[str, str], Scope] = {}

    @property
    def live(self) -> bool:
        """Whether every scope is watched, so that what is held is what is so now."""
        return bool(self._scopes) and all(scope.watched or scope.problem is not None for scope in self._scopes.values())

    @property
    def problems(self) -> tuple[BackendError, ...]:
        """What could not be listed, once for each scope."""
        return tuple(scope.problem for scope in self._scopes.values() if scope.problem is not None)

    def objects(self, resource: Resource) -> dict[Key, Object]:
        """All that is known of a kind, by namespace and name."""
        found: dict[Key, Object] = {}
        for scope in self._scopes.values():
            if scope.resource == resource:
                found.update(scope.objects)
        return found

    async def load(self, resources: Iterable[Resource], *, optional: frozenset[Resource] = frozenset()) -> None:
        """List what is not watched yet, all at once. Raises what the first wanted kind met; an optional kind may fail."""
        scopes = [scope for resource in resources for scope in self._scopes_of(resource) if not scope.watched]
        results = await asyncio.gather(*(self._list(scope) for scope in scopes), return_exceptions=True)
        for scope, result in zip(scopes, results, strict=True):
            if isinstance(result, BackendError):
                scope.problem = result
            elif isinstance(result, BaseException):
                raise result
        # A kind that may be read in one namespace is read there; only what may be read nowhere is a failure.
        for resource in {scope.resource for scope in scopes} - optional:
            problems = [scope.problem for scope in self._scopes.values() if scope.resource == resource]
            known = [problem for problem in problems if problem is not None]
            if known and len(known) == len(problems):
                raise known[0]

    def _scopes_of(self, resource: Resource) -> list[Scope]:
        places = self._namespaces if resource.namespaced and self._namespaces else ("",)
        return [self._scopes.setdefault((resource.id, place), Scope(resource, place)) for place in places]

    async def _list(self, scope: Scope) -> None:
        page = await self._api.list(scope.resource, scope.namespace)
        scope.objects = by_key(trimmed(item) for item in page.items)
        scope.since, scope.heard_at, scope.problem = page.resource_version, self._now(), None

    # --- watching

    async def follow(self, changed: Callable[[Resource, Mapping[Key, Object | None]], None]) -> None:
        """Watch every scope that was loaded. `changed` is told which objects are other than before, None for one that is gone."""
        async with asyncio.TaskGroup() as group:
            for scope in tuple(self._scopes.values()):
                group.create_task(self._keep(scope, changed))

    async def _keep(self, scope: Scope, changed: Callable[[Resource, Mapping[Key, Object | None]], None]) -> None:
        pause = _PAUSE_S
        try:
            while True:
                try:
                    if not scope.since or scope.problem is not None:
                        before = scope.objects
                        await self._list(scope)
                        changed(scope.resource, _differences(before, scope.objects))
                    await self._watch(scope, changed)
                    pause = _PAUSE_S
                except Gone:
                    scope.since = ""
                except BackendError as error:
                    scope.watched = False
                    # Where a kind may not be seen, nothing is to be expected soon.
                    slow = isinstance(error, Forbidden)
                    if not slow:
                        changed(scope.resource, {})
                    await asyncio.sleep((_LONGEST_PAUSE_S if slow else pause) * (0.5 + self._jitter()))
                    pause = min(pause * 2, _LONGEST_PAUSE_S)
        finally:
            scope.watched = False

    async def _watch(self, scope: Scope, changed: Callable[[Resource, Mapping[Key, Object | None]], None]) -> None:
        # Servers end watches on their own time as well: spread, so that not all of them come back at once.
        length = WATCH_S * (0.8 + 0.4 * self._jitter())
        events = self._api.watch(scope.resource, scope.namespace, scope.since, timeout_s=length)
        scope.watched = True
        async for event in events:
            if event is None:
                continue
            item = event.get("object") or {}
            version = text(item, "metadata", "resourceVersion")
            scope.since, scope.heard_at = version or scope.since, self._now()
            kind = event.get("type")
            key = (namespace(item), name(item))
            if kind in {"ADDED", "MODIFIED"}:
                known = scope.objects.get(key)
                if known is None or text(known, "metadata", "resourceVersion") != version:
                    scope.objects[key] = trimmed(item)
                    changed(scope.resource, {key: scope.objects[key]})
            elif kind == "DELETED" and scope.objects.pop(key, None) is not None:
                changed(scope.resource, {key: None})


def _differences(before: Mapping[Key, Object], now: Mapping[Key, Object]) -> dict[Key, Object | None]:
    def version(item: Object | None) -> str:
        return text(item, "metadata", "resourceVersion") if item is not None else ""

    return {key: now.get(key) for key in {*before, *now} if version(before.get(key)) != version(now.get(key))}
