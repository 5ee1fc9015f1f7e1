"""The help page: keys by where they are valid. Given as plain values, so that it serves screens and documentation alike."""

from __future__ import annotations

from collections.abc import Sequence

from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, fit, line

Section = tuple[str, Sequence[tuple[str, str, str]]]
"""A heading and its (keys, what they do, `:` word) rows."""


def page(sections: Sequence[Section], cells: int) -> list[Line]:
    """All sections, one under the other."""
    rows: list[Line] = []
    for title, entries in sections:
        if not entries:
            continue
        rows += [line(Span(f" {title}", Role.HEADING))]
        for pressed, text, word in entries:
            command = f" :{word}" if word else ""
            # The commands stand in a column of their own, as far as the texts let them.
            room = max(cells - 22 - len(command), 20)
            told = fit(text, min(max(cells - 40, len(text)), room))
            rows.append(line(Span(f"   {fit(pressed, 18)}", Role.KEY), Span(told), Span(command, Role.MUTED)))
        rows.append(EMPTY)
    return rows
