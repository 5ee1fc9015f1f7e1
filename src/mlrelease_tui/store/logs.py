"""Logs on demand: read when a page asks for them, followed while it is open, gone when it is closed.

A log that can't be read costs its page alone.
"""

from __future__ import annotations

import asyncio

from mlrelease_tui.connectors.api import LogFollowable, LogSource
from mlrelease_tui.domain.logs import LogWish, VariantLog, bounded
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.errors import Unsupported
from mlrelease_tui.store.facts import LogObserved, LogsClosed
from mlrelease_tui.store.on_demand import OnDemand


class LogReading(OnDemand[LogWish]):
    """`want` and `close` return at once; what is read comes as a fact, unless the page was closed meanwhile."""

    _newest: LogWish | None = None
    _followed: tuple[LogWish, asyncio.Task[object]] | None = None

    def want(self, wish: LogWish) -> None:
        """Read the end of a log, and go on with it where its backend can. Single flight: the same wish is not read twice at once,
        and one is followed at a time."""
        self._open, self._newest = wish.endpoint, wish
        if self._followed is not None and self._followed[0] != wish:
            self._leave()
        if self._followed is None:
            self._begin(wish)

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
        with self._in_flight(wish):
            if isinstance(connector, LogFollowable) and not wish.previous:
                await self._follow(connector, wish)
            else:
                self._tell(await self._read(wish))

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
                async for tails in connector.follow(self._endpoint(wish.endpoint), wish):
                    limit.reschedule(None)
                    self._tell(VariantLog(wish, self._now(), bounded(tails, wish)))
        except (Exception, SystemExit) as error:
            self._tell(self._failed(wish, error))
        finally:
            if self._followed == (wish, me):
                self._followed = None

    async def _read(self, wish: LogWish) -> VariantLog:
        name = wish.endpoint.connection
        try:
            source: object = self._connectors.get(name)
            if not isinstance(source, LogSource):
                raise Unsupported(f"{name} reads no logs", hint="look where its processes write them")
            async with asyncio.timeout(self._deadline_s):
                tails = bounded(await source.logs(self._endpoint(wish.endpoint), wish), wish)
        except (Exception, SystemExit) as error:
            return self._failed(wish, error)
        return VariantLog(wish, self._now(), tails)

    def _failed(self, wish: LogWish, error: BaseException) -> VariantLog:
        said, hint = self._said(error, wish.endpoint.connection)
        return VariantLog(wish, self._now(), error=said, hint=hint)
