"""Domain values as lines for people: tables, plans, outcomes. What is not known is "-", never 0."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from mlrelease_tui.cli.output import Cell, table
from mlrelease_tui.cli.serving_shapes import model_of, verdict_word
from mlrelease_tui.domain.action import AuditEntry
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.metrics import Coverage
from mlrelease_tui.domain.models import Model, ModelVersion
from mlrelease_tui.domain.plan import Level, Outcome, OutcomeKind, Plan, StepStatus
from mlrelease_tui.domain.rollout import Variant, VerbSupport
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.presentation import glyphs as symbols
from mlrelease_tui.presentation import words
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import Line, Role, Span, line
from mlrelease_tui.presentation.times import age, moment

_RIGHT: Final = frozenset({4, 5, 6})
_GOOD_LINKS: Final = frozenset({LinkState.OK, LinkState.SLOW})


# --- the fleet --------------------------------------------------------------------------------------------------------


def fleet(statuses: Sequence[EndpointStatus], glyphs: Glyphs) -> Iterator[Line]:
    """One row an endpoint, worst first, and below the table why each is not green."""
    header = ("STATE", "ENDPOINT", "VERSION", "CANARY", "ERR%", "P99ms", "REQ/s", "VERDICT", "ALIAS")
    yield from table(header, [_row(status, glyphs) for status in statuses], right=_RIGHT)
    for status in statuses:
        for reason in status.reasons:
            mark = Span(f"  {glyphs.states[reason.severity]} ", symbols.ROLES[reason.severity])
            yield line(mark, Span(f"{status.ref.id}: ", Role.MUTED), reason.text)


def _row(status: EndpointStatus, glyphs: Glyphs) -> list[Cell]:
    canary = status.endpoint.canary
    worst, slow, rate = words.users_feel(status)
    share = "-"
    if canary is not None:
        share = words.weight(canary.weight_bp)
        metrics = status.metrics.get(canary.name)
        if metrics is not None and metrics.observed_share is not None:
            share += f" ({words.share(metrics.observed_share)} seen)"
    alias = f"{status.alias}={status.alias_version or '-'}" if status.alias else "-"
    verdict = verdict_word(status)
    return [
        symbols.state(status.severity, glyphs),
        status.ref.id,
        words.versions(status.endpoint, glyphs),
        share,
        words.errors(worst),
        words.milliseconds(slow),
        words.rate(rate),
        verdict.replace("_", " ") if verdict else "-",
        alias,
    ]


def sentence(status: EndpointStatus) -> str:
    """One endpoint as a sentence: for a screen reader, and for logs."""
    stable, canary = status.endpoint.stable, status.endpoint.canary
    parts = [f"{symbols.WORDS[status.severity]} {status.ref.id}: serves {_named(stable)}"]
    if canary is not None:
        parts.append(f"canary {_named(canary)} at {words.weight(canary.weight_bp)}")
    worst, slow, rate = words.users_feel(status)
    parts.append("errors not measured" if worst is None else f"errors {words.errors(worst)}%")
    if slow is not None:
        parts.append(f"p99 {words.milliseconds(slow)} ms")
    if rate is not None:
        parts.append(f"{words.rate(rate)} requests per second")
    if (verdict := verdict_word(status)) is not None:
        parts.append(f"verdict {verdict.replace('_', ' ')}")
    said = ". ".join(reason.text for reason in status.reasons)
    return ", ".join(parts) + (f". {said}." if said else ".")


def _named(variant: Variant | None) -> str:
    return words.version(variant.version) if variant is not None else "nothing known"


def troubled_links(connections: Iterable[ConnectionHealth], glyphs: Glyphs) -> Iterator[Line]:
    """A line for each connection that does not answer as it should."""
    for health in connections:
        if health.state in _GOOD_LINKS:
            continue
        said = str(health.error) or "was not asked"
        role = symbols.LINK_ROLES[health.state]
        yield line(Span(f"  {health.state.upper()} ", role), Span(f"{health.name} ", Role.STRONG), said)
        if health.hint:
            yield line(Span(f"       {health.hint}", Role.MUTED))


# --- one endpoint -----------------------------------------------------------------------------------------------------


def detail(status: EndpointStatus, glyphs: Glyphs, now: datetime) -> Iterator[Line]:
    endpoint, rollout = status.endpoint, status.endpoint.rollout
    yield line(symbols.state(status.severity, glyphs), " ", Span(endpoint.ref.id, Role.STRONG))
    for reason in status.reasons:
        yield line(Span(f"  {glyphs.states[reason.severity]} ", symbols.ROLES[reason.severity]), reason.text)
    alias = f"{status.alias} points at {status.alias_version or 'nothing known'}" if status.alias else "-"
    stamp = endpoint.stamp
    native = f"{endpoint.native.kind} {endpoint.native.phase}".strip()
    facts = (
        ("environment", endpoint.environment or "-"),
        ("model", model_of(status) or "-"),
        ("alias", alias),
        ("rollout", f"{words.versions(endpoint, glyphs)} {rollout.strategy} {rollout.phase}, native {native}"),
        ("known good", words.version(status.known_good)),
        ("verdict", _verdict(status)),
        ("held", f"by {rollout.hold.by}: {rollout.hold.why}" if rollout.hold else "no"),
        ("last write", f"{stamp.verb} by {stamp.by} {age(stamp.at, now)} ago: {stamp.why}" if stamp else "-"),
        ("read", moment(endpoint.observed_at)),
    )
    for name, value in facts:
        yield line(Span(f"  {name:<12}", Role.MUTED), value)
    yield from table(
        ("  ROLE", "VERSION", "WEIGHT", "SEEN", "ERR%", "P50ms", "P99ms", "REQ/s", "READY", ""),
        [_variant_row(status, variant) for variant in endpoint.variants],
        right=frozenset({2, 3, 4, 5, 6, 7, 8}),
    )
    yield from _verbs(endpoint.verbs)


def _verbs(supports: Iterable[VerbSupport]) -> Iterator[Line]:
    """A line for each verb that can be asked for, and one for each reason why others can't, with all of these."""
    barred: dict[str, list[str]] = {}
    for support in supports:
        if support.available:
            yield line(Span("  + ", Role.OK), f"{support.verb}: ", Span(str(support.native)))
        else:
            barred.setdefault(str(support.reason), []).append(str(support.verb))
    for reason, verbs in barred.items():
        yield line(Span("  - ", Role.MUTED), f"{', '.join(verbs)}: ", Span(reason))


