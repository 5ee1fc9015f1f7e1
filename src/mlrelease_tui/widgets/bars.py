"""The header and the footer: fixed lines that draw only what changed in them."""

from __future__ import annotations

from mlrelease_tui.widgets.sheet import Sheet


class Bar(Sheet):
    """Fixed lines at an edge of the screen; its height comes from the style sheet."""

    can_focus = False
