"""Programs that the cluster tests run: tied to the test process, ended by pid, their log's end shown when something is wrong."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_TAIL_LINES: Final = 30
_POLL_S: Final = 0.05


class StartError(RuntimeError):
    """A program did not come up; the message holds the end of its log."""


class Program:
    """One running program. Not a daemon: SIGKILL to the test process kills it too (PR_SET_PDEATHSIG, prctl(2)).

    Start programs from the main thread: the death signal comes when the *thread* that started them ends.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        environ: Mapping[str, str] | None = None,
        inherit: Sequence[int] = (),
        within: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.argv = tuple(str(word) for word in argv)
        self._environ = {**_plain_environ(), **(environ or {})}
        self._inherit = tuple(inherit)
        self._within = within
        self._child: subprocess.Popen[bytes] | None = None
        self.started = datetime.min.replace(tzinfo=UTC)
        """When it was started last."""

    def start(self) -> None:
        """Start it, its output appended to its log. StartError where the program can't be executed."""
        if self.running:
            raise StartError(f"{self.name} runs already")
        if threading.current_thread() is not threading.main_thread():
            raise StartError(f"{self.name} was to be started from a thread, and would die with it")
        parent, within = os.getpid(), self._within

        def tie() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            # The parent may have died before the tie held.
            if os.getppid() != parent:
                os._exit(1)
            if within is not None:
                within()

        self.started = datetime.now(UTC)
        with self.log.open("ab") as output:
            try:
                self._child = subprocess.Popen(
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._environ,
                    cwd=self.log.parent,
                    start_new_session=True,
                    pass_fds=self._inherit,
                    preexec_fn=tie,  # noqa: PLW1509 - one thread forks; nothing else ties a child to its parent's death
                )
            except (OSError, subprocess.SubprocessError) as problem:
                raise StartError(f"{self.name} can't be started: {problem}") from problem

    @property
    def pid(self) -> int:
        """The process id. StartError while it does not run."""
        if self._child is None or self._child.poll() is not None:
            raise StartError(f"{self.name} does not run{self._tail()}")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def expect_running(self) -> None:
        """StartError with the end of the log if it has ended."""
        if not self.running:
            code = "" if self._child is None else f" with code {self._child.returncode}"
            raise StartError(f"{self.name} has ended{code}{self._tail()}")

    def wait_ready(self, ready: Callable[[], bool], *, within_s: float) -> None:
        """Wait until `ready()`. StartError with the end of the log if the program ends or the time does."""
        deadline = time.monotonic() + within_s
        while not ready():
            self.expect_running()
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} was not ready within {within_s:.0f} s{self._tail()}")
            time.sleep(_POLL_S)

    def stop(self, *, grace_s: float = 10.0) -> None:
        """SIGTERM, SIGKILL after `grace_s`; returns when it is gone. Nothing happens if it does not run."""
        if self._child is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        try:
            self._child.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self._signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP for the block, SIGCONT after it: its sockets stay open and nobody answers."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines of its log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _tail(self) -> str:
        return f"; its log ends with:\n{self.tail()}"

    def _signal(self, number: signal.Signals) -> None:
        if self.running and self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                # The whole session: a program may have started others.
                os.killpg(self._child.pid, number)


def _plain_environ() -> dict[str, str]:
    # Nothing that redirects a client elsewhere: a proxy or a kubeconfig of the person who runs the tests.
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "TZ")
    return {name: os.environ[name] for name in kept if name in os.environ}


class Ports:
    """Free ports on 127.0.0.1, chosen by the kernel, all different."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self._held: list[socket.socket] = []

    def free(self, count: int) -> list[int]:
        """Ports that are free now: for programs that can't share a port with the socket that holds it."""
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(self._bound(shared=False)) for _ in range(count)]
            return [int(taken.getsockname()[1]) for taken in sockets]

    def hold(self) -> int:
        """A port that stays this process's until `release`: for programs that bind with SO_REUSEPORT, also again after a crash."""
        taken = self._bound(shared=True)
        self._held.append(taken)
        return int(taken.getsockname()[1])

    def release(self) -> None:
        for taken in self._held:
            taken.close()
        self._held.clear()

    def _bound(self, *, shared: bool) -> socket.socket:
        taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if shared:
            # Bound and never listening: it gets no connection, and keeps the kernel from giving the port to another.
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind((self._host, 0))
        return taken
