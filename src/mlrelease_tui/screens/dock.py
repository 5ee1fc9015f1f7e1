"""The dock at the bottom of a screen: one prompt or one menu at a time."""

from __future__ import annotations

from collections.abc import Callable

from textual.widget import Widget

from mlrelease_tui.widgets.menu import Menu
from mlrelease_tui.widgets.prompt import Prompt


class Dock:
    """Docks in `host`. `opened` is called once something stands there, `closed` once it is gone."""

    def __init__(self, host: Widget, opened: Callable[[], None], closed: Callable[[], None]) -> None:
        self._host = host
        self._opened = opened
        self._closed = closed

    @property
    def widget(self) -> Prompt | Menu | None:
        """What is docked now."""
        for widget in self._host.children:
            if isinstance(widget, Prompt | Menu):
                return widget
        return None

    def open(self, widget: Prompt | Menu) -> None:
        """Dock `widget` in place of what is there."""
        before = self.widget
        if before is None or before.id != widget.id:
            self.close()
            self._mount(widget)
            return

        async def replace() -> None:
            # Removing takes a moment, and two widgets of one id can't stand side by side.
            await before.remove()
            self._mount(widget)

        self._host.call_next(replace)

    def _mount(self, widget: Prompt | Menu) -> None:
        self._host.mount(widget)
        if isinstance(widget, Menu):
            widget.focus()
        self._host.call_after_refresh(self._opened)

    def close(self) -> bool:
        """Remove what is docked; False where nothing is."""
        widget = self.widget
        if widget is None:
            return False
        removal = widget.remove()

        async def gone() -> None:
            await removal
            self._closed()

        self._host.call_next(gone)
        return True
