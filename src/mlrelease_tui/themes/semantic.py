"""From meanings to a Textual theme. Every role of `presentation.lines.Role` has a colour here and a text style."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from textual.theme import Theme

_STYLES: Final = {
    "text": "none",
    "muted": "none",
    "strong": "bold",
    "title": "bold",
    "heading": "bold",
    "key": "bold",
    "crit": "bold",
    "warn": "bold",
    "wait": "bold",
    "hold": "bold",
    "stale": "none",
    "unknown": "none",
    "ok": "none",
    "stable": "none",
    "canary": "bold",
    "bar": "none",
    "locked": "bold",
    "armed": "bold",
    "cursor": "bold",
}


@dataclass(frozen=True, slots=True)
class Palette:
    """The colour of each role, and the grounds that some of them stand on. `ground` is the screen's, `raised` that of panels."""

    ground: str
    raised: str
    text: str
    muted: str
    strong: str
    title: str
    heading: str
    key: str
    crit: str
    warn: str
    wait: str
    hold: str
    stale: str
    unknown: str
    ok: str
    stable: str
    canary: str
    bar: str
    locked: str
    ground_locked: str
    armed: str
    ground_armed: str
    cursor: str
    ground_cursor: str
    rule: str


def variables_of(palette: Palette, styles: dict[str, str] | None = None) -> dict[str, str]:
    """The CSS variables by which widgets name roles."""
    found = {f"style-{role}": style for role, style in {**_STYLES, **(styles or {})}.items()}
    for item in fields(palette):
        value = getattr(palette, item.name)
        prefix = "" if item.name.startswith("ground") or item.name in {"raised", "rule"} else "role-"
        found[prefix + item.name.replace("_", "-")] = value
    return found


def theme(
    name: str, palette: Palette, *, dark: bool = True, ansi: bool = False, styles: dict[str, str] | None = None
) -> Theme:
    return Theme(
        name=name,
        primary=palette.title,
        secondary=palette.heading,
        warning=palette.warn,
        error=palette.crit,
        success=palette.ok,
        accent=palette.key,
        foreground=palette.text,
        background=palette.ground,
        surface=palette.ground,
        panel=palette.raised,
        boost=palette.raised,
        dark=dark,
        ansi=ansi,
        # Textual's own style sheets name these two where a theme is of ANSI colours, and give them no default.
        variables={"ansi-background": palette.ground, "ansi-foreground": palette.text, **variables_of(palette, styles)},
    )
