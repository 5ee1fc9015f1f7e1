"""The poller: connections that fail in every way, and what they cost the others. Time is short, not faked."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.unit.release_parts import FRAUD, FRAUD_MODEL, SCRIPT, VirtualClock

from mlrelease_tui.connectors.api import Connector, ModelPage, Settings
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.connectors.fake.faults import Fault, FaultKind
from mlrelease_tui.connectors.fake.script import backend_of
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.refs import EndpointRef, VersionRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.errors import RateLimited, Unreachable
from mlrelease_tui.store import poller as module
from mlrelease_tui.store import readings
from mlrelease_tui.store.facts import (
    ConnectionObserved,
    EndpointsObserved,
    Fact,
    ModelsObserved,
    ReadFailed,
    VersionsObserved,
)
from mlrelease_tui.store.poller import Intervals, Poller
from mlrelease_tui.store.store import Store

FAST = Intervals(refresh_s=0.01, models_s=0.01, probe_s=0.01)


class Source:
    """Serves endpoints, and nothing else: `read` says how."""

    kind = "source"

    def __init__(self, name: str, read: Callable[[], object] = tuple) -> None:
        self.name = name
        self.reads = 0
        self._read = read

    async def probe(self) -> object:
        return replace(await fake(self.name).probe(), kind=self.kind)

    async def close(self) -> None:
        return None

    async def endpoints(self) -> tuple[Endpoint, ...]:
        self.reads += 1
        found = self._read()
        return await found if asyncio.iscoroutine(found) else found  # type: ignore[return-value]

    async def endpoint(self, ref: EndpointRef) -> Endpoint:
        raise NotImplementedError

    def driver(self, endpoint: Endpoint) -> object:
        return self


def fake(name: str, *, timeout_s: float = 0.02) -> FakeConnector:
    clock = VirtualClock()
    return FakeConnector(
        Settings(name, "fake", timeout_s=timeout_s, now=clock.now), backend_of(SCRIPT, name, clock.now())
    )


class Watched:
    def __init__(self, connectors: Mapping[str, Connector], intervals: Intervals = FAST) -> None:
        self.store = Store()
        self.facts: list[Fact] = []
        self.store.subscribe(lambda _state, fact: self.facts.append(fact))
        self.poller = Poller(self.store, connectors, intervals=intervals, jitter=lambda: 0.5)

    async def until(self, condition: Callable[[], object], within_s: float = 5.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.002)

    def reads(self, name: str) -> int:
        return sum(isinstance(fact, EndpointsObserved) and fact.connection == name for fact in self.facts)


@asynccontextmanager
async def polling(*connectors: object, intervals: Intervals = FAST) -> AsyncIterator[Watched]:
    watched = Watched({item.name: item for item in connectors}, intervals)  # type: ignore[attr-defined, misc]
    watched.poller.start()
    try:
        yield watched
    finally:
        await watched.poller.stop()


async def forever() -> tuple[Endpoint, ...]:
    await asyncio.Event().wait()
    raise AssertionError


def raises(error: BaseException) -> Callable[[], object]:
    def read() -> object:
        raise error

    return read


def returns(value: object) -> Callable[[], object]:
    return lambda: value


BAD: dict[str, tuple[Callable[[], object], LinkState]] = {
    "dead": (raises(Unreachable("nobody there")), LinkState.DOWN),
    "crashing": (raises(ZeroDivisionError("oh")), LinkState.BROKEN),
    "exiting": (raises(SystemExit(3)), LinkState.BROKEN),
    "lying": (returns(None), LinkState.BROKEN),
    "lying about its rows": (returns(("not an endpoint",)), LinkState.BROKEN),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_connection_costs_nobody_else_a_read(name: str) -> None:
    read, state = BAD[name]
    bad, good = Source("bad", read), Source("good")
    async with polling(bad, good) as watched:
        await watched.until(lambda: watched.reads("good") >= 5 and bad.reads >= 2)
        said = [
            fact.health.state
            for fact in watched.facts
            if isinstance(fact, ConnectionObserved) and fact.health.name == "bad"
        ]
        assert state in said
        failures = [fact for fact in watched.facts if isinstance(fact, ReadFailed)]
        assert {fact.connection for fact in failures} == {"bad"}
        assert watched.store.state.freshness["bad"].failing_since is not None
        assert watched.store.state.freshness["good"].failing_since is None


async def test_what_a_connector_dies_of_is_told_without_a_secret() -> None:
    """As an HTTP library says of a header that it can't send."""
    bad = Source("bad", raises(ValueError("Illegal header value b'Bearer hunter2-hunter2'")))
    async with polling(bad) as watched:
        await watched.until(lambda: any(isinstance(fact, ReadFailed) for fact in watched.facts))
        health = watched.store.state.connections["bad"]
    assert "ValueError: Illegal header value" in health.error
    assert "hunter2" not in repr((watched.facts, watched.store.state))


