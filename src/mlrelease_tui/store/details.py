"""Details on demand: read when a page asks for them, gone when it is closed. What can't be read costs its page alone."""

from __future__ import annotations

import asyncio

from mlrelease_tui.connectors.api import DetailSource
from mlrelease_tui.domain.details import Details
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.errors import Unsupported
from mlrelease_tui.store.facts import DetailsClosed, DetailsObserved
from mlrelease_tui.store.on_demand import OnDemand


class DetailReading(OnDemand[EndpointRef]):
    """`want` and `close` return at once; what is read comes as a fact, unless the page was closed meanwhile."""

    def want(self, endpoint: EndpointRef) -> None:
        """Read them. Single flight: those of one endpoint are not read twice at once."""
        self._open = endpoint
        self._begin(endpoint)

    def close(self, endpoint: EndpointRef) -> None:
        """Forget them, those that are still to come too."""
        if self._open == endpoint:
            self._open = None
        self._store.emit(DetailsClosed(endpoint))

    async def _answer(self, wish: EndpointRef) -> None:
        with self._in_flight(wish):
            found = await self._read(wish)
        if self._open == wish:
            self._store.emit(DetailsObserved(found))

    async def _read(self, ref: EndpointRef) -> Details:
        try:
            source: object = self._connectors.get(ref.connection)
            if not isinstance(source, DetailSource):
                raise Unsupported(f"{ref.connection} knows no details", hint="look at its backend")
            endpoint = self._endpoint(ref)
            async with asyncio.timeout(self._deadline_s):
                return await source.details(endpoint)
        except (Exception, SystemExit) as error:
            said, hint = self._said(error, ref.connection)
        return Details(ref, self._now(), error=said, hint=hint)
