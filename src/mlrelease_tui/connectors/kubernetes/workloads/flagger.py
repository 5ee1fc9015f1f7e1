"""Flagger's Canaries: canary, blue-green and A/B, read from the Canary, its target, its primary and the route between them.

Source: flagger.app/v1beta1 as Flagger 1.36 and 1.44 behave; where that differs from its documentation the driver says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.mirror import Key
from mlrelease_tui.connectors.kubernetes.objects import at, count, name, namespace, table, text, uid, when
from mlrelease_tui.connectors.kubernetes.pod_states import ailments
from mlrelease_tui.connectors.kubernetes.selecting import pods_of, some, text_of
from mlrelease_tui.connectors.kubernetes.workloads import deployment_standing as deployments
from mlrelease_tui.connectors.kubernetes.workloads import flagger_route as routes
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, Sighting, World, world_of
from mlrelease_tui.connectors.kubernetes.workloads.deployment import Pods, pods_in, scaler_of
from mlrelease_tui.connectors.kubernetes.workloads.deployment_standing import RESTARTED
from mlrelease_tui.connectors.kubernetes.workloads.flagger_driver import FlaggerDriver
from mlrelease_tui.connectors.kubernetes.workloads.flagger_gates import gates_of, step_index, steps_of
from mlrelease_tui.connectors.kubernetes.workloads.flagger_phase import message_of, phase_of, problems_of
from mlrelease_tui.connectors.kubernetes.workloads.flagger_standing import (
    AT_REST,
    HELD,
    Standing,
    apex_of,
    standing_of,
    target_replicas,
)
from mlrelease_tui.connectors.kubernetes.workloads.flagger_writes import Kinds
from mlrelease_tui.connectors.kubernetes.workloads.support import model_ref, verbs_of
from mlrelease_tui.domain.rollout import (
    ALL_TRAFFIC_BP,
    Endpoint,
    Hold,
    Native,
    Role,
    Rollout,
    Stamp,
    Strategy,
    Variant,
)
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Forbidden, NotFound

GROUP: Final = "flagger.app"
_CLAIMED: Final = frozenset({"Deployment", "Service", "HTTPRoute", "VirtualService"})
_SCALERS: Final = ("autoscaling", "horizontalpodautoscalers")


class Canaries:
    """The workload module for Canaries."""

    kind = "Canary"

    def needs(self, served: Served) -> tuple[Resource, ...]:
        kinds = kinds_of(served)
        return (kinds.canaries, kinds.deployments, kinds.sets) if kinds is not None else ()

    def wishes(self, served: Served) -> tuple[Resource, ...]:
        if kinds_of(served) is None:
            return ()
        found = [served.find(*kind) for kind in (*routes.ALL, _SCALERS, ("", "services"))]
        return tuple(resource for resource in found if resource is not None)

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]:
        kinds = kinds_of(served)
        if kinds is None:
            return
        for item in world.of(kinds.canaries).values():
            yield Sighting(namespace(item), name(item), item, frozenset(_claims(item, world, served, kinds)))

    def selector(self, sighting: Sighting, world: World, served: Served) -> Object:
        kinds = _needed(served)
        pair = _pair(sighting.item, world, kinds)
        wanted = [table(one, "spec", "selector", "matchLabels") for one in pair if one is not None]
        keys = {key for found in wanted for key in found}
        rules = [{"key": key, "operator": "In", "values": [one[key] for one in wanted if key in one]} for key in keys]
        return {"matchExpressions": rules}

    async def claimant(self, api: KubeApi, served: Served, sighting: Sighting) -> str:
        """Nothing on a target tells that Flagger scales and copies it, and a route without an owner may be Flagger's too."""
        kinds = _needed(served)
        kind, place = text(sighting.item, "kind"), sighting.namespace
        for item in await some(api, kinds.canaries, place):
            target = text(item, "spec", "targetRef", "name")
            named = {"Deployment": {target, f"{target}-primary"}}.get(kind, {apex_of(item)})
            if kind in _CLAIMED and sighting.name in named:
                return name(item)
        return ""

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading:
        kinds, item = _needed(served), sighting.item
        target, primary = (
            deployments.standing_of(one, world.owned(kinds.sets, uid(one))) if one is not None else None
            for one in _pair(item, world, kinds)
        )
        scaler = scaler_of(primary.item, world, served) if primary is not None else ""
        standing = standing_of(item, target, primary, routes.route_of(world, served, item, apex_of(item)), scaler)
        endpoint = _endpoint(standing, frame, pods_in(world, served))
        driver = FlaggerDriver(kinds, standing, endpoint, frame)
        return Reading(verbs_of(endpoint, driver), driver)

    async def look(self, api: KubeApi, served: Served, key: Key) -> World:
        kinds = _needed(served)
        item = await api.get(kinds.canaries.path(*key))
        apex, target = apex_of(item), text(item, "spec", "targetRef", "name")
        wanted = [(kinds.deployments, target), (kinds.deployments, f"{target}-primary")]
        wanted += [(resource, apex) for kind in routes.ALL if (resource := served.find(*kind)) is not None]
        found: dict[Resource, list[Object]] = {kinds.canaries: [item], kinds.sets: []}
        read = await asyncio.gather(*(_one(api, resource, key[0], called) for resource, called in wanted if called))
        for resource, one in read:
            found.setdefault(resource, []).extend([one] if one is not None else [])
        selectors = [text_of(table(one, "spec", "selector")) for one in found.get(kinds.deployments, ())]
        reads = [api.list(kinds.sets, key[0], labels=selector) for selector in selectors if selector]
        for page in await asyncio.gather(*reads):
            found[kinds.sets] += page.items
        if scalers := served.find(*_SCALERS):
            found[scalers] = await some(api, scalers, key[0])
        if pods := served.find("", "pods"):
            listed = await asyncio.gather(*(pods_of(api, pods, key[0], selector) for selector in selectors))
            found[pods] = [pod for page in listed for pod in page]
        return world_of(found)