def _verdict(status: EndpointStatus) -> str:
    word = verdict_word(status)
    if word is None:
        return "nothing to judge"
    reason = status.verdict.reason if status.verdict is not None else "two readings are no history"
    return f"{word.replace('_', ' ')}: {reason}"


def _variant_row(status: EndpointStatus, variant: Variant) -> list[Cell]:
    seen = status.metrics.get(variant.name)
    missing = words.coverage(seen.coverage) if seen is not None else words.coverage(Coverage.NO_TARGET)
    return [
        f"  {variant.role}",
        words.version(variant.version),
        words.weight(variant.weight_bp),
        words.share(seen.observed_share if seen else None),
        words.errors(seen.error_ratio if seen else None),
        words.milliseconds(seen.p50_s if seen else None),
        words.milliseconds(seen.p99_s if seen else None),
        words.rate(seen.rate if seen else None),
        words.replicas(variant.ready, variant.desired),
        Span(missing, Role.MUTED),
    ]


# --- registries -------------------------------------------------------------------------------------------------------


def models(found: Sequence[Model], now: datetime) -> list[Line]:
    rows: list[list[Cell]] = [
        [
            model.ref.id,
            ", ".join(f"{alias}={version}" for alias, version in sorted(model.aliases.items())) or "-",
            model.latest_version or "-",
            "-" if model.version_count is None else str(model.version_count),
            age(model.updated_at, now),
            str(model.description).split("\\n", 1)[0][:60],
        ]
        for model in found
    ]
    return table(("MODEL", "ALIASES", "LATEST", "VERSIONS", "UPDATED", "DESCRIPTION"), rows, right=frozenset({3}))


