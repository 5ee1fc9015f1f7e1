"""Experiments of Seldon Core 2: candidates that share the requests to a Model or Pipeline, and a mirror.

Facts read in Seldon's operator, not seen live: weights are proportions; the status has no generation, so that nothing says when a
weight is in force; deleting an Experiment gives everything to its `default` again. A client that keeps the header
`x-seldon-route` stays where it was, whatever the weights say.

Source: mlops.seldon.io/v1alpha1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.mirror import Key
from mlrelease_tui.connectors.kubernetes.objects import at, condition, count, items, name, namespace, text, uid
from mlrelease_tui.connectors.kubernetes.selecting import some
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, Sighting, World, world_of
from mlrelease_tui.connectors.kubernetes.workloads.seldon_experiment_driver import LOADED, ExperimentDriver, Kinds
from mlrelease_tui.connectors.kubernetes.workloads.seldon_experiment_standing import Experiment
from mlrelease_tui.connectors.kubernetes.workloads.seldon_model_standing import Model
from mlrelease_tui.connectors.kubernetes.workloads.seldon_models import GROUP
from mlrelease_tui.connectors.kubernetes.workloads.steps import step_index
from mlrelease_tui.connectors.kubernetes.workloads.support import model_ref, verbs_of
from mlrelease_tui.domain.rollout import Endpoint, Native, Phase, Role, Rollout, Step, Strategy, Variant
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import NotFound


class SeldonExperiments:
    """The workload module for Experiments."""

    kind = "Seldon Experiment"

    def needs(self, served: Served) -> tuple[Resource, ...]:
        experiments, models = served.find(GROUP, "experiments"), served.find(GROUP, "models")
        return (experiments, models) if experiments is not None and models is not None else ()

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]:
        needed = self.needs(served)
        for item in world.of(needed[0]).values() if needed else ():
            if items(item, "spec", "candidates"):
                claims = {uid(item), *(uid(one) for one in _models(item, world, needed[1]).values())}
                yield Sighting(namespace(item), name(item), item, frozenset(claims))

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading:
        experiments, models = self.needs(served)
        if not items(sighting.item, "spec", "candidates"):
            raise NotFound(f"{sighting.namespace}/{sighting.name} has no candidates", hint="read again")
        experiment = _experiment(sighting.item, _models(sighting.item, world, models), frame)
        endpoint = _endpoint(experiment, frame)
        driver = ExperimentDriver(Kinds(experiments, models), experiment, endpoint, frame)
        return Reading(verbs_of(endpoint, driver), driver)

    async def look(self, api: KubeApi, served: Served, key: Key) -> World:
        needed = self.needs(served)
        if not needed:
            raise NotFound("this cluster has no Experiments", hint="read the endpoints again")
        item = await api.get(needed[0].path(*key))
        return world_of({needed[0]: [item], needed[1]: await some(api, needed[1], key[0])})


def _models(item: Object, world: World, kind: Resource) -> Mapping[str, Object]:
    """The Models that it names, by name: none where it splits between Pipelines."""
    if text(item, "spec", "resourceType") == "pipeline":
        return {}
    named = [*(text(one, "name") for one in items(item, "spec", "candidates")), text(item, "spec", "mirror", "name")]
    known = world.of(kind)
    return {one: found for one in named if one and (found := known.get((namespace(item), one))) is not None}


def _experiment(item: Object, known: Mapping[str, Object], frame: Frame) -> Experiment:
    def found(called: str) -> Model:
        return Model(called, frame.now, known.get(called))

    models = {text(one, "name"): found(text(one, "name")) for one in items(item, "spec", "candidates")}
    mirrored = text(item, "spec", "mirror", "name")
    mirror = (found(mirrored), count(item, "spec", "mirror", "percent")) if mirrored else None
    return Experiment(item, models, mirror)


def _endpoint(experiment: Experiment, frame: Frame) -> Endpoint:
    item = experiment.item
    shown = experiment.models[experiment.candidate if experiment.in_flight else experiment.stable]
    identity = shown.identity
    model = marks.said(item, marks.MODEL) or (identity.model if identity else "")
    ready = condition(item, "ExperimentReady") or condition(item, "Ready")
    return Endpoint(
        frame.ref(item),
        uid=uid(item),
        revision=_revision(experiment),
        variants=tuple(_variants(experiment)),
        rollout=_rollout(experiment),
        native=Native(SafeText("Seldon Experiment"), SafeText(ready.get("status") or "no status")),
        observed_at=frame.now,
        environment=frame.environment,
        **model_ref(model, identity, frame),
        alias=SafeText(marks.said(item, marks.ALIAS)),
        previous_version=SafeText(_previous(experiment)),
        stamp=experiment.stamp,
        owner=marks.owner_of(item),
        problems=tuple(SafeText(problem) for problem in _problems(experiment)),
        labels=MappingProxyType(
            {one: SafeText(_loaded(model)) for one, model in experiment.models.items() if model.item}
        ),
    )


def _loaded(model: Model) -> str:
    return LOADED.format(version=model.version) if model.loaded else f"{model.version} is not loaded"


def _previous(experiment: Experiment) -> str:
    if experiment.in_flight:
        return ""
    now = experiment.versions[experiment.stable]
    return next((version for version in marks.history_of(experiment.item) if version != now), "")


def _revision(experiment: Experiment) -> str:
    """Everything that a plan depends on, and nothing that a status tick moves."""
    parts = [
        at(experiment.item, "metadata", "generation"),
        experiment.active,
        marks.left(experiment.item, marks.HOLD),
        [(one.called, one.loaded, at(one.item or {}, "metadata", "generation")) for one in experiment.models.values()],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _variants(experiment: Experiment) -> Iterator[Variant]:
    for one, model in experiment.models.items():
        role = Role.STABLE if one == experiment.stable else Role.CANARY
        yield _variant(model, role, experiment.shares[one] if experiment.active else None)
    if experiment.mirror is not None:
        model, percent = experiment.mirror
        yield _variant(model, Role.SHADOW, percent * 100 if experiment.active else None)


def _variant(model: Model, role: Role, weight_bp: int | None) -> Variant:
    called = model.called if role is not Role.SHADOW else f"{model.called} (mirror)"
    return Variant(
        SafeText(called),
        role,
        SafeText(model.version),
        weight_bp=weight_bp,
        ready=model.ready,
        desired=model.desired,
        message=SafeText(model.failing),
    )


def _rollout(experiment: Experiment) -> Rollout:
    stable = SafeText(experiment.versions[experiment.stable])
    return Rollout(
        Strategy.CANARY,
        _phase(experiment),
        stable,
        SafeText(experiment.versions[experiment.candidate]) if experiment.in_flight else stable,
        step_index=step_index(experiment.steps, experiment.weight_bp) if experiment.in_flight else None,
        steps=tuple(Step(index, weight) for index, weight in enumerate(experiment.steps)),
        hold=marks.hold_of(experiment.item),
        message=SafeText(_message(experiment)),
    )


def _phase(experiment: Experiment) -> Phase:
    known: tuple[tuple[bool, Phase], ...] = (
        (not experiment.seen, Phase.UNKNOWN),
        (bool(experiment.failing) or not experiment.serving, Phase.DEGRADED),
        (not experiment.active or experiment.moving, Phase.PROGRESSING),
        (marks.hold_of(experiment.item) is not None, Phase.HELD),
        (experiment.in_flight, Phase.WAITING),
    )
    return next((phase for holds, phase in known if holds), Phase.COMPLETE)


def _message(experiment: Experiment) -> str:
    if not experiment.seen:
        return "no scheduler has looked at it: is Seldon Core 2 running?"
    if experiment.failing:
        return experiment.failing
    if not experiment.serving:
        return "no candidate gets anything"
    if not experiment.active:
        return "it is not active: its candidates are not all ready"
    return "clients that keep x-seldon-route stay where they were" if experiment.in_flight else ""


def _problems(experiment: Experiment) -> Iterator[str]:
    if _phase(experiment) in {Phase.UNKNOWN, Phase.DEGRADED}:
        yield _message(experiment)
    if experiment.default and experiment.default not in experiment.models:
        yield f"its default {experiment.default} is none of its candidates"
    for one, model in experiment.models.items():
        if model.item is None and not experiment.pipelines:
            yield f"there is no Model {one}"
