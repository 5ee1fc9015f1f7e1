"""The supervisor of one directory: `python -m mlrelease_tui.connectors.local.supervisor DIRECTORY`.

Owns the model servers and the Traefik of the directory, and nothing else: it follows `desired.json` and reports in
`observed.json`. Which version gets which traffic stands in the router's document, which it never writes, so that its own
death and return change no split. Ports are kept across its restarts, for the router's document names them.

SIGTERM and SIGINT stop the router first (it lets requests finish), then the model servers; a second signal kills. However it
dies, its processes die with it (see `processes`); what they left behind, the next supervisor kills before it starts anything.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlrelease_tui.connectors.local.definitions import EndpointDefinition, read_definitions
from mlrelease_tui.connectors.local.desired import WantedEndpoint, WantedProcess, read_desired
from mlrelease_tui.connectors.local.documents import NOWHERE, fingerprint, take_lock, write_json
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.observed import FORMAT
from mlrelease_tui.connectors.local.ports import read_ports, write_ports
from mlrelease_tui.connectors.local.processes import MARK, RUN_MARK, free_port, kill_leftovers, start_ticks
from mlrelease_tui.connectors.local.supervised import Launch, SupervisedProcess, Surroundings
from mlrelease_tui.errors import BackendError, ConfigError, ReleaseError, UnexpectedAnswer
from mlrelease_tui.routing.traefik_directory import RoutesDirectory
from mlrelease_tui.routing.traefik_document import TraefikSettings
from mlrelease_tui.routing.traefik_process import TraefikAddresses, find_traefik, static_configuration

_TICK_S = 0.1
_IDLE_TICK_S = 0.25
_ROUTER_GRACE_S = 12.0
_ROUTER_START_S = 15.0
_Key = tuple[str, str]


class Supervisor:
    """One run, from taking over the directory to leaving nothing. `parent` 0: it does not die with anybody."""

    def __init__(self, layout: Layout, traefik: Path, environ: Mapping[str, str], *, parent: int = 0) -> None:
        self._layout = layout
        self._traefik = traefik
        self._parent = parent
        self._wake = asyncio.Event()
        kept = {key: value for key, value in environ.items() if key not in {MARK, RUN_MARK}}
        self._around = Surroundings(layout.directory, kept, self._wake.set)
        self._processes: dict[_Key, SupervisedProcess] = {}
        self._router: SupervisedProcess | None = None
        ports = read_ports(layout)
        self._ports = {(key, name): port for key, named in ports.processes.items() for name, port in named.items()}
        self._addresses = ports.router or _new_addresses(ports.taken())
        self._desired: Mapping[str, WantedEndpoint] = {}
        self._definitions: Mapping[str, EndpointDefinition] = {}
        self._seen: tuple[object, ...] = ()
        self._known: set[Path] = set()
        # Why the documents are not followed, and what of them could not be.
        self._unread = ""
        self._unfollowed = ""
        self._written: dict[str, Any] = {}
        self._signals = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGCHLD, self._wake.set)
        kill_leftovers(self._layout.directory)
        self._write_ports()
        self._start_router()
        while not self._signals and not self._orphaned():
            self._read_documents()
            self._reconcile()
            self._report()
            await self._pause(_TICK_S if self._unsettled() else _IDLE_TICK_S)
        await self._stop_all()

    def _asked_to_stop(self) -> None:
        self._signals += 1
        self._wake.set()

    def _orphaned(self) -> bool:
        return self._parent > 0 and os.getppid() != self._parent

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    def _unsettled(self) -> bool:
        return not all(process.settled for process in self._all())

    def _all(self) -> tuple[SupervisedProcess, ...]:
        return (*((self._router,) if self._router else ()), *self._processes.values())

    def _write_ports(self) -> None:
        processes: dict[str, dict[str, int]] = {}
        for (key, name), port in self._ports.items():
            processes.setdefault(key, {})[name] = port
        write_ports(self._layout, self._addresses, processes)

    def _start_router(self) -> None:
        layout = self._layout
        RoutesDirectory(layout.routes).begin()
        configuration = static_configuration(self._addresses, layout.routes, layout.traefik_log, TraefikSettings())
        layout.traefik_configuration.write_text(json.dumps(configuration, indent=1), encoding="utf-8")
        # A model's credentials are none of the router's business: it gets an environment of its own.
        clean = {"PATH": os.defpath, "HOME": str(layout.directory), "TZ": "UTC"}
        around = Surroundings(layout.directory, clean, self._wake.set)
        launch = Launch(
            version="",
            argv=(str(self._traefik), f"--configfile={layout.traefik_configuration}"),
            port=self._addresses.api_port,
            health_path="/ping",
            start_timeout_s=_ROUTER_START_S,
            grace_s=_ROUTER_GRACE_S,
        )
        self._router = SupervisedProcess(launch, layout.traefik_log, around)

    def _read_documents(self) -> None:
        seen = (fingerprint(self._layout.desired), fingerprint(self._layout.endpoints))
        if seen == self._seen:
            return
        try:
            definitions, desired = read_definitions(self._layout), read_desired(self._layout)
            self._expect_documents()
        except BackendError as failure:
            # What runs goes on by the last documents that could be read.
            self._unread = str(failure)
        else:
            self._definitions, self._desired, self._unread = definitions, desired, ""
        self._seen = seen

    def _expect_documents(self) -> None:
        """A document that was there once is missed: with a folder that was moved away, or with its disk, all copies are gone too,
        and to read that as nothing wanted would stop everything that serves."""
        for path in (self._layout.endpoints, self._layout.desired):
            if fingerprint(path) != NOWHERE:
                self._known.add(path)
            elif path in self._known:
                raise UnexpectedAnswer(f"{path} is gone", hint="what runs goes on; put the folder back")

    def _reconcile(self) -> None:
        wanted = {
            (key, name): (self._definitions[key], process)
            for key, endpoint in self._desired.items()
            if key in self._definitions
            for name, process in endpoint.processes.items()
        }
        for key, process in self._processes.items():
            # An endpoint without a definition can't be followed, but what serves goes on serving.
            if key not in wanted and (key[0] in self._definitions or key[0] not in self._desired):
                process.stop()
        unfollowed = []
        for key, (definition, version) in wanted.items():
            try:
                self._follow(key, definition, version)
            except ReleaseError as failure:
                # One process that can't be started (a full disk) must cost no other one.
                unfollowed.append(f"{key[0]} {key[1]}: {failure}")
        self._unfollowed = "; ".join(unfollowed)
        for process in self._all():
            process.tick()
        for key in [key for key, process in self._processes.items() if process.gone]:
            del self._processes[key]
            self._ports.pop(key, None)
            with contextlib.suppress(ReleaseError):
                self._write_ports()

    def _follow(self, key: _Key, definition: EndpointDefinition, wanted: WantedProcess) -> None:
        running = self._processes.get(key)
        port = running.launch.port if running else self._port(key)
        argv, env = definition.filled(version=wanted.version, port=port, artifact=wanted.artifact)
        launch = Launch(
            version=wanted.version,
            argv=argv,
            env=tuple(sorted(env.items())),
            port=port,
            health_path=definition.health_path,
            start_timeout_s=definition.start_timeout_s,
            grace_s=definition.grace_s,
            turn=wanted.turn,
        )
        if running is None:
            log = self._layout.log_of(key[0], key[1])
            self._processes[key] = SupervisedProcess(launch, log, self._around)
        elif running.follows != launch:
            running.replace(launch)

    def _port(self, key: _Key) -> int:
        """Kept before it is used: a port that the router's document names must be found again after any death."""
        if key not in self._ports:
            taken = {self._addresses.traffic_port, self._addresses.api_port, *self._ports.values()}
            self._ports[key] = free_port(frozenset(taken))
            try:
                self._write_ports()
            except ReleaseError:
                del self._ports[key]
                raise
        return self._ports[key]

    def _report(self) -> None:
        endpoints: dict[str, dict[str, Any]] = {}
        for (key, name), process in self._processes.items():
            endpoints.setdefault(key, {})[name] = process.observed().as_json()
        pid = os.getpid()
        message = "; ".join(said for said in (self._unread, self._unfollowed) if said)
        shape = {
            "format": FORMAT,
            "supervisor": {"pid": pid, "started": start_ticks(pid), "message": message},
            "router": self._router.observed().as_json() if self._router else None,
            "endpoints": endpoints,
        }
        if shape != self._written:
            # A full disk must not stop the supervision: readers see an old report, and the next tick tries again.
            with contextlib.suppress(ReleaseError):
                write_json(self._layout.observed, shape)
                self._written = shape

    async def _stop_all(self) -> None:
        groups = ([self._router] if self._router else [], list(self._processes.values()))
        for group in groups:
            for process in group:
                process.stop()
            while not all(process.gone for process in group):
                if self._signals > 1:
                    for process in self._all():
                        process.kill()
                for process in self._all():
                    process.tick()
                self._report()
                await self._pause(0.05)
        for process in self._all():
            await process.close()
        kill_leftovers(self._layout.directory)
        self._router, self._processes = None, {}
        self._report()


