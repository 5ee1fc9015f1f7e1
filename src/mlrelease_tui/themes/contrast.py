"""High contrast, safe for colour-blind eyes: black ground, blue, orange and vermilion, bold where it matters."""

from __future__ import annotations

from typing import Final

from mlrelease_tui.themes.semantic import Palette, theme

PALETTE: Final = Palette(
    ground="#000000",
    raised="#000000",
    text="#ffffff",
    muted="#c8c8c8",
    strong="#ffffff",
    title="#7fd0ff",
    heading="#ffffff",
    key="#7fd0ff",
    crit="#ff7f50",
    warn="#ffb000",
    wait="#ff9de0",
    hold="#d6c8ff",
    stale="#d8d0b0",
    unknown="#d0d0d0",
    ok="#7fd0ff",
    stable="#bfe3ff",
    canary="#ffdf7f",
    bar="#7fd0ff",
    locked="#000000",
    ground_locked="#ffffff",
    armed="#000000",
    ground_armed="#ffb000",
    cursor="#ffffff",
    ground_cursor="#00334d",
    rule="#ffffff",
)

THEME: Final = theme(
    "contrast",
    PALETTE,
    styles={"crit": "bold underline", "stale": "italic", "heading": "bold underline", "ok": "bold"},
)
