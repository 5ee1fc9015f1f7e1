"""What a cluster serves: two requests, whatever its size.

Source: aggregated discovery (`APIGroupDiscoveryList`, apidiscovery.k8s.io/v2), served since Kubernetes 1.27.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.objects import at, items, text
from mlrelease_tui.errors import UnexpectedAnswer

_ACCEPT: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Served:
    """The kinds of a cluster by group and plural, each in the version that the cluster prefers."""

    resources: Mapping[tuple[str, str], Resource] = field(default_factory=lambda: MappingProxyType({}))

    def find(self, group: str, plural: str) -> Resource | None:
        """The kind, None where this cluster does not serve it."""
        return self.resources.get((group, plural))


async def discover(api: KubeApi) -> Served:
    """Ask what is served. A group whose server is down is left out, as the server itself does."""
    found: dict[tuple[str, str], Resource] = {}
    for path in ("/api", "/apis"):
        answer = await api.get(path, accept=_ACCEPT)
        if answer.get("kind") != "APIGroupDiscoveryList":
            raise UnexpectedAnswer(
                "the API server has no aggregated discovery", hint="Kubernetes 1.27 or later is wanted"
            )
        for resource in _resources(answer):
            # Versions are listed in the order of preference: the first wins.
            found.setdefault((resource.group, resource.plural), resource)
    return Served(MappingProxyType(found))


def _resources(answer: Object) -> Iterator[Resource]:
    for group in items(answer, "items"):
        for version in items(group, "versions"):
            for item in items(version, "resources"):
                yield Resource(
                    text(group, "metadata", "name"),
                    text(version, "version"),
                    text(item, "resource"),
                    text(item, "responseKind", "kind"),
                    at(item, "scope") == "Namespaced",
                )
