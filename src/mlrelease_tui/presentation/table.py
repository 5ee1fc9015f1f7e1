"""Columns and rows of a table: fixed widths that depend on the terminal's width alone, so that nothing moves on update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlrelease_tui.presentation.lines import Line, Role, Span, fit

GAP = " "


@dataclass(frozen=True, slots=True)
class Column:
    """`cells` is the width, or the least width where `flexible`, which grows to `most` (0: without end). Shown only where the
    table is at least `from_width` wide."""

    key: str
    title: str
    cells: int
    right: bool = False
    flexible: bool = False
    from_width: int = 0
    most: int = 0


def laid_out(columns: Sequence[Column], cells: int) -> tuple[Column, ...]:
    """The columns that a table of `cells` cells shows; the flexible one takes the room that is left.

    Where not all have room the last are left out: a number whose end is cut off is another number.
    """
    shown = [column for column in columns if column.from_width <= cells]
    while len(shown) > 2 and _taken(shown) > cells:
        shown.pop()
    spare = max(cells - _taken(shown), 0)
    return tuple(replace(c, cells=_grown(c, spare)) if c.flexible else c for c in shown)


def _taken(columns: Sequence[Column]) -> int:
    return sum(column.cells for column in columns) + len(GAP) * (len(columns) - 1)


def _grown(column: Column, spare: int) -> int:
    return min(column.cells + spare, column.most) if column.most else column.cells + spare


def heading(columns: Sequence[Column], sorted_by: str = "", marker: str = "") -> Line:
    """The line of titles; the column by which the rows are sorted carries the marker."""
    spans: list[Span] = []
    for index, column in enumerate(columns):
        title = column.title + marker if column.key == sorted_by else column.title
        gap = GAP if index else ""
        spans.append(Span(gap + fit(title, column.cells, right=column.right), Role.HEADING))
    return tuple(spans)


def row(columns: Sequence[Column], cells: Mapping[str, Span], ellipsis: str = "…") -> Line:
    """One row: a span for each column, each exactly as wide as its column. A missing cell is "-", never empty."""
    spans: list[Span] = []
    for index, column in enumerate(columns):
        cell = cells.get(column.key)
        if cell is None or not cell.text:
            cell = Span("-", Role.MUTED)
        gap = GAP if index else ""
        spans.append(Span(gap + fit(cell.text, column.cells, right=column.right, ellipsis=ellipsis), cell.role))
    return tuple(spans)
