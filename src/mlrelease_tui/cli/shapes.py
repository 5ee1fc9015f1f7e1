"""Domain values as the JSON that commands print; `schemas/` describes each shape. What is not known is absent.

Times are RFC 3339 in UTC, durations seconds, weights basis points, shares and ratios 0-1. Shapes only grow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum

from mlrelease_tui.domain.action import AuditEntry, OpenAction
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.metrics import Coverage, VariantMetrics
from mlrelease_tui.domain.models import Lineage, Model, ModelVersion
from mlrelease_tui.domain.plan import Check, Outcome, Plan, Refusal
from mlrelease_tui.domain.rollout import Endpoint, Rollout, Stamp, Variant, VerbSupport
from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.domain.verdict import VerdictKind

Shape = dict[str, object]

STATUS = "mlrelease.status/v1"
ENDPOINT = "mlrelease.endpoint/v1"
MODELS = "mlrelease.models/v1"
VERSIONS = "mlrelease.versions/v1"
PLAN = "mlrelease.plan/v1"
OUTCOME = "mlrelease.outcome/v1"
ERROR = "mlrelease.error/v1"
AUDIT_LIST = "mlrelease.audit-list/v1"
AUDIT_VERIFY = "mlrelease.audit-verify/v1"
CONNECTIONS = "mlrelease.connections/v1"
DOCTOR = "mlrelease.doctor/v1"
INIT = "mlrelease.init/v1"


def known(**fields: object) -> Shape:
    """The fields whose value is known: None, "" and numbers that are none are left out."""
    return {name: plain(value) for name, value in fields.items() if _is_known(value)}


def _is_known(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is not None and value != ""


def plain(value: object) -> object:  # noqa: PLR0911 - one branch a type
    """`value` as JSON has it. A safe text gives its shown form."""
    match value:
        case Enum():
            return plain(value.value)
        case datetime():
            return rfc3339(value)
        case float():
            return round(value, 6) if math.isfinite(value) else str(value)
        case None | bool() | int():
            return value
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return str(value)


def rfc3339(at: datetime) -> str:
    """2026-03-01T09:30:00.123Z"""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


# --- what serves ------------------------------------------------------------------------------------------------------


def status_shape(
    endpoints: Iterable[EndpointStatus],
    connections: Iterable[ConnectionHealth],
    *,
    at: datetime,
    window_s: float | None,
) -> Shape:
    return {
        "schema": STATUS,
        **known(at=at, window_s=window_s),
        "endpoints": [endpoint_shape(status) for status in endpoints],
        "connections": [connection_shape(health) for health in connections],
    }


def endpoint_shape(status: EndpointStatus) -> Shape:
    """One row of `status`: the fields that product.md names, and why it is as bad as it is."""
    endpoint = status.endpoint
    verdict = status.verdict
    return {
        **known(
            id=endpoint.ref.id,
            environment=endpoint.environment,
            model=model_of(status),
            severity=status.severity,
            phase=endpoint.rollout.phase,
            verdict=verdict_word(status),
            verdict_reason=verdict.reason if verdict else None,
            verdict_n=verdict.n if verdict else None,
            verdict_needed=verdict.needed if verdict else None,
            alias=status.alias,
            alias_version=status.alias_version,
            mismatch=status.mismatch,
            known_good=status.known_good,
            observed_at=endpoint.observed_at,
            stale=status.stale_since is not None,
            stale_since=status.stale_since,
        ),
        "native": known(kind=endpoint.native.kind, phase=endpoint.native.phase),
        "variants": [variant_shape(item, status.metrics.get(item.name)) for item in endpoint.variants],
        "reasons": [known(severity=item.severity, text=item.text, variant=item.variant) for item in status.reasons],
    }


def verdict_word(status: EndpointStatus) -> str | None:
    """The judge's word. A rollout in flight that was not judged yet has not enough data; one at rest has no verdict."""
    if status.verdict is not None:
        return str(status.verdict.kind)
    in_flight = status.endpoint.rollout.in_flight and status.endpoint.canary is not None
    return str(VerdictKind.NOT_ENOUGH_DATA) if in_flight else None


def model_of(status: EndpointStatus) -> str:
    if status.endpoint.model is not None:
        return status.endpoint.model.id
    return status.model.ref.id if status.model is not None else ""


def variant_shape(variant: Variant, metrics: VariantMetrics | None) -> Shape:
    counts = metrics or VariantMetrics(variant.name, Coverage.NO_TARGET)
    return known(
        name=variant.name,
        role=variant.role,
        version=variant.version,
        digest=variant.digest,
        weight_bp=variant.weight_bp,
        observed_share=counts.observed_share,
        rate=counts.rate,
        requests=counts.requests,
        error_ratio=counts.error_ratio,
        p50_s=counts.p50_s,
        p95_s=counts.p95_s,
        p99_s=counts.p99_s,
        in_flight=counts.in_flight,
        window_s=counts.window_s if counts.rate is not None else None,
        coverage=None if metrics is None else metrics.coverage,
        ready=variant.ready,
        desired=variant.desired,
        message=variant.message,
    )


