"""What every connector is."""

# ruff: noqa: S101 - a test asserts

from __future__ import annotations

import pytest

from mlrelease_tui.connectors.api import Connector, capabilities
from mlrelease_tui.connectors.conformance.looking import assert_no_secret, assert_safe, aware, within
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState


class ConnectorConformance:
    """Fixtures: `connector`, ready to answer; `secrets`, the values that it authenticates with; `deadline_s`, its time-out."""

    @pytest.fixture
    def connector(self) -> Connector:
        raise NotImplementedError("give a connector whose backend is up")

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return ()

    @pytest.fixture
    def deadline_s(self) -> float:
        """`Settings.timeout_s` of the connector."""
        return 10.0

    def test_it_is_a_connector_that_can_do_something(self, connector: Connector) -> None:
        assert isinstance(connector, Connector)
        assert connector.name
        assert connector.kind
        assert capabilities(connector), "it offers none of the capabilities in connectors/api.py"

    async def test_it_says_how_it_is(self, connector: Connector, deadline_s: float) -> None:
        health = await within(deadline_s, connector.probe())
        assert isinstance(health, ConnectionHealth)
        assert (health.name, health.kind) == (connector.name, connector.kind)
        assert health.state in {LinkState.OK, LinkState.SLOW}, health
        assert (health.error_code, str(health.error)) == ("", "")
        assert health.observed_at is None or aware(health.observed_at)
        assert health.latency_s is None or health.latency_s >= 0
        assert set(health.capabilities) <= set(capabilities(connector))
        assert_safe(health)

    async def test_it_shows_no_secret(self, connector: Connector, secrets: tuple[str, ...]) -> None:
        assert_no_secret(
            secrets, connector, await connector.probe(), vars(connector) if hasattr(connector, "__dict__") else ""
        )

    async def test_it_can_be_closed_twice(self, connector: Connector) -> None:
        await connector.probe()
        await connector.close()
        await connector.close()
