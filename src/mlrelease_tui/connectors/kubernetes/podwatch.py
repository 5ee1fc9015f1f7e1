"""The pods of what is not ready: asked for now and then, a few at a time. A cluster's other pods are never read."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.catalogue import Ailing
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.selecting import pods_of, text_of
from mlrelease_tui.connectors.kubernetes.shelf import Key, Packed, Shelves, Token, packed, tokens_of
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.text import raw
from mlrelease_tui.errors import ReleaseError

_AGAIN_S: Final = 15.0
"""Seconds until the pods of one endpoint are asked for again."""
_AT_ONCE: Final = 4


class PodWatch:
    """The pods of endpoints that are not ready."""

    def __init__(self, api: KubeApi, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._monotonic = monotonic
        self._pods: dict[EndpointRef, dict[Key, Packed]] = {}
        self._asked: dict[EndpointRef, float] = {}

    def shelves(self, served: Served) -> Shelves:
        """The pods that are known, as the mirror has its objects."""
        pods = served.find("", "pods")
        if pods is None:
            return {}
        found: dict[str, dict[Key, Packed]] = {}
        for ref, items in self._pods.items():
            found.setdefault(raw(ref.namespace), {}).update(items)
        return {pods: found}

    async def look(self, served: Served, ailing: Sequence[Ailing]) -> dict[str, set[Token]]:
        """Ask for the pods of those that were not asked for lately, those first that never were; what changed, by namespace."""
        pods, now = served.find("", "pods"), self._monotonic()
        if pods is None:
            return {}
        changes: dict[str, set[Token]] = {}
        ill = {item.ref for item in ailing}
        for ref in [ref for ref in self._asked if ref not in ill]:
            del self._asked[ref]
            self._keep(pods, ref, {}, changes)
        due = [item for item in ailing if now - self._asked.get(item.ref, float("-inf")) >= _AGAIN_S]
        for item in sorted(due, key=lambda one: self._asked.get(one.ref, float("-inf")))[:_AT_ONCE]:
            self._asked[item.ref] = now
            try:
                found = await pods_of(self._api, pods, raw(item.ref.namespace), text_of(item.pods))
            except ReleaseError:
                # The reason is wanted, not needed: the endpoint says that it is not ready all the same.
                continue
            self._keep(pods, item.ref, dict(packed(pod) for pod in found), changes)
        return changes

    def _keep(self, pods: Resource, ref: EndpointRef, now: dict[Key, Packed], changes: dict[str, set[Token]]) -> None:
        before = self._pods.pop(ref, {})
        if now:
            self._pods[ref] = now
        for key in {*before, *now}:
            old, new = before.get(key), now.get(key)
            if old is None or new is None or old.data != new.data:
                changes.setdefault(key[0], set()).update(tokens_of(pods, key, old, new))
