"""A canary in Standard mode: `spec.canary[]`, which KServe has since 0.20. Read in its definition, not seen on its controller.

A KServe that does not know the field drops it without a sign; asked strictly, as we always ask, the API server refuses, and the dry
run of the plan says so. The list is atomic; one canary at a time is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import at, condition, count, items, name, table, text
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, add, copy, remove, test
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.kserve_source import Place, pattern_of, source_of, uri_for
from mlrelease_tui.connectors.kubernetes.workloads.kserve_standard import StandardDriver, StandardStanding
from mlrelease_tui.connectors.kubernetes.workloads.kserve_writes import SETTLE_S
from mlrelease_tui.domain.expectation import percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Hold, Phase, Role, Strategy, Variant, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

_LIST: Final = "/spec/canary"
_FIRST: Final = f"{_LIST}/0"
_PERCENT: Final = f"{_FIRST}/trafficPercent"
_NAME: Final = f"{_FIRST}/predictor/name"
_MODEL: Final = "/spec/predictor/model"
_CONTAINER: Final = "kserve-container"
"""What KServe calls the container of a model. The definition wants a canary's model to say so, the predictor's need not."""
_BEGUN: Final = (Phase.PROGRESSING, Phase.WAITING)


@dataclass(frozen=True, slots=True)
class Canary:
    """The first entry of the list, with what the status says of it."""

    name: str
    version: str
    percent: int
    observed: int | None
    ready: bool
    failed: str = ""


def canary_of(item: Object) -> Canary | None:
    """The canary of an InferenceService, None where it has none."""
    entries = items(item, "spec", "canary")
    if not entries:
        return None
    entry = entries[0]
    called = text(entry, "predictor", "name")
    uri = text(entry, "predictor", "model", "storageUri")
    status: Mapping[str, Any] = next(
        (one for one in items(item, "status", "canaryStatuses") if text(one, "name") == called), {}
    )
    observed = at(status, "trafficPercent")
    info = table(status, "modelStatus", "lastFailureInfo")
    blocked = text(status, "modelStatus", "transitionStatus") in {"BlockedByFailedLoad", "InvalidSpec"}
    told = ": ".join(part for part in (text(info, "reason"), text(info, "message")) if part)
    return Canary(
        called,
        source_of(uri, pattern_of(item)).version,
        count(entry, "trafficPercent"),
        observed if isinstance(observed, int) else None,
        status.get("ready") is True and condition(item, "CanaryPredictorReady").get("status") == "True",
        (told or text(status, "modelStatus", "transitionStatus")) if blocked else "",
    )


def with_canary(endpoint: Endpoint, canary: Canary, standing: StandardStanding) -> Endpoint:
    """The endpoint with its canary: weights count once the canary is ready and the status says them."""
    in_force = canary.observed if canary.ready and canary.observed is not None else None
    stable_bp = None if in_force is None else ALL_TRAFFIC_BP - in_force * 100
    variants = [replace(one, weight_bp=stable_bp) if one.role is Role.STABLE else one for one in endpoint.variants]
    weight_bp = None if in_force is None else in_force * 100
    variants.append(
        Variant(SafeText(canary.name), Role.CANARY, SafeText(canary.version), weight_bp=weight_bp,
                message=SafeText(canary.failed))
    )  # fmt: skip
    phase = Phase.WAITING if in_force == canary.percent else Phase.PROGRESSING
    if marks.hold_of(standing.item) is not None and phase is Phase.WAITING:
        phase = Phase.HELD
    rollout = replace(
        endpoint.rollout,
        strategy=Strategy.CANARY,
        phase=Phase.DEGRADED if canary.failed else phase,
        to_version=SafeText(canary.version),
        message=SafeText(canary.failed or ("" if canary.ready else f"{canary.version} is not ready yet")),
    )
    return replace(endpoint, variants=tuple(variants), rollout=rollout)


class CanaryDriver(StandardDriver):
    """Plans the writes for one InferenceService in Standard mode, with and without a canary."""

    def __init__(
        self, resource: Resource, standing: StandardStanding, endpoint: Endpoint, frame: Frame, canary: Canary | None
    ) -> None:
        super().__init__(resource, standing, endpoint, frame)
        self._canary = canary

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]:
        found = dict(super().attempts())
        if self._canary is not None:
            endpoint = self._endpoint
            found[Verb.PROMOTE] = lambda: self.complete(endpoint)
            found[Verb.WEIGHT] = lambda: self.set_weight(endpoint, 4900)
            found[Verb.ABORT] = lambda: self.abort(endpoint)
            found[Verb.HOLD] = lambda: self.hold(endpoint, Hold(SafeText("nobody"), SafeText()))
            found[Verb.CONTINUE] = lambda: self.resume(endpoint)
        return found

    def native(self) -> Mapping[Verb, str]:
        more = dict.fromkeys((Verb.PROMOTE, Verb.WEIGHT, Verb.ABORT, Verb.ROLLBACK), "spec.canary")
        return {**super().native(), **(more if self._canary is not None else {})}

    def never(self) -> Mapping[Verb, str]:
        tried = self.attempts()
        return {verb: reason for verb, reason in super().never().items() if verb not in tried}

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        if self._canary is not None:
            raise Refused(f"{endpoint.ref.name} has a canary already", hint="finish that or roll it back first")
        if weight_bp in {None, ALL_TRAFFIC_BP}:
            return super().start(endpoint, artifact, weight_bp)
        self._heard()
        place = self._model()
        uri, version = uri_for(self._item, artifact, self._standing.sources), SafeText(artifact.version)
        number = self._whole(weight_bp or 0)
        called = "canary-" + "".join(one if one.isalnum() else "-" for one in artifact.version.lower()).strip("-")
        entry: dict[str, Any] = {"trafficPercent": number, "predictor": {"name": called}}
        if account := text(self._item, "spec", "predictor", "serviceAccountName"):
            entry["predictor"]["serviceAccountName"] = account
        ops: tuple[Op, ...] = (
            *self._guard(place.pointer, _LIST),
            add(_LIST, [entry]),
            copy(_MODEL, f"{_FIRST}/predictor/model"),
            *(
                ()
                if text(self._item, *_MODEL.split("/")[1:], "name")
                else (add(f"{_FIRST}/predictor/model/name", _CONTAINER),)
            ),
            put(f"{_FIRST}/predictor/model/storageUri", uri),
        )
        effect = Effect(
            self._now(),
            f"{version} gets {percent(weight_bp)} once it is ready",
            f"roll back to {endpoint.rollout.from_version}",
            self._expect(phases=_BEGUN, present=(SafeText(called),)),
        )
        return (self._patch(ops, effect),)

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        """In one patch, with the canary's name for the predictor's: so its pods stay."""
        canary = self._canary
        if canary is None:
            return super().complete(endpoint)
        if not canary.ready:
            raise Refused(f"{SafeText(canary.version)} is not ready", hint="wait until it is, or roll it back")
        version = SafeText(canary.version)
        ops = (
            *self._as_read(canary),
            add("/spec/predictor/name", canary.name),
            copy(f"{_FIRST}/predictor/model", _MODEL),
            remove(_LIST),
        )
        expects = self._expect(stable_version=version, phases=(Phase.COMPLETE,), absent=(SafeText(canary.name),))
        undo = f"roll back to {endpoint.rollout.from_version}"
        return (self._patch(ops, Effect(self._now(), f"{version} alone", undo, expects, SETTLE_S)),)

    def set_weight(self, endpoint: Endpoint, weight_bp: int) -> tuple[Write, ...]:
        canary = self._there()
        if weight_bp == ALL_TRAFFIC_BP:
            return self.complete(endpoint)
        number = self._whole(weight_bp)
        if number == canary.percent:
            raise Refused(f"{endpoint.ref.name} is at {percent(weight_bp)} already", hint="give another weight")
        version = SafeText(canary.version)
        expects = self._expect(version_weights=((version, weight_bp),)) if canary.ready else self._expect(phases=_BEGUN)
        effect = Effect(self._now(), f"{version} {percent(weight_bp)}", f"weight {canary.percent}%", expects)
        return (self._patch((*self._as_read(canary), add(_PERCENT, number)), effect),)

    def abort(self, endpoint: Endpoint) -> tuple[Write, ...]:
        return self.set_weight(endpoint, 0)

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        canary = self._canary
        if canary is None:
            return super().roll_back(endpoint, artifact)
        self._heard()
        if artifact.version != self._standing.wanted:
            raise Refused(
                f"{endpoint.ref.name} has a canary of {SafeText(canary.version)}",
                hint=f"roll back to {SafeText(self._standing.wanted)} first",
            )
        version = SafeText(artifact.version)
        expects = self._expect(stable_version=version, phases=(Phase.COMPLETE,), absent=(SafeText(canary.name),))
        undo = f"promote {SafeText(canary.version)} again"
        effect = Effect(self._now(), f"{version} alone, without a canary", undo, expects, SETTLE_S)
        return (self._patch((*self._as_read(canary), remove(_LIST)), effect),)

    def _return_target(self) -> Artifact:
        return Artifact(self._standing.wanted) if self._canary is not None else super()._return_target()

    def _there(self) -> Canary:
        self._heard()
        if self._canary is None:
            raise Refused(f"{self._endpoint.ref.name} has no canary", hint="promote a version at a weight first")
        return self._canary

    def _model(self) -> Place:
        place = self._standing.place
        if place is None or not place.pointer.startswith(f"{_MODEL}/"):
            raise Refused(
                f"{name(self._item)} does not name its model in spec.predictor.model", hint="leave the weight out"
            )
        return place

    def _as_read(self, canary: Canary) -> tuple[Op, ...]:
        return (*self._guard(), test(_NAME, canary.name), test(_PERCENT, canary.percent))

    def _whole(self, weight_bp: int) -> int:
        if weight_bp % 100 or not 0 <= weight_bp <= ALL_TRAFFIC_BP:
            raise Refused(f"{percent(weight_bp)} can't be: KServe knows whole percents", hint="give 0% to 100%")
        return weight_bp // 100