async def _one(api: KubeApi, resource: Resource, place: str, called: str) -> tuple[Resource, Object | None]:
    """An object by its name, None where it is not there; a Deployment must be readable, anything else may be hidden from us."""
    try:
        return resource, await api.get(resource.path(place, called))
    except NotFound:
        return resource, None
    except Forbidden:
        if resource.plural == "deployments":
            raise
        return resource, None


def kinds_of(served: Served) -> Kinds | None:
    """The kinds that are read, None where the cluster has no Canaries."""
    canaries = served.find(GROUP, "canaries")
    deploys, sets = served.find("apps", "deployments"), served.find("apps", "replicasets")
    return Kinds(canaries, deploys, sets) if canaries and deploys and sets else None


def _needed(served: Served) -> Kinds:
    kinds = kinds_of(served)
    if kinds is None:
        raise NotFound("this cluster has no Canaries", hint="read the endpoints again")
    return kinds


def _pair(item: Object, world: World, kinds: Kinds) -> tuple[Object | None, Object | None]:
    """The target and the primary Deployment."""
    if (text(item, "spec", "targetRef", "kind") or "Deployment") != "Deployment":
        return None, None
    target = text(item, "spec", "targetRef", "name")
    known, place = world.of(kinds.deployments), namespace(item)
    return known.get((place, target)), known.get((place, f"{target}-primary"))


def _claims(item: Object, world: World, served: Served, kinds: Kinds) -> Iterator[str]:
    """Itself, its two Deployments, its route and the three Services in front of them."""
    yield uid(item)
    yield from (uid(one) for one in _pair(item, world, kinds) if one is not None)
    yield from (uid(route) for _, route in routes.routes_in(world, served, item, apex_of(item)))
    if services := served.find("", "services"):
        apex, known = apex_of(item), world.of(services)
        for called in (apex, f"{apex}-primary", f"{apex}-canary"):
            found = known.get((namespace(item), called))
            if found is not None:
                yield uid(found)


def _endpoint(standing: Standing, frame: Frame, pods: Pods) -> Endpoint:
    item, identity, stable = standing.item, standing.wanted, standing.stable
    holders = [one.item for one in (standing.target, standing.primary) if one is not None]
    said = next((found for one in (item, *holders) if (found := marks.said(one, marks.MODEL))), "")
    rollout = _rollout(standing, frame)
    previous = standing.primary.previous if standing.primary is not None and not rollout.in_flight else ""
    return Endpoint(
        frame.ref(item),
        uid=uid(item),
        revision=_revision(standing),
        variants=_variants(standing, rollout, pods),
        rollout=rollout,
        native=Native(SafeText("Canary"), SafeText(standing.native or "no status")),
        observed_at=frame.now,
        environment=frame.environment,
        **model_ref(said or (identity.model if identity else ""), identity or stable, frame),
        alias=SafeText(next((found for one in (item, *holders) if (found := marks.said(one, marks.ALIAS))), "")),
        previous_version=SafeText(previous),
        stamp=_stamp(standing),
        owner=next((owner for one in (item, *holders[:1]) if (owner := marks.owner_of(one))), SafeText()),
        problems=tuple(SafeText(problem) for problem in problems_of(standing, frame.now)),
        labels=MappingProxyType(_labels(standing)),
    )


