"""The demo's registry: MLflow's own tracking server on SQLite, in one process.

`mlflow server` is a command that imports the server, starts it a second time as a child and waits: two processes of some 220 MB,
job workers besides. Run as `python -m`, this module sets what that command would set, builds the same application
(`mlflow.server.fastapi_app:app`) and serves it with the same uvicorn, once: half the memory, some 3 s of processor time less.
The lifespan hook stays off: it looks for containers of MLflow's assistant and for its folders in the user's home, neither of which
is the demo's.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from mlrelease_tui.demo.processes import (
    Progress,
    child_environment,
    die_with_parent,
    quiet,
    start_child,
    stop_child,
    tail,
    wait_until,
)
from mlrelease_tui.errors import TimedOut, Unreachable

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class RegistryReport:
    """A server that answers: `started_in_s` in seconds from launch to the first healthy answer, `rss_bytes` measured then."""

    url: str
    pid: int
    started_in_s: float
    rss_bytes: int


class RegistryServer:
    """One MLflow tracking server in `folder` (database, artifacts, log), on a loopback port of the kernel's choice."""

    def __init__(
        self,
        folder: Path,
        *,
        environ: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.log = folder / "mlflow.log"
        self._environ = environ
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._launched_at = 0.0

    @property
    def url(self) -> str:
        """Where it listens; meaningful from `launch` on."""
        return f"http://{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """The process, or 0 before `launch`."""
        return self._process.pid if self._process else 0

    def launch(self) -> None:
        """Start the process and return at once, so that other parts can start meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "artifacts").mkdir(exist_ok=True)
        self._launched_at = self._clock()
        # The child inherits a bound socket: no moment at which another program could take the port.
        with socket.create_server((HOST, 0), backlog=128) as listener:
            self._port = listener.getsockname()[1]
            self._process = start_child(
                "mlrelease_tui.demo.registry_server",
                ["--folder", str(self.folder), "--fd", str(listener.fileno()), "--port", str(self._port)],
                environment=child_environment(self._environ, self.folder),
                folder=self.folder,
                log=self.log,
                pass_fds=[listener.fileno()],
            )

    def wait_ready(self, progress: Progress = quiet, *, deadline_s: float = 60.0) -> RegistryReport:
        """Block until it answers and its database is open.

        Raises `Unreachable` if the process ended, `TimedOut` after `deadline_s` seconds; both quote its log.
        """
        process = self._process
        if process is None:
            raise Unreachable("the MLflow server was not launched", hint="call launch() first")
        progress("starting the MLflow tracking server")
        ready = wait_until(
            lambda: process.poll() is not None or self.answers(), deadline_s=deadline_s, every_s=0.1, clock=self._clock
        )
        if process.poll() is not None:
            raise Unreachable(
                f"the MLflow server ended with exit code {process.returncode}",
                hint=f"see {self.log}:\n{tail(self.log)}",
            )
        if not ready:
            raise TimedOut(
                f"the MLflow server did not answer within {deadline_s:.0f} s", hint=f"see {self.log}:\n{tail(self.log)}"
            )
        took = self._clock() - self._launched_at
        rss = psutil.Process(process.pid).memory_info().rss
        progress(f"MLflow tracking server ready at {self.url} ({took:.1f} s, {rss / 1e6:.0f} MB)")
        return RegistryReport(url=self.url, pid=process.pid, started_in_s=took, rss_bytes=rss)

    def start(self, progress: Progress = quiet, *, deadline_s: float = 60.0) -> RegistryReport:
        """`launch` and `wait_ready`; a server that does not come up is stopped before the error leaves."""
        self.launch()
        try:
            return self.wait_ready(progress, deadline_s=deadline_s)
        except BaseException:
            self.stop(grace_s=0.0)
            raise

    def answers(self, timeout_s: float = 1.0) -> bool:
        """Whether the registry's API answers a search: `/health` alone says nothing about the database."""
        connection = http.client.HTTPConnection(HOST, self._port, timeout=timeout_s)
        try:
            connection.request("GET", "/api/2.0/mlflow/registered-models/search?max_results=1")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self, *, grace_s: float = 5.0) -> int | None:
        """End the process and its group; returns its exit code, None if there was none. May be called again."""
        process, self._process = self._process, None
        return stop_child(process, grace_s=grace_s) if process else None


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or until the parent is gone."""
    parser = argparse.ArgumentParser(prog="python -m mlrelease_tui.demo.registry_server")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--fd", type=int, required=True, help="an inherited listening socket")
    parser.add_argument(
        "--port", type=int, required=True, help="the port of that socket, for the list of allowed hosts"
    )
    arguments = parser.parse_args(argv)
    die_with_parent()
    folder: Path = arguments.folder

    from mlflow.server import constants

    # The server reads these when it is imported; the names are those which `mlflow server` sets for its child.
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = f"sqlite:///{folder / 'mlflow.db'}"
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = (folder / "artifacts").as_uri()
    os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = f"{HOST}:{arguments.port},localhost:{arguments.port}"

    import uvicorn
    from mlflow.server.fastapi_app import app

    config = uvicorn.Config(app, lifespan="off", access_log=False, log_level="warning", timeout_graceful_shutdown=3)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[socket.socket(fileno=arguments.fd)])


if __name__ == "__main__":
    main()
