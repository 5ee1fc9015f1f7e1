"""No colour at all: bold, underline and reverse alone. Taken where NO_COLOR is set."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from mlrelease_tui.themes.semantic import Palette, theme

PALETTE: Final = Palette(**{item.name: "ansi_default" for item in fields(Palette)})

THEME: Final = theme(
    "mono",
    PALETTE,
    ansi=True,
    styles={
        "crit": "bold reverse",
        "warn": "bold underline",
        "wait": "bold underline",
        "hold": "underline",
        "stale": "italic",
        "heading": "bold underline",
        "locked": "bold reverse",
        "armed": "bold reverse",
        "cursor": "bold reverse",
    },
)
