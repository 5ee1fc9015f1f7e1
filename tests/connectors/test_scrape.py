"""Scraping a real exposition server, made by the official client library, and servers that answer anything but that."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from tests.unit.release_parts import FRAUD, VirtualClock, world

from mlrelease_tui.connectors.api import Connector, Credential, Settings
from mlrelease_tui.connectors.conformance import FailureConformance, MetricConformance
from mlrelease_tui.connectors.scrape import connect
from mlrelease_tui.connectors.scrape import fetching as module
from mlrelease_tui.connectors.scrape.connector import ScrapeConnector
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.metrics import Coverage, VariantSample
from mlrelease_tui.domain.rollout import Endpoint, SeriesSelector
from mlrelease_tui.domain.secret import Credential as OwnCredential
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.errors import (
    NotFound,
    RateLimited,
    ReleaseError,
    TimedOut,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
)

pytestmark = pytest.mark.real

SECRET: Final = "hunter2-hunter2"
NOBODY: Final = "http://127.0.0.1:9"


# --- a real exposition ------------------------------------------------------------------------------------------------------


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


class ModelServer:
    """What our model servers expose, counted by the library that most servers use."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        words = ["model", "version"]
        self.requests = Counter("model_server_requests", "requests", [*words, "code"], registry=self.registry)
        buckets = (0.1, 0.5, 1.0)
        self.seconds = Histogram(
            "model_server_request_duration_seconds", "seconds", words, buckets=buckets, registry=self.registry
        )
        self.flying = Gauge("model_server_requests_in_flight", "in flight", words, registry=self.registry)
        Gauge("something_else", "noise", registry=self.registry).set(float("nan"))
        self._server: WSGIServer = make_server("127.0.0.1", 0, make_wsgi_app(self.registry), handler_class=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/metrics"

    def serve(self, version: str, *, good: int = 0, bad: int = 0, seconds: float = 0.05) -> None:
        self.requests.labels("fraud", version, "200").inc(good)
        self.requests.labels("fraud", version, "500").inc(bad)
        for _ in range(good + bad):
            self.seconds.labels("fraud", version).observe(seconds)
        self.flying.labels("fraud", version).set(0)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[ModelServer]:
    found = ModelServer()
    yield found
    found.close()


def endpoint(url: str = "", *, versions: Sequence[str] = ("2", "3")) -> Endpoint:
    """The tests' endpoint, its variants found at `url`, or at the configured targets."""
    base = world(VirtualClock()).endpoints[FRAUD]
    variants = tuple(
        replace(
            item,
            version=version,
            series=(SeriesSelector("model_server", (("model", "fraud"), ("version", version)), url),),
        )
        for item, version in zip(base.variants, versions, strict=True)
    )
    return replace(base, variants=variants)


async def _credential() -> Credential | None:
    return OwnCredential("bearer", "", Secret(SECRET), "command")


def scraping(*targets: str, timeout_s: float = 5.0, credential: bool = False) -> ScrapeConnector:
    settings = Settings("metrics", "scrape", {"targets": list(targets)}, timeout_s=timeout_s)
    found = connect(replace(settings, credential=_credential) if credential else settings)
    assert isinstance(found, ScrapeConnector)
    return found


@contextlib.asynccontextmanager
async def samples_of(connector: ScrapeConnector, *endpoints: Endpoint) -> AsyncIterator[dict[str, VariantSample]]:
    try:
        yield {sample.variant: sample for sample in await connector.samples(endpoints)}
    finally:
        await connector.close()


async def test_counts_errors_latency_and_requests_in_flight(server: ModelServer) -> None:
    server.serve("2", good=90, bad=10)
    server.serve("3", good=5, bad=5, seconds=0.7)
    server.flying.labels("fraud", "3").set(4)
    async with samples_of(scraping(server.url), endpoint()) as found:
        stable, canary = found["v2"], found["v3"]
    assert (stable.requests, stable.errors, stable.in_flight, stable.coverage) == (100, 10, 0, Coverage.OK)
    assert (canary.requests, canary.errors, canary.in_flight) == (10, 5, 4)
    assert stable.latency is not None
    assert (stable.latency.bounds, stable.latency.counts) == ((0.1, 0.5, 1.0), (100, 100, 100, 100))
    assert canary.latency is not None
    assert canary.latency.counts == (0, 0, 10, 10)


async def test_a_variant_may_name_its_own_address(server: ModelServer) -> None:
    server.serve("2", good=7)
    async with samples_of(scraping(), endpoint(server.url)) as found:
        assert found["v2"].requests == 7
        assert (found["v3"].coverage, found["v3"].requests) == (Coverage.NO_SERIES, None)


async def test_one_dead_address_costs_only_its_own_variants(server: ModelServer) -> None:
    server.serve("2", good=7)
    there, gone = endpoint(server.url), endpoint(NOBODY)
    mixed = replace(there, variants=(there.variants[0], gone.variants[1]))
    async with samples_of(scraping(), mixed) as found:
        assert found["v2"].requests == 7
        assert (found["v3"].coverage, found["v3"].requests, found["v3"].errors) == (Coverage.NO_TARGET, None, None)


async def test_a_servers_own_count_does_not_stand_in_for_the_routers(server: ModelServer) -> None:
    """What users get is counted by the router; where it has no series yet, the server's count is another number."""
    server.serve("2", good=50)
    router = SeriesSelector("traefik", (("service", "fraud-v2@file"),))
    base = endpoint(server.url)
    both = replace(base, variants=tuple(replace(item, series=(router, *item.series)) for item in base.variants))
    async with samples_of(scraping(server.url), both) as found:
        assert (found["v2"].coverage, found["v2"].requests) == (Coverage.NO_SERIES, None)
        assert found["v2"].in_flight == 0


async def test_a_variant_that_no_source_knows_gives_no_sample(server: ModelServer) -> None:
    base = endpoint()
    bare = replace(base, variants=(replace(base.variants[0], series=()), base.variants[1]))
    async with samples_of(scraping(server.url), bare) as found:
        assert set(found) == {"v3"}


async def test_an_unknown_preset_says_nothing(server: ModelServer) -> None:
    base = endpoint()
    strange = replace(base, variants=tuple(replace(item, series=(SeriesSelector("nginx"),)) for item in base.variants))
    async with samples_of(scraping(server.url), strange) as found:
        assert {sample.coverage for sample in found.values()} == {Coverage.NO_TARGET}


class TestConformance(MetricConformance):
    @pytest.fixture
    async def connector(self, server: ModelServer) -> AsyncIterator[Connector]:
        server.serve("2", good=90, bad=10)
        server.serve("3", good=10, bad=1, seconds=0.7)
        connector = scraping(server.url, credential=True)
        yield connector
        await connector.close()

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return (SECRET,)

    @pytest.fixture
    def counted(self) -> Sequence[Endpoint]:
        return (endpoint(),)

    @pytest.fixture
    def uncounted(self) -> Sequence[Endpoint]:
        return (endpoint(versions=("77", "78")), endpoint(NOBODY))

    @pytest.fixture
    def broken(self) -> Connector:
        return scraping(NOBODY)


# --- servers that answer anything else ------------------------------------------------------------------------------------------


@dataclass
class Answers:
    """A server that gives one answer to everyone and remembers what it was asked."""

    answer: Callable[[asyncio.StreamWriter], Awaitable[None]]
    url: str = ""
    requests: list[str] = field(default_factory=list)


def says(status: int, body: bytes = b"", **headers: str) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} Said\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{lines}\r\n"
        writer.write(head.encode("latin-1") + body)
        await writer.drain()

    return answer


