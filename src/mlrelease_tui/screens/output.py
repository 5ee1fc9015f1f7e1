"""The app's output: frames by difference, safe text, and dropped frames where the terminal reads slowly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import RenderableType
from textual import events
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.filter import LineFilter
from textual.screen import Screen

from mlrelease_tui.screens.in_order import InOrderApp
from mlrelease_tui.widgets.frame import RESET, Frame
from mlrelease_tui.widgets.line_filter import SafeOutput

MAX_BACKLOG: Final = 4
"""Writes that may wait for the terminal before frames are dropped. One frame is up to three."""
RETRY_S: Final = 0.05
ONE_READ: Final = 512
"""Characters that reach a terminal in one read, over SSH too, and so are drawn at once without being bracketed as one frame: that
would add a twentieth to what a key costs."""
_SYNC_START: Final = "\x1b[?2026h"
_SYNC_END: Final = "\x1b[?2026l"


class FrameApp(InOrderApp):
    """Base of the app: everything between Textual's compositor and the terminal."""

    def __init__(self, *, ascii: bool = False, **kwargs: Any) -> None:
        self._safe_output = SafeOutput(ascii=ascii)
        super().__init__(**kwargs)
        self._frame = Frame(0, 0)
        self._cursor = (-1, -1)
        self._owed = False

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), self._safe_output]

    @property
    def backlog(self) -> int:
        """Writes that the terminal did not take yet."""
        queue = getattr(getattr(self._driver, "_writer_thread", None), "_queue", None)
        return queue.qsize() if queue is not None else 0

    def forget_frame(self) -> None:
        """What the terminal shows is not known any more: the next frame sends every cell."""
        self._frame = Frame(0, 0)

    async def on_event(self, event: events.Event) -> None:
        # A terminal that was resized, even to the same size in the end, may have moved what it shows.
        if isinstance(event, events.Resize):
            self.forget_frame()
        await super().on_event(event)

    def on_mount(self) -> None:
        self.app_suspend_signal.subscribe(self, lambda _: self.send_escape(RESET))
        self.app_resume_signal.subscribe(self, lambda _: self.repaint())

    def repaint(self) -> None:
        """Send every cell again: the terminal may show anything now."""
        self.forget_frame()
        if not self.is_headless:
            self._send(self.screen._compositor.render_full_update())

    def send_escape(self, escape: str) -> None:
        """Send a sequence that draws nothing."""
        if self._driver is not None and not self.is_headless:
            self._driver.write(escape)
            self._driver.flush()

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        driver = self._driver
        if not isinstance(renderable, LayoutUpdate | ChopsUpdate) or driver is None or self.is_headless:
            super()._display(screen, renderable)
            return
        try:
            if self._batch_count or not self._running or self._closed:
                return
            if self._owed or self.backlog > MAX_BACKLOG:
                self._owe()
                return
            self._send(renderable)
        finally:
            self.post_display_hook()

    def _send(self, renderable: LayoutUpdate | ChopsUpdate) -> None:
        if (self._frame.columns, self._frame.rows) != tuple(self.size):
            self._frame = Frame(*self.size)
        try:
            text = self._frame.update(renderable, self.console._color_system)
        except Exception as error:
            self._handle_exception(error)
            return
        place = self.screen.outer_size.clamp_offset(self.cursor_position)
        if not text and place == self._cursor:
            return
        self._cursor = place
        if place.x or place.y:
            # Where somebody types, what composes a character is shown at the cursor, although it is not drawn itself.
            text += f"\x1b[{place.y + 1};{place.x + 1}H"
        # In one write: a frame is taken whole by the writer's queue, or not at all.
        if self._sync_available and len(text) > ONE_READ:
            text = _SYNC_START + text + _SYNC_END
        if self._driver is not None:
            self._driver.write(text)
            self._driver.flush()

    def _owe(self) -> None:
        """Drop this frame: what the screen shows then is drawn when the terminal has taken what it has."""
        if not self._owed:
            self._owed = True
            self.set_timer(RETRY_S, self._repay)

    def _repay(self) -> None:
        if self.backlog > 0:
            self.set_timer(RETRY_S, self._repay)
            return
        self._owed = False
        self._send(self.screen._compositor.render_full_update())
