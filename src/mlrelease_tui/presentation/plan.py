"""A plan as it is confirmed: what is written where, what it assumes, what was looked at, how it is undone, what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.action import ActionProgress, Stage
from mlrelease_tui.domain.plan import Level, Outcome, OutcomeKind, Plan, Refusal, StepStatus
from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Verb
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.presentation import glyphs as symbols
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import (
    Line,
    Role,
    Span,
    clip,
    line,
    spread,
    width_of,
    wrapped,
)
from mlrelease_tui.presentation.times import countdown

_OUTCOMES: Final[Mapping[OutcomeKind, tuple[str, Role]]] = MappingProxyType(
    {
        OutcomeKind.APPLIED: ("APPLIED", Role.OK),
        OutcomeKind.REJECTED: ("REJECTED", Role.CRIT),
        OutcomeKind.REVERTED: ("REVERTED", Role.WARN),
        OutcomeKind.UNKNOWN: ("UNKNOWN", Role.WARN),
    }
)

_STEPS: Final[Mapping[StepStatus, tuple[Severity, str]]] = MappingProxyType(
    {
        StepStatus.NOT_SENT: (Severity.UNKNOWN, "not sent"),
        StepStatus.SENT: (Severity.WAIT, "sent, not verified yet"),
        StepStatus.VERIFIED: (Severity.OK, "verified by reading"),
        StepStatus.REJECTED: (Severity.CRIT, "rejected, nothing changed"),
        StepStatus.UNKNOWN: (Severity.UNKNOWN, "sent, and nobody can say yet"),
    }
)

VERB_WORDS: Final[Mapping[Verb, str]] = MappingProxyType({Verb.ROLLBACK: "roll back"})


def verb_word(verb: Verb) -> str:
    return VERB_WORDS.get(verb, verb.value)


def button(plan: Plan) -> str:
    """What the sending key is labelled with: the act itself, never "OK"."""
    return plan.summary[:1].upper() + plan.summary[1:] if plan.summary else verb_word(plan.verb).capitalize()


def target_name(plan: Plan) -> str:
    """What is typed to confirm at level NAME: the target's own name."""
    return plan.target.name


def title(plan: Plan, now: datetime, glyphs: Glyphs, cells: int) -> Line:
    """Verb, target, environment in words; at the right the level and how long the plan still holds."""
    where = plan.target.connection
    if isinstance(plan.target, EndpointRef):
        where = f"{plan.target.connection}/{plan.target.namespace}"
    head = line(
        Span(" PLAN ", Role.TITLE),
        Span(f"{verb_word(plan.verb)} {plan.target.name}", Role.STRONG),
        Span(f" @ {where}", Role.TEXT),
        Span(f" {plan.environment.upper()}" if plan.environment else "", Role.WARN),
        " ",
    )
    left = "expired" if plan.expired(now) else f"expires {countdown(plan.expires_at, now)}"
    tail = line(Span(f" L{int(plan.level)}  {left} ", Role.MUTED))
    fill = max(cells - width_of(head) - width_of(tail), 0)
    return clip((*head, Span(glyphs.rule * fill, Role.MUTED), *tail), cells)


def body(plan: Plan, glyphs: Glyphs, cells: int) -> list[Line]:
    """First one line a write (before, after), checks, warnings and undo; below them each call with what it assumes."""
    rows: list[Line] = []
    several = len(plan.steps) > 1
    for index, step in enumerate(plan.steps, start=1):
        number = f" {index} " if several else " "
        label = Span("  best effort", Role.WARN) if step.best_effort else Span("")
        if step.mutates:
            change = line(Span(step.before, Role.MUTED), f" {glyphs.arrow} ", Span(step.after, Role.STRONG))
        else:
            change = line(Span(step.call, Role.MUTED))
        text = line(Span(number, Role.MUTED), Span(f"{step.connection} ", Role.TITLE), *change, label)
        rows += _broken(text, cells, indent=len(number))
    if plan.checks:
        rows += _checks(plan, glyphs, cells)
    rows += [row for warning in plan.warnings for row in wrapped(warning, cells, Role.WARN, indent=" ! ")]
    rows += wrapped(plan.undo or "none", cells, Role.TEXT, indent=" undo   ")
    rows.append(line(Span(" CALLS", Role.HEADING)))
    for index, step in enumerate(plan.steps, start=1):
        number = f" {index} " if several else " "
        rows += wrapped(step.call, cells, Role.TEXT, indent=number)
        rows += wrapped(f"only if {step.precondition}", cells, Role.MUTED, indent="   ")
        if step.undo:
            rows += wrapped(f"undo: {step.undo}", cells, Role.MUTED, indent="   ")
    return rows


def _broken(text: Line, cells: int, indent: int) -> list[Line]:
    """A line of several roles in as many lines as it needs, broken between spans where it can be."""
    if width_of(text) <= cells:
        return [text]
    rows: list[Line] = []
    row: list[Span] = []
    used = 0
    for span in text:
        size = width_of((span,))
        if used + size <= cells:
            row.append(span)
            used += size
            continue
        if row:
            rows.append(tuple(row))
        pieces = wrapped(span.text.strip(), cells, span.role, indent=" " * (indent + 2))
        rows += pieces[:-1]
        row = list(pieces[-1])
        used = width_of(pieces[-1])
    rows.append(tuple(row))
    return rows


