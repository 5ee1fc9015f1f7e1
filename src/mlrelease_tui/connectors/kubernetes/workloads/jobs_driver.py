"""Driving batch models: what a schedule runs next, whether it runs, and a run now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.making import Run, made
from mlrelease_tui.connectors.kubernetes.objects import at, items, name, table, text, uid
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, Patch, pointer, test, written
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.pods import TEMPLATE, deploy_ops, image_tests
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.jobs_standing import SCHEDULED, Schedule, ended
from mlrelease_tui.domain.expectation import EndpointExpectation, expectation_of
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, BindingSource, Endpoint, Hold, Phase, Verb
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import Refused

_UNHEARD_OF: Final = Artifact("0-unheard-of", "models:/unheard-of/0")
_NO_TRAFFIC: Final[Mapping[Verb, str]] = {
    Verb.WEIGHT: "a batch model gets no traffic",
    Verb.ABORT: "a batch model gets no traffic to take back",
    Verb.SWITCH: "a batch model gets no traffic to switch",
    Verb.SHADOW: "a batch model gets no traffic to mirror",
    Verb.SCALE: "a job has as many pods as its spec says",
}


class Suspending:
    """Holding what has `spec.suspend`: a CronJob, a Job."""

    def __init__(self, resource: Resource, item: Object, endpoint: Endpoint, frame: Frame) -> None:
        self._resource = resource
        self._item = item
        self._endpoint = endpoint
        self._frame = frame

    def hold(self, endpoint: Endpoint, hold: Hold) -> tuple[Write, ...]:
        if at(self._item, "spec", "suspend") is True:
            raise Refused(f"{endpoint.ref.name} is suspended already", hint="continue lets it run")
        return (self._suspended(True, self._suspends()),)

    def resume(self, endpoint: Endpoint) -> tuple[Write, ...]:
        if at(self._item, "spec", "suspend") is not True:
            raise Refused(f"{endpoint.ref.name} is not suspended", hint="there is nothing to continue")
        return (self._suspended(False, "it runs again"),)

    def _suspends(self) -> str:
        return "no new run begins; one that is under way goes on"

    def _suspended(self, held: bool, after: str) -> Write:
        ops = (*self._guard(), test("/spec/suspend", at(self._item, "spec", "suspend")), put("/spec/suspend", held))
        expects = EndpointExpectation(self._endpoint.ref, uid=self._endpoint.uid, held=held)
        effect = Effect(
            "suspended" if not held else "not suspended", after, "continue it" if held else "hold it", expects
        )
        return self._patch(Patch(self._resource, self._item, ops, hold=held), effect)

    def _guard(self) -> tuple[Op, ...]:
        return (test("/metadata/uid", uid(self._item)),)

    def _patch(self, patch: Patch, effect: Effect) -> Write:
        return written(self._frame.connection, self._frame.context, patch, effect, self._assumed())

    def _assumed(self) -> EndpointExpectation:
        return replace(expectation_of(self._endpoint), weights=None, present=())


@dataclass(frozen=True, slots=True)
class JobKinds:
    """The kinds as this cluster addresses them."""

    schedules: Resource
    jobs: Resource


class ScheduleDriver(Suspending):
    """Plans the writes for one CronJob from the objects of one read."""

    def __init__(self, kinds: JobKinds, schedule: Schedule, endpoint: Endpoint, frame: Frame) -> None:
        super().__init__(kinds.schedules, schedule.item, endpoint, frame)
        self._kinds = kinds
        self._schedule = schedule

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]:
        endpoint = self._endpoint
        return {
            Verb.PROMOTE: lambda: self.start(endpoint, _UNHEARD_OF, None),
            Verb.HOLD: lambda: self.hold(endpoint, Hold(SafeText("nobody"), SafeText())),
            Verb.CONTINUE: lambda: self.resume(endpoint),
            Verb.ROLLBACK: lambda: self.roll_back(endpoint, Artifact(raw(self._schedule.previous))),
            Verb.RESTART: lambda: self.restart(endpoint),
        }

    def native(self) -> Mapping[Verb, str]:
        return {
            Verb.PROMOTE: "spec.jobTemplate",
            Verb.HOLD: "spec.suspend",
            Verb.CONTINUE: "spec.suspend",
            Verb.ROLLBACK: "spec.jobTemplate",
            Verb.RESTART: "run now: create job --from",
        }

    def never(self) -> Mapping[Verb, str]:
        return {**_NO_TRAFFIC, Verb.RETRY: "its Jobs try again by themselves; restart runs it now"}

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        if weight_bp not in {None, ALL_TRAFFIC_BP}:
            raise Refused(
                f"{endpoint.ref.name} has no weights: the next run is of one version", hint="leave the weight out"
            )
        item = self._item
        kept = {marks.HISTORY: marks.history_text([self._schedule.target.version, *marks.history_of(item)])}
        return (self._runs_next(artifact.version, deploy_ops(item, artifact, at=SCHEDULED), kept),)

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        raise Refused(
            f"{endpoint.ref.name} has no steps: its next run is of the new version", hint="restart runs it now"
        )

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        return self.advance(endpoint)

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        schedule, version = self._schedule, artifact.version
        if not version:
            raise Refused(
                f"no run of {endpoint.ref.name} ended well with another version", hint="name the version to return to"
            )
        if version == raw(schedule.target.version):
            raise Refused(f"{endpoint.ref.name} runs {SafeText(version)} already", hint="restart runs it now")
        kept = {}
        if known := marks.history_of(self._item):
            kept[marks.HISTORY] = marks.history_text([item for item in known if item != version])
        return (self._runs_next(version, self._back(artifact), kept),)

    def _back(self, artifact: Artifact) -> tuple[Op, ...]:
        """By the version's name where the template has a place for it, else by the image of a run that had it."""
        target = self._schedule.target
        if not artifact.uri and target.source is BindingSource.STORAGE_URI:
            artifact = replace(artifact, uri=f"models:/{target.model}/{artifact.version}")
        try:
            return deploy_ops(self._item, artifact, at=SCHEDULED)
        except Refused:
            run = next((run for run in self._schedule.runs if self._schedule.version(run) == artifact.version), None)
            if run is None or len(_containers(run, TEMPLATE)) != len(_containers(self._item, SCHEDULED)):
                raise
        images = [text(container, "image") for container in _containers(run, TEMPLATE)]
        return tuple(
            put(pointer(*SCHEDULED, "spec", "containers", str(index), "image"), image)
            for index, image in enumerate(images)
        )

    def _runs_next(self, version: str, ops: tuple[Op, ...], kept: Mapping[str, str]) -> Write:
        now = self._schedule.target.version
        expects = EndpointExpectation(self._endpoint.ref, uid=self._endpoint.uid, stable_version=SafeText(version))
        effect = Effect(f"runs {now}", f"the next run is of {SafeText(version)}", f"roll back to {now}", expects)
        tests = (*self._guard(), *image_tests(self._item, at=SCHEDULED))
        return self._patch(Patch(self._kinds.schedules, self._item, (*tests, *ops), notes=kept), effect)

    def restart(self, endpoint: Endpoint) -> tuple[Write, ...]:
        """A run now, beside the schedule."""
        schedule = self._schedule
        called = f"{name(self._item)[:41]}-run-{self._frame.now:%Y%m%d%H%M%S}"
        version = SafeText(schedule.target.version)
        expects = EndpointExpectation(endpoint.ref, uid=endpoint.uid, labels=((f"run {called}", version),))
        beside = f", beside {len(schedule.active)} under way" if schedule.active else ""
        effect = Effect(
            f"last runs: {schedule.told()}", f"a run of {version} begins{beside}", f"delete Job {called}", expects
        )
        tests = (*self._guard(), *image_tests(self._item, at=SCHEDULED))
        run = Run(self._kinds.schedules, self._kinds.jobs, self._item, called, tests)
        return (made(self._frame.connection, self._frame.context, run, effect, self._assumed()),)


