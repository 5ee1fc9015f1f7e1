"""One supervised process: started, asked for its health, started again after a pause, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from mlrelease_tui.connectors.local.layout import before
from mlrelease_tui.connectors.local.observed import ObservedProcess, ProcessState
from mlrelease_tui.connectors.local.processes import (
    exit_words,
    has_ended,
    is_free,
    kill_run,
    last_line,
    reap,
    signal_group,
    spawn,
    start_ticks,
)
from mlrelease_tui.routing.probing import Presence, probe_server

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 15.0
LASTING_S = 10.0
"""A process that was healthy for so long has succeeded: earlier failures are forgiven."""
_PROBE_STARTING_S = 0.1
_PROBE_READY_S = 1.0
_PROBE_TIMEOUT_S = 2.0
_LOG_BYTES = 8_388_608
_LOG_KEPT_BYTES = 1_048_576
_LOG_LOOK_S = 1.0
_LOG_CUT = b"(what was printed before this was cut off: the log had grown too long)\n"


@dataclass(frozen=True, slots=True)
class Launch:
    """What is started: a change of any of it replaces the process."""

    version: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    port: int = 0
    health_path: str = "/health"
    start_timeout_s: float = 60.0
    grace_s: float = 10.0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all processes of one supervisor share."""

    directory: Path
    environ: Mapping[str, str]
    wake: Callable[[], None]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class SupervisedProcess:
    """Driven by `tick`, which never waits; health is asked for in tasks of the running loop."""

    def __init__(self, launch: Launch, log: Path, around: Surroundings) -> None:
        self.launch = launch
        self._log = log
        self._around = around
        self._child: subprocess.Popen[bytes] | None = None
        self._started = 0
        self._run = ""
        self._state = ProcessState.STARTING
        self._restarts = 0
        self._failures = 0
        self._last_exit = ""
        self._message = ""
        self._given_up = ""
        self._since = around.now()
        self._next_try = 0.0
        self._launched_at = 0.0
        self._ready_at = 0.0
        self._stop_at: float | None = None
        self._probe: asyncio.Task[None] | None = None
        self._probe_at = 0.0
        self._presence: Presence | None = None
        self._replacement: Launch | None = None
        self._log_look_at = 0.0

    @property
    def follows(self) -> Launch | None:
        """What runs or is about to, None where it was told to stop for good."""
        if self._replacement is not None:
            return self._replacement
        return self.launch if self._stop_at is None else None

    @property
    def gone(self) -> bool:
        """Whether it was told to stop and has."""
        return self._stop_at is not None and self._child is None and self._replacement is None

    @property
    def settled(self) -> bool:
        """Whether nothing is expected to happen soon."""
        return self._state is ProcessState.READY

    def observed(self) -> ObservedProcess:
        return ObservedProcess(
            version=self.launch.version,
            state=self._state,
            pid=self._child.pid if self._child else 0,
            started=self._started if self._child else 0,
            port=self.launch.port,
            turn=self.launch.turn,
            restarts=self._restarts,
            failures=self._failures,
            last_exit=self._last_exit,
            message=self._message,
            since=self._since.isoformat(timespec="milliseconds"),
        )

    def replace(self, launch: Launch) -> None:
        """Stop what runs, then start `launch` instead."""
        self.stop()
        self._replacement = launch

    def stop(self) -> None:
        """Ask it to end. Its group is killed where it does not within its grace."""
        self._replacement = None
        if self._stop_at is not None:
            return
        self._stop_at = time.monotonic() + self.launch.grace_s
        if self._child is not None:
            self._become(ProcessState.STOPPING, "")
            signal_group(self._child, signal.SIGTERM)

    def kill(self) -> None:
        self.stop()
        if self._child is not None:
            signal_group(self._child, signal.SIGKILL)

    def tick(self) -> None:
        child = self._child
        if child is not None and has_ended(child):
            code = reap(child)
            kill_run(self._run, self._started)
            self._ended(code)
        if self._stop_at is not None:
            self._stopping()
        elif self._child is None:
            if time.monotonic() >= self._next_try:
                self._launch()
        else:
            self._look_after()

    async def close(self) -> None:
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await probe

    def _stopping(self) -> None:
        if self._child is not None:
            if self._stop_at is not None and time.monotonic() >= self._stop_at:
                signal_group(self._child, signal.SIGKILL)
        elif self._replacement is not None:
            self.launch, self._replacement, self._stop_at = self._replacement, None, None
            self._failures, self._next_try = 0, 0.0
            self._become(ProcessState.STARTING, "")

    def _launch(self) -> None:
        launch = self.launch
        if launch.port and not is_free(launch.port):
            self._failed(f"port {launch.port} is taken by another process")
            return
        _turn_over(self._log)
        self._presence, self._probe_at, self._given_up = None, 0.0, ""
        if self._probe is not None:
            # What it learns is of the process before.
            self._probe.cancel()
            self._probe = None
        self._launched_at = time.monotonic()
        self._run = token_hex(8)
        try:
            self._child = spawn(
                launch.argv,
                environ={**self._around.environ, **dict(launch.env)},
                directory=self._around.directory,
                folder=self._around.directory,
                log=self._log,
                run=self._run,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as failure:
            self._failed(f"{launch.argv[0]} can't be started: {getattr(failure, 'strerror', '') or failure}")
            return
        self._started = start_ticks(self._child.pid)
        self._since = self._around.now()
        self._become(ProcessState.STARTING, self._message if self._failures else "")

    def _ended(self, code: int) -> None:
        self._child = None
        self._last_exit = exit_words(code)
        if self._stop_at is None:
            line = last_line(self._log)
            what = self._given_up or f"ended by itself, {self._last_exit}"
            self._failed(what + (f": {line}" if line else ""))

    def _failed(self, message: str) -> None:
        if self._ready_at and time.monotonic() - self._ready_at >= LASTING_S:
            self._failures = 0
        self._ready_at = 0.0
        self._failures += 1
        self._restarts += 1
        self._next_try = time.monotonic() + min(FIRST_PAUSE_S * 2 ** min(self._failures - 1, 20), LONGEST_PAUSE_S)
        self._become(ProcessState.CRASHED, message)

    def _look_after(self) -> None:
        now = time.monotonic()
        if self._presence is Presence.READY:
            if self._state is not ProcessState.READY:
                self._ready_at = now
                self._become(ProcessState.READY, "")
            elif self._failures and now - self._ready_at >= LASTING_S:
                self._failures = 0
        elif self._presence is not None and self._state is ProcessState.READY:
            self._become(ProcessState.UNREADY, f"its health check {self.launch.health_path} fails: {self._presence}")
        elif self._state is ProcessState.STARTING and now - self._launched_at > self.launch.start_timeout_s:
            self._given_up = f"was not healthy within {self.launch.start_timeout_s:g} s"
            if self._child is not None:
                signal_group(self._child, signal.SIGKILL)
        if now >= self._log_look_at:
            self._log_look_at = now + _LOG_LOOK_S
            _cut_down(self._log)
        if self._probe is None and now >= self._probe_at:
            self._probe = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        url = f"http://127.0.0.1:{self.launch.port}"
        presence = await probe_server(url, self.launch.health_path, _PROBE_TIMEOUT_S)
        self._probe = None
        self._probe_at = time.monotonic() + (_PROBE_READY_S if presence is Presence.READY else _PROBE_STARTING_S)
        if presence is not self._presence:
            self._presence = presence
            self._around.wake()

    def _become(self, state: ProcessState, message: str) -> None:
        self._state, self._message = state, message
        self._around.wake()


def _turn_over(log: Path) -> None:
    """Keep the output of the run that ended, in place of that before it: of a very long one the end. The next run's begins anew."""
    with contextlib.suppress(OSError):
        size = log.stat().st_size
        if size > _LOG_BYTES:
            with log.open("rb") as file:
                file.seek(size - _LOG_KEPT_BYTES)
                before(log).write_bytes(file.read())
            log.unlink()
        elif size:
            log.replace(before(log))


def _cut_down(log: Path) -> None:
    """Of a log that has grown too long under a running process, keep the end: it would fill the disk. The process appends, so it
    goes on behind that; what it prints in this very moment may be lost."""
    with contextlib.suppress(OSError):
        if log.stat().st_size <= _LOG_BYTES:
            return
        with log.open("rb") as file:
            file.seek(-_LOG_KEPT_BYTES, os.SEEK_END)
            kept = file.read(_LOG_KEPT_BYTES)
        os.truncate(log, 0)
        with log.open("ab") as file:
            file.write(_LOG_CUT + kept[kept.find(b"\n") + 1 :])
