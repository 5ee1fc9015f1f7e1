"""The audit as actions: the records that share an intent are one row, and one text that tells them in order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.action import ActionProgress, AuditCheck, AuditEntry, OpenAction
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.presentation import glyphs as symbols
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, clip, fit, line, width, width_of, wrapped
from mlrelease_tui.presentation.matching import matches as matches_words
from mlrelease_tui.presentation.table import Column
from mlrelease_tui.presentation.times import age, moment

COLUMNS: Final = (
    Column("at", "TIME", 11),
    Column("by", "BY", 8),
    Column("verb", "VERB", 9),
    Column("target", "TARGET", 18, flexible=True),
    Column("result", "RESULT", 14),
    Column("why", "WHY", 20, from_width=90),
)
WIDE: Final = tuple(column for column in COLUMNS if column.key in {"at", "target", "result"})
SORTS: Final = {"at": "newest first", "target": "target", "by": "who", "result": "worst result first"}

_RESULTS: Final[Mapping[str, Severity]] = MappingProxyType(
    {
        "applied": Severity.OK,
        "rejected": Severity.WARN,
        "failed": Severity.CRIT,
        "reverted": Severity.WARN,
        "denied": Severity.HOLD,
        "unknown": Severity.UNKNOWN,
        "not_applied": Severity.HOLD,
        "partial": Severity.CRIT,
        "superseded": Severity.WARN,
        "indeterminate": Severity.UNKNOWN,
    }
)
_ENDINGS: Final = frozenset({"outcome", "reconciled", "denied"})
_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "applied": "done, and seen by reading",
        "rejected": "the backend said no; nothing was changed by the last step",
        "failed": "carried out, and the backend says that it did not work",
        "reverted": "it was applied, and somebody put it back",
        "denied": "confirmed, but not begun",
        "unknown": "sent, and nobody could say what became of it",
        "not_applied": "the process ended; the target is as it was before",
        "partial": "the process ended half-way: some steps hold, the rest was not done",
        "superseded": "the process ended; somebody else wrote to the target since",
        "indeterminate": "the process ended; the target fits neither before nor after",
    }
)
LABEL: Final = 11


@dataclass(frozen=True, slots=True)
class Deed:
    """The records of one intent, oldest first, or one record that stands alone; `open` where no ending is written yet,
    `running` where it is under way in this program."""

    key: str
    entries: tuple[AuditEntry, ...]
    open: OpenAction | None = None
    running: ActionProgress | None = None

    @property
    def at(self) -> datetime:
        if self.entries:
            return self.entries[0].at
        if self.open is not None:
            return self.open.at
        assert self.running is not None  # noqa: S101 - a deed has at least one of the three
        return self.running.started_at

    def _first(self, read: Callable[[AuditEntry], str], other: str) -> str:
        return next((text for entry in self.entries if (text := read(entry))), other)

    @property
    def actor(self) -> str:
        fallback = str(self.open.actor) if self.open else self.running.by if self.running else ""
        return self._first(lambda entry: str(entry.actor), fallback)

    @property
    def verb(self) -> str:
        fallback = self.open.verb if self.open else str(self.running.plan.verb) if self.running else ""
        return self._first(lambda entry: entry.verb, fallback)

    @property
    def target(self) -> str:
        fallback = str(self.open.target) if self.open else self.running.plan.target.id if self.running else ""
        return self._first(lambda entry: str(entry.target), fallback)

    @property
    def why(self) -> str:
        return self._first(lambda entry: str(entry.why), self.running.why if self.running else "")

    @property
    def summary(self) -> str:
        return self._first(lambda entry: str(entry.summary), self.running.plan.summary if self.running else "")

    @property
    def intent_id(self) -> str:
        return self._first(lambda entry: entry.intent_id, self.open.intent_id if self.open else "")

    @property
    def ending(self) -> AuditEntry | None:
        """The last record that says how it ended."""
        return next((entry for entry in reversed(self.entries) if entry.kind in _ENDINGS), None)

    @property
    def severity(self) -> Severity:
        if self.running is not None or self.open is not None:
            return Severity.WAIT
        ending = self.ending
        if ending is None:
            return Severity.OK if self.entries and self.entries[0].kind not in _CHAINED else Severity.UNKNOWN
        return _RESULTS.get(ending.result, Severity.UNKNOWN)


_CHAINED: Final = frozenset({"intent", "sent", "step"})
"""Records that something must follow."""


def deeds(
    entries: Sequence[AuditEntry], open_actions: Iterable[OpenAction], running: Iterable[ActionProgress]
) -> tuple[Deed, ...]:
    """Actions newest first, those under way and those without an ending on top."""
    chains: dict[str, list[AuditEntry]] = {}
    for entry in entries:
        # Only an action's own records are one row with it; the log's and the session's stand alone.
        key = entry.intent_id if entry.intent_id and entry.kind in _CHAINED | _ENDINGS else entry.id
        chains.setdefault(key, []).append(entry)
    under_way = {action.intent_id: action for action in running if action.outcome is None}
    left_open = {action.intent_id: action for action in open_actions}
    for key in (*under_way, *left_open):
        chains.setdefault(key, [])
    found = [
        Deed(key, tuple(sorted(chain, key=lambda entry: entry.at)), left_open.get(key), under_way.get(key))
        for key, chain in chains.items()
    ]
    found.sort(key=lambda deed: (deed.running is None and deed.open is None, -deed.at.timestamp()))
    return tuple(found)


def result(deed: Deed, glyphs: Glyphs) -> Span:
    """Glyph and word: "✓applied", "*OPEN", "*RUNNING"."""
    severity = deed.severity
    ending = deed.ending
    if deed.running is not None:
        word = "RUNNING"
    elif deed.open is not None:
        word = "OPEN"
    elif ending is not None:
        word = ending.result.replace("_", " ") or ending.kind
    elif severity is Severity.UNKNOWN:
        word = "no ending"
    else:
        return Span("-", Role.MUTED)
    return Span(f"{glyphs.states[severity]}{word}", symbols.ROLES[severity])


def stamp(at: datetime, now: datetime) -> str:
    """ "01:29:04Z" today, "02-28 01:29Z" before."""
    return f"{at:%H:%M:%S}Z" if at.date() == now.date() else f"{at:%m-%d %H:%M}"


def cells(deed: Deed, now: datetime, glyphs: Glyphs) -> dict[str, Span]:
    return {
        "at": Span(stamp(deed.at, now), Role.MUTED),
        "by": Span(deed.actor),
        "verb": Span(deed.verb or (deed.entries[0].kind if deed.entries else ""), Role.STRONG),
        "target": Span(deed.target),
        "result": result(deed, glyphs),
        "why": Span(deed.why or deed.summary, Role.MUTED),
    }


def sort_key(column: str) -> Callable[[Deed], tuple[object, ...]]:
    """Within the open ones and within the others: what is open stays on top in every order."""

    def key(deed: Deed) -> tuple[object, ...]:
        top = deed.running is None and deed.open is None
        newest = -deed.at.timestamp()
        match column:
            case "target":
                return (top, deed.target, newest)
            case "by":
                return (top, deed.actor, newest)
            case "result":
                return (top, deed.severity.rank, newest)
            case _:
                return (top, newest)

    return key


def matches(deed: Deed, wanted: str) -> bool:
    """Whether a filter's words are found in who, what, where, why, how it ended, or an id."""
    ending = deed.ending
    text = [deed.actor, deed.verb, deed.target, deed.why, deed.summary, deed.intent_id, ending.result if ending else ""]
    text += [entry.kind for entry in deed.entries]
    text += ["open"] if deed.open is not None else []
    return matches_words(" ".join(text), wanted)