async def test_a_hanging_connection_is_given_up_at_the_deadline_and_delays_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 0.05)
    hanging, good = Source("hanging", forever), Source("good")
    async with polling(hanging, good) as watched:
        await watched.until(lambda: watched.reads("good") >= 3)
        await watched.until(lambda: hanging.reads >= 2)
        assert watched.store.state.freshness["hanging"].error_code == "timed_out"


async def test_every_fault_of_the_fake_is_survived() -> None:
    for kind in FaultKind:
        connector = fake("world")
        connector.backend.faults.add(Fault(kind, delay_s=0.001))
        async with polling(connector, Source("good")) as watched:
            await watched.until(lambda watched=watched: watched.reads("good") >= 2)  # type: ignore[misc]


async def test_pauses_grow_while_it_fails_and_shrink_when_it_works_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.08)
    broken = True
    at: list[float] = []

    def read() -> object:
        at.append(asyncio.get_running_loop().time())
        if broken:
            raise Unreachable("nobody there")
        return ()

    source = Source("source", read)
    async with polling(source) as watched:
        await watched.until(lambda: source.reads >= 7)
        pauses = [after - before for before, after in itertools.pairwise(at)]
        assert pauses[0] >= 0.018
        assert pauses[2] >= 0.07
        assert max(pauses[3:]) < 1, "the pause is capped"
        broken = False
        await watched.until(lambda: watched.reads("source") >= 4)


