"""What a page asks for while it is open: one reading at a time of the same thing, and a failure that costs the page alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Generic, TypeVar

from mlrelease_tui.connectors.api import Connector
from mlrelease_tui.domain.redaction import unforeseen
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import NotFound, ReleaseError
from mlrelease_tui.store.store import Store

Wish = TypeVar("Wish", bound=Hashable)


class OnDemand(ABC, Generic[Wish]):
    """What reads of endpoints that are made on demand have in common. `deadline_s`: seconds in which an answer must come."""

    def __init__(
        self,
        store: Store,
        connectors: Mapping[str, Connector],
        *,
        spawn: Callable[[Awaitable[None]], None],
        now: Callable[[], datetime],
        deadline_s: float,
    ) -> None:
        self._store = store
        self._connectors = connectors
        self._spawn = spawn
        self._now = now
        self._deadline_s = deadline_s
        self._open: EndpointRef | None = None
        self._under_way: set[Wish] = set()

    @abstractmethod
    async def _answer(self, wish: Wish) -> None:
        """Read what is wished for within `_in_flight`, and tell it while its page is open."""

    def _begin(self, wish: Wish) -> None:
        """Single flight: what is under way is not begun again."""
        if wish not in self._under_way:
            self._under_way.add(wish)
            self._spawn(self._answer(wish))

    @contextmanager
    def _in_flight(self, wish: Wish) -> Iterator[None]:
        try:
            yield
        finally:
            self._under_way.discard(wish)

    def _endpoint(self, ref: EndpointRef) -> Endpoint:
        endpoint = self._store.state.endpoints.get(ref)
        if endpoint is None:
            raise NotFound(f"{ref} is not there any more")
        return endpoint

    def _said(self, error: BaseException, connection: str) -> tuple[SafeText, SafeText]:
        """What happened, and what to do next."""
        if isinstance(error, TimeoutError):
            return SafeText(f"{connection} did not answer within {self._deadline_s:g} s"), SafeText("")
        if isinstance(error, ReleaseError):
            return SafeText(error.message), SafeText(error.hint)
        return (
            SafeText(f"the connector failed: {unforeseen(error)}"),
            SafeText("this is a fault of the connector; its author wants to know"),
        )
