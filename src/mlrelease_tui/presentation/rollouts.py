"""Rollouts: how far each is, what holds it, and how its canary does against its stable variant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from mlrelease_tui.domain.action import AuditEntry
from mlrelease_tui.domain.metrics import VariantMetrics
from mlrelease_tui.domain.rollout import Phase, Rollout
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.presentation import glyphs as symbols
from mlrelease_tui.presentation import words
from mlrelease_tui.presentation.checks import check_lines
from mlrelease_tui.presentation.endpoint import History, verdict_lines
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, clip, line, wrapped
from mlrelease_tui.presentation.steps import known, steps
from mlrelease_tui.presentation.table import Column
from mlrelease_tui.presentation.times import age, clock

COLUMNS: Final = (
    Column("state", "ST", 6),
    Column("endpoint", "ENDPOINT", 12, flexible=True, most=40),
    Column("connection", "CONN", 8),
    Column("version", "VERSION", 9),
    Column("phase", "PHASE", 11),
    Column("step", "STEP", 5, right=True),
    Column("canary", "CANARY", 6, right=True),
    Column("started", "STARTED", 7, right=True),
    Column("by", "BY", 6),
)

PHASE_ROLES: Final = {
    Phase.PROGRESSING: Role.OK,
    Phase.HELD: Role.HOLD,
    Phase.WAITING: Role.WAIT,
    Phase.ABORTING: Role.WARN,
    Phase.DEGRADED: Role.CRIT,
    Phase.COMPLETE: Role.MUTED,
    Phase.UNKNOWN: Role.UNKNOWN,
}


def _phase_role(status: EndpointStatus) -> Role:
    """What goes well as far as was read is not green once it is not read."""
    return PHASE_ROLES[status.endpoint.rollout.phase] if status.stale_since is None else Role.STALE


def step(rollout: Rollout) -> str:
    """ "2/4": the step being taken, counted from one; "-" where there are no steps."""
    if rollout.step_index is None or not rollout.steps:
        return words.UNKNOWN
    return f"{min(rollout.step_index + 1, len(rollout.steps))}/{len(rollout.steps)}"


def cells(status: EndpointStatus, now: datetime, glyphs: Glyphs) -> dict[str, Span]:
    rollout = status.endpoint.rollout
    canary = status.endpoint.canary
    stamp = status.endpoint.stamp
    return {
        "state": symbols.state(status.severity, glyphs),
        "endpoint": Span(status.ref.name, Role.STRONG),
        "connection": Span(status.ref.connection),
        "version": Span(words.versions(status.endpoint, glyphs), Role.CANARY),
        "phase": Span(rollout.phase.value, _phase_role(status)),
        "step": Span(step(rollout)),
        "canary": known(words.weight(canary.weight_bp if canary else None), status),
        "started": Span(age(rollout.started_at, now)),
        "by": Span(str(stamp.by) if stamp else "", Role.TEXT),
    }


def detail(
    status: EndpointStatus, history: History, audit: Sequence[AuditEntry], now: datetime, glyphs: Glyphs, width: int
) -> list[Line]:
    """The selected rollout: steps, weight, gates, judge, events."""
    endpoint = status.endpoint
    rollout = endpoint.rollout
    stamp = endpoint.stamp
    head = line(
        " ",
        Span(rollout.strategy.value.replace("_", "-").upper(), Role.HEADING),
        f" {words.version(rollout.from_version)} {glyphs.arrow} ",
        Span(words.version(rollout.to_version), Role.CANARY),
        f"  step {step(rollout)}  ",
        Span(rollout.phase.value.upper(), _phase_role(status)),
        Span(f"  by {stamp.by} {clock(stamp.at, now) if stamp.at else ''}" if stamp else "", Role.MUTED),
    )
    rows = [head, *steps(status, glyphs, width)]
    hold = rollout.hold
    if hold is not None:
        rows += wrapped(f"held by {hold.by}: {hold.why}", width, Role.HOLD, indent=" ", limit=2)
    elif rollout.message:
        rows += wrapped(str(rollout.message), width, Role.WAIT, indent=" ", limit=2)
    rows += check_lines(rollout.gates, glyphs, width)
    rows += gates(status, history, glyphs, width)
    if status.verdict is not None:
        rows += verdict_lines(status.verdict, width)
    rows += events(status, audit, now, width)
    return [clip(item, width) for item in rows]


def gates(status: EndpointStatus, history: History, glyphs: Glyphs, width: int) -> list[Line]:
    """Stable against canary, a row a measure, with the guard and whether the canary keeps within it."""
    stable, canary = status.endpoint.stable, status.endpoint.canary
    if stable is None or canary is None:
        return []
    before, after = status.metrics.get(stable.name), status.metrics.get(canary.name)
    spark = max(min((width - 50) // 2, 30), 6)
    guard = status.guard
    rows: list[Line] = [
        line(
            Span(f" {'':<7}{f'STABLE {words.version(stable.version)}':<{spark + 8}}", Role.STABLE),
            Span(f"{f'CANARY {words.version(canary.version)}':<{spark + 8}}", Role.CANARY),
            Span(f"{'GUARD':<9}RESULT", Role.HEADING),
        )
    ]
    measures = (
        ("ERR%", "error_ratio", words.errors, guard.error_ratio),
        ("P99ms", "p99_s", words.milliseconds, guard.p99_s),
        ("REQ/S", "rate", words.rate, None),
    )
    for name, attribute, word, limit in measures:
        left, right = _value(before, attribute), _value(after, attribute)
        series = [[_value(item, attribute) for item in history.get(v.name, ())] for v in (stable, canary)]
        top = max((value for values in series for value in values if value is not None), default=0.0) or None
        # What a canary did when it was read last is no verdict of now.
        old = status.stale_since is not None and right is not None and limit is not None
        result = Span("~ not read", Role.STALE) if old else _result(right, limit, glyphs)
        seen = _number(word(right), status)
        rows.append(
            line(
                Span(f" {name:<7}", Role.MUTED),
                _number(word(left), status),
                Span(symbols.sparkline(series[0], spark, glyphs, top=top) + " ", Role.STABLE),
                Span(seen.text, Role.CRIT) if result.role is Role.CRIT else seen,
                Span(symbols.sparkline(series[1], spark, glyphs, top=top) + " ", Role.CANARY),
                Span(f"{'<= ' + word(limit) if limit is not None else '-':<9}", Role.MUTED),
                result,
            )
        )
    rows.append(
        line(
            Span(" ready  ", Role.MUTED),
            *(known(words.replicas(item.ready, item.desired), status, spark + 8) for item in (stable, canary)),
        )
    )
    return rows


def _number(text: str, status: EndpointStatus) -> Span:
    seen = known(text, status, 6)
    return Span(f"{seen.text} ", seen.role)


def _value(metrics: VariantMetrics | None, attribute: str) -> float | None:
    found = getattr(metrics, attribute, None)
    return float(found) if found is not None else None


def _result(value: float | None, limit: float | None, glyphs: Glyphs) -> Span:
    if limit is None:
        return Span("-", Role.MUTED)
    if value is None:
        return Span(f"{glyphs.states[Severity.UNKNOWN]} no data", Role.UNKNOWN)
    if value > limit:
        return Span(f"{glyphs.states[Severity.CRIT]} FAIL", Role.CRIT)
    return Span(f"{glyphs.states[Severity.OK]} within", Role.OK)


def events(status: EndpointStatus, audit: Sequence[AuditEntry], now: datetime, width: int) -> list[Line]:
    """What the audit says of this endpoint, newest first."""
    mine = [item for item in reversed(audit) if str(item.target) in {status.ref.id, status.ref.name}][:4]
    if not mine:
        return [EMPTY, line(Span(" EVENTS none in this audit", Role.MUTED))]
    rows: list[Line] = [EMPTY, line(Span(" EVENTS", Role.HEADING))]
    for item in mine:
        rows.append(
            clip(
                line(
                    Span(f" {clock(item.at, now)} ", Role.MUTED),
                    f"{item.verb} {item.summary} ",
                    Span(f"{item.result} ", Role.OK if item.result == "applied" else Role.TEXT),
                    Span(f"({item.actor}) {item.why}", Role.MUTED),
                ),
                width,
            )
        )
    return rows
