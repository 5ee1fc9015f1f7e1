"""Looks: one module a theme. A theme gives each role a colour and a text style; widgets know roles only."""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

from mlrelease_tui.themes import ansi, contrast, dark, light, mono

THEMES: Final[tuple[Theme, ...]] = (dark.THEME, light.THEME, contrast.THEME, ansi.THEME, mono.THEME)
NAMES: Final = tuple(theme.name for theme in THEMES)
DEFAULT: Final = dark.THEME.name
