"""Whether a release controller drives a route: Flagger and Argo Rollouts put back what anybody else writes there, or start over.

Flagger owns the route that it made: any edit of it, an annotation too, begins its canary anew. A Rollout names the routes that it
drives; where it can't be read, the label that its plugin leaves or its controller among the route's writers says it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.objects import at, items, labels, name, namespace, table, text, uid
from mlrelease_tui.connectors.kubernetes.workloads.api import World

GATEWAY: Final = "gateway.networking.k8s.io"
ISTIO: Final = "networking.istio.io"
ROLLOUTS: Final = ("argoproj.io", "rollouts")
_PLUGIN: Final = "argoproj-labs/gatewayAPI"
_IN_PROGRESS: Final = "rollouts.argoproj.io/gatewayapi-canary"
_WRITERS: Final = {"rollouts-controller": "Argo Rollouts", "flagger": "Flagger"}
Named = tuple[str, str, str]
"""A route as a Rollout names it: its plural, namespace and name."""


def driven_by(route: Object, resource: Resource, world: World, served: Served) -> str:
    """Who drives this route, in words; "" for nobody."""
    for owner in items(route, "metadata", "ownerReferences"):
        if owner.get("controller"):
            return f"{_house(owner)}{text(owner, 'kind')} {text(owner, 'name')}"
    kind = served.find(*ROLLOUTS)
    if kind is not None:
        key = (resource.plural, namespace(route), name(route))
        for one in world.of(kind).values():
            if key in set(routes_of(one)):
                return f"Argo's Rollout {name(one)}"
    if _IN_PROGRESS in labels(route):
        return "Argo Rollouts"
    for entry in items(route, "metadata", "managedFields"):
        if entry.get("manager") in _WRITERS and entry.get("subresource") != "status":
            return _WRITERS[str(entry["manager"])]
    return ""


def _house(owner: Object) -> str:
    group = text(owner, "apiVersion").partition("/")[0]
    return "Flagger's " if group == "flagger.app" else ""


def routes_of(rollout: Object) -> Iterator[Named]:
    """The routes that a Rollout says it drives."""
    routing, home = table(rollout, "spec", "strategy", "canary", "trafficRouting"), namespace(rollout)
    mesh = table(routing, "istio")
    for one in (table(mesh, "virtualService"), *items(mesh, "virtualServices")):
        if found := text(one, "name"):
            # "name.namespace" is what Argo takes for one of another namespace.
            short, _, elsewhere = found.partition(".")
            yield ("virtualservices", elsewhere or home, short)
    plugin = table(at(routing, "plugins") or {}, _PLUGIN)
    for one in (text(plugin, "httpRoute"), *(text(one, "name") for one in items(plugin, "httpRoutes"))):
        if one:
            yield ("httproutes", text(plugin, "namespace") or home, one)


def claimed_routes(rollout: Object, world: World, served: Served) -> frozenset[str]:
    """The uids of the routes that a Rollout drives."""
    kinds = {"virtualservices": served.find(ISTIO, "virtualservices"), "httproutes": served.find(GATEWAY, "httproutes")}
    found = set()
    for plural, place, called in routes_of(rollout):
        resource = kinds[plural]
        route = world.of(resource).get((place, called)) if resource is not None else None
        if route is not None:
            found.add(uid(route))
    return frozenset(found)
