"""A plan as it is confirmed: what is written where, what it assumes, what was looked at, how it is undone, what became of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.action import ActionProgress, Stage
from mlrelease_tui.domain.plan import CheckStatus, FieldChange, Level, Outcome, OutcomeKind, Plan, Refusal, StepStatus
from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Verb
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.presentation import glyphs as symbols
from mlrelease_tui.presentation import words, writes
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import (
    Line,
    Role,
    Span,
    clip,
    cut,
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
        OutcomeKind.FAILED: ("FAILED", Role.CRIT),
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
        StepStatus.FAILED: (Severity.CRIT, "carried out, and it did not work"),
        StepStatus.UNKNOWN: (Severity.UNKNOWN, "sent, and nobody can say yet"),
    }
)

_VERSION: Final = re.compile(r"\b(to|of|at) (\d+)(?=$|[ ,;:)])")

VERB_WORDS: Final[Mapping[Verb, str]] = MappingProxyType({Verb.ROLLBACK: "roll back"})


def verb_word(verb: Verb) -> str:
    return VERB_WORDS.get(verb, verb.value)


def summary(plan: Plan) -> str:
    """What the plan is for, with versions as every page says them: "roll back fraud to v41"."""
    return _VERSION.sub(lambda found: f"{found[1]} {words.version(found[2])}", plan.summary)


def button(plan: Plan) -> str:
    """What the sending key is labelled with: the act itself, never "OK"."""
    told = summary(plan)
    return told[:1].upper() + told[1:] if told else verb_word(plan.verb).capitalize()


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
    """First one line a write (before, after), checks, undo and warnings; below them each call with what it assumes."""
    rows: list[Line] = []
    for index, step in enumerate(plan.steps, start=1):
        number = f" {index} " if len(plan.steps) > 1 else " "
        told = writes.change(step)
        before = (Span(told.before, Role.MUTED), f" {glyphs.arrow} ") if told.before else ()
        after = Span(told.after, Role.STRONG if step.mutates else Role.TEXT)
        label = Span("  best effort", Role.WARN) if step.best_effort else Span("")
        text = line(Span(number, Role.MUTED), Span(f"{told.kind:<9}", Role.TITLE), *before, after, label)
        rows += _broken(text, cells, indent=len(number))
    if plan.checks:
        rows += _checks(plan, glyphs, cells)
    rows += wrapped(plan.undo or "none", cells, Role.TEXT, indent=" undo   ")
    rows += [row for warning in plan.warnings for row in wrapped(warning, cells, Role.WARN, indent=" ! ")]
    rows.append(line(Span(" CALLS", Role.HEADING)))
    for index, step in enumerate(plan.steps, start=1):
        number = f" {index} " if len(plan.steps) > 1 else " "
        rows += wrapped(f"{step.connection}: {step.call}", cells, Role.TEXT, indent=number)
        rows += wrapped(f"only if {step.precondition}", cells, Role.MUTED, indent="   ")
        if step.undo:
            rows += wrapped(f"undo: {step.undo}", cells, Role.MUTED, indent="   ")
    rows += _dry_run(plan, glyphs, cells)
    if plan.checks:
        rows.append(line(Span(" CHECKS", Role.HEADING)))
        for check in plan.checks:
            severity = symbols.CHECK_SEVERITY[check.status]
            mark = f" {glyphs.states[severity]} "
            rows += wrapped(f"{check.name}: {check.text}", cells, symbols.ROLES[severity], indent=mark)
    return rows


def _dry_run(plan: Plan, glyphs: Glyphs, cells: int) -> list[Line]:
    """What a dry run said that would change, field by field, under the object's name."""
    changes = [change for check in plan.checks for change in check.changes]
    rows: list[Line] = []
    if changes:
        rows.append(line(Span(" DRY RUN: WHAT THE SERVER WOULD CHANGE", Role.HEADING)))
    for target in dict.fromkeys(change.target for change in changes):
        rows += wrapped(target, cells, Role.MUTED, indent=" ")
        for change in changes:
            if change.target == target:
                rows += _broken(_changed(change, glyphs), cells, indent=3)
    return rows


def _changed(change: FieldChange, glyphs: Glyphs) -> Line:
    hidden = change.before.startswith("(")
    before = () if hidden else (Span(change.before or "unset", Role.MUTED), Span(f" {glyphs.arrow} "))
    after = Span(change.after, Role.STRONG) if change.after else Span("removed", Role.WARN)
    beside = Span("  beside the plan", Role.WARN) if not change.asked else Span("")
    return line(Span(f"   {change.path}  ", Role.TEXT), *before, after, beside)


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
    """The checks that did not pass, with what they say; the ones that did by their names."""
    rows: list[Line] = []
    troubled = [check for check in plan.checks if check.status is not CheckStatus.PASS]
    troubled.sort(key=lambda check: symbols.CHECK_SEVERITY[check.status].rank)
    for check in troubled:
        severity = symbols.CHECK_SEVERITY[check.status]
        mark = f" {glyphs.states[severity]} "
        rows += wrapped(f"{check.name}: {check.text}", cells, symbols.ROLES[severity], indent=mark, limit=2)
    beside = sum(not change.asked for check in plan.checks for change in check.changes)
    if beside:
        fields_ = "field" if beside == 1 else "fields"
        told = f"dry run: the server would change {beside} {fields_} beside what the plan names (see below)"
        rows += wrapped(told, cells, Role.WARN, indent=" ! ", limit=2)
    passed = dict.fromkeys(check.name for check in plan.checks if check.status is CheckStatus.PASS)
    if passed:
        mark = f" {glyphs.states[Severity.OK]} "
        rows.append(clip(line(Span(mark, Role.OK), Span("checked: ", Role.MUTED), ", ".join(passed)), cells))
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


