"""Styles as SGR sequences (ECMA-48, "select graphic rendition"): the shortest that turns one into the next.

Over a thin line most of what a moved pointer costs is styles, not text: each change of bold or of a colour, at every column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rich.color import ColorSystem
from rich.style import Style

_INK: Final = "39"
_GROUND: Final = "49"
_OFF: Final = {"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "7": "27", "8": "28", "9": "29"}
"""What ends an attribute by itself. The others end with everything only."""
_MAX_KEPT: Final = 2000


@dataclass(slots=True)
class Codes:
    """SGR parameters of a style. `plain`: nothing of the style shows in a blank cell but the ground."""

    attributes: tuple[str, ...]
    ink: str
    ground: str
    plain: bool


class Renditions:
    """Sequences between styles, for the colours that a terminal has; remembers what it made."""

    def __init__(self) -> None:
        self._codes: dict[tuple[Style, ColorSystem | None], Codes] = {}
        self._blanks: dict[Style, Style] = {}

    def of_blank(self, style: Style) -> Style:
        """The style of a blank cell as it is seen: its ground alone, unless it is underlined, reversed or the like."""
        found = self._blanks.get(style)
        if found is None:
            if len(self._blanks) > _MAX_KEPT:
                self._blanks.clear()
            found = self._blanks[style] = Style(bgcolor=style.bgcolor) if _shows_ground_only(style) else style
        return found

    def serves(self, style: Style, blank: Style, colors: ColorSystem | None) -> bool:
        """Whether a blank of the style `blank` (made by `of_blank`) looks the same when it is sent in `style`."""
        wanted, given = self.codes(blank, colors), self.codes(style, colors)
        return wanted.plain and given.plain and wanted.ground == given.ground

    def turn(self, last: Style | None, style: Style, colors: ColorSystem | None) -> str:
        """What turns `last` into `style`; None is a terminal of which nothing is known."""
        wanted = self.codes(style, colors)
        whole = _sequence(["0", *wanted.attributes, *_coloured(wanted)])
        if last is None:
            return whole
        before = self.codes(last, colors)
        changed = _changes(before, wanted)
        if changed is None:
            return whole
        step = _sequence(changed)
        return step if len(step) <= len(whole) else whole

    def codes(self, style: Style, colors: ColorSystem | None) -> Codes:
        """The SGR parameters of a style."""
        found = self._codes.get((style, colors))
        if found is None:
            if len(self._codes) > _MAX_KEPT:
                self._codes.clear()
            found = self._codes[style, colors] = _codes(style, colors)
        return found


def _codes(style: Style, colors: ColorSystem | None) -> Codes:
    rendered = style.without_color.render("\0", color_system=ColorSystem.STANDARD).partition("\0")[0]
    attributes = tuple(rendered[2:-1].split(";")) if rendered.startswith("\x1b[") else ()
    ink, ground = _INK, _GROUND
    if colors is not None and style.color is not None and not style.color.is_default:
        ink = ";".join(style.color.downgrade(colors).get_ansi_codes())
    if colors is not None and style.bgcolor is not None and not style.bgcolor.is_default:
        ground = ";".join(style.bgcolor.downgrade(colors).get_ansi_codes(foreground=False))
    return Codes(attributes, ink, ground, _shows_ground_only(style))


def _shows_ground_only(style: Style) -> bool:
    shown = (
        style.reverse,
        style.underline,
        style.underline2,
        style.strike,
        style.overline,
        style.frame,
        style.encircle,
    )
    return not any(shown) and not style.blink and not style.blink2


def _coloured(codes: Codes) -> list[str]:
    return [code for code, default in ((codes.ink, _INK), (codes.ground, _GROUND)) if code != default]


def _changes(before: Codes, wanted: Codes) -> list[str] | None:
    """Only what differs; None where an attribute cannot be ended by itself."""
    gone = [code for code in before.attributes if code not in wanted.attributes]
    if any(code not in _OFF for code in gone):
        return None
    ended = {_OFF[code] for code in gone}
    # 22 ends bold and dim at once: what shares its end with something that went is said again.
    begun = [code for code in wanted.attributes if code not in before.attributes or _OFF.get(code) in ended]
    colours = [new for new, old in ((wanted.ink, before.ink), (wanted.ground, before.ground)) if new != old]
    return [*sorted(ended), *begun, *colours]


def _sequence(parameters: list[str]) -> str:
    return f"\x1b[{';'.join(parameters)}m" if parameters else ""
