"""Batch models: CronJobs with their runs, and Jobs that no schedule made.

Source: batch/v1 as kube-controller-manager 1.36 behaves. A CronJob's own status says nothing of how a run ended: its Jobs do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.mirror import Key
from mlrelease_tui.connectors.kubernetes.objects import at, name, namespace, owner_uid, table, text, uid, when
from mlrelease_tui.connectors.kubernetes.pod_states import ailments
from mlrelease_tui.connectors.kubernetes.pods import TEMPLATE, Identity, identity_of
from mlrelease_tui.connectors.kubernetes.selecting import pods_of, some, text_of
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, Sighting, World, world_of
from mlrelease_tui.connectors.kubernetes.workloads.jobs_driver import JobDriver, JobKinds, ScheduleDriver, phase_of
from mlrelease_tui.connectors.kubernetes.workloads.jobs_standing import SCHEDULED, Schedule, ended, schedule_of, told
from mlrelease_tui.connectors.kubernetes.workloads.models import shown
from mlrelease_tui.connectors.kubernetes.workloads.support import model_ref, verbs_of
from mlrelease_tui.domain.rollout import Endpoint, Hold, Native, Phase, Role, Rollout, Stamp, Strategy, Variant
from mlrelease_tui.domain.text import SafeText


class CronJobs:
    """The workload module for CronJobs."""

    kind = "CronJob"

    def needs(self, served: Served) -> tuple[Resource, ...]:
        schedules, jobs = served.find("batch", "cronjobs"), served.find("batch", "jobs")
        return (schedules, jobs) if schedules and jobs else ()

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]:
        for item in _of(self, world, served):
            if shown(item, world, at=SCHEDULED):
                yield Sighting(namespace(item), name(item), item, frozenset({uid(item)}))

    def passed_over(self, world: World, served: Served) -> int:
        return sum(not owner_uid(item) and not shown(item, world, at=SCHEDULED) for item in _of(self, world, served))

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading:
        schedules, jobs = self.needs(served)
        schedule = schedule_of(sighting.item, world.owned(jobs, uid(sighting.item)))
        endpoint = _scheduled(schedule, frame)
        driver = ScheduleDriver(JobKinds(schedules, jobs), schedule, endpoint, frame)
        return Reading(verbs_of(endpoint, driver), driver)

    async def look(self, api: KubeApi, served: Served, key: Key) -> World:
        schedules, jobs = self.needs(served)
        item = await api.get(schedules.path(*key))
        found = [job for job in await some(api, jobs, key[0]) if owner_uid(job) == uid(item)]
        return world_of({schedules: [item], jobs: found})


class Jobs:
    """The workload module for Jobs that no schedule made."""

    kind = "Job"

    def needs(self, served: Served) -> tuple[Resource, ...]:
        jobs = served.find("batch", "jobs")
        return (jobs,) if jobs else ()

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]:
        for item in _of(self, world, served):
            if shown(item, world):
                yield Sighting(namespace(item), name(item), item, frozenset({uid(item)}))

    def passed_over(self, world: World, served: Served) -> int:
        return sum(not owner_uid(item) and not shown(item, world) for item in _of(self, world, served))

    def selector(self, sighting: Sighting, world: World, served: Served) -> Object:
        return table(sighting.item, "spec", "selector")

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading:
        (jobs,) = self.needs(served)
        pods = served.find("", "pods")
        ill = ailments(world.owned(pods, uid(sighting.item))) if pods else ""
        endpoint = _once(sighting.item, frame, ill)
        driver = JobDriver(jobs, sighting.item, endpoint, frame)
        return Reading(verbs_of(endpoint, driver), driver)

    async def look(self, api: KubeApi, served: Served, key: Key) -> World:
        (jobs,) = self.needs(served)
        item = await api.get(jobs.path(*key))
        found = {jobs: [item]}
        if pods := served.find("", "pods"):
            found[pods] = await pods_of(api, pods, key[0], text_of(table(item, "spec", "selector")))
        return world_of(found)


def _of(workload: CronJobs | Jobs, world: World, served: Served) -> Iterator[Object]:
    needed = workload.needs(served)
    if needed:
        yield from world.of(needed[0]).values()


def _scheduled(schedule: Schedule, frame: Frame) -> Endpoint:
    item, identity = schedule.item, schedule.target
    stamps = [marks.last_writer(item), *(marks.stamp_of(run) for run in schedule.runs)]
    runs = {f"run {SafeText(name(run))}": SafeText(schedule.version(run)) for run in schedule.runs}
    parts = [at(item, "metadata", "generation"), [(name(run), ended(run)) for run in schedule.runs]]
    return _endpoint(
        item,
        identity,
        frame,
        kind="CronJob",
        native=text(item, "spec", "schedule"),
        revision=parts,
        rollout=_rollout(identity, _phase(schedule), _hold(item), f"last runs: {schedule.told()}"),
        message=schedule.told(),
        started_at=text(item, "status", "lastScheduleTime"),
        previous=schedule.previous,
        stamp=_newest(stamps),
        labels={"schedule": SafeText(text(item, "spec", "schedule")), **runs},
    )


def _once(item: Object, frame: Frame, ill: str) -> Endpoint:
    identity = identity_of(table(item, *TEMPLATE), item)
    message = "; ".join(part for part in (told(item), ill) if part)
    return _endpoint(
        item,
        identity,
        frame,
        kind="Job",
        native=ended(item) or "running",
        revision=[at(item, "metadata", "generation"), ended(item)],
        rollout=_rollout(identity, phase_of(item), _hold(item), message),
        message=message,
        started_at=text(item, "status", "startTime"),
        previous="",
        stamp=marks.last_writer(item),
        labels={},
    )


def _endpoint(
    item: Object,
    identity: Identity,
    frame: Frame,
    *,
    kind: str,
    native: str,
    revision: object,
    rollout: Rollout,
    message: str,
    started_at: str,
    previous: str,
    stamp: Stamp | None,
    labels: dict[str, SafeText],
) -> Endpoint:
    variant = Variant(
        SafeText(name(item)),
        Role.STABLE,
        SafeText(identity.version),
        digest=identity.digest,
        message=SafeText(message),
        started_at=when(started_at),
    )
    return Endpoint(
        frame.ref(item),
        uid=uid(item),
        revision=hashlib.sha256(json.dumps(revision).encode()).hexdigest()[:16],
        variants=(variant,),
        rollout=rollout,
        native=Native(SafeText(kind), SafeText(native)),
        observed_at=frame.now,
        environment=frame.environment,
        **model_ref(identity.model, identity, frame),
        alias=SafeText(marks.said(item, marks.ALIAS)),
        previous_version=SafeText(previous),
        stamp=stamp,
        owner=marks.owner_of(item),
        labels=labels,
    )


def _rollout(identity: Identity, phase: Phase, hold: Hold | None, message: str) -> Rollout:
    version = SafeText(identity.version)
    return Rollout(Strategy.NONE, phase, version, version, hold=hold, message=SafeText(message))


def _phase(schedule: Schedule) -> Phase:
    last = schedule.last
    known: tuple[tuple[bool, Phase], ...] = (
        (schedule.suspended, Phase.HELD),
        (bool(schedule.active), Phase.PROGRESSING),
        (last is not None and ended(last) == "Failed", Phase.DEGRADED),
    )
    return next((phase for holds, phase in known if holds), Phase.COMPLETE)


def _hold(item: Object) -> Hold | None:
    """Who suspended it. One by another hand has no name: it is held all the same."""
    if at(item, "spec", "suspend") is not True:
        return None
    return marks.hold_of(item) or Hold(SafeText("an unknown hand"), SafeText("spec.suspend is set"))


def _newest(stamps: list[Stamp | None]) -> Stamp | None:
    known = [stamp for stamp in stamps if stamp is not None and stamp.at is not None]
    return max(known, key=lambda stamp: stamp.at.timestamp() if stamp.at else 0.0, default=None)
