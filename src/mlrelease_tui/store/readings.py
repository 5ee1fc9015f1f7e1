"""What one reading does: ask a connector, and say what it answered as facts. When it is done is the poller's matter.

A reading lets the loop breathe between endpoints, so that ten thousand of them hold up no key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Final

from mlrelease_tui.connectors.api import (
    Connector,
    Dated,
    EndpointSource,
    LineageSource,
    MetricSource,
    ModelPage,
    VersionSource,
    capabilities,
)
from mlrelease_tui.domain.metrics import VariantSample
from mlrelease_tui.domain.models import Model
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.verdict import Verdict
from mlrelease_tui.store.breath import Breath
from mlrelease_tui.store.facts import (
    ConnectionObserved,
    EndpointsObserved,
    LineageObserved,
    ModelsObserved,
    SamplesObserved,
    VerdictsReached,
    VersionsObserved,
)
from mlrelease_tui.store.state import unchanged
from mlrelease_tui.store.store import Store

Judging = Callable[[Endpoint, Iterable[VariantSample]], Verdict | None]
"""Takes a reading of an endpoint's variants and says what the judge says now; None where there is nothing to judge."""

MODEL_PAGES: Final = 50
PAGE: Final = 200
BATCH: Final = 250
"""Endpoints whose readings go into the state at once."""


class Readings:
    """Each method reads once and emits facts; it raises what the connector raises. `ask` has a connection asked how it is."""

    def __init__(
        self,
        store: Store,
        connectors: Mapping[str, Connector],
        *,
        judging: Judging,
        now: Callable[[], datetime],
        ask: Callable[[str], None],
    ) -> None:
        self._store = store
        self._connectors = connectors
        self._judging = judging
        self._now = now
        self._ask = ask

    async def probe(self, connector: Connector) -> None:
        """How a connection is."""
        health = await connector.probe()
        known = health.capabilities or capabilities(connector)
        self._store.emit(ConnectionObserved(replace(health, capabilities=known, observed_at=self._now())))

    async def endpoints(self, source: EndpointSource) -> None:
        """All endpoints of a target; those that are as they were stay the same objects."""
        endpoints = await source.endpoints()
        at = self._now()
        name = _name(source)
        known, since = self._store.state, _since(source, endpoints, at)
        found: list[Endpoint] = []
        troubled = False
        breath = Breath()
        for item in endpoints:
            before = known.endpoints.get(item.ref)
            # Compared here, a few at a time: `reduce` then has little left to do.
            same = before is not None and name not in known.from_cache and unchanged(before, item, since)
            found.append(before if same and before is not None else item)
            troubled |= item.problems != (before.problems if before is not None else ())
            await breath.taken()
        self._store.emit(EndpointsObserved(name, tuple(found), at, since))
        # What troubles endpoints, or ends troubling them, may be the connection's own trouble: ask it now how it is.
        if troubled:
            self._ask(name)

    async def models(self, source: VersionSource) -> None:
        """The models of a registry, page after page."""
        models: list[Model] = []
        token, before = "", {""}
        for _ in range(MODEL_PAGES):
            page: ModelPage = await source.models(limit=PAGE, page_token=token)
            models.extend(page.models)
            token = page.next_token
            # One that comes again leads round in a circle.
            if token in before:
                break
            before.add(token)
        self._store.emit(ModelsObserved(_name(source), tuple(models), self._now(), complete=not token))

    async def samples(self, source: MetricSource) -> None:
        """What is measured of all endpoints that are known, and what the judge says of it."""
        endpoints = tuple(self._store.state.endpoints.values())
        samples = await source.samples(endpoints)
        at = self._now()
        by_endpoint: dict[EndpointRef, list[VariantSample]] = {}
        breath = Breath()
        for sample in samples:
            by_endpoint.setdefault(sample.endpoint, []).append(sample)
            await breath.taken()
        for refs in batched(by_endpoint):
            part = tuple(sample for ref in refs for sample in by_endpoint[ref])
            self._store.emit(SamplesObserved(_name(source), part, at))
            await breath.taken()
        verdicts: dict[EndpointRef, Verdict] = {}
        for ref, found in by_endpoint.items():
            endpoint = self._store.state.endpoints.get(ref)
            if endpoint is not None and (verdict := self._judging(endpoint, found)) is not None:
                verdicts[ref] = verdict
            await breath.taken()
        if verdicts:
            self._store.emit(VerdictsReached(verdicts))

    async def versions(self, model: ModelRef, token: str) -> None:
        """A page of a model's versions; "" is the first."""
        source: object = self._connectors.get(model.connection)
        if isinstance(source, VersionSource):
            page = await source.versions(model, limit=PAGE, page_token=token)
            self._store.emit(VersionsObserved(model, page.versions, page.next_token, not token, self._now()))

    async def lineage(self, version: VersionRef) -> None:
        """Where a version comes from."""
        source: object = self._connectors.get(version.model.connection)
        if isinstance(source, VersionSource) and isinstance(source, LineageSource):
            record = await source.version(version)
            self._store.emit(LineageObserved(version, await source.lineage(record)))


def batched(refs: Iterable[EndpointRef]) -> Iterator[tuple[EndpointRef, ...]]:
    """At most BATCH at a time; one empty batch where there are none, since that too was a reading."""
    left = iter(refs)
    batch = tuple(islice(left, BATCH))
    yield batch
    while batch := tuple(islice(left, BATCH)):
        yield batch


def _since(source: EndpointSource, endpoints: Iterable[Endpoint], now: datetime) -> datetime:
    """Since when at the earliest all of these were seen."""
    seen = source.seen_at() if isinstance(source, Dated) else None
    return seen or min((item.observed_at for item in endpoints), default=now)


def _name(connector: object) -> str:
    return connector.name if isinstance(connector, Connector) else ""
