"""Where the requests of a Rollout's versions are counted, where Traefik splits them.

Source: the controller's reconciler for Traefik weights `stableService` and `canaryService` in the TraefikService that
`trafficRouting.traefik.weightedTraefikServiceName` names; Traefik counts each by its own name, which its provider for these
resources makes of namespace, Service and port as the TraefikService writes it (`Normalize` of `<namespace>-<name>-<port>`).
"""

from __future__ import annotations

import re
from typing import Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.objects import at, items, namespace, table, text
from mlrelease_tui.connectors.kubernetes.workloads.argo_standing import Standing
from mlrelease_tui.domain.rollout import SeriesSelector

_KIND: Final = ("traefik.io", "traefikservices")
_APART: Final = re.compile(r"[^0-9A-Za-z]+")


def routes_of(served: Served) -> Resource | None:
    """The kind that weights a Rollout's Services, None where the cluster does not serve it."""
    return served.find(*_KIND)


def route_name(item: Object) -> str:
    """The TraefikService that its controller writes weights to, "" where Traefik does not split its requests."""
    return text(item, "spec", "strategy", "canary", "trafficRouting", "traefik", "weightedTraefikServiceName")


def counted_by(standing: Standing, route: Object | None) -> dict[str, tuple[SeriesSelector, ...]]:
    """How Traefik's metrics name what each ReplicaSet's version is sent, by hash; nothing where the route can't be seen.

    Between releases both Services lead to the same pods; what counts then is the stable one.
    """
    if route is None:
        return {}
    canary = table(standing.item, "spec", "strategy", "canary")
    found = {standing.stable: _series(route, text(canary, "stableService"))}
    if standing.in_flight:
        found[standing.current] = _series(route, text(canary, "canaryService"))
    return {key: series for key, series in found.items() if key and series}


def _series(route: Object, service: str) -> tuple[SeriesSelector, ...]:
    for entry in items(route, "spec", "weighted", "services"):
        if text(entry, "name") == service:
            place = text(entry, "namespace") or namespace(route)
            called = _APART.sub("-", f"{place}-{service}-{at(entry, 'port') or ''}").strip("-")
            return (SeriesSelector("traefik", (("service", f"{called}@kubernetescrd"),)),)
    return ()
