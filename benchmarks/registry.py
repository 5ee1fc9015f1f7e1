"""A real MLflow server for the time of a measurement. Its database stays usable afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.connectors.mlflow_server import Tracking

from mlrelease_tui.demo.registry_server import RegistryServer


@contextmanager
def registry_server(folder: Path) -> Iterator[Tracking]:
    """A server in `folder`, which is made; it asks nobody who they are."""
    folder.mkdir()
    server = RegistryServer(folder, environ=os.environ)
    server.start()
    try:
        yield Tracking(server.url, server.folder / "mlflow.db")
    finally:
        server.stop()
