"""What a model server of the demo does with a request: the scoring protocol, its metrics, the ASGI application."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

MAX_BODY_BYTES = 1_048_576
MAX_WAITING = 64
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the duration histogram in seconds; 0.4 is among them because the demo's guard on p99 is 400 ms."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Answer = tuple[int, dict[str, Any]]


class BadInput(Exception):
    """The body is not scoring JSON, or does not fit the model's signature."""


class _TooLarge(Exception):
    pass


class _Gone(Exception):
    pass


class Metrics:
    """The server's own series; only `/invocations` counts, so that scrapes and health checks do not dilute users' numbers."""

    def __init__(self, model: str, version: str) -> None:
        from prometheus_client import (
            CollectorRegistry,
            Counter,
            Gauge,
            Histogram,
            ProcessCollector,
            disable_created_metrics,
        )

        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        labels = {"model": model, "version": version}
        names = ("model", "version")
        self._requests = Counter(
            "model_server_requests", "Answered scoring requests", (*names, "code"), registry=self._registry
        )
        self._duration = Histogram(
            "model_server_request_duration_seconds",
            "Seconds from the request's body to its answer",
            names,
            buckets=BUCKETS_S,
            registry=self._registry,
        ).labels(**labels)
        self._in_flight = Gauge(
            "model_server_requests_in_flight", "Scoring requests not yet answered", names, registry=self._registry
        ).labels(**labels)
        self._labels = labels
        ProcessCollector(registry=self._registry)
        # Born at zero: a counter that appears with its first error hides that error from a rate.
        for code in ("200", "400", "500"):
            self._requests.labels(**labels, code=code)

    def begin(self) -> None:
        """A scoring request has arrived."""
        self._in_flight.inc()

    def end(self, code: int, seconds: float) -> None:
        """It is being answered with `code`, `seconds` after `begin`."""
        self._in_flight.dec()
        self._requests.labels(**self._labels, code=str(code)).inc()
        self._duration.observe(seconds)

    def exposition(self) -> bytes:
        """The text format of Prometheus, version 0.0.4."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)


def parse_scoring(body: bytes) -> Any:
    """MLflow's scoring JSON as a data frame or array for `PyFuncModel.predict`; raises `BadInput`."""
    import numpy as np
    import pandas as pd  # type: ignore[import-untyped]

    try:
        document = json.loads(body)
    except ValueError as error:
        raise BadInput(f"the body is not JSON: {error}") from error
    keys = {"dataframe_split", "dataframe_records", "instances", "inputs"}
    if not isinstance(document, dict) or len(keys & document.keys()) != 1:
        raise BadInput(f"the body must be an object with exactly one of {', '.join(sorted(keys))}")
    (key,) = keys & document.keys()
    value = document[key]
    try:
        if key == "dataframe_split":
            return pd.DataFrame(value["data"], columns=value["columns"])
        if key == "dataframe_records" or isinstance(value, dict):
            return pd.DataFrame(value)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return pd.DataFrame(value)
        return np.asarray(value)
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{key}: {error}") from error


class ModelApp:
    """The ASGI application: loads `models:/MODEL/VERSION` in the background, then scores."""

    def __init__(self, model: str, version: str, *, threads: int, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self.model = model
        self.version = version
        self.metrics = Metrics(model, version)
        self.load_error: BaseException | None = None
        self._max_body_bytes = max_body_bytes
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="score")
        self._waiting = 0
        self._predictor: Any = None

    def load(self) -> None:
        """Fetch and load the model; blocking. Errors are MLflow's own."""
        self.load_from(f"models:/{self.model}/{self.version}")

    def load_from(self, uri: str) -> None:
        """As `load`, from any address that MLflow knows."""
        import mlflow.pyfunc

        self._predictor = mlflow.pyfunc.load_model(uri)

    def score(self, body: bytes) -> Answer:
        """Status code and JSON for one scoring request."""
        from mlflow.exceptions import MlflowException

        try:
            data = parse_scoring(body)
            predicted = self._predictor.predict(data)
        except (BadInput, MlflowException) as error:
            # MLflow wraps a mismatch with the signature; what the model itself raises comes through as it is.
            return 400, {"error_code": "BAD_REQUEST", "message": str(error)[:2000]}
        except Exception as error:
            print(f"{self.model} {self.version}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
            return 500, {"error_code": "MODEL_ERROR", "message": f"{type(error).__name__}: {error}"[:2000]}
        return 200, {"predictions": predicted.tolist() if hasattr(predicted, "tolist") else list(predicted)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        if path == "/invocations" and method == "POST":
            code, content = await self._invoke(receive)
            await self._answer(send, code, json.dumps(content).encode())
        elif path == "/health" and method in ("GET", "HEAD"):
            ready = self._predictor is not None
            state = {
                "status": "ok" if ready else "loading",
                "model": self.model,
                "version": self.version,
                "pid": os.getpid(),
            }
            await self._answer(send, 200 if ready else 503, json.dumps(state).encode())
        elif path == "/version" and method == "GET":
            await self._answer(send, 200, self.version.encode(), "text/plain; charset=utf-8")
        elif path == "/metrics" and method == "GET":
            await self._answer(send, 200, self.metrics.exposition(), "text/plain; version=0.0.4; charset=utf-8")
        else:
            await self._answer(send, 404, b'{"error_code": "NOT_FOUND", "message": "no such path"}')

    async def _invoke(self, receive: Receive) -> Answer:
        self.metrics.begin()
        started = time.perf_counter()
        code = 500
        try:
            code, content = await self._admit(receive)
            return code, content
        finally:
            self.metrics.end(code, time.perf_counter() - started)

    async def _admit(self, receive: Receive) -> Answer:
        try:
            body = await self._body(receive)
        except _TooLarge:
            return 413, {"error_code": "TOO_LARGE", "message": f"the body exceeds {self._max_body_bytes} bytes"}
        except _Gone:
            return 499, {"error_code": "CLIENT_CLOSED_REQUEST", "message": "the client left before the end of its body"}
        if self._predictor is None:
            return 503, {"error_code": "LOADING", "message": "the model is not loaded yet"}
        if self._waiting >= MAX_WAITING:
            return 503, {"error_code": "OVERLOADED", "message": f"{MAX_WAITING} requests are waiting already"}
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self.score, body)
        finally:
            self._waiting -= 1

    async def _body(self, receive: Receive) -> bytes:
        body = bytearray()
        too_large = False
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            # What exceeds the cap is read and dropped: an answer before the end of the body may never be seen.
            too_large = too_large or len(body) + len(message.get("body", b"")) > self._max_body_bytes
            if not too_large:
                body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if too_large:
            raise _TooLarge
        return bytes(body)

    async def _answer(self, send: Send, code: int, body: bytes, content_type: str = "application/json") -> None:
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"x-model-version", f"{self.model}/{self.version}".encode()),
        ]
        await send({"type": "http.response.start", "status": code, "headers": headers})
        await send({"type": "http.response.body", "body": body})
