"""Details on demand: read when a page asks for them, gone when it is closed. What can't be read costs its page alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from mlrelease_tui.connectors.api import Connector, DetailSource
from mlrelease_tui.domain.details import Details
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import NotFound, ReleaseError, Unsupported
from mlrelease_tui.store.facts import DetailsClosed, DetailsObserved
from mlrelease_tui.store.store import Store


class DetailReading:
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
        self._under_way: set[EndpointRef] = set()

    def want(self, endpoint: EndpointRef) -> None:
        """Read them. Single flight: those of one endpoint are not read twice at once."""
        self._open = endpoint
        if endpoint not in self._under_way:
            self._under_way.add(endpoint)
            self._spawn(self._answer(endpoint))

    def close(self, endpoint: EndpointRef) -> None:
        """Forget them, those that are still to come too."""
        if self._open == endpoint:
            self._open = None
        self._store.emit(DetailsClosed(endpoint))

    async def _answer(self, endpoint: EndpointRef) -> None:
        try:
            found = await self._read(endpoint)
        finally:
            self._under_way.discard(endpoint)
        if self._open == endpoint:
            self._store.emit(DetailsObserved(found))

    async def _read(self, ref: EndpointRef) -> Details:
        try:
            source: object = self._connectors.get(ref.connection)
            if not isinstance(source, DetailSource):
                raise Unsupported(f"{ref.connection} knows no details", hint="look at its backend")
            endpoint = self._store.state.endpoints.get(ref)
            if endpoint is None:
                raise NotFound(f"{ref} is not there any more")
            async with asyncio.timeout(self._deadline_s):
                return await source.details(endpoint)
        except TimeoutError:
            said, hint = f"{ref.connection} did not answer within {self._deadline_s:g} s", ""
        except ReleaseError as error:
            said, hint = error.message, error.hint
        except (Exception, SystemExit) as error:
            said = f"the connector failed: {type(error).__name__}: {error}"
            hint = "this is a fault of the connector; its author wants to know"
        return Details(ref, self._now(), error=SafeText(said), hint=SafeText(hint))
