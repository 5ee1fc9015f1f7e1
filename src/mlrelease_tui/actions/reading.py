"""Reading targets afresh: for plans, for the last look before a write, for verifying, for reconciling."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mlrelease_tui.connectors.api import Connector, EndpointSource, VersionSource
from mlrelease_tui.domain.expectation import (
    EndpointExpectation,
    Expectation,
    alias_mismatches,
    endpoint_mismatches,
)
from mlrelease_tui.domain.models import Model
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.errors import NotFound, Refused
from mlrelease_tui.store.facts import EndpointObserved, Fact, ModelObserved


class Reader:
    """Reads one object at a time through its connection, and lets the store know what it saw."""

    def __init__(self, connectors: Mapping[str, Connector], emit: Callable[[Fact], None]) -> None:
        self._connectors = connectors
        self._emit = emit

    def connector(self, name: str) -> Connector:
        """Refused where no connection has that name."""
        found = self._connectors.get(name)
        if found is None:
            known = ", ".join(sorted(self._connectors)) or "none"
            raise Refused(f"no connection is called {name!r}", hint=f"configured: {known}")
        return found

    async def endpoint(self, ref: EndpointRef) -> Endpoint:
        """The endpoint as it is now. NotFound, or the error of the backend."""
        connector = self.connector(ref.connection)
        if not isinstance(connector, EndpointSource):
            raise Refused(
                f"{ref.connection} serves no endpoints", hint="`mlrelease connections list` shows what each offers"
            )
        endpoint = await connector.endpoint(ref)
        self._emit(EndpointObserved(endpoint))
        return endpoint

    async def model(self, ref: ModelRef) -> Model:
        """The model as it is now. NotFound, or the error of the backend."""
        connector = self.connector(ref.connection)
        if not isinstance(connector, VersionSource):
            raise Refused(
                f"{ref.connection} is no registry", hint="`mlrelease connections list` shows what each offers"
            )
        model = await connector.model(ref)
        self._emit(ModelObserved(model))
        return model

    async def mismatches(self, expected: Expectation) -> tuple[str, ...]:
        """What of `expected` does not hold now; empty when all does. Errors of the backend pass through."""
        if isinstance(expected, EndpointExpectation):
            try:
                endpoint: Endpoint | None = await self.endpoint(expected.endpoint)
            except NotFound:
                endpoint = None
            return endpoint_mismatches(expected, endpoint)
        try:
            model: Model | None = await self.model(expected.model)
        except NotFound:
            model = None
        return alias_mismatches(expected, model)
