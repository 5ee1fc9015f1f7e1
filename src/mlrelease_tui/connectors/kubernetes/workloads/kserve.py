"""KServe's InferenceServices: recognised, read, and handed to what drives each mode.

Source: serving.kserve.io/v1beta1 as KServe 0.17 behaves in the modes Knative and Standard.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.mirror import Key
from mlrelease_tui.connectors.kubernetes.objects import at, items, labels, name, namespace, notes, text, uid, when
from mlrelease_tui.connectors.kubernetes.pods import Identity
from mlrelease_tui.connectors.kubernetes.selecting import some
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, Sighting, World, world_of
from mlrelease_tui.connectors.kubernetes.workloads.kserve_canary import CanaryDriver, canary_of, with_canary
from mlrelease_tui.connectors.kubernetes.workloads.kserve_driver import KnativeModeDriver
from mlrelease_tui.connectors.kubernetes.workloads.kserve_standard import StandardStanding
from mlrelease_tui.connectors.kubernetes.workloads.kserve_standing import RESTARTED, SLOW_S, Standing
from mlrelease_tui.connectors.kubernetes.workloads.kserve_writes import LATEST_GETS, NEWEST, READY
from mlrelease_tui.connectors.kubernetes.workloads.support import model_ref, verbs_of
from mlrelease_tui.domain.rollout import (
    BindingSource,
    Endpoint,
    Native,
    Phase,
    Role,
    Rollout,
    Strategy,
    Variant,
)
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import NotFound

GROUP: Final = "serving.kserve.io"
KNATIVE: Final = "serving.knative.dev"
OF_SERVICE: Final = f"{KNATIVE}/service"
_OF_ISVC: Final = f"{GROUP}/inferenceservice"
_KNATIVE_MODES: Final = frozenset({"Knative", "Serverless"})
_MODE: Final = f"{GROUP}/deploymentMode"
_MIN_SCALE: Final = "autoscaling.knative.dev/min-scale"


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds that are read; None where the cluster does not serve one."""

    isvcs: Resource
    services: Resource | None
    revisions: Resource | None
    deployments: Resource | None
    sets: Resource | None

    @property
    def wishes(self) -> tuple[Resource, ...]:
        found = (self.services, self.revisions, self.deployments, self.sets)
        return tuple(one for one in found if one is not None)


class InferenceServices:
    """The workload module for KServe."""

    kind = "InferenceService"

    def needs(self, served: Served) -> tuple[Resource, ...]:
        kinds = kinds_of(served)
        return (kinds.isvcs,) if kinds is not None else ()

    def wishes(self, served: Served) -> tuple[Resource, ...]:
        kinds = kinds_of(served)
        return kinds.wishes if kinds is not None else ()

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]:
        kinds = kinds_of(served)
        if kinds is not None:
            for item in world.of(kinds.isvcs).values():
                yield Sighting(namespace(item), name(item), item, frozenset({uid(item)}))

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading:
        kinds = kinds_of(served)
        if kinds is None:
            raise NotFound("this cluster has no InferenceServices", hint="read the endpoints again")
        item = sighting.item
        if not knative_mode(item):
            standard = StandardStanding.of(item, world, kinds.deployments, kinds.sets)
            endpoint = standard.endpoint(frame, base_of(item, standard.model, frame))
            canary = canary_of(item)
            endpoint = with_canary(endpoint, canary, standard) if canary is not None else endpoint
            plain = CanaryDriver(kinds.isvcs, standard, endpoint, frame, canary)
            return Reading(verbs_of(endpoint, plain), plain)
        standing = _standing(item, world, kinds)
        endpoint = _endpoint(standing, frame)
        driver = KnativeModeDriver(kinds.isvcs, standing, endpoint, frame)
        return Reading(verbs_of(endpoint, driver), driver)

    async def look(self, api: KubeApi, served: Served, key: Key) -> World:
        kinds = kinds_of(served)
        if kinds is None:
            raise NotFound("this cluster has no InferenceServices", hint="read the endpoints again")
        item = await api.get(kinds.isvcs.path(*key))
        wanted = (kinds.services, kinds.revisions) if knative_mode(item) else (kinds.deployments, kinds.sets)
        kinds_read = [one for one in wanted if one is not None]
        pages = await asyncio.gather(*(some(api, one, key[0], labels=f"{_OF_ISVC}={key[1]}") for one in kinds_read))
        return world_of({kinds.isvcs: [item], **dict(zip(kinds_read, pages, strict=True))})


