"""Argo Rollouts: canary and blue-green, read from the Rollout and the ReplicaSets that it owns.

Source: Argo Rollouts v1alpha1 as its controller 1.10.1 behaves; where that differs from its documentation the driver says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
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
    labels,
    name,
    namespace,
    selects,
    table,
    text,
    uid,
    when,
)
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, Sighting, World, world_of
from mlrelease_tui.connectors.kubernetes.workloads.argo_driver import ArgoDriver
from mlrelease_tui.connectors.kubernetes.workloads.argo_standing import Standing, standing_of
from mlrelease_tui.connectors.kubernetes.workloads.support import model_ref, verbs_of
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import (
    ALL_TRAFFIC_BP,
    Endpoint,
    Hold,
    Native,
    Phase,
    Role,
    Rollout,
    Step,
    Strategy,
    Variant,
)
from mlrelease_tui.domain.text import SafeText

GROUP: Final = "argoproj.io"


class ArgoRollouts:
    """The workload module for Rollouts."""

    kind = "Rollout"

    def needs(self, served: Served) -> tuple[Resource, ...]:
        rollouts, sets = served.find(GROUP, "rollouts"), served.find("apps", "replicasets")
        return (rollouts, sets) if rollouts and sets else ()

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]:
        needed = self.needs(served)
        if not needed:
            return
        deployments = served.find("apps", "deployments")
        for item in world.of(needed[0]).values():
            claims = {uid(item)}
            referred = text(item, "spec", "workloadRef", "name")
            if deployments is not None and referred:
                owned = world.of(deployments).get((namespace(item), referred))
                claims |= {uid(owned)} if owned is not None else set()
            yield Sighting(namespace(item), name(item), item, frozenset(claims))

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading:
        rollouts, sets = self.needs(served)
        standing = standing_of(sighting.item, world.owned(sets, uid(sighting.item)))
        endpoint = _endpoint(standing, frame)
        driver = ArgoDriver(rollouts, sets, standing, endpoint, frame)
        return Reading(verbs_of(endpoint, driver), driver)

    async def look(self, api: KubeApi, served: Served, key: Key) -> World:
        rollouts, sets = self.needs(served)
        item = await api.get(rollouts.path(*key))
        selector = table(item, "spec", "selector", "matchLabels")
        wanted = ",".join(f"{label}={value}" for label, value in selector.items())
        page = await api.list(sets, key[0], labels=wanted)
        rest = [found for found in page.items if selects(table(item, "spec", "selector"), labels(found))]
        return world_of({rollouts: [item], sets: rest})


def _endpoint(standing: Standing, frame: Frame) -> Endpoint:
    item = standing.item
    identity = standing.identity(standing.current) or standing.identity(standing.stable)
    model = identity.model if identity else marks.said(item, marks.MODEL)
    history = marks.history_of(item)
    variants = _variants(standing)
    return Endpoint(
        EndpointRef(frame.connection, SafeText(namespace(item)), SafeText(name(item))),
        uid=uid(item),
        revision=_revision(standing),
        variants=variants,
        rollout=_rollout(standing),
        native=Native(SafeText("Rollout"), SafeText(text(item, "status", "phase") or "no status")),
        observed_at=frame.now,
        environment=frame.environment,
        **model_ref(model, identity, frame),
        alias=SafeText(marks.said(item, marks.ALIAS)),
        previous_version=SafeText(history[0]) if history and not standing.in_flight else "",
        stamp=marks.stamp_of(item),
        owner=marks.owner_of(item),
        problems=tuple(SafeText(problem) for problem in _problems(standing)),
    )


def _revision(standing: Standing) -> str:
    """Everything that a plan depends on, and nothing that a status tick moves."""
    item = standing.item
    parts = [
        at(item, "metadata", "generation"),
        standing.current,
        standing.stable,
        at(item, "status", "currentStepIndex"),
        at(item, "status", "pauseConditions"),
        at(item, "status", "abort"),
        at(item, "status", "promoteFull"),
        text(item, "status", "blueGreen", "activeSelector"),
        text(item, "status", "workloadObservedGeneration"),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _variants(standing: Standing) -> tuple[Variant, ...]:
    wanted = {key: count(one, "spec", "replicas") for key, one in standing.sets.items()}
    shown = [key for key in (standing.stable, standing.current) if key in standing.sets]
    shown += sorted(key for key, replicas in wanted.items() if replicas and key not in shown)
    weights = standing.weights(wanted)
    found = []
    for key in dict.fromkeys(shown):
        one, identity = standing.sets[key], standing.versions[key]
        empty = key != standing.stable and not wanted[key] and not count(one, "status", "replicas")
        if empty and (standing.aborted or not standing.in_flight):
            # What was scaled away serves nobody, even while the spec still names it (after an abort).
            continue
        found.append(
            Variant(
                SafeText(name(one)),
                _role(standing, key),
                SafeText(identity.version),
                weight_bp=weights.get(key),
                digest=identity.digest,
                ready=count(one, "status", "availableReplicas"),
                desired=wanted[key],
                started_at=when(text(one, "metadata", "creationTimestamp")),
            )
        )
    return tuple(found)


def _role(standing: Standing, key: str) -> Role:
    if key == standing.stable:
        return Role.STABLE
    if not standing.blue_green:
        return Role.CANARY
    active = text(standing.item, "status", "blueGreen", "activeSelector")
    return Role.CANARY if key == active else Role.PREVIEW


def _rollout(standing: Standing) -> Rollout:
    item = standing.item
    stable, current = standing.identity(standing.stable), standing.identity(standing.current)
    to_version = current.version if current else "?"
    index = at(item, "status", "currentStepIndex")
    steps = _steps(item)
    return Rollout(
        Strategy.BLUE_GREEN if standing.blue_green else Strategy.CANARY,
        _phase(standing),
        SafeText(stable.version) if stable else SafeText(to_version),
        SafeText(to_version),
        step_index=min(index, len(steps)) if isinstance(index, int) and steps else None,
        steps=steps,
        hold=_hold(item),
        started_at=when(text(standing.sets.get(standing.current, {}), "metadata", "creationTimestamp"))
        if standing.in_flight
        else None,
        message=SafeText(_message(standing)),
    )


def _hold(item: Object) -> Hold | None:
    """Who holds it. A pause by another hand has no name: it is held all the same."""
    if at(item, "spec", "paused") is not True:
        return None
    return marks.hold_of(item) or Hold(SafeText("an unknown hand"), SafeText("spec.paused is set"))


def _steps(item: Object) -> tuple[Step, ...]:
    found = []
    for index, step in enumerate(items(item, "spec", "strategy", "canary", "steps")):
        weight = at(step, "setWeight")
        if isinstance(weight, int):
            found.append(Step(index, min(weight * 100, ALL_TRAFFIC_BP)))
        else:
            found.append(Step(index, None, SafeText(_step_label(step))))
    return tuple(found)


def _step_label(step: Any) -> str:
    if not isinstance(step, dict) or not step:
        return "?"
    kind = next(iter(step))
    duration = text(step, "pause", "duration") if kind == "pause" else ""
    return f"pause {duration}".rstrip() if kind == "pause" else kind


def _phase(standing: Standing) -> Phase:
    status = table(standing.item, "status")
    known: tuple[tuple[bool, Phase], ...] = (
        (not standing.observed or standing.deaf, Phase.UNKNOWN),
        (standing.aborted and not status.get("abortedAt"), Phase.ABORTING),
        (standing.aborted, Phase.DEGRADED),
        (standing.paused, Phase.HELD),
        (bool(status.get("pauseConditions")), Phase.WAITING),
        (status.get("phase") == "Degraded", Phase.DEGRADED),
        (standing.in_flight or not standing.settled, Phase.PROGRESSING),
    )
    return next((phase for holds, phase in known if holds), Phase.COMPLETE)


def _message(standing: Standing) -> str:
    item = standing.item
    if standing.deaf:
        return "a pause was lifted and no controller reacts: is argo-rollouts running?"
    if not standing.observed:
        return "no controller has looked at the newest spec yet: is argo-rollouts running?"
    return text(item, "status", "message")


def _problems(standing: Standing) -> Iterator[str]:
    item = standing.item
    invalid = condition(item, "InvalidSpec")
    if invalid.get("status") == "True":
        yield str(invalid.get("message") or "its spec is invalid")
    weight = text(item, "status", "canary", "weights", "verified")
    if weight == "False":
        yield "the traffic router does not confirm the weights"
    old = [
        key
        for key, one in standing.sets.items()
        if key not in {standing.stable, standing.current} and count(one, "spec", "replicas")
    ]
    if old:
        yield f"{len(old)} older ReplicaSet{'s' if len(old) > 1 else ''} still {'have' if len(old) > 1 else 'has'} pods"
