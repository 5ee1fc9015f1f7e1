"""The embedded default, composed: a real registry, real model servers behind a real Traefik, real traffic.

Everything lives in one folder and in the processes that this module starts; `stop` leaves neither a process nor a port. Each
child also ends by itself when this process is gone, however it went.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mlrelease_tui.audit.clock import SystemClock
from mlrelease_tui.audit.uuid7 import Uuid7
from mlrelease_tui.config.initial import Draft, DraftBinding, render, write_initial
from mlrelease_tui.connectors import plugins
from mlrelease_tui.connectors.api import (
    AliasMovable,
    Artifact,
    Connector,
    Performer,
    Settings,
    VersionSource,
)
from mlrelease_tui.connectors.local.connector import LocalConnector
from mlrelease_tui.connectors.local.definitions import EndpointDefinition, define_endpoint
from mlrelease_tui.connectors.local.setup import deploy, start_supervisor, wait_until_up
from mlrelease_tui.demo.catalogue import CATALOGUE, STABLE_ALIAS
from mlrelease_tui.demo.processes import Progress, child_environment, quiet, start_child, stop_child, tail
from mlrelease_tui.demo.registry_server import RegistryServer
from mlrelease_tui.demo.stage import ENVIRONMENT, METRICS, PIPELINE, REGISTRY, SCENES, TARGET, Scene
from mlrelease_tui.demo.traffic import read_counters
from mlrelease_tui.demo.train import rows_file
from mlrelease_tui.demo.zygote import Zygote
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.rollout import Stamp
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ConfigError, TimedOut, Unreachable, UsageError
from mlrelease_tui.routing.traefik_process import TraefikAddresses

TRAIN_S: Final = 120.0
FIRST_ANSWERS: Final = 10
FIRST_ANSWERS_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class DemoReport:
    """A demo that is ready: where its configuration is and where its parts listen. Durations in seconds."""

    config: Path
    folder: Path
    router: str
    registry: str
    metrics: str
    endpoints: tuple[str, ...]
    started_in_s: float


class DemoEnvironment:
    """Starts everything, once; `stop` ends it, from whatever point it had reached."""

    def __init__(
        self,
        folder: Path,
        *,
        environ: Mapping[str, str],
        progress: Progress = quiet,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # The parts have working directories of their own, where a relative path names something else.
        self.folder = folder = folder.resolve()
        self._environ = environ
        self._progress = progress
        self._clock = clock
        self._new_id = Uuid7(SystemClock(), os.urandom)
        self._registry = RegistryServer(folder / "registry", environ=environ)
        self._zygote = Zygote(folder / "servers", environ=environ)
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def counters(self) -> Path:
        """What the users saw: sent, answered and failed requests by endpoint, written each second."""
        return self.folder / "traffic.json"

    async def start(self) -> DemoReport:
        """Bring everything up and wait until users are served and counted. Errors quote the log of the part that failed.

        UsageError where the folder holds anything already, ConfigError where it can't be written to.
        """
        try:
            self._claim()
            return await self._start()
        except OSError as failure:
            raise ConfigError(
                f"the demo can't be set up in {self.folder}: {failure.strerror or failure}",
                hint="make room there, or name another folder with --folder",
            ) from failure

    def _claim(self) -> None:
        """Take the folder for this one run. A second demo in it would take the registry and the sockets of the first away, and
        whatever else lies there could be overwritten."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.folder.stat().st_uid != os.geteuid():
            raise ConfigError(f"{self.folder} belongs to another user", hint="name a folder of your own with --folder")
        mark = self.folder / "demo.pid"
        try:
            with mark.open("x", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
        except FileExistsError:
            raise self._not_empty() from None
        if any(path != mark for path in self.folder.iterdir()):
            mark.unlink()
            raise self._not_empty()
        # Programs are started from what lies in here.
        self.folder.chmod(0o700)

    def _not_empty(self) -> UsageError:
        return UsageError(
            f"{self.folder} is not empty, and the demo takes a folder for itself", hint="name one that is new or empty"
        )

    async def _start(self) -> DemoReport:
        began = self._clock()
        target = self.folder / "target"
        self._progress("starting registry, model libraries and router")
        self._registry.launch()
        self._zygote.launch()
        self._supervisor = start_supervisor(target, child_environment(self._environ, self.folder))
        _, _, addresses = await asyncio.gather(
            asyncio.to_thread(self._registry.wait_ready, self._progress),
            asyncio.to_thread(self._zygote.wait_ready, self._progress),
            wait_until_up(target, self._supervisor, deadline_s=60.0),
        )
        self._progress(f"router ready at {addresses.traffic_url}")
        await asyncio.to_thread(self._train)
        await self._release(target)
        self._ask(addresses)
        config = self._configure(target, addresses)
        await self._first_answers()
        took = self._clock() - began
        self._progress(f"ready in {took:.0f} s")
        return DemoReport(
            config,
            self.folder,
            addresses.traffic_url,
            self._registry.url,
            f"{addresses.api_url}/metrics",
            tuple(EndpointRef(TARGET, "local", scene.endpoint).id for scene in SCENES),
            took,
        )

    def stop(self) -> None:
        """End every process, users first so that none of them sees the rest go. May be called again."""
        while self._children:
            stop_child(self._children.pop(), grace_s=3.0)
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.terminate()
            try:
                supervisor.wait(20.0)
            except subprocess.TimeoutExpired:
                supervisor.kill()
                supervisor.wait()
        self._zygote.stop()
        self._registry.stop()

    # --- the parts ----------------------------------------------------------------------------------------------------

    @property
    def _rows(self) -> Path:
        return self.folder / "rows"

    def _train(self) -> None:
        """Train and register in a fork of the zygote, and say each version as it is registered."""
        total = sum(len(spec.versions) for spec in CATALOGUE)
        log = self.folder / "train.log"
        child = start_child(
            "mlrelease_tui.demo.train",
            [
                *("--tracking-uri", self._registry.url),
                *("--rows", str(self._rows)),
                *("--zygote", str(self._zygote.socket)),
            ],
            environment=child_environment(self._environ, self.folder),
            folder=self.folder,
            log=log,
        )
        self._children.append(child)
        deadline = self._clock() + TRAIN_S
        said = 0
        while child.poll() is None:
            if self._clock() > deadline:
                raise TimedOut(f"training did not end within {TRAIN_S:.0f} s", hint=f"see {log}:\n{tail(log)}")
            said = self._say_trained(log, said, total)
            time.sleep(0.1)
        self._children.remove(child)
        stop_child(child, grace_s=0.0)
        if child.returncode != 0:
            raise Unreachable(f"training ended with exit code {child.returncode}", hint=f"see {log}:\n{tail(log)}")
        self._say_trained(log, said, total)

    def _say_trained(self, log: Path, said: int, total: int) -> int:
        lines = [line for line in tail(log, 1000).splitlines() if line.startswith("{")]
        for count, line in enumerate(lines[said:], start=said + 1):
            with suppress(json.JSONDecodeError, KeyError):
                record = json.loads(line)
                self._progress(f"trained and registered {record['model']} {record['version']} ({count} of {total})")
        return len(lines)

    async def _release(self, target: Path) -> None:
        """Deploy the stable versions, then the canaries, by the connector's own plans: what an operator's promote does."""
        local = LocalConnector(self._settings(TARGET, "local", {"directory": str(target)}))
        try:
            for scene in SCENES:
                define_endpoint(target, self._definition(scene))
            await asyncio.gather(*(self._deploy(local, scene, scene.stable, None) for scene in SCENES))
            canaries = [scene for scene in SCENES if scene.canary]
            await asyncio.gather(*(self._deploy(local, scene, scene.canary, scene.weight_bp) for scene in canaries))
        finally:
            await local.close()
        for scene in SCENES:
            if scene.alias_leads:
                await self._lead_with_alias(scene)

    async def _deploy(self, local: LocalConnector, scene: Scene, version: str, weight_bp: int | None) -> None:
        ref = EndpointRef(TARGET, "local", scene.endpoint)
        artifact = Artifact(version, f"models:/{scene.model}/{version}")
        why = "canary of a new version" if weight_bp else "first release"
        await deploy(local, ref, artifact, self._stamp("promote", why), weight_bp=weight_bp)
        share = f"{weight_bp / 100:g} %" if weight_bp else "all traffic"
        self._progress(f"{scene.endpoint}: {scene.model} {version} serves {share}")

    async def _lead_with_alias(self, scene: Scene) -> None:
        """A pipeline that trusted the offline metrics moved the alias to the canary: a rollback has to bring it back."""
        registry = self._connector(REGISTRY, "mlflow", {"url": self._registry.url})
        try:
            if not (isinstance(registry, VersionSource) and isinstance(registry, AliasMovable)):
                raise Unreachable("the registry connector can't move aliases")
            model = await registry.model(ModelRef(REGISTRY, scene.model))
            for write in registry.move_alias(model, STABLE_ALIAS, scene.canary):
                if isinstance(registry, Performer):
                    await registry.perform(write, self._stamp("alias", "better error offline"))
        finally:
            await registry.close()

    def _definition(self, scene: Scene) -> EndpointDefinition:
        return EndpointDefinition(
            name=scene.endpoint,
            command=(
                *(sys.executable, "-m", "mlrelease_tui.demo.model_server"),
                *("--model", "{model}", "--version", "{version}", "--port", "{port}"),
                *("--tracking-uri", self._registry.url, "--zygote", str(self._zygote.socket)),
            ),
            model=f"{REGISTRY}/{scene.model}",
            alias=STABLE_ALIAS,
            environment=ENVIRONMENT,
        )

    def _ask(self, addresses: TraefikAddresses) -> None:
        """Let the users come."""
        targets = [
            {
                "name": scene.endpoint,
                "url": f"{addresses.endpoint_url(scene.endpoint).rstrip('/')}/invocations",
                "rate": scene.rate,
                "rows": str(rows_file(self._rows, scene.model)),
            }
            for scene in SCENES
        ]
        config = self.folder / "traffic-config.json"
        config.write_text(
            json.dumps({"counters": str(self.counters), "seed": 1, "endpoints": targets}), encoding="utf-8"
        )
        self._children.append(
            start_child(
                "mlrelease_tui.demo.traffic",
                ["--config", str(config), "--lifeline"],
                environment=child_environment(self._environ, self.folder),
                folder=self.folder,
                log=self.folder / "traffic.log",
            )
        )

    async def _first_answers(self) -> None:
        """Wait until every endpoint has answered some users: from then on numbers are measured, not awaited."""
        self._progress("waiting for the first answers to users")
        deadline = self._clock() + FIRST_ANSWERS_S
        while True:
            with suppress(OSError, ValueError):
                found = read_counters(self.counters)
                if all(found.get(scene.endpoint, {}).get("ok", 0) >= FIRST_ANSWERS for scene in SCENES):
                    return
            if self._clock() > deadline:
                log = self.folder / "traffic.log"
                raise TimedOut(f"no answers to users within {FIRST_ANSWERS_S:.0f} s", hint=f"see {log}:\n{tail(log)}")
            await asyncio.sleep(0.1)

    def _configure(self, target: Path, addresses: TraefikAddresses) -> Path:
        path = self.folder / "config.toml"
        text = render(
            [
                Draft(
                    REGISTRY,
                    "mlflow",
                    {"url": self._registry.url, "credential": {"none": True}},
                    environment=ENVIRONMENT,
                ),
                Draft(TARGET, "local", {"directory": str(target)}, environment=ENVIRONMENT),
                Draft(METRICS, "scrape", {"targets": [f"{addresses.api_url}/metrics"]}, environment=ENVIRONMENT),
            ],
            [_binding(scene) for scene in SCENES],
            settings={"state_dir": str(self.folder / "state"), "audit_dir": str(self.folder / "audit")},
            comment="The demo's configuration: it is gone with the demo.",
        )
        write_initial(path, text, self._environ, force=True)
        return path

    def _settings(self, name: str, kind: str, options: Mapping[str, str]) -> Settings:
        # As for the parts: no proxy stands between processes of one machine.
        environ = child_environment(self._environ, self.folder)
        return Settings(name, kind, options, ENVIRONMENT, timeout_s=30.0, environ=environ)

    def _connector(self, name: str, kind: str, options: Mapping[str, str]) -> Connector:
        return plugins.load(kind)(self._settings(name, kind, options))

    def _stamp(self, verb: str, why: str) -> Stamp:
        return Stamp(self._new_id(), verb, SafeText(PIPELINE), SafeText(why), datetime.now(UTC))


def _binding(scene: Scene) -> DraftBinding:
    guard: dict[str, float] = {}
    if scene.guard.error_ratio is not None:
        guard["error_ratio"] = scene.guard.error_ratio
    if scene.guard.p99_s is not None:
        guard["p99_ms"] = scene.guard.p99_s * 1000
    return DraftBinding(f"{TARGET}/local/{scene.endpoint}", f"{REGISTRY}/{scene.model}", STABLE_ALIAS, guard)


def new_folder() -> Path:
    """A fresh folder for one run, readable by its owner only. ConfigError where there is no place for one."""
    try:
        return Path(tempfile.mkdtemp(prefix="mlrelease-demo-"))
    except OSError as failure:
        raise ConfigError(
            f"there is no folder for the demo: {failure.strerror or failure}",
            hint="set TMPDIR, or name one with --folder",
        ) from failure


def remove_folder(folder: Path) -> None:
    """Take away everything that a run left in its folder."""
    shutil.rmtree(folder, ignore_errors=True)
