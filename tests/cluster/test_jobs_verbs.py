"""Batch models on a real control plane: a schedule, its runs, and Jobs that no schedule made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import cast

import pytest
from tests.cluster.api import CRON_JOBS, JOBS, Json, holds
from tests.cluster.desk import Operator
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import PODS_BEHAVE, pod_template
from tests.cluster.verb_table import Row, VerbTable

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.domain.rollout import Hold, Phase, Stamp, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict, Refused

pytestmark = [pytest.mark.kubernetes, pytest.mark.real]

IMAGE = "registry.example/score"
NOBODY = Hold(SafeText("anna"), SafeText(""))


def job_spec(version: str, *, fails: bool = False) -> Json:
    template = pod_template("score", f"{IMAGE}:{version}", labels={PODS_BEHAVE: "job-failed"} if fails else {})
    template["spec"]["restartPolicy"] = "Never"
    return {"backoffLimit": 0, "template": template}


def schedule(version: str, *, fails: bool = False) -> Json:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "score", "annotations": {"mlrelease.dev/model": "registry/score"}},
        "spec": {"schedule": "0 3 1 1 *", "jobTemplate": {"spec": job_spec(version, fails=fails)}},
    }


def job(version: str, name: str = "once", **spec: object) -> Json:
    marks = {"name": name, "annotations": {"mlrelease.dev/model": "registry/score"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": marks, "spec": {**job_spec(version), **spec}}


@pytest.fixture
async def operator(cluster: Cluster, namespace: str) -> AsyncIterator[Operator]:
    found = Operator(cluster.kubeconfig, namespace)
    yield found
    await found.close()


async def ran(operator: Operator) -> str:
    """Run it now; the name of the run."""
    before = {label for label in (await operator.read("score")).labels if label.startswith("run ")}
    after = await operator.do("score", Verb.RESTART, lambda driver, endpoint: driver.restart(endpoint))
    (label,) = {label for label in after.labels if label.startswith("run ")} - before
    return label.removeprefix("run ")


async def test_a_run_now_is_what_kubectl_would_make_and_its_end_is_seen(
    cluster: Cluster, namespace: str, operator: Operator, verb_table: VerbTable
) -> None:
    cluster.kubectl.apply(schedule("1"), namespace=namespace)
    called = await ran(operator)
    cluster.kubectl("create", "job", "theirs", "--from=cronjob/score", "--namespace", namespace)
    ended = await operator.until(
        "score", lambda found: found.rollout.phase is Phase.COMPLETE and found.rollout.message.count("ok") == 2
    )
    assert ended.stamp is not None
    assert (ended.stamp.verb, ended.stamp.by) == ("restart", "anna")
    ours, theirs = (cluster.api.get(JOBS, namespace, name) for name in (called, "theirs"))
    for found in (ours, theirs):
        assert holds(found, "Complete")
    assert _made_of(ours) == _made_of(theirs)
    writes, native = (
        "1 POST: a Job of the template, under a name of its own",
        "`kubectl create job RUN --from=cronjob/NAME`",
    )
    verb_table.record(Row("CronJob", "restart: a run now", writes, native, "a Job of the same spec, ended well"))


def _made_of(item: Json) -> Json:
    """What was asked for of a Job, less what is the server's own and our stamp."""
    meta, spec = item["metadata"], cast(Json, {**item["spec"], "selector": None})
    labels = {key for key in spec["template"]["metadata"]["labels"] if "uid" not in key and "job-name" not in key}
    owner = {key: value for key, value in meta["ownerReferences"][0].items() if key != "blockOwnerDeletion"}
    notes = {key for key in meta["annotations"] if not key.startswith("mlrelease.dev/")}
    return {
        "owner": owner,
        "notes": notes,
        "labels": labels,
        "containers": spec["template"]["spec"],
        "limit": spec["backoffLimit"],
    }


async def test_a_run_that_failed_is_said_and_the_version_before_comes_back(
    cluster: Cluster, namespace: str, operator: Operator
) -> None:
    cluster.kubectl.apply(schedule("1"), namespace=namespace)
    await ran(operator)
    await operator.until("score", lambda found: "ok" in found.rollout.message)
    cluster.kubectl.apply(schedule("2", fails=True), namespace=namespace)
    await operator.until("score", lambda found: found.rollout.to_version == "2")
    await ran(operator)
    failed = await operator.until("score", lambda found: found.rollout.phase is Phase.DEGRADED)
    assert "(BackoffLimitExceeded)" in failed.rollout.message
    assert failed.previous_version == "1", "the newest run that ended well with another version"
    after = await operator.do(
        "score", Verb.ROLLBACK, lambda driver, endpoint: driver.roll_back(endpoint, Artifact("1"))
    )
    assert after.rollout.to_version == "1"


