"""Connections as rows and as text: does it answer, how fast, as whom, since when not, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.presentation import glyphs as symbols
from mlrelease_tui.presentation import words
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.header import Link
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, clip, fit, line, wrapped
from mlrelease_tui.presentation.matching import matches as matches_words
from mlrelease_tui.presentation.table import Column
from mlrelease_tui.presentation.times import age, moment, staleness

COLUMNS: Final = (
    Column("state", "STATE", 8),
    Column("name", "NAME", 13),
    Column("kind", "KIND", 10),
    Column("latency", "MS", 5, right=True),
    Column("age", "READ", 6, right=True),
    Column("credential", "AUTH", 9),
    Column("says", "SERVER OR ERROR", 20, flexible=True),
)
ROOMY_CELLS: Final = 90
ROOMY: Final = tuple(Column("name", "NAME", 20) if column.key == "name" else column for column in COLUMNS)
WIDE: Final = (COLUMNS[0], Column("name", "NAME", 20, flexible=True), COLUMNS[2])
SORTS: Final = {"state": "worst first", "name": "name", "kind": "kind", "latency": "slowest first"}
LABEL: Final = 13

_STATES: Final[Mapping[LinkState, tuple[Severity, str]]] = MappingProxyType(
    {
        LinkState.DOWN: (Severity.CRIT, "DOWN"),
        LinkState.AUTH: (Severity.CRIT, "AUTH"),
        LinkState.BROKEN: (Severity.CRIT, "BROKEN"),
        LinkState.SLOW: (Severity.WARN, "SLOW"),
        LinkState.UNKNOWN: (Severity.UNKNOWN, "ASKING"),
        LinkState.OK: (Severity.OK, "OK"),
    }
)
_MEANINGS: Final[Mapping[LinkState, str]] = MappingProxyType(
    {
        LinkState.OK: "answers",
        LinkState.SLOW: "answers, but late",
        LinkState.DOWN: "refuses, or is silent",
        LinkState.AUTH: "does not take our credential",
        LinkState.BROKEN: "the connector itself failed, or can't be loaded",
        LinkState.UNKNOWN: "was not asked yet",
    }
)


def columns(cells: int, *, wide: bool) -> tuple[Column, ...]:
    """What a list of `cells` cells shows; names have more room where there is some."""
    return WIDE if wide else ROOMY if cells >= ROOMY_CELLS else COLUMNS


def severity(link: Link) -> Severity:
    """How bad it is. A connection that answers a probe while its reads fail is stale, not fine."""
    state = _STATES[link.health.state][0]
    if link.failing and state in {Severity.OK, Severity.UNKNOWN}:
        return Severity.STALE
    return Severity.WARN if state is Severity.OK and link.health.warnings else state


def state(link: Link, glyphs: Glyphs) -> Span:
    """Glyph and word: "✗DOWN", "✓OK", "~STALE"."""
    level = severity(link)
    word = symbols.WORDS[level] if level in {Severity.STALE, Severity.WARN} else _STATES[link.health.state][1]
    word = "SLOW" if link.health.state is LinkState.SLOW else word
    return Span(f"{glyphs.states[level]}{word}", symbols.ROLES[level])


def credential(link: Link) -> str:
    """Where the credential comes from ("keyring"), never what it is."""
    return link.health.credential_source


def says(link: Link, error: str) -> Span:
    """The one thing that is worth a column: what is wrong, else what is odd, else who answers."""
    health = link.health
    if health.error:
        return Span(str(health.error), symbols.LINK_ROLES[health.state])
    if link.failing:
        return Span(error, Role.STALE)
    if health.warnings:
        return Span(str(health.warnings[0]), Role.WARN)
    return Span(str(health.server or health.address))


def cells(link: Link, error: str, now: datetime, glyphs: Glyphs) -> dict[str, Span]:
    """The cells of a row. `error` is what the last failed read said."""
    health = link.health
    old = staleness(link.read_at, now) if link.read_at is not None else ""
    if link.from_cache and not old:
        # Read by an earlier run; this one has not read it yet.
        old = age(link.read_at, now)
    return {
        "state": state(link, glyphs),
        "name": Span(health.name, Role.STRONG),
        "kind": Span(health.kind),
        "latency": Span(words.milliseconds(health.latency_s)),
        "age": Span("" if link.read_at is None else f"~{old}" if old else "fresh", Role.STALE if old else Role.TEXT),
        "credential": Span(credential(link)),
        "says": says(link, error),
    }


def sort_key(column: str) -> Callable[[Link], tuple[object, ...]]:
    """How rows are ordered by a column of `SORTS`; what is unknown comes last."""

    def key(link: Link) -> tuple[object, ...]:
        name = link.health.name
        match column:
            case "name":
                return (name,)
            case "kind":
                return (link.health.kind, name)
            case "latency":
                latency = link.health.latency_s
                return (latency is None, -(latency or 0.0), name)
            case _:
                return (severity(link).rank, name)

    return key


def matches(link: Link, wanted: str) -> bool:
    health = link.health
    parts = [health.name, health.kind, health.environment, _STATES[health.state][1], credential(link)]
    parts += [str(health.server), str(health.address), str(health.error), *health.capabilities]
    return matches_words(" ".join(parts), wanted)


def note(link: Link | None, error: str, cells: int) -> list[Line]:
    """Two lines: what is wrong with the selected connection, and what to do next."""
    if link is None:
        return [EMPTY, EMPTY]
    health = link.health
    name = health.name or '""'
    head = Span(f" {name}: ", Role.STRONG)
    wrong = str(health.error) or (error if link.failing else "")
    if wrong:
        next_step = str(health.hint) or "r asks again"
        return [
            clip(line(head, Span(wrong, symbols.ROLES[severity(link)])), cells),
            clip(line(Span(f" {next_step}", Role.TEXT)), cells),
        ]
    first = Span(_MEANINGS[health.state], Role.MUTED)
    odd = Span(f" {health.warnings[0]}", Role.WARN) if health.warnings else Span("")
    return [clip(line(head, first), cells), clip(line(odd), cells)]


def detail(link: Link, failure: tuple[str, datetime] | None, now: datetime, glyphs: Glyphs, cells: int) -> list[Line]:
    """A connection in full. `failure` is what the last failed read said, and since when reads fail."""
    health = link.health
    rows: list[Line] = [
        clip(
            line(Span(f" {health.name}", Role.STRONG), Span(f"  {health.kind}  ", Role.MUTED), state(link, glyphs)),
            cells,
        )
    ]
    rows += wrapped(_MEANINGS[health.state], cells, Role.MUTED, indent=" ")
    if health.error:
        rows += [EMPTY, line(Span(" WHAT IS WRONG", Role.HEADING))]
        code = f" ({health.error_code})" if health.error_code else ""
        rows += wrapped(f"{health.error}{code}", cells, symbols.LINK_ROLES[health.state], indent=" ")
        rows += wrapped(str(health.hint), cells, Role.TEXT, indent=f" {glyphs.arrow} ") if health.hint else []
    if failure is not None:
        message, since = failure
        rows += [
            EMPTY,
            line(Span(" READS FAIL", Role.HEADING), Span(f"  since {since:%H:%M:%S}Z, {age(since, now)}", Role.STALE)),
        ]
        if message and message != health.error:
            rows += wrapped(message, cells, Role.STALE, indent=" ")
    for warning in health.warnings:
        rows += [EMPTY, *wrapped(str(warning), cells, Role.WARN, indent=f" {glyphs.states[Severity.WARN]} ")]
    rows.append(EMPTY)
    asked = f"{moment(health.observed_at)} ({age(health.observed_at, now)} ago)" if health.observed_at else ""
    read = f"{moment(link.read_at)} ({age(link.read_at, now)} ago)" if link.read_at is not None else "never"
    facts = (
        ("environment", health.environment),
        ("address", str(health.address)),
        ("server", str(health.server)),
        ("we are", str(health.identity)),
        ("credential", f"from {credential(link)}" if credential(link) else "none"),
        ("latency", f"{words.milliseconds(health.latency_s)} ms" if health.latency_s is not None else ""),
        ("asked", asked),
        ("read whole", f"{read}, in an earlier run" if link.from_cache and link.read_at else read),
    )
    for label, value in facts:
        rows += _labelled(label, value, cells)
    rows += [EMPTY, line(Span(" CAN", Role.HEADING))]
    rows += wrapped(", ".join(health.capabilities) or "not known: it never answered", cells, Role.TEXT, indent=" ")
    return rows


def _labelled(label: str, value: str, cells: int) -> list[Line]:
    rows = wrapped(value or words.UNKNOWN, max(cells - LABEL - 1, 8), Role.TEXT if value else Role.MUTED, limit=6)
    return [
        line(Span(f" {fit(label if not index else '', LABEL - 1)} ", Role.MUTED), *row)
        for index, row in enumerate(rows)
    ]
