"""Driving an Experiment by the weights of its candidates: one JSON Patch, tested on every candidate's name and weight.

A promotion in full changes the default's Model and then takes the other candidate's requests away, so that deleting the Experiment
afterwards brings no old version back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import at, text, uid
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, Patch, add, test, written
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.noting import FIRST_BP, alone, named, told
from mlrelease_tui.connectors.kubernetes.workloads.routes_splits import proportional
from mlrelease_tui.connectors.kubernetes.workloads.seldon_experiment_standing import Experiment
from mlrelease_tui.connectors.kubernetes.workloads.seldon_model_standing import Model
from mlrelease_tui.connectors.kubernetes.workloads.seldon_sources import model_ops
from mlrelease_tui.connectors.kubernetes.workloads.seldon_writes import ADVISORY, SETTLE_S, Writing
from mlrelease_tui.domain.expectation import EndpointExpectation, expectation_of, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Hold, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

_ROOT: Final = "/spec/candidates"
_WEIGHTS: Final = "spec.candidates[].weight; Seldon does not say when it is in force"
_UNHEARD_OF: Final = Artifact("0", "s3://unheard-of/0")
LOADED: Final = "{version} is loaded"
"""What a label of the endpoint says of a candidate's Model; its name is the label's."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """What is written."""

    experiments: Resource
    models: Resource


class ExperimentDriver(Writing):
    """Plans the writes for one Experiment from the objects of one read."""

    def __init__(self, kinds: Kinds, experiment: Experiment, endpoint: Endpoint, frame: Frame) -> None:
        super().__init__(kinds.experiments, experiment.item, endpoint, frame)
        self._kinds = kinds
        self._experiment = experiment

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]:
        endpoint, experiment = self._endpoint, self._experiment
        return {
            Verb.PROMOTE: (lambda: self.complete(endpoint))
            if experiment.in_flight
            else (lambda: self._begun(endpoint)),
            Verb.WEIGHT: lambda: self.set_weight(endpoint, 0 if experiment.weight_bp else FIRST_BP),
            Verb.HOLD: lambda: self.hold(endpoint, Hold(SafeText("nobody"), SafeText())),
            Verb.CONTINUE: lambda: self.resume(endpoint),
            Verb.ABORT: lambda: self.abort(endpoint),
            Verb.ROLLBACK: lambda: self.roll_back(endpoint, self._somewhere()),
        }

    def native(self) -> Mapping[Verb, str]:
        return {
            Verb.PROMOTE: "spec.candidates; the default's Model",
            Verb.WEIGHT: _WEIGHTS,
            Verb.HOLD: ADVISORY,
            Verb.CONTINUE: ADVISORY,
            Verb.ABORT: _WEIGHTS,
            Verb.ROLLBACK: _WEIGHTS,
        }

    def never(self) -> Mapping[Verb, str]:
        return {
            Verb.RETRY: "nothing was given up: a weight begins again",
            Verb.RESTART: "an Experiment has no pods: its Models are loaded into Servers",
            Verb.SCALE: "an Experiment has no replicas: its Models have",
            Verb.SWITCH: "traffic has weights: promote --full moves all of it",
            Verb.SHADOW: "a mirror is shown, and set where the Experiment is written",
        }

    # --- going on

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        """A weight for the candidate that serves the version. Where none does, the idle one's Model gets it first."""
        experiment = self._experiment
        if experiment.in_flight:
            raise Refused(
                f"{endpoint.ref.name} is between {endpoint.rollout.from_version} and {endpoint.rollout.to_version}",
                hint="finish that or roll it back first",
            )
        self._active()
        first = experiment.steps[0] if experiment.steps else FIRST_BP
        weight = first if weight_bp is None else weight_bp
        self._numbers(weight)
        idle = [one for one in experiment.models if one != experiment.stable]
        running = [one for one in idle if experiment.versions[one] == artifact.version]
        if running:
            self._answers(running[0])
            return (self._weighed(running[0], weight),)
        if len(idle) != 1:
            raise Refused(
                "no candidate serves it, and none is there to get it",
                hint="add a candidate of weight 0 where the Experiment is written",
            )
        version = SafeText(artifact.version)
        model = experiment.models[idle[0]]
        weights = named(alone(experiment.models, experiment.stable))
        there = self._expect(labels=_loads(model, version), weights=weights)
        first_write = self._modelled(model, self._ops(model, artifact), version, there)
        return (first_write, self._weighed(idle[0], weight, version=version, assumes=there))

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        experiment = self._experiment
        following = [weight for weight in experiment.steps if weight > experiment.weight_bp]
        if not following:
            raise Refused(f"{endpoint.ref.name} has no step after this one", hint="give a weight, or promote it --full")
        return self.set_weight(endpoint, following[0])

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        experiment = self._experiment
        if not experiment.in_flight:
            raise Refused(f"{endpoint.ref.name}: nothing is under way", hint="promote a version first")
        if experiment.pipelines:
            raise Refused(
                f"{endpoint.ref.name} splits between Pipelines: their version is not theirs to change",
                hint="give a weight of 100%, or promote where the Pipelines are deployed",
            )
        self._active()
        self._answers(experiment.candidate)
        version = SafeText(experiment.versions[experiment.candidate])
        if experiment.default != experiment.stable:
            return (self._weighed(experiment.candidate, ALL_TRAFFIC_BP),)
        model, other = experiment.models[experiment.stable], experiment.models[experiment.candidate]
        there = self._expect(labels=_loads(model, version), stable_version=version)
        changed = self._modelled(model, _as(model, other), version, there)
        return (changed, self._weighed(experiment.stable, ALL_TRAFFIC_BP, version=version, assumes=there))

    def set_weight(self, endpoint: Endpoint, weight_bp: int) -> tuple[Write, ...]:
        experiment = self._experiment
        if not experiment.candidate:
            raise Refused(f"{endpoint.ref.name} has one candidate", hint="add another where it is written")
        if weight_bp:
            self._active()
            self._answers(experiment.candidate)
        if experiment.weight_bp == weight_bp:
            raise Refused(
                f"{SafeText(experiment.candidate)} gets {percent(weight_bp)} already", hint="give another weight"
            )
        return (self._weighed(experiment.candidate, weight_bp),)

    # --- going back

    def abort(self, endpoint: Endpoint) -> tuple[Write, ...]:
        if not self._experiment.in_flight:
            raise Refused(f"{endpoint.ref.name}: nothing is under way", hint="roll back to another version")
        return (self._weighed(self._experiment.stable, ALL_TRAFFIC_BP),)

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        """Everything to the candidate that serves the version. Where none does, the stable one's Model gets it back."""
        experiment, version = self._experiment, SafeText(artifact.version)
        running = [one for one in experiment.models if experiment.versions[one] == artifact.version]
        if running:
            wanted = experiment.stable if experiment.stable in running else running[0]
            if experiment.shares[wanted] == ALL_TRAFFIC_BP:
                raise Refused(f"{endpoint.ref.name} serves {version}, alone", hint="name another version")
            self._answers(wanted)
            return (self._weighed(wanted, ALL_TRAFFIC_BP),)
        if experiment.in_flight:
            raise Refused(
                f"{endpoint.ref.name} goes back to {SafeText(experiment.versions[experiment.stable])} first",
                hint="name no version",
            )
        model = experiment.models[experiment.stable]
        there = self._expect(labels=_loads(model, version), stable_version=version)
        return (self._modelled(model, self._ops(model, artifact), version, there),)

    # --- what must be so

    def _active(self) -> None:
        if not self._experiment.active:
            raise Refused(f"{self._endpoint.ref.name} is not active: it splits nothing", hint="wait until it is")

    def _answers(self, candidate: str) -> None:
        model = self._experiment.models[candidate]
        if self._experiment.pipelines:
            return
        if model.item is None:
            raise Refused(f"there is no Model {SafeText(candidate)}", hint="load it first")
        if not model.loaded:
            raise Refused(f"the Model {SafeText(candidate)} is not ready", hint="wait until it is")

    def _numbers(self, weight_bp: int) -> tuple[int, int]:
        found = proportional(weight_bp, self._experiment.total) if 0 <= weight_bp <= ALL_TRAFFIC_BP else None
        if found is None:
            raise Refused(f"{self._endpoint.ref.name} can't get {percent(weight_bp)}", hint="give 0% to 100%")
        return found

    def _ops(self, model: Model, artifact: Artifact) -> tuple[Op, ...]:
        if model.item is None:
            raise Refused(f"there is no Model {SafeText(model.called)}", hint="load it first")
        others = [one.item for one in self._experiment.models.values() if one.item is not None]
        return model_ops(model.item, artifact, others)

    # --- beneath

    def _modelled(self, model: Model, ops: tuple[Op, ...], version: str, expects: EndpointExpectation) -> Write:
        item = model.item or {}
        effect = Effect(
            f"{SafeText(model.called)} serves {SafeText(model.version)}",
            f"{SafeText(model.called)} serves {version}, once it is loaded",
            f"put {SafeText(model.version)} back on {SafeText(model.called)}",
            expects,
            SETTLE_S,
        )
        kept = {marks.HISTORY: marks.history_text([model.version, *marks.history_of(item)])}
        patch = Patch(self._kinds.models, item, (test("/metadata/uid", uid(item)), *ops), notes=kept, spec_only=True)
        return written(self._frame.connection, self._frame.context, patch, effect, expectation_of(self._endpoint))

    def _weighed(
        self, candidate: str, weight_bp: int, *, version: str = "", assumes: EndpointExpectation | None = None
    ) -> Write:
        """This share for a candidate, the rest for the stable one, nothing for any other."""
        experiment = self._experiment
        part, rest = self._numbers(weight_bp)
        called = version or SafeText(experiment.versions[candidate])
        numbers = {**dict.fromkeys(experiment.weights, 0), experiment.stable: rest, candidate: part}
        shares = {**dict.fromkeys(experiment.weights, 0), experiment.stable: ALL_TRAFFIC_BP - weight_bp}
        shares[candidate] = weight_bp
        ops: list[Op] = [self._same()]
        writes: list[Op] = []
        for index, (one, wanted) in enumerate(numbers.items()):
            # As it stands there: one that is not said is none.
            now = at(experiment.item, "spec", "candidates")[index].get("weight")
            ops += [test(f"{_ROOT}/{index}/name", one), test(f"{_ROOT}/{index}/weight", now)]
            if now != wanted:
                writes.append(add(f"{_ROOT}/{index}/weight", wanted))
        whole = weight_bp == ALL_TRAFFIC_BP
        expects = self._expect(weights=named(shares), stable_version=called if whole else None)
        after = f"{called} gets everything" if whole else f"{called} {percent(weight_bp)}"
        before = told(experiment.shares, experiment.versions)
        effect = Effect(before, after, f"{SafeText(experiment.candidate)} {percent(experiment.weight_bp)}", expects)
        forward = weight_bp and candidate != experiment.stable
        noted = {marks.STABLE: candidate if whole else experiment.stable}
        noted |= self._noted(experiment.versions[experiment.stable]) if forward or version else {}
        return self._patch((*ops, *writes), effect, notes=noted, assumes=assumes)

    def _begun(self, endpoint: Endpoint) -> tuple[Write, ...]:
        """A release of what stands by, else of what nobody knows, for whoever asks whether one can be begun."""
        experiment = self._experiment
        now = experiment.versions[experiment.stable]
        other = [one.version for one in experiment.models.values() if one.version != now]
        try:
            return self.start(endpoint, Artifact(other[0]) if other else _UNHEARD_OF, None)
        except Refused:
            return self.start(endpoint, _UNHEARD_OF, None)

    def _somewhere(self) -> Artifact:
        """A version to which it could be rolled back, for whoever asks whether it can; one that nobody knows may be named, too."""
        experiment = self._experiment
        if experiment.in_flight or not experiment.serving:
            return Artifact(experiment.versions[experiment.stable])
        now = experiment.versions[experiment.stable]
        others = [one.version for one in experiment.models.values() if one.version != now and one.loaded]
        return Artifact(others[0]) if others else _UNHEARD_OF


def _loads(model: Model, version: str) -> tuple[tuple[str, str], ...]:
    return ((model.called, LOADED.format(version=version)),)


def _as(model: Model, other: Model) -> tuple[Op, ...]:
    """What the other Model serves, on this one."""
    mine, theirs = model.item or {}, other.item or {}
    ops: tuple[Op, ...] = ()
    for key in ("storageUri", "artifactVersion"):
        now, wanted = at(mine, "spec", key), at(theirs, "spec", key)
        if now != wanted and wanted is not None:
            ops = (*ops, test(f"/spec/{key}", now), add(f"/spec/{key}", wanted))
    if not ops:
        raise Refused(
            f"{SafeText(model.called)} and {SafeText(other.called)} name the same model",
            hint=f"both fetch {SafeText(text(mine, 'spec', 'storageUri'))}",
        )
    said = marks.said(theirs, marks.VERSION)
    for kind in ("annotations", "labels"):
        if said and marks.VERSION in (at(mine, "metadata", kind) or {}):
            ops = (*ops, put(f"/metadata/{kind}/{marks.VERSION.replace('/', '~1')}", said))
    return ops
