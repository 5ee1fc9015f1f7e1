"""Targets that mean no good, and a host whose environment is not made for them: no number is made up, nothing is given away."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import ssl
import subprocess
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from tests.connectors.scripted_server import ScriptedServer, said
from tests.unit.release_parts import FRAUD, VirtualClock, world

from mlrelease_tui.connectors.api import Credential, Settings
from mlrelease_tui.connectors.scrape import connect
from mlrelease_tui.connectors.scrape.connector import ScrapeConnector
from mlrelease_tui.connectors.scrape.exposition import Scrape
from mlrelease_tui.connectors.scrape.presets import PRESETS
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.metrics import Coverage, VariantSample
from mlrelease_tui.domain.rollout import Endpoint, SeriesSelector
from mlrelease_tui.domain.secret import Credential as OwnCredential
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.errors import CredentialError, TimedOut, Unauthenticated, UnexpectedAnswer, Unreachable

pytestmark = pytest.mark.real

NOBODY: Final = "http://127.0.0.1:9/metrics"
LABELS: Final = 'model="fraud",version="2"'
GOOD: Final = f'model_server_requests_total{{{LABELS},code="200"}} 5\n'


def endpoint(url: str = "") -> Endpoint:
    """The tests' endpoint; its stable variant is counted at `url`, or at the configured targets."""
    base = world(VirtualClock()).endpoints[FRAUD]
    selector = SeriesSelector("model_server", (("model", "fraud"), ("version", "2")), url)
    return replace(base, variants=(replace(base.variants[0], series=(selector,)),))


def scraping(targets: object, **changes: object) -> ScrapeConnector:
    found = connect(replace(Settings("metrics", "scrape", {"targets": targets}, timeout_s=5.0), **changes))  # type: ignore[arg-type]
    assert isinstance(found, ScrapeConnector)
    return found


async def sample_of(connector: ScrapeConnector, *endpoints: Endpoint) -> VariantSample:
    """The first variant's reading; closes the connector."""
    try:
        return (await connector.samples(endpoints or (endpoint(),)))[0]
    finally:
        await connector.close()


# --- numbers that are none --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "1e400"])
@pytest.mark.parametrize("code", ["200", "500"])
async def test_a_part_that_is_no_count_leaves_the_whole_unknown(value: str, code: str) -> None:
    """Without the good ones every request failed, without the bad ones none did: neither is known."""
    other = {"200": "500", "500": "200"}[code]
    page = (
        f'model_server_requests_total{{{LABELS},code="{code}"}} {value}\n'
        f'model_server_requests_total{{{LABELS},code="{other}"}} 3\n'
    )
    async with ScriptedServer(lambda _: said(200, page.encode())) as server:
        found = await sample_of(scraping([server.url]))
    assert (found.coverage, found.requests, found.errors) == (Coverage.NO_SERIES, None, None)


async def test_a_sum_beyond_all_numbers_is_unknown() -> None:
    page = "".join(f'model_server_requests_total{{{LABELS},code="{code}"}} 1e308\n' for code in (200, 201))
    async with ScriptedServer(lambda _: said(200, page.encode())) as server:
        assert (await sample_of(scraping([server.url]))).requests is None


@pytest.mark.parametrize(
    "buckets",
    [
        [("a", "0.1", "3"), ("a", "1.0", "2"), ("a", "+Inf", "5")],
        [("a", "0.1", "3"), ("a", "1.0", "NaN"), ("a", "+Inf", "5")],
        [("a", "0.1", "3"), ("a", "+Inf", "5"), ("b", "0.1", "3"), ("b", "0.5", "4"), ("b", "+Inf", "5")],
    ],
    ids=["falling", "unknown", "of different buckets"],
)
async def test_what_is_no_histogram_gives_no_latency(buckets: Sequence[tuple[str, str, str]]) -> None:
    name = "model_server_request_duration_seconds_bucket"
    page = GOOD + "".join(f'{name}{{{LABELS},path="{path}",le="{le}"}} {count}\n' for path, le, count in buckets)
    async with ScriptedServer(lambda _: said(200, page.encode())) as server:
        found = await sample_of(scraping([server.url]))
    assert (found.requests, found.latency) == (5, None)


