"""Plans, what became of them, what went wrong and what the audit kept, as JSON."""

from __future__ import annotations

from mlrelease_tui.cli.shapes import ERROR, OUTCOME, PLAN, Shape, known, plain
from mlrelease_tui.domain.action import AuditEntry, OpenAction
from mlrelease_tui.domain.plan import Check, Outcome, Plan, Refusal


def plan_shape(plan: Plan) -> Shape:
    return {
        "schema": PLAN,
        **known(
            plan_hash=plan.plan_hash,
            verb=plan.verb,
            target=plan.target.id,
            environment=plan.environment,
            direction=plan.direction,
            level=int(plan.level),
            level_name=plan.level.name.lower(),
            summary=plan.summary,
            undo=plan.undo,
            created_at=plan.created_at,
            expires_at=plan.expires_at,
        ),
        "steps": [
            known(
                connection=step.connection,
                operation=step.operation,
                target=step.target,
                write=step.call,
                before=step.before,
                after=step.after,
                precondition=step.precondition,
                undo=step.undo,
                shell=step.shell,
                mutates=step.mutates,
                best_effort=step.best_effort,
                settle_s=step.settle_s,
            )
            for step in plan.steps
        ],
        "checks": [_check_shape(item) for item in plan.checks],
        "warnings": list(plan.warnings),
        "read_from": [
            known(object=item.object_id, revision=item.revision, observed_at=item.observed_at)
            for item in plan.read_from
        ],
    }


def _check_shape(check: Check) -> Shape:
    changes = [
        known(object=change.target, field=change.path, before=change.before, after=change.after, asked=change.asked)
        for change in check.changes
    ]
    return {
        **known(name=check.name, status=check.status, text=check.text),
        **({"changes": changes} if changes else {}),
    }


def refused_plan_shape(verb: str, target: str, refusal: Refusal) -> Shape:
    return {
        "schema": PLAN,
        **known(verb=verb, target=target),
        "refusal": known(code=refusal.code, reason=refusal.reason, hint=refusal.hint),
    }


def outcome_shape(plan: Plan, outcome: Outcome, *, why: str) -> Shape:
    writes = dict(enumerate(plan.steps))
    return {
        "schema": OUTCOME,
        **known(
            intent_id=outcome.intent_id,
            plan_hash=outcome.plan_hash,
            outcome=outcome.kind,
            verb=plan.verb,
            target=plan.target.id,
            summary=plan.summary,
            why=why,
            message=outcome.message,
            by=outcome.by,
            duration_s=outcome.duration_s,
        ),
        "steps": [
            known(
                index=item.index,
                connection=writes[item.index].connection,
                write=writes[item.index].call,
                status=item.status,
                detail=item.detail,
                revision=item.revision,
                observed=list(item.observed) or None,
            )
            for item in outcome.steps
        ],
        "verified": list(outcome.verified),
    }


def open_action_shape(action: OpenAction) -> Shape:
    return known(
        intent_id=action.intent_id,
        target=action.target,
        verb=action.verb,
        actor=action.actor,
        at=action.at,
        alive=action.alive,
        pid=action.pid,
        summary=action.summary,
        settles_at=action.settles_at,
        seen=action.seen,
    )


def error_shape(code: str, message: str, hint: str, exit_code: int, *, plan: Plan | None = None) -> Shape:
    shape: Shape = {"schema": ERROR, "error": known(code=code, message=message, hint=hint), "exit_code": exit_code}
    if plan is not None:
        shape["plan"] = plan_shape(plan)
    return shape


def entry_shape(entry: AuditEntry, *, detail: bool = False) -> Shape:
    shape = known(
        id=entry.id,
        chain=entry.chain,
        seq=entry.seq,
        kind=entry.kind,
        at=entry.at,
        actor=entry.actor,
        verb=entry.verb,
        target=entry.target,
        summary=entry.summary,
        why=entry.why,
        result=entry.result,
        intent_id=entry.intent_id,
        plan_hash=entry.plan_hash,
        line_hash=entry.line_hash,
    )
    if detail:
        shape["detail"] = plain(entry.detail)
    return shape
