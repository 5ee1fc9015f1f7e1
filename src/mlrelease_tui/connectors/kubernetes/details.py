"""Beneath the variants of an endpoint: pods with their nodes and restarts, events, what scales it, what may be evicted of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.events import happenings
from mlrelease_tui.connectors.kubernetes.objects import (
    at,
    condition,
    count,
    items,
    labels,
    name,
    selects,
    table,
    text,
    when,
)
from mlrelease_tui.connectors.kubernetes.pod_states import ailments
from mlrelease_tui.connectors.kubernetes.pods_of import own_name, pods_of_variant, stem_of
from mlrelease_tui.domain.details import Details, Replica
from mlrelease_tui.domain.rollout import Endpoint, Variant
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import Forbidden

REPLICAS: Final = 60
"""Pods that are told of one variant: those that ail first."""
_SHORT: Final = 12
_COUNTED: Final = ("cpu", "memory")
T = TypeVar("T")


class Detailing:
    """Reads the details of one cluster's endpoints."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def read(self, served: Served, endpoint: Endpoint, now: datetime) -> Details:
        """What may be seen of it; what may not is in the notes. Raises only for a backend that is down."""
        place, notes = raw(endpoint.ref.namespace), list[str]()
        found = await asyncio.gather(
            *(
                self._allowed(pods_of_variant(self._api, served, endpoint, variant), [], notes)
                for variant in endpoint.variants
            )
        )
        pods = [pod for of_it in found for pod in of_it]
        names, owners = _names(endpoint, pods)
        told, scalers, budgets = await asyncio.gather(
            self._allowed(happenings(self._api, served, place, names, owners), ((), ""), notes),
            self._allowed(self._listed(served, "autoscaling", "horizontalpodautoscalers", place), (), notes),
            self._allowed(self._listed(served, "policy", "poddisruptionbudgets", place), (), notes),
        )
        replicas = [
            one for variant, of_it in zip(endpoint.variants, found, strict=True) for one in replicas_of(variant, of_it)
        ]
        bearings = [
            *(
                ("scaled by", _scaler(item))
                for item in scalers
                if text(item, "spec", "scaleTargetRef", "name") in names
            ),
            *(("budget", _budget(item)) for item in budgets if _guards(item, pods)),
        ]
        return Details(
            endpoint.ref,
            now,
            tuple(replicas),
            told[0],
            tuple((word, SafeText(said)) for word, said in bearings),
            tuple(SafeText(note) for note in dict.fromkeys([*notes, *([told[1]] if told[1] else [])])),
        )

    async def _listed(self, served: Served, group: str, plural: str, place: str) -> Sequence[Object]:
        resource = served.find(group, plural)
        return (await self._api.list(resource, place)).items if resource is not None else ()

    async def _allowed(self, reading: Awaitable[T], without: T, notes: list[str]) -> T:
        try:
            return await reading
        except Forbidden as no:
            notes.append(no.message)
            return without


def _names(endpoint: Endpoint, pods: Sequence[Object]) -> tuple[set[str], set[str]]:
    """What events may be about: its objects by name, and those that make others of their own name."""
    owners = {
        text(owner, "name")
        for pod in pods
        for owner in items(pod, "metadata", "ownerReferences")
        if owner.get("kind") in {"ReplicaSet", "Job", "StatefulSet"}
    }
    own = own_name(endpoint)
    variants = {stem_of(endpoint, variant) for variant in endpoint.variants} - {own}
    # A ReplicaSet is named after its Deployment: "fraud-predictor-7d9f" of "fraud-predictor".
    makers = {owner.rpartition("-")[0] for owner in owners if "-" in owner}
    names = {own, *variants, *owners, *makers, *(name(pod) for pod in pods)}
    return names, owners | variants


def replicas_of(variant: Variant, pods: Sequence[Object]) -> Iterator[Replica]:
    """The pods of a variant, those that are not ready first, then the newest."""
    seen = sorted(pods, key=lambda pod: text(pod, "metadata", "creationTimestamp"), reverse=True)
    seen.sort(key=_is_ready)
    for pod in seen[:REPLICAS]:
        yield Replica(
            SafeText(name(pod)),
            raw(variant.name),
            _is_ready(pod),
            SafeText(_state(pod)),
            sum(count(status, "restartCount") for status in _statuses(pod)),
            SafeText(_why(pod)),
            SafeText(text(pod, "spec", "nodeName")),
            SafeText(_image(pod)),
            SafeText(asks_of(pod)),
            when(at(pod, "status", "startTime") or at(pod, "metadata", "creationTimestamp")),
        )


def _is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def _statuses(pod: Object) -> Iterator[Mapping[str, Any]]:
    for key in ("initContainerStatuses", "containerStatuses"):
        for found in items(pod, "status", key):
            if isinstance(found, Mapping):
                yield found


def _state(pod: Object) -> str:
    """What it is, in the words of `kubectl get pods`, or why it is not ready."""
    if text(pod, "metadata", "deletionTimestamp"):
        return "Terminating"
    if _is_ready(pod):
        return "Ready"
    return ailments([pod]).removeprefix("1 pod ") or text(pod, "status", "phase") or "Unknown"


def _why(pod: Object) -> str:
    """How a container that runs again ended before."""
    for status in _statuses(pod):
        last = table(status, "lastState", "terminated")
        if count(status, "restartCount") and last:
            return f"{last.get('reason') or 'ended'} {count(last, 'exitCode')}"
    return ""


def _image(pod: Object) -> str:
    """The image that runs, by its digest where the node has told it."""
    for status in items(pod, "status", "containerStatuses"):
        _, at_sign, digest = text(status, "imageID").partition("@")
        if at_sign:
            algorithm, _, value = digest.partition(":")
            return f"{algorithm}:{value[:_SHORT]}"
    containers = items(pod, "spec", "containers")
    return text(containers[0], "image") if containers else ""


def asks_of(pod: Object) -> str:
    """What its first container asks for, "cpu 100m, memory 64Mi, nvidia.com/gpu 1"; of devices a limit is a request."""
    for container in items(pod, "spec", "containers")[:1]:
        asked = {
            **{
                what: amount for what, amount in table(container, "resources", "limits").items() if what not in _COUNTED
            },
            **table(container, "resources", "requests"),
        }
        return ", ".join(f"{what} {asked[what]}" for what in sorted(asked))
    return ""


def _scaler(item: Object) -> str:
    least, most = at(item, "spec", "minReplicas"), count(item, "spec", "maxReplicas")
    now, wanted = count(item, "status", "currentReplicas"), count(item, "status", "desiredReplicas")
    told = f"HPA {name(item)}: {least if least is not None else 1} to {most}, {now} now, {wanted} wanted"
    for kind in ("AbleToScale", "ScalingActive"):
        holds = condition(item, kind)
        if holds.get("status") == "False":
            return f"{told}; {holds.get('reason')}: {holds.get('message')}"
    return told


def _guards(item: Object, pods: Sequence[Object]) -> bool:
    selector = table(item, "spec", "selector")
    return bool(selector) and any(selects(selector, labels(pod)) for pod in pods)


def _budget(item: Object) -> str:
    least, most = at(item, "spec", "minAvailable"), at(item, "spec", "maxUnavailable")
    rule = f"at least {least} stay" if least is not None else f"at most {most} may be away"
    free = count(item, "status", "disruptionsAllowed")
    healthy, wanted = count(item, "status", "currentHealthy"), count(item, "status", "desiredHealthy")
    return f"PDB {name(item)}: {rule}; {free} may be evicted now ({healthy} healthy, {wanted} needed)"
