"""Canary pairs: two Deployments behind one Service, which sends to the pods of both. The endpoint is the Service.

Recognised by the label `mlrelease.dev/role` (`stable`, `canary`) on the Deployments and the Service whose selector picks both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.mirror import Key
from mlrelease_tui.connectors.kubernetes.objects import condition, name, namespace, table, text, uid
from mlrelease_tui.connectors.kubernetes.pod_states import ailments
from mlrelease_tui.connectors.kubernetes.selecting import pods_of, some, text_of
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, Sighting, World, world_of
from mlrelease_tui.connectors.kubernetes.workloads.deployment import pods_in, problems_of, revision_of, scaler_of
from mlrelease_tui.connectors.kubernetes.workloads.deployment_driver import Kinds
from mlrelease_tui.connectors.kubernetes.workloads.deployment_standing import RESTARTED, Standing, standing_of
from mlrelease_tui.connectors.kubernetes.workloads.pair_driver import PairDriver
from mlrelease_tui.connectors.kubernetes.workloads.pair_standing import Pair, picks, reached_of, role_of
from mlrelease_tui.connectors.kubernetes.workloads.support import model_ref, verbs_of
from mlrelease_tui.domain.rollout import (
    ALL_TRAFFIC_BP,
    BindingSource,
    Endpoint,
    Native,
    Phase,
    Role,
    Rollout,
    Stamp,
    Step,
    Strategy,
    Variant,
)
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import NotFound


class CanaryPairs:
    """The workload module for pairs of Deployments."""

    kind = "Deployment pair"

    def needs(self, served: Served) -> tuple[Resource, ...]:
        deployments, sets = served.find("apps", "deployments"), served.find("apps", "replicasets")
        return (deployments, sets) if deployments and sets and served.find("", "services") else ()

    def wishes(self, served: Served) -> tuple[Resource, ...]:
        services = served.find("", "services")
        return (services,) if services else ()

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]:
        needed, services = self.needs(served), served.find("", "services")
        if not needed or services is None:
            return
        halves = [item for item in world.of(needed[0]).values() if role_of(item)]
        if not halves:
            return
        for service in world.of(services).values():
            found = _halves(service, halves)
            if found is not None:
                claims = frozenset({uid(service), *(uid(item) for item in found)})
                yield Sighting(namespace(service), name(service), service, claims)

    def selector(self, sighting: Sighting, world: World, served: Served) -> Object:
        return {"matchLabels": table(sighting.item, "spec", "selector")}

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading:
        deployments, sets = self.needs(served)
        services = served.find("", "services")
        around = [item for item in world.of(deployments).values() if namespace(item) == sighting.namespace]
        found = _halves(sighting.item, around)
        if services is None or found is None:
            raise NotFound(
                f"Service {sighting.namespace}/{sighting.name} is in front of no pair any more", hint="read again"
            )
        stable, canary = (standing_of(item, world.owned(sets, uid(item))) for item in found)
        third = [item for item in around if picks(sighting.item, item) and uid(item) not in {uid(one) for one in found}]
        pair = Pair(
            sighting.item,
            stable,
            canary,
            self._reached(sighting, world, served, stable, canary),
            tuple(name(item) for item in third),
        )
        scalers = tuple(scaler for item in found if (scaler := scaler_of(item, world, served)))
        endpoint = _endpoint(pair, frame, scalers, world, served)
        driver = PairDriver(services, Kinds(deployments, sets), pair, endpoint, frame, scalers)
        return Reading(verbs_of(endpoint, driver), driver)

    def _reached(
        self, sighting: Sighting, world: World, served: Served, stable: Standing, canary: Standing
    ) -> dict[str, int] | None:
        pieces, pods = served.find("discovery.k8s.io", "endpointslices"), served.find("", "pods")
        if pieces is None or pods is None or not world.of(pieces):
            return None
        owners = {uid(one): uid(standing.item) for standing in (stable, canary) for one in standing.sets}
        return dict(reached_of(world.of(pieces).values(), world.of(pods).values(), owners))

    async def look(self, api: KubeApi, served: Served, key: Key) -> World:
        deployments, sets = self.needs(served)
        services = served.find("", "services")
        if services is None:
            raise NotFound("this cluster serves no Services", hint="is it an API server?")
        service = await api.get(services.path(*key))
        around = list((await api.list(deployments, key[0])).items)
        found = _halves(service, around)
        if found is None:
            raise NotFound(
                f"Service {key[0]}/{key[1]} is in front of no pair", hint="its Deployments want a role label"
            )
        objects = {services: [service], deployments: around, sets: list[Object]()}
        for item in found:
            objects[sets] += (await api.list(sets, key[0], labels=text_of(table(item, "spec", "selector")))).items
        wanted = text_of({"matchLabels": table(service, "spec", "selector")})
        if pods := served.find("", "pods"):
            objects[pods] = await pods_of(api, pods, key[0], wanted)
        if pieces := served.find("discovery.k8s.io", "endpointslices"):
            objects[pieces] = await some(api, pieces, key[0], labels=f"kubernetes.io/service-name={key[1]}")
        if scalers := served.find("autoscaling", "horizontalpodautoscalers"):
            objects[scalers] = await some(api, scalers, key[0])
        return world_of(objects)


def _halves(service: Object, around: list[Object]) -> tuple[Object, Object] | None:
    """The stable and the canary Deployment that a Service sends to, None where it is no pair."""
    found = {
        role_of(item): item
        for item in around
        if role_of(item) and namespace(item) == namespace(service) and picks(service, item)
    }
    return (found["stable"], found["canary"]) if len(found) == 2 else None


def _endpoint(pair: Pair, frame: Frame, scalers: tuple[str, ...], world: World, served: Served) -> Endpoint:
    service, stable = pair.service, pair.stable
    identity = stable.source
    if said := marks.said(service, marks.MODEL):
        identity = replace(identity, model=said, source=BindingSource.ANNOTATION)
    reasons = [text(condition(one.item, "Progressing"), "reason") or "no status" for one in (stable, pair.canary)]
    parts = [revision_of(stable), revision_of(pair.canary), marks.said(service, marks.HOLD), pair.steps]
    return Endpoint(
        frame.ref(service),
        uid=uid(service),
        revision=hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16],
        variants=_variants(pair, world, served),
        rollout=_rollout(pair),
        native=Native(SafeText("Deployment pair"), SafeText(", ".join(reasons))),
        observed_at=frame.now,
        environment=frame.environment,
        **model_ref(identity.model, identity, frame),
        alias=SafeText(marks.said(service, marks.ALIAS) or marks.said(stable.item, marks.ALIAS)),
        previous_version=SafeText("" if pair.in_flight else stable.previous),
        stamp=_newest([marks.last_writer(item) for item in (service, stable.item, pair.canary.item)]),
        owner=next((owner for item in (stable.item, pair.canary.item) if (owner := marks.owner_of(item))), SafeText()),
        problems=tuple(SafeText(problem) for problem in _problems(pair, scalers)),
        labels=_labels(pair),
    )


def _labels(pair: Pair) -> dict[str, SafeText]:
    found = {
        "stable replicas": pair.stable.replicas,
        "canary replicas": pair.canary.replicas,
        "restarted": _restarted(pair.stable),
    }
    return {key: SafeText(value) for key, value in found.items() if value}


def _restarted(standing: Standing) -> str:
    return text(standing.item, "spec", "template", "metadata", "annotations", RESTARTED)


def _newest(stamps: list[Stamp | None]) -> Stamp | None:
    known = [stamp for stamp in stamps if stamp is not None and stamp.at is not None]
    return max(known, key=lambda stamp: stamp.at.timestamp() if stamp.at else 0.0, default=None)


def _variants(pair: Pair, world: World, served: Served) -> tuple[Variant, ...]:
    pods = pods_in(world, served)
    found: list[Variant] = []
    for standing, role, weight in (
        (pair.stable, Role.STABLE, ALL_TRAFFIC_BP - pair.weight_bp),
        (pair.canary, Role.CANARY, pair.weight_bp),
    ):
        if role is Role.CANARY and not pair.in_flight:
            continue
        identity = standing.source if role is Role.STABLE else standing.target
        ill = "; ".join(told for one in standing.sets if (told := ailments(pods(uid(one)))))
        found.append(
            Variant(
                SafeText(name(standing.item)),
                role,
                SafeText(identity.version),
                weight_bp=weight if pair.total else None,
                digest=identity.digest,
                ready=standing.available,
                desired=standing.wanted,
                message=SafeText(ill),
            )
        )
    return tuple(found)


def _rollout(pair: Pair) -> Rollout:
    stable, canary = SafeText(pair.stable.source.version), SafeText(pair.canary.target.version)
    target = SafeText(pair.stable.target.version)
    return Rollout(
        Strategy.CANARY,
        _phase(pair),
        stable,
        canary if pair.in_flight else target,
        step_index=pair.step_index,
        steps=tuple(Step(index, weight) for index, weight in enumerate(pair.steps)),
        hold=marks.hold_of(pair.service),
        message=SafeText(_message(pair)),
    )


def _phase(pair: Pair) -> Phase:
    known: tuple[tuple[bool, Phase], ...] = (
        (not pair.observed, Phase.UNKNOWN),
        (marks.hold_of(pair.service) is not None, Phase.HELD),
        (pair.stable.overdue or (pair.in_flight and pair.canary.overdue), Phase.DEGRADED),
        (pair.moving, Phase.PROGRESSING),
        (pair.in_flight, Phase.WAITING),
    )
    return next((phase for holds, phase in known if holds), Phase.COMPLETE)


def _message(pair: Pair) -> str:
    if not pair.in_flight:
        return ""
    canary, stable = pair.canary, pair.stable
    return f"{canary.available} of {canary.wanted} canary pods available, {stable.available} of {stable.wanted} stable ones"


def _problems(pair: Pair, scalers: tuple[str, ...]) -> Iterator[str]:
    yield from (f"{scaler} moves the weights by itself" for scaler in scalers)
    if pair.owed:
        yield f"a way back was cut short: {pair.stable.wanted} of {pair.whole} pods are there; rollback gives the rest back"
    if pair.others:
        yield f"its Service sends to {', '.join(SafeText(other) for other in pair.others)} as well: the weights are not the whole"
    for standing in (pair.stable, pair.canary):
        yield from problems_of(standing)
        reached = pair.reached
        if reached is not None and standing.available and not reached.get(uid(standing.item)):
            yield f"its Service reaches none of the {standing.available} pods of {SafeText(name(standing.item))}"
