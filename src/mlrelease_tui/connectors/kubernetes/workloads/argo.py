"""Argo Rollouts: canary and blue-green, read from the Rollout and the ReplicaSets that it owns.

Source: Argo Rollouts v1alpha1 as its controller 1.10.1 behaves; where that differs from its documentation the driver says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
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
from mlrelease_tui.connectors.kubernetes.pod_states import ailments
from mlrelease_tui.connectors.kubernetes.selecting import text_of
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, Sighting, World, world_of
from mlrelease_tui.connectors.kubernetes.workloads.argo_driver import ArgoDriver
from mlrelease_tui.connectors.kubernetes.workloads.argo_gates import BAD, gates_of, told
from mlrelease_tui.connectors.kubernetes.workloads.argo_standing import HASH_LABEL, Standing, scaler_of, standing_of
from mlrelease_tui.connectors.kubernetes.workloads.argo_traffic import counted_by, route_name, routes_of
from mlrelease_tui.connectors.kubernetes.workloads.argo_writes import Kinds
from mlrelease_tui.connectors.kubernetes.workloads.routes_owners import claimed_routes
from mlrelease_tui.connectors.kubernetes.workloads.support import model_ref, verbs_of
from mlrelease_tui.domain.rollout import (
    ALL_TRAFFIC_BP,
    Endpoint,
    Gate,
    Hold,
    Native,
    Phase,
    Role,
    Rollout,
    SeriesSelector,
    Step,
    Strategy,
    Variant,
)
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Forbidden, NotFound

GROUP: Final = "argoproj.io"
Pods = Callable[[str], Iterable[Object]]
"""The pods that are known of what has this uid."""
_SLOW_S: Final = 10.0
"""A controller that runs reacts within a second; one that is loaded may take some."""


class ArgoRollouts:
    """The workload module for Rollouts."""

    kind = "Rollout"

    def needs(self, served: Served) -> tuple[Resource, ...]:
        kinds = kinds_of(served)
        return (kinds.rollouts, kinds.sets) if kinds is not None else ()

    def wishes(self, served: Served) -> tuple[Resource, ...]:
        kinds = kinds_of(served)
        return kinds.wishes if kinds is not None else ()

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]:
        kinds = kinds_of(served)
        if kinds is None:
            return
        for item in world.of(kinds.rollouts).values():
            referred = _referred(item, world, kinds)
            claims = {uid(item), *claimed_routes(item, world, served)}
            claims |= {uid(referred)} if referred is not None else set()
            yield Sighting(namespace(item), name(item), item, frozenset(claims))

    def selector(self, sighting: Sighting, world: World, served: Served) -> Object:
        return table(sighting.item, "spec", "selector")

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading:
        kinds = _needed(served)
        item, key = sighting.item, uid(sighting.item)
        standing = standing_of(
            item,
            world.owned(kinds.sets, key),
            referred=_referred(item, world, kinds),
            runs=world.owned(kinds.runs, key) if kinds.runs else (),
            experiments=world.owned(kinds.experiments, key) if kinds.experiments else (),
            scaler=scaler_of(item, tuple(world.of(kinds.scalers).values())) if kinds.scalers else "",
        )
        pods = served.find("", "pods")
        route = world.of(kinds.routes).get((namespace(item), route_name(item))) if kinds.routes else None
        owned: Pods = (lambda owner: world.owned(pods, owner)) if pods else (lambda _: ())
        endpoint = _endpoint(standing, frame, owned, counted_by(standing, route))
        driver = ArgoDriver(kinds, standing, endpoint, frame)
        return Reading(verbs_of(endpoint, driver), driver)

    async def look(self, api: KubeApi, served: Served, key: Key) -> World:
        kinds = _needed(served)
        item = await api.get(kinds.rollouts.path(*key))
        wanted = ",".join(f"{label}={value}" for label, value in table(item, "spec", "selector", "matchLabels").items())
        found: dict[Resource, list[Object]] = {kinds.rollouts: [item]}
        reads = {kinds.sets: api.list(kinds.sets, key[0], labels=wanted)}
        judged = labels_of_release(item)
        for resource in (kinds.runs, kinds.experiments):
            if resource is not None and judged:
                reads[resource] = api.list(resource, key[0], labels=judged)
        if kinds.scalers is not None:
            reads[kinds.scalers] = api.list(kinds.scalers, key[0])
        if kinds.deployments is not None and (reference := text(item, "spec", "workloadRef", "name")):
            reads[kinds.deployments] = api.list(kinds.deployments, key[0], fields=f"metadata.name={reference}")
        if kinds.routes is not None and (route := route_name(item)):
            reads[kinds.routes] = api.list(kinds.routes, key[0], fields=f"metadata.name={route}")
        if (pods := served.find("", "pods")) and (picked := text_of(table(item, "spec", "selector"))):
            reads[pods] = api.list(pods, key[0], labels=picked)
        pages = await asyncio.gather(*reads.values(), return_exceptions=True)
        for resource, page in zip(reads, pages, strict=True):
            if isinstance(page, Forbidden | NotFound) and resource is not kinds.sets:
                continue
            if isinstance(page, BaseException):
                raise page
            found[resource] = list(page.items)
        selector = table(item, "spec", "selector")
        found[kinds.sets] = [one for one in found[kinds.sets] if selects(selector, labels(one))]
        return world_of(found)


def kinds_of(served: Served) -> Kinds | None:
    """The kinds that are read, None where the cluster has no Rollouts."""
    rollouts, sets = served.find(GROUP, "rollouts"), served.find("apps", "replicasets")
    if rollouts is None or sets is None:
        return None
    return Kinds(
        rollouts,
        sets,
        served.find("apps", "deployments"),
        served.find(GROUP, "analysisruns"),
        served.find(GROUP, "experiments"),
        served.find("autoscaling", "horizontalpodautoscalers"),
        routes_of(served),
    )


def _needed(served: Served) -> Kinds:
    kinds = kinds_of(served)
    if kinds is None:
        raise NotFound("this cluster has no Rollouts", hint="read the endpoints again")
    return kinds


def labels_of_release(item: Object) -> str:
    """The label selector of the analyses of the release under way, "" where its strategy has none."""
    strategy = json.dumps(at(item, "spec", "strategy") or {}).lower()
    key = text(item, "status", "currentPodHash")
    return f"{HASH_LABEL}={key}" if key and ("analysis" in strategy or "experiment" in strategy) else ""


def _referred(item: Object, world: World, kinds: Kinds) -> Object | None:
    reference = text(item, "spec", "workloadRef", "name")
    if not reference or kinds.deployments is None or text(item, "spec", "workloadRef", "kind") != "Deployment":
        return None
    return world.of(kinds.deployments).get((namespace(item), reference))


def _endpoint(
    standing: Standing, frame: Frame, pods: Pods, series: Mapping[str, tuple[SeriesSelector, ...]]
) -> Endpoint:
    item = standing.item
    identity = standing.identity(standing.current) or standing.identity(standing.stable)
    model = identity.model if identity else marks.said(item, marks.MODEL)
    history = standing.history
    variants = _variants(standing, pods, series)
    return Endpoint(
        frame.ref(item),
        uid=uid(item),
        revision=_revision(standing),
        variants=variants,
        rollout=_rollout(standing, frame.now),
        native=Native(SafeText("Rollout"), SafeText(text(item, "status", "phase") or "no status")),
        observed_at=frame.now,
        environment=frame.environment,
        **model_ref(model, identity, frame),
        alias=SafeText(marks.said(item, marks.ALIAS)),
        previous_version=SafeText(history[0]) if history and not standing.in_flight else "",
        stamp=standing.stamp,
        owner=marks.owner_of(item),
        problems=tuple(SafeText(problem) for problem in _problems(standing, frame.now)),
        labels=MappingProxyType(_labels(standing)),
    )


def _labels(standing: Standing) -> dict[str, SafeText]:
    found = {"wanted": standing.at_rest(standing.current), "autoscaler": standing.scaler}
    return {key: SafeText(value) for key, value in found.items() if value}


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
        text(standing.referred or {}, "metadata", "generation"),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _variants(standing: Standing, pods: Pods, series: Mapping[str, tuple[SeriesSelector, ...]]) -> tuple[Variant, ...]:
    wanted = {key: count(one, "spec", "replicas") for key, one in standing.sets.items()}
    shown = [key for key in (standing.stable, standing.current) if key in standing.sets]
    shown += sorted(key for key, replicas in wanted.items() if replicas and key not in shown)
    weights = standing.weights(wanted)
    found = []
    for key in dict.fromkeys(shown):
        one, identity = standing.sets[key], standing.versions[key]
        empty = key != standing.stable and not wanted[key] and not count(one, "status", "replicas")
        if empty and not standing.in_flight:
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
                message=SafeText(ailments(pods(uid(one)))),
                series=series.get(key, ()),
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


def _rollout(standing: Standing, now: datetime) -> Rollout:
    item = standing.item
    stable, current = standing.identity(standing.stable), standing.identity(standing.current)
    to_version = current.version if current else "?"
    steps = _steps(item)
    gates = gates_of(standing)
    return Rollout(
        Strategy.BLUE_GREEN if standing.blue_green else Strategy.CANARY,
        _phase(standing),
        SafeText(stable.version) if stable else SafeText(to_version),
        SafeText(to_version),
        step_index=min(standing.step, len(steps)) if standing.step is not None else None,
        steps=steps,
        hold=_hold(item),
        started_at=when(text(standing.sets.get(standing.current, {}), "metadata", "creationTimestamp"))
        if standing.in_flight
        else None,
        message=SafeText(_message(standing, gates, now)),
        gates=gates,
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
            found.append(Step(index, min(max(weight, 0) * 100, ALL_TRAFFIC_BP)))
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
        (not standing.observed, Phase.UNKNOWN),
        (standing.aborted and not status.get("abortedAt"), Phase.ABORTING),
        (standing.deaf, Phase.UNKNOWN),
        (standing.restarting, Phase.PROGRESSING),
        (standing.aborted, Phase.DEGRADED),
        (standing.paused, Phase.HELD),
        (bool(status.get("pauseConditions")), Phase.WAITING),
        (status.get("phase") == "Degraded", Phase.DEGRADED),
        (standing.in_flight or not standing.settled, Phase.PROGRESSING),
    )
    return next((phase for holds, phase in known if holds), Phase.COMPLETE)


def _message(standing: Standing, gates: tuple[Gate, ...], now: datetime) -> str:
    item = standing.item
    if not standing.observed or standing.deaf:
        return _silence(standing, now)
    told_ = [told(gate) for gate in gates if gate.result in BAD]
    said = text(item, "status", "message")
    return "; ".join([*([said] if said else []), *told_])


def _silence(standing: Standing, now: datetime) -> str:
    """What the controller owes, and whether it is slow or not running: told by when the last write came."""
    if standing.aborted:
        asked = "an abort was asked for"
    elif standing.deaf:
        asked = "a pause was lifted"
    else:
        asked = "its spec was changed"
    since = standing.stamp.at if standing.stamp is not None else None
    waited_s = (now - since).total_seconds() if since is not None else None
    if waited_s is not None and waited_s < _SLOW_S:
        return f"{asked}, and its controller has not reacted yet"
    ago = f" for {waited_s:.0f} s" if waited_s is not None else ""
    return f"{asked}, and no controller has reacted{ago}: is argo-rollouts running?"


def _problems(standing: Standing, now: datetime) -> Iterator[str]:
    item = standing.item
    if not standing.observed or standing.deaf:
        silence = _silence(standing, now)
        if silence.endswith("?"):
            yield silence
    invalid = condition(item, "InvalidSpec")
    if invalid.get("status") == "True":
        yield str(invalid.get("message") or "its spec is invalid")
    if not standing.verified:
        yield "the traffic router does not confirm the weights"
    for gate in gates_of(standing):
        if gate.result in BAD:
            yield told(gate)
    if standing.reference and standing.referred is None:
        yield f"{standing.reference}, which holds its template (workloadRef), can't be read"
    old = [
        key
        for key, one in standing.sets.items()
        if key not in {standing.stable, standing.current} and count(one, "spec", "replicas")
    ]
    if old:
        yield f"{len(old)} older ReplicaSet{'s' if len(old) > 1 else ''} still {'have' if len(old) > 1 else 'has'} pods"
