"""What serves as the JSON of `status`, `endpoint` and `connections`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from mlrelease_tui.cli.shapes import ENDPOINT, STATUS, Shape, known
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.metrics import Coverage, VariantMetrics
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Rollout, Stamp, Variant, VerbSupport
from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.domain.verdict import VerdictKind


def status_shape(
    endpoints: Iterable[EndpointStatus],
    connections: Iterable[ConnectionHealth],
    *,
    at: datetime,
    window_s: float | None,
    gone: Iterable[EndpointRef] = (),
) -> Shape:
    """`gone` are endpoints of which an earlier line of the same watch told, and that are there no more."""
    ids = [ref.id for ref in gone]
    return {
        "schema": STATUS,
        **known(at=at, window_s=window_s, gone=ids or None),
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
