"""What a source of metrics does: counts, and never a zero for what is not known."""

# ruff: noqa: S101 - a test asserts

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest

from mlrelease_tui.connectors.api import Connector, MetricSource
from mlrelease_tui.connectors.conformance.connector import ConnectorConformance
from mlrelease_tui.connectors.conformance.looking import aware, within
from mlrelease_tui.domain.metrics import Coverage, VariantSample
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.errors import BackendError


class MetricConformance(ConnectorConformance):
    """Fixtures besides those of a connector: `counted`, endpoints all of whose variants the source counts; `uncounted`,
    endpoints that it was told how to find and of which the backend has no series; `broken`, a connector to a source that
    can't be scraped."""

    @pytest.fixture
    def counted(self) -> Sequence[Endpoint]:
        raise NotImplementedError("give endpoints with traffic")

    @pytest.fixture
    def uncounted(self) -> Sequence[Endpoint]:
        raise NotImplementedError("give endpoints without any series")

    @pytest.fixture
    def broken(self) -> Connector:
        raise NotImplementedError("give a connector to a source that can't be scraped")

    @pytest.fixture
    def source(self, connector: Connector) -> MetricSource:
        assert isinstance(connector, MetricSource)
        return connector

    async def test_every_variant_is_counted_once(self, source: MetricSource, counted: Sequence[Endpoint]) -> None:
        found = await source.samples(counted)
        wanted = {(endpoint.ref, item.name) for endpoint in counted for item in endpoint.variants}
        assert {(sample.endpoint, sample.variant) for sample in found} == wanted
        assert len(found) == len(wanted)
        for sample in found:
            assert sample.coverage is Coverage.OK
            _assert_counts(sample)

    async def test_counts_go_up_and_so_does_the_clock(self, source: MetricSource, counted: Sequence[Endpoint]) -> None:
        first = {(item.endpoint, item.variant): item for item in await source.samples(counted)}
        for now in await source.samples(counted):
            before = first[now.endpoint, now.variant]
            assert now.monotonic_s >= before.monotonic_s
            assert now.requests is not None
            assert before.requests is not None
            assert now.requests >= before.requests

    async def test_what_has_no_series_is_not_zero(self, source: MetricSource, uncounted: Sequence[Endpoint]) -> None:
        found = await source.samples(uncounted)
        for sample in found:
            assert sample.coverage in {Coverage.NO_SERIES, Coverage.NO_TARGET}
            _assert_unknown(sample)

    async def test_nothing_is_asked_for_nothing(self, source: MetricSource) -> None:
        assert await source.samples(()) == ()

    async def test_a_source_that_cannot_be_scraped_says_so(
        self, broken: Connector, counted: Sequence[Endpoint], deadline_s: float
    ) -> None:
        assert isinstance(broken, MetricSource)
        try:
            found = await within(deadline_s, broken.samples(counted))
        except BackendError:
            return
        assert found, "neither an error nor a sample that says that the target is gone"
        for sample in found:
            assert sample.coverage is Coverage.NO_TARGET
            _assert_unknown(sample)


def _assert_counts(sample: VariantSample) -> None:
    assert aware(sample.at)
    assert sample.requests is not None
    for count in (sample.requests, sample.errors, sample.in_flight):
        assert count is None or (math.isfinite(count) and count >= 0)
    assert sample.errors is None or sample.errors <= sample.requests
    latency = sample.latency
    if latency is not None:
        assert len(latency.counts) == len(latency.bounds) + 1
        assert all(low < high for low, high in pairwise(latency.bounds))
        assert all(low <= high for low, high in pairwise(latency.counts)), "buckets are cumulative"
        assert all(math.isfinite(bound) for bound in latency.bounds)


def _assert_unknown(sample: VariantSample) -> None:
    assert (sample.requests, sample.errors, sample.latency) == (None, None, None), "what is not known is None, not 0"
