"""The audit in the words of an action: intent, sent, step, outcome, reconciled, denied. Appends block; call from a thread."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from mlrelease_tui.audit.intents import OpenIntent, open_intents
from mlrelease_tui.audit.log import AuditLog
from mlrelease_tui.audit.record import AuditRecord
from mlrelease_tui.domain.action import AuditEntry, OpenAction
from mlrelease_tui.domain.expectation import Expectation, from_data, to_data
from mlrelease_tui.domain.intents import Intent, MoveAlias, PromoteVersion, RollBack
from mlrelease_tui.domain.plan import Direction, Outcome, Plan, Refusal, StepResult, Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import NotDurable

_VERSION_INTENTS: Final = (PromoteVersion, RollBack, MoveAlias)


class Journal:
    """Writes an action's life into the audit and reads it back. Every method may raise NotDurable."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._begun: set[str] = set()

    @property
    def operator(self) -> str:
        """Who acts: the login name, or the uid where there is no name."""
        actor = self._log.identity.actor
        return actor.name or f"uid {actor.uid}"

    def prepare(self) -> None:
        """Open the log and mend it where it is torn; NotDurable says why nothing may be written."""
        self._log.prepare()

    def new_intent_id(self) -> str:
        return self._log.new_id()

    def intent(
        self, intent_id: str, plan: Plan, *, why: str, typed: str, known_as: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """The wish and the exact writes, durable before anything leaves. A full disk does not stop a way back to safety.

        `known_as` is what each backend calls us, by connection; what is not known is absent.
        """
        body: dict[str, Any] = {
            **_subject(plan),
            "action": {
                **_action(plan, intent_id),
                "steps": [_step(step) for step in plan.steps],
                "checks": [asdict(check) for check in plan.checks],
                "warnings": list(plan.warnings),
                "undo": plan.undo,
                "read_from": [{"object": item.object_id, "revision": item.revision} for item in plan.read_from],
            },
            "why": {"reason": why},
            "confirm": {"level": int(plan.level), "typed": bool(typed)},
        }
        if known_as:
            body["actor"] = {"known_as": dict(known_as)}
        self._begun.add(intent_id)
        self._log.append("intent", body, use_reserve=plan.direction is Direction.SAFE, record_id=intent_id)

    def began(self, intent_id: str) -> bool:
        """Whether this journal, not another session of the same user, wrote that intent."""
        return intent_id in self._begun

    def sent(self, intent_id: str, plan: Plan, index: int) -> None:
        """The write `index` is about to leave."""
        step = plan.steps[index]
        self._log.append(
            "sent",
            {**_subject(plan), "action": {**_action(plan, intent_id), "step": index, "call": step.call}},
            use_reserve=True,
        )

    def step(self, intent_id: str, plan: Plan, result: StepResult) -> None:
        """What became of one write."""
        body = {
            **_subject(plan),
            "action": {**_action(plan, intent_id), "step": result.index},
            "result": {
                "status": str(result.status),
                "detail": str(result.detail),
                "revision": result.revision,
                "observed": list(result.observed),
            },
        }
        self._log.append("step", body, use_reserve=True)

    def outcome(self, plan: Plan, outcome: Outcome, *, why: str) -> None:
        body = {
            **_subject(plan),
            "action": _action(plan, outcome.intent_id),
            "why": {"reason": why},
            "result": {
                "status": str(outcome.kind),
                "message": outcome.message,
                "verified": list(outcome.verified),
                "by": outcome.by,
                "duration_ms": round(outcome.duration_s * 1000),
                "steps": [{"index": step.index, "status": str(step.status)} for step in outcome.steps],
            },
        }
        self._log.append("outcome", body, use_reserve=True)

    def reconciled(self, intent: OpenIntent, status: str, message: str) -> None:
        """What a read showed of an intent that was left open."""
        body = {
            "target": dict(intent.intent.section("target")),
            "action": {
                "intent_id": intent.intent_id,
                "verb": _text(intent.intent, "action", "verb"),
                "summary": _text(intent.intent, "action", "summary"),
            },
            "result": {"status": status, "message": message},
        }
        if model := intent.intent.section("model"):
            body["model"] = dict(model)
        self._log.append("reconciled", body, use_reserve=True)

    def denied(self, plan: Plan, refusal: Refusal, *, why: str) -> None:
        """A confirmed plan that was not begun."""
        body = {
            **_subject(plan),
            "action": _action(plan, ""),
            "why": {"reason": why},
            "result": {"status": "denied", "code": refusal.code, "message": refusal.reason},
        }
        self._log.append("denied", body)

    def detached(self, intent_id: str, plan: Plan) -> None:
        """The operator stopped waiting for what was sent already."""
        action = {"verb": "operator_detached", "summary": f"nobody waits for {plan.summary}", "intent_id": intent_id}
        self._log.append("session", {**_subject(plan), "action": action}, use_reserve=True)

    def session(self, event: str, detail: str) -> None:
        """What the operator did to this session itself: writes armed, a demo started."""
        self._log.append("session", {"action": {"verb": event, "summary": detail}}, use_reserve=True)

    def entries(
        self, *, limit: int = 200, since: datetime | None = None, endpoint: str | None = None
    ) -> tuple[AuditEntry, ...]:
        """The newest records, oldest first."""
        found = self._log.records(limit=limit, since=since, endpoint=endpoint)
        return tuple(entry_of(record) for record in reversed(found))

    def open_intents(self) -> tuple[OpenIntent, ...]:
        try:
            return open_intents(self._log)
        except OSError as error:
            raise _unreadable(error, self._log) from error

    def seq_of(self, intent_id: str) -> int | None:
        """Where in this chain the intent stands; None where it was not begun by this user on this host."""
        try:
            found = self._log.records(limit=1, kind="intent", intent_id=intent_id)
        except OSError as error:
            raise _unreadable(error, self._log) from error
        return found[0].seq if found else None

    def age_s(self, record: AuditRecord, monotonic_s: float) -> float | None:
        """How long ago a record was written, in seconds, by the clock that never steps and says `monotonic_s` now; None where the
        record is of another boot, or does not say."""
        time = record.section("time")
        then = time.get("monotonic_ns")
        if time.get("boot_id") != self._log.identity.process.boot_id or not time.get("boot_id"):
            return None
        if not isinstance(then, str) or not then.isdecimal():
            return None
        age_s = monotonic_s - int(then) / 1e9
        return age_s if age_s >= 0 else None


def _unreadable(error: OSError, log: AuditLog) -> NotDurable:
    return NotDurable(
        f"the audit under {log.directory} can't be read: {error.strerror or error}",
        hint="what is open in it must be known before anything is sent",
    )


def open_action(intent: OpenIntent) -> OpenAction:
    """The domain's view of an open intent."""
    record = intent.intent
    process = record.section("process")
    pid = process.get("pid")
    return OpenAction(
        intent_id=intent.intent_id,
        target=SafeText(_text(record, "target", "id")),
        verb=_text(record, "action", "verb"),
        actor=SafeText(_text(record, "actor", "name")),
        at=record.at,
        alive=intent.alive and intent.last_ending is None,
        pid=pid if isinstance(pid, int) else 0,
        sent_steps=tuple(step for item in intent.sent if isinstance(step := item.section("action").get("step"), int)),
        host=_text(record, "where", "host"),
        summary=SafeText(_text(record, "action", "summary")),
    )


def steps_of(intent: OpenIntent) -> tuple[tuple[Expectation, Expectation], ...]:
    """What each recorded write assumed and expected; empty where the record can't be read."""
    steps = intent.intent.section("action").get("steps")
    if not isinstance(steps, list):
        return ()
    try:
        return tuple(
            (from_data(_object(step["assumes"])), from_data(_object(step["expects"]))) for step in map(_object, steps)
        )
    except (KeyError, ValueError, TypeError, OverflowError):
        return ()


def revision_of(intent: OpenIntent, object_id: str) -> str | None:
    """The revision of an object from which the intent was planned; None where the record does not say."""
    read_from = intent.intent.section("action").get("read_from")
    for item in read_from if isinstance(read_from, list) else ():
        if isinstance(item, dict) and item.get("object") == object_id:
            revision = item.get("revision")
            return revision if isinstance(revision, str) and revision else None
    return None


def best_effort_of(intent: OpenIntent, step: object) -> bool:
    """Whether the recorded write `step` goes to a backend without compare-and-set; True where the record can't be read."""
    steps = intent.intent.section("action").get("steps")
    if not isinstance(steps, list) or not isinstance(step, int) or not 0 <= step < len(steps):
        return True
    write = steps[step]
    return not isinstance(write, Mapping) or write.get("best_effort") is not False


def entry_of(record: AuditRecord) -> AuditEntry:
    """One record as screens and commands show it."""
    result = record.section("result")
    summary = _text(record, "action", "summary") or _text(record, "result", "message")
    log = record.section("log")
    return AuditEntry(
        id=record.id,
        chain=record.chain,
        seq=record.seq,
        kind=record.kind,
        at=record.at,
        actor=SafeText(_text(record, "actor", "name")),
        verb=_text(record, "action", "verb"),
        target=SafeText(_text(record, "target", "id")),
        summary=SafeText(summary or (json.dumps(log, sort_keys=True) if log else "")),
        why=SafeText(_text(record, "why", "reason")),
        result=str(result.get("status", "")),
        intent_id=record.intent_id,
        plan_hash=_text(record, "action", "plan_hash"),
        line_hash=record.sha256,
        detail=record.fields,
    )


def _subject(plan: Plan) -> dict[str, Any]:
    target = plan.target
    body: dict[str, Any] = {
        "target": {
            "id": target.id,
            "connection": target.connection,
            "name": raw(target.name),
            "environment": plan.environment,
        }
    }
    if isinstance(target, EndpointRef):
        body["target"] |= {"endpoint": target.id, "namespace": target.namespace}
    version = _version(plan.intent)
    if version:
        body["model"] = {"version": version}
    return body


def _version(intent: Intent) -> str:
    return intent.version if isinstance(intent, _VERSION_INTENTS) else ""


def _action(plan: Plan, intent_id: str) -> dict[str, Any]:
    action = {
        "verb": str(plan.verb),
        "summary": plan.summary,
        "plan_hash": plan.plan_hash,
        "direction": str(plan.direction),
    }
    return action | {"intent_id": intent_id} if intent_id else action


def _step(step: Write) -> dict[str, Any]:
    return {
        "connection": step.connection,
        "operation": step.operation,
        "target": step.target,
        "call": step.call,
        "payload": step.payload,
        "before": step.before,
        "after": step.after,
        "precondition": step.precondition,
        "undo": step.undo,
        "mutates": step.mutates,
        "best_effort": step.best_effort,
        "assumes": to_data(step.assumes),
        "expects": to_data(step.expects),
    }


def _text(record: AuditRecord, section: str, key: str) -> str:
    value = record.section(section).get(key)
    return value if isinstance(value, str) else ""


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError("not an object")
    return value
