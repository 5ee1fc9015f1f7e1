"""What a connector does when its backend does not do its part."""

# ruff: noqa: S101 - a test asserts

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from mlrelease_tui.connectors.api import (
    Connector,
    DetailSource,
    EndpointSource,
    LineageSource,
    LogFollowable,
    LogSource,
    MetricSource,
    VersionSource,
)
from mlrelease_tui.connectors.conformance.looking import assert_no_secret, assert_safe, within
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.logs import LogWish
from mlrelease_tui.domain.models import ModelVersion, Readiness
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.rollout import Endpoint, Native, Phase, Role, Rollout, Strategy, Variant
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ReleaseError


class FailureConformance:
    """Class variable `failures`: a name for each way to fail ("refused", "silent", "unauthenticated", "forbidden", "garbage",
    "html" …). Fixture `failing`: a connector to a backend that fails as `request.param` says; `secrets`; `deadline_s`, the
    `timeout_s` it was built with (make it short)."""

    failures: ClassVar[tuple[str, ...]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "failing" in metafunc.fixturenames:
            assert self.failures, "name the ways in which this backend can fail"
            metafunc.parametrize("failing", self.failures, indirect=True)

    @pytest.fixture
    def failing(self, request: pytest.FixtureRequest) -> Connector:
        raise NotImplementedError(f"give a connector whose backend fails by {request.param!r}")

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return ()

    @pytest.fixture
    def deadline_s(self) -> float:
        raise NotImplementedError("give the timeout_s that the failing connector was built with")

    async def test_probing_never_raises_and_says_what_to_do(
        self, failing: Connector, deadline_s: float, secrets: tuple[str, ...]
    ) -> None:
        health = await within(deadline_s, failing.probe())
        assert health.state not in {LinkState.OK, LinkState.SLOW, LinkState.UNKNOWN}, health
        assert health.error_code
        assert health.error, "it does not say what happened"
        assert health.hint, "it does not say what to do"
        assert_safe(health)
        assert_no_secret(secrets, health)

    async def test_every_read_ends_in_time_with_an_error_of_the_tree(
        self, failing: Connector, deadline_s: float, secrets: tuple[str, ...]
    ) -> None:
        for what, read in _reads(failing):
            try:
                answer = await within(deadline_s, read())
            except ReleaseError as error:
                assert error.message, f"{what}: it does not say what happened"
                assert_safe((error.message, error.hint))
                assert_no_secret(secrets, error)
            except (Exception, SystemExit) as error:
                raise AssertionError(
                    f"{what} raised {type(error).__name__}, which is none of errors.py: {error}"
                ) from error
            else:
                assert_safe(answer)


def _reads(connector: Connector) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
    """Every read that the connector offers, of things that may well not be there."""
    model = ModelRef(connector.name, "nobody")
    endpoint = EndpointRef(connector.name, "default", "nobody")
    version = ModelVersion(VersionRef(model, "1"), Readiness.READY, run_id="nobody")
    found: list[tuple[str, Callable[[], Awaitable[Any]]]] = []
    if isinstance(connector, VersionSource):
        source = connector
        found += [
            ("models", source.models),
            ("model", lambda: source.model(model)),
            ("versions", lambda: source.versions(model)),
            ("version", lambda: source.version(version.ref)),
        ]
    if isinstance(connector, LineageSource):
        lineage = connector
        found.append(("lineage", lambda: lineage.lineage(version)))
    if isinstance(connector, EndpointSource):
        target = connector
        found += [("endpoints", target.endpoints), ("endpoint", lambda: target.endpoint(endpoint))]
    if isinstance(connector, LogSource):
        logs = connector
        seen = _seen(endpoint)
        found.append(("logs", lambda: logs.logs(seen, LogWish(endpoint, "v1"))))
    if isinstance(connector, LogFollowable):
        followed = connector
        found.append(("follow", lambda: _first(followed.follow(_seen(endpoint), LogWish(endpoint, "v1")))))
    if isinstance(connector, DetailSource):
        knowing = connector
        found.append(("details", lambda: knowing.details(_seen(endpoint))))
    if isinstance(connector, MetricSource):
        metrics = connector
        found.append(("samples", lambda: metrics.samples(())))
    return found


async def _first(told: AsyncIterator[object]) -> object:
    async for found in told:
        return found
    return None


def _seen(ref: EndpointRef) -> Endpoint:
    """An endpoint as it may have been read before the backend failed."""
    return Endpoint(
        ref,
        "uid-nobody",
        "1",
        (Variant("v1", Role.STABLE, "1"),),
        Rollout(Strategy.CANARY, Phase.COMPLETE, "1", "1"),
        Native(SafeText("nothing")),
        datetime.now(UTC),
    )
