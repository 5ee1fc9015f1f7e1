"""Making an object from another one: a run of a job from the template of its schedule. Sent once, under a name of its own."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlrelease_tui.connectors.api import Receipt
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.differences import changes_of, dry_run
from mlrelease_tui.connectors.kubernetes.objects import items, labels, name, namespace, notes, table, text, uid
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, broken_tests
from mlrelease_tui.connectors.kubernetes.reviewing import may
from mlrelease_tui.domain.expectation import EndpointExpectation
from mlrelease_tui.domain.plan import Check, CheckStatus, Write
from mlrelease_tui.domain.rollout import Stamp
from mlrelease_tui.domain.text import SafeText, escape_hidden
from mlrelease_tui.errors import BackendError, Conflict, NotFound, ReleaseError

MAKE: Final = "make"
_CONTAINERS: Final = ("spec", "template", "spec", "containers")
_BY_HAND: Final = "cronjob.kubernetes.io/instantiate"


@dataclass(frozen=True, slots=True)
class Run:
    """A Job named `called`, made of a CronJob's template as it is when it is sent; `tests` must hold of the CronJob then."""

    schedules: Resource
    jobs: Resource
    item: Object
    called: str
    tests: tuple[Op, ...]

    def payload(self) -> str:
        """Canonical JSON, as `Making` reads it."""
        found = {
            "from": [self.schedules.group, self.schedules.version, self.schedules.plural, self.schedules.kind],
            "make": [self.jobs.group, self.jobs.version, self.jobs.plural, self.jobs.kind],
            "namespace": namespace(self.item),
            "name": name(self.item),
            "called": self.called,
            "tests": list(self.tests),
        }
        return json.dumps(found, sort_keys=True, separators=(",", ":"))


def made(connection: str, context: str, run: Run, effect: Effect, assumes: EndpointExpectation) -> Write:
    """The write that makes the run."""
    place, source = namespace(run.item), name(run.item)
    words = ["kubectl", "--context", context, "-n", place, "create", "job", run.called, f"--from=cronjob/{source}"]
    return Write(
        connection=connection,
        operation=MAKE,
        target=f"Job {SafeText(place)}/{SafeText(run.called)}",
        call=f"POST jobs/{SafeText(run.called)} from the template of CronJob {SafeText(source)}",
        payload=run.payload(),
        before=escape_hidden(effect.before),
        after=escape_hidden(effect.after),
        precondition="no Job has this name, and the CronJob is as it was read",
        undo=escape_hidden(effect.undo),
        assumes=assumes,
        expects=effect.expects,
        shell=shlex.join(words),
        settle_s=effect.settle_s,
    )


class Making:
    """Carries out and rehearses the making of runs on one cluster."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        """Conflict: there is a Job of that name, or the CronJob is another one than was read."""
        payload = json.loads(write.payload)
        answer = await self._send(payload, stamp, dry_run=False)
        return Receipt(SafeText(f"made {name(answer)}"), text(answer, "metadata", "resourceVersion"))

    async def rehearse(self, write: Write) -> tuple[Check, ...]:
        payload = json.loads(write.payload)
        checks = [await may(self._api, "create", Resource(*payload["make"]), payload["namespace"])]
        try:
            answer = await self._send(payload, None, dry_run=True)
        except BackendError as unknown:
            checks.append(Check("dry run", CheckStatus.UNKNOWN, unknown.message))
        except ReleaseError as no:
            checks.append(Check("dry run", CheckStatus.FAIL, no.message))
        else:
            checks.append(dry_run(changes_of({}, _runs(answer), write.target, asked=["/spec"])))
        return tuple(checks)

    async def _send(self, payload: Mapping[str, Any], stamp: Stamp | None, *, dry_run: bool) -> Object:
        place, source = payload["namespace"], Resource(*payload["from"])
        called = f"{source.kind} {SafeText(place)}/{SafeText(payload['name'])}"
        try:
            item = await self._api.get(source.path(place, payload["name"]))
        except NotFound as gone:
            raise Conflict(f"{called} is gone", hint="nothing was written") from gone
        if broken := broken_tests(item, payload["tests"]):
            raise Conflict(
                f"{called} moved since the plan was made: {'; '.join(broken)}", hint="nothing was written; plan again"
            )
        body = _job(item, payload["called"], stamp)
        jobs = Resource(*payload["make"])
        return await self._api.write(
            "POST", jobs.path(place), body, asked=f"make Job {place}/{payload['called']}", dry_run=dry_run
        )


def _runs(job: Object) -> Object:
    """What a new Job runs: all else of it is its schedule's."""
    found = [{key: container.get(key) for key in ("name", "image")} for container in items(job, *_CONTAINERS)]
    return {"spec": {"template": {"spec": {"containers": found}}}}


def _job(item: Object, called: str, stamp: Stamp | None) -> dict[str, Any]:
    """The Job as `kubectl create job --from` makes it, with our stamp."""
    template = table(item, "spec", "jobTemplate")
    left = {_BY_HAND: "manual", **notes(template)}
    if stamp is not None:
        left[marks.STAMP] = marks.stamp_text(stamp)
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": name(item), "uid": uid(item), "controller": True}
    meta = {"name": called, "labels": dict(labels(template)), "annotations": left, "ownerReferences": [owner]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": table(template, "spec")}
