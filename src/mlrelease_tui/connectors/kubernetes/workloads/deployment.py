"""Deployments: rolling updates, read from the Deployment and the ReplicaSets that it owns.

Source: apps/v1 as kube-controller-manager 1.36 behaves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.mirror import Key
from mlrelease_tui.connectors.kubernetes.objects import (
    at,
    condition,
    count,
    items,
    name,
    namespace,
    owner_uid,
    table,
    text,
    uid,
    when,
)
from mlrelease_tui.connectors.kubernetes.pod_states import ailments
from mlrelease_tui.connectors.kubernetes.selecting import pods_of, some, text_of
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, Sighting, World, world_of
from mlrelease_tui.connectors.kubernetes.workloads.deployment_driver import DeploymentDriver, Kinds
from mlrelease_tui.connectors.kubernetes.workloads.deployment_standing import RESTARTED, Standing, standing_of
from mlrelease_tui.connectors.kubernetes.workloads.models import shown
from mlrelease_tui.connectors.kubernetes.workloads.support import model_ref, verbs_of
from mlrelease_tui.domain.rollout import Endpoint, Hold, Native, Phase, Role, Rollout, Strategy, Variant
from mlrelease_tui.domain.text import SafeText

Pods = Callable[[str], Iterable[Object]]
"""The pods that are known of what has this uid."""
_SCALERS: Final = ("autoscaling", "horizontalpodautoscalers")


class Deployments:
    """The workload module for Deployments."""

    kind = "Deployment"

    def needs(self, served: Served) -> tuple[Resource, ...]:
        deployments, sets = served.find("apps", "deployments"), served.find("apps", "replicasets")
        return (deployments, sets) if deployments and sets else ()

    def wishes(self, served: Served) -> tuple[Resource, ...]:
        found = served.find(*_SCALERS)
        return (found,) if found else ()

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]:
        for item in self._all(world, served):
            if shown(item, world):
                yield Sighting(namespace(item), name(item), item, frozenset({uid(item)}))

    def passed_over(self, world: World, served: Served) -> int:
        return sum(not owner_uid(item) and not shown(item, world) for item in self._all(world, served))

    def _all(self, world: World, served: Served) -> Iterator[Object]:
        needed = self.needs(served)
        if needed:
            yield from world.of(needed[0]).values()

    def selector(self, sighting: Sighting, world: World, served: Served) -> Object:
        return table(sighting.item, "spec", "selector")

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading:
        deployments, sets = self.needs(served)
        standing = standing_of(sighting.item, world.owned(sets, uid(sighting.item)))
        scaler = scaler_of(sighting.item, world, served)
        endpoint = _endpoint(standing, frame, variants_of(standing, pods_in(world, served)), scaler)
        driver = DeploymentDriver(Kinds(deployments, sets), standing, endpoint, frame, scaler)
        return Reading(verbs_of(endpoint, driver), driver)

    async def look(self, api: KubeApi, served: Served, key: Key) -> World:
        deployments, sets = self.needs(served)
        item = await api.get(deployments.path(*key))
        wanted = text_of(table(item, "spec", "selector"))
        owned = await api.list(sets, key[0], labels=wanted)
        found = {deployments: [item], sets: list(owned.items)}
        if scalers := served.find(*_SCALERS):
            found[scalers] = await some(api, scalers, key[0])
        if pods := served.find("", "pods"):
            found[pods] = await pods_of(api, pods, key[0], wanted)
        return world_of(found)


def pods_in(world: World, served: Served) -> Pods:
    """The pods that are known, by the uid of what owns them."""
    pods = served.find("", "pods")
    return (lambda owner: world.owned(pods, owner)) if pods else (lambda owner: ())


def scaler_of(item: Object, world: World, served: Served) -> str:
    """What else sets its replicas, as "HPA fraud (2 to 10)"; "" where nothing does."""
    scalers = served.find(*_SCALERS)
    if scalers is None:
        return ""
    known = world.index("scalers", lambda: _by_target(world.of(scalers).values()))
    found = known.get((namespace(item), name(item)))
    if found is None:
        return ""
    least, most = at(found, "spec", "minReplicas"), count(found, "spec", "maxReplicas")
    return f"HPA {SafeText(name(found))} ({least if least is not None else 1} to {most})"


def _by_target(scalers: Iterable[Object]) -> Mapping[Key, Object]:
    """The scalers of Deployments, by what they scale."""
    return {
        (namespace(found), text(found, "spec", "scaleTargetRef", "name")): found
        for found in scalers
        if text(found, "spec", "scaleTargetRef", "kind") == "Deployment"
    }


def _endpoint(standing: Standing, frame: Frame, variants: tuple[Variant, ...], scaler: str) -> Endpoint:
    item, identity = standing.item, standing.target
    progress = condition(item, "Progressing")
    return Endpoint(
        frame.ref(item),
        uid=uid(item),
        revision=revision_of(standing),
        variants=variants,
        rollout=rollout_of(standing),
        native=Native(SafeText("Deployment"), SafeText(progress.get("reason") or "no status")),
        observed_at=frame.now,
        environment=frame.environment,
        **model_ref(identity.model, identity, frame),
        alias=SafeText(marks.said(item, marks.ALIAS)),
        previous_version=SafeText(standing.previous),
        stamp=marks.last_writer(item),
        owner=marks.owner_of(item),
        problems=tuple(SafeText(problem) for problem in problems_of(standing)),
        labels=labels_of(standing, scaler),
    )


def revision_of(standing: Standing) -> str:
    """Everything that a plan depends on, and nothing that a status tick moves."""
    item = standing.item
    parts = [
        at(item, "metadata", "generation"),
        name(standing.current) if standing.current is not None else "",
        name(standing.stable) if standing.stable is not None else "",
        standing.observed,
        standing.rolled_out,
        standing.overdue,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def variants_of(standing: Standing, pods: Pods) -> tuple[Variant, ...]:
    """Its ReplicaSets that have pods or are to have some, the stable one always."""
    first = [one for one in (standing.stable, standing.current) if one is not None]
    rest = [one for one in standing.sets if count(one, "spec", "replicas") or count(one, "status", "replicas")]
    found: list[Variant] = []
    for one in {name(each): each for each in (*first, *rest)}.values():
        identity = standing.versions[name(one)]
        found.append(
            Variant(
                SafeText(name(one)),
                Role.STABLE if one is standing.stable else Role.CANARY,
                SafeText(identity.version),
                digest=identity.digest,
                ready=count(one, "status", "availableReplicas"),
                desired=count(one, "spec", "replicas"),
                message=SafeText(ailments(pods(uid(one)))),
                started_at=when(text(one, "metadata", "creationTimestamp")),
            )
        )
    return tuple(found)


def rollout_of(standing: Standing) -> Rollout:
    item = standing.item
    phase = phase_of(standing)
    begun = standing.current if standing.in_flight else None
    return Rollout(
        Strategy.ROLLING,
        phase,
        SafeText(standing.source.version),
        SafeText(standing.target.version),
        hold=hold_of(item),
        started_at=when(text(begun, "metadata", "creationTimestamp")) if begun is not None else None,
        message=SafeText(_message(standing, phase)),
    )


def hold_of(item: Object) -> Hold | None:
    """Who holds it. A pause by another hand has no name: it is held all the same."""
    if at(item, "spec", "paused") is not True:
        return None
    return marks.hold_of(item) or Hold(SafeText("an unknown hand"), SafeText("spec.paused is set"))


def phase_of(standing: Standing) -> Phase:
    known: tuple[tuple[bool, Phase], ...] = (
        (not standing.observed, Phase.UNKNOWN),
        (standing.paused, Phase.HELD),
        (standing.overdue, Phase.DEGRADED),
        (standing.rolled_out, Phase.COMPLETE),
    )
    return next((phase for holds, phase in known if holds), Phase.PROGRESSING)


def _message(standing: Standing, phase: Phase) -> str:
    item = standing.item
    if phase is Phase.UNKNOWN:
        return "no controller has looked at the newest spec yet"
    updated = count(item, "status", "updatedReplicas")
    available = count(standing.current or {}, "status", "availableReplicas")
    if phase is Phase.HELD:
        return f"paused with {updated} of {standing.wanted} pods replaced" if not standing.rolled_out else "paused"
    if phase is Phase.DEGRADED:
        return f"{available} of {standing.wanted} pods of {SafeText(standing.target.version)} became available before the deadline"
    return (
        ""
        if phase is Phase.COMPLETE
        else f"{updated} of {standing.wanted} pods replaced, {available} of them available"
    )


def problems_of(standing: Standing) -> Iterator[str]:
    """What is wrong beside its phase."""
    item = standing.item
    if standing.paused and standing.overdue:
        yield "it had missed its deadline when it was paused, and says so until it is rolled out"
    failure = condition(item, "ReplicaFailure")
    if failure.get("status") == "True":
        yield f"pods can't be made: {failure.get('message') or failure.get('reason')}"


def labels_of(standing: Standing, scaler: str) -> dict[str, SafeText]:
    """What else it says of itself, by words of ours."""
    item = standing.item
    found: dict[str, Any] = {
        "wanted": standing.target.version,
        "replicas": standing.replicas,
        "restarted": at(item, "spec", "template", "metadata", "annotations", RESTARTED),
        "scaled by": scaler,
        "requests": requests_of(table(item, "spec", "template")),
    }
    return {key: SafeText(value) for key, value in found.items() if value not in {None, ""}}


def requests_of(template: Object) -> str:
    """What a pod asks for, summed over its containers where there is one, else by container: "cpu 100m, memory 64Mi"."""
    told = []
    containers = items(template, "spec", "containers")
    for container in containers:
        asked = {**table(container, "resources", "limits"), **table(container, "resources", "requests")}
        words = ", ".join(f"{what} {asked[what]}" for what in sorted(asked))
        told += [words if len(containers) == 1 else f"{text(container, 'name')}: {words}"] if words else []
    return "; ".join(told)
