"""What a schedule's runs say of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.making import Run, made
from mlrelease_tui.connectors.kubernetes.patching import Effect
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, world_of
from mlrelease_tui.connectors.kubernetes.workloads.jobs import CronJobs
from mlrelease_tui.connectors.kubernetes.workloads.jobs_driver import ScheduleDriver
from mlrelease_tui.connectors.kubernetes.workloads.jobs_standing import ended, schedule_of, told
from mlrelease_tui.domain.expectation import EndpointExpectation
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.errors import Refused

Json = dict[str, Any]
SCHEDULES = Resource("batch", "v1", "cronjobs", "CronJob")
JOBS = Resource("batch", "v1", "jobs", "Job")
SERVED = Served({("batch", "cronjobs"): SCHEDULES, ("batch", "jobs"): JOBS})


def template(version: str) -> Json:
    return {
        "spec": {
            "containers": [
                {"name": "score", "image": f"score:{version}", "env": [{"name": "PASSWORD", "value": "hidden"}]}
            ]
        }
    }


def schedule(version: str, **notes: str) -> Json:
    return {
        "metadata": {"name": "score", "namespace": "ml", "uid": "c", "annotations": notes},
        "spec": {"schedule": "0 * * * *", "jobTemplate": {"spec": {"template": template(version)}}},
    }


def run(name: str, version: str, how: str, *, began: str = "2026-01-01T10:00:00Z", why: str = "") -> Json:
    conditions = [{"type": how, "status": "True", "reason": why}] if how else []
    return {
        "metadata": {"name": name, "creationTimestamp": began},
        "spec": {"template": template(version)},
        "status": {"startTime": began, "conditions": conditions, **({} if how else {"active": 1})},
    }


@pytest.mark.parametrize(
    ("job", "how", "words"),
    [
        (run("a", "1", "Complete"), "Complete", "ok 10:00"),
        (run("a", "1", "Failed", why="BackoffLimitExceeded"), "Failed", "failed 10:00 (BackoffLimitExceeded)"),
        (run("a", "1", ""), "", "running 10:00 (1 active, 0 failed pods)"),
        (run("a", "1", "Suspended"), "", "suspended 10:00"),
        # A Job whose pods have failed is not over before its controller says so.
        (run("a", "1", "FailureTarget"), "", "running 10:00 (0 active, 0 failed pods)"),
    ],
)
def test_how_a_job_went(job: Json, how: str, words: str) -> None:
    assert (ended(job), told(job)) == (how, words)


def test_the_way_back_is_the_newest_run_that_ended_well_with_another_version() -> None:
    runs = [
        run("a", "1", "Complete", began="2026-01-01T10:00:00Z"),
        run("b", "2", "Complete", began="2026-01-01T11:00:00Z"),
        run("c", "3", "Failed", began="2026-01-01T12:00:00Z"),
        run("d", "4", "Failed", began="2026-01-01T13:00:00Z"),
    ]
    found = schedule_of(schedule("4"), runs)
    assert (found.target.version, found.previous) == ("4", "2")
    assert schedule_of(schedule("4", **{"mlrelease.dev/history": '["1"]'}), runs).previous == "1"
    assert schedule_of(schedule("4"), runs[2:]).previous == ""


def test_the_last_runs_are_told_newest_first() -> None:
    runs = [run(str(hour), "1", "Complete", began=f"2026-01-01T{hour}:00:00Z") for hour in (10, 13, 11, 12)]
    assert schedule_of(schedule("1"), runs).told() == "ok 13:00, ok 12:00, ok 11:00"
    assert schedule_of(schedule("1"), ()).told() == "no run yet"


def test_the_write_of_a_run_names_what_it_is_made_of_and_holds_none_of_it() -> None:
    cron, jobs = Resource("batch", "v1", "cronjobs", "CronJob"), Resource("batch", "v1", "jobs", "Job")
    tests = ({"op": "test", "path": "/metadata/uid", "value": "c"},)
    expects = EndpointExpectation(EndpointRef("lab", "ml", "score"))
    write = made(
        "lab", "lab", Run(cron, jobs, schedule("1"), "score-run-1", tests), Effect("", "", "", expects), expects
    )
    assert "hidden" not in write.payload
    assert json.loads(write.payload)["called"] == "score-run-1"
    assert write.shell == "kubectl --context lab -n ml create job score-run-1 --from=cronjob/score"


@pytest.mark.parametrize("containers", [1, 2])
def test_the_images_of_a_run_are_put_back_only_where_it_had_the_same_containers(containers: int) -> None:
    item, ran = schedule("2"), run("score-1", "1", "Complete")
    item["metadata"]["annotations"] = {"mlrelease.dev/version": "2"}
    spec = item["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    spec["containers"] = [{"name": f"c{index}", "image": f"score@sha256:{index}"} for index in range(containers)]
    item["spec"]["jobTemplate"]["spec"]["template"]["metadata"] = {"labels": {"mlrelease.dev/version": "2"}}
    ran["spec"]["template"]["metadata"] = {"labels": {"mlrelease.dev/version": "1"}}
    ran["metadata"].update(namespace="ml", uid="j", ownerReferences=[{"uid": "c", "controller": True}])
    world = world_of({SCHEDULES: [item], JOBS: [ran]})
    (sighting,) = CronJobs().sightings(world, SERVED)
    found = CronJobs().read(sighting, world, SERVED, Frame("lab", "", "lab", "", datetime(2026, 1, 2, tzinfo=UTC)))
    assert isinstance(found.driver, ScheduleDriver)
    if containers == 2:
        with pytest.raises(Refused, match="names its version nowhere"):
            found.driver.roll_back(found.endpoint, Artifact("1"))
        return
    (write,) = found.driver.roll_back(found.endpoint, Artifact("1"))
    assert '"value":"score:1"' in write.payload