async def test_it_never_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a thousand failures the pause must still be a number."""
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.0)
    source = Source("source", raises(Unreachable("nobody there")))
    async with polling(source, intervals=replace(FAST, refresh_s=0.0)) as watched:
        await watched.until(lambda: source.reads > 1100, within_s=20)


async def test_what_a_server_asks_for_is_waited() -> None:
    source = Source("source", raises(RateLimited("slow down", retry_after_s=0.2)))
    async with polling(source) as watched:
        await watched.until(lambda: source.reads == 1)
        began = asyncio.get_running_loop().time()
        watched.poller.refresh()
        await watched.until(lambda: source.reads == 2)
        assert asyncio.get_running_loop().time() - began >= 0.18


async def test_one_read_at_a_time() -> None:
    at_once = most = 0

    async def slow() -> tuple[Endpoint, ...]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        return ()

    source = Source("source", slow)
    async with polling(source) as watched:
        for _ in range(20):
            watched.poller.refresh()
            await asyncio.sleep(0.003)
        assert most == 1
        assert source.reads >= 2


async def test_a_refresh_comes_now() -> None:
    slow = Intervals(refresh_s=60, models_s=60, probe_s=60)
    first, second = Source("first"), Source("second")
    async with polling(first, second, intervals=slow) as watched:
        await watched.until(lambda: first.reads == second.reads == 1)
        watched.poller.refresh("first")
        await watched.until(lambda: first.reads == 2)
        watched.poller.refresh()
        await watched.until(lambda: (first.reads, second.reads) == (3, 2))


async def test_a_watched_connection_is_read_when_it_says_so() -> None:
    connector = fake("world")
    async with polling(connector) as watched:
        await watched.until(lambda: watched.reads("world") >= 1)
        before = watched.reads("world")
        await asyncio.sleep(0.1)
        assert watched.reads("world") == before, "it is watched, and read all the same"
        connector._touched.set()
        await watched.until(lambda: watched.reads("world") == before + 1)


@pytest.mark.parametrize("kind", [FaultKind.REFUSED, FaultKind.FORBIDDEN, FaultKind.CRASH, FaultKind.EXIT])
async def test_while_a_watch_fails_it_is_read_as_often_as_without_one(kind: FaultKind) -> None:
    connector = fake("world")
    connector.backend.faults.add(Fault(kind, "changed"))
    async with polling(connector) as watched:
        await watched.until(lambda: watched.reads("world") >= 5)
        if kind in {FaultKind.REFUSED, FaultKind.FORBIDDEN}:
            assert watched.store.state.freshness["world"].failing_since is None, "the endpoints themselves were read"


async def test_a_connection_that_recovers_is_asked_at_once_how_it_is() -> None:
    connector = fake("world")
    connector.backend.faults.add(Fault(FaultKind.REFUSED, "models", times=2))
    async with polling(connector, intervals=replace(FAST, probe_s=60)) as watched:

        def states() -> list[LinkState]:
            return [fact.health.state for fact in watched.facts if isinstance(fact, ConnectionObserved)]

        await watched.until(lambda: LinkState.DOWN in states())
        await watched.until(lambda: states()[-1] is LinkState.OK)


async def test_wishes_are_read_once_however_often_they_are_asked_for() -> None:
    connector = fake("world", timeout_s=1)
    connector.backend.faults.add(Fault(FaultKind.SLOW, "versions", delay_s=0.03))
    async with polling(connector) as watched:
        for _ in range(5):
            watched.poller.want_versions(FRAUD_MODEL)
        await watched.until(lambda: FRAUD_MODEL in watched.store.state.versions)
        await asyncio.sleep(0.05)
        assert sum(isinstance(fact, VersionsObserved) for fact in watched.facts) == 1
        assert [item.ref.version for item in watched.store.state.versions[FRAUD_MODEL].versions] == [
            "5",
            "4",
            "3",
            "2",
            "1",
        ]
        watched.poller.want_versions(FRAUD_MODEL)
        await watched.until(lambda: sum(isinstance(fact, VersionsObserved) for fact in watched.facts) == 2)


async def test_pages_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "PAGE", 2)
    async with polling(fake("world")) as watched:
        watched.poller.want_more_versions(FRAUD_MODEL)  # nothing is known yet: nothing is read
        watched.poller.want_versions(FRAUD_MODEL)
        for count in (2, 4, 5):
            await watched.until(
                lambda count=count: (
                    FRAUD_MODEL in watched.store.state.versions  # type: ignore[misc]
                    and len(watched.store.state.versions[FRAUD_MODEL].versions) == count
                )
            )
            watched.poller.want_more_versions(FRAUD_MODEL)


async def test_lineage_is_read_once() -> None:
    connector = fake("world")
    ref = VersionRef(FRAUD_MODEL, "2")
    async with polling(connector) as watched:
        watched.poller.want_lineage(ref)
        await watched.until(lambda: ref in watched.store.state.lineage)
        connector.backend.faults.add(Fault(FaultKind.CRASH, "lineage"))
        watched.poller.want_lineage(ref)
        assert not watched.poller._wanted


async def test_a_wish_to_a_connection_that_is_not_there_is_nothing() -> None:
    async with polling(Source("good")) as watched:
        watched.poller.want_versions(FRAUD_MODEL)
        await watched.until(lambda: not watched.poller._wanted)


async def test_a_registry_of_many_pages_is_read_less_often() -> None:
    connector = fake("world")
    watched = Watched({"world": connector}, Intervals(models_s=1.0))
    model = connector.backend.models[replace(FRAUD_MODEL)]
    page = ModelPage(tuple(replace(model, ref=replace(FRAUD_MODEL, name=f"m{n}")) for n in range(450)))
    connector.backend.models = {item.ref: item for item in page.models}
    await watched.poller.once()
    assert len(watched.store.state.models) == 450
    assert watched.poller._models_pause("world") == 3.0


async def test_pages_that_lead_round_in_a_circle_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    connector = fake("world")
    asked: list[str] = []

    async def models(*, query: str = "", limit: int = 200, page_token: str = "") -> ModelPage:
        asked.append(page_token)
        return ModelPage(tuple(connector.backend.models.values()), {"": "a", "a": "b", "b": "a"}[page_token])

    monkeypatch.setattr(connector, "models", models)
    watched = Watched({"world": connector})
    await watched.poller.once()
    assert asked == ["", "a", "b"]
    (fact,) = [fact for fact in watched.facts if isinstance(fact, ModelsObserved)]
    assert not fact.complete, "what else there is was not read"
    assert watched.store.state.models.keys() == connector.backend.models.keys()


async def test_once_reads_everything_and_returns_whatever_fails() -> None:
    bad = Source("bad", raises(SystemExit(1)))
    watched = Watched({"bad": bad, "world": fake("world")})  # type: ignore[dict-item]
    async with asyncio.timeout(5):
        await watched.poller.once()
    assert FRAUD in watched.store.state.endpoints
    assert watched.store.state.connections["bad"].state is LinkState.BROKEN


async def test_stopping_leaves_nothing_behind() -> None:
    async with polling(Source("hanging", forever), fake("world")) as watched:
        await watched.until(lambda: watched.reads("world") >= 1)
        watched.poller.want_versions(FRAUD_MODEL)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_a_connection_with_a_time_of_its_own_is_read_at_that_pace() -> None:
    slow, quick = Source("slow"), Source("quick")
    async with polling(slow, quick, intervals=replace(FAST, own_s={"slow": 30.0})) as watched:
        await watched.until(lambda: quick.reads >= 20)
        assert slow.reads == 1


async def test_a_read_that_is_brought_forward_in_the_moment_of_the_end_does_not_keep_it_from_ending() -> None:
    source = Source("good")
    watched = Watched({"good": source}, Intervals(refresh_s=60.0, models_s=60.0, probe_s=60.0))  # type: ignore[dict-item]
    watched.poller.start()
    await watched.until(lambda: watched.reads("good"))
    await asyncio.sleep(0.05)
    watched.poller.refresh()
    # One turn of the loop: the wish has reached what waits for it, which has not run yet.
    await asyncio.sleep(0)
    async with asyncio.timeout(5.0):
        await watched.poller.stop()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_a_read_whose_library_swallows_the_end_is_ended_by_the_second_try() -> None:
    swallowed = 0

    async def stubborn() -> tuple[Endpoint, ...]:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 1:
                    raise

    watched = Watched({"bad": Source("bad", stubborn)})  # type: ignore[dict-item]
    watched.poller.start()
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5.0):
        await watched.poller.stop()
    assert swallowed == 2
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
