"""The scrape connector: one GET for each target and variant, all at once, each with its own deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from mlrelease_tui.connectors.api import Settings, link_state
from mlrelease_tui.connectors.scrape.exposition import Reading, Scrape, parse
from mlrelease_tui.connectors.scrape.presets import PRESETS
from mlrelease_tui.domain.connection import ConnectionHealth
from mlrelease_tui.domain.metrics import Coverage, VariantSample
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, SeriesSelector, Variant
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import (
    BackendError,
    Forbidden,
    NotFound,
    RateLimited,
    TimedOut,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
)

if TYPE_CHECKING:
    import httpx

MAX_BYTES: Final = 16 * 1024 * 1024
"""A target that answers more than this is refused: it is not the metrics of one server."""
CONNECT_S: Final = 3.0
NO_ADDRESS: Final = SafeText("an address that can't be read")

_NAMES: Final = frozenset().union(*(preset.names for preset in PRESETS.values()))


class ScrapeConnector:
    """Scrapes configured targets and the variants' own addresses. Counts only; windows and rates are the domain's work."""

    kind = "scrape"

    def __init__(self, settings: Settings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name = settings.name
        self._settings = settings
        self._targets: tuple[str, ...] = tuple(settings.options.get("targets", ()))
        self._timeout_s = min(settings.timeout_s, 10.0)
        self._monotonic = monotonic
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def probe(self) -> ConnectionHealth:
        """Scrape every target once. One that fails is named; the others still count."""
        started = self._monotonic()
        results = await asyncio.gather(*(self._scrape(url) for url in self._targets), return_exceptions=True)
        failed = [result for result in results if isinstance(result, BackendError)]
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, BackendError):
                raise result
        first = failed[0] if failed else None
        return ConnectionHealth(
            self.name,
            self.kind,
            link_state(first),
            environment=self._settings.environment,
            error_code=first.code if first else "",
            error=SafeText(first.message if first else ""),
            hint=SafeText(first.hint if first else ""),
            latency_s=self._monotonic() - started if first is None else None,
            address=SafeText(", ".join(_shown(url) for url in self._targets)),
            server=SafeText(f"{len(results) - len(failed)} of {len(results)} targets answer"),
            observed_at=self._settings.now(),
        )

    async def samples(self, endpoints: Sequence[Endpoint]) -> tuple[VariantSample, ...]:
        own = {selector.url for endpoint in endpoints for item in endpoint.variants for selector in item.series}
        urls = (*self._targets, *sorted(own - {""} - set(self._targets)))
        results = await asyncio.gather(*(self._scrape(url) for url in urls), return_exceptions=True)
        scraped: dict[str, Scrape | None] = {}
        for url, result in zip(urls, results, strict=True):
            if isinstance(result, BaseException) and not isinstance(result, BackendError):
                raise result
            scraped[url] = None if isinstance(result, BaseException) else result
        if self._targets and all(scraped[url] is None for url in self._targets):
            first = results[0]
            if isinstance(first, BackendError):
                raise first
        return tuple(
            self._sample(endpoint.ref, variant, scraped)
            for endpoint in endpoints
            for variant in endpoint.variants
            if variant.series
        )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    # --- beneath ------------------------------------------------------------------------------------------------------

    def _sample(self, ref: EndpointRef, variant: Variant, scraped: dict[str, Scrape | None]) -> VariantSample:
        """Put one variant's sources together. What users get is counted by the router where it is known to count this variant:
        a server's own count must not stand in for it. A gauge may come from either."""
        shared = [reading for item in variant.series if not item.url for reading in self._readings(item, scraped)]
        own = [reading for item in variant.series if item.url for reading in self._readings(item, scraped)]
        counting = shared if any(not item.url for item in variant.series) else own
        counted = next((reading for reading in counting if reading.requests is not None), Reading())
        coverage = Coverage.NO_SERIES if counting else Coverage.NO_TARGET
        return VariantSample(
            ref,
            variant.name,
            self._settings.now(),
            self._monotonic(),
            requests=counted.requests,
            errors=counted.errors,
            latency=counted.latency,
            in_flight=next((item.in_flight for item in (*shared, *own) if item.in_flight is not None), None),
            coverage=coverage if counted.requests is None else Coverage.OK,
            epoch=counted.epoch,
        )

    def _readings(self, selector: SeriesSelector, scraped: dict[str, Scrape | None]) -> Iterator[Reading]:
        """One reading for each scrape that answered and that this selector speaks of."""
        preset = PRESETS.get(selector.preset)
        if preset is None:
            return
        for url in (selector.url,) if selector.url else self._targets:
            scrape = scraped.get(url)
            if scrape is not None:
                yield scrape.read(preset, selector.labels)

    async def _scrape(self, url: str) -> Scrape:
        if _shown(url) == NO_ADDRESS:
            raise Unreachable(NO_ADDRESS, hint="`targets` of this connection names it")
        try:
            async with asyncio.timeout(self._timeout_s):
                text = await self._get(url)
        except TimeoutError as error:
            raise TimedOut(
                f"{_shown(url)} did not answer within {self._timeout_s:g} s", hint="is the server overloaded?"
            ) from error
        # A large exposition takes tens of milliseconds to parse: not on the event loop's thread.
        return await asyncio.to_thread(parse, text, _NAMES, _shown(url))

    async def _get(self, url: str) -> str:
        client = await self._opened()
        import httpx

        try:
            async with client.stream("GET", url, headers=await self._headers(url)) as response:
                _raise_for(response.status_code, response.headers.get("retry-after", ""), _shown(url))
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise UnexpectedAnswer(
                            f"{_shown(url)} answered more than {MAX_BYTES >> 20} MiB",
                            hint="does the address end in /metrics?",
                        )
                return body.decode("utf-8", "replace")
        except httpx.TimeoutException as error:
            raise TimedOut(f"{_shown(url)} did not answer in time", hint="is the server overloaded?") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # Without its cause: what httpx says of a header that it can't send holds the credential.
            raise Unreachable(
                f"{_shown(url)} can't be reached: {type(error).__name__}", hint="is the server running?"
            ) from None

    async def _opened(self) -> httpx.AsyncClient:
        # All targets are asked at once: one of them opens the client, in a thread, since the import takes many frames.
        async with self._opening:
            if self._client is None:
                self._client = await asyncio.to_thread(self._open)
            return self._client

    def _open(self) -> httpx.AsyncClient:
        import httpx

        limits = httpx.Timeout(self._timeout_s, connect=CONNECT_S)
        return httpx.AsyncClient(timeout=limits, follow_redirects=False, trust_env=True)

    async def _headers(self, url: str) -> dict[str, str]:
        """The credential goes to configured targets only, never to an address that a backend told us."""
        headers = {"accept": "text/plain;version=0.0.4"}
        credential = await self._settings.credential() if url in self._targets else None
        if credential is None:
            return headers
        if credential.scheme == "basic":
            import base64

            pair = f"{credential.user}:{credential.secret.reveal()}".encode()
            return headers | {"authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}
        return headers | {"authorization": f"Bearer {credential.secret.reveal()}"}


def _raise_for(status: int, retry_after: str, target: str) -> None:
    if status == 200:
        return
    if status == 401:
        raise Unauthenticated(f"{target} wants a credential", hint="configure `credential` on this connection")
    if status == 403:
        raise Forbidden(f"{target} refuses us", hint="ask its owner for read access to the metrics")
    if status == 404:
        raise NotFound(f"{target} does not exist", hint="does the address end in /metrics?")
    if status == 429:
        seconds = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 0.0
        raise RateLimited(f"{target} asks us to slow down", hint="it is asked again later", retry_after_s=seconds)
    raise UnexpectedAnswer(f"{target} answered {status}", hint="look at that server's log")


def _shown(url: str) -> str:
    """The address without user, password and query, safe to show."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return NO_ADDRESS
    return SafeText(f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}")