def buttons(
    plan: Plan, access: Access, now: datetime, said: str, cells: int, *, focused: bool, press: Callable[[str], str]
) -> Line:
    """The last line: what the plan was read from or what keeps it from going, Cancel, and the key that sends. `press` names the
    key of an action of the catalogue."""
    refusal = access.may_write(now)
    if said:
        left = line(Span(f" {said}", Role.WARN))
    elif refusal is not None:
        left = line(
            Span(" READ-ONLY" if refusal.code == "read_only" else f" {refusal.reason}", Role.LOCKED),
            Span(f" {press('plan.arm')} arms", Role.WARN),
        )
    else:
        at = max((item.observed_at for item in plan.read_from), default=plan.created_at)
        left = line(Span(f" read {at:%H:%M:%S}Z", Role.MUTED))
    cancel = Span("[ Cancel ]", Role.CURSOR if focused else Role.TEXT)
    send = line(
        "  ",
        Span(press("plan.send"), Role.KEY),
        " = ",
        Span(button(plan), Role.STRONG if refusal is None else Role.MUTED),
        " ",
    )
    # The act on the key is what must be readable; what is at the left gives way.
    room = max(cells - width_of(left) - 12, cells // 2 - 12, 10)
    right = (cancel, *clip(send, room))
    return spread(left, right, cells)


def missing(plan: Plan, name: str, reason: str, press: Callable[[str], str]) -> str:
    """What keeps a plan from being sent: a name or a reason that was not typed; "" where nothing does. `press` as for `buttons`."""
    if plan.level >= Level.NAME and name != target_name(plan):
        return f"{press('plan.reason')}: type the name {target_name(plan)} first"
    if plan.level >= Level.NAME and not reason:
        return f"{press('plan.reason')}: give a reason first"
    return ""


def titled(text: str, glyphs: Glyphs, cells: int) -> Line:
    """A title in a rule."""
    head = clip(line(Span(f" {text} ", Role.TITLE)), cells)
    return (*head, Span(glyphs.rule * (cells - width_of(head)), Role.MUTED))


def refused(refusal: Refusal, cells: int) -> list[Line]:
    rows = wrapped(refusal.reason, cells, Role.CRIT, indent=" ")
    if refusal.hint:
        rows += wrapped(refusal.hint, cells, Role.TEXT, indent=" ")
    return rows


def progress(action: ActionProgress, glyphs: Glyphs, cells: int) -> list[Line]:
    """A line a step: verified, in hand, rejected, unknown or still to come; and what is being done now."""
    rows: list[Line] = []
    results = {result.index: result for result in action.results}
    for index, step in enumerate(action.plan.steps):
        result = results.get(index)
        status = result.status if result else StepStatus.NOT_SENT
        severity, text = _STEPS[status]
        glyph, role = glyphs.states[severity], symbols.ROLES[severity]
        if status is StepStatus.NOT_SENT:
            glyph, role = " ", Role.MUTED
            text = "to come" if action.outcome is None else "not sent"
        if result is None and action.outcome is None and index == action.step:
            glyph, role = glyphs.states[Severity.WAIT], Role.WAIT
            waits = not step.mutates and action.stage is Stage.SENDING
            text = "waiting" if waits else _STAGES[action.stage]
        told = writes.change(step)
        what = f"{told.before} {glyphs.arrow} {told.after}" if told.kind == "alias" else told.after
        text = f": {text}"
        head = line(Span(f" {glyph} ", role), Span(f"{told.kind:<9}", Role.TITLE))
        room = max(cells - width_of(head) - len(text), 8)
        rows.append(clip(line(*head, cut(what, room, glyphs.ellipsis), Span(text, role)), cells))
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


def outcome(
    result: Outcome,
    plan: Plan,
    action: ActionProgress | None,
    glyphs: Glyphs,
    cells: int,
    press: Callable[[str], str],
) -> list[Line]:
    """What is so now and where it is recorded; then the steps and what was read back. `press` as for `buttons`."""
    _, role = _OUTCOMES[result.kind]
    came_to = "; ".join(writes.essence(plan, result.steps))
    rows: list[Line] = []
    if result.kind is OutcomeKind.APPLIED and came_to:
        rows += wrapped(came_to, cells, role, indent=" ")
    else:
        by = f"by {result.by}: " if result.by else ""
        rows += wrapped(f"{by}{result.message}", cells, role, indent=" ")
        if came_to:
            rows += wrapped(f"so far: {came_to}", cells, Role.STRONG, indent=" ")
        if result.kind is OutcomeKind.UNKNOWN:
            rows += wrapped(_UNKNOWN_NEXT, cells, Role.TEXT, indent=" ")
    where = f"audited: key {press('app.view_audit')}, or mlrelease audit show {result.intent_id}"
    rows += wrapped(where, cells, Role.MUTED, indent=" ")
    if action is not None:
        rows += progress(action, glyphs, cells)
    for text in result.verified:
        rows += wrapped(f"read back: {text}", cells, Role.TEXT, indent=" ")
    return rows


def ending_title(plan: Plan, ending: Outcome | Refusal) -> str:
    """How it ended, how long it took, what it was: "APPLIED in 37 s: roll back diabetes to 2"."""
    word, _ = outcome_word(ending)
    took = f" in {ending.duration_s:.0f} s" if isinstance(ending, Outcome) and ending.duration_s >= 1 else ""
    return f"{word}{took}: {summary(plan) or f'{verb_word(plan.verb)} {plan.target.name}'}"


_UNKNOWN_NEXT: Final = (
    "It is open in the audit and is read again; do not send it twice. The row above shows what is so."
)


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