async def test_promote_names_the_version_of_the_next_run(cluster: Cluster, namespace: str, operator: Operator) -> None:
    cluster.kubectl.apply(schedule("1"), namespace=namespace)
    after = await operator.do(
        "score", Verb.PROMOTE, lambda driver, endpoint: driver.start(endpoint, Artifact("2"), None)
    )
    assert (after.rollout.to_version, after.previous_version) == ("2", "1")
    template = cluster.api.get(CRON_JOBS, namespace, "score")["spec"]["jobTemplate"]["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == f"{IMAGE}:2"


async def test_hold_and_continue_suspend_a_schedule(cluster: Cluster, namespace: str, operator: Operator) -> None:
    cluster.kubectl.apply(schedule("1"), namespace=namespace)
    held = await operator.do("score", Verb.HOLD, lambda driver, endpoint: driver.hold(endpoint, NOBODY))
    assert held.rollout.hold is not None
    assert (held.rollout.phase, held.rollout.hold.by) == (Phase.HELD, "anna")
    assert cluster.api.get(CRON_JOBS, namespace, "score")["spec"]["suspend"] is True
    after = await operator.do("score", Verb.CONTINUE, lambda driver, endpoint: driver.resume(endpoint))
    assert (after.rollout.phase, after.rollout.hold) == (Phase.COMPLETE, None)


async def test_the_same_run_is_not_made_twice(cluster: Cluster, namespace: str, operator: Operator) -> None:
    cluster.kubectl.apply(schedule("1"), namespace=namespace)
    (write,) = await operator.plan("score", lambda driver, endpoint: driver.restart(endpoint))
    await operator.send(write, Verb.RESTART)
    with pytest.raises(Conflict, match="already exists"):
        await operator.connector.perform(
            write, Stamp("i", "restart", SafeText("ben"), SafeText("why"), datetime.now(UTC))
        )


async def test_a_run_of_another_version_than_was_shown_is_not_made(
    cluster: Cluster, namespace: str, operator: Operator
) -> None:
    cluster.kubectl.apply(schedule("1"), namespace=namespace)
    (write,) = await operator.plan("score", lambda driver, endpoint: driver.restart(endpoint))
    cluster.kubectl.apply(schedule("2"), namespace=namespace)
    with pytest.raises(Conflict, match=r"image is .*score:2.*not .*score:1"):
        await operator.connector.perform(
            write, Stamp("i", "restart", SafeText("ben"), SafeText("why"), datetime.now(UTC))
        )
    assert cluster.api.items(JOBS, namespace) == []


async def test_a_job_is_held_while_it_runs_and_nothing_else_can_be_done_to_it(
    cluster: Cluster, namespace: str, operator: Operator
) -> None:
    waits = job("1")
    waits["spec"]["template"]["metadata"]["annotations"] = {"mlrelease.test/runs-for": "60s"}
    cluster.kubectl.apply(waits, namespace=namespace)
    await operator.until("once", lambda found: "1 active" in found.rollout.message)
    held = await operator.do("once", Verb.HOLD, lambda driver, endpoint: driver.hold(endpoint, NOBODY))
    assert held.rollout.phase is Phase.HELD
    after = await operator.do("once", Verb.CONTINUE, lambda driver, endpoint: driver.resume(endpoint))
    assert after.rollout.phase is Phase.PROGRESSING
    assert "runs once" in after.support(Verb.ROLLBACK).reason
    cluster.kubectl.apply(job("2", "done"), namespace=namespace)
    await operator.until("done", lambda found: found.rollout.phase is Phase.COMPLETE)
    with pytest.raises(Refused, match="has ended"):
        await operator.plan("done", lambda driver, endpoint: driver.hold(endpoint, NOBODY))


async def test_the_runs_of_a_schedule_are_no_endpoints(cluster: Cluster, namespace: str, operator: Operator) -> None:
    cluster.kubectl.apply(schedule("1"), job("1"), namespace=namespace)
    await ran(operator)
    assert {str(found.ref.name): str(found.native.kind) for found in await operator.connector.endpoints()} == {
        "score": "CronJob",
        "once": "Job",
    }
