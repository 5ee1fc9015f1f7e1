"""Logs on demand: read when a page asks for them, gone when it is closed. A log that can't be read costs its page alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from mlrelease_tui.connectors.api import Connector, LogSource
from mlrelease_tui.domain.logs import LogWish, VariantLog, bounded
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import NotFound, ReleaseError, Unsupported
from mlrelease_tui.store.facts import LogObserved, LogsClosed
from mlrelease_tui.store.store import Store


class LogReading:
    """`want` and `close` return at once; what is read comes as a fact, unless the page was closed meanwhile."""

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
        self._under_way: set[LogWish] = set()

    def want(self, wish: LogWish) -> None:
        """Read the end of a log. Single flight: the same wish is not read twice at once."""
        self._open = wish.endpoint
        if wish not in self._under_way:
            self._under_way.add(wish)
            self._spawn(self._answer(wish))

    def close(self, endpoint: EndpointRef) -> None:
        """Forget every log of the endpoint, those that are still to come too."""
        if self._open == endpoint:
            self._open = None
        self._store.emit(LogsClosed(endpoint))

    async def _answer(self, wish: LogWish) -> None:
        try:
            log = await self._read(wish)
        finally:
            self._under_way.discard(wish)
        if self._open == wish.endpoint:
            self._store.emit(LogObserved(log))

    async def _read(self, wish: LogWish) -> VariantLog:
        name = wish.endpoint.connection
        try:
            source: object = self._connectors.get(name)
            if not isinstance(source, LogSource):
                raise Unsupported(f"{name} reads no logs", hint="look where its processes write them")
            endpoint = self._store.state.endpoints.get(wish.endpoint)
            if endpoint is None:
                raise NotFound(f"{wish.endpoint} is not there any more")
            async with asyncio.timeout(self._deadline_s):
                tails = bounded(await source.logs(endpoint, wish), wish)
        except TimeoutError:
            said, hint = f"{name} did not answer within {self._deadline_s:g} s", ""
        except ReleaseError as error:
            said, hint = error.message, error.hint
        except (Exception, SystemExit) as error:
            said = f"the connector failed: {type(error).__name__}: {error}"
            hint = "this is a fault of the connector; its author wants to know"
        else:
            return VariantLog(wish, self._now(), tails)
        return VariantLog(wish, self._now(), error=SafeText(said), hint=SafeText(hint))
