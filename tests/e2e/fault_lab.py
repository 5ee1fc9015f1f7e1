"""A place to break things in: a configuration of its own on the running demo, with a fault proxy before each real part.

The program in the lab reads the real registry, router and metrics, but through proxies that a test can silence, starve or make
lie. Its state and audit are its own, so nothing that is refused or torn here is seen by another test.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx
from tests.connectors.fault_proxy import Fault, FaultProxy, Request
from tests.e2e.demo_host import MLRELEASE, HeadlessDemo
from tests.ui.pty_harness import Terminal

T = TypeVar("T")

MUTATING = ("POST", "PATCH", "DELETE", "PUT")


class Gate:
    """One proxy, run in the lab's own thread, so that a test which waits does not stop it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._loop = loop
        self.proxy = FaultProxy(parts.hostname, parts.port)
        self._ask(self.proxy.listen())

    def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    @property
    def port(self) -> int:
        return self.proxy.port

    @property
    def url(self) -> str:
        return self.proxy.url

    def on(self, fault: Fault, *, method: str = "", path: str = "", times: int | None = None) -> None:
        self.proxy.on(fault, method=method, path=path, times=times)

    def heal(self) -> None:
        """Everything passes again, what is under way too: its connection is cut."""
        self.proxy.heal()
        self._ask(self.proxy.refuse())
        self._ask(self.proxy.listen())

    def refuse(self) -> None:
        self._ask(self.proxy.refuse())

    def writes(self) -> list[Request]:
        """Requests so far that change something. MLflow's searches are GETs."""
        return [item for item in self.proxy.requests if item.method in MUTATING]


