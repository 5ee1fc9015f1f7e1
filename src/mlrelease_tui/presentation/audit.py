"""The audit as actions: the records that share an intent are one row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.action import ActionProgress, AuditCheck, AuditEntry, OpenAction
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.presentation import glyphs as symbols
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, clip, line
from mlrelease_tui.presentation.matching import matches as matches_words
from mlrelease_tui.presentation.table import Column
from mlrelease_tui.presentation.times import age

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
CHAINED: Final = frozenset({"intent", "sent", "step"})
"""Records that something must follow."""
ENDINGS: Final = frozenset({"outcome", "reconciled", "denied"})
"""Records that say how an action ended."""
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
        return next((entry for entry in reversed(self.entries) if entry.kind in ENDINGS), None)

    @property
    def severity(self) -> Severity:
        if self.running is not None or self.open is not None:
            return Severity.WAIT
        ending = self.ending
        if ending is None:
            return Severity.OK if self.entries and self.entries[0].kind not in CHAINED else Severity.UNKNOWN
        return _RESULTS.get(ending.result, Severity.UNKNOWN)


def deeds(
    entries: Sequence[AuditEntry], open_actions: Iterable[OpenAction], running: Iterable[ActionProgress]
) -> tuple[Deed, ...]:
    """Actions newest first, those under way and those without an ending on top."""
    chains: dict[str, list[AuditEntry]] = {}
    for entry in entries:
        # Only an action's own records are one row with it; the log's and the session's stand alone.
        key = entry.intent_id if entry.intent_id and entry.kind in CHAINED | ENDINGS else entry.id
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
