"""The fleet as rows: what burns, what runs, what users feel, what changed last and who changed it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from mlrelease_tui.domain.metrics import Coverage
from mlrelease_tui.domain.rollout import Endpoint, Phase, Verb
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.presentation import glyphs as symbols
from mlrelease_tui.presentation import matching, words
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import Line, Role, Span, clip, line, width
from mlrelease_tui.presentation.table import Column
from mlrelease_tui.presentation.times import age, clock

if TYPE_CHECKING:
    from mlrelease_tui.domain.action import ActionProgress, AuditEntry

COLUMNS: Final = (
    Column("state", "ST", 6),
    Column("endpoint", "ENDPOINT", 12, flexible=True),
    Column("connection", "CONN", 8),
    Column("version", "VERSION", 9),
    Column("canary", "CANARY", 6, right=True),
    Column("errors", "ERR%", 6, right=True),
    Column("p99", "P99ms", 6, right=True),
    Column("rate", "REQ/S", 5, right=True, from_width=90),
    Column("ready", "READY", 5, right=True, from_width=90),
    Column("alias", "ALIAS", 14, from_width=110),
    Column("changed", "CHANGED", 7, right=True),
    Column("by", "BY", 6),
)

WIDE: Final = tuple(
    column for column in COLUMNS if column.key in {"state", "endpoint", "connection", "canary", "errors", "changed"}
)
"""Few columns, so that long names are readable whole."""

SORTS: Final = {
    "state": "worst first",
    "endpoint": "name",
    "connection": "connection",
    "errors": "errors, most first",
    "p99": "p99, slowest first",
    "changed": "changed, newest first",
}


def changed(endpoint: Endpoint) -> tuple[datetime | None, str]:
    """When this endpoint last changed and who did it, as its backend says; None and "" where it does not."""
    stamp = endpoint.stamp
    rollout = endpoint.rollout
    if stamp is not None and (stamp.at is not None or rollout.started_at is None):
        return stamp.at, str(stamp.by)
    return rollout.started_at, str(stamp.by) if stamp else ""


def cells(status: EndpointStatus, now: datetime, glyphs: Glyphs, action: ActionProgress | None) -> dict[str, Span]:
    """The cells of one row by column. Old values carry "~"; a running action shows in place of the state."""
    endpoint = status.endpoint
    stale = status.stale_since is not None
    role = symbols.ROLES[status.severity]
    ratio, p99, per_second = words.users_feel(status)
    guard = status.guard
    canary = endpoint.canary
    at, by = changed(endpoint)
    share, differs = words.canary_share(
        canary.weight_bp if canary else None, status.metrics.get(canary.name) if canary else None
    )
    alias = f"{status.alias} {words.version(status.alias_version)}" if status.alias else ""

    def value(text: str, *, bad: bool = False) -> Span:
        if text == words.UNKNOWN:
            return Span(text, Role.MUTED)
        return Span(f"~{text}" if stale else text, Role.STALE if stale else Role.CRIT if bad else Role.TEXT)

    return {
        "state": Span("*SEND", Role.ARMED) if action is not None else symbols.state(status.severity, glyphs),
        "endpoint": Span(endpoint.ref.name, role if status.severity is Severity.CRIT else Role.STRONG),
        "connection": Span(endpoint.ref.connection),
        "version": Span(words.versions(endpoint, glyphs), Role.CANARY if endpoint.rollout.in_flight else Role.TEXT),
        "canary": Span(share, Role.WARN) if differs and not stale else value(share),
        "errors": value(
            words.errors(ratio),
            bad=ratio is not None and guard.error_ratio is not None and ratio > guard.error_ratio,
        ),
        "p99": value(words.milliseconds(p99), bad=p99 is not None and guard.p99_s is not None and p99 > guard.p99_s),
        "rate": value(words.rate(per_second)),
        "ready": value(_ready(endpoint)),
        "alias": Span(alias, Role.WARN if status.mismatch else Role.TEXT),
        "changed": Span(age(at, now), Role.TEXT if at else Role.MUTED),
        "by": Span(by, Role.TEXT if by else Role.MUTED),
    }


def _ready(endpoint: Endpoint) -> str:
    known = [variant for variant in endpoint.variants if variant.ready is not None]
    if not known:
        return words.UNKNOWN
    desired = [variant.desired for variant in known]
    total = None if None in desired else sum(number for number in desired if number is not None)
    return words.replicas(sum(variant.ready or 0 for variant in known), total)


def sort_key(column: str) -> Callable[[EndpointStatus], tuple[object, ...]]:
    """How rows are ordered by a column of `SORTS`; what is unknown comes last."""

    def key(status: EndpointStatus) -> tuple[object, ...]:
        # Texts in place of the reference: among ten thousand rows comparing references takes most of the time of sorting.
        ref = (status.ref.connection, status.ref.namespace, status.ref.name)
        if column == "endpoint":
            return (status.ref.name, *ref)
        if column == "connection":
            return ref
        if column in {"errors", "p99"}:
            ratio, p99, _ = words.users_feel(status)
            number = ratio if column == "errors" else p99
            return (number is None, -(number or 0.0), *ref)
        if column == "changed":
            at, _ = changed(status.endpoint)
            return (at is None, -(at.timestamp() if at else 0.0), *ref)
        worst = min((reason.severity.rank for reason in status.reasons), default=len(Severity))
        return (status.severity.rank, worst, not status.endpoint.rollout.in_flight, *ref)

    return key


def matches(status: EndpointStatus, wanted: str) -> bool:
    """Whether every word of a filter is found in names, versions, aliases, people or the state's word; `!word` must not be."""
    endpoint = status.endpoint
    text = " ".join(
        [
            endpoint.ref.id,
            symbols.WORDS[status.severity],
            endpoint.environment,
            str(endpoint.model or ""),
            status.alias,
            changed(endpoint)[1],
            *(variant.version for variant in endpoint.variants),
        ]
    )
    return matching.matches(text, wanted)


