"""The endpoints of a cluster, kept: of each namespace in which something changed, those are read again that the change touches.

What a reading looked at is noted while it is read, so no workload has to say what it depends on. Reading is done off the thread
that answers keys, one namespace after another: its objects are open only as long as that takes.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from mlrelease_tui.connectors._blocking import collector_at_rest
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.mirror import Mirror
from mlrelease_tui.connectors.kubernetes.namespace_world import NamespaceWorld
from mlrelease_tui.connectors.kubernetes.objects import uid
from mlrelease_tui.connectors.kubernetes.shelf import Shelves, Token
from mlrelease_tui.connectors.kubernetes.unreadable import fault, unreadable
from mlrelease_tui.connectors.kubernetes.workloads.api import (
    Choice,
    Choosing,
    Frame,
    Podded,
    Reading,
    Sighting,
    Workload,
    World,
    addressed,
)
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Phase, VerbSupport
from mlrelease_tui.domain.text import SafeText, raw

_RESTLESS_S: Final = 5.0
"""Seconds after which an endpoint that is under way is read again though nothing changed: some of what is said of it is a matter of
time (a controller that does not react, a deadline that passes)."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One endpoint as it was read: what it was read from, and when (monotonic seconds). `own` is the name of its object, `called`
    another one where that is not enough; `pods` selects the pods of one that is not ready, None for the others."""

    workload: Workload
    own: str
    called: str
    endpoint: Endpoint
    touched: frozenset[Token]
    read_s: float
    pods: Object | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What readings share: what is served, what every endpoint carries, and which workloads are shown."""

    workloads: tuple[Workload, ...]
    served: Served
    frame: Frame
    choice: Choice


@dataclass(frozen=True, slots=True)
class Ailing:
    """An endpoint that is not ready, and which pods to look at for the reason."""

    ref: EndpointRef
    uid: str
    pods: Object