async def silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def dripping(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        writer.write(b"#")
        await writer.drain()
        await asyncio.sleep(0.05)


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        writer.write(b"# a comment that goes on\n" * 20_000)
        await writer.drain()


async def cut(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\nmodel_server_requ")
    await writer.drain()


async def not_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await writer.drain()


@contextlib.asynccontextmanager
async def answering(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[Answers]:
    found = Answers(answer)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            found.requests.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
            await answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"
    try:
        yield found
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


HTML = b"<!doctype html><html><head><title>Sign in</title></head><body>[/]</body></html>"
BAD: dict[str, tuple[Callable[[asyncio.StreamWriter], Awaitable[None]], type[ReleaseError]]] = {
    "silent": (silence, TimedOut),
    "dripping": (dripping, TimedOut),
    "endless": (endless, UnexpectedAnswer),
    "cut off": (cut, Unreachable),
    "not HTTP": (not_http, Unreachable),
    "a login page": (says(200, HTML, content_type="text/html"), UnexpectedAnswer),
    "garbage": (says(200, b"\x00\xff{{{{ \x1b[31m"), UnexpectedAnswer),
    "half a line": (says(200, b'model_server_requests_total{code="200"'), UnexpectedAnswer),
    "bad number": (says(200, b"model_server_requests_total many\n"), UnexpectedAnswer),
    "compressed unasked": (says(200, b"xx", content_encoding="gzip"), UnexpectedAnswer),
    "401": (says(401, HTML), Unauthenticated),
    "403": (says(403), ReleaseError),
    "404": (says(404, HTML), NotFound),
    "429": (says(429, retry_after="1000000000"), RateLimited),
    "429 in superscript": (says(429, retry_after="\xb2"), RateLimited),
    "500": (says(500, b"x" * 1000), UnexpectedAnswer),
    "a redirect": (says(302, location="http://192.0.2.1/steal"), UnexpectedAnswer),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_answer_has_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1024 * 1024)
    answer, kind = BAD[name]
    async with answering(answer) as server:
        connector = scraping(server.url, timeout_s=0.4)
        try:
            async with asyncio.timeout(5):
                with pytest.raises(kind) as caught:
                    await connector.samples((endpoint(),))
                health = await connector.probe()
        finally:
            await connector.close()
    assert caught.value.hint or isinstance(caught.value, RateLimited | UnexpectedAnswer)
    assert health.state in {LinkState.DOWN, LinkState.AUTH}
    if isinstance(caught.value, RateLimited):
        assert caught.value.retry_after_s <= 60


class TestFailures(FailureConformance):
    failures = tuple(BAD)

    @pytest.fixture
    def deadline_s(self) -> float:
        return 0.4

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return (SECRET,)

    @pytest.fixture
    async def failing(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Connector]:
        monkeypatch.setattr(module, "MAX_BYTES", 1024 * 1024)
        async with answering(BAD[request.param][0]) as server:
            connector = scraping(server.url, timeout_s=0.4, credential=True)
            yield connector
            await connector.close()


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://127.0.0.1:99999/", "ftp://127.0.0.1/", "not an address", "http://a\x00b/"]
)
async def test_an_address_that_is_none_is_told(url: str) -> None:
    connector = scraping(url)
    health = await connector.probe()
    assert health.state is LinkState.DOWN
    with pytest.raises(ReleaseError):
        await connector.samples((endpoint(),))
    await connector.close()


async def test_one_bad_target_of_two_costs_nothing_of_the_other(server: ModelServer) -> None:
    server.serve("2", good=7)
    async with samples_of(scraping(NOBODY, server.url), endpoint()) as found:
        assert found["v2"].requests == 7
    connector = scraping(NOBODY, server.url)
    health = await connector.probe()
    await connector.close()
    assert (health.state, health.server) == (LinkState.DOWN, "1 of 2 targets answer")
    assert NOBODY in health.error


async def test_the_credential_goes_to_configured_targets_alone() -> None:
    """An address that a backend told us may be anyone's."""
    async with answering(says(200, b"x 1\n")) as ours, answering(says(200, b"x 1\n")) as theirs:
        connector = scraping(ours.url, credential=True)
        await connector.samples((endpoint(theirs.url),))
        await connector.close()
    assert f"authorization: Bearer {SECRET}" in ours.requests[0].replace("Authorization", "authorization")
    assert theirs.requests
    assert SECRET not in "".join(theirs.requests)


async def test_a_credential_that_cannot_be_sent_is_not_shown() -> None:
    async def broken() -> Credential | None:
        return OwnCredential("bearer", "", Secret(f"{SECRET}\r\nX-Evil: 1"), "command")

    async with answering(says(200, b"x 1\n")) as server:
        settings = Settings("metrics", "scrape", {"targets": [server.url]}, credential=broken)
        connector = connect(settings)
        assert isinstance(connector, ScrapeConnector)
        with pytest.raises(ReleaseError) as caught:
            await connector.samples((endpoint(),))
        await connector.close()
    shown: BaseException | None = caught.value
    while shown is not None:
        assert SECRET not in str(shown)
        shown = shown.__cause__


async def test_a_password_in_an_address_is_not_shown() -> None:
    connector = scraping(f"http://ana:{SECRET}@127.0.0.1:9/metrics?token={SECRET}")
    health = await connector.probe()
    await connector.close()
    assert SECRET not in repr(health)
    assert "127.0.0.1:9/metrics" in health.address


COUNTS = b"""# TYPE model_server_requests_total counter
model_server_requests_total{model="fraud",version="2",code="200"} 5
model_server_requests_total{model="fraud",version="2",code="500"} 0
model_server_requests_total{model="fraud",version="3"} 5
model_server_requests_in_flight{model="fraud",version="2"} -4
model_server_request_duration_seconds_bucket{model="fraud",version="2",le="0.1"} 3
model_server_request_duration_seconds_bucket{model="fraud",version="2",le="nonsense"} 3
"""


async def test_what_is_no_count_is_left_out() -> None:
    async with (
        answering(says(200, COUNTS)) as server,
        samples_of(scraping(server.url), endpoint()) as found,
    ):
        stable, canary = found["v2"], found["v3"]
    assert (stable.requests, stable.errors, stable.in_flight) == (5, 0, None)
    assert stable.latency is None, "a histogram without +Inf is not one"
    assert (canary.requests, canary.errors) == (5, None), "a counter without a code says nothing of errors"


async def test_an_empty_exposition_has_no_series() -> None:
    async with answering(says(200, b"")) as server, samples_of(scraping(server.url), endpoint()) as found:
        assert {sample.coverage for sample in found.values()} == {Coverage.NO_SERIES}


async def test_all_targets_are_asked_at_once() -> None:
    async with contextlib.AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(answering(silence)) for _ in range(5)]
        connector = scraping(*(item.url for item in silent), timeout_s=0.3)
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimedOut):
            await connector.samples((endpoint(),))
        assert asyncio.get_running_loop().time() - began < 1.2
        await connector.close()
