"""Models of Seldon Core 2 that no Experiment splits: another version is another `storageUri`, loaded before the old one is dropped.

Source: mlops.seldon.io/v1alpha1 as its operator's source says; no scheduler was there to carry it out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.mirror import Key
from mlrelease_tui.connectors.kubernetes.objects import at, name, namespace, owner_uid, uid
from mlrelease_tui.connectors.kubernetes.patching import Effect, add, test
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, Sighting, World, world_of
from mlrelease_tui.connectors.kubernetes.workloads.seldon_model_standing import Model, model_of
from mlrelease_tui.connectors.kubernetes.workloads.seldon_sources import model_ops
from mlrelease_tui.connectors.kubernetes.workloads.seldon_writes import ADVISORY, SETTLE_S, Writing
from mlrelease_tui.connectors.kubernetes.workloads.support import model_ref, verbs_of
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import (
    ALL_TRAFFIC_BP,
    Endpoint,
    Hold,
    Native,
    Phase,
    Role,
    Rollout,
    Strategy,
    Variant,
    Verb,
)
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import NotFound, Refused

GROUP: Final = "mlops.seldon.io"
_UNHEARD_OF: Final = Artifact("0", "s3://unheard-of/0")


class SeldonModels:
    """The workload module for Models."""

    kind = "Seldon Model"

    def needs(self, served: Served) -> tuple[Resource, ...]:
        found = served.find(GROUP, "models")
        return (found,) if found is not None else ()

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]:
        needed = self.needs(served)
        for item in world.of(needed[0]).values() if needed else ():
            if not owner_uid(item):
                yield Sighting(namespace(item), name(item), item, frozenset({uid(item)}))

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading:
        (resource,) = self.needs(served)
        model = model_of(sighting.item, frame.now)
        endpoint = _endpoint(model, frame)
        driver = ModelDriver(resource, model, endpoint, frame)
        return Reading(verbs_of(endpoint, driver), driver)

    async def look(self, api: KubeApi, served: Served, key: Key) -> World:
        needed = self.needs(served)
        if not needed:
            raise NotFound("this cluster has no Models", hint="read the endpoints again")
        return world_of({needed[0]: [await api.get(needed[0].path(*key))]})


def _endpoint(model: Model, frame: Frame) -> Endpoint:
    item, identity = model.item or {}, model.identity
    phase, message = _phase(model)
    past = [version for version in marks.history_of(item) if version != model.version]
    parts = [at(item, "metadata", "generation"), model.heard, model.loaded, marks.left(item, marks.HOLD)]
    version = SafeText(model.version)
    return Endpoint(
        frame.ref(item),
        uid=uid(item),
        revision=hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16],
        variants=(Variant(SafeText(model.called), Role.STABLE, version, ready=model.ready, desired=model.desired),),
        rollout=Rollout(
            Strategy.ROLLING,
            phase,
            SafeText(past[0]) if past and phase is Phase.PROGRESSING else version,
            version,
            hold=marks.hold_of(item),
            message=SafeText(message),
        ),
        native=Native(SafeText("Seldon Model"), SafeText(model.readiness.get("status") or "no status")),
        observed_at=frame.now,
        environment=frame.environment,
        **model_ref(identity.model if identity else "", identity, frame),
        alias=SafeText(marks.said(item, marks.ALIAS)),
        previous_version=SafeText(past[0]) if past else "",
        stamp=model.stamp,
        owner=marks.owner_of(item),
        problems=(SafeText(message),) if phase in {Phase.DEGRADED, Phase.UNKNOWN} else (),
    )


def _phase(model: Model) -> tuple[Phase, str]:
    if not model.readiness:
        return Phase.UNKNOWN, "no scheduler has looked at it: is Seldon Core 2 running?"
    if model.failing:
        return Phase.DEGRADED, model.failing
    if not model.heard:
        return Phase.PROGRESSING, "Seldon has said nothing since the last version was put there"
    if not model.loaded:
        return Phase.PROGRESSING, "the new version is being loaded"
    return (Phase.HELD if marks.hold_of(model.item or {}) else Phase.COMPLETE), ""


class ModelDriver(Writing):
    """Plans the writes for one Model from the object of one read."""

    def __init__(self, resource: Resource, model: Model, endpoint: Endpoint, frame: Frame) -> None:
        super().__init__(resource, model.item or {}, endpoint, frame)
        self._model = model

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]:
        endpoint = self._endpoint
        return {
            Verb.PROMOTE: lambda: self.start(endpoint, _UNHEARD_OF, ALL_TRAFFIC_BP),
            Verb.HOLD: lambda: self.hold(endpoint, Hold(SafeText("nobody"), SafeText())),
            Verb.CONTINUE: lambda: self.resume(endpoint),
            Verb.ROLLBACK: lambda: self.roll_back(endpoint, _UNHEARD_OF),
            Verb.SCALE: lambda: self.scale(endpoint, -1),
        }

    def native(self) -> Mapping[Verb, str]:
        return {
            Verb.PROMOTE: "spec.storageUri",
            Verb.HOLD: ADVISORY,
            Verb.CONTINUE: ADVISORY,
            Verb.ROLLBACK: "spec.storageUri",
            Verb.SCALE: "spec.replicas",
        }

    def never(self) -> Mapping[Verb, str]:
        return {
            Verb.WEIGHT: "a Model alone has no weights: an Experiment splits between two",
            Verb.ABORT: "roll it back: the old one serves until the new one is loaded",
            Verb.RETRY: "nothing was given up: promote it anew",
            Verb.RESTART: "a Model has no pods of its own: it is loaded into a Server",
            Verb.SWITCH: "no blue-green here",
            Verb.SHADOW: "a Model alone mirrors nothing: an Experiment does",
        }

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        if weight_bp not in {None, ALL_TRAFFIC_BP}:
            raise Refused(f"{endpoint.ref.name} has no weights", hint="promote it --full, or make an Experiment")
        return (self._other(artifact),)

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        raise Refused(f"{endpoint.ref.name} has no steps", hint="Seldon loads the new version by itself")

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        raise Refused(f"{endpoint.ref.name} has no steps", hint="Seldon loads the new version by itself")

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        return (self._other(artifact),)

    def scale(self, endpoint: Endpoint, replicas: int) -> tuple[Write, ...]:
        item = self._item
        if at(item, "spec", "maxReplicas"):
            raise Refused(f"Seldon scales {endpoint.ref.name} by itself", hint="change minReplicas and maxReplicas")
        now = at(item, "spec", "replicas")
        if now == replicas:
            raise Refused(f"{endpoint.ref.name} has {replicas} replicas already", hint="give another number")
        expects = self._expect(ready=(SafeText(self._model.version),) if replicas else ())
        before = f"{now if now is not None else 1} replicas"
        effect = Effect(before, f"{replicas} replicas", f"scale to {before.split(maxsplit=1)[0]}", expects, SETTLE_S)
        return (self._patch((self._same(), test("/spec/replicas", now), add("/spec/replicas", replicas)), effect),)

    def _other(self, artifact: Artifact) -> Write:
        now, version = SafeText(self._model.version), SafeText(artifact.version)
        if now == version:
            raise Refused(f"{self._endpoint.ref.name} serves {version}", hint="name another version")
        expects = self._expect(stable_version=version, ready=(version,), phases=(Phase.COMPLETE, Phase.HELD))
        effect = Effect(f"{now}", f"{version}, once it is loaded", f"roll back to {now}", expects, SETTLE_S)
        ops = (self._same(), *model_ops(self._item, artifact))
        return self._patch(ops, effect, notes=self._noted(self._model.version))