def note(
    status: EndpointStatus | None,
    now: datetime,
    glyphs: Glyphs,
    limit: int,
    action: ActionProgress | None = None,
    press: Callable[[str], str] = lambda identity: "",
) -> list[Line]:
    """Two lines under the list about the selected row: why it is in this state, and the safe move. `press` names the key of an
    action of the catalogue."""
    if status is None:
        return [(), ()]
    name = status.ref.name or '""'
    if action is not None:
        running = f"{action.plan.summary or action.plan.verb}: step {action.step + 1} of {len(action.plan.steps)}"
        return [
            clip(
                line(Span(f" {name}:", Role.STRONG), Span(f" {action.plan.verb} under way by {action.by}", Role.ARMED)),
                limit,
            ),
            clip(line(f" {running}; its outcome comes here and in the audit ({press('app.view_audit')})"), limit),
        ]
    if status.reasons:
        reason = status.reasons[0]
        waits = "waits for a person " if reason.severity is Severity.WAIT and "wait" not in reason.text else ""
        why = Span(f" {waits}{reason.text}", symbols.ROLES[reason.severity])
        more = len(status.reasons) - 1
        tail = f" (+{more} more: {press('endpoint.explain')})" if more else ""
        room = max(limit - width(name) - width(tail) - 2, 20)
        top = line(Span(f" {name}:", Role.STRONG), *clip(line(why), room), Span(tail, Role.MUTED))
    else:
        # Its name is in the row that is pointed at; said again it would cost a line of a thin link at each step through a list.
        measured = any(item.coverage in {Coverage.OK, Coverage.NO_TRAFFIC} for item in status.metrics.values())
        top = line(Span(f" nothing speaks against it{'' if measured else '; nothing was measured'}", Role.MUTED))
    return [clip(top, limit), clip(line(*_moves(status, press), *_last(status, now)), limit)]