def kinds_of(served: Served) -> Kinds | None:
    """The kinds that are read, None where the cluster has no KServe."""
    isvcs = served.find(GROUP, "inferenceservices")
    if isvcs is None:
        return None
    return Kinds(
        isvcs,
        served.find(KNATIVE, "services"),
        served.find(KNATIVE, "revisions"),
        served.find("apps", "deployments"),
        served.find("apps", "replicasets"),
    )


def knative_mode(item: Object) -> bool:
    """Whether Knative serves it. The status says so; before there is one, the annotation; the default only KServe knows."""
    return (text(item, "status", "deploymentMode") or notes(item).get(_MODE) or "Standard") in _KNATIVE_MODES


def base_of(item: Object, model: str, frame: Frame) -> Mapping[str, object]:
    """The fields of an endpoint that are the same in every mode."""
    said = marks.said(item, marks.MODEL)
    source = BindingSource.ANNOTATION if marks.MODEL in notes(item) else BindingSource.LABEL
    identity = Identity(said or model, "", "", source if said else BindingSource.STORAGE_URI)
    return {
        "ref": frame.ref(item),
        "uid": uid(item),
        "observed_at": frame.now,
        "environment": frame.environment,
        **model_ref(identity.model, identity, frame),
        "alias": SafeText(marks.said(item, marks.ALIAS)),
        "owner": marks.owner_of(item),
        "url": SafeText(text(item, "status", "url")),
    }


def _standing(item: Object, world: World, kinds: Kinds) -> Standing:
    service = next(iter(world.owned(kinds.services, uid(item))), None) if kinds.services else None
    if service is not None and kinds.services:
        predictors = [one for one in world.owned(kinds.services, uid(item)) if _predictor(one)]
        service = predictors[0] if predictors else None
    revisions: dict[str, Object] = {}
    if kinds.revisions:
        called = name(service) if service is not None else f"{name(item)}-predictor"
        revisions = {name(one): one for one in revisions_of(world, kinds.revisions, namespace(item), called)}
    return Standing(item, service, revisions)


def _predictor(service: Object) -> bool:
    return str(labels(service).get("component", "predictor")) == "predictor"


def revisions_of(world: World, resource: Resource, place: str, service: str) -> tuple[Object, ...]:
    """The Revisions of a Knative Service."""

    def build() -> Mapping[Key, Object]:
        found: dict[Key, dict[str, list[Object]]] = {}
        for one in world.of(resource).values():
            key = (namespace(one), str(labels(one).get(OF_SERVICE) or ""))
            found.setdefault(key, {"items": []})["items"].append(one)
        return found

    return tuple(items(world.index("revisions by service", build).get((place, service), {}), "items"))


def _endpoint(standing: Standing, frame: Frame) -> Endpoint:
    item = standing.item
    before = standing.version(standing.before) if standing.before in standing.revisions else ""
    stable = standing.version(standing.rolled_out)
    return Endpoint(
        **base_of(item, standing.model, frame),  # type: ignore[arg-type]
        revision=_revision(standing),
        variants=_variants(standing),
        rollout=_rollout(standing, frame),
        native=Native(SafeText("InferenceService"), SafeText(standing.transition or "no status")),
        previous_version=SafeText(before) if before != stable and not standing.in_flight else "",
        stamp=standing.stamp,
        problems=tuple(SafeText(problem) for problem in _problems(standing, frame)),
        labels=MappingProxyType(_labels(standing)),
    )