def _new_addresses(taken: frozenset[int]) -> TraefikAddresses:
    traffic = free_port(taken)
    return TraefikAddresses(traffic, free_port(taken | {traffic}))


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to stop. Exit code 0 after an orderly end, 4 where another supervisor has the directory."""
    parser = argparse.ArgumentParser(prog="python -m mlrelease_tui.connectors.local.supervisor")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--traefik", type=Path, help="the Traefik 3 binary; default: beside this Python, then on PATH")
    parser.add_argument(
        "--die-with-parent",
        nargs="?",
        type=int,
        const=0,
        default=None,
        metavar="PID",
        help="stop everything in order when the parent (of this PID) is gone",
    )
    options = parser.parse_args(argv)
    parent = 0 if options.die_with_parent is None else options.die_with_parent or os.getppid()
    layout = Layout(options.directory.resolve())
    os.umask(0o077)
    try:
        layout.make()
        handle = os.open(layout.supervisor_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if not _taken(handle):
            print(f"another supervisor has {layout.directory}", file=sys.stderr)  # noqa: T201
            return 4
        traefik = options.traefik or find_traefik()
        asyncio.run(Supervisor(layout, traefik, os.environ, parent=parent).run())
    except ReleaseError as failure:
        print(failure, file=sys.stderr)  # noqa: T201
        return failure.exit_code
    except OSError as failure:
        print(f"{layout.directory} can't be used: {failure}", file=sys.stderr)  # noqa: T201
        return ConfigError.exit_code
    return 0


def _taken(handle: int, *, wait_s: float = 2.0) -> bool:
    """Take the directory; an earlier supervisor that is just dying gets a moment."""
    deadline = time.monotonic() + wait_s
    while not take_lock(handle):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


if __name__ == "__main__":
    sys.exit(main())
