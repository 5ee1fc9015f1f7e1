"""A registry that is no HTTP server (`sqlite:///…`, `postgresql://…`, `databricks`, a plugin's), through the `mlflow` package.

The package is configured by the environment of the *process*, which all its users share. So this module

- sets what must hold for all of them, once, before the import: no hidden retries, no telemetry, no log lines on the screen;
- never hands a credential to it: two connections would overwrite each other's. Such stores find their own (`~/.databrickscfg`,
  `PGPASSFILE`, …), and a credential that is configured for the connection is reported as unused;
- refuses a `sqlite:` or `file:` store that does not exist, which the package would create, tables and all.

Importing it takes seconds of local work, so `ready` has a deadline of its own. A thread can't be cancelled: of a write that was
handed to one and not answered in time, nobody can say.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from mlrelease_tui.connectors import _network
from mlrelease_tui.connectors._blocking import BlockingPool, collector_at_rest
from mlrelease_tui.connectors.api import Credential
from mlrelease_tui.connectors.mlflow.registry import Deadline, Greeting, Payload
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import (
    BackendError,
    ConfigError,
    Forbidden,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    ReleaseError,
    TimedOut,
    Unauthenticated,
    Unreachable,
)

T = TypeVar("T")

OPEN_S: Final = 60.0
_MAX_TEXT: Final = 1024 * 1024
_MAX_MESSAGE: Final = 300
_PROCESS_ENVIRONMENT: Final = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    # Opening a SQL store makes its default artifact root, "./mlruns" unless told otherwise: nothing of ours is stored.
    "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
}
_SQL: Final = frozenset({"sqlite", "mysql", "postgresql", "mssql"})
"""Schemes of SQL stores (`mlflow.store.db.db_types`)."""
_REJECTIONS: Final = frozenset(
    {
        "INVALID_PARAMETER_VALUE",
        "RESOURCE_DOES_NOT_EXIST",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_CONFLICT",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "BAD_REQUEST",
        "INVALID_STATE",
        "REQUEST_LIMIT_EXCEEDED",
        "ENDPOINT_NOT_FOUND",
        "FEATURE_DISABLED",
        "NOT_IMPLEMENTED",
    }
)
"""Error codes of `mlflow.protos.databricks_pb2` after which nothing was written."""


class ClientRegistry:
    """One `MlflowClient`, called in a pool of threads of its own."""

    def __init__(self, connection: str, uri: str, *, timeout_s: float, workers: int = 4) -> None:
        self._connection = connection
        self._uri = uri
        self._timeout_s = timeout_s
        self._pool = BlockingPool(connection, workers=workers)
        self._client: Any = None

    @property
    def address(self) -> str:
        return _network.without_userinfo(self._uri)

    @property
    def credential(self) -> Credential | None:
        return None

    async def ready(self) -> None:
        """Import the package and open the store. ConfigError where the package is missing, Unreachable where the store is."""
        if self._client is None:
            self._client = await self._pool.run(OPEN_S, self._guarded, "opening the store", self._open)

    async def greet(self, deadline: Deadline) -> Greeting:
        def look() -> str:
            from mlflow.version import VERSION

            self._client.search_registered_models(max_results=1)
            return str(VERSION)

        loop = asyncio.get_running_loop()
        started = loop.time()
        version = await self._read("a look at the registry", deadline, look)
        return Greeting(latency_s=loop.time() - started, version=version)

    async def search_models(self, filter_string: str, limit: int, token: str, deadline: Deadline) -> Payload:
        def search() -> Payload:
            page = self._client.search_registered_models(
                filter_string=filter_string or None, max_results=limit, order_by=["name ASC"], page_token=token or None
            )
            return {"registered_models": [_payload(item) for item in page], "next_page_token": _token(page.token)}

        return await self._read("the list of models", deadline, search)

    async def get_model(self, name: str, deadline: Deadline) -> Payload:
        def get() -> Payload:
            return {"registered_model": _payload(self._client.get_registered_model(name))}

        return await self._read(f"model {SafeText(name)}", deadline, get)

    async def search_versions(self, filter_string: str, limit: int, deadline: Deadline) -> Payload:
        def search() -> Payload:
            page = self._client.search_model_versions(
                filter_string, max_results=limit, order_by=["version_number DESC"]
            )
            return {"model_versions": [_payload(item) for item in page], "next_page_token": _token(page.token)}

        return await self._read("the list of versions", deadline, search)

    async def get_version(self, name: str, version: str, deadline: Deadline) -> Payload:
        def get() -> Payload:
            return {"model_version": _payload(self._client.get_model_version(name, version))}

        return await self._read(f"version {SafeText(version)} of {SafeText(name)}", deadline, get)

    async def get_run(self, run_id: str, deadline: Deadline) -> Payload:
        return await self._read(
            f"run {SafeText(run_id)}", deadline, lambda: {"run": _payload(self._client.get_run(run_id))}
        )

    async def get_logged_model(self, model_id: str, deadline: Deadline) -> Payload:
        def get() -> Payload:
            return {"model": _payload(self._client.get_logged_model(model_id))}

        return await self._read(f"logged model {SafeText(model_id)}", deadline, get)

    async def get_artifact_text(self, name: str, version: str, path: str, deadline: Deadline) -> str:
        def get() -> str:
            from mlflow.artifacts import load_text

            place = self._client.get_model_version_download_uri(name, version)
            return str(load_text(f"{place}/{path}"))[:_MAX_TEXT]

        return await self._read(f"file {SafeText(path)} of {SafeText(name)} {SafeText(version)}", deadline, get)

    async def set_alias(self, name: str, alias: str, version: str, intent_id: str, deadline: Deadline) -> None:
        asked = f"moving alias {SafeText(alias)} of {SafeText(name)} to {SafeText(version)}"
        await self._write(asked, deadline, lambda: self._client.set_registered_model_alias(name, alias, version))

    async def set_model_tag(self, name: str, key: str, value: str, intent_id: str, deadline: Deadline) -> None:
        asked = f"tag {SafeText(key)} of {SafeText(name)}"
        await self._write(asked, deadline, lambda: self._client.set_registered_model_tag(name, key, value))

    def shell_of_alias(self, name: str, alias: str, version: str) -> str:
        code = f"from mlflow import MlflowClient; {self.call_of_alias(name, alias, version)}"
        return f"python -c {shlex.quote(code)}"

    def call_of_alias(self, name: str, alias: str, version: str) -> str:
        return f"MlflowClient().set_registered_model_alias({name!a}, {alias!a}, {version!a})"

    async def close(self) -> None:
        self._pool.close()

    def _open(self) -> Any:
        _require_existing(self._uri)
        os.environ.update(_PROCESS_ENVIRONMENT)
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(max(int(self._timeout_s), 1)))
        for name in ("mlflow", "alembic"):
            logger = logging.getLogger(name)
            logger.addHandler(logging.NullHandler())
            logger.propagate = False
        try:
            client_of = _client_class(self._uri)
        except ImportError as error:
            raise ConfigError(
                f"{self._connection}: a registry at {urlsplit(self._uri).scheme or self._uri}: needs the mlflow package",
                hint="pip install 'mlrelease-tui[mlflow]'",
            ) from error
        client = client_of(tracking_uri=self._uri, registry_uri=self._uri)
        client.search_registered_models(max_results=1)
        return client

    async def _read(self, asked: str, deadline: Deadline, call: Callable[[], T]) -> T:
        return await self._pool.run(deadline.left(), self._guarded, asked, call)

    async def _write(self, asked: str, deadline: Deadline, call: Callable[[], None]) -> None:
        left = deadline.left()
        try:
            await self._pool.run(left, self._guarded_write, asked, call)
        except TimedOut as error:
            raise _unknown(asked, "it was not answered in time") from error

    def _guarded(self, asked: str, call: Callable[[], T]) -> T:
        """Run in the thread; every exception of the package or its drivers becomes one of ours."""
        try:
            return call()
        except ReleaseError:
            raise
        except Exception as error:
            raise self._translated(asked, error) from error

    def _guarded_write(self, asked: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            ours = self._translated(asked, error)
            if getattr(error, "error_code", "") in _REJECTIONS:
                raise Rejected(ours.message, hint=ours.hint) from error
            raise _unknown(asked, ours.message) from error

    def _translated(self, asked: str, error: Exception) -> BackendError:  # noqa: PLR0911 - a table, one row each
        """Of exceptions that are not MLflow's own only the type is told: a driver's text may hold the address and its password."""
        code = getattr(error, "error_code", "")
        if not isinstance(code, str) or not code:
            return Unreachable(
                f"{self._connection} could not do {asked}: {type(error).__name__}",
                hint="look at the url and at the store itself",
            )
        said = SafeText(str(error).replace(self._uri, self.address), limit=_MAX_MESSAGE)
        match code:
            case "RESOURCE_DOES_NOT_EXIST":
                return NotFound(
                    f"the registry does not have it: {asked}: {said}", hint="refresh; it may have been deleted"
                )
            case "PERMISSION_DENIED":
                return Forbidden(f"the registry forbids {asked}: {said}", hint="ask its administrator for the right")
            case "UNAUTHENTICATED":
                return Unauthenticated(
                    f"the registry does not accept our credential for {asked}", hint="log in to it anew"
                )
            case "REQUEST_LIMIT_EXCEEDED":
                return RateLimited(f"the registry has had too many requests, {asked} among them", hint="wait a little")
            case "TEMPORARILY_UNAVAILABLE":
                return Unreachable(f"the registry can't do {asked} now: {said}", hint="that may pass: try again")
            case _ if "out-of-date database schema" in said:
                return BackendError(
                    f"the database of {self._connection} is of another MLflow version",
                    hint="back it up, then `mlflow db upgrade`, or install the mlflow version that wrote it",
                )
            case _:
                return BackendError(f"the registry refuses {asked}: {said}", hint="its message says why")


def _client_class(uri: str) -> Any:
    """The package's client, imported with what it needs for the store at `uri`. ImportError where the package is missing."""
    if "mlflow.tracking.client" not in sys.modules:
        with collector_at_rest():
            import mlflow.tracking.client

            # A second of local work more, at the opening of a SQL store. Which modules these are is the package's own affair:
            # where they are elsewhere it imports them by itself.
            if urlsplit(uri).scheme.partition("+")[0] in _SQL:
                with suppress(ImportError):
                    import mlflow.store.model_registry.sqlalchemy_store
                    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - loaded, not used
    from mlflow.tracking.client import MlflowClient

    return MlflowClient


def _unknown(asked: str, why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"{asked} was handed to the store: {why}",
        hint="read again to see whether it was applied; it is not sent again by itself",
    )


def _require_existing(uri: str) -> None:
    parts = urlsplit(uri)
    place = unquote(parts.path)
    if parts.scheme.partition("+")[0] == "sqlite":
        # SQLAlchemy's form: three slashes before a relative path, four before an absolute one.
        path = Path(place.removeprefix("/"))
        if not path.is_file() or path.stat().st_size == 0:
            raise Unreachable(f"there is no database at {path}", hint="look at the url; it is not created by itself")
    elif parts.scheme == "file" and not Path(place).is_dir():
        raise Unreachable(f"there is no store at {place}", hint="look at the url; it is not created by itself")


def _token(token: Any) -> str:
    """A page token as REST shows it; the SQL store gives bytes."""
    return token.decode("ascii", errors="replace") if isinstance(token, bytes) else str(token or "")


def _payload(entity: Any) -> dict[str, Any]:
    """What the REST API would have said of this entity."""
    import json

    from mlflow.utils.proto_json_utils import message_to_json

    content = json.loads(message_to_json(entity.to_proto()))
    return content if isinstance(content, dict) else {}