class JobDriver(Suspending):
    """Plans the writes for a Job that no schedule made."""

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]:
        endpoint = self._endpoint
        return {
            Verb.HOLD: lambda: self.hold(endpoint, Hold(SafeText("nobody"), SafeText())),
            Verb.CONTINUE: lambda: self.resume(endpoint),
        }

    def native(self) -> Mapping[Verb, str]:
        return {Verb.HOLD: "spec.suspend", Verb.CONTINUE: "spec.suspend"}

    def never(self) -> Mapping[Verb, str]:
        once = "apply it anew under another name: a Job runs once"
        return {**_NO_TRAFFIC, **dict.fromkeys((Verb.PROMOTE, Verb.ROLLBACK, Verb.RETRY, Verb.RESTART), once)}

    def hold(self, endpoint: Endpoint, hold: Hold) -> tuple[Write, ...]:
        if ended(self._item):
            raise Refused(f"{endpoint.ref.name} has ended", hint="there is nothing to hold")
        return super().hold(endpoint, hold)

    def _suspends(self) -> str:
        return "its pods are deleted, and made anew when it goes on"


def _containers(item: Object, template: tuple[str, ...]) -> list[Any]:
    return items(table(item, *template), "spec", "containers")


def phase_of(job: Object) -> Phase:
    """Where one Job is."""
    known = {"Complete": Phase.COMPLETE, "Failed": Phase.DEGRADED}
    if found := known.get(ended(job)):
        return found
    return Phase.HELD if at(job, "spec", "suspend") is True else Phase.PROGRESSING
