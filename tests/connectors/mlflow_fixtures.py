"""Fixtures: real MLflow tracking servers, each started once in a test run.

A test module gets them by `pytest_plugins = ["tests.connectors.mlflow_fixtures"]`. Models get names of their own
(`Tracking.model`), so that tests which share a server do not meet.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.connectors.mlflow_server import ADMIN, READER, Tracking, connector_to, start_guarded

from mlrelease_tui.connectors.mlflow.connector import MlflowConnector
from mlrelease_tui.demo.processes import stop_child
from mlrelease_tui.demo.registry_server import RegistryServer


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    """A tracking server that asks nobody who they are, on SQLite; one for the whole run."""
    server = RegistryServer(tmp_path_factory.mktemp("mlflow"), environ=os.environ)
    server.start()
    try:
        found = Tracking(server.url, server.folder / "mlflow.db")
        # Whoever first opens an empty store makes its experiment 0: the server shall, with its own artifact root.
        found.call("GET", "experiments/get", {"experiment_id": "0"})
        yield found
    finally:
        server.stop()


@pytest.fixture(params=["rest", "client"])
async def registry(request: pytest.FixtureRequest, tracking: Tracking) -> AsyncIterator[MlflowConnector]:
    """A connector to the same registry, over its HTTP server and through the `mlflow` client on its database."""
    connector = connector_to(tracking.url if request.param == "rest" else tracking.sqlite_uri)
    yield connector
    await connector.close()


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    """A server with MLflow's basic-auth app: `ADMIN` may do all, `READER` may read."""
    folder = tmp_path_factory.mktemp("mlflow-auth")
    process, url = start_guarded(folder)
    try:
        tracking = Tracking(url, folder / "mlflow.db", ADMIN)
        tracking.call("POST", "users/create", {"username": READER[0], "password": READER[1]})
        yield tracking
    finally:
        stop_child(process, grace_s=3)
