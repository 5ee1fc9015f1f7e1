"""Feeds a store what eight hours of reading bring, and prints the process's MB after the first hour and at the end."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import psutil
from benchmarks.world import endpoint

from mlrelease_tui.connectors.fake.script import backend_of
from mlrelease_tui.domain.metrics import Histogram, VariantSample
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.store import select
from mlrelease_tui.store.facts import EndpointsObserved, ReadFailed, SamplesObserved
from mlrelease_tui.store.store import Store

EVERY_S: Final = 2
HOURS: Final = 8


def main() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    script = json.loads(json.dumps({"endpoints": [endpoint(number) for number in range(20)]}))
    endpoints = tuple(backend_of(script, "prod", start).endpoints.values())
    store = Store()
    process = psutil.Process()
    sizes: list[float] = []
    for beat in range(HOURS * 3600 // EVERY_S):
        now = start + timedelta(seconds=beat * EVERY_S)
        seen = tuple(replace(item, observed_at=now, revision=str(beat)) for item in endpoints)
        store.emit(EndpointsObserved("prod", seen, now))
        store.emit(SamplesObserved("prod", tuple(_sample(item, now, beat) for item in seen), now))
        if beat % 30 == 0:
            store.emit(ReadFailed("prod", "models", "timed_out", "did not answer", now))
        if beat % 5 == 0:
            select.fleet(store.state, now)
        if beat == 3600 // EVERY_S:
            sizes.append(process.memory_info().rss / 2**20)
    print(f"{sizes[0]:.1f} {process.memory_info().rss / 2**20:.1f}")


def _sample(endpoint: Endpoint, now: datetime, beat: int) -> VariantSample:
    counts = tuple(float(beat * part) for part in (10, 40, 70, 90, 99, 100))
    latency = Histogram((0.01, 0.025, 0.05, 0.1, 0.25), counts)
    stable = endpoint.variants[0].name
    return VariantSample(endpoint.ref, stable, now, beat * EVERY_S, beat * 100.0, beat * 1.0, latency, 3.0)


if __name__ == "__main__":
    main()
