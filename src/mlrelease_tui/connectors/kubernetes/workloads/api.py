"""What a kind of workload is to the connector: what it reads, which endpoints it sees there, and who drives one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Protocol, runtime_checkable

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.mirror import Key
from mlrelease_tui.connectors.kubernetes.objects import name, namespace, owner_uid
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.text import SafeText


@dataclass(frozen=True, slots=True)
class Choice:
    """Which workloads are shown of kinds that mostly serve no model (Deployments, jobs): `everything`, or those that say themselves
    which model they serve and those that configuration binds to one (`bound`, by namespace and name)."""

    everything: bool = True
    bound: frozenset[Key] = frozenset()


@dataclass(frozen=True)
class World:
    """Objects of one moment, by kind."""

    objects: Mapping[Resource, Mapping[Key, Object]]
    choice: Choice = field(default_factory=Choice)

    def of(self, resource: Resource) -> Mapping[Key, Object]:
        return self.objects.get(resource, {})

    def owned(self, resource: Resource, uid: str) -> tuple[Object, ...]:
        """The objects of a kind whose controller has this uid."""
        return tuple(self._by_owner.get((resource, uid), ()))

    def index(self, what: str, build: Callable[[], Mapping[Key, Object]]) -> Mapping[Key, Object]:
        """An index over its objects, built once under this name."""
        found = self._indexes.get(what)
        if found is None:
            found = self._indexes[what] = build()
        return found

    @cached_property
    def _indexes(self) -> dict[str, Mapping[Key, Object]]:
        return {}

    @cached_property
    def _by_owner(self) -> Mapping[tuple[Resource, str], list[Object]]:
        found: dict[tuple[Resource, str], list[Object]] = {}
        for resource, items in self.objects.items():
            for item in items.values():
                if owner := owner_uid(item):
                    found.setdefault((resource, owner), []).append(item)
        return found


@dataclass(frozen=True, slots=True)
class Frame:
    """What every endpoint of a connection shares. `called` is what the endpoint that is read is called where its own name is not
    enough, since another kind has one of that name too; "" for its own name."""

    connection: str
    environment: str
    context: str
    registry: str
    now: datetime
    called: str = ""

    def ref(self, item: Object) -> EndpointRef:
        """The address of the endpoint that this object is."""
        return EndpointRef(self.connection, SafeText(namespace(item)), SafeText(self.called or name(item)))


@dataclass(frozen=True, slots=True)
class Sighting:
    """An endpoint that a workload recognised, not read yet. `claims` are the uids of objects that it stands for: none of them
    is an endpoint of its own."""

    namespace: str
    name: str
    item: Object
    claims: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Reading:
    """An endpoint as read, and what drives it: the objects of that very read are in the driver."""

    endpoint: Endpoint
    driver: object


class Workload(Protocol):
    """One kind of workload."""

    @property
    def kind(self) -> str:
        """Its native name: "Rollout"."""
        ...

    def needs(self, served: Served) -> tuple[Resource, ...]:
        """The kinds that it reads, its own first; none where the cluster does not serve it."""
        ...

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]: ...

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading: ...

    async def look(self, api: KubeApi, served: Served, key: Key) -> World:
        """The objects of one endpoint, read now. NotFound where it is gone."""
        ...


@runtime_checkable
class Wishing(Protocol):
    """A workload that shows more where more may be read."""

    def wishes(self, served: Served) -> tuple[Resource, ...]:
        """Kinds that it reads where the cluster serves them and we may see them; without them it shows less."""
        ...


@runtime_checkable
class Choosing(Protocol):
    """A workload whose kind mostly serves no model."""

    def passed_over(self, world: World, served: Served) -> int:
        """How many of its kind are no endpoints, because nothing says which model they serve."""
        ...


@runtime_checkable
class Podded(Protocol):
    """A workload of pods: what ails them is asked for only where it is not ready."""

    def selector(self, sighting: Sighting, world: World, served: Served) -> Object:
        """The label selector of its pods."""
        ...


@runtime_checkable
class Claiming(Protocol):
    """A workload that owns objects which say nothing of it: whoever names one of them would write past it."""

    async def claimant(self, api: KubeApi, served: Served, sighting: Sighting) -> str:
        """The name of the one that this object belongs to, "" where it belongs to none."""
        ...


def addressed(kind: str, own: str) -> str:
    """What an endpoint is called where others in its namespace have its name: "deployment.fraud", "canary-pair.fraud"."""
    return f"{kind.lower().replace(' ', '-')}.{own}"


def world_of(objects: Mapping[Resource, Iterable[Object]]) -> World:
    """A world of these objects alone."""
    from mlrelease_tui.connectors.kubernetes.objects import by_key

    return World({resource: by_key(items) for resource, items in objects.items()})