def _stamp(standing: Standing) -> Stamp | None:
    """Who wrote last, to the Canary or to one of its Deployments. Flagger writes under its program's name."""
    found = [
        marks.last_writer(marks.of_spec(one), *standing.flaggers)
        for one in (standing.item, *(each.item for each in (standing.target, standing.primary) if each is not None))
    ]
    known = [stamp for stamp in found if stamp is not None]
    return max(
        known, key=lambda stamp: (stamp.at.timestamp() if stamp.at else 0.0, bool(stamp.intent_id)), default=None
    )


def _labels(standing: Standing) -> dict[str, SafeText]:
    found = {
        "target": standing.version(),
        "target replicas": str(target_replicas(standing)),
        "skip analysis": "on" if standing.skips else "off",
        "interval": f"{standing.interval_s:g} s",
        "scaled by": standing.scaler,
    }
    if standing.primary is not None:
        noted = table(standing.primary.item, "spec", "template", "metadata", "annotations")
        found |= {"replicas": standing.primary.replicas, "restarted": str(noted.get(RESTARTED) or "")}
    return {key: SafeText(value) for key, value in found.items() if value}


def _revision(standing: Standing) -> str:
    """Everything that a plan depends on, and nothing that a look of Flagger's moves without getting further."""
    item = standing.item
    parts = [
        at(item, "metadata", "generation"),
        standing.native,
        standing.aborting,
        text(item, "status", "lastAppliedSpec"),
        text(item, "status", "lastPromotedSpec"),
        text(item, "metadata", "annotations", HELD),
        standing.weight_bp,
        count(item, "status", "iterations"),
        *(
            [uid(one.item), at(one.item, "metadata", "generation"), one.settled] if one is not None else None
            for one in (standing.target, standing.primary)
        ),
        uid(standing.route.item) if standing.route is not None else "",
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _variants(standing: Standing, rollout: Rollout, pods: Pods) -> tuple[Variant, ...]:
    weight, found = standing.weight_bp, []
    primary, target = standing.primary, standing.target
    if primary is not None:
        one = primary.stable or {}
        share = None if weight is None else ALL_TRAFFIC_BP - weight
        found.append(_variant(standing, primary, one, Role.STABLE, rollout.from_version, share, pods))
    if target is not None:
        serves = target.wanted or target.available or weight
        if primary is None:
            found.append(_variant(standing, target, target.current or {}, Role.STABLE, rollout.to_version, None, pods))
        elif rollout.in_flight or serves:
            one = target.current or {}
            found.append(_variant(standing, target, one, _role(standing), _target_version(standing), weight, pods))
    return tuple(found)


def _target_version(standing: Standing) -> str:
    return SafeText(standing.version())


def _variant(
    standing: Standing,
    half: deployments.Standing,
    one: Object,
    role: Role,
    version: str,
    weight_bp: int | None,
    pods: Pods,
) -> Variant:
    """One Deployment as a variant, counted by the ReplicaSet that runs this version of it."""
    ill = "; ".join(told for each in half.sets if (told := ailments(pods(uid(each)))))
    identity = half.versions.get(name(one)) if one else None
    return Variant(
        SafeText(name(half.item)),
        role,
        version,
        weight_bp=weight_bp,
        digest=identity.digest if identity else "",
        ready=count(one, "status", "availableReplicas") if one else half.available,
        desired=half.wanted,
        message=SafeText(ill),
        started_at=when(text(one, "metadata", "creationTimestamp")) if one else None,
    )


def _role(standing: Standing) -> Role:
    """What the target is to users: with iterations it gets no live traffic before its promotion, with a mirror copies of it."""
    if standing.route is not None and standing.route.mirrored:
        return Role.SHADOW
    return Role.PREVIEW if standing.strategy is Strategy.BLUE_GREEN and not standing.weight_bp else Role.CANARY


def _rollout(standing: Standing, frame: Frame) -> Rollout:
    stable, phase = standing.stable, phase_of(standing)
    to_version = SafeText(standing.version())
    moving = standing.native not in {*AT_REST, ""} and not standing.same
    return Rollout(
        standing.strategy,
        phase,
        SafeText(stable.version) if stable is not None else to_version,
        to_version,
        step_index=step_index(standing),
        steps=steps_of(standing),
        hold=_hold(standing),
        started_at=_started(standing) if moving else None,
        message=SafeText(message_of(standing, frame.now)),
        gates=gates_of(standing),
    )


def _started(standing: Standing) -> datetime | None:
    """When the release under way came to be: when its ReplicaSet did."""
    current = standing.target.current if standing.target is not None else None
    return when(text(current, "metadata", "creationTimestamp")) if current is not None else None


def _hold(standing: Standing) -> Hold | None:
    """Who holds it. A suspension by another hand has no name: it is held all the same."""
    if not standing.suspended:
        return None
    return marks.hold_of(standing.item) or Hold(SafeText("an unknown hand"), SafeText("spec.suspend is set"))