def meaning(deed: Deed) -> tuple[str, Role]:
    """What the row's state means for who looks at it, in one sentence."""
    if deed.running is not None:
        action = deed.running
        return f"under way here: {action.stage} step {action.step + 1} of {len(action.plan.steps)}", Role.ARMED
    if deed.open is not None:
        return _open(deed.open), Role.WARN
    ending = deed.ending
    if ending is not None:
        return _MEANINGS.get(ending.result, str(ending.summary)), symbols.ROLES[deed.severity]
    if deed.severity is Severity.UNKNOWN:
        return "how it ended is not among the records read: `mlrelease audit show` has them all", Role.UNKNOWN
    return deed.summary, Role.MUTED


def _open(action: OpenAction) -> str:
    process = f"{action.host + ' ' if action.host else ''}process {action.pid}"
    if action.alive:
        return f"{process} is still at it: wait for its outcome"
    if not action.sent_steps:
        return f"{process} died before it sent anything; r looks at the target"
    steps = "step 1" if action.sent_steps == (0,) else f"{len(action.sent_steps)} steps"
    return f"{process} died after {steps}, effect unknown; r looks again"


def note(deed: Deed | None, check: Line, opened: int, cells: int) -> list[Line]:
    """Two lines under the list: what the selected row means; what is open, and whether the log holds."""
    if deed is None:
        return [EMPTY, check]
    text, role = meaning(deed)
    head = Span(f" {deed.verb or 'record'}: ", Role.STRONG)
    pending = Span(f" {opened} without an ending;", Role.WARN) if opened else Span("")
    return [clip(line(head, Span(text, role)), cells), clip(line(pending, *check), cells)]


