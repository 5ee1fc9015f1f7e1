"""A real Traefik with its driver, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.connectors.backends import Backend

from mlrelease_tui.connectors.scrape.exposition import parse
from mlrelease_tui.connectors.scrape.presets import PRESETS
from mlrelease_tui.domain.metrics import Coverage, VariantMetrics, VariantSample, window, with_shares
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.routing.api import Applied, RoutedVersion, TrafficPlan
from mlrelease_tui.routing.traefik import TraefikRouter
from mlrelease_tui.routing.traefik_api import TraefikApi
from mlrelease_tui.routing.traefik_directory import RoutesDirectory
from mlrelease_tui.routing.traefik_document import TraefikSettings
from mlrelease_tui.routing.traefik_process import TraefikProcess

QUICK = TraefikSettings(health_interval_s=0.25)


@dataclass(frozen=True)
class TraefikHost:
    process: TraefikProcess
    store: RoutesDirectory
    api: TraefikApi
    router: TraefikRouter

    def url(self, route: str) -> str:
        return self.process.addresses.endpoint_url(route)

    def another_router(self, **options: Any) -> TraefikRouter:
        """A second operator's driver on the same directory."""
        return TraefikRouter(self.store, TraefikApi(self.process.addresses.api_url), **{"settings": QUICK, **options})

    async def serve(self, plan: TrafficPlan) -> Applied:
        """Applies a plan to whatever generation is there."""
        found = await self.router.read(plan.route)
        return await self.router.apply(plan, found.generation)


@contextlib.asynccontextmanager
async def traefik_host(data_dir: Path, *, settings: TraefikSettings = QUICK) -> AsyncIterator[TraefikHost]:
    process = TraefikProcess(data_dir, settings=settings)
    addresses = await process.start()
    api = TraefikApi(addresses.api_url)
    store = RoutesDirectory(process.routes_directory)
    router = TraefikRouter(store, api, settings=settings)
    try:
        yield TraefikHost(process, store, api, router)
    finally:
        await router.aclose()
        await process.kill()


def split(
    route: str, stable: Backend, canary: Backend, canary_bp: int, *, state: Mapping[str, Any] | None = None
) -> TrafficPlan:
    return TrafficPlan(
        route,
        "v1",
        (
            RoutedVersion("v1", stable.url, 10_000 - canary_bp),
            RoutedVersion("v2", canary.url, canary_bp),
        ),
        state=state or {},
    )


def without_health_checks(plan: TrafficPlan) -> TrafficPlan:
    return replace(plan, versions=tuple(replace(v, health_path="") for v in plan.versions))


async def until(condition: Callable[[], Awaitable[bool]], *, deadline_s: float = 30.0) -> None:
    """Waits for a condition; fails the test when it does not come."""
    async with asyncio.timeout(deadline_s):
        while not await condition():
            await asyncio.sleep(0.02)


async def readings(host: TraefikHost, route: str) -> dict[str, VariantSample]:
    """What the router counts of each version of a route now, read as the scrape connector reads it."""
    preset = PRESETS["traefik"]
    scrape = parse(await host.api.metrics_text(), preset.names, "traefik")
    plan = (await host.router.read(route)).plan
    assert plan is not None
    found = {}
    for version in plan.versions:
        seen = scrape.read(preset, host.router.metric_labels(route, version.name).items())
        found[version.name] = VariantSample(
            EndpointRef("local", "local", route),
            version.name,
            datetime.now(UTC),
            time.monotonic(),
            seen.requests,
            seen.errors,
            seen.latency,
            coverage=Coverage.NO_SERIES if seen.requests is None else Coverage.OK,
            epoch=seen.epoch,
        )
    return found


def between(before: Mapping[str, VariantSample], after: Mapping[str, VariantSample]) -> dict[str, VariantMetrics]:
    """What two readings say of each version, with observed shares."""
    seen = {name: window((before[name], after[name]), float("inf")) for name in after}
    return with_shares({name: item for name, item in seen.items() if item is not None})
