"""Where jobs stand: what a schedule runs next, what its last runs came to, and which version each of them ran."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import at, condition, count, name, table, text, when
from mlrelease_tui.connectors.kubernetes.pods import TEMPLATE, Identity, identity_of
from mlrelease_tui.domain.text import SafeText

SCHEDULED: Final = ("spec", "jobTemplate", "spec", "template")
"""Where a CronJob keeps its pod template."""
_SHOWN: Final = 3


@dataclass(frozen=True)
class Schedule:
    """A CronJob with the Jobs that it made, newest first."""

    item: Object
    runs: tuple[Object, ...]

    @cached_property
    def target(self) -> Identity:
        """What the next run will be."""
        return identity_of(table(self.item, *SCHEDULED), self.item)

    def version(self, run: Object) -> str:
        return identity_of(table(run, *TEMPLATE), self.item).version

    @property
    def suspended(self) -> bool:
        return at(self.item, "spec", "suspend") is True

    @property
    def active(self) -> tuple[Object, ...]:
        return tuple(run for run in self.runs if not ended(run))

    @property
    def last(self) -> Object | None:
        """The newest run that has ended."""
        return next((run for run in self.runs if ended(run)), None)

    @property
    def previous(self) -> str:
        """The version to return to: by our own notes, else that of the newest run that ended well with another one."""
        now = self.target.version
        noted = [version for version in marks.history_of(self.item) if version != now]
        ran = [self.version(run) for run in self.runs if ended(run) == "Complete"]
        return next(iter([*noted, *(version for version in ran if version != now)]), "")

    def told(self) -> str:
        """The last runs, newest first: "ok 11:05, failed 11:00 (BackoffLimitExceeded)"."""
        return ", ".join(told(run) for run in self.runs[:_SHOWN]) or "no run yet"


def schedule_of(item: Object, runs: Iterable[Object]) -> Schedule:
    return Schedule(item, tuple(sorted(runs, key=lambda run: (_began(run), name(run)), reverse=True)))


def ended(job: Object) -> str:
    """How a Job ended: "Complete", "Failed"; "" while it has not."""
    return next((kind for kind in ("Complete", "Failed") if condition(job, kind).get("status") == "True"), "")


def told(job: Object) -> str:
    """How a Job went, in words, with the minute in which it began (UTC)."""
    began = when(text(job, "status", "startTime")) or when(text(job, "metadata", "creationTimestamp"))
    at_ = f" {began:%H:%M}" if isinstance(began, datetime) else ""
    match ended(job):
        case "Complete":
            return f"ok{at_}"
        case "Failed":
            why = condition(job, "Failed")
            return f"failed{at_} ({SafeText(why.get('reason') or why.get('message') or 'no reason', limit=80)})"
    if condition(job, "Suspended").get("status") == "True":
        return f"suspended{at_}"
    return f"running{at_} ({count(job, 'status', 'active')} active, {count(job, 'status', 'failed')} failed pods)"


def _began(run: Object) -> str:
    return text(run, "metadata", "creationTimestamp")