def versions(found: Sequence[ModelVersion], now: datetime) -> list[Line]:
    rows: list[list[Cell]] = [
        [
            version.ref.version,
            Span(str(version.readiness), Role.TEXT if version.readiness == "ready" else Role.WARN),
            ", ".join(version.aliases) or "-",
            age(version.created_at, now),
            version.digest[:19] or "-",
            version.run_id[:12] or "-",
            str(version.source)[:60] or "-",
        ]
        for version in found
    ]
    return table(("VERSION", "READY", "ALIASES", "AGE", "DIGEST", "RUN", "SOURCE"), rows)


# --- actions ----------------------------------------------------------------------------------------------------------

_LEVELS: Final = {
    Level.READ: "none",
    Level.KEY: "--yes",
    Level.PLAN: "--yes",
    Level.NAME: "--yes, --confirm NAME and --reason",
    Level.SECOND: "a second person's approval",
}

_OUTCOME_ROLES: Final = {
    OutcomeKind.APPLIED: Role.OK,
    OutcomeKind.REJECTED: Role.CRIT,
    OutcomeKind.FAILED: Role.CRIT,
    OutcomeKind.REVERTED: Role.WARN,
    OutcomeKind.UNKNOWN: Role.WARN,
}

_STEP_SEVERITY: Final = {
    StepStatus.NOT_SENT: Severity.UNKNOWN,
    StepStatus.SENT: Severity.WAIT,
    StepStatus.VERIFIED: Severity.OK,
    StepStatus.REJECTED: Severity.CRIT,
    StepStatus.FAILED: Severity.CRIT,
    StepStatus.UNKNOWN: Severity.UNKNOWN,
}


def plan(found: Plan, glyphs: Glyphs) -> Iterator[Line]:
    """The exact writes with what each assumes and how it is undone, what was looked at, and what confirming wants."""
    place = f" {found.environment.upper()}" if found.environment else ""
    yield line(
        Span("PLAN ", Role.TITLE), Span(found.summary, Role.STRONG), f"  [{found.target.id}]", Span(place, Role.WARN)
    )
    for number, step in enumerate(found.steps, start=1):
        loose = Span("  best effort", Role.WARN) if step.best_effort else Span("")
        yield line(
            Span(f"  {number} {step.connection}  ", Role.TITLE),
            f"{step.before} {glyphs.arrow} " if step.before else "",
            Span(step.after or step.call, Role.STRONG),
            loose,
        )
        yield line(Span("      write    ", Role.MUTED), step.call)
        yield line(Span("      only if  ", Role.MUTED), step.precondition)
        if step.undo:
            yield line(Span("      undo     ", Role.MUTED), step.undo)
        if step.shell and step.mutates:
            yield line(Span("      by hand  ", Role.MUTED), Span(step.shell, Role.MUTED))
    for check in found.checks:
        severity = symbols.CHECK_SEVERITY[check.status]
        mark = Span(f"  {glyphs.states[severity]} {check.name}: ", symbols.ROLES[severity])
        yield line(mark, check.text)
        for change in check.changes:
            beside = Span("  beside the plan", Role.WARN) if not change.asked else Span("")
            hidden = change.before.startswith("(")
            came = "" if hidden else f"{change.before or 'unset'} {glyphs.arrow} "
            yield line(Span(f"      {change.path}  ", Role.MUTED), came, change.after or "removed", beside)
    for warning in found.warnings:
        yield line(Span(f"  ! {warning}", Role.WARN))
    yield line(Span("  wants  ", Role.MUTED), _LEVELS[found.level].replace("NAME", shlex.quote(found.target.name)))
    yield line(Span("  hash   ", Role.MUTED), found.plan_hash)


