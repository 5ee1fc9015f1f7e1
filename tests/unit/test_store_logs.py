"""Logs on demand: asked once, bounded whatever is answered, forgotten with their page, and failing for themselves alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import pytest
from tests.ui import scenes

from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.connectors.fake.faults import Fault, FaultKind
from mlrelease_tui.domain.logs import BYTES, LINES, LogTail, LogWish, VariantLog, bounded, line_of
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.store.facts import EndpointsObserved, LogObserved, LogsClosed
from mlrelease_tui.store.poller import Poller
from mlrelease_tui.store.state import State, reduce
from mlrelease_tui.store.store import Store

FRAUD = scenes.ref("fraud-scorer")
CONNECTION = FRAUD.connection
CANARY = LogWish(FRAUD, "v42")


@dataclass
class Watched:
    store: Store
    poller: Poller
    backend: FakeBackend

    async def until(self, condition: Callable[[State], bool]) -> State:
        async with asyncio.timeout(10):
            while not condition(self.store.state):
                await asyncio.sleep(0.005)
        return self.store.state

    async def log(self, *, previous: bool = False) -> VariantLog:
        state = await self.until(lambda state: ("v42", previous) in state.logs)
        return state.logs["v42", previous]


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    endpoints = tuple(item for ref, item in scenes.degraded().endpoints.items() if ref.connection == CONNECTION)
    backend = FakeBackend(endpoints={item.ref: replace(item, revision="1") for item in endpoints})
    backend.endpoints[FRAUD] = replace(
        backend.endpoints[FRAUD],
        variants=tuple(replace(item, name=f"v{item.version}") for item in backend.endpoints[FRAUD].variants),
    )
    store = Store(State())
    store.emit(EndpointsObserved(CONNECTION, tuple(backend.endpoints.values()), scenes.NOW))
    poller = Poller(store, {CONNECTION: FakeConnector(Settings(CONNECTION, "fake", timeout_s=5.0), backend)})
    yield Watched(store, poller, backend)
    await poller.stop()


async def test_a_log_comes_as_a_fact_and_goes_with_its_page(watched: Watched) -> None:
    watched.backend.logs[FRAUD, "v42", False] = ("one", "two\x1b[31m")
    watched.poller.want_log(CANARY)
    found = await watched.log()
    assert [str(line) for line in found.tails[0].lines] == ["one", "two\\e[31m"]
    watched.poller.close_logs(FRAUD)
    assert watched.store.state.logs == {}


async def test_what_is_answered_after_the_page_was_closed_is_not_kept(watched: Watched) -> None:
    watched.backend.faults.add(Fault(FaultKind.SLOW, "logs", times=1, delay_s=0.05))
    watched.poller.want_log(CANARY)
    watched.poller.close_logs(FRAUD)
    other = LogWish(scenes.ref("churn"), "nobody")
    watched.poller.want_log(other)
    state = await watched.until(lambda state: ("nobody", False) in state.logs)
    await asyncio.sleep(0.1)
    assert set(watched.store.state.logs) == {("nobody", False)}
    assert "has no variant nobody" in state.logs["nobody", False].error


async def test_one_wish_is_read_once_at_a_time(watched: Watched) -> None:
    asked: list[str] = []
    take = watched.backend.faults.take

    def counting(operation: str) -> Fault | None:
        asked.append(operation)
        return take(operation)

    watched.backend.faults.take = counting  # type: ignore[method-assign]
    for _ in range(5):
        watched.poller.want_log(CANARY)
    await watched.log()
    assert asked.count("logs") == 1


@pytest.mark.parametrize("kind", [FaultKind.REFUSED, FaultKind.FORBIDDEN, FaultKind.CRASH, FaultKind.EXIT])
async def test_a_log_that_cannot_be_read_costs_nothing_else(watched: Watched, kind: FaultKind) -> None:
    watched.backend.faults.add(Fault(kind, "logs"))
    before = watched.store.state
    watched.poller.want_log(CANARY)
    found = await watched.log()
    assert found.error
    assert found.tails == ()
    after = watched.store.state
    assert (after.connections, after.freshness) == (before.connections, before.freshness)


async def test_a_connector_without_logs_says_so(watched: Watched) -> None:
    class Bare:
        name = CONNECTION
        kind = "bare"

    poller = Poller(watched.store, {CONNECTION: Bare()})  # type: ignore[dict-item]
    poller.want_log(CANARY)
    assert "reads no logs" in (await watched.log()).error
    await poller.stop()


async def test_whatever_is_answered_is_bounded(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    async def floods(self: FakeConnector, endpoint: Endpoint, wish: LogWish) -> tuple[LogTail, ...]:
        return tuple(LogTail(SafeText(f"pod-{n}"), (SafeText("x" * 100),) * 10_000) for n in range(50))

    monkeypatch.setattr(FakeConnector, "logs", floods)
    watched.poller.want_log(CANARY)
    tails = (await watched.log()).tails
    assert len(tails) == 50
    assert sum(len(tail.lines) for tail in tails) <= LINES
    assert all(tail.earlier for tail in tails)


def test_bounds_take_from_the_start() -> None:
    tail = LogTail(SafeText("file"), tuple(SafeText("y" * 1_000) for _ in range(300)))
    (found,) = bounded((tail,), CANARY)
    assert len(found.lines) == BYTES // 1_001
    assert found.earlier
    short = LogTail(SafeText("file"), (SafeText("a"), SafeText("b")))
    assert bounded((short,), CANARY) == (short,)
    assert bounded((short,), replace(CANARY, lines=1))[0].lines == ("b",)
    assert bounded((), CANARY) == ()


def test_the_state_keeps_the_logs_of_one_endpoint() -> None:
    at, other = scenes.NOW, EndpointRef(CONNECTION, "ml", "churn")
    state = reduce(State(), LogObserved(VariantLog(CANARY, at)))
    state = reduce(state, LogObserved(VariantLog(replace(CANARY, previous=True), at)))
    assert set(state.logs) == {("v42", False), ("v42", True)}
    assert reduce(state, LogsClosed(other)) is state
    state = reduce(state, LogObserved(VariantLog(LogWish(other, "v7"), at)))
    assert set(state.logs) == {("v7", False)}
    assert reduce(state, LogsClosed(other)).logs == {}


def test_a_line_keeps_what_its_bytes_were_as_far_as_they_are_text() -> None:
    assert line_of(b"plain\n") == "plain"
    assert line_of("é".encode() * 3_000).endswith("… (6000 bytes)")
    assert line_of(b"\x00" * 10) == "\\0" * 10


class Speaking(FakeConnector):
    """Tells what is printed as it comes; `open` says which wishes are followed now."""

    def __init__(self, backend: FakeBackend) -> None:
        super().__init__(Settings(CONNECTION, "fake", timeout_s=5.0), backend)
        self.open: list[LogWish] = []
        self.opened = 0
        self.printed: list[str] = []
        self.more = asyncio.Event()
        self.fails: Exception | None = None

    def prints(self, text: str) -> None:
        self.printed.append(text)
        self.more.set()

    async def follow(self, endpoint: Endpoint, wish: LogWish) -> AsyncIterator[tuple[LogTail, ...]]:
        self.open.append(wish)
        self.opened += 1
        try:
            while True:
                if self.fails is not None:
                    raise self.fails
                yield (LogTail(SafeText("pod/model"), tuple(line_of(line.encode()) for line in self.printed)),)
                self.more.clear()
                await self.more.wait()
        finally:
            self.open.remove(wish)


@pytest.fixture
async def speaking(watched: Watched) -> AsyncIterator[tuple[Watched, Speaking]]:
    connector = Speaking(watched.backend)
    poller = Poller(watched.store, {CONNECTION: connector})
    yield Watched(watched.store, poller, watched.backend), connector
    await poller.stop()
    assert connector.open == [], "nothing is followed when the program ends"


def _said(state: State) -> list[str]:
    log = state.logs.get(("v42", False))
    return [str(line) for tail in log.tails for line in tail.lines] if log is not None else []


async def test_what_is_printed_while_its_page_is_open_comes_by_itself(speaking: tuple[Watched, Speaking]) -> None:
    watched, connector = speaking
    connector.prints("one")
    watched.poller.want_log(CANARY)
    await watched.until(lambda state: _said(state) == ["one"])
    connector.prints("two")
    await watched.until(lambda state: _said(state) == ["one", "two"])
    for number in range(LINES + 50):
        connector.prints(f"line {number}")
    state = await watched.until(lambda state: _said(state)[-1:] == [f"line {LINES + 49}"])
    assert len(_said(state)) == LINES, "only the end of it is held"
    watched.poller.close_logs(FRAUD)
    await watched.until(lambda _: not connector.open)
    connector.prints("nobody looks")
    assert watched.store.state.logs == {}


async def test_only_one_log_is_followed_however_often_it_is_turned(speaking: tuple[Watched, Speaking]) -> None:
    watched, connector = speaking
    stable = LogWish(FRAUD, "v41")
    for wish in (CANARY, stable, CANARY, CANARY, stable, CANARY):
        watched.poller.want_log(wish)
    await watched.until(lambda state: ("v42", False) in state.logs)
    assert connector.open == [CANARY]
    for _ in range(3):
        watched.poller.want_log(CANARY)
        await asyncio.sleep(0)
    assert connector.open == [CANARY]
    assert connector.opened <= 2
    watched.poller.want_log(stable)
    await watched.until(lambda _: connector.open == [stable])
    watched.backend.logs[FRAUD, "v42", True] = ("before",)
    watched.poller.want_log(LogWish(FRAUD, "v42", previous=True))
    await watched.until(lambda state: ("v42", True) in state.logs and not connector.open)


async def test_a_log_that_breaks_off_says_so_and_can_be_asked_for_again(speaking: tuple[Watched, Speaking]) -> None:
    watched, connector = speaking
    connector.prints("one")
    watched.poller.want_log(CANARY)
    await watched.until(lambda state: _said(state) == ["one"])
    connector.fails = RuntimeError("boom")
    connector.more.set()
    state = await watched.until(lambda state: bool(state.logs["v42", False].error))
    assert "the connector failed: RuntimeError: boom" in state.logs["v42", False].error
    connector.fails = None
    watched.poller.want_log(CANARY)
    await watched.until(lambda state: _said(state) == ["one"])
