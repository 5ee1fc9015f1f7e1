"""Knative Services that stand alone: one that KServe owns is driven through its InferenceService, which would revert us.

Source: serving.knative.dev/v1 as Knative Serving 0.48 behaves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.mirror import Key
from mlrelease_tui.connectors.kubernetes.objects import (
    at,
    condition,
    name,
    namespace,
    owner_uid,
    table,
    text,
    uid,
    when,
)
from mlrelease_tui.connectors.kubernetes.selecting import some
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, Sighting, World, world_of
from mlrelease_tui.connectors.kubernetes.workloads.knative_driver import KnativeDriver
from mlrelease_tui.connectors.kubernetes.workloads.knative_standing import SLOW_S, Standing
from mlrelease_tui.connectors.kubernetes.workloads.kserve import KNATIVE, OF_SERVICE, revisions_of
from mlrelease_tui.connectors.kubernetes.workloads.support import model_ref, verbs_of
from mlrelease_tui.domain.rollout import Endpoint, Native, Phase, Role, Rollout, Strategy, Variant
from mlrelease_tui.domain.text import SafeText

_NOTHING: Final = "no status"


class KnativeServices:
    """The workload module for Knative Services."""

    kind = "Knative Service"

    def needs(self, served: Served) -> tuple[Resource, ...]:
        services, revisions = served.find(KNATIVE, "services"), served.find(KNATIVE, "revisions")
        return (services, revisions) if services is not None and revisions is not None else ()

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]:
        needed = self.needs(served)
        for item in world.of(needed[0]).values() if needed else ():
            if not owner_uid(item):
                yield Sighting(namespace(item), name(item), item, frozenset({uid(item)}))

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading:
        services, revisions = self.needs(served)
        item = sighting.item
        owned = revisions_of(world, revisions, namespace(item), name(item))
        standing = Standing(item, {name(one): one for one in owned})
        endpoint = _endpoint(standing, frame)
        driver = KnativeDriver(services, standing, endpoint, frame)
        return Reading(verbs_of(endpoint, driver), driver)

    async def look(self, api: KubeApi, served: Served, key: Key) -> World:
        services, revisions = self.needs(served)
        item = await api.get(services.path(*key))
        return world_of(
            {services: [item], revisions: await some(api, revisions, key[0], labels=f"{OF_SERVICE}={key[1]}")}
        )


def _endpoint(standing: Standing, frame: Frame) -> Endpoint:
    item = standing.item
    identity = standing.identities.get(standing.candidate or standing.stable)
    ready = condition(item, "Ready")
    past = [version for version in marks.history_of(item) if version != standing.version(standing.stable)]
    return Endpoint(
        frame.ref(item),
        uid=uid(item),
        revision=_revision(standing),
        variants=_variants(standing),
        rollout=_rollout(standing, frame),
        native=Native(SafeText("Knative Service"), SafeText(ready.get("reason") or ready.get("status") or _NOTHING)),
        observed_at=frame.now,
        environment=frame.environment,
        **model_ref(identity.model if identity else marks.said(item, marks.MODEL), identity, frame),
        alias=SafeText(marks.said(item, marks.ALIAS)),
        previous_version=SafeText(past[0]) if past and not standing.in_flight else "",
        stamp=standing.stamp,
        owner=marks.owner_of(item),
        problems=tuple(SafeText(problem) for problem in _problems(standing, frame)),
        url=SafeText(text(item, "status", "url")),
        labels=MappingProxyType({"newest": SafeText(_newest(standing))} if _newest(standing) else {}),
    )


def _newest(standing: Standing) -> str:
    """The version of the newest Revision, once it is of the newest template."""
    return standing.version(standing.created) if standing.observed and standing.created else ""


def _revision(standing: Standing) -> str:
    parts = [
        at(standing.item, "metadata", "generation"),
        standing.created,
        standing.ready,
        sorted(standing.weights.items()),
        standing.routed,
        sorted(standing.revisions),
        marks.left(standing.item, marks.HOLD),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _variants(standing: Standing) -> tuple[Variant, ...]:
    shown = [standing.stable, standing.candidate, *(key for key, weight in standing.weights.items() if weight)]
    found = []
    for revision in dict.fromkeys(one for one in shown if one):
        one = standing.revisions.get(revision, {})
        identity = standing.identities.get(revision)
        known = bool(one)
        found.append(
            Variant(
                SafeText(revision),
                Role.STABLE if revision == standing.stable else Role.CANARY,
                SafeText(standing.version(revision)),
                weight_bp=standing.weights.get(revision, 0) if standing.routed else None,
                digest=identity.digest if identity else "",
                ready=at(one, "status", "actualReplicas") or 0 if known else None,
                desired=at(one, "status", "desiredReplicas") or 0 if known else None,
                message=SafeText(standing.failed) if revision == standing.created else SafeText(),
                started_at=when(text(one, "metadata", "creationTimestamp")),
            )
        )
    return tuple(found)


def _rollout(standing: Standing, frame: Frame) -> Rollout:
    stable = standing.version(standing.stable)
    candidate = standing.candidate
    return Rollout(
        Strategy.CANARY,
        _phase(standing, frame),
        SafeText(stable),
        SafeText(standing.version(candidate)) if candidate else SafeText(stable),
        hold=marks.hold_of(standing.item),
        started_at=when(text(standing.revisions.get(candidate, {}), "metadata", "creationTimestamp")),
        message=SafeText(_message(standing, frame)),
    )


def _phase(standing: Standing, frame: Frame) -> Phase:
    silent_s = standing.silent_s(frame.now)
    slow = silent_s is not None and silent_s < SLOW_S
    known: tuple[tuple[bool, Phase], ...] = (
        (not standing.observed, Phase.PROGRESSING if slow else Phase.UNKNOWN),
        (bool(standing.unrouted or (standing.failed and standing.in_flight) or standing.empty), Phase.DEGRADED),
        (not standing.routed or standing.ramping, Phase.PROGRESSING),
        (standing.floating and not standing.settled, Phase.PROGRESSING),
        (marks.hold_of(standing.item) is not None, Phase.HELD),
        (standing.in_flight, Phase.WAITING),
    )
    return next((phase for holds, phase in known if holds), Phase.COMPLETE)


def _message(standing: Standing, frame: Frame) -> str:
    if not standing.observed:
        silent_s = standing.silent_s(frame.now)
        if silent_s is not None and silent_s < SLOW_S:
            return "its spec was changed, and its controller has not looked yet"
        return "its spec was changed, and no controller has looked: is Knative Serving running?"
    if standing.empty:
        return f"{', '.join(standing.empty)} gets traffic and has no ready pod"
    if standing.ramping:
        return "its traffic is moving by rollout-duration"
    return standing.unrouted or (standing.failed if standing.in_flight else "")


def _problems(standing: Standing, frame: Frame) -> Iterator[str]:
    if not standing.observed and _phase(standing, frame) is Phase.UNKNOWN:
        yield _message(standing, frame)
    if standing.unrouted:
        yield standing.unrouted
    if standing.empty:
        yield f"{', '.join(standing.empty)} gets traffic and has no ready pod, whatever its conditions say"
    if (
        not standing.in_flight
        and table(standing.item, "spec", "template")
        and standing.spec_version != standing.version(standing.stable)
    ):
        yield f"its template says {standing.spec_version}, which gets no traffic"
