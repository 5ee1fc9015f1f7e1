"""Draws lines, and on change redraws only the cells that differ.

A stock widget that refreshes sends all of itself again (8,919 bytes for one cell of a table at 80x24); here the difference between
what is drawn and what should be is taken line by line and span by span, so that equal lines cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, width

_MERGE_GAP: Final = 6
"""Changed spans at most this many cells apart go out as one: a cursor move and colours cost more than the cells between."""


class Canvas(Widget):
    """Base of all that draw text. A subclass says what stands in each line (`line_at`) and calls `redraw` when that may differ."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"role--{role.value}" for role in Role}

    DEFAULT_CSS = """
    Canvas { height: 1fr; }
    Canvas .role--text { color: $role-text; text-style: $style-text; }
    Canvas .role--muted { color: $role-muted; text-style: $style-muted; }
    Canvas .role--strong { color: $role-strong; text-style: $style-strong; }
    Canvas .role--title { color: $role-title; text-style: $style-title; }
    Canvas .role--heading { color: $role-heading; text-style: $style-heading; }
    Canvas .role--key { color: $role-key; text-style: $style-key; }
    Canvas .role--crit { color: $role-crit; text-style: $style-crit; }
    Canvas .role--warn { color: $role-warn; text-style: $style-warn; }
    Canvas .role--wait { color: $role-wait; text-style: $style-wait; }
    Canvas .role--hold { color: $role-hold; text-style: $style-hold; }
    Canvas .role--stale { color: $role-stale; text-style: $style-stale; }
    Canvas .role--unknown { color: $role-unknown; text-style: $style-unknown; }
    Canvas .role--ok { color: $role-ok; text-style: $style-ok; }
    Canvas .role--stable { color: $role-stable; text-style: $style-stable; }
    Canvas .role--canary { color: $role-canary; text-style: $style-canary; }
    Canvas .role--bar { color: $role-bar; text-style: $style-bar; }
    Canvas .role--locked { color: $role-locked; background: $ground-locked; text-style: $style-locked; }
    Canvas .role--armed { color: $role-armed; background: $ground-armed; text-style: $style-armed; }
    Canvas .role--cursor { color: $role-cursor; background: $ground-cursor; text-style: $style-cursor; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._drawn: dict[int, tuple[Line, bool]] = {}
        self._styles_of: dict[Role, Style] = {}

    def line_at(self, y: int) -> Line:
        """What stands in line `y` of the widget (0 is the top)."""
        raise NotImplementedError

    def highlighted(self, y: int) -> bool:
        """Whether line `y` is drawn as the one under the cursor."""
        return False

    def redraw(self) -> None:
        """Compare all visible lines with what is drawn and refresh the cells that differ."""
        regions: list[Region] = []
        for y in range(self.size.height):
            before = self._drawn.get(y)
            if before is None:
                continue
            after = (self.line_at(y), self.highlighted(y))
            if before == after:
                continue
            self._drawn[y] = after
            if before[1] != after[1]:
                regions.append(Region(0, y, self.size.width, 1))
            else:
                regions.extend(
                    Region(x, y, cells, 1) for x, cells in changed_cells(before[0], after[0], self.size.width)
                )
        if regions:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        drawn = self._drawn[y] = (self.line_at(y), self.highlighted(y))
        content, cursor = drawn
        segments = [Segment(span.text, self._style(span.role, cursor)) for span in content]
        strip = Strip(segments)
        # Blank cells too stand on the theme's ground, whatever the terminal's own is.
        return strip.adjust_cell_length(self.size.width, self._style(Role.CURSOR if cursor else Role.TEXT))

    def get_content_height(self, container: Any, viewport: Any, width: int) -> int:
        return 1

    def notify_style_update(self) -> None:
        self._styles_of.clear()
        super().notify_style_update()

    def _style(self, role: Role, cursor: bool = False) -> Style:
        style = self._styles_of.get(role)
        if style is None:
            meaning = self.get_component_rich_style(f"role--{role.value}", partial=True)
            style = self._styles_of[role] = Style(bgcolor=self.rich_style.bgcolor) + meaning
        if not cursor or role is Role.CURSOR:
            return style
        pointed = self._style(Role.CURSOR)
        if role in _PLAIN_ROLES:
            return style + pointed
        return style + Style(bgcolor=pointed.bgcolor, reverse=pointed.reverse)


_PLAIN_ROLES: Final = frozenset({Role.TEXT, Role.MUTED, Role.STABLE, Role.CANARY})
"""Under the cursor these take the cursor's colour; states keep theirs."""


def changed_cells(before: Line, after: Line, cells: int) -> Iterator[tuple[int, int]]:
    """Where two drawn lines differ, as (x, cells) from left to right.

    Lines of the same shape (spans of the same widths, as table rows are) are compared span by span; others from the first
    difference to the end.
    """
    x = 0
    start: int | None = None
    end = 0
    for index in range(max(len(before), len(after))):
        old = before[index] if index < len(before) else None
        new = after[index] if index < len(after) else None
        if old is None or new is None or width(old.text) != width(new.text):
            first = x if start is None else start
            yield first, cells - first
            return
        taken = width(new.text)
        if old != new:
            left, right = _differing(old, new, taken)
            if start is not None and x + left - end > _MERGE_GAP:
                yield start, end - start
                start = None
            if start is None:
                start = x + left
            end = x + right
        x += taken
    if start is not None:
        yield start, min(end, cells) - start


def _differing(old: Span, new: Span, taken: int) -> tuple[int, int]:
    """The cells of a span that differ, from and to: only the digits that changed, where one character is one cell."""
    if old.role is not new.role or not (old.text.isascii() and new.text.isascii()):
        return 0, taken
    left = next((i for i in range(taken) if old.text[i] != new.text[i]), 0)
    right = next((i for i in range(taken, 0, -1) if old.text[i - 1] != new.text[i - 1]), taken)
    return left, right


__all__ = ["EMPTY", "Canvas", "changed_cells"]
