"""Light text on a dark ground. States are told apart by blue, orange and vermilion (Okabe and Ito), never by red and green."""

from __future__ import annotations

from typing import Final

from mlrelease_tui.themes.semantic import Palette, theme

PALETTE: Final = Palette(
    ground="#14161a",
    raised="#1e2229",
    text="#d4d7dc",
    muted="#8b93a1",
    strong="#ffffff",
    title="#8ecbff",
    heading="#9fb3c8",
    key="#8ecbff",
    crit="#ff7a4d",
    warn="#f0b429",
    wait="#e08fd0",
    hold="#c9b6ff",
    stale="#a9a08c",
    unknown="#9aa3b0",
    ok="#5cb8ff",
    stable="#a7c7e7",
    canary="#f3d27a",
    bar="#5cb8ff",
    locked="#14161a",
    ground_locked="#9fb3c8",
    armed="#14161a",
    ground_armed="#ff9f5a",
    cursor="#ffffff",
    ground_cursor="#2d3a4d",
    rule="#4a5363",
)

THEME: Final = theme("dark", PALETTE)
