"""The footer: the keys that are valid now, as many whole ones as fit. What is left out is behind `?`."""

from __future__ import annotations

from collections.abc import Sequence

from mlrelease_tui.presentation.lines import Line, Role, Span, line, width

Named = tuple[str, str]
"""A key as it is written, and one or two words for what it does."""


def footer(items: Sequence[Named], cells: int) -> Line:
    """`items` are in the order of need; the last one (the help) always stays. One that does not fit is left out whole."""
    if not items:
        return ()
    room = cells - 1 - _width(items[-1])
    chosen: list[Named] = []
    for item in items[:-1]:
        if _width(item) + 2 <= room:
            chosen.append(item)
            room -= _width(item) + 2
    parts: list[Span | str] = [" "]
    for index, (key, word) in enumerate([*chosen, items[-1]]):
        parts += ["  " if index else "", Span(key, Role.KEY), Span(f" {word}", Role.MUTED)]
    return line(*parts)


def _width(item: Named) -> int:
    return width(item[0]) + 1 + width(item[1])
