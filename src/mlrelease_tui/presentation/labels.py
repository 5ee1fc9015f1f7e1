"""What a thing is called and what it has, in lines: headings, labels with values, names with values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlrelease_tui.presentation import words
from mlrelease_tui.presentation.lines import Line, Role, Span, fit, line, width, wrapped

LABEL: Final = 11
"""Cells of the labels in a text."""


def name_of(text: str) -> str:
    """A name that can be seen: an empty one as two quotes."""
    return text or '""'


def heading(text: str) -> Line:
    return line(Span(f" {text}", Role.HEADING))


def labelled(label: str, text: str, cells: int, role: Role = Role.TEXT, *, limit: int = 12) -> list[Line]:
    """A label and its value, which goes on below itself where it is long."""
    rows = wrapped(text or words.UNKNOWN, max(cells - LABEL - 1, 8), role if text else Role.MUTED, limit=limit)
    pad = " " * (LABEL + 1)
    return [
        line(Span(f" {fit(label, LABEL - 1)} ", Role.MUTED) if not index else pad, *row)
        for index, row in enumerate(rows)
    ]


def pairs(values: Mapping[str, str], cells: int) -> list[Line]:
    """Names and values, the values in one column."""
    if not values:
        return [line(Span(" none recorded", Role.MUTED))]
    widest = min(max(width(name_of(key)) for key in values), max(cells // 2 - 2, 8))
    rows: list[Line] = []
    for key, value in sorted(values.items()):
        parts = wrapped(name_of(value), max(cells - widest - 3, 8), limit=4)
        rows += [
            line(Span(f" {fit(name_of(key) if not index else '', widest)}  ", Role.MUTED), *part)
            for index, part in enumerate(parts)
        ]
    return rows
