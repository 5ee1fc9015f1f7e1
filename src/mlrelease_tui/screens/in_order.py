"""Keys one after another: each is acted on before the next is looked at.

Textual forwards a key to whoever has the focus when it arrives, and acts on it later. Of `/wine`, typed in one burst, the `/`
would open the filter while `w` is already on its way to the list, where it is a key of its own. Here the next key waits until
the one before was acted on and what that opened has the focus, so that nothing typed ahead becomes another command.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from textual import events
from textual.app import App
from textual.message_pump import MessagePump

MOST: Final = 1024
"""Keys that wait, at most. More come from no hand, but from a terminal whose input ended and says so for ever: of those the last
one is kept, so that what came before it is never the last."""
_STUCK_S: Final = 2.0
"""A key that nobody has acted on for so long holds up no other, whether more keys come or not."""
_LOOK_S: Final = 0.02
_LOOKS: Final = 50
"""What was opened and does not take the focus within a second never will: keys go on without it."""


class InOrderApp(App[None]):
    """Base of the app that hands out keys in order. `awaits_focus` says whether something is being opened for them."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self._typed: deque[events.Key] = deque()
        self._acting = False
        self._since = 0.0
        self._freeing = False

    @property
    def keys_wait(self) -> bool:
        """Whether keys came that were not looked at yet."""
        return bool(self._typed)

    @property
    def keys_done(self) -> bool:
        """Whether every key that came was acted on, as far as can be waited for."""
        return not self._typed and not (self._acting and self._left_s())

    def awaits_focus(self) -> bool:
        """Whether a prompt or menu is open that keys are meant for and that does not have the focus yet."""
        return False

    def key_comes(self) -> None:
        """A key is about to be acted on."""

    async def on_event(self, event: events.Event) -> None:
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
            return
        if len(self._typed) < MOST:
            self._typed.append(event)
        else:
            self._typed[-1] = event
        if not self._acting or not self._left_s():
            await self._next_key()
        else:
            self._free_later()

    def _left_s(self) -> float:
        """Seconds that the key before may still take."""
        return max(0.0, self._since + _STUCK_S - time.monotonic())

    def _free_later(self) -> None:
        if not self._freeing:
            self._freeing = True
            self.set_timer(self._left_s(), self._free)

    async def _free(self) -> None:
        self._freeing = False
        if not self._typed or not self._acting:
            return
        if self._left_s():
            self._free_later()
        else:
            await self._next_key()

    async def _next_key(self) -> None:
        if not self._typed:
            self._acting = False
            return
        self._acting, self._since = True, time.monotonic()
        event = self._typed.popleft()
        self.key_comes()
        target = self.focused or self.screen
        path: list[MessagePump] = list(target.ancestors_with_self)
        await super().on_event(event)
        # A key goes up from the focus to the app, by way of each one's queue; so does this, behind it.
        self._follow(path)

    def _follow(self, path: list[MessagePump]) -> None:
        for index, node in enumerate(path):
            # What is being closed takes nothing any more: the key went past it as well.
            if node.call_later(self._follow, path[index + 1 :]):
                return
        self._acted(_LOOKS)

    def _acted(self, looks: int) -> None:
        if looks and self._typed and self.awaits_focus():
            self.set_timer(_LOOK_S, lambda: self._acted(looks - 1))
        else:
            self.call_later(self._next_key)
