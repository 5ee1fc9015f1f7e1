"""An InferenceService in Standard mode: KServe keeps one Deployment, whose pods it replaces one by one.

Seen on KServe 0.17: `canaryTrafficPercent` is ignored there without a sign, and a new model is rolled out whole; the status has no
revisions, so what ran before is what the Deployment's ReplicaSets say they fetched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import at, condition, count, name, notes, table, text, uid, when
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, watched
from mlrelease_tui.connectors.kubernetes.pods import identity_of
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, World
from mlrelease_tui.connectors.kubernetes.workloads.kserve_source import (
    Place,
    Source,
    pattern_of,
    place_of,
    source_of,
    sources_of,
    uri_for,
)
from mlrelease_tui.connectors.kubernetes.workloads.kserve_standing import (
    AUTO_UPDATE,
    MANAGER,
    RESTARTED,
    SLOW_S,
    STOP,
    uri_of,
)
from mlrelease_tui.connectors.kubernetes.workloads.kserve_writes import NEWEST, READY, SETTLE_S, Writing
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import (
    ALL_TRAFFIC_BP,
    Endpoint,
    Native,
    Phase,
    Role,
    Rollout,
    Stamp,
    Strategy,
    Variant,
    Verb,
)
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

_REVISION: Final = "deployment.kubernetes.io/revision"
_UNHEARD_OF: Final = Artifact("0-unheard-of", "s3://unheard-of/0")
_PERCENT: Final = "canaryTrafficPercent"


@dataclass(frozen=True)
class StandardStanding:
    """An InferenceService with the predictor's Deployment (None where that can't be seen) and its ReplicaSets, newest first."""

    item: Object
    deployment: Object | None = None
    sets: tuple[Object, ...] = field(default=())

    @classmethod
    def of(cls, item: Object, world: World, deployments: Resource | None, sets: Resource | None) -> StandardStanding:
        owned = world.owned(deployments, uid(item)) if deployments else ()
        predictors = [one for one in owned if name(one).startswith(f"{name(item)}-predictor")]
        if not predictors:
            return cls(item)
        found = world.owned(sets, uid(predictors[0])) if sets else ()
        return cls(item, predictors[0], tuple(sorted(found, key=_number, reverse=True)))

    @cached_property
    def place(self) -> Place | None:
        return place_of(self.item)

    @cached_property
    def sources(self) -> Mapping[str, Source]:
        uris = {uri for one in self.sets if (uri := uri_of(_template(one)))}
        return sources_of(sorted(uris | ({self.place.uri} if self.place else set())), pattern_of(self.item))

    def version(self, one: Object) -> str:
        """The version that a ReplicaSet's pods run."""
        template = _template(one)
        if version := marks.said(template, marks.VERSION):
            return version
        return self.sources[uri].version if (uri := uri_of(template)) else identity_of(template, self.item).version

    @property
    def wanted(self) -> str:
        if self.place is None:
            return self.version(self.sets[0]) if self.sets else "unknown"
        return marks.said(self.item, marks.VERSION) or self.sources[self.place.uri].version

    @property
    def model(self) -> str:
        return source_of(self.place.uri, pattern_of(self.item)).model if self.place else ""

    @property
    def replicas(self) -> int:
        return count(self.deployment or {}, "spec", "replicas")

    @property
    def followed(self) -> bool:
        """Whether the Deployment is of the model that the spec names, and its controller has looked at it."""
        one = self.deployment
        if one is None:
            return False
        uri = uri_of(_template(one))
        named = self.place is None or not uri or uri == self.place.uri
        return named and count(one, "status", "observedGeneration") >= count(one, "metadata", "generation")

    @property
    def rolled_out(self) -> bool:
        status = table(self.deployment or {}, "status")
        numbers = [count(status, key) for key in ("replicas", "updatedReplicas", "availableReplicas")]
        return self.followed and numbers == [self.replicas] * 3

    @property
    def stable(self) -> Object | None:
        """The ReplicaSet that serves: the newest once it is rolled out, before that the newest of the others with pods."""
        if self.rolled_out or len(self.sets) < 2:
            return self.sets[0] if self.sets else None
        serving = [one for one in self.sets if count(one, "status", "availableReplicas") and self._other(one)]
        return serving[0] if serving else self.sets[0]

    def _other(self, one: Object) -> bool:
        return self.version(one) != self.wanted

    @property
    def failed(self) -> str:
        """Why it can't go on, "" while it may."""
        info = table(self.item, "status", "modelStatus", "lastFailureInfo")
        told = ": ".join(part for part in (text(info, "reason"), text(info, "message")) if part)
        transition = text(self.item, "status", "modelStatus", "transitionStatus")
        if transition == "InvalidSpec" or (transition == "BlockedByFailedLoad" and not self.rolled_out):
            return told or transition
        progress = condition(self.deployment or {}, "Progressing")
        return "" if progress.get("reason") != "ProgressDeadlineExceeded" else text(progress, "message")

    @property
    def stamp(self) -> Stamp | None:
        return marks.last_writer(self.item, MANAGER)

    def endpoint(self, frame: Frame, base: Mapping[str, object]) -> Endpoint:
        """`base` are the fields that no mode changes."""
        stable = self.stable
        running = self.version(stable) if stable is not None else self.wanted
        phase = self._phase(frame)
        shown = [one for one in self.sets if one is stable or count(one, "spec", "replicas")]
        others = [self.version(one) for one in self.sets if self.version(one) != running]
        return Endpoint(
            **base,  # type: ignore[arg-type]
            revision=self._token(),
            variants=tuple(self._variant(one, stable) for one in shown),
            rollout=Rollout(
                Strategy.ROLLING,
                phase,
                SafeText(running),
                SafeText(running if self.rolled_out else self.wanted),
                hold=marks.hold_of(self.item),
                message=SafeText(self._message(phase)),
            ),
            native=Native(
                SafeText("InferenceService"),
                SafeText(text(self.item, "status", "modelStatus", "transitionStatus") or "no status"),
            ),
            previous_version=SafeText(others[0]) if others and self.rolled_out else "",
            stamp=self.stamp,
            problems=tuple(SafeText(problem) for problem in self._problems(phase)),
            labels=MappingProxyType(self._labels()),
        )

    def _variant(self, one: Object, stable: Object | None) -> Variant:
        return Variant(
            SafeText(name(one)),
            Role.STABLE if one is stable else Role.CANARY,
            SafeText(self.version(one)),
            ready=count(one, "status", "availableReplicas"),
            desired=count(one, "spec", "replicas"),
            started_at=when(text(one, "metadata", "creationTimestamp")),
        )

    def _token(self) -> str:
        parts = [
            at(self.item, "metadata", "generation"),
            text(self.deployment or {}, "metadata", "generation"),
            self.followed,
            self.rolled_out,
            [name(one) for one in self.sets],
            marks.left(self.item, marks.HOLD),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def _phase(self, frame: Frame) -> Phase:
        stamp = self.stamp
        waited_s = (frame.now - stamp.at).total_seconds() if stamp is not None and stamp.at is not None else SLOW_S
        if self.failed or self._says(STOP):
            return Phase.DEGRADED
        if not self.followed and not self._says(AUTO_UPDATE):
            return Phase.PROGRESSING if waited_s < SLOW_S else Phase.UNKNOWN
        if not self.rolled_out:
            return Phase.PROGRESSING
        return Phase.HELD if marks.hold_of(self.item) is not None else Phase.COMPLETE

    def _says(self, key: str) -> bool:
        return str(notes(self.item).get(key)).lower() == "true"

    def _message(self, phase: Phase) -> str:
        if phase is Phase.UNKNOWN:
            return "its spec was changed, and no controller has followed: is KServe running?"
        if self.failed:
            return self.failed
        updated = count(self.deployment or {}, "status", "updatedReplicas")
        return "" if self.rolled_out else f"{updated} of {self.replicas} pods replaced"

    def _problems(self, phase: Phase) -> Iterator[str]:
        if phase is Phase.UNKNOWN:
            yield self._message(phase)
        if at(self.item, "spec", "predictor", _PERCENT) is not None:
            yield "canaryTrafficPercent is set, which this mode ignores: a new model gets everything"
        if self._says(AUTO_UPDATE):
            yield f"{AUTO_UPDATE} is set: KServe ignores every edit without a sign"
        if self._says(STOP):
            yield "it is stopped: KServe deleted all that ran"

    def _labels(self) -> dict[str, SafeText]:
        newest = self.version(self.sets[0]) if self.sets and self.followed else ""
        found = {
            "mode": "Standard",
            NEWEST: newest,
            READY: newest if self.rolled_out else "",
            "fetched from": self.place.uri if self.place else "",
            "restarted": text(_template(self.deployment or {}), "metadata", "annotations", RESTARTED),
            "least replicas": text(self.item, "spec", "predictor", "minReplicas"),
        }
        return {key: SafeText(value) for key, value in found.items() if value}


class StandardDriver(Writing):
    """Plans the writes for one InferenceService from the objects of one read."""

    def __init__(self, resource: Resource, standing: StandardStanding, endpoint: Endpoint, frame: Frame) -> None:
        super().__init__(resource, standing.item, endpoint, frame)
        self._standing = standing

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]:
        endpoint = self._endpoint
        least = count(self._item, "spec", "predictor", "minReplicas")
        return {
            Verb.PROMOTE: lambda: self.start(endpoint, _UNHEARD_OF, None),
            Verb.ROLLBACK: lambda: self.roll_back(endpoint, self._return_target()),
            Verb.RESTART: lambda: self.restart(endpoint),
            Verb.SCALE: lambda: self.scale(endpoint, least + 1),
        }

    def native(self) -> Mapping[Verb, str]:
        return {
            Verb.PROMOTE: "storageUri",
            Verb.ROLLBACK: "storageUri",
            Verb.RESTART: "annotation of the predictor",
            Verb.SCALE: "minReplicas",
        }

    def never(self) -> Mapping[Verb, str]:
        return {
            Verb.WEIGHT: "Standard mode ignores canaryTrafficPercent: all or nothing",
            Verb.HOLD: "KServe has no pause, a rolling update no weights to stay at",
            Verb.CONTINUE: "KServe has no pause",
            Verb.ABORT: "rollback returns whole: a rolling update moves no traffic alone",
            Verb.RETRY: "KServe tries for ever: another model is another release",
            Verb.SWITCH: "one Service sends to old and new pods: nothing to switch",
            Verb.SHADOW: "KServe mirrors nothing",
        }

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        if weight_bp not in {None, ALL_TRAFFIC_BP}:
            raise Refused(
                f"{endpoint.ref.name} can't begin at a weight: Standard mode ignores canaryTrafficPercent",
                hint="leave the weight out, or serve it in Knative mode",
            )
        self._heard()
        if not self._standing.rolled_out:
            raise Refused(f"{endpoint.ref.name} is being rolled out already", hint="wait for it, or roll it back")
        return (self._to(artifact, begun=weight_bp is None),)

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        raise Refused(f"{endpoint.ref.name} goes on by itself: a rolling update has no steps", hint="wait for it")

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        return self.advance(endpoint)

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        self._heard()
        if artifact.version == self._standing.wanted:
            raise Refused(
                f"{endpoint.ref.name} has {SafeText(artifact.version)} in its spec", hint="name another version"
            )
        return (self._to(artifact, begun=False),)

    def restart(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._heard()
        moment = self._moment()
        expects = self._expect(phases=(Phase.COMPLETE,), labels=(("restarted", SafeText(moment)),))
        ops = (*self._guard(*self._source_path()), *self._restart_ops(moment))
        return (self._patch(ops, Effect(self._now(), "every pod is replaced", "", expects, SETTLE_S)),)

    def scale(self, endpoint: Endpoint, replicas: int) -> tuple[Write, ...]:
        self._heard()
        before = count(self._item, "spec", "predictor", "minReplicas")
        expects = self._expect(
            labels=(("least replicas", SafeText(replicas)),), phases=(Phase.COMPLETE, Phase.PROGRESSING)
        )
        effect = Effect(
            f"at least {before} replicas",
            f"at least {replicas} replicas, once the autoscaler looks",
            f"scale to {before}",
            expects,
        )
        return (self._patch((*self._guard(), *self._scale_ops(replicas)), effect),)

    def _to(self, artifact: Artifact, *, begun: bool) -> Write:
        standing = self._standing
        uri, place = uri_for(standing.item, artifact, standing.sources), standing.place
        if place is None or uri == place.uri:
            raise Refused(f"{self._endpoint.ref.name} fetches {SafeText(uri)} already", hint="name another version")
        version = SafeText(artifact.version)
        ops: tuple[Op, ...] = (*self._guard(place.pointer), *self._other_source(place, uri, artifact.version))
        done = self._expect(
            stable_version=version, phases=(Phase.COMPLETE,), labels=((READY, version),), ready=self._ready(version)
        )
        started = self._expect(phases=(Phase.PROGRESSING, Phase.COMPLETE), labels=((NEWEST, version),))
        after = f"pods of {version} replace the others, a few at a time" if begun else f"{version} alone"
        undo = f"roll back to {self._endpoint.rollout.from_version}"
        settle_s = 60.0 if begun else SETTLE_S
        expects = watched(started if begun else done, self._endpoint, toward=version)
        return self._patch(ops, Effect(self._now(), after, undo, expects, settle_s))

    def _ready(self, version: str) -> tuple[str, ...]:
        return (version,) if self._standing.replicas else ()

    def _source_path(self) -> tuple[str, ...]:
        return (self._standing.place.pointer,) if self._standing.place else ()

    def _return_target(self) -> Artifact:
        standing = self._standing
        stable = standing.stable
        if stable is not None and standing.version(stable) != standing.wanted:
            return Artifact(standing.version(stable))
        other = next((one for one in standing.sets if standing.version(one) != standing.wanted), None)
        # To a version that has no ReplicaSet any more one can return too, by its name.
        return Artifact(standing.version(other)) if other is not None else _UNHEARD_OF


def _template(one: Object) -> Object:
    return table(one, "spec", "template")


def _number(one: Object) -> int:
    number = text(one, "metadata", "annotations", _REVISION)
    return int(number) if number.isdigit() else 0