def checked(check: AuditCheck | None, running: bool, now: datetime, glyphs: Glyphs) -> Line:
    """Whether the log was verified, and what that found, in one line."""
    if running:
        return line(Span(" verifying every record and link ...", Role.MUTED))
    if check is None:
        return line(Span(" not verified in this session: V checks every record", Role.MUTED))
    when = f", checked {age(check.at, now)} ago"
    counted = f"{check.records} records, {check.chains} chain{'s' if check.chains != 1 else ''}"
    if not check.problem_count:
        return line(Span(f" {glyphs.states[Severity.OK]}INTACT", Role.OK), Span(f" {counted}{when}", Role.MUTED))
    word, severity = ("BROKEN", Severity.CRIT) if check.broken else ("INCOMPLETE", Severity.WARN)
    first = f": {check.problems[0]}" if check.problems else ""
    more = f" (+{check.problem_count - 1} more)" if check.problem_count > 1 else ""
    return line(
        Span(f" {glyphs.states[severity]}{word}", symbols.ROLES[severity]),
        Span(f"{first}{more}", Role.TEXT),
        Span(f"; {counted}{when}", Role.MUTED),
    )


# --- a record in full -------------------------------------------------------------------------------------------------


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
    rows += _labelled("by", f"{deed.actor or 'unknown'}, {moment(deed.at)} ({age(deed.at, now)} ago)", cells)
    rows += _labelled("why", deed.why or "no reason given", cells)
    if deed.summary:
        rows += _labelled("what", deed.summary, cells)
    if deed.intent_id:
        rows += _labelled("intent", deed.intent_id, cells)
    if not deed.entries:
        return rows
    steps = _steps(deed)
    if steps:
        rows += [EMPTY, line(Span(" BEFORE AND AFTER", Role.HEADING))]
        for index, step in enumerate(steps, start=1):
            rows += _change(index, step, glyphs, cells)
    chains = sorted({entry.chain for entry in deed.entries})
    rows += [EMPTY, clip(line(Span(" RECORDS", Role.HEADING), Span(f"  chain {', '.join(chains)}", Role.MUTED)), cells)]
    if deed.entries[0].kind not in {"intent", "denied"} and deed.entries[0].kind in _CHAINED | _ENDINGS:
        rows += wrapped("the intent itself is older than what was read", cells, Role.MUTED, indent=" ")
    for entry in deed.entries:
        rows += _entry(entry, now, glyphs, cells)
    if deed.open is not None:
        rows.append(
            line(Span(f" {fit('-', 11)} {fit('outcome', 10)} ", Role.MUTED), Span("not written yet", Role.WARN))
        )
    if check is not None and check.problem_count:
        rows += [EMPTY, line(Span(" THE LOG", Role.HEADING))]
        for problem in check.problems:
            rows += wrapped(str(problem), cells, Role.CRIT if check.broken else Role.WARN, indent=" ")
    return rows


def _labelled(label: str, value: str, cells: int) -> list[Line]:
    rows = wrapped(value, max(cells - LABEL - 1, 8), limit=8)
    return [
        line(Span(f" {fit(label if not index else '', LABEL - 1)} ", Role.MUTED), *row)
        for index, row in enumerate(rows)
    ]


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
    rows = [rows[0], *((Span(" " * len(head)), *row[1:]) for row in rows[1:])]
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
