"""The poller and targets that keep their endpoints: nothing is read as older than it is known, and a login is asked for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.release_parts import FRAUD, SCRIPT

from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.connectors.fake.script import backend_of
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.errors import CredentialError
from mlrelease_tui.store.poller import Poller
from mlrelease_tui.store.store import Store

THEN = datetime(2026, 11, 21, 8, tzinfo=UTC)
LATER = THEN + timedelta(hours=3)


class Keeping:
    """Gives the same endpoints again and again, and says when they were known to be so."""

    name = FRAUD.connection
    kind = "keeping"

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        self.given = endpoints
        self.at: datetime | None = LATER
        self.error: Exception | None = None

    async def probe(self) -> ConnectionHealth:
        return ConnectionHealth(self.name, self.kind, LinkState.OK)

    async def close(self) -> None:
        return

    async def endpoints(self) -> tuple[Endpoint, ...]:
        if self.error is not None:
            raise self.error
        return self.given

    async def endpoint(self, ref: object) -> Endpoint:
        return self.given[0]

    def driver(self, endpoint: Endpoint) -> object:
        return None

    def seen_at(self) -> datetime | None:
        return self.at


@pytest.fixture
def keeping() -> Keeping:
    fake = FakeConnector(Settings(FRAUD.connection, "fake"), backend_of(SCRIPT, FRAUD.connection, THEN))
    found = asyncio.run(fake.endpoints())
    return Keeping(tuple(replace(item, observed_at=THEN) for item in found))


def test_endpoints_that_stay_the_same_objects_are_seen_when_the_target_says_so(keeping: Keeping) -> None:
    store = Store()
    poller = Poller(store, {keeping.name: keeping})
    asyncio.run(poller.once())
    first = store.state.seen(FRAUD)
    assert first is not None
    assert first.observed_at == LATER
    keeping.at = LATER + timedelta(minutes=1)
    asyncio.run(poller.once())
    again = store.state.seen(FRAUD)
    assert again is not None
    assert again.observed_at == LATER + timedelta(minutes=1)


def test_a_credential_that_can_not_be_had_is_a_matter_of_logging_in(keeping: Keeping) -> None:
    store = Store()
    keeping.error = CredentialError("login needed: the exec plugin ended with 1", hint="log in")
    asyncio.run(Poller(store, {keeping.name: keeping}).once())
    assert store.state.connections[keeping.name].state is LinkState.AUTH