async def test_a_reading_is_of_the_time_when_it_was_read() -> None:
    """A target that takes its time does not stretch the time over which the others' requests are counted."""
    events: list[str] = []
    read = asyncio.Event()

    def monotonic() -> float:
        if not read.is_set():
            events.append("read")
            read.set()
        return float(len(events))

    class Slow(ScriptedServer):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with asyncio.timeout(1.0):
                    await read.wait()
            except TimeoutError:
                pass
            events.append("slow")
            await super()._serve(reader, writer)

    async with ScriptedServer(lambda _: said(200, GOOD.encode())) as quick, Slow(lambda _: said(200)) as slow:
        settings = Settings("metrics", "scrape", {"targets": [quick.url, slow.url]}, timeout_s=5.0)
        found = await sample_of(ScrapeConnector(settings, monotonic=monotonic))
    assert events == ["read", "slow"]
    assert (found.requests, found.monotonic_s) == (5, 1.0)


@pytest.mark.parametrize("fleet", [20, 200])
def test_each_variant_is_found_without_looking_at_all_others(fleet: int) -> None:
    looked = 0

    class Counted(dict[str, str]):
        def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
            nonlocal looked
            looked += 1
            return super().get(key, default)

    preset = PRESETS["model_server"]
    found = tuple(
        (Counted(model="all", version=str(number), code=code), float(number))
        for number in range(fleet)
        for code in ("200", "500")
    )
    scrape = Scrape({preset.requests: found})
    for number in range(fleet):
        reading = scrape.read(preset, (("model", "all"), ("version", str(number))))
        assert (reading.requests, reading.errors) == (2 * number, number)
    assert looked <= 10 * fleet
    assert scrape.read(preset, (("model", "all"), ("version", "no"))).requests is None
    assert scrape.read(preset, (("nothing", ""),)).requests is None
    assert scrape.read(preset, ()).requests == fleet * (fleet - 1)


# --- pages that are too much ------------------------------------------------------------------------------------------


