"""Actions that began and that nobody has seen end: what a crash, a lost connection or a hung backend leaves behind.

An intent is closed by an `outcome` or `reconciled` record that knows how it ended, or by `acknowledged`. `result.status`
`unknown` (an outcome) and `indeterminate` (a reconciliation) leave it open: somebody must still look.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mlrelease_tui.audit.identity import Life, Process, life
from mlrelease_tui.audit.log import AuditLog
from mlrelease_tui.audit.record import AuditRecord

CLOSING: Final = frozenset({"outcome", "reconciled", "acknowledged"})
STILL_OPEN: Final = frozenset({"unknown", "indeterminate"})
ANSWERED: Final = frozenset({"verified", "rejected", "failed"})
"""What a `step` record says of a write of which the backend has told, or a read has shown, what became of it."""


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """An intent without an end. `followed_by` holds what was recorded about it since, in order.

    `overtaken_by` is the outcome, or what was found out later, of the latest intent on the same target that began after it and was
    applied.
    """

    intent: AuditRecord
    life: Life
    followed_by: tuple[AuditRecord, ...] = ()
    overtaken_by: AuditRecord | None = None

    @property
    def intent_id(self) -> str:
        return self.intent.intent_id

    @property
    def alive(self) -> bool:
        """Whether the process that wrote it may still be at work on it. Only a process known to be dead isn't."""
        return self.life != "dead"

    @property
    def sent(self) -> tuple[AuditRecord, ...]:
        """One record for each write that left; `action.step` says which."""
        return tuple(record for record in self.followed_by if record.kind == "sent")

    @property
    def unanswered(self) -> AuditRecord | None:
        """The `sent` record of a write of which nobody knows whether it arrived, None where none is on its way."""
        sent = self.sent[-1] if self.sent else None
        if sent is None:
            return None
        return None if self.answer(sent.section("action").get("step")) in ANSWERED else sent

    def answer(self, step: object) -> str:
        """What the latest `step` record says of the write `step`; "" where there is none."""
        answers = [
            str(record.section("result").get("status"))
            for record in self.followed_by
            if record.kind == "step" and record.section("action").get("step") == step
        ]
        return answers[-1] if answers else ""

    @property
    def last_ending(self) -> AuditRecord | None:
        """The latest outcome or reconciliation that could not say how it ended; None where there is none."""
        return next((record for record in reversed(self.followed_by) if record.kind in CLOSING), None)


@dataclass(slots=True)
class _Course:
    intent: AuditRecord
    number: int
    followed_by: list[AuditRecord] = field(default_factory=list)
    overtaken_by: AuditRecord | None = None


def open_intents(log: AuditLog, *, proc: Path = Path("/proc")) -> tuple[OpenIntent, ...]:
    """The open intents of this user on this host, oldest first. Reads the whole chain."""
    return find_open(log.read(), proc=proc)


def find_open(records: Iterable[AuditRecord], *, proc: Path = Path("/proc")) -> tuple[OpenIntent, ...]:
    """The same over any records of one host, oldest first."""
    courses: dict[str, _Course] = {}
    numbers: dict[str, int] = {}
    for record in records:
        intent_id = record.intent_id
        if record.kind == "intent":
            numbers[intent_id] = len(numbers)
            courses[intent_id] = _Course(record, numbers[intent_id])
            continue
        status = record.section("result").get("status")
        if intent_id in courses:
            if _closes(record.kind, status):
                del courses[intent_id]
            else:
                courses[intent_id].followed_by.append(record)
        if record.kind in {"outcome", "reconciled"} and status == "applied":
            _overtake(courses.values(), record, numbers.get(intent_id, -1))
    return tuple(
        OpenIntent(
            course.intent,
            life(process_of(course.intent), proc=proc),
            tuple(course.followed_by),
            course.overtaken_by,
        )
        for course in courses.values()
    )


def _closes(kind: str, status: object) -> bool:
    """Whether a record of this kind and status ends its intent. A status that nobody writes says nothing of an end."""
    if kind == "acknowledged":
        return True
    return kind in CLOSING and isinstance(status, str) and status not in STILL_OPEN


def _overtake(courses: Iterable[_Course], outcome: AuditRecord, number: int) -> None:
    target = outcome.section("target").get("id")
    for course in courses:
        if target and course.number < number and course.intent.section("target").get("id") == target:
            course.overtaken_by = outcome


def process_of(record: AuditRecord) -> Process:
    """The process that wrote a record; empty fields where the record doesn't say."""
    section = record.section("process")
    pid = section.get("pid")
    return Process(
        pid=pid if isinstance(pid, int) else 0,
        starttime=str(section.get("starttime", "")),
        boot_id=str(section.get("boot_id", "")),
        pid_ns=str(section.get("pid_ns", "")),
    )