class Catalogue:
    """The endpoints of one mirror."""

    def __init__(self, mirror: Mirror, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._mirror = mirror
        self._monotonic = monotonic
        self._entries: dict[str, dict[EndpointRef, _Entry]] = {}
        self._passed_over: dict[str, int] = {}
        self._faults: dict[str, dict[str, str]] = {}
        self._dirty: dict[str, set[Token]] = {}
        self._reading = asyncio.Lock()
        self._sorted: tuple[Endpoint, ...] = ()
        self._verbs: dict[VerbSupport, VerbSupport] = {}

    def note(self, changes: Mapping[str, set[Token]]) -> None:
        """Remember what changed, by namespace, for the next `refresh`."""
        for place, tokens in changes.items():
            self._dirty.setdefault(place, set()).update(tokens)

    def touched(self, changes: Mapping[str, set[Token]]) -> set[EndpointRef]:
        """The endpoints that a change touches, of those that are known."""
        return {
            ref
            for place, tokens in changes.items()
            for ref, entry in self._entries.get(place, {}).items()
            if not entry.touched.isdisjoint(tokens)
        }

    def known(self, ref: EndpointRef) -> tuple[Workload, str] | None:
        """Which workload an endpoint is and the name of its object, None where it is not known."""
        entry = self._entries.get(raw(ref.namespace), {}).get(ref)
        return (entry.workload, entry.own) if entry is not None else None

    @property
    def passed_over(self) -> int:
        """How many workloads are no endpoints because nothing says which model they serve."""
        return sum(self._passed_over.values())

    @property
    def faults(self) -> tuple[str, ...]:
        """What of a namespace could not be looked through, a sentence each."""
        return tuple(
            f"{SafeText(kind)} in {SafeText(place) or 'the cluster'} can't be looked through, so more is not shown there: "
            f"{SafeText(why)}"
            for place, found in sorted(self._faults.items())
            for kind, why in found.items()
        )

    def ailing(self) -> tuple[Ailing, ...]:
        """The endpoints that are not ready, as they were read last."""
        return tuple(
            Ailing(ref, entry.endpoint.uid, entry.pods)
            for entries in self._entries.values()
            for ref, entry in entries.items()
            if entry.pods is not None
        )

    async def refresh(self, terms: Terms, *, more: Shelves | None = None) -> tuple[Endpoint, ...]:
        """All endpoints, those read again that have to be. One that is as it was stays the same object. `more` are objects that the
        mirror does not keep."""
        async with self._reading:
            dirty, self._dirty = self._dirty, {}
            # What belongs to no namespace may be looked at from all of them.
            everywhere = dirty.get("", set())
            if everywhere:
                for place in self._entries:
                    dirty.setdefault(place, set()).update(everywhere)
            again = dirty.keys() | {place for place, found in self._entries.items() if self._is_restless(found)}
            if again:
                shelves = {**(more or {}), **self._mirror.shelves()}
                seen_at = self._mirror.good_at() or terms.frame.now
                try:
                    for place in sorted(again):
                        world = NamespaceWorld(shelves, place, terms.choice)
                        changed = dirty.get(place, set())
                        self._entries[place] = await asyncio.to_thread(
                            self._read, terms, world, place, changed, seen_at
                        )
                        dirty.pop(place, None)
                except BaseException:
                    self.note(dirty)
                    raise
                found = {ref: entry.endpoint for entries in self._entries.values() for ref, entry in entries.items()}
                self._sorted = tuple(found[ref] for ref in sorted(found))
            return self._sorted

    def _is_restless(self, entries: Mapping[EndpointRef, _Entry]) -> bool:
        return any(self._is_due(entry) for entry in entries.values())

    def _is_due(self, entry: _Entry) -> bool:
        under_way = entry.endpoint.rollout.phase is not Phase.COMPLETE
        return under_way and self._monotonic() - entry.read_s >= _RESTLESS_S

    def _read(
        self, terms: Terms, world: NamespaceWorld, place: str, changed: set[Token], seen_at: datetime
    ) -> dict[EndpointRef, _Entry]:
        before = self._entries.get(place)
        if before is not None:
            return self._read_all(terms, world, place, changed, seen_at, before)
        # All of a namespace at once would have the collector walk through all there is, while keys wait.
        with collector_at_rest():
            found = self._read_all(terms, world, place, changed, seen_at, {})
            # Of what came now only: circles that nobody holds would be set aside for good.
            gc.collect(0)
            return found

    def _read_all(
        self,
        terms: Terms,
        world: NamespaceWorld,
        place: str,
        changed: set[Token],
        seen_at: datetime,
        before: Mapping[EndpointRef, _Entry],
    ) -> dict[EndpointRef, _Entry]:
        kept = {(entry.workload.kind, entry.endpoint.uid): entry for entry in before.values()}
        found: dict[EndpointRef, _Entry] = {}
        faults: dict[str, str] = {}
        for workload, sighting, called in told_apart(sighted(terms, world, faults)):
            known = kept.get((workload.kind, uid(sighting.item)))
            same = known is not None and known.called == called
            if known is not None and same and known.touched.isdisjoint(changed) and not self._is_due(known):
                entry = known
            else:
                entry = self._entry(terms, world, (workload, sighting, called), known, seen_at)
            found.setdefault(entry.endpoint.ref, entry)
        self._passed_over[place] = sum(
            workload.passed_over(world, terms.served)
            for workload in terms.workloads
            if isinstance(workload, Choosing) and workload.kind not in faults
        )
        self._faults[place] = faults
        return found

    def _entry(
        self,
        terms: Terms,
        world: NamespaceWorld,
        seen: tuple[Workload, Sighting, str],
        known: _Entry | None,
        seen_at: datetime,
    ) -> _Entry:
        workload, sighting, called = seen
        world.take_touched()
        frame = replace(terms.frame, called=called) if called else terms.frame
        pods = None
        try:
            endpoint = workload.read(sighting, world, terms.served, frame).endpoint
            short = any((item.ready or 0) < (item.desired or 0) for item in endpoint.variants)
            if short and isinstance(workload, Podded):
                pods = workload.selector(sighting, world, terms.served)
        except Exception as error:
            endpoint = unreadable(workload, sighting, frame, error, seen_at)
        about = {("uid", found) for found in (uid(sighting.item), *sighting.claims)}
        touched = world.take_touched() | about
        if known is not None and known.endpoint == endpoint:
            endpoint = known.endpoint
        else:
            # Thousands of endpoints say the same of their verbs.
            verbs = tuple(self._verbs.setdefault(verb, verb) for verb in endpoint.verbs)
            endpoint = replace(endpoint, verbs=verbs, observed_at=seen_at)
        return _Entry(workload, sighting.name, called, endpoint, touched, self._monotonic(), pods)

    def reading(self, ref: EndpointRef, terms: Terms) -> Reading | None:
        """One endpoint read anew from the mirror, with its driver; None where it is not there."""
        world = NamespaceWorld(self._mirror.shelves(), raw(ref.namespace), terms.choice)
        wanted = self.known(ref)
        frame = replace(terms.frame, called=raw(ref.name))
        for workload, sighting in sighted(terms, world, {}):
            if (workload, sighting.name) == wanted:
                return workload.read(sighting, world, terms.served, frame)
        return None


def told_apart(found: Iterable[tuple[Workload, Sighting]]) -> Iterator[tuple[Workload, Sighting, str]]:
    """Endpoints of one namespace with what each is called: kind and name where several have one name, "" for its own name."""
    seen = list(found)
    names = Counter(sighting.name for _, sighting in seen)
    for workload, sighting in seen:
        yield workload, sighting, addressed(workload.kind, sighting.name) if names[sighting.name] > 1 else ""


def sighted(terms: Terms, world: World, faults: dict[str, str]) -> Iterator[tuple[Workload, Sighting]]:
    """Every endpoint once: what one workload stands for is no endpoint of another. A kind that can't be looked through is told in
    `faults`, by its name, and ends the look."""
    claimed: set[str] = set()
    for workload in terms.workloads:
        if not workload.needs(terms.served):
            continue
        try:
            seen = tuple(workload.sightings(world, terms.served))
        except Exception as error:
            # What comes after it may belong to one of it: shown as an endpoint of its own it could be moved against its owner.
            faults[workload.kind] = fault(error)
            return
        for sighting in seen:
            if uid(sighting.item) not in claimed:
                claimed |= sighting.claims
                yield workload, sighting
