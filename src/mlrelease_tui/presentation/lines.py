"""Lines of text for a terminal: spans with a role each. A role is what a text means; the theme decides how that looks.

Markup is never built, so no text from outside can style, link or bind anything. Widths are terminal cells, not characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rich.cells import cell_len, set_cell_size


class Role(StrEnum):
    """What a piece of text means."""

    TEXT = "text"
    MUTED = "muted"
    STRONG = "strong"
    TITLE = "title"
    HEADING = "heading"
    KEY = "key"
    CRIT = "crit"
    WARN = "warn"
    WAIT = "wait"
    HOLD = "hold"
    STALE = "stale"
    UNKNOWN = "unknown"
    OK = "ok"
    STABLE = "stable"
    CANARY = "canary"
    LOCKED = "locked"
    ARMED = "armed"
    CURSOR = "cursor"
    BAR = "bar"


@dataclass(frozen=True, slots=True)
class Span:
    text: str
    role: Role = Role.TEXT


Line = tuple[Span, ...]
"""One line of the screen, left to right."""

Part = str | Span

EMPTY: Final[Line] = ()


def line(*parts: Part) -> Line:
    """A line from spans and plain strings; empty parts are left out."""
    return tuple(Span(part) if isinstance(part, str) else part for part in parts if part != "" and part != Span(""))


def plain(content: Line) -> str:
    return "".join(span.text for span in content)


def width(text: str) -> int:
    """Terminal cells that `text` takes."""
    return len(text) if text.isascii() else cell_len(text)


def width_of(content: Line) -> int:
    return sum(width(span.text) for span in content)


def cut(text: str, cells: int, ellipsis: str = "…") -> str:
    """`text` in at most `cells` cells; what is cut ends with the ellipsis."""
    if cells <= 0:
        return ""
    # Only so many characters can matter, each with a few marks: measuring ten thousand to show eighteen would cost each frame.
    head = text[: 6 * cells + 8]
    if len(head) == len(text) and width(text) <= cells:
        return text
    text = head
    if cells <= width(ellipsis):
        return set_cell_size(text, cells)
    return set_cell_size(text, cells - width(ellipsis)).rstrip() + ellipsis


def fit(text: str, cells: int, *, right: bool = False, ellipsis: str = "…") -> str:
    """`text` in exactly `cells` cells: cut or padded, at the left where `right`."""
    shown = cut(text, cells, ellipsis)
    room = " " * (cells - width(shown))
    return room + shown if right else shown + room


def clip(content: Line, cells: int) -> Line:
    """The first `cells` cells of a line."""
    out: list[Span] = []
    left = cells
    for span in content:
        taken = width(span.text)
        if taken <= left:
            out.append(span)
            left -= taken
            continue
        if left > 0:
            out.append(Span(cut(span.text, left), span.role))
        break
    return tuple(out)


def spread(left: Line, right: Line, cells: int) -> Line:
    """Two lines in one, at both ends of `cells`; the left one is clipped where there is no room for both."""
    room = cells - width_of(right)
    shown = clip(left, max(room - 1, 0))
    gap = max(room - width_of(shown), 0)
    return clip((*shown, Span(" " * gap), *right), cells)


def wrap(text: str, cells: int, *, limit: int = 100) -> list[str]:
    """`text` broken at spaces into lines of at most `cells` cells, at most `limit` of them; long words are broken hard."""
    rows: list[str] = []
    row = ""
    for word in text.split(" "):
        rest = word
        while width(rest) > cells > 0:
            if row:
                rows.append(row)
                row = ""
            head = set_cell_size(rest, cells).rstrip() or rest[:1]
            rows.append(head)
            rest = rest[len(head) :]
            if len(rows) >= limit:
                break
        joined = f"{row} {rest}" if row else rest
        if width(joined) <= cells:
            row = joined
        else:
            rows.append(row)
            row = rest
        if len(rows) >= limit:
            break
    rows.append(row)
    if len(rows) > limit:
        rows = [*rows[: limit - 1], cut(rows[limit - 1] + " …" * 40, cells)]
    return rows


def wrapped(text: str, cells: int, role: Role = Role.TEXT, *, indent: str = "", limit: int = 100) -> list[Line]:
    """`wrap`, as lines of one role: the first behind `indent`, the others below it."""
    rows = wrap(text, max(cells - width(indent), 1), limit=limit)
    below = " " * width(indent)
    return [line(below if index else indent, Span(row, role)) for index, row in enumerate(rows)]


def joined(parts: Iterable[Line], separator: Part) -> Line:
    """Lines side by side with a separator between them."""
    out: list[Span] = []
    for index, part in enumerate(parts):
        if index:
            out.append(Span(separator) if isinstance(separator, str) else separator)
        out.extend(part)
    return tuple(out)


def beside(left: Sequence[Line], right: Sequence[Line], left_cells: int, gap: int = 2) -> list[Line]:
    """Two blocks side by side: the left one `left_cells` wide."""
    rows: list[Line] = []
    for index in range(max(len(left), len(right))):
        first = clip(left[index], left_cells) if index < len(left) else EMPTY
        second = right[index] if index < len(right) else EMPTY
        pad = " " * (left_cells - width_of(first) + gap)
        rows.append((*first, Span(pad), *second) if second else first)
    return rows
