"""How long a version without traffic may still have requests, where its server does not count them: by no clock that is set."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlrelease_tui.errors import Rejected
from mlrelease_tui.routing.api import RoutedVersion, TrafficPlan
from mlrelease_tui.routing.traefik import TraefikRouter
from mlrelease_tui.routing.traefik_api import TraefikApi
from mlrelease_tui.routing.traefik_directory import RoutesDirectory
from mlrelease_tui.routing.traefik_document import Document, TraefikSettings

PLAN = TrafficPlan(
    "fraud",
    "v6",
    (RoutedVersion("v6", "http://127.0.0.1:8001", 5_000), RoutedVersion("v7", "http://127.0.0.1:8002", 5_000)),
)
LONGEST_S = 60.0


class Obedient(TraefikApi):
    """A Traefik that runs whatever the document says."""

    def __init__(self, store: RoutesDirectory) -> None:
        super().__init__("http://127.0.0.1:9")
        self._document = store

    async def snapshot(self) -> Mapping[str, Any]:
        sections = Document.parse(await self._document.read()).sections
        return {
            name: {f"{key}@file": {**entry, "status": "enabled"} for key, entry in section.items()}
            for name, section in sections.items()
        }


class Clocks:
    """The wall's clock, which a person may set, and the other one."""

    def __init__(self) -> None:
        self.wall, self.seconds = datetime(2026, 3, 1, 12, tzinfo=UTC), 0.0

    def router(self, store: RoutesDirectory) -> TraefikRouter:
        return TraefikRouter(
            store,
            Obedient(store),
            settings=TraefikSettings(longest_request_s=LONGEST_S),
            probe=None,
            now=lambda: self.wall,
            monotonic=lambda: self.seconds,
        )

    def pass_by(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.seconds += seconds


@pytest.fixture
def store(tmp_path: Path) -> RoutesDirectory:
    found = RoutesDirectory(tmp_path)
    found.begin()
    return found


async def idle(router: TraefikRouter) -> TrafficPlan:
    """v7 has had traffic, and has none any more."""
    first = (await router.apply(PLAN, 0)).plan
    return (await router.apply(first.with_weights(v6=10_000, v7=0), 1)).plan


def without_v7(plan: TrafficPlan) -> TrafficPlan:
    return TrafficPlan(plan.route, plan.stable, plan.versions[:1], generation=plan.generation)


async def test_a_clock_set_forward_ends_no_request(store: RoutesDirectory) -> None:
    clocks = Clocks()
    router = clocks.router(store)
    plan = await idle(router)
    clocks.wall += timedelta(hours=1)
    assert not (await router.drained("fraud", "v7", 0.0)).drained
    with pytest.raises(Rejected, match="may still have requests in flight"):
        await router.apply(without_v7(plan), 2)
    # What is sent while the write takes effect lasts as long, from then on.
    clocks.pass_by(LONGEST_S)
    assert not (await router.drained("fraud", "v7", 0.0)).drained
    clocks.pass_by(router.capabilities().worst_effect_s + 1)
    assert (await router.drained("fraud", "v7", 0.0)).drained
    assert (await router.apply(without_v7(plan), 2)).changed


async def test_a_clock_set_back_keeps_nobody_waiting(store: RoutesDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks()
    plan = await idle(clocks.router(store))
    # Somebody else waits, who has not seen when it was written.
    another = clocks.router(store)
    clocks.wall -= timedelta(hours=1)

    async def sleep(seconds: float) -> None:
        clocks.pass_by(seconds)

    monkeypatch.setattr("mlrelease_tui.routing.traefik.asyncio.sleep", sleep)
    report = await another.drained("fraud", "v7", LONGEST_S + 15)
    assert (report.drained, report.in_flight) == (True, None)
    assert report.waited_s == pytest.approx(LONGEST_S, abs=1)
    assert (await another.apply(without_v7(plan), 2)).changed
