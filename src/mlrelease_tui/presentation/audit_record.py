"""One action of the audit in full: one text that tells its records in order, or the records as the log has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from mlrelease_tui.domain.action import AuditCheck, AuditEntry
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.presentation.audit import CHAINED, ENDINGS, Deed, meaning, result, stamp
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.labels import heading, labelled
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, clip, fit, line, width, width_of, wrapped
from mlrelease_tui.presentation.times import age, moment


def text(deed: Deed, check: AuditCheck | None, now: datetime, glyphs: Glyphs, cells: int) -> list[Line]:
    """One action from its intent to its ending: what was before and after each write, and every record in order."""
    rows: list[Line] = [
        clip(
            line(Span(f" {deed.verb or 'record'} {deed.target}".rstrip(), Role.STRONG), "  ", result(deed, glyphs)),
            cells,
        )
    ]
    said, role = meaning(deed)
    rows += wrapped(said, cells, role, indent=" ") if said else []
    rows += labelled("by", f"{deed.actor or 'unknown'}, {moment(deed.at)} ({age(deed.at, now)} ago)", cells, limit=8)
    rows += labelled("why", deed.why or "no reason given", cells, limit=8)
    if deed.summary:
        rows += labelled("what", deed.summary, cells, limit=8)
    if deed.intent_id:
        rows += labelled("intent", deed.intent_id, cells, limit=8)
    if not deed.entries:
        return rows
    steps = _steps(deed)
    if steps:
        rows += [EMPTY, heading("BEFORE AND AFTER")]
        for index, step in enumerate(steps, start=1):
            rows += _change(index, step, glyphs, cells)
    chains = sorted({entry.chain for entry in deed.entries})
    rows += [EMPTY, clip(line(Span(" RECORDS", Role.HEADING), Span(f"  chain {', '.join(chains)}", Role.MUTED)), cells)]
    if deed.entries[0].kind not in {"intent", "denied"} and deed.entries[0].kind in CHAINED | ENDINGS:
        rows += wrapped("the intent itself is older than what was read", cells, Role.MUTED, indent=" ")
    for entry in deed.entries:
        rows += _entry(entry, now, glyphs, cells)
    if deed.open is not None:
        rows.append(
            line(Span(f" {fit('-', 11)} {fit('outcome', 10)} ", Role.MUTED), Span("not written yet", Role.WARN))
        )
    if check is not None and check.problem_count:
        rows += [EMPTY, heading("THE LOG")]
        for problem in check.problems:
            rows += wrapped(str(problem), cells, Role.CRIT if check.broken else Role.WARN, indent=" ")
    return rows


def _steps(deed: Deed) -> list[Mapping[str, object]]:
    """The writes that the intent recorded."""
    for entry in deed.entries:
        steps = _section(entry, "action").get("steps")
        if entry.kind == "intent" and isinstance(steps, list | tuple):
            return [step for step in steps if isinstance(step, Mapping)]
    return []


def _section(entry: AuditEntry, name: str) -> Mapping[str, object]:
    value = entry.detail.get(name)
    return value if isinstance(value, Mapping) else MappingProxyType({})


def _word(section: Mapping[str, object], key: str) -> str:
    value = section.get(key)
    return "" if value is None else str(SafeText(value))


def _change(index: int, step: Mapping[str, object], glyphs: Glyphs, cells: int) -> list[Line]:
    head = f" {index} {_word(step, 'connection')}: "
    rows = wrapped(
        f"{_word(step, 'before') or '-'} {glyphs.arrow} {_word(step, 'after') or '-'}", cells, Role.STRONG, indent=head
    )
    # Only the first line names the step; the others stand under its text.
    rows = [rows[0], *((Span(" " * width(head)), *row[1:]) for row in rows[1:])]
    for label, key in (("call", "call"), ("only if", "precondition"), ("undo", "undo")):
        value = _word(step, key)
        if value:
            rows += wrapped(f"{label}: {value}", cells, Role.MUTED, indent="   ", limit=6)
    return rows


def _entry(entry: AuditEntry, now: datetime, glyphs: Glyphs, cells: int) -> list[Line]:
    found, action = _section(entry, "result"), _section(entry, "action")
    told = _told(entry, found, action)
    head = line(
        Span(f" {fit(stamp(entry.at, now), 11)} ", Role.MUTED),
        Span(f"{fit(entry.kind, 10)} ", Role.TITLE),
        Span(f"#{entry.seq} {entry.line_hash[:8]}  ", Role.MUTED),
    )
    indent = " " * 13
    if width_of(head) + width(told) <= cells:
        rows = [(*head, Span(told))]
    else:
        rows = [clip(head, cells), *wrapped(told, cells, indent=indent, limit=8)]
    for seen in _listed(found.get("observed")) + _listed(found.get("verified")):
        rows += wrapped(f"read back: {seen}", cells, Role.MUTED, indent=indent, limit=4)
    return rows


def _told(entry: AuditEntry, found: Mapping[str, object], action: Mapping[str, object]) -> str:
    step = action.get("step")
    number = f"step {step + 1} " if isinstance(step, int) else ""
    match entry.kind:
        case "intent":
            steps = action.get("steps")
            count = f"{len(steps)} write{'s' if len(steps) != 1 else ''}, " if isinstance(steps, list | tuple) else ""
            level = _section(entry, "confirm").get("level")
            confirmed = f"confirmed at L{level}, " if isinstance(level, int) else ""
            return f"{count}{confirmed}plan {entry.plan_hash[:12]}"
        case "sent":
            return f"{number}{_word(action, 'call')}"
        case "step":
            return f"{number}{_word(found, 'status')} {_word(found, 'detail')}".rstrip()
        case "outcome" | "reconciled" | "denied":
            took = found.get("duration_ms")
            took_text = f" in {took / 1000:.1f} s" if isinstance(took, int) and took else ""
            by = f" by {_word(found, 'by')}" if found.get("by") else ""
            message = _word(found, "message") or str(entry.summary)
            return f"{entry.result or entry.kind}{by}{took_text}" + (f": {message}" if message else "")
        case _:
            return str(entry.summary)


def _listed(value: object) -> list[str]:
    return [str(SafeText(item)) for item in value] if isinstance(value, list | tuple) else []


def raw(deed: Deed, cells: int) -> list[Line]:
    """The records as the log has them, as indented JSON."""
    rows: list[Line] = []
    for entry in deed.entries:
        rows.append(line(Span(f" {entry.kind} #{entry.seq} ", Role.TITLE), Span(entry.line_hash[:16], Role.MUTED)))
        dumped = json.dumps(_plain(entry.detail), ensure_ascii=False, indent=2, sort_keys=True, default=str)
        for text_line in dumped.split("\n"):
            shown = str(SafeText(text_line))
            indent = " " * (len(shown) - len(shown.lstrip()) + 1)
            rows += wrapped(shown.strip(), cells, Role.TEXT, indent=indent, limit=40)
    return rows or [line(Span(" no record of it was read", Role.MUTED))]


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
