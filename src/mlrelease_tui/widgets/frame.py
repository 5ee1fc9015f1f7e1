"""What the terminal shows now, cell by cell, so that a frame sends only the cells that differ from it.

Textual sends every cell of a region that it calls dirty, and a change of layout makes the whole screen dirty several times: opening
a docked panel would cost 16 KB at 80x24. Compared with what is on the screen, it costs what the panel's text costs. It reads two
private classes of Textual's compositor; Textual is pinned, and the tests of the pty fail where they change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from rich.cells import get_character_cell_size
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.strip import Strip

from mlrelease_tui.widgets.rendition import Renditions

Cell = tuple[str, Style]
"""A character with what combines with it, and its style. The second half of a wide character is ("", style)."""

Place = tuple[int, int]
"""Row and column, from 0."""

_NULL: Final = Style()
_UNKNOWN: Final[Cell] = ("\0", _NULL)
_MERGE_GAP: Final = 4
"""Equal cells between two changed runs that are sent again: moving the cursor costs more than they do."""
RESET: Final = "\x1b[0m"
"""What has to be sent before somebody else writes to the terminal: frames leave it in the style of their last text."""


class Frame:
    """The cells of a terminal of a size; all unknown at first. `update` takes a compositor's update and returns what to send."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns = columns
        self.rows = rows
        self._cells: list[list[Cell]] = [[_UNKNOWN] * columns for _ in range(rows)]
        self._renditions = Renditions()
        self._style: Style | None = None

    def update(self, update: LayoutUpdate | ChopsUpdate, colors: ColorSystem | None) -> str:
        """The escape sequences that bring the terminal from what it shows to `update`; "" where nothing differs."""
        out: list[str] = []
        last = self._style
        after: Place | None = None
        for y, changed in self._changes(update):
            row = self._cells[y]
            for start, end in _runs(changed, row):
                out.append(_move(after, y, start))
                after = (y, end) if end < self.columns else None
                for text, style in self._styled(row[start:end], last, colors):
                    if style != last:
                        out.append(self._renditions.turn(last, style, colors))
                        last = style
                    out.append(text)
        self._style = last
        return "".join(out)

    def _changes(self, update: LayoutUpdate | ChopsUpdate) -> Iterator[tuple[int, list[int]]]:
        """Take over what is new and yield, for each row in which something differs, the columns that do."""
        if isinstance(update, LayoutUpdate):
            left = update.region.x
            for y, strips in enumerate(update.strips, update.region.y):
                if y < self.rows:
                    x = left
                    columns: list[int] = []
                    for strip in strips:
                        columns += self._take(y, x, strip, 0, self.columns)
                        x += strip.cell_length
                    if columns:
                        yield y, columns
            return
        found: dict[int, list[int]] = {}
        for y, first, end in update.spans:
            if y >= self.rows:
                continue
            chops: Mapping[int, Strip | None] = update.chops[y]
            for x, piece in chops.items():
                if piece is not None:
                    columns = self._take(y, x, piece, first, min(end, self.columns))
                    if columns:
                        found.setdefault(y, []).extend(columns)
        for y in sorted(found):
            yield y, sorted(set(found[y]))

    def _take(self, y: int, x: int, segments: Iterable[Segment], first: int, end: int) -> list[int]:
        row = self._cells[y]
        changed: list[int] = []
        for segment in segments:
            if segment.control:
                continue
            style = segment.style or _NULL
            text = segment.text
            blank = self._renditions.of_blank(style)
            if text.isascii():
                stop = x + len(text)
                for column in range(max(x, first), min(stop, end)):
                    char = text[column - x]
                    cell = (char, blank if char == " " else style)
                    if row[column] != cell:
                        row[column] = cell
                        changed.append(column)
                x = stop
                continue
            for cells in _cells(text, style):
                for seen in cells:
                    cell = (" ", blank) if seen[0] == " " else seen
                    if first <= x < end and row[x] != cell:
                        row[x] = cell
                        changed.append(x)
                    x += 1
        return changed

    def _styled(
        self, cells: Sequence[Cell], last: Style | None, colors: ColorSystem | None
    ) -> Iterator[tuple[str, Style]]:
        """Cells as pieces of one style each; blanks go along with what stands beside them where that looks the same."""
        text: list[str] = []
        style = last
        only_blanks = False
        serves = self._renditions.serves
        for char, this in cells:
            if not (char == " " and style is not None and serves(style, this, colors)):
                if this != style:
                    if text and style is not None and not (only_blanks and serves(this, style, colors)):
                        yield "".join(text), style
                        text = []
                    style = this
                    only_blanks = True
                only_blanks = only_blanks and char == " "
            text.append(char)
        if text and style is not None:
            yield "".join(text), style


def _cells(text: str, style: Style) -> Iterator[Sequence[Cell]]:
    """A character with its combining marks as one cell, or two where it is wide. A mark at the beginning has no cell."""
    current = ""
    size = 0
    for char in text:
        cells = get_character_cell_size(char)
        if cells == 0:
            current += char if current else ""
            continue
        if current:
            yield ((current, style), ("", style))[: max(size, 1)]
        current, size = char, cells
    if current:
        yield ((current, style), ("", style))[: max(size, 1)]


def _move(after: Place | None, y: int, x: int) -> str:
    """To a cell; `after` is where the last text ended, None where that is not certain. A terminal may count the cells of a wide
    character otherwise than we do: only a row is gone on from, never a column."""
    if x:
        return f"\x1b[{y + 1};{x + 1}H"
    return "\r\n" if after is not None and after[0] + 1 == y else f"\x1b[{y + 1}H"


def _runs(changed: Sequence[int], row: Sequence[Cell]) -> Iterator[tuple[int, int]]:
    """Changed columns as runs: short gaps are bridged, wide characters are never halved."""
    start = end = -1
    for column in changed:
        if start >= 0 and column - end <= _MERGE_GAP:
            end = column + 1
            continue
        if start >= 0:
            yield _whole(start, end, row)
        start, end = column, column + 1
    if start >= 0:
        yield _whole(start, end, row)


def _whole(start: int, end: int, row: Sequence[Cell]) -> tuple[int, int]:
    while start > 0 and row[start][0] == "":
        start -= 1
    while end < len(row) and row[end][0] == "":
        end += 1
    return start, end