def outcome(found: Outcome, of: Plan, glyphs: Glyphs) -> Iterator[Line]:
    by = f" by {found.by}" if found.by else ""
    head = Span(f"{found.kind.upper()}{by}", _OUTCOME_ROLES[found.kind])
    yield line(head, f" in {found.duration_s:.1f} s: {found.message}")
    for result in found.steps:
        step = of.steps[result.index]
        severity = _STEP_SEVERITY[result.status]
        mark = Span(f"  {glyphs.states[severity]} {result.index + 1} ", symbols.ROLES[severity])
        status = result.status.replace("_", " ")
        yield line(mark, f"{step.connection}  {step.after or step.call}: ", Span(status, symbols.ROLES[severity]))
        if result.detail and result.status is not StepStatus.VERIFIED:
            yield line(Span(f"      {result.detail}", Role.MUTED))
        for seen in result.observed:
            yield line(Span(f"      seen: {seen}", Role.WARN))
    for text in found.verified:
        yield line(Span("  read back: ", Role.MUTED), text)
    yield line(Span("  recorded:  ", Role.MUTED), f"mlrelease audit show {found.intent_id}")


# --- audit ------------------------------------------------------------------------------------------------------------


def entries(found: Sequence[AuditEntry]) -> list[Line]:
    rows: list[list[Cell]] = [
        [
            moment(entry.at),
            str(entry.actor) or "-",
            entry.kind,
            entry.verb or "-",
            str(entry.target) or "-",
            entry.result or "-",
            str(entry.why) or "-",
            str(entry.summary),
        ]
        for entry in found
    ]
    return table(("TIME", "WHO", "RECORD", "VERB", "TARGET", "RESULT", "WHY", "WHAT"), rows)


def record(entry: AuditEntry) -> Iterator[Line]:
    """One record for a person: who, what, why, each write and what became of it. `--json` has every field."""
    yield line(
        Span(f"{entry.kind:<10} ", Role.TITLE),
        Span(f"{moment(entry.at)}  {entry.actor}", Role.STRONG),
        Span(f"  line {entry.line_hash}", Role.MUTED),
    )
    action, result = _section(entry, "action"), _section(entry, "result")
    if entry.kind == "intent":
        yield line(Span("  what    ", Role.MUTED), f"{entry.verb} {entry.target}: {entry.summary}")
        yield line(Span("  why     ", Role.MUTED), str(entry.why) or "-")
        yield line(Span("  plan    ", Role.MUTED), entry.plan_hash)
        for number, step in enumerate(_objects(action.get("steps")), start=1):
            yield line(Span(f"  write {number} ", Role.MUTED), f"{step.get('connection')}: {step.get('call')}")
            yield line(Span("          ", Role.MUTED), f"{step.get('before')} -> {step.get('after')}")
        for check in _objects(action.get("checks")):
            yield line(
                Span("  check   ", Role.MUTED), f"{check.get('name')} {check.get('status')}: {check.get('text')}"
            )
        return
    step_index = action.get("step")
    if isinstance(step_index, int):
        yield line(Span(f"  write {step_index + 1} ", Role.MUTED), str(result.get("status", "sent")))
    elif entry.result:
        yield line(Span("  result  ", Role.MUTED), entry.result)
    for name in ("message", "detail"):
        if result.get(name):
            yield line(Span("          ", Role.MUTED), str(result[name]))
    for text in (*_texts(result.get("verified")), *_texts(result.get("observed"))):
        yield line(Span("  seen    ", Role.MUTED), text)
    if entry.kind not in {"sent", "step", "outcome"}:
        yield line(Span("  what    ", Role.MUTED), str(entry.summary))


def _section(entry: AuditEntry, name: str) -> Mapping[str, object]:
    value = entry.detail.get(name)
    return value if isinstance(value, Mapping) else {}


def _objects(value: object) -> list[Mapping[str, object]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def lineage(version: ModelVersion) -> Iterator[Line]:
    """Where a version comes from: a line each for run, metrics, data sets and signature."""
    origin = version.lineage
    if origin is None:
        return
    metrics = ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in sorted(origin.metrics.items())
    )
    data = ", ".join(f"{item.name} ({item.digest})" for item in origin.datasets)
    signature = f"{origin.signature_inputs} -> {origin.signature_outputs}" if origin.signature_inputs else ""
    yield line(Span(f"{version.ref.version}  ", Role.STRONG), f"run {origin.run_id} {origin.run_name}")
    for name, value in (("metrics", metrics), ("data", data), ("signature", signature)):
        if value:
            yield line(Span(f"     {name:<10}", Role.MUTED), value)
