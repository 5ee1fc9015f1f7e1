"""Where a browser finds a model: told by the connector whether or not its server answers, never with a credential in it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mlrelease_tui.connectors.api import Connector, Settings
from mlrelease_tui.connectors.mlflow import connect
from mlrelease_tui.domain.connection import page_of


def connector_for(url: str) -> Connector:
    return connect(Settings("registry", "mlflow", {"url": url}, timeout_s=2.0))


@pytest.fixture
def nobody() -> str:
    """An address at which nobody answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{server.getsockname()[1]}"


async def test_a_server_has_pages_below_its_address(nobody: str) -> None:
    connector = connector_for(f"{nobody}/prefix/")
    health = await connector.probe()
    await connector.close()
    assert health.error_code
    assert page_of(health.model_page, "iris/eu") == f"{nobody}/prefix/#/models/iris%2Feu"
    assert page_of(health.version_page, "iris", "3") == f"{nobody}/prefix/#/models/iris/versions/3"


@pytest.mark.real
async def test_a_store_that_is_no_server_has_none(tmp_path: Path) -> None:
    connector = connector_for(f"sqlite:///{tmp_path}/registry.db")
    health = await connector.probe()
    await connector.close()
    assert (health.model_page, health.version_page) == ("", "")
