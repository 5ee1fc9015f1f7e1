"""SeldonDeployments of Seldon Core 1: predictors with shares of the requests, and a shadow.

Source: machinelearning.seldon.io/v1 as its operator's source says; no operator was there to carry it out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.mirror import Key
from mlrelease_tui.connectors.kubernetes.objects import at, name, namespace, owner_uid, text, uid
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, Sighting, World, world_of
from mlrelease_tui.connectors.kubernetes.workloads.seldon_driver import SeldonDriver
from mlrelease_tui.connectors.kubernetes.workloads.seldon_standing import SLOW_S, Predictor, Standing
from mlrelease_tui.connectors.kubernetes.workloads.steps import step_index
from mlrelease_tui.connectors.kubernetes.workloads.support import model_ref, verbs_of
from mlrelease_tui.domain.rollout import Endpoint, Native, Phase, Role, Rollout, Step, Strategy, Variant
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import NotFound

GROUP: Final = "machinelearning.seldon.io"


class SeldonDeployments:
    """The workload module for SeldonDeployments."""

    kind = "SeldonDeployment"

    def needs(self, served: Served) -> tuple[Resource, ...]:
        found = served.find(GROUP, "seldondeployments")
        return (found,) if found is not None else ()

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]:
        needed = self.needs(served)
        for item in world.of(needed[0]).values() if needed else ():
            if not owner_uid(item) and Standing(item).predictors:
                yield Sighting(namespace(item), name(item), item, frozenset({uid(item)}))

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading:
        (resource,) = self.needs(served)
        standing = Standing(sighting.item)
        if not standing.predictors:
            raise NotFound(f"{sighting.namespace}/{sighting.name} has no predictors", hint="read again")
        endpoint = _endpoint(standing, frame)
        driver = SeldonDriver(resource, standing, endpoint, frame)
        return Reading(verbs_of(endpoint, driver), driver)

    async def look(self, api: KubeApi, served: Served, key: Key) -> World:
        needed = self.needs(served)
        if not needed:
            raise NotFound("this cluster has no SeldonDeployments", hint="read the endpoints again")
        return world_of({needed[0]: [await api.get(needed[0].path(*key))]})


def _endpoint(standing: Standing, frame: Frame) -> Endpoint:
    item = standing.item
    identity = standing.predictors[standing.candidate if standing.in_flight else standing.stable].identity
    return Endpoint(
        frame.ref(item),
        uid=uid(item),
        revision=_revision(standing),
        variants=tuple(_variant(one, standing) for one in standing.all),
        rollout=_rollout(standing, frame),
        native=Native(SafeText("SeldonDeployment"), SafeText(standing.state or "no status")),
        observed_at=frame.now,
        environment=frame.environment,
        **model_ref(identity.model, identity, frame),
        alias=SafeText(marks.said(item, marks.ALIAS)),
        previous_version=SafeText(_previous(standing)),
        stamp=standing.stamp,
        owner=marks.owner_of(item),
        problems=tuple(SafeText(problem) for problem in _problems(standing, frame)),
        url=SafeText(text(item, "status", "address", "url")),
    )


def _previous(standing: Standing) -> str:
    """The version before, by our notes; else that of the only other predictor, which stands by."""
    if standing.in_flight:
        return ""
    now = standing.versions[standing.stable]
    known = [version for version in marks.history_of(standing.item) if version != now]
    return known[0] if known else ""


def _revision(standing: Standing) -> str:
    """Everything that a plan depends on, and nothing that a status tick moves."""
    parts = [
        at(standing.item, "metadata", "generation"),
        standing.state,
        standing.in_force,
        standing.waiting_for,
        marks.left(standing.item, marks.HOLD),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _variant(one: Predictor, standing: Standing) -> Variant:
    weight = (one.traffic or 0) * 100 if one.shadow else standing.shares[one.name]
    role = Role.SHADOW if one.shadow else Role.STABLE if one.name == standing.stable else Role.CANARY
    return Variant(
        SafeText(one.name),
        role,
        SafeText(one.identity.version),
        weight_bp=weight if standing.in_force else None,
        digest=one.identity.digest,
        ready=one.ready,
        desired=one.desired,
        message=SafeText("" if one.works or one.ready is None else "not every pod is ready"),
    )


def _rollout(standing: Standing, frame: Frame) -> Rollout:
    stable = SafeText(standing.versions[standing.stable])
    return Rollout(
        Strategy.CANARY,
        _phase(standing, frame),
        stable,
        SafeText(standing.versions[standing.candidate]) if standing.in_flight else stable,
        step_index=step_index(standing.steps, standing.weight_bp) if standing.in_flight else None,
        steps=tuple(Step(index, weight) for index, weight in enumerate(standing.steps)),
        hold=marks.hold_of(standing.item),
        message=SafeText(_message(standing, frame)),
    )


def _silent(standing: Standing, frame: Frame) -> bool:
    """Whether Seldon has not looked although it had the time to."""
    silent_s = standing.silent_s(frame.now)
    return silent_s is None or silent_s >= SLOW_S


def _phase(standing: Standing, frame: Frame) -> Phase:
    unheard = bool(standing.unseen or standing.left) and standing.state == "Available"
    known: tuple[tuple[bool, Phase], ...] = (
        (not standing.state, Phase.UNKNOWN),
        (standing.state == "Failed" or bool(standing.empty), Phase.DEGRADED),
        (unheard and _silent(standing, frame), Phase.UNKNOWN),
        (not standing.in_force, Phase.PROGRESSING),
        (marks.hold_of(standing.item) is not None, Phase.HELD),
        (standing.in_flight, Phase.WAITING),
    )
    return next((phase for holds, phase in known if holds), Phase.COMPLETE)


def _message(standing: Standing, frame: Frame) -> str:
    if not standing.state:
        return "no operator has looked at it: is Seldon Core running?"
    if standing.state == "Failed":
        return f"Failed: {standing.description}" if standing.description else "Failed"
    if standing.waiting_for:
        return f"pods of {', '.join(standing.waiting_for)} are not ready: Seldon moves no traffic before they are"
    if standing.state == "Available" and (standing.unseen or standing.left):
        told = "Seldon has not followed its predictors yet"
        return f"{told}: is it running?" if _silent(standing, frame) else told
    return ""


def _problems(standing: Standing, frame: Frame) -> Iterator[str]:
    if _phase(standing, frame) in {Phase.UNKNOWN, Phase.DEGRADED} and (told := _message(standing, frame)):
        yield told
    for one in standing.empty:
        yield f"{one} gets requests and has no ready pod"
    total = sum(standing.shares.values())
    if total != 10_000:
        yield f"the shares of its predictors make {total / 100:g}%, not 100%"
