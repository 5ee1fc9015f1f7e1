"""Logs on demand: read when a page asks for them, followed while it is open, gone when it is closed.

A log that can't be read costs its page alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from mlrelease_tui.connectors.api import Connector, LogFollowable, LogSource
from mlrelease_tui.domain.logs import LogWish, VariantLog, bounded
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint
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
        self._newest: LogWish | None = None
        self._under_way: set[LogWish] = set()
        self._followed: tuple[LogWish, asyncio.Task[object]] | None = None

    def want(self, wish: LogWish) -> None:
        """Read the end of a log, and go on with it where its backend can. Single flight: the same wish is not read twice at once,
        and one is followed at a time."""
        self._open, self._newest = wish.endpoint, wish
        if self._followed is not None and self._followed[0] != wish:
            self._leave()
        if wish not in self._under_way and (self._followed is None or self._followed[0] != wish):
            self._under_way.add(wish)
            self._spawn(self._answer(wish))

    def _leave(self) -> None:
        if self._followed is not None:
            wish, task = self._followed
            self._followed = None
            # It ends a moment later: the same may be wanted again before that.
            self._under_way.discard(wish)
            task.cancel()

    def close(self, endpoint: EndpointRef) -> None:
        """Forget every log of the endpoint, those that are still to come too."""
        if self._open == endpoint:
            self._open = self._newest = None
        if self._followed is not None and self._followed[0].endpoint == endpoint:
            self._leave()
        self._store.emit(LogsClosed(endpoint))

    async def _answer(self, wish: LogWish) -> None:
        connector: object = self._connectors.get(wish.endpoint.connection)
        try:
            if isinstance(connector, LogFollowable) and not wish.previous:
                await self._follow(connector, wish)
            else:
                self._tell(await self._read(wish))
        finally:
            self._under_way.discard(wish)

    def _tell(self, log: VariantLog) -> None:
        if self._open == log.wish.endpoint:
            self._store.emit(LogObserved(log))

    async def _follow(self, connector: LogFollowable, wish: LogWish) -> None:
        me = asyncio.current_task()
        if me is None or self._newest != wish:
            return
        self._leave()
        self._followed = (wish, me)
        try:
            async with asyncio.timeout(self._deadline_s) as limit:
                async for tails in connector.follow(self._endpoint(wish), wish):
                    limit.reschedule(None)
                    self._tell(VariantLog(wish, self._now(), bounded(tails, wish)))
        except (Exception, SystemExit) as error:
            self._tell(self._failed(wish, error))
        finally:
            if self._followed == (wish, me):
                self._followed = None

    def _endpoint(self, wish: LogWish) -> Endpoint:
        endpoint = self._store.state.endpoints.get(wish.endpoint)
        if endpoint is None:
            raise NotFound(f"{wish.endpoint} is not there any more")
        return endpoint

    async def _read(self, wish: LogWish) -> VariantLog:
        name = wish.endpoint.connection
        try:
            source: object = self._connectors.get(name)
            if not isinstance(source, LogSource):
                raise Unsupported(f"{name} reads no logs", hint="look where its processes write them")
            async with asyncio.timeout(self._deadline_s):
                tails = bounded(await source.logs(self._endpoint(wish), wish), wish)
        except (Exception, SystemExit) as error:
            return self._failed(wish, error)
        return VariantLog(wish, self._now(), tails)

    def _failed(self, wish: LogWish, error: BaseException) -> VariantLog:
        said, hint = _told(error, wish.endpoint.connection, self._deadline_s)
        return VariantLog(wish, self._now(), error=SafeText(said), hint=SafeText(hint))


def _told(error: BaseException, name: str, deadline_s: float) -> tuple[str, str]:
    if isinstance(error, TimeoutError):
        return f"{name} did not answer within {deadline_s:g} s", ""
    if isinstance(error, ReleaseError):
        return error.message, error.hint
    return (
        f"the connector failed: {type(error).__name__}: {error}",
        "this is a fault of the connector; its author wants to know",
    )
