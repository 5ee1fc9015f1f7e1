"""Finding the one endpoint that an address means, read from the server now: its name, or kind and name where several have one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.connectors.kubernetes.api import KubeApi
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.mirror import Key
from mlrelease_tui.connectors.kubernetes.objects import uid
from mlrelease_tui.connectors.kubernetes.workloads.api import (
    Choice,
    Claiming,
    Sighting,
    Workload,
    World,
    addressed,
)
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import AmbiguousName, Forbidden, NotFound

_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Found:
    """An endpoint that was recognised, and the objects of that look."""

    workload: Workload
    sighting: Sighting
    world: World


class Finding:
    """Looks for endpoints of one cluster among these kinds of workload."""

    def __init__(self, api: KubeApi, workloads: Sequence[Workload], choice: Choice) -> None:
        self._api = api
        self._workloads = workloads
        self._choice = choice
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def find(self, served: Served, ref: EndpointRef, known: tuple[Workload, str] | None) -> Found | None:
        """What `ref` means, None where nothing is called so. `known` is which workload it is, where that is known.

        AmbiguousName where several are called so. Whoever may not see a kind finds what other kinds have of that name.
        """
        place, called = raw(ref.namespace), raw(ref.name)
        if known is not None:
            workload, own = known
            return self._one(served, ref, await self._among(served, (workload,), (place, own)))
        needed = tuple(workload for workload in self._workloads if workload.needs(served))
        found = self._one(served, ref, await self._free(served, ref, needed, (place, called)))
        own = called.partition(".")[2]
        if found is not None or not own:
            return found
        meant = tuple(workload for workload in needed if addressed(workload.kind, own) == called)
        return self._one(served, ref, await self._free(served, ref, meant, (place, own)))

    async def _free(self, served: Served, ref: EndpointRef, workloads: Sequence[Workload], key: Key) -> list[Found]:
        """Those of this name that belong to no endpoint of another name. NotFound, with whose they are, where all do."""
        free: list[Found] = []
        told = ""
        for found in await self._among(served, workloads, key):
            owner = await self._owner(served, found)
            told = told or owner
            if not owner:
                free.append(found)
        if told and not free:
            raise NotFound(f"{ref} belongs to {told}", hint="name that one")
        return free

    async def _owner(self, served: Served, found: Found) -> str:
        for workload in self._workloads:
            if workload is found.workload or not isinstance(workload, Claiming) or not workload.needs(served):
                continue
            if owner := await workload.claimant(self._api, served, found.sighting):
                return f"{workload.kind} {SafeText(owner)}"
        return ""

    def _one(self, served: Served, ref: EndpointRef, found: Sequence[Found]) -> Found | None:
        """The one that the fleet shows; where it shows none, the one that there is."""
        shown = [one for one in found if len(found) > 1 and self._is_shown(one, served)] or list(found)
        if len(shown) > 1:
            names = sorted(addressed(one.workload.kind, one.sighting.name) for one in shown)
            raise AmbiguousName(
                f"{ref} names {len(shown)} endpoints: {', '.join(names)}",
                hint=f"say which one: {ref.connection}/{ref.namespace}/{names[0]}",
            )
        return shown[0] if shown else None

    def _is_shown(self, found: Found, served: Served) -> bool:
        world = World(found.world.objects, self._choice)
        mine = uid(found.sighting.item)
        return any(uid(sighting.item) == mine for sighting in found.workload.sightings(world, served))

    async def _among(self, served: Served, workloads: Sequence[Workload], key: Key) -> list[Found]:
        looks = await asyncio.gather(
            *(self._look(served, workload, key) for workload in workloads), return_exceptions=True
        )
        found: list[Found] = []
        claimed: set[str] = set()
        barred: BaseException | None = None
        for look in looks:
            if isinstance(look, Forbidden):
                barred = barred or look
            elif isinstance(look, BaseException):
                raise look
            elif look is not None and uid(look.sighting.item) not in claimed:
                claimed |= look.sighting.claims
                found.append(look)
        if not found and barred is not None:
            raise barred
        return found

    async def _look(self, served: Served, workload: Workload, key: Key) -> Found | None:
        try:
            async with self._turn:
                world = await workload.look(self._api, served, key)
        except NotFound:
            return None
        for sighting in workload.sightings(world, served):
            if (sighting.namespace, sighting.name) == key:
                return Found(workload, sighting, world)
        return None
