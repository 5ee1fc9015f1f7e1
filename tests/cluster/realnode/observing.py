"""Traefik's metrics as our own tool reads them: what each version of an endpoint is really sent, and what of it fails."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from tests.cluster.realnode.traffic import Router

from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.scrape.connector import ScrapeConnector
from mlrelease_tui.domain.metrics import Coverage
from mlrelease_tui.domain.rollout import Endpoint


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests, and how many of them ended in an error."""

    requests: float
    errors: float


class Observer:
    """Our tool's own reading of Traefik's metrics: the counts of each version of an endpoint."""

    def __init__(self, router: Router) -> None:
        target = f"http://{router.metrics_target}/metrics"
        self._connector = ScrapeConnector(Settings("traffic", "scrape", {"targets": [target]}))

    async def close(self) -> None:
        await self._connector.close()

    async def counts(self, endpoint: Endpoint) -> dict[str, Counts]:
        """Since the router's start, by version."""
        samples = {item.variant: item for item in await self._connector.samples((endpoint,))}
        assert all(sample.coverage is Coverage.OK for sample in samples.values()), samples
        return {
            item.version: Counts(samples[item.name].requests or 0.0, samples[item.name].errors or 0.0)
            for item in endpoint.variants
        }

    async def shares(self, endpoint: Endpoint, *, of: int) -> dict[str, float]:
        """Which share of the next `of` requests each version gets."""
        before = await self.counts(endpoint)
        deadline = time.monotonic() + 60.0
        while True:
            gone = {
                version: now.requests - before[version].requests
                for version, now in (await self.counts(endpoint)).items()
            }
            if sum(gone.values()) >= of:
                return {version: requests / sum(gone.values()) for version, requests in gone.items()}
            assert time.monotonic() < deadline, gone
            await asyncio.sleep(0.1)