def detail_shape(status: EndpointStatus, connections: Iterable[ConnectionHealth], *, at: datetime) -> Shape:
    """`endpoint`: the row of `status` and everything below it."""
    endpoint = status.endpoint
    guard = status.guard
    row = endpoint_shape(status)
    row |= known(
        uid=endpoint.uid,
        revision=endpoint.revision,
        url=endpoint.url,
        owner=endpoint.owner,
        previous_version=endpoint.previous_version,
        model_source=endpoint.model_source,
        compare_and_set=endpoint.cas,
    )
    row["guard"] = known(
        error_ratio=guard.error_ratio,
        p50_s=guard.p50_s,
        p95_s=guard.p95_s,
        p99_s=guard.p99_s,
        min_requests=guard.min_requests,
    )
    row["rollout"] = rollout_shape(endpoint)
    row["verbs"] = [_verb_shape(support) for support in endpoint.verbs]
    if endpoint.stamp is not None:
        row["last_write"] = _stamp_shape(endpoint.stamp)
    return {
        "schema": ENDPOINT,
        **known(at=at),
        "endpoint": row,
        "connections": [connection_shape(health) for health in connections],
    }


def rollout_shape(endpoint: Endpoint) -> Shape:
    rollout: Rollout = endpoint.rollout
    shape = known(
        strategy=rollout.strategy,
        phase=rollout.phase,
        from_version=rollout.from_version,
        to_version=rollout.to_version,
        in_flight=rollout.in_flight,
        step_index=rollout.step_index,
        started_at=rollout.started_at,
        message=rollout.message,
    )
    shape["steps"] = [known(index=step.index, weight_bp=step.weight_bp, label=step.label) for step in rollout.steps]
    if rollout.gates:
        shape["gates"] = [
            known(
                name=gate.name,
                result=gate.result,
                measured=gate.measured,
                message=gate.message,
                run=gate.run,
                step=gate.step,
            )
            for gate in rollout.gates
        ]
    if rollout.hold is not None:
        hold = rollout.hold
        shape["hold"] = known(by=hold.by, why=hold.why, at=hold.at, intent_id=hold.intent_id)
    return shape


def _verb_shape(support: VerbSupport) -> Shape:
    return known(
        verb=support.verb,
        available=support.available,
        native=support.native,
        reason=None if support.available else support.reason,
    )


def _stamp_shape(stamp: Stamp) -> Shape:
    return known(intent_id=stamp.intent_id, verb=stamp.verb, by=stamp.by, why=stamp.why, at=stamp.at)


def connection_shape(health: ConnectionHealth) -> Shape:
    shape = known(
        name=health.name,
        kind=health.kind,
        state=None if health.state is LinkState.UNKNOWN else health.state,
        environment=health.environment,
        error=health.error,
        error_code=health.error_code,
        hint=health.hint,
        latency_s=health.latency_s,
        identity=health.identity,
        server=health.server,
        address=health.address,
        observed_at=health.observed_at,
    )
    if health.capabilities:
        shape["capabilities"] = list(health.capabilities)
    if health.warnings:
        shape["warnings"] = [str(warning) for warning in health.warnings]
    return shape


# --- registries -------------------------------------------------------------------------------------------------------


def model_shape(model: Model) -> Shape:
    return known(
        id=model.ref.id,
        connection=model.ref.connection,
        name=model.ref.name,
        aliases=dict(model.aliases),
        latest_version=model.latest_version,
        version_count=model.version_count,
        description=model.description,
        tags=dict(model.tags) or None,
        updated_at=model.updated_at,
        observed_at=model.observed_at,
    )


def version_shape(version: ModelVersion) -> Shape:
    shape = known(
        version=version.ref.version,
        readiness=version.readiness,
        readiness_message=version.readiness_message,
        source=version.source,
        digest=version.digest,
        run_id=version.run_id,
        description=version.description,
        tags=dict(version.tags) or None,
        created_at=version.created_at,
        created_by=version.created_by,
        observed_at=version.observed_at,
    )
    shape["aliases"] = list(version.aliases)
    if version.lineage is not None:
        shape["lineage"] = lineage_shape(version.lineage)
    return shape


def lineage_shape(lineage: Lineage) -> Shape:
    shape = known(
        run_id=lineage.run_id,
        run_name=lineage.run_name,
        params=dict(lineage.params),
        metrics=dict(lineage.metrics),
        signature_inputs=lineage.signature_inputs,
        signature_outputs=lineage.signature_outputs,
        user=lineage.user,
        started_at=lineage.started_at,
    )
    shape["datasets"] = [known(name=item.name, digest=item.digest, context=item.context) for item in lineage.datasets]
    return shape


# --- actions ----------------------------------------------------------------------------------------------------------


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
