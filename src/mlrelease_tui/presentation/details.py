"""Replicas, events and what bears on an endpoint, as lines. Pure."""

from __future__ import annotations

from datetime import datetime

from mlrelease_tui.domain.details import Details, Happening, Replica
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.presentation import words
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, line, wrapped
from mlrelease_tui.presentation.table import Column, heading, laid_out, row
from mlrelease_tui.presentation.times import age

_COLUMNS = (
    Column("name", "REPLICA", 20, flexible=True, most=60),
    Column("restarts", "RESTARTS", 8, right=True),
    Column("why", "ENDED BEFORE", 16),
    Column("node", "NODE", 12),
    Column("age", "AGE", 4, right=True),
    Column("image", "IMAGE", 20, from_width=120),
    Column("asks", "ASKS FOR", 34, from_width=150),
)


def replicas(found: Details | None, endpoint: Endpoint, now: datetime, glyphs: Glyphs, cells: int) -> list[Line]:
    """Every replica, by variant, with what ails it; above them what scales them and what may be taken of them."""
    if found is None or found.error:
        return _nothing(found, cells)
    rows: list[Line] = []
    for word, told in found.bearings:
        rows += wrapped(str(told), cells, indent=f" {word:<11}")
    columns = laid_out(_COLUMNS, cells - 4)
    for variant in endpoint.variants:
        mine = [one for one in found.replicas if one.variant == variant.name]
        ready = f"{sum(one.ready for one in mine)} of {len(mine)} ready"
        asks = "" if any(column.key == "asks" for column in columns) else _asks(mine)
        rows += [
            *([EMPTY] if rows else []),
            line(
                Span(f" {variant.role} {words.version(variant.version)}", Role.HEADING),
                Span(f"  {ready}", Role.TEXT),
                Span(f"  each asks for {asks}" if asks else "", Role.MUTED),
            ),
        ]
        if mine:
            rows.append((Span("   "), *heading(columns)))
        for one in mine:
            rows += _replica(one, columns, now, glyphs, cells)
    if not endpoint.variants:
        rows.append(line(Span(" nothing is deployed here", Role.MUTED)))
    return rows + _notes(found, cells)


def _asks(mine: list[Replica]) -> str:
    """What every one of them asks for, "" where they differ."""
    asked = {str(one.asks) for one in mine}
    return asked.pop() if len(asked) == 1 else ""


def _replica(one: Replica, columns: tuple[Column, ...], now: datetime, glyphs: Glyphs, cells: int) -> list[Line]:
    severity, role = (Severity.OK, Role.OK) if one.ready else (Severity.WARN, Role.WARN)
    shown = {
        "name": Span(one.name),
        "restarts": Span(str(one.restarts), Role.WARN if one.restarts else Role.TEXT),
        "why": Span(one.why, Role.WARN),
        "node": Span(one.node),
        "age": Span(age(one.started_at, now)),
        "image": Span(one.image),
        "asks": Span(one.asks, Role.MUTED),
    }
    rows: list[Line] = [(Span(f" {glyphs.states[severity]} ", role), *row(columns, shown, glyphs.ellipsis))]
    if not one.ready:
        rows += wrapped(str(one.state), cells, Role.WARN, indent="     ", limit=2)
    return rows


def happenings(found: Details | None, now: datetime, glyphs: Glyphs, cells: int) -> list[Line]:
    """What the backend says happened, newest first: two lines each."""
    if found is None or found.error:
        return _nothing(found, cells)
    rows = [item for one in found.happenings for item in _happening(one, now, glyphs, cells)]
    if not rows and not found.notes:
        rows = [line(Span(" no event is kept", Role.MUTED))]
    return rows + _notes(found, cells)


def _happening(one: Happening, now: datetime, glyphs: Glyphs, cells: int) -> list[Line]:
    severity, role = (Severity.WARN, Role.WARN) if one.warning else (Severity.OK, Role.TEXT)
    mark = glyphs.states[Severity.WARN] if one.warning else " "
    head = line(
        Span(f" {_when(one.at, now)} ", Role.MUTED),
        Span(f"{mark} ", role),
        Span(one.reason, Role.STRONG if severity is Severity.OK else role),
        Span(f" x{one.count}" if one.count > 1 else "", role),
        Span(f"  {one.about}", Role.MUTED),
        Span(f"  by {one.by}" if one.by else "", Role.MUTED),
    )
    return [head, *wrapped(str(one.text), cells, Role.TEXT, indent=" " * 12, limit=3)]


def _when(at: datetime | None, now: datetime) -> str:
    if at is None:
        return f"{'-':>9}"
    return f"{at:%H:%M:%S}Z" if at.date() == now.date() else f"{at:%m-%d %H}h "


def _notes(found: Details, cells: int) -> list[Line]:
    return [row for note in found.notes for row in wrapped(str(note), cells, Role.STALE, indent=" ! ")]


def _nothing(found: Details | None, cells: int) -> list[Line]:
    if found is None:
        return [line(Span(" reading ...", Role.MUTED))]
    return [
        *wrapped(str(found.error), cells, Role.WARN, indent=" "),
        *(wrapped(str(found.hint), cells, indent=" ") if found.hint else []),
    ]
