"""Reading targets afresh: for plans, for the last look before a write, for verifying, for reconciling."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from mlrelease_tui.connectors.api import Connector, EndpointSource, VersionSource
from mlrelease_tui.domain.expectation import (
    EndpointExpectation,
    Expectation,
    alias_mismatches,
    endpoint_mismatches,
)
from mlrelease_tui.domain.models import Model
from mlrelease_tui.domain.redaction import unforeseen
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import NotFound, Refused, ReleaseError, TimedOut, UnexpectedAnswer
from mlrelease_tui.store.facts import EndpointObserved, Fact, ModelObserved

READ_DEADLINE_S: Final = 20.0
"""Seconds after which a read is given up that its connector should have given up long before."""

T = TypeVar("T")


async def asked(connection: str, read: Awaitable[T]) -> T:
    """Await one call to a connector. Whatever it does wrong (another error, asking to exit, silence) becomes an error of the
    tree, so that a connector's fault ends neither an action nor the program."""
    try:
        async with asyncio.timeout(READ_DEADLINE_S):
            return await read
    except ReleaseError:
        raise
    except TimeoutError as error:
        raise TimedOut(f"{connection} did not answer within {READ_DEADLINE_S:g} s", hint="read again later") from error
    except (Exception, SystemExit) as error:
        raise UnexpectedAnswer(
            SafeText(f"the connector of {connection} failed: {unforeseen(error)}"),
            hint="this is a fault of the connector; its author wants to know",
        ) from error


def _is_a(kind: type[T], answer: object, connection: str) -> T:
    """What a connector answered, where it is of the kind that it promises."""
    if isinstance(answer, kind):
        return answer
    raise UnexpectedAnswer(
        f"the connector of {connection} answered with {type(answer).__name__}, which is no {kind.__name__.lower()}",
        hint="this is a fault of the connector; its author wants to know",
    )


class Reader:
    """Reads one object at a time through its connection, and lets the store know what it saw."""

    def __init__(self, connectors: Mapping[str, Connector], emit: Callable[[Fact], None]) -> None:
        self._connectors = connectors
        self._emit = emit

    def connector(self, name: str) -> Connector:
        """Refused where no connection has that name, or where its connector could not be made: here both look the same."""
        found = self._connectors.get(name)
        if found is None:
            known = ", ".join(sorted(self._connectors)) or "none"
            raise Refused(
                f"no connection is called {name!r}, or it is broken",
                hint=f"those that work: {known}; `mlrelease connections list` says why another does not",
            )
        return found

    async def endpoint(self, ref: EndpointRef) -> Endpoint:
        """The endpoint as it is now. NotFound, or the error of the backend."""
        connector = self.connector(ref.connection)
        if not isinstance(connector, EndpointSource):
            raise Refused(
                f"{ref.connection} serves no endpoints", hint="`mlrelease connections list` shows what each offers"
            )
        endpoint = _is_a(Endpoint, await asked(ref.connection, connector.endpoint(ref)), ref.connection)
        self._emit(EndpointObserved(endpoint))
        return endpoint

    async def model(self, ref: ModelRef) -> Model:
        """The model as it is now. NotFound, or the error of the backend."""
        connector = self.connector(ref.connection)
        if not isinstance(connector, VersionSource):
            raise Refused(
                f"{ref.connection} is no registry", hint="`mlrelease connections list` shows what each offers"
            )
        model = _is_a(Model, await asked(ref.connection, connector.model(ref)), ref.connection)
        self._emit(ModelObserved(model))
        return model

    async def mismatches(
        self, expected: Expectation, seen: Callable[[Endpoint], None] | None = None
    ) -> tuple[str, ...]:
        """What of `expected` does not hold now; empty when all does. Errors of the backend pass through.

        `seen` is shown the endpoint that was read for it, where one was.
        """
        if isinstance(expected, EndpointExpectation):
            try:
                endpoint: Endpoint | None = await self.endpoint(expected.endpoint)
            except NotFound:
                endpoint = None
            if endpoint is not None and seen is not None:
                seen(endpoint)
            return endpoint_mismatches(expected, endpoint)
        try:
            model: Model | None = await self.model(expected.model)
        except NotFound:
            model = None
        return alias_mismatches(expected, model)
