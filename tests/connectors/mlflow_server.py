"""A real MLflow tracking server in a test: a quick way to fill it past everything that is under test, and a guarded one.

The fixtures that start servers are in `tests/connectors/mlflow_fixtures.py`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

from mlrelease_tui.connectors.api import CredentialSource, Settings, no_credential
from mlrelease_tui.connectors.mlflow import connect
from mlrelease_tui.connectors.mlflow.connector import MlflowConnector
from mlrelease_tui.demo.processes import child_environment, start_child, stop_child, tail, wait_until
from mlrelease_tui.domain.refs import ModelRef
from mlrelease_tui.domain.rollout import Stamp
from mlrelease_tui.domain.text import SafeText

ADMIN = ("admin", "correct horse battery 1")
READER = ("reader", "staple of the reader 2")

MLMODEL = """\
artifact_path: model
flavors:
  python_function:
    loader_module: mlflow.sklearn
signature:
  inputs: '[{"type": "double", "name": "alcohol", "required": true}, {"type": "string",
    "name": "maker''s", "required": false}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]'
  params: null
utc_time_created: '2026-01-01 00:00:00'
"""


@dataclass(frozen=True, slots=True)
class Tracking:
    """A running server: its address, its database file, and who may ask it (None: anyone)."""

    url: str
    database: Path
    user: tuple[str, str] | None = None

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def sqlite_uri(self) -> str:
        return f"sqlite:///{self.database}"

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One REST call, past everything that is under test."""
        url = f"{self.url}/api/2.0/mlflow/{path}"
        data = json.dumps(body).encode() if method != "GET" else None
        if method == "GET" and body:
            url += "?" + urlencode(body)
        headers = {"Content-Type": "application/json"}
        if self.user:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(self.user).encode()).decode()
        request = urllib.request.Request(url, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=20) as answer:
                content: dict[str, Any] = json.load(answer)
        except HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()!r}") from error
        return content

    def model(self, stem: str = "model", *, versions: int = 0, tags: Mapping[str, str] | None = None) -> str:
        """A new registered model with that many versions; its name."""
        name = f"{stem}-{uuid.uuid4().hex[:8]}"
        listed = [{"key": key, "value": value} for key, value in (tags or {}).items()]
        self.call("POST", "registered-models/create", {"name": name, "tags": listed})
        for _ in range(versions):
            self.version(name)
        return name

    def version(self, name: str, **fields: Any) -> str:
        body = {"name": name, "source": "s3://bucket/model", **fields}
        return str(self.call("POST", "model-versions/create", body)["model_version"]["version"])

    def alias(self, name: str, alias: str, version: str) -> None:
        self.call("POST", "registered-models/alias", {"name": name, "alias": alias, "version": version})

    def aliases(self, name: str) -> dict[str, str]:
        model = self.call("GET", "registered-models/get", {"name": name})["registered_model"]
        return {entry["alias"]: entry["version"] for entry in model.get("aliases", [])}

    def tags(self, name: str) -> dict[str, str]:
        model = self.call("GET", "registered-models/get", {"name": name})["registered_model"]
        return {entry["key"]: entry.get("value", "") for entry in model.get("tags", [])}

    def run(self, metrics: Mapping[str, float | str], *, params: Mapping[str, str] | None = None) -> tuple[str, Path]:
        """A finished run with a data set and an `MLmodel` file: its id, and the folder of its model."""
        info = self.call(
            "POST", "runs/create", {"experiment_id": "0", "run_name": "nightly", "start_time": 1_750_000_000_000}
        )
        run_id = str(info["run"]["info"]["run_id"])
        self.call(
            "POST",
            "runs/log-batch",
            {
                "run_id": run_id,
                "metrics": [{"key": key, "value": value, "timestamp": 1, "step": 0} for key, value in metrics.items()],
                "params": [{"key": key, "value": value} for key, value in (params or {}).items()],
                "tags": [{"key": "mlflow.user", "value": "ana"}],
            },
        )
        dataset = {"name": "wine", "digest": "abc123", "source_type": "local", "source": "{}"}
        tag = {"key": "mlflow.data.context", "value": "training"}
        self.call("POST", "runs/log-inputs", {"run_id": run_id, "datasets": [{"dataset": dataset, "tags": [tag]}]})
        folder = Path(urlsplit(info["run"]["info"]["artifact_uri"]).path) / "model"
        folder.mkdir(parents=True)
        (folder / "MLmodel").write_text(MLMODEL, encoding="utf-8")
        return run_id, folder

    def execute(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Rows straight into the database, for what the API would take minutes to make or does not make at all."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            connection.executemany(statement, rows)

    def set_status(self, name: str, version: str, status: str) -> None:
        self.execute(
            "UPDATE model_versions SET status = ? WHERE name = ? AND version = ?", [(status, name, int(version))]
        )

    def many_versions(self, name: str, count: int) -> None:
        """Versions 1 to `count` of an existing model without versions."""
        rows = [
            (name, number, 1_750_000_000_000 + number, 1_750_000_000_000 + number, "None", "s3://b/m", "READY")
            for number in range(1, count + 1)
        ]
        self.execute(
            "INSERT INTO model_versions (name, version, creation_time, last_updated_time, current_stage, source, status) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )


def connector_to(url: str, *, credential: CredentialSource = no_credential, **changes: Any) -> MlflowConnector:
    """A connector named "registry" to this address; `changes` are fields of its settings."""
    settings = Settings("registry", "mlflow", {"url": url}, credential=credential, **changes)
    connector = connect(settings)
    assert isinstance(connector, MlflowConnector)
    return connector


def ref(name: str) -> ModelRef:
    return ModelRef("registry", name)


def stamp(by: str = "ana", why: str = "errors", intent: str = "i-1") -> Stamp:
    return Stamp(intent, "alias", SafeText(by), SafeText(why))


def start_guarded(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server with MLflow's basic-auth app: its process (end it with `stop_child`) and its address."""
    config = folder / "auth.ini"
    config.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder / 'users.db'}\n"
        f"admin_username = {ADMIN[0]}\nadmin_password = {ADMIN[1]}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\nauth_cache_ttl_seconds = 60\n",
        encoding="utf-8",
    )
    log = folder / "mlflow.log"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        environment = child_environment(os.environ, folder) | {
            "MLFLOW_AUTH_CONFIG_PATH": str(config),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": uuid.uuid4().hex,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)]),
        }
        process = start_child(
            "tests.connectors.mlflow_auth_app",
            [str(folder), str(listener.fileno()), str(port)],
            environment=environment,
            folder=folder,
            log=log,
            pass_fds=[listener.fileno()],
        )
    url = f"http://127.0.0.1:{port}"

    def up() -> bool:
        if process.poll() is not None:
            return True
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/health", timeout=1).close()
        except OSError:
            return False
        return True

    ready = wait_until(up, deadline_s=60, every_s=0.1)
    if not ready or process.poll() is not None:
        stop_child(process, grace_s=0)
        raise AssertionError(f"the guarded MLflow server did not start:\n{tail(log, 30)}")
    return process, url
