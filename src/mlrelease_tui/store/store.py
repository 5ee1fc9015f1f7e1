"""Holds the state and tells who asked. Lives on one event loop's thread; callbacks are synchronous and must be quick."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlrelease_tui.store.judge import FleetJudge
from mlrelease_tui.store.state import State, reduce

if TYPE_CHECKING:
    from mlrelease_tui.store.facts import Fact

Subscriber = Callable[[State, "Fact"], None]
"""Called after each fact that changed the state, with the new state and the fact."""

_log = logging.getLogger(__name__)


class Store:
    """The one place where the state changes. `judge` keeps how its fleet was judged, so that all views share it."""

    def __init__(self, state: State | None = None) -> None:
        self._state = state if state is not None else State()
        self._subscribers: list[Subscriber] = []
        self.judge = FleetJudge()

    @property
    def state(self) -> State:
        return self._state

    def emit(self, fact: Fact) -> None:
        """Fold `fact` into the state and notify, unless nothing changed. A subscriber that raises harms no other."""
        after = reduce(self._state, fact)
        if after is self._state:
            return
        self._state = after
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(after, fact)
            except Exception:
                _log.exception("a subscriber failed on %s", type(fact).__name__)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` after each change; the returned function ends that."""
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe
