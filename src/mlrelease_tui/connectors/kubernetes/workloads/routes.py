"""Routes that split requests between Services: HTTPRoutes of the Gateway API, VirtualServices of Istio. The endpoint is the route.

A route is one where a rule has two backends or more. Those that Flagger or Argo Rollouts drive belong to their endpoints: named by
somebody they are shown, and refuse every write.

Source: Gateway API 1.4 (v1) on a real API server, Istio's API 1.31; no gateway and no proxy was there to carry them out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.marks import MODEL, said
from mlrelease_tui.connectors.kubernetes.mirror import Key
from mlrelease_tui.connectors.kubernetes.objects import count, items, name, namespace, owner_uid, table, text, uid
from mlrelease_tui.connectors.kubernetes.pod_states import ailments
from mlrelease_tui.connectors.kubernetes.selecting import pods_of, some, text_of
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, Sighting, World, world_of
from mlrelease_tui.connectors.kubernetes.workloads.deployment import Pods, pods_in
from mlrelease_tui.connectors.kubernetes.workloads.deployment_standing import standing_of
from mlrelease_tui.connectors.kubernetes.workloads.models import serves_model
from mlrelease_tui.connectors.kubernetes.workloads.routes_driver import Dialect, RouteDriver
from mlrelease_tui.connectors.kubernetes.workloads.routes_endpoint import endpoint_of
from mlrelease_tui.connectors.kubernetes.workloads.routes_owners import GATEWAY, ISTIO, ROLLOUTS, driven_by
from mlrelease_tui.connectors.kubernetes.workloads.routes_splits import (
    Backend,
    Numbers,
    Split,
    http_split,
    mesh_split,
    of_hundred,
    proportional,
)
from mlrelease_tui.connectors.kubernetes.workloads.routes_standing import (
    Behind,
    Standing,
    deployments_of,
    subset_labels,
)
from mlrelease_tui.connectors.kubernetes.workloads.routes_taken import Taken, http_taken, mesh_taken
from mlrelease_tui.connectors.kubernetes.workloads.support import verbs_of
from mlrelease_tui.errors import NotFound

_OF_SERVICE: Final = "kubernetes.io/service-name"
_DEPLOYMENTS: Final = ("apps", "deployments")
_SETS: Final = ("apps", "replicasets")
_SERVICES: Final = ("", "services")
_SLICES: Final = ("discovery.k8s.io", "endpointslices")
_SUBSETS: Final = (ISTIO, "destinationrules")


@dataclass(frozen=True, slots=True)
class _Language:
    """How one kind of route says what it says."""

    group: str
    plural: str
    weights: str
    grain: str
    split: Callable[[Object], Split | None]
    taken: Callable[[Object, float | None], Taken]
    numbers: Numbers
    hosts: tuple[str, str]


_HTTP: Final = _Language(
    GATEWAY,
    "httproutes",
    "spec.rules[].backendRefs[].weight",
    "its weights are whole numbers",
    http_split,
    http_taken,
    proportional,
    ("spec", "hostnames"),
)
_MESH: Final = _Language(
    ISTIO,
    "virtualservices",
    "spec.http[].route[].weight; Istio does not say when it is in force",
    "Istio knows whole percents",
    mesh_split,
    mesh_taken,
    of_hundred,
    ("spec", "hosts"),
)


@dataclass(frozen=True, slots=True)
class _Kinds:
    """What is read of one world for one route."""

    routes: Resource
    deployments: Resource
    sets: Resource
    services: Resource | None
    slices: Resource | None
    subsets: Resource | None


class Routes:
    """The workload module for one kind of route."""

    def __init__(self, kind: str, language: _Language) -> None:
        self.kind = kind
        self._language = language

    def needs(self, served: Served) -> tuple[Resource, ...]:
        kinds = self._kinds(served)
        return (kinds.routes, kinds.deployments, kinds.sets) if kinds is not None else ()

    def wishes(self, served: Served) -> tuple[Resource, ...]:
        kinds = self._kinds(served)
        if kinds is None:
            return ()
        return tuple(one for one in (kinds.services, kinds.subsets) if one is not None)

    def _kinds(self, served: Served) -> _Kinds | None:
        routes = served.find(self._language.group, self._language.plural)
        deployments, sets = served.find(*_DEPLOYMENTS), served.find(*_SETS)
        if routes is None or deployments is None or sets is None:
            return None
        subsets = served.find(*_SUBSETS) if self._language.group == ISTIO else None
        return _Kinds(routes, deployments, sets, served.find(*_SERVICES), served.find(*_SLICES), subsets)

    def _needed(self, served: Served) -> _Kinds:
        kinds = self._kinds(served)
        if kinds is None:
            raise NotFound(f"this cluster has no {self.kind}s", hint="read the endpoints again")
        return kinds

    # --- which of them are endpoints

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]:
        for item, found in self._splitting(world, served):
            if self._shown(item, found, world):
                driven = driven_by(item, self._needed(served).routes, world, served)
                claims = {uid(item)} | (set() if driven else found.uids)
                yield Sighting(namespace(item), name(item), item, frozenset(claims))

    def passed_over(self, world: World, served: Served) -> int:
        return sum(not self._shown(item, found, world) for item, found in self._splitting(world, served))

    def _splitting(self, world: World, served: Served) -> Iterator[tuple[Object, _Found]]:
        kinds = self._kinds(served)
        if kinds is None:
            return
        for item in world.of(kinds.routes).values():
            split = self._language.split(item)
            if split is not None and not _made_by_another(item):
                yield item, _Found(split, world, kinds)

    def _shown(self, item: Object, found: _Found, world: World) -> bool:
        if world.choice.everything or (namespace(item), name(item)) in world.choice.bound or said(item, MODEL):
            return True
        return any(serves_model(one) for deployments in found.deployments.values() for one in deployments)

    def selector(self, sighting: Sighting, world: World, served: Served) -> Object:
        """The pods of the first Deployment behind it that is not ready; of the first one where all are."""
        split = self._language.split(sighting.item)
        found = _Found(split, world, self._needed(served)).deployments if split is not None else {}
        behind = [one for deployments in found.values() for one in deployments]
        short = [one for one in behind if count(one, "status", "availableReplicas") < count(one, "spec", "replicas")]
        return table((short or behind or [{}])[0], "spec", "selector")

    # --- reading one

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading:
        kinds, item, language = self._needed(served), sighting.item, self._language
        split = language.split(item)
        if split is None:
            raise NotFound(f"{self.kind} {sighting.namespace}/{sighting.name} splits nothing", hint="read again")
        found, pods = _Found(split, world, kinds), pods_in(world, served)
        behind = {one.name: found.behind(one, pods) for one in split.backends}
        shadows = {one.backend.name: found.behind(one.backend, pods) for one in split.mirrors}
        driven = driven_by(item, kinds.routes, world, served)
        asked = Standing(item, split, behind, Taken(True), driven, shadows)
        stamp = asked.stamp
        silent_s = (frame.now - stamp.at).total_seconds() if stamp is not None and stamp.at is not None else None
        standing = Standing(item, split, behind, language.taken(item, silent_s), driven, shadows)
        hosts = [str(one) for one in items(item, *language.hosts)]
        endpoint = endpoint_of(self.kind, standing, frame, hosts)
        dialect = Dialect(kinds.routes, language.weights, language.numbers, language.grain)
        driver = RouteDriver(dialect, kinds.deployments, standing, endpoint, frame)
        return Reading(verbs_of(endpoint, driver), driver)

    async def look(self, api: KubeApi, served: Served, key: Key) -> World:
        kinds = self._needed(served)
        item = await api.get(kinds.routes.path(*key))
        asked: dict[Resource, list[Object]] = {kinds.routes: [item]}
        wanted = [one for one in (kinds.services, kinds.slices, kinds.subsets, served.find(*ROLLOUTS)) if one]
        reads = (api.list(kinds.deployments, key[0]), api.list(kinds.sets, key[0]))
        (deployments, sets), rest = await asyncio.gather(
            asyncio.gather(*reads), asyncio.gather(*(some(api, one, key[0]) for one in wanted))
        )
        asked |= {kinds.deployments: list(deployments.items), kinds.sets: list(sets.items)}
        asked |= dict(zip(wanted, rest, strict=True))
        if (split := self._language.split(item)) is not None and (kind := served.find("", "pods")) is not None:
            behind = _Found(split, world_of(asked), kinds).deployments.values()
            selectors = {text_of(table(one, "spec", "selector")) for deployments in behind for one in deployments}
            found = await asyncio.gather(*(pods_of(api, kind, key[0], one) for one in sorted(selectors)))
            asked[kind] = [pod for some_ in found for pod in some_]
        return world_of(asked)


class HttpRoutes(Routes):
    """HTTPRoutes of the Gateway API."""

    def __init__(self) -> None:
        super().__init__("HTTPRoute", _HTTP)


class VirtualServices(Routes):
    """VirtualServices of Istio."""

    def __init__(self) -> None:
        super().__init__("VirtualService", _MESH)


def _made_by_another(item: Object) -> bool:
    """Whether a controller made it that is no release controller: KServe's and Knative's routes belong to what they carry."""
    kinds = {text(one, "kind") for one in items(item, "metadata", "ownerReferences") if one.get("controller")}
    return bool(owner_uid(item)) and kinds != {"Canary"}


class _Found:
    """What a world has behind a split."""

    def __init__(self, split: Split, world: World, kinds: _Kinds) -> None:
        self._split = split
        self._world = world
        self._kinds = kinds

    @cached_property
    def deployments(self) -> Mapping[str, list[Object]]:
        """The Deployments behind each backend and each mirror, by its name."""
        backends = (*self._split.backends, *(one.backend for one in self._split.mirrors))
        return MappingProxyType({one.name: self._deployments(one) for one in backends})

    @property
    def uids(self) -> set[str]:
        """What the route stands for: its Services and the Deployments behind them."""
        services = [self.service(one) for one in self._split.backends]
        found = [one for deployments in self.deployments.values() for one in deployments]
        return {uid(one) for one in (*services, *found) if one is not None}

    def service(self, backend: Backend) -> Object | None:
        kind = self._kinds.services
        return self._world.of(kind).get(backend.service) if kind is not None else None

    def behind(self, backend: Backend, pods: Pods) -> Behind:
        service = self.service(backend)
        found = self.deployments[backend.name]
        deployed = standing_of(found[0], self._world.owned(self._kinds.sets, uid(found[0]))) if found else None
        others = tuple(name(one) for one in found[1:])
        ill = "; ".join(told for one in (deployed.sets if deployed else ()) if (told := ailments(pods(uid(one)))))
        return Behind(backend, service, deployed, others, self._missing(backend, service), self._reached(backend), ill)

    def _deployments(self, backend: Backend) -> list[Object]:
        service = self.service(backend)
        if service is None:
            return []
        more = self._labels(backend)
        if more is None:
            return []
        around = self._world.of(self._kinds.deployments).values()
        return deployments_of(service, more, (one for one in around if namespace(one) == backend.service[0]))

    def _labels(self, backend: Backend) -> Mapping[str, str] | None:
        """What a subset wants beside its Service; {} without a subset."""
        if not backend.subset:
            return {}
        rules = self._world.of(self._kinds.subsets).values() if self._kinds.subsets is not None else ()
        return subset_labels(rules, backend)

    def _missing(self, backend: Backend, service: Object | None) -> str:
        """Why requests to it would fail whatever runs, "" where nothing says so."""
        services, subsets = self._kinds.services, self._kinds.subsets
        here = services is not None and bool(self._world.of(services))
        if service is None and here and all(backend.service) and backend.service[0] == self._split.home:
            return f"there is no Service {backend.service[1]}"
        if backend.subset and subsets is not None and self._labels(backend) is None:
            return f"no DestinationRule defines the subset {backend.subset}"
        return ""

    def _reached(self, backend: Backend) -> int | None:
        """Ready addresses of the Service; None where nobody looked, or where they are of more than a subset."""
        kind = self._kinds.slices
        pieces = self._world.of(kind) if kind is not None else {}
        if not pieces or backend.subset or not all(backend.service):
            return None
        mine = [one for one in pieces.values() if text(one, "metadata", "labels", _OF_SERVICE) == backend.service[1]]
        ready = [
            address
            for piece in mine
            for address in items(piece, "endpoints")
            if table(address, "conditions").get("ready") is not False
        ]
        return len({text(one, "targetRef", "uid") for one in ready})