def _moves(status: EndpointStatus, press: Callable[[str], str]) -> list[Span | str]:
    """The next keys that are safe in this state: each opens a plan, none sends."""
    rollout = status.endpoint.rollout
    act = press("endpoint.actions")
    good: list[Span | str] = [Span(" known good: none is known  ", Role.MUTED)]
    if status.known_good:
        good = [Span(" known good: ", Role.MUTED), Span(words.version(status.known_good), Role.STRONG)]
        good += [Span(f"  {press('endpoint.rollback')}", Role.KEY), " back to it  "]
    if not rollout.in_flight:
        stamp = status.endpoint.stamp
        if stamp is not None and stamp.verb == Verb.ROLLBACK:
            stable = status.endpoint.stable
            role = Role.OK if status.stale_since is None else Role.STALE
            return [Span(f" rolled back to {words.version(stable.version if stable else '')}  ", role)]
        return good
    onward: list[Span | str] = []
    if status.severity not in {Severity.CRIT, Severity.STALE}:
        if rollout.phase is Phase.HELD:
            onward = [Span(f"{act} {press('menu.continue')}", Role.KEY), " continue  "]
        elif rollout.next_step is not None and rollout.next_step.weight_bp is not None and _measured_well(status):
            onward = [
                Span(f"{act} {press('menu.promote')}", Role.KEY),
                f" next step {words.weight(rollout.next_step.weight_bp)}  ",
            ]
        if rollout.phase is not Phase.HELD:
            onward += [Span(f"{act} {press('menu.hold')}", Role.KEY), " hold  "]
    hold = rollout.hold
    held = (
        [Span(f"held by {hold.by}  ", Role.HOLD)] if hold is not None and status.severity is not Severity.HOLD else []
    )
    return [*good, *onward, *held]


def _measured_well(status: EndpointStatus) -> bool:
    """Whether going on is worth naming: the canary was measured, and nothing speaks against it but that it waits."""
    canary = status.endpoint.canary
    metrics = status.metrics.get(canary.name) if canary is not None else None
    return status.severity in {Severity.WAIT, Severity.OK} and metrics is not None and metrics.coverage is Coverage.OK


def _last(status: EndpointStatus, now: datetime) -> list[Span | str]:
    """What was done here last, and by whom."""
    stamp = status.endpoint.stamp
    if stamp is None:
        return []
    when = f" {clock(stamp.at, now)}" if stamp.at else ""
    return [Span(f"last: {stamp.verb} by {stamp.by}{when}", Role.MUTED)]


def activity(entries: Sequence[AuditEntry], actions: Sequence[ActionProgress], now: datetime, rows: int) -> list[Line]:
    """The last things that happened, newest first: running actions, then the tail of the audit."""
    found: list[Line] = []
    for action in sorted(actions, key=lambda item: item.started_at, reverse=True):
        if action.outcome is None:
            step = f"step {action.step + 1}/{len(action.plan.steps)}"
            found.append(
                line(Span(f" {clock(action.started_at, now)} RUNNING ", Role.ARMED), f"{action.plan.summary} ({step})")
            )
    for entry in reversed(entries):
        if entry.kind in {"sent", "step"}:
            # Each write and its check are records too; here is what an action came to.
            continue
        result = Span(entry.result or entry.kind, Role.OK if entry.result == "applied" else Role.TEXT)
        what = " ".join(part for part in (entry.verb, str(entry.target)) if part)
        summary = f"  {entry.summary}" if entry.summary else ""
        found.append(
            line(
                Span(f" {clock(entry.at, now)} ", Role.MUTED),
                f"{entry.actor} ",
                Span(what, Role.STRONG),
                " ",
                result,
                Span(summary, Role.MUTED),
            )
        )
    if not found:
        found.append(line(Span(" nothing happened yet", Role.MUTED)))
    return found[:rows]
