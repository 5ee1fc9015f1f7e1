"""The terminal's own sixteen colours: for terminals that have no more, and for people who chose theirs with care."""

from __future__ import annotations

from typing import Final

from mlrelease_tui.themes.semantic import Palette, theme

PALETTE: Final = Palette(
    ground="ansi_default",
    raised="ansi_default",
    text="ansi_default",
    muted="ansi_default",
    strong="ansi_default",
    title="ansi_blue",
    heading="ansi_default",
    key="ansi_blue",
    crit="ansi_red",
    warn="ansi_yellow",
    wait="ansi_magenta",
    hold="ansi_magenta",
    stale="ansi_default",
    unknown="ansi_default",
    ok="ansi_blue",
    stable="ansi_default",
    canary="ansi_yellow",
    bar="ansi_blue",
    locked="ansi_default",
    ground_locked="ansi_default",
    armed="ansi_red",
    ground_armed="ansi_default",
    cursor="ansi_default",
    ground_cursor="ansi_default",
    rule="ansi_default",
)

THEME: Final = theme(
    "ansi",
    PALETTE,
    ansi=True,
    styles={
        "heading": "bold underline",
        "locked": "bold reverse",
        "armed": "bold reverse",
        "cursor": "bold reverse",
        "stale": "italic",
    },
)
