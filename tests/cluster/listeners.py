"""What controllers ask on this machine: gates that say yes or no, numbers that Prometheus scrapes. On 127.0.0.1 only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final

import httpx
from tests.cluster.api import wait_for
from tests.cluster.control_plane import ControlPlane, answers
from tests.cluster.processes import Program

_START_S: Final = 30.0
_SCRAPE_S: Final = 1

Answer = tuple[int, str, str]
"""Status code, content type, body."""


class Listener:
    """An HTTP server in a thread of its own, as a context manager."""

    def __init__(self, answer: Callable[[str, str, str], Answer]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                code, kind, text = answer(self.command, self.path, self.rfile.read(length).decode())
                body = text.encode()
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = _do
            do_POST = _do

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Gate:
    """A webhook of Flagger, or the web provider of an analysis: each path is answered as a test sets it, and every call is kept.

    A path that was never set is answered with 200 and an empty object.
    """

    def __init__(self) -> None:
        self._answers: dict[str, tuple[int, object]] = {}
        self.calls: list[tuple[str, Any]] = []
        """Path and decoded body of each call so far."""
        self._listener = Listener(self._answer)
        self.url = self._listener.url

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def set(self, path: str, *, code: int = 200, body: object = None) -> None:
        """How a path is answered from now on: Flagger proceeds at 200 to 202 and holds at anything above."""
        self._answers[path] = (code, {} if body is None else body)

    def wait_call(self, path: str, *, count: int = 1, within_s: float = 30.0) -> list[Any]:
        """The bodies of the calls on a path, once there are `count`."""
        wait_for(lambda: len(self._bodies(path)) >= count, within_s=within_s, otherwise=lambda: f"{path}: {self.calls}")
        return self._bodies(path)

    def _bodies(self, path: str) -> list[Any]:
        return [body for called, body in list(self.calls) if called == path]

    def _answer(self, method: str, path: str, body: str) -> Answer:
        self.calls.append((path, json.loads(body) if body else None))
        code, answer = self._answers.get(path, (200, {}))
        return code, "application/json", json.dumps(answer)


class Metrics:
    """Debian's Prometheus, which scrapes every second what a test sets."""

    def __init__(self, control_plane: ControlPlane, *, program: str, name: str = "prometheus") -> None:
        self._values: dict[str, float] = {}
        self._listener = Listener(self._answer)
        self._folder = control_plane.folder / name
        self._folder.mkdir()
        (port,) = control_plane.free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        target = f"127.0.0.1:{self._listener.port}"
        config = {
            "global": {"scrape_interval": f"{_SCRAPE_S}s"},
            "scrape_configs": [{"job_name": "tests", "static_configs": [{"targets": [target]}]}],
        }
        file = self._folder / "prometheus.json"
        file.write_text(json.dumps(config))
        self.program: Program = control_plane.add(
            name,
            [
                program,
                f"--config.file={file}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
        )

    def start(self) -> None:
        """Start Prometheus if it does not run; returns when it answers."""
        if not self.program.running:
            self.program.start()
            self.program.wait_ready(lambda: answers(f"{self.url}/-/ready"), within_s=_START_S)

    def close(self) -> None:
        self.program.stop()
        self._listener.close()

    def set(self, name: str, value: float, **labels: str) -> None:
        """A gauge's value from the next scrape on."""
        words = ",".join(f"{key}={json.dumps(text)}" for key, text in sorted(labels.items()))
        self._values[f"{name}{{{words}}}"] = value

    def query(self, expression: str) -> list[Any]:
        """What a query gives now: Prometheus' result vector."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, trust_env=False)
        result: list[Any] = answer.raise_for_status().json()["data"]["result"]
        return result

    def wait_value(self, expression: str, value: float, *, within_s: float = 15.0) -> None:
        """Wait until a query gives one sample of this value."""

        def there() -> bool:
            found = self.query(expression)
            return len(found) == 1 and float(found[0]["value"][1]) == value

        wait_for(there, within_s=within_s, otherwise=lambda: f"{expression}: {self.query(expression)}")

    def _answer(self, method: str, path: str, body: str) -> Answer:
        lines = [f"{series} {value}" for series, value in list(self._values.items())]
        return 200, "text/plain; version=0.0.4", "\n".join(lines) + "\n"
