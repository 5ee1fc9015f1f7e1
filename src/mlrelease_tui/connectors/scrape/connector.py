"""The scrape connector: one GET for each target and variant, all at once, each with its own deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mlrelease_tui.connectors.api import Credential, CredentialSource, Settings, link_state
from mlrelease_tui.connectors.scrape.exposition import Reading, Scrape, parse
from mlrelease_tui.connectors.scrape.fetching import NO_ADDRESS, Fetcher, shown
from mlrelease_tui.connectors.scrape.presets import PRESETS
from mlrelease_tui.domain.connection import ConnectionHealth
from mlrelease_tui.domain.metrics import Coverage, VariantSample
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, SeriesSelector, Variant
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import BackendError, CredentialError, RateLimited, TimedOut, Unauthenticated, Unreachable

_NAMES: Final = frozenset().union(*(preset.names for preset in PRESETS.values()))


@dataclass(frozen=True, slots=True)
class _Page:
    """What a target answered, and when: `monotonic_s` in seconds on the connector's own clock."""

    scrape: Scrape
    at: datetime
    monotonic_s: float


class ScrapeConnector:
    """Scrapes configured targets and the variants' own addresses. Counts only; windows and rates are the domain's work."""

    kind = "scrape"

    def __init__(self, settings: Settings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name = settings.name
        self._settings = settings
        self._targets = _addresses(settings.options.get("targets", ()))
        self._timeout_s = min(settings.timeout_s, 10.0)
        self._monotonic = monotonic
        self._fetcher = Fetcher(settings.environ, timeout_s=self._timeout_s)
        self._renewing = asyncio.Lock()
        self._resting: dict[str, float] = {}

    async def probe(self) -> ConnectionHealth:
        """Scrape every target once. One that fails is named; the others still count."""
        started = self._monotonic()
        results = await asyncio.gather(*(self._scrape(url) for url in self._targets), return_exceptions=True)
        failed = [result for result in results if isinstance(result, BackendError | CredentialError)]
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, BackendError | CredentialError):
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
            address=SafeText(", ".join(shown(url) for url in self._targets)),
            server=SafeText(f"{len(results) - len(failed)} of {len(results)} targets answer"),
            observed_at=self._settings.now(),
        )

    async def samples(self, endpoints: Sequence[Endpoint]) -> tuple[VariantSample, ...]:
        own = {selector.url for endpoint in endpoints for item in endpoint.variants for selector in item.series}
        urls = (*self._targets, *sorted(own - {""} - set(self._targets)))
        results = await asyncio.gather(*(self._scrape(url) for url in urls), return_exceptions=True)
        scraped: dict[str, _Page] = {}
        for url, result in zip(urls, results, strict=True):
            if not isinstance(result, BaseException):
                scraped[url] = result
            elif not isinstance(result, BackendError | CredentialError):
                raise result
        # Of a large fleet that takes as long as reading the pages did.
        samples = await asyncio.to_thread(self._samples, endpoints, scraped)
        # One page that counts is worth its variants, whatever became of the others: which those are the probe says.
        counted = any(sample.coverage is Coverage.OK for sample in samples)
        if self._targets and not counted and scraped.keys().isdisjoint(self._targets):
            raise next(result for result in results if isinstance(result, BaseException))
        return samples

    async def close(self) -> None:
        await self._fetcher.close()

    # --- beneath ------------------------------------------------------------------------------------------------------

    def _samples(self, endpoints: Sequence[Endpoint], scraped: Mapping[str, _Page]) -> tuple[VariantSample, ...]:
        return tuple(
            self._sample(endpoint.ref, variant, scraped)
            for endpoint in endpoints
            for variant in endpoint.variants
            if variant.series
        )

    def _sample(self, ref: EndpointRef, variant: Variant, scraped: Mapping[str, _Page]) -> VariantSample:
        """Put one variant's sources together. What users get is counted by the router where it is known to count this variant:
        a server's own count must not stand in for it. A gauge may come from either."""
        shared = [found for item in variant.series if not item.url for found in self._readings(item, scraped)]
        own = [found for item in variant.series if item.url for found in self._readings(item, scraped)]
        counting = shared if any(not item.url for item in variant.series) else own
        nothing = (_Page(Scrape(), self._settings.now(), self._monotonic()), Reading())
        page, counted = next((found for found in counting if found[1].requests is not None), nothing)
        coverage = Coverage.NO_SERIES if counting else Coverage.NO_TARGET
        return VariantSample(
            ref,
            variant.name,
            page.at,
            page.monotonic_s,
            requests=counted.requests,
            errors=counted.errors,
            latency=counted.latency,
            in_flight=next((item.in_flight for _, item in (*shared, *own) if item.in_flight is not None), None),
            coverage=coverage if counted.requests is None else Coverage.OK,
            epoch=counted.epoch,
        )

    def _readings(self, selector: SeriesSelector, scraped: Mapping[str, _Page]) -> Iterator[tuple[_Page, Reading]]:
        """One reading for each page that was got and that this selector speaks of."""
        preset = PRESETS.get(selector.preset)
        if preset is None:
            return
        for url in (selector.url,) if selector.url else self._targets:
            page = scraped.get(url)
            if page is not None:
                yield page, page.scrape.read(preset, selector.labels)

    async def _scrape(self, url: str) -> _Page:
        if shown(url) == NO_ADDRESS:
            raise Unreachable(NO_ADDRESS, hint="`targets` of this connection names it")
        now = asyncio.get_running_loop().time()
        rest_s = self._resting.pop(url, now) - now
        if rest_s > 0:
            self._resting[url] = now + rest_s
            raise RateLimited(
                f"{shown(url)} asked us to slow down", hint="it is asked again later", retry_after_s=rest_s
            )
        try:
            return await self._read(url, now + self._timeout_s)
        except RateLimited as error:
            # Whoever reads all targets goes on with the others, and does not hear of it.
            self._resting[url] = now + error.retry_after_s
            raise

    async def _read(self, url: str, deadline: float) -> _Page:
        # The credential goes to configured targets only, never to an address that a backend told us.
        ours = url in self._targets
        credential = await self._asked(self._settings.credential, deadline) if ours else None
        try:
            text = await self._text(url, credential, deadline)
        except Unauthenticated:
            fresh = await self._renewed(credential, deadline) if ours else None
            if fresh is None:
                raise
            text = await self._text(url, fresh, deadline)
        # A rate is of the time between two readings, not of how long the slowest target then kept all others waiting.
        at, monotonic_s = self._settings.now(), self._monotonic()
        # A large exposition takes tens of milliseconds to parse: not on the event loop's thread.
        return _Page(await asyncio.to_thread(parse, text, _NAMES, shown(url)), at, monotonic_s)

    async def _text(self, url: str, credential: Credential | None, deadline: float) -> str:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._fetcher.get(url, credential)
        except TimeoutError as error:
            raise TimedOut(
                f"{shown(url)} did not answer within {self._timeout_s:g} s", hint="is the server overloaded?"
            ) from error

    async def _asked(self, source: CredentialSource, deadline: float) -> Credential | None:
        try:
            async with asyncio.timeout_at(deadline):
                return await source()
        except TimeoutError as error:
            raise TimedOut(
                f"the credential source of {self.name} did not answer within {self._timeout_s:g} s",
                hint="`mlrelease connections list` says which it is",
            ) from error

    async def _renewed(self, used: Credential | None, deadline: float) -> Credential | None:
        """Another credential than the one that was not accepted. Of many targets that answer 401 at once, one asks."""
        async with self._renewing:
            now = await self._asked(self._settings.credential, deadline)
            if now is not None and not _same(now, used):
                return now
            return await self._asked(self._settings.renew, deadline)


def _same(one: Credential, other: Credential | None) -> bool:
    return other is not None and (one.user, one.secret.reveal()) == (other.user, other.secret.reveal())


def _addresses(targets: object) -> tuple[str, ...]:
    """The configured addresses: an array of them, or a table of names."""
    if isinstance(targets, Mapping):
        return tuple(targets.values())
    return tuple(targets) if isinstance(targets, list | tuple) else ()
