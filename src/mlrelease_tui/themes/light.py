"""Dark text on a light ground, for bright rooms and light terminals."""

from __future__ import annotations

from typing import Final

from mlrelease_tui.themes.semantic import Palette, theme

PALETTE: Final = Palette(
    ground="#fbfaf7",
    raised="#efede7",
    text="#22262b",
    muted="#5f6670",
    strong="#000000",
    title="#004a80",
    heading="#3d4a57",
    key="#004a80",
    crit="#a83200",
    warn="#7a5200",
    wait="#8a2f78",
    hold="#5a3ea6",
    stale="#66604f",
    unknown="#565d66",
    ok="#005a9c",
    stable="#1f4f7a",
    canary="#6e4a00",
    bar="#005a9c",
    locked="#fbfaf7",
    ground_locked="#3d4a57",
    armed="#ffffff",
    ground_armed="#a83200",
    cursor="#000000",
    ground_cursor="#cfe0f0",
    rule="#b3b1a8",
)

THEME: Final = theme("light", PALETTE, dark=False)
