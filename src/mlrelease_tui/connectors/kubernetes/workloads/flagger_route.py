"""The route of a Canary: how Flagger splits the traffic, and where its weights stand.

Facts of Flagger 1.44: the weights are read from the route at each look; any other edit of it (a label, a filter) has Flagger
write it anew at 100/0 and begin again from 0; while a parent's `Accepted` is not True, or is about an older generation,
Flagger takes no step at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.objects import count, items, owner_uid, text, uid
from mlrelease_tui.connectors.kubernetes.patching import Op, pointer, replace, test
from mlrelease_tui.connectors.kubernetes.workloads.api import World
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP

HTTP_ROUTES: Final = ("gateway.networking.k8s.io", "httproutes")
VIRTUAL_SERVICES: Final = ("networking.istio.io", "virtualservices")
ALL: Final = (HTTP_ROUTES, VIRTUAL_SERVICES)


@dataclass(frozen=True, slots=True)
class Share:
    """One weight in a route: of which Service, where it stands, how much."""

    service: str
    path: str
    weight: int


@dataclass(frozen=True, slots=True)
class Route:
    """A route with the weights of the primary and of the canary Service. `mirrored`: requests are copied to the canary."""

    resource: Resource
    item: Object
    primary: Share
    canary: Share
    splits: int
    """How many of its rules split between the two: with session affinity more than one."""
    mirrored: bool
    halted: str
    """The parent that has not accepted it, "" where all have or none was asked: Flagger waits for it."""

    @property
    def canary_bp(self) -> int | None:
        """The canary's share in basis points, None where the weights are all 0."""
        total = self.primary.weight + self.canary.weight
        return round(ALL_TRAFFIC_BP * self.canary.weight / total) if total else None

    @property
    def writable(self) -> bool:
        """Whether its weights are the whole of it, and of the kind that Flagger was seen to take from another hand."""
        return self.resource.plural == HTTP_ROUTES[1] and self.splits == 1

    def weigh(self, canary_percent: int) -> tuple[Op, ...]:
        """Another split, while it is the one that was read."""
        found: list[Op] = [test("/metadata/uid", uid(self.item))]
        for share in (self.primary, self.canary):
            found += [test(f"{share.path}/name", share.service), test(f"{share.path}/weight", share.weight)]
        found += [
            replace(f"{self.primary.path}/weight", 100 - canary_percent),
            replace(f"{self.canary.path}/weight", canary_percent),
        ]
        return tuple(found)


def routes_in(world: World, served: Served, canary: Object, apex: str) -> Iterator[tuple[Resource, Object]]:
    """The routes that Flagger made for a Canary: named after its Service, and its own."""
    place = text(canary, "metadata", "namespace")
    for kind in ALL:
        resource = served.find(*kind)
        found = world.of(resource).get((place, apex)) if resource is not None else None
        if resource is not None and found is not None and owner_uid(found) in {"", uid(canary)}:
            yield resource, found


def route_of(world: World, served: Served, canary: Object, apex: str) -> Route | None:
    """The route that splits a Canary's traffic, None where there is none that we can read."""
    for resource, item in routes_in(world, served, canary, apex):
        found = read_route(resource, item, f"{apex}-primary", f"{apex}-canary")
        if found is not None:
            return found
    return None


def read_route(resource: Resource, item: Object, primary: str, canary: str) -> Route | None:
    """The split between two Services, None where the route has none."""
    splits = [found for found in _splits(resource, item) if {primary, canary} <= found.keys()]
    if not splits:
        return None
    first = splits[0]
    return Route(
        resource, item, first[primary], first[canary], len(splits), _mirrors(item, canary), _halted(resource, item)
    )


def _splits(resource: Resource, item: Object) -> Iterator[dict[str, Share]]:
    outer, inner = ("rules", "backendRefs") if resource.plural == HTTP_ROUTES[1] else ("http", "route")
    for index, rule in enumerate(items(item, "spec", outer)):
        found: dict[str, Share] = {}
        for place, ref in enumerate(items(rule, inner)):
            service = text(ref, "name") or text(ref, "destination", "host").partition(".")[0]
            path = pointer("spec", outer, str(index), inner, str(place))
            found[service] = Share(service, path, count(ref, "weight"))
        yield found


def _mirrors(item: Object, canary: str) -> bool:
    for rule in items(item, "spec", "rules"):
        for one in items(rule, "filters"):
            if text(one, "requestMirror", "backendRef", "name") == canary:
                return True
    return any(text(rule, "mirror", "host").partition(".")[0] == canary for rule in items(item, "spec", "http"))


def _halted(resource: Resource, item: Object) -> str:
    if resource.plural != HTTP_ROUTES[1]:
        return ""
    generation = count(item, "metadata", "generation")
    for parent in items(item, "status", "parents"):
        for condition in items(parent, "conditions"):
            stale = count(condition, "observedGeneration") < generation
            if text(condition, "type") == "Accepted" and (condition.get("status") != "True" or stale):
                return text(parent, "parentRef", "name") or "?"
    return ""