async def test_an_answer_that_unpacks_without_end_is_not_unpacked() -> None:
    """Packed twice, a few kilobytes are a quarter of a gigabyte."""
    packed = gzip.compress(gzip.compress(b"# a comment\n" * (256 * 2**20 // 12)))
    assert len(packed) < 64 * 1024
    async with ScriptedServer(lambda _: said(200, packed, content_encoding="gzip, gzip")) as server:
        connector = scraping([server.url])
        tracemalloc.start()
        try:
            with pytest.raises(UnexpectedAnswer, match="compresses"):
                await sample_of(connector)
            assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
        finally:
            tracemalloc.stop()
    assert "accept-encoding: identity" in server.heads[0].lower()


async def test_a_target_that_asks_for_patience_gets_it_while_others_are_read() -> None:
    async with (
        ScriptedServer(lambda _: said(200, GOOD.encode())) as good,
        ScriptedServer(lambda _: said(429, retry_after="50")) as tired,
        ScriptedServer(lambda _: said(429, retry_after="0")) as rested,
    ):
        connector = scraping([good.url, tired.url, rested.url])
        for _ in range(3):
            assert (await connector.samples((endpoint(),)))[0].requests == 5
        assert (await connector.probe()).error_code == "rate_limited"
        await connector.close()
    assert (len(good.heads), len(tired.heads), len(rested.heads)) == (4, 1, 4)


# --- credentials ------------------------------------------------------------------------------------------------------


class Wallet:
    """A source as the core gives it: keeps what it has, and counts how often it is renewed."""

    def __init__(self, *tokens: str) -> None:
        self.left = list(tokens)
        self.renewed = 0

    async def credential(self) -> Credential | None:
        return OwnCredential("bearer", "", Secret(self.left[0]), "file")

    async def renew(self) -> Credential | None:
        self.renewed += 1
        await asyncio.sleep(0)
        if len(self.left) > 1:
            self.left.pop(0)
        return await self.credential()


def guarded(head: str) -> bytes:
    return said(200, GOOD.encode()) if "bearer second" in head.lower() else said(401)


async def test_a_401_in_mid_session_renews_the_credential_once() -> None:
    wallet = Wallet("first", "second", "third")
    async with ScriptedServer(guarded) as one, ScriptedServer(guarded) as two:
        connector = scraping([one.url, two.url], credential=wallet.credential, renew=wallet.renew)
        await connector.samples((endpoint(),))
        found = await sample_of(connector)
    assert (found.requests, wallet.renewed) == (5, 1)
    assert (len(one.heads), len(two.heads)) == (3, 3)


async def test_a_401_that_stays_is_asked_twice_and_no_more() -> None:
    wallet = Wallet("first", "third")
    async with ScriptedServer(guarded) as server:
        with pytest.raises(Unauthenticated):
            await sample_of(scraping([server.url], credential=wallet.credential, renew=wallet.renew))
    assert len(server.heads) == 2


async def test_a_401_of_an_address_that_a_backend_told_us_renews_nothing() -> None:
    wallet = Wallet("first", "second")
    async with ScriptedServer(guarded) as theirs, ScriptedServer(lambda _: said(200, GOOD.encode())) as ours:
        connector = scraping([ours.url], credential=wallet.credential, renew=wallet.renew)
        found = await sample_of(connector, endpoint(theirs.url))
    assert (found.coverage, wallet.renewed, len(theirs.heads)) == (Coverage.NO_TARGET, 0, 1)


async def fails() -> Credential | None:
    raise CredentialError("the credential command of metrics failed with exit code 1", hint="log in")


async def test_a_credential_that_fails_costs_nothing_of_what_needs_none() -> None:
    async with ScriptedServer(lambda _: said(200, GOOD.encode())) as server:
        connector = scraping([NOBODY], credential=fails)
        health = await connector.probe()
        found = await sample_of(connector, endpoint(server.url))
    assert (health.state, health.error_code) == (LinkState.AUTH, "credential")
    assert found.requests == 5


async def test_targets_that_are_down_are_told_at_once_where_nothing_else_counts() -> None:
    async with ScriptedServer(lambda _: said(200, GOOD.encode())) as server:
        counted_there, gauged_here = endpoint().variants[0].series[0], endpoint(server.url).variants[0].series[0]
        base = endpoint()
        both = replace(base, variants=(replace(base.variants[0], series=(counted_there, gauged_here)),))
        with pytest.raises(Unreachable):
            await sample_of(scraping([NOBODY]), both)


async def test_a_credential_source_that_hangs_is_named() -> None:
    async def hangs() -> Credential | None:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(TimedOut, match="credential"):
        await sample_of(scraping([NOBODY], credential=hangs, timeout_s=0.2))


# --- the way there ----------------------------------------------------------------------------------------------------


async def test_a_server_of_this_host_is_behind_no_proxy() -> None:
    async with (
        ScriptedServer(lambda _: said(200, GOOD.encode())) as server,
        ScriptedServer(lambda _: said(503)) as proxy,
    ):
        found = await sample_of(scraping([server.url], environ={"HTTP_PROXY": proxy.url}))
    assert (found.requests, proxy.heads) == (5, [])


async def test_the_environment_is_the_one_that_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        ScriptedServer(lambda _: said(200, GOOD.encode())) as given,
        ScriptedServer(lambda _: said(503)) as ambient,
    ):
        monkeypatch.setenv("HTTP_PROXY", ambient.url)
        connector = scraping(["http://metrics.invalid/metrics"], environ={"http_proxy": given.url})
        found = await sample_of(connector)
    assert (found.requests, ambient.heads) == (5, [])


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("http://me:hunter2@127.0.0.1:9", "http://127.0.0.1:9"),
        ("socks4://me:hunter2@gate:1", "gate:1"),
        ("http://me:hunter2@gate:port", "gate:port"),
    ],
)
async def test_a_proxy_that_is_down_or_none_is_named_without_its_password(proxy: str, told: str) -> None:
    with pytest.raises(Unreachable) as raised:
        await sample_of(scraping(["http://metrics.invalid/metrics"], environ={"HTTP_PROXY": proxy}))
    assert told in raised.value.message
    assert "PROXY" in raised.value.hint
    assert "hunter2" not in repr(raised.value)


async def test_a_certificate_that_is_not_to_be_trusted_is_refused_with_its_fingerprint(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    named = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made, *named], check=True, capture_output=True)
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    fingerprint = hashlib.sha256(der).hexdigest()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said(200, GOOD.encode()))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/metrics"
    with pytest.raises(Unreachable, match="not to be trusted") as raised:
        await sample_of(scraping([url]))
    assert fingerprint in raised.value.hint
    assert (await sample_of(scraping([url], environ={"SSL_CERT_FILE": str(certificate)}))).requests == 5
    with pytest.raises(Unreachable, match="SSL_CERT_FILE"):
        await sample_of(scraping([url], environ={"SSL_CERT_FILE": str(tmp_path / "none.pem")}))
    server.close()


async def test_targets_may_have_names() -> None:
    """The configuration takes an array of addresses, or a table of names; the names are no addresses."""
    async with ScriptedServer(lambda _: said(200, GOOD.encode())) as server:
        assert (await sample_of(scraping({"router": server.url}))).requests == 5


async def test_an_address_by_number_is_shown_whole() -> None:
    connector = scraping(["http://[::1]:9/metrics"])
    health = await connector.probe()
    await connector.close()
    assert health.address == "http://[::1]:9/metrics"
