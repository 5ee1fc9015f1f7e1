"""Running a credential command: no shell, no terminal, a deadline, a cap, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

DEADLINE_S: Final = 10.0
MAX_OUTPUT: Final = 64 * 1024
MAX_STDERR: Final = 4 * 1024
REAP_S: Final = 1.0
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """How a command ended. `exit_code` is negative for a signal; `stdout` may hold the secret; `stderr` is its last 4 KiB."""

    exit_code: int
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)
    timed_out: bool = False
    flooded: bool = False


Runner = Callable[[Sequence[str], Mapping[str, str]], CommandOutput]
"""Runs argv with an environment to its end; `OSError` where it cannot be started."""


def find_program(name: str, env: Mapping[str, str]) -> str | None:
    """The absolute path of a program: on the PATH of `env`, of which only absolute folders count, or given absolutely."""
    if name.startswith("~/"):
        name = str(Path(env.get("HOME") or Path.home()) / name[2:])
    if "/" in name:
        return name if Path(name).is_absolute() and os.access(name, os.X_OK) else None
    folders = [folder for folder in env.get("PATH", os.defpath).split(os.pathsep) if Path(folder).is_absolute()]
    return shutil.which(name, path=os.pathsep.join(folders)) if folders else None


def run_command(
    argv: Sequence[str], env: Mapping[str, str], *, deadline_s: float = DEADLINE_S, max_output: int = MAX_OUTPUT
) -> CommandOutput:
    """Run `argv` in its own session with stdin closed; read until it ends, `deadline_s` is over or it wrote too much.

    Whatever way it ends, its whole process group is killed. What it left running keeps no pipe of ours open; what may not be
    killed, since it became another user's (sudo), is left behind.
    """
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env),
        cwd="/",
        start_new_session=True,
    )
    reading = _Reading(process, time.monotonic() + deadline_s, max_output)
    try:
        reading.run()
    finally:
        _kill_group(process)
    exit_code = -signal.SIGKILL if process.returncode is None else process.returncode
    return CommandOutput(exit_code, bytes(reading.stdout), bytes(reading.stderr), reading.timed_out, reading.flooded)


class _Reading:
    """Both pipes of one process, read side by side."""

    def __init__(self, process: subprocess.Popen[bytes], deadline: float, max_output: int) -> None:
        self.process = process
        self.deadline = deadline
        self.max_output = max_output
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.timed_out = False
        self.flooded = False

    def run(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 - Popen was asked for both pipes
        assert self.process.stderr is not None  # noqa: S101
        with selectors.DefaultSelector() as selector, self.process.stdout, self.process.stderr:
            for pipe, kept in ((self.process.stdout, self.stdout), (self.process.stderr, self.stderr)):
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ, kept)
            ended = False
            while not self.flooded:
                if time.monotonic() >= self.deadline:
                    self.timed_out = not ended
                    return
                ready = selector.select(_POLL_S) if selector.get_map() else []
                for key, _ in ready:
                    if not self.take(key.fd, key.data):
                        selector.unregister(key.fileobj)
                if ended and not ready:
                    return
                ended = _has_ended(self.process)
                if not selector.get_map() and not ended:
                    time.sleep(_POLL_S)

    def take(self, handle: int, kept: bytearray) -> bool:
        """Read what is there; False at the end of the pipe."""
        try:
            chunk = os.read(handle, 65536)
        except BlockingIOError:
            return True
        kept += chunk
        if kept is self.stdout:
            self.flooded = len(kept) > self.max_output
        else:
            del kept[:-MAX_STDERR]
        return bool(chunk)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    # WNOWAIT leaves it a zombie, so that its number names its group, and nobody else's, until the group is killed.
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(REAP_S)
