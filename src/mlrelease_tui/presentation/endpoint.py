"""One endpoint whole: what serves what to whom, what users feel, who changed it last, and what its backend calls all that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from mlrelease_tui.domain.action import ActionProgress, OpenAction
from mlrelease_tui.domain.metrics import Coverage, VariantMetrics
from mlrelease_tui.domain.rollout import Endpoint, Variant
from mlrelease_tui.domain.rollout import Role as VariantRole
from mlrelease_tui.domain.status import EndpointStatus, Guard
from mlrelease_tui.domain.verdict import Verdict, VerdictKind
from mlrelease_tui.presentation import glyphs as symbols
from mlrelease_tui.presentation import plan as plans
from mlrelease_tui.presentation import words
from mlrelease_tui.presentation.checks import check_lines
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, clip, line, spread, width_of, wrapped
from mlrelease_tui.presentation.steps import steps
from mlrelease_tui.presentation.table import Column, heading, laid_out, row
from mlrelease_tui.presentation.times import age, moment

History = Mapping[str, Sequence[VariantMetrics]]
"""Successive short windows by variant name, oldest first."""

VARIANT_ROLES = {VariantRole.STABLE: Role.STABLE, VariantRole.CANARY: Role.CANARY}

_COLUMNS = (
    Column("variant", "VARIANT", 14, flexible=True, most=40),
    Column("weight", "SET", 5, right=True),
    Column("share", "SEEN", 5, right=True),
    Column("rate", "REQ/S", 5, right=True),
    Column("errors", "ERR%", 6, right=True),
    Column("p50", "P50", 5, right=True, from_width=60),
    Column("p95", "P95", 5, right=True),
    Column("p99", "P99ms", 6, right=True),
    Column("ready", "READY", 5, right=True, from_width=60),
)

VERDICT_ROLES = {
    VerdictKind.HARM: Role.CRIT,
    VerdictKind.WATCH: Role.WARN,
    VerdictKind.BETTER: Role.OK,
    VerdictKind.NO_EVIDENCE_OF_HARM: Role.TEXT,
    VerdictKind.NOT_ENOUGH_DATA: Role.MUTED,
    VerdictKind.NOT_JUDGED: Role.MUTED,
}


def lines(
    status: EndpointStatus,
    history: History,
    now: datetime,
    glyphs: Glyphs,
    cells: int,
    *,
    chart_rows: int = 1,
    action: ActionProgress | None = None,
    unresolved: Sequence[OpenAction] = (),
) -> list[Line]:
    """The whole page, most needed first. `chart_rows` 1 draws sparklines, more draws charts of so many lines."""
    endpoint = status.endpoint
    rows = [state_line(status, glyphs, cells)]
    rows += reason_lines(status, glyphs, cells, limit=4)
    if action is not None:
        rows.append(line(Span(f" UNDER WAY {plans.verb_word(action.plan.verb)} by {action.by}", Role.ARMED)))
        rows += plans.progress(action, glyphs, cells)
    rows += [
        line(Span(f" OPEN {item.verb} by {item.actor} at {moment(item.at)}: outcome not known yet", Role.WARN))
        for item in unresolved
    ]
    if endpoint.rollout.in_flight and endpoint.rollout.steps:
        rows += steps(status, glyphs, cells)
    told = {str(reason.text) for reason in status.reasons}
    if endpoint.rollout.in_flight and endpoint.rollout.message and str(endpoint.rollout.message) not in told:
        rows += wrapped(str(endpoint.rollout.message), cells, Role.WAIT, indent=" ", limit=2)
    rows += check_lines(endpoint.rollout.gates, glyphs, cells)
    rows += variant_lines(status, glyphs, cells)
    if any(history.values()):
        rows.append(EMPTY)
        rows += trend_lines(status, history, glyphs, cells, chart_rows)
    rows.append(EMPTY)
    rows += facts(status, now, glyphs, cells)
    rows += problem_lines(endpoint, cells)
    return [clip(item, cells) for item in rows]


def chart_rows(rows: int) -> int:
    """How many lines each chart has where the page has so many; 1 for sparklines."""
    return 3 if rows >= 44 else 2 if rows >= 33 else 1


def state_line(status: EndpointStatus, glyphs: Glyphs, cells: int) -> Line:
    """State, versions and environment; at the right the known good version."""
    endpoint = status.endpoint
    good = words.version(status.known_good) if status.known_good else "none known"
    head = line(
        " ",
        symbols.state(status.severity, glyphs),
        "  ",
        Span(endpoint.ref.name, Role.STRONG),
        " ",
        Span(words.versions(endpoint, glyphs), Role.CANARY if endpoint.rollout.in_flight else Role.TEXT),
        Span(f"  {endpoint.rollout.phase}", Role.TEXT),
        Span(f"  {endpoint.environment.upper()}" if endpoint.environment else "", Role.WARN),
    )
    return spread(head, line(Span("known good: ", Role.MUTED), Span(good, Role.STRONG), " "), cells)


def reason_lines(status: EndpointStatus, glyphs: Glyphs, cells: int, *, limit: int) -> list[Line]:
    """Why it is in that state, worst first, and what the judge says."""
    rows: list[Line] = []
    for reason in status.reasons[:limit]:
        mark = f" {glyphs.states[reason.severity]} "
        rows += wrapped(reason.text, cells, symbols.ROLES[reason.severity], indent=mark, limit=2)
    if len(status.reasons) > limit:
        rows.append(line(Span(f"   {len(status.reasons) - limit} more reasons: x", Role.MUTED)))
    if status.verdict is not None and not any(reason.text == status.verdict.reason for reason in status.reasons):
        rows += verdict_lines(status.verdict, cells)
    return rows


def verdict_lines(verdict: Verdict, cells: int) -> list[Line]:
    """What the judge says, with how much it is based on."""
    kind = verdict.kind.value.replace("_", " ")
    n = (
        f" ({verdict.n} of {verdict.needed} requests)"
        if verdict.needed
        else f" ({verdict.n} requests)"
        if verdict.n
        else ""
    )
    return wrapped(f"{kind}{n}: {verdict.reason}", cells, VERDICT_ROLES[verdict.kind], indent=" judge: ", limit=2)


def variant_lines(status: EndpointStatus, glyphs: Glyphs, cells: int) -> list[Line]:
    """A row a variant: the weight that is set, the share that is seen, and what its users feel."""
    endpoint = status.endpoint
    columns = laid_out(_COLUMNS, cells - 1)
    rows: list[Line] = [(Span(" "), *heading(columns))]
    stale = status.stale_since is not None
    for variant in endpoint.variants:
        metrics = status.metrics.get(variant.name)
        shown = variant_cells(variant, metrics, status.guard, stale=stale)
        rows.append((Span(" "), *row(columns, shown, glyphs.ellipsis)))
        why = words.coverage(metrics.coverage) if metrics is not None else "no metrics: nothing was measured yet"
        notes = [text for text in (why, str(variant.message)) if text]
        if notes:
            rows += wrapped("; ".join(notes), cells, Role.MUTED, indent="    ", limit=2)
    return rows


def variant_cells(variant: Variant, metrics: VariantMetrics | None, guard: Guard, *, stale: bool) -> dict[str, Span]:
    """The cells of a variant's row. A share that is far from the weight that is set is marked."""
    role = VARIANT_ROLES.get(variant.role, Role.TEXT)
    found = {
        "variant": Span(f"{variant.role} {words.version(variant.version)}", role),
        "weight": Span(words.weight(variant.weight_bp)),
        "ready": Span(words.replicas(variant.ready, variant.desired)),
    }
    if metrics is not None:
        far = words.shares_differ(metrics, variant.weight_bp)
        bad = guard.error_ratio is not None and (metrics.error_ratio or 0) > guard.error_ratio
        slow = guard.p99_s is not None and (metrics.p99_s or 0) > guard.p99_s
        rate = words.rate(metrics.rate) if metrics.coverage is not Coverage.NO_TRAFFIC else "none"
        found |= {
            "share": Span(words.share(metrics.observed_share), Role.WARN if far else Role.TEXT),
            "rate": Span(rate),
            "errors": Span(words.errors(metrics.error_ratio), Role.CRIT if bad else Role.TEXT),
            "p50": Span(words.milliseconds(metrics.p50_s)),
            "p95": Span(words.milliseconds(metrics.p95_s)),
            "p99": Span(words.milliseconds(metrics.p99_s), Role.CRIT if slow else Role.TEXT),
        }
    if stale:
        found = {
            key: span if key == "variant" or span.text == words.UNKNOWN else Span(f"~{span.text}", Role.STALE)
            for key, span in found.items()
        }
    return {key: Span(span.text, Role.MUTED) if span.text == words.UNKNOWN else span for key, span in found.items()}