def _checks(plan: Plan, glyphs: Glyphs, cells: int) -> list[Line]:
    """All checks, the ones that did not pass first, packed into lines."""
    order = sorted(plan.checks, key=lambda check: symbols.CHECK_SEVERITY[check.status].rank)
    rows: list[Line] = []
    row: Line = line(Span(" checks ", Role.MUTED))
    for check in order:
        severity = symbols.CHECK_SEVERITY[check.status]
        part = line(
            Span(f"{glyphs.states[severity]}{check.name} ", symbols.ROLES[severity]), Span(f"{check.text}  ", Role.TEXT)
        )
        if width_of(row) > 8 and width_of(row) + width_of(part) > cells:
            rows.append(row)
            row = line("        ")
        row = (*row, *part)
    rows.append(clip(row, cells))
    return rows


def shell(plan: Plan, cells: int) -> list[Line]:
    """The same as commands, for use without this tool."""
    rows: list[Line] = [line(Span(" The same without this tool (no audit, no verification):", Role.MUTED))]
    for command in shell_commands(plan):
        rows += wrapped(command, cells, Role.TEXT, indent="   ")
    return rows


def shell_commands(plan: Plan) -> list[str]:
    return [step.shell or f"# {step.call}: no command is known" for step in plan.steps if step.mutates]


def fields(plan: Plan) -> tuple[str, ...]:
    """What may or must be filled in, in order: "name" at level NAME and above, then "reason"."""
    if plan.level is Level.KEY:
        return ()
    return ("name", "reason") if plan.level >= Level.NAME else ("reason",)


def buttons(plan: Plan, access: Access, now: datetime, said: str, cells: int, *, focused: bool) -> Line:
    """The last line: what the plan was read from or what keeps it from going, Cancel, and the key that sends."""
    refusal = access.may_write(now)
    if said:
        left = line(Span(f" {said}", Role.WARN))
    elif refusal is not None:
        left = line(
            Span(" READ-ONLY" if refusal.code == "read_only" else f" {refusal.reason}", Role.LOCKED),
            Span(" W arms", Role.WARN),
        )
    else:
        at = max((item.observed_at for item in plan.read_from), default=plan.created_at)
        left = line(Span(f" read {at:%H:%M:%S}Z", Role.MUTED))
    cancel = Span("[ Cancel ]", Role.CURSOR if focused else Role.TEXT)
    send = line(
        "  ", Span("y", Role.KEY), " = ", Span(button(plan), Role.STRONG if refusal is None else Role.MUTED), " "
    )
    # The act on the key is what must be readable; what is at the left gives way.
    room = max(cells - width_of(left) - 12, cells // 2 - 12, 10)
    right = (cancel, *clip(send, room))
    return spread(left, right, cells)


def refused(refusal: Refusal, cells: int) -> list[Line]:
    rows = wrapped(refusal.reason, cells, Role.CRIT, indent=" ")
    if refusal.hint:
        rows += wrapped(refusal.hint, cells, Role.TEXT, indent=" ")
    return rows


def progress(action: ActionProgress, glyphs: Glyphs, cells: int) -> list[Line]:
    """A line a step: not sent yet, sent, verified, rejected or unknown; and what is being done now."""
    rows: list[Line] = []
    results = {result.index: result for result in action.results}
    for index, step in enumerate(action.plan.steps):
        result = results.get(index)
        status = result.status if result else StepStatus.NOT_SENT
        severity, text = _STEPS[status]
        if result is None and action.outcome is None and index == action.step:
            severity, text = Severity.WAIT, _STAGES[action.stage]
        mark = Span(f" {glyphs.states[severity]} ", symbols.ROLES[severity])
        what = step.after if step.mutates else step.call
        rows.append(
            clip(
                line(mark, Span(f"{step.connection} ", Role.TITLE), f"{what}: ", Span(text, symbols.ROLES[severity])),
                cells,
            )
        )
        if result is not None and result.detail and status is not StepStatus.VERIFIED:
            rows += wrapped(str(result.detail), cells, Role.MUTED, indent="     ", limit=3)
        if result is not None:
            rows += [
                row for seen in result.observed for row in wrapped(seen, cells, Role.WARN, indent="     ", limit=2)
            ]
    return rows


_STAGES: Final[Mapping[Stage, str]] = MappingProxyType(
    {
        Stage.RECORDING: "recording the intent",
        Stage.SENDING: "sending",
        Stage.VERIFYING: "verifying by reading",
        Stage.ENDED: "ended",
    }
)


def outcome(result: Outcome, action: ActionProgress | None, glyphs: Glyphs, cells: int) -> list[Line]:
    """How it ended, in words; the steps; what was read back; and where it is recorded."""
    word, role = _OUTCOMES[result.kind]
    took = f" in {result.duration_s:.1f} s" if result.duration_s else ""
    by = f" by {result.by}" if result.by else ""
    rows = wrapped(f"{word}{by}{took}: {result.message}", cells, role, indent=" ")
    if action is not None:
        rows += progress(action, glyphs, cells)
    for text in result.verified:
        rows += wrapped(f"read back: {text}", cells, Role.TEXT, indent=" ")
    rows += wrapped(
        f"audited as intent {result.intent_id}: key 6, or mlrelease audit show {result.intent_id}",
        cells,
        Role.MUTED,
        indent=" ",
    )
    return rows


def outcome_word(result: Outcome | Refusal) -> tuple[str, Role]:
    if isinstance(result, Refusal):
        return "REFUSED", Role.CRIT
    return _OUTCOMES[result.kind]


def command(plan: Plan) -> str:
    """The same as a command of this tool."""
    target = plan.target.id
    parts = ["mlrelease", plan.verb.value, target, "--yes"]
    if plan.level >= Level.NAME:
        parts += ["--confirm", plan.target.name, "--reason", "'...'"]
    return " ".join(parts)