class Lab:
    """`registry`, `router` (Traefik's API) and `metrics` are the gates. `home` holds configuration, state and audit.

    `options` are more lines for a connection's table, by connection; `top` are more lines for the file's head, `tail` for its end.
    """

    def __init__(
        self,
        demo: HeadlessDemo,
        home: Path,
        *,
        through_router: bool = False,
        options: Mapping[str, str] | None = None,
        tail: str = "",
        bindings: bool = True,
    ) -> None:
        self.demo = demo
        self.home = home
        self.environment = demo.environment | {"HOME": str(home), "TMPDIR": str(home)}
        self.audit = home / "audit"
        self.state = home / "state"
        self.config = home / "config.toml"
        self._through_router = through_router
        self._options = options or {}
        self._tail = tail
        self._bindings = bindings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        self.registry = Gate(self._loop, self.demo.ready["registry"])
        self.metrics = Gate(self._loop, self.demo.ready["metrics"])
        self.router = Gate(self._loop, self.demo.ready["metrics"])
        self.write_config()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for gate in (self.registry, self.metrics, self.router):
            gate.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @property
    def target(self) -> Path:
        """The real directory of local endpoints."""
        return self.demo.config.parent / "target"

    def _directory(self) -> Path:
        """The directory as the lab's program sees it: the real one, but for where the router's API is."""
        if not self._through_router:
            return self.target
        seen = self.home / "target"
        seen.mkdir(exist_ok=True)
        for item in self.target.iterdir():
            if item.name != "ports.json":
                with contextlib.suppress(FileExistsError):
                    (seen / item.name).symlink_to(item)
        ports = json.loads((self.target / "ports.json").read_text())
        ports["router"]["api"] = self.router.port
        (seen / "ports.json").write_text(json.dumps(ports))
        return seen

    def write_config(self) -> None:
        tables = {
            "registry": f'kind = "mlflow"\nurl = "{self.registry.url}"',
            "local": f'kind = "local"\ndirectory = "{self._directory()}"',
            "metrics": f'kind = "scrape"\ntargets = ["{self.metrics.url}/metrics"]',
        }
        lines = [f'state_dir = "{self.state}"', f'audit_dir = "{self.audit}"']
        for name, body in tables.items():
            lines += [f"[connections.{name}]", body, self._options.get(name, ""), 'environment = "demo"']
        if self._bindings:
            for endpoint, model in (
                ("iris", "iris-classifier"),
                ("wine", "wine-cultivar"),
                ("diabetes", "diabetes-risk"),
            ):
                lines += ["[[bindings]]", f'endpoint = "local/local/{endpoint}"', f'model = "registry/{model}"']
                lines += ['alias = "champion"', "guard = { error_ratio = 0.02, p99_ms = 250.0 }"]
        self.config.write_text("\n".join([*lines, self._tail, ""]))
        self.config.chmod(0o600)

    def arguments(self, *arguments: str) -> list[str]:
        return [str(MLRELEASE), "--config", str(self.config), *arguments]

    def run(
        self, *arguments: str, within_s: float = 60.0, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.arguments(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self.environment | dict(environ or {}),
            cwd=self.home,
            text=True,
            timeout=within_s,
            check=False,
        )

    def json(self, *arguments: str, code: int | None = 0, as_given: bool = False) -> dict[str, Any]:
        """One command with `--json`: its object, its exit code checked. `as_given`: the arguments have it already."""
        done = self.run(*arguments, *(() if as_given else ("--json",)))
        assert code is None or done.returncode == code, (
            f"{arguments} ended {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def spawn(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.arguments(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            cwd=self.home,
            text=True,
        )

    def app(self, columns: int = 160, rows: int = 48, **more: str) -> Terminal:
        return Terminal(
            self.arguments(), columns=columns, rows=rows, environ=self.environment | more, cwd=str(self.home)
        )

    # --- the truth, read past the program

    def champion(self, model: str = "diabetes-risk") -> str:
        answer = httpx.get(
            f"{self.demo.ready['registry']}/api/2.0/mlflow/registered-models/alias",
            params={"name": model, "alias": "champion"},
        )
        return str(answer.json()["model_version"]["version"])

    def set_champion(self, version: str, model: str = "diabetes-risk") -> None:
        httpx.post(
            f"{self.demo.ready['registry']}/api/2.0/mlflow/registered-models/alias",
            json={"name": model, "alias": "champion", "version": version},
        ).raise_for_status()

    def split(self, endpoint: str = "diabetes") -> dict[str, int]:
        """Weights by version in the routes document itself."""
        return dict(self._route(endpoint)[1])

    def generation(self, endpoint: str = "diabetes") -> int:
        return self._route(endpoint)[0]

    def _route(self, endpoint: str) -> tuple[int, dict[str, int]]:
        document = json.loads((self.target / "routes" / "routes.yml").read_text())
        services = document["http"]["services"]
        weighted = {
            item["name"].removeprefix(f"{endpoint}--"): item["weight"]
            for item in services[endpoint]["weighted"]["services"]
        }
        marker = document["http"]["middlewares"][f"{endpoint}--generation"]["headers"]["customResponseHeaders"]
        return int(marker["X-Release-Generation"]), weighted

    def audit_lines(self) -> list[dict[str, Any]]:
        """Every record on disk, in order."""
        found = []
        for file in sorted(self.audit.rglob("*.jsonl")):
            # A last line without its end is being written at this moment.
            found += [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]
        return found

    def kinds(self) -> list[str]:
        return [str(record["kind"]) for record in self.audit_lines()]

    def faults_of_ours(self, endpoint: str = "diabetes") -> int:
        """Requests of users that failed for want of a server or an answer; the model's own failures are 500."""
        users = self.demo.users()[endpoint]
        codes = sum(count for code, count in users["by_code"].items() if str(code) in {"502", "503", "504"})
        return int(codes + sum(users["no_answer"].values()))

    # --- putting things as a test needs them

    def restore(self) -> None:
        """As the session's demo promises: `diabetes` and `wine` have version 3 as a canary at 10 %, held by nobody."""
        self.set_champion("3")
        self.set_champion("2", "wine-cultivar")
        for endpoint in ("diabetes", "wine"):
            split = self.split(endpoint)
            confirmed = ("--yes", "--confirm", endpoint, "--reason", "as it was before the test")
            if '"hold":{' in self._state(endpoint):
                assert self.demo.run("continue", endpoint, *confirmed).returncode == 0
            if "v3" not in split:
                done = self.demo.run("promote", endpoint, "3", "--weight", "10%", *confirmed)
                assert done.returncode == 0, done.stdout + done.stderr
            elif split["v3"] != 1000:
                done = self.demo.run("weight", endpoint, "10%", *confirmed)
                assert done.returncode == 0, done.stdout + done.stderr

    def _state(self, endpoint: str) -> str:
        document = json.loads((self.target / "routes" / "routes.yml").read_text())
        headers = document["http"]["middlewares"][f"{endpoint}--state"]["headers"]["customResponseHeaders"]
        return str(headers["X-Release-State"])

    @contextlib.contextmanager
    def registry_row(self, model: str, version: str, status: str) -> Iterator[None]:
        """The registry's own database says `status` of a version for a while: no API of MLflow can bring that about."""
        database = self.demo.config.parent / "registry" / "mlflow.db"

        def write(word: str) -> None:
            with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection, connection:
                changed = connection.execute(
                    "UPDATE model_versions SET status = ? WHERE name = ? AND version = ?", (word, model, int(version))
                )
                assert changed.rowcount == 1

        write(status)
        try:
            yield
        finally:
            write("READY")

    def wait(self, condition: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"waited {within_s} s for {what}"
            time.sleep(0.01)