def trend_lines(status: EndpointStatus, history: History, glyphs: Glyphs, cells: int, chart_rows: int) -> list[Line]:
    """Errors, p99 and rate over time, stable and canary on the same scale, the newest at the right."""
    variants = [variant for variant in status.endpoint.variants if history.get(variant.name)]
    rows: list[Line] = []
    measures = (
        ("ERR%", [[item.error_ratio for item in history[v.name]] for v in variants], words.errors),
        ("P99ms", [[item.p99_s for item in history[v.name]] for v in variants], words.milliseconds),
        ("REQ/S", [[item.rate for item in history[v.name]] for v in variants], words.rate),
    )
    room = cells - 26
    for name, series, word in measures:
        known = [value for values in series for value in values if value is not None]
        top = max(known, default=0.0)
        for variant, values in zip(variants, series, strict=True):
            role = VARIANT_ROLES.get(variant.role, Role.TEXT)
            label = f" {name:<6}{variant.role.value[:6]:<7}{words.version(variant.version)[:5]:<5}"
            newest = next((value for value in reversed(values) if value is not None), None)
            if chart_rows <= 1:
                drawn = symbols.sparkline(values, room, glyphs, top=top or None)
                rows.append(line(Span(label, Role.MUTED), Span(drawn, role), Span(f" {word(newest):>5}", Role.STRONG)))
                continue
            area = symbols.chart(values, room, chart_rows, glyphs, top=top or None)
            for index, text in enumerate(area):
                left = f"{label if index == chart_rows - 1 else '':<19}"
                right = f" {word(top)}" if index == 0 else f" {word(newest)}" if index == chart_rows - 1 else ""
                rows.append(line(Span(left, Role.MUTED), Span(text, role), Span(right, Role.STRONG)))
    return rows


