"""Details on demand: asked once, forgotten with their page, and failing for themselves alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from tests.ui import kubernetes_scenes as clusters
from tests.ui import scenes
from tests.ui.kubernetes_scenes import DETAILS, FRAUD

from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.domain.details import Details
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.errors import Forbidden
from mlrelease_tui.store.facts import DetailsClosed, DetailsObserved, EndpointsObserved
from mlrelease_tui.store.poller import Poller
from mlrelease_tui.store.state import State, reduce
from mlrelease_tui.store.store import Store

OTHER = scenes.ref("churn")


class Knowing(FakeConnector):
    """Knows the details of everything; holds them back until `gate` is set."""

    def __init__(self) -> None:
        super().__init__(Settings(FRAUD.connection, "fake", timeout_s=5.0), FakeBackend(endpoints={}))
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails: BaseException | None = None

    async def details(self, endpoint: Endpoint) -> Details:
        self.asked.append(endpoint.ref.id)
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        return replace(DETAILS, endpoint=endpoint.ref)


class Watched:
    def __init__(self) -> None:
        self.store = Store(State())
        both = (clusters.fraud(), scenes.endpoint("churn", "7"))
        self.store.emit(EndpointsObserved(FRAUD.connection, both, scenes.NOW))
        self.connector = Knowing()
        self.poller = Poller(self.store, {FRAUD.connection: self.connector})

    async def until(self, condition: Callable[[State], bool]) -> State:
        async with asyncio.timeout(10):
            while not condition(self.store.state):
                await asyncio.sleep(0.005)
        return self.store.state


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    found = Watched()
    yield found
    await found.poller.stop()


async def test_they_come_as_a_fact_and_go_with_their_page(watched: Watched) -> None:
    for _ in range(4):
        watched.poller.want_details(FRAUD)
    state = await watched.until(lambda state: FRAUD in state.details)
    assert state.details[FRAUD] == DETAILS
    assert watched.connector.asked == [FRAUD.id], "single flight"
    watched.poller.close_details(FRAUD)
    assert watched.store.state.details == {}


async def test_those_of_one_endpoint_are_kept_at_a_time(watched: Watched) -> None:
    watched.connector.gate.clear()
    watched.poller.want_details(FRAUD)
    await watched.until(lambda _: bool(watched.connector.asked))
    watched.poller.close_details(FRAUD)
    watched.poller.want_details(OTHER)
    watched.connector.gate.set()
    await watched.until(lambda state: OTHER in state.details)
    assert set(watched.store.state.details) == {OTHER}, "what comes after its page was closed is not kept"


@pytest.mark.parametrize("error", [Forbidden("no", hint="ask for it"), RuntimeError("boom"), SystemExit(3)])
async def test_what_can_not_be_read_costs_nothing_else(watched: Watched, error: BaseException) -> None:
    watched.connector.fails = error
    before = watched.store.state
    watched.poller.want_details(FRAUD)
    state = await watched.until(lambda state: FRAUD in state.details)
    assert state.details[FRAUD].error
    assert state.details[FRAUD].replicas == ()
    assert (state.connections, state.freshness, state.endpoints) == (
        before.connections,
        before.freshness,
        before.endpoints,
    )


async def test_a_connector_that_knows_none_and_an_endpoint_that_went_say_so(watched: Watched) -> None:
    poller = Poller(watched.store, {})
    poller.want_details(FRAUD)
    state = await watched.until(lambda state: FRAUD in state.details)
    assert "knows no details" in state.details[FRAUD].error
    await poller.stop()
    gone = scenes.ref("gone")
    watched.poller.want_details(gone)
    state = await watched.until(lambda state: gone in state.details)
    assert "not there any more" in state.details[gone].error


def test_closing_what_is_not_open_changes_nothing() -> None:
    state = reduce(State(), DetailsObserved(DETAILS))
    assert reduce(state, DetailsClosed(OTHER)) is state
    assert reduce(state, DetailsClosed(FRAUD)).details == {}
