"""How the app looks: its themes, the one that fits the terminal, and the glyphs."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from mlrelease_tui.presentation.glyphs import ASCII, UNICODE, Glyphs, wants_ascii
from mlrelease_tui.screens.output import FrameApp
from mlrelease_tui.screens.services import Appearance
from mlrelease_tui.themes import DEFAULT, NAMES, THEMES
from mlrelease_tui.themes.dark import PALETTE as FALLBACK
from mlrelease_tui.themes.semantic import variables_of


class ThemedApp(FrameApp):
    """`appearance` decides where it says something, the terminal that `environ` tells of where it does not."""

    def __init__(self, appearance: Appearance, environ: Mapping[str, str]) -> None:
        # Textual draws on the standard error.
        encoding = getattr(sys.__stderr__, "encoding", None) or sys.getdefaultencoding()
        self._glyphs = ASCII if appearance.ascii or wants_ascii(environ, encoding) else UNICODE
        super().__init__(ascii=self._glyphs is ASCII)
        self.animation_level = "none"
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = appearance.theme or self._fitting_theme(environ)
        # What `:theme` offers is ours: Textual's own themes have no colours for our roles.
        for name in self.available_themes.keys() - set(NAMES):
            self.unregister_theme(name)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variables_of(FALLBACK)

    @property
    def glyphs(self) -> Glyphs:
        return self._glyphs

    def _fitting_theme(self, environ: Mapping[str, str]) -> str:
        if environ.get("NO_COLOR"):
            return "mono"
        return "ansi" if self.console.color_system in {None, "standard"} else DEFAULT

    def take_next_theme(self) -> str:
        """Change to the theme that comes after this one, and say its name."""
        self.theme = NAMES[(NAMES.index(self.theme) + 1) % len(NAMES)] if self.theme in NAMES else DEFAULT
        return self.theme

    def take_theme(self, name: str) -> str:
        """Change to that theme; why not where there is none of that name, else ""."""
        if name not in NAMES:
            return f"no theme {name}: there are {', '.join(NAMES)}"
        self.theme = name
        return ""
