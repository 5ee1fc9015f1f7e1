"""Every role can be read on every ground it stands on (WCAG 2.2: 4.5 to 1), and colour is never all that tells states apart."""

from __future__ import annotations

from dataclasses import fields

import pytest
from textual.color import Color

from mlrelease_tui.presentation.glyphs import ASCII, UNICODE, WORDS, Glyphs
from mlrelease_tui.presentation.lines import Role, width
from mlrelease_tui.themes import NAMES, THEMES, ansi, contrast, dark, light, mono
from mlrelease_tui.themes.semantic import Palette, variables_of

COLOURED = {"dark": dark.PALETTE, "light": light.PALETTE, "contrast": contrast.PALETTE}
GROUNDS = {"ground", "raised", "ground_locked", "ground_armed", "ground_cursor", "rule"}
ON_OWN_GROUND = {"locked": "ground_locked", "armed": "ground_armed", "cursor": "ground_cursor"}
ROLES = [item.name for item in fields(Palette) if item.name not in GROUNDS]


def ratio(ink: str, ground: str) -> float:
    lighter, darker = sorted((luminance(ink), luminance(ground)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in Color.parse(colour).rgb)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", COLOURED)
@pytest.mark.parametrize("role", ROLES)
def test_text_can_be_read(name: str, role: str) -> None:
    palette = COLOURED[name]
    ink = getattr(palette, role)
    grounds = [ON_OWN_GROUND[role]] if role in ON_OWN_GROUND else ["ground", "raised"]
    least = 7.0 if name == "contrast" else 4.5
    for ground in grounds:
        assert ratio(ink, getattr(palette, ground)) >= least, (role, ground)


@pytest.mark.parametrize("name", COLOURED)
@pytest.mark.parametrize("role", ["crit", "warn", "wait", "hold", "stale", "unknown", "ok"])
def test_states_can_be_read_under_the_cursor(name: str, role: str) -> None:
    palette = COLOURED[name]
    assert ratio(getattr(palette, role), palette.ground_cursor) >= 3.0


def test_roles_and_variables_agree() -> None:
    found = variables_of(dark.PALETTE)
    for role in Role:
        assert f"role-{role.value}" in found
        assert f"style-{role.value}" in found


def test_themes_without_colour_use_none() -> None:
    assert {getattr(mono.PALETTE, item.name) for item in fields(Palette)} == {"ansi_default"}
    assert all(getattr(ansi.PALETTE, item.name).startswith("ansi_") for item in fields(Palette))


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(THEMES)


@pytest.mark.parametrize("glyphs", [ASCII, UNICODE], ids=["ascii", "unicode"])
def test_states_differ_without_colour(glyphs: Glyphs) -> None:
    shown = [f"{glyphs.states[severity]}{WORDS[severity]}" for severity in WORDS]
    assert len(set(shown)) == len(shown)
    assert all(width(glyphs.states[severity]) == 1 for severity in WORDS)
    assert all(width(level) == 1 for level in glyphs.levels)


def test_ascii_is_ascii() -> None:
    texts = [value for item in fields(Glyphs) if isinstance(value := getattr(ASCII, item.name), str)]
    assert all(text.isascii() for text in [*texts, *ASCII.states.values()])
