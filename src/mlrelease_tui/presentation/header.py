"""The two lines that never move: where am I, may I write, what burns, what waits, is it fresh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.presentation import glyphs as symbols
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import Line, Role, Span, cut, joined, line, spread, width, width_of
from mlrelease_tui.presentation.times import clock, staleness

CRUMBS: Final = 6
"""Cells below which crumbs tell nothing."""


@dataclass(frozen=True, slots=True)
class Link:
    """A connection as the header shows it: `read_at` the last whole read, `failing` since when reads fail."""

    health: ConnectionHealth
    read_at: datetime | None
    failing: bool
    from_cache: bool


@dataclass(frozen=True, slots=True)
class Heading:
    """What the first line says. `counts` by severity, `frozen` whether the screen is frozen, `unresolved` how many actions
    have an outcome that nobody knows yet."""

    crumbs: Sequence[str]
    operator: str
    access: Access
    counts: Mapping[Severity, int]
    now: datetime
    busy: int = 0
    frozen: bool = False
    slow_link: bool = False
    unresolved: int = 0


def access(value: Access, now: datetime) -> Span:
    """ "[READ-ONLY]" or "[ARMED until 14:21Z]", each in words and reversed."""
    if value.may_write(now) is None and value.armed_until is not None:
        return Span(f"[ARMED until {clock(value.armed_until)}]", Role.ARMED)
    return Span("[LOCKED]" if value.locked else "[READ-ONLY]", Role.LOCKED)


def first(heading: Heading, glyphs: Glyphs, cells: int) -> Line:
    """Crumbs, operator, access; at the right what runs, what burns and the clock."""
    right: list[Line] = []
    if heading.frozen:
        right.append(line(Span("FROZEN", Role.WARN)))
    if heading.slow_link:
        right.append(line(Span("slow link", Role.MUTED)))
    if heading.busy:
        right.append(line(Span(f"{heading.busy} RUNNING", Role.ARMED)))
    if heading.unresolved:
        right.append(line(Span(f"{heading.unresolved} OPEN", Role.WARN)))
    told = access(heading.access, heading.now)
    who = line("  ", told, "  ", Span(heading.operator, Role.MUTED))
    tail = _tail(right, heading, cells - width(told.text) - 4)
    space = cells - width_of(tail) - width(told.text) - 4
    if space < CRUMBS:
        # Whether one may write comes before where one is and who one is.
        named = Span(f"  {heading.operator}" if width(heading.operator) + 2 < space + 2 else "", Role.MUTED)
        return spread(line(" ", told, named), tail, cells)
    room = min(max(cells - width_of(tail) - width_of(who) - 2, 12), space)
    shown = list(heading.crumbs)
    arrow = f" {glyphs.arrow} "
    while len(shown) > 1 and width(arrow.join(shown)) > room:
        del shown[0]
    head = line(" ", Span(cut(arrow.join(shown), room, glyphs.ellipsis), Role.TITLE), *who)
    return spread(head, tail, cells)


def _tail(right: Sequence[Line], heading: Heading, room: int) -> Line:
    """What runs and what burns, and the clock. Where there is no room the milder are counted together: "1 CRIT +4"."""
    worst_first = (Severity.CRIT, Severity.WARN, Severity.HOLD, Severity.WAIT, Severity.STALE)
    burning = [(severity, heading.counts.get(severity, 0)) for severity in worst_first if heading.counts.get(severity)]
    at = line(Span(clock(heading.now), Role.STRONG), " ")
    for named in range(len(burning), -1, -1):
        parts = [
            line(Span(f"{count} {symbols.WORDS[severity]}", symbols.ROLES[severity]))
            for severity, count in burning[:named]
        ]
        rest = sum(count for _, count in burning[named:])
        more = [line(Span(f"+{rest}", Role.WARN))] if rest else []
        tail = joined([*right, *parts, *more, at], " ")
        if width_of(tail) <= room or named <= 1:
            return tail
    return at


def link(item: Link, now: datetime) -> Line:
    """One connection: "prod-eu ok", "edge down 4m", "mlflow auth"."""
    name = Span(f"{item.health.name} ", Role.TEXT)
    old = staleness(item.read_at or item.health.observed_at, now) if item.read_at or item.health.observed_at else ""
    state = item.health.state
    if item.from_cache and state is LinkState.UNKNOWN:
        known = f"last known {old}".rstrip() if item.read_at is not None else "asking"
        return line(name, Span(known, Role.STALE))
    if item.failing and state in {LinkState.OK, LinkState.UNKNOWN}:
        return line(name, Span(f"stale {old}".rstrip(), Role.STALE))
    if state is LinkState.UNKNOWN:
        return line(name, Span("asking", Role.UNKNOWN))
    if state in {LinkState.OK, LinkState.SLOW} and not old:
        return line(name, Span(state.value, symbols.LINK_ROLES[state]))
    word = "stale" if state is LinkState.OK else state.value.upper()
    role = Role.STALE if state is LinkState.OK else symbols.LINK_ROLES[state]
    return line(name, Span(f"{word} {old}".rstrip(), role))


def second(links: Sequence[Link], now: datetime, glyphs: Glyphs, cells: int) -> Line:
    """All connections, the troubled ones first; what does not fit is counted."""
    if not links:
        return line(Span(" no connection has answered yet", Role.MUTED))
    ordered = sorted(links, key=lambda item: (item.health.state is LinkState.OK and not item.failing, item.health.name))
    shown: list[Line] = []
    used = 1
    for index, item in enumerate(ordered):
        part = link(item, now)
        left = len(ordered) - index - 1
        more = f" {glyphs.separator} {left} more" if left else ""
        if shown and used + width_of(part) + 3 + len(more) > cells:
            shown.append(line(Span(f"{left + 1} more", Role.MUTED)))
            break
        shown.append(part)
        used += width_of(part) + 3
    return line(" ", *joined(shown, Span(f" {glyphs.separator} ", Role.MUTED)))