def _revision(standing: Standing) -> str:
    """Everything that a plan depends on, and nothing that a status tick moves."""
    parts = [
        at(standing.item, "metadata", "generation"),
        standing.created,
        standing.ready,
        standing.rolled_out,
        standing.before if standing.before in standing.revisions else "",
        sorted(standing.weights.items()),
        standing.routed,
        marks.left(standing.item, marks.HOLD),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _variants(standing: Standing) -> tuple[Variant, ...]:
    """The stable Revision, the newest one, and whatever gets traffic."""
    shown = [standing.rolled_out or standing.created]
    shown += [standing.created] if standing.in_flight or not standing.settled else []
    shown += [revision for revision, weight in standing.weights.items() if weight]
    found = []
    for revision in dict.fromkeys(one for one in shown if one):
        one = standing.revisions.get(revision, {})
        known = bool(one)
        found.append(
            Variant(
                SafeText(revision),
                Role.STABLE if revision == (standing.rolled_out or standing.created) else Role.CANARY,
                SafeText(standing.version(revision)),
                weight_bp=standing.weights.get(revision, 0) if standing.routed else None,
                ready=at(one, "status", "actualReplicas") or 0 if known else None,
                desired=at(one, "status", "desiredReplicas") or 0 if known else None,
                message=SafeText(standing.failed) if revision == standing.created else SafeText(),
                started_at=when(text(one, "metadata", "creationTimestamp")),
            )
        )
    return tuple(found)


def _rollout(standing: Standing, frame: Frame) -> Rollout:
    item = standing.item
    to_version = standing.wanted if standing.in_flight else standing.version(standing.rolled_out or standing.created)
    newest = standing.revisions.get(standing.created, {})
    return Rollout(
        Strategy.CANARY,
        _phase(standing, frame),
        SafeText(standing.version(standing.rolled_out)) if standing.rolled_out else SafeText(to_version),
        SafeText(to_version),
        hold=marks.hold_of(item),
        started_at=when(text(newest, "metadata", "creationTimestamp")) if standing.in_flight else None,
        message=SafeText(_message(standing, frame)),
    )


def _phase(standing: Standing, frame: Frame) -> Phase:
    known: tuple[tuple[bool, Phase], ...] = (
        (bool(standing.failed), Phase.DEGRADED),
        (not standing.followed and not _slow(standing, frame), Phase.UNKNOWN),
        (not standing.followed or not standing.settled, Phase.PROGRESSING),
        (bool(standing.empty) or standing.stopped, Phase.DEGRADED),
        (marks.hold_of(standing.item) is not None, Phase.HELD),
        (standing.in_flight and standing.percent is not None, Phase.WAITING),
        (standing.in_flight or not standing.routed, Phase.PROGRESSING),
    )
    return next((phase for holds, phase in known if holds), Phase.COMPLETE)


def _slow(standing: Standing, frame: Frame) -> bool:
    silent_s = standing.silent_s(frame.now)
    return silent_s is not None and silent_s < SLOW_S


def _message(standing: Standing, frame: Frame) -> str:
    if standing.failed:
        return standing.failed
    if not standing.followed:
        return _silence(standing, frame)
    if standing.empty:
        return f"{', '.join(standing.empty)} gets traffic and has no ready pod"
    if not standing.settled:
        return f"{standing.wanted} is not ready yet"
    return ""


def _silence(standing: Standing, frame: Frame) -> str:
    if _slow(standing, frame):
        return "its spec was changed, and its controllers have not followed yet"
    who = "Knative Serving" if not standing.service_followed else "KServe"
    silent_s = standing.silent_s(frame.now)
    ago = f" for {silent_s:.0f} s" if silent_s is not None else ""
    return f"its spec was changed, and no controller has followed{ago}: is {who} running?"


def _problems(standing: Standing, frame: Frame) -> Iterator[str]:
    if not standing.followed and not _slow(standing, frame) and not standing.failed:
        yield _silence(standing, frame)
    if standing.deaf:
        yield "serving.kserve.io/disable-auto-update is set: KServe ignores every edit without a sign"
    if standing.stopped:
        yield "it is stopped: KServe deleted all that ran, and begins at its first revision again"
    if standing.pinned and standing.settled:
        yield f"{standing.wanted} gets nothing and is still in the spec: it gets everything once the percent is cleared"
    if standing.empty:
        yield f"{', '.join(standing.empty)} gets traffic and has no ready pod, whatever its conditions say"
    if standing.percent is not None and not 0 <= standing.percent <= 100:
        yield f"canaryTrafficPercent is {standing.percent}, which KServe admits and can't do"
    stable = standing.revisions.get(standing.rolled_out)
    if standing.rolled_out and stable is None and standing.revisions:
        yield f"its stable revision {standing.rolled_out} is gone: the traffic stays where it is"


def _labels(standing: Standing) -> dict[str, SafeText]:
    newest = standing.revisions.get(standing.created, {})
    running = standing.revisions.get(standing.rolled_out, {})
    found = {
        "mode": "Knative",
        NEWEST: standing.version(standing.created) if standing.named else "",
        READY: standing.version(standing.created) if standing.named and standing.settled else "",
        LATEST_GETS: f"{standing.latest_gets}%" if standing.latest_gets is not None else "",
        "fetched from": standing.place.uri if standing.place else "",
        "restarted": text(running, "metadata", "annotations", RESTARTED),
        "least replicas": text(newest, "metadata", "annotations", _MIN_SCALE),
    }
    return {key: SafeText(value) for key, value in found.items() if value}