def facts(status: EndpointStatus, now: datetime, glyphs: Glyphs, cells: int) -> list[Line]:
    """Alias, who changed it last, who holds it, native words, identity, address."""
    endpoint = status.endpoint
    rows: list[Line] = []
    if endpoint.model is not None:
        where = words.version(status.alias_version) if status.alias_version else "not read"
        alias = f"  alias {status.alias} {glyphs.arrow} {where}" if status.alias else "  no alias is bound"
        agrees = Span("  MISMATCH", Role.WARN) if status.mismatch else Span("")
        tied = endpoint.model_source.value.replace("_", " ")
        told = line(Span(" model    ", Role.MUTED), str(endpoint.model.name), alias, agrees)
        beside = Span(f"  tied by {tied}", Role.MUTED)
        if width_of((*told, beside)) <= cells:
            rows.append((*told, beside))
        else:
            rows += [told, line(Span(" tied by  ", Role.MUTED), tied)]
    stamp = endpoint.stamp
    if stamp is not None:
        rows.append(
            line(
                Span(" changed  ", Role.MUTED),
                f"{age(stamp.at, now)} ago by {stamp.by}: {stamp.verb}",
                Span(f"  {stamp.why}", Role.MUTED),
            )
        )
        if stamp.intent_id:
            rows.append(line(Span(" intent   ", Role.MUTED), stamp.intent_id))
    hold = endpoint.rollout.hold
    if hold is not None:
        rows.append(
            line(
                Span(" held     ", Role.MUTED),
                Span(f"by {hold.by}: {hold.why}", Role.HOLD),
                f"  {age(hold.at, now)} ago",
            )
        )
    native = f"{endpoint.native.kind}" + (f", {endpoint.native.phase}" if endpoint.native.phase else "")
    cas = "compare-and-set" if endpoint.cas else "best effort: no compare-and-set"
    rows.append(line(Span(" backend  ", Role.MUTED), native, Span(f"  {cas}", Role.MUTED)))
    if endpoint.owner:
        rows.append(line(Span(" owner    ", Role.MUTED), Span(str(endpoint.owner), Role.WARN)))
    if endpoint.url:
        rows.append(line(Span(" url      ", Role.MUTED), endpoint.url))
    for variant in endpoint.variants:
        digest = f"  {variant.digest[:19]}" if variant.digest else ""
        rows.append(
            line(
                Span(f" {variant.role.value[:8]:<9}", Role.MUTED),
                f"{variant.name}{digest}",
                Span(f"  {variant.address}", Role.MUTED),
            )
        )
    if status.stale_since is not None:
        # What is fresh needs no time of its reading: it would tick, and cost bytes, on a screen on which nothing changes.
        rows.append(line(Span(" read     ", Role.MUTED), Span(moment(endpoint.observed_at), Role.STALE)))
    return rows


def problem_lines(endpoint: Endpoint, cells: int) -> list[Line]:
    """Everything that the backend complains of, whole."""
    return [
        row for problem in endpoint.problems for row in wrapped(str(problem), cells, Role.WARN, indent=" ! ", limit=6)
    ]


def explain(status: EndpointStatus, now: datetime, glyphs: Glyphs, cells: int) -> list[Line]:
    """Why it is in its state: every reason with its variant, what was compared, what the data is worth."""
    rows = [state_line(status, glyphs, cells), EMPTY]
    if not status.reasons:
        rows += wrapped(f"Nothing speaks against it: {_all_known(status)}.", cells, indent=" ")
    for reason in status.reasons:
        rows += wrapped(
            reason.text,
            cells,
            symbols.ROLES[reason.severity],
            indent=f" {glyphs.states[reason.severity]} {symbols.WORDS[reason.severity]:<5} ",
        )
    if status.verdict is not None:
        rows += verdict_lines(status.verdict, cells)
    guard = status.guard
    limits = [
        f"errors at most {guard.error_ratio:.1%}" if guard.error_ratio is not None else "",
        f"p99 at most {guard.p99_s * 1000:.0f} ms" if guard.p99_s is not None else "",
    ]
    rows += [EMPTY, line(Span(" guard    ", Role.MUTED), ", ".join(part for part in limits if part) or "none")]
    for variant in status.endpoint.variants:
        metrics = status.metrics.get(variant.name)
        if metrics is None:
            told = "nothing was measured, or what was is too old"
        elif metrics.coverage is Coverage.OK:
            old = "~" if status.stale_since is not None else ""
            told = (
                old
                + f"{metrics.requests:.0f} requests in {metrics.window_s:.0f} s, {words.errors(metrics.error_ratio)}% failed"
            )
        else:
            told = words.coverage(metrics.coverage)
        rows.append(
            line(Span(f" {variant.role.value[:8]:<9}", Role.MUTED), f"{words.version(variant.version)}: {told}")
        )
    good = words.version(status.known_good) if status.known_good else "none is known"
    rows += [
        EMPTY,
        line(
            Span(" known good: ", Role.MUTED),
            Span(good, Role.STRONG),
            Span(_way_back(status), Role.MUTED),
        ),
    ]
    return rows


def _all_known(status: EndpointStatus) -> str:
    """What is known to be well, and what nobody knows: that nothing is known to be wrong is no praise."""
    well = ["it is read"]
    unknown = []
    if status.alias and status.alias_version:
        well.append("agrees with the registry")
    else:
        unknown.append("no alias is known to say what it should run")
    if any(item.coverage is Coverage.OK for item in status.metrics.values()):
        well.append("keeps within its guards")
    else:
        unknown.append("nothing that its users feel was measured")
    told = " and ".join([", ".join(well[:-1]), well[-1]]) if len(well) > 1 else well[0]
    return "; but ".join([told, " and ".join(unknown)]) if unknown else told


def _way_back(status: EndpointStatus) -> str:
    endpoint = status.endpoint
    if not status.known_good:
        return ""
    there = endpoint.stable is not None and endpoint.stable.version == status.known_good
    return "   it serves" if there and not endpoint.rollout.in_flight else "   B opens the plan back to it"
