"""Processes of ours: started so that they cannot outlive us, named beyond doubt, ended with everything they started.

Three ties bind a child to its supervisor: PR_SET_PDEATHSIG (prctl(2)) kills it when the supervisor dies, however that dies; its
standard input is a pipe of which only the supervisor holds the other end; and a mark in its environment, which whatever it starts
inherits, lets the next supervisor find what was left. The supervisor forks from its main thread alone: the death signal comes
when the *thread* that forked ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

MARK: Final = "MLRELEASE_SUPERVISED_BY"
"""The environment variable that holds the supervised directory's path."""
RUN_MARK: Final = "MLRELEASE_SUPERVISED_RUN"
"""The environment variable that tells one start of one process from all others."""

_PR_SET_PDEATHSIG: Final = 1
_LINUX: Final = sys.platform.startswith("linux")
_LIBC = ctypes.CDLL(None, use_errno=True) if _LINUX else None


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot (proc(5), field 22 of stat): with the pid it names one process.

    0 where there is no such process, or only its zombie. Without /proc: whole seconds since 1970.
    """
    if not _LINUX:
        try:
            return int(psutil.Process(pid).create_time())
        except psutil.Error:
            return 0
    fields = _fields(pid)
    return 0 if not fields or fields[0] in (b"Z", b"X") else int(fields[19])


def _fields(pid: int) -> list[bytes]:
    try:
        # The name, in parentheses, may hold anything; the fields after it may not.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def is_running(pid: int, started: int) -> bool:
    """Whether the process that had this pid and start time still runs."""
    return pid > 0 and started > 0 and start_ticks(pid) == started


def is_halted(pid: int) -> bool:
    """Whether somebody stopped a process (SIGSTOP, SIGTSTP, a debugger): it lives and does nothing."""
    if _LINUX:
        return _fields(pid)[:1] in ([b"T"], [b"t"])
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def spawn(
    argv: Sequence[str], *, environ: Mapping[str, str], directory: Path, folder: Path, log: Path, run: str
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, its output appended to `log`; `run` names this start. OSError where it can't be."""
    parent = os.getpid()

    def tie() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # The parent may have died before the tie held.
        if os.getppid() != parent:
            os._exit(1)

    with log.open("ab") as output:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environ, MARK: str(directory), RUN_MARK: run},
            cwd=folder,
            start_new_session=True,
            preexec_fn=tie,  # noqa: PLW1509 - one thread forks; nothing else ties a child to its parent's death
        )


def has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether a child has ended, without reaping it: until it is reaped, its pid and its group are nobody else's."""
    if child.returncode is not None:
        return True
    try:
        return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def reap(child: subprocess.Popen[bytes]) -> int:
    """Kill what is left of an ended child's group, then reap it. Returns its exit code, -n where signal n killed it."""
    if child.returncode is None:
        signal_group(child, signal.SIGKILL)
    code = child.wait()
    if child.stdin is not None:
        child.stdin.close()
    return code


def signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def exit_words(code: int) -> str:
    """ "exit code 3", "killed by SIGKILL"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def leftovers(directory: Path) -> tuple[psutil.Process, ...]:
    """Processes of this user that an earlier supervisor of `directory` started, or that those started."""
    return _marked(MARK, str(directory))


def kill_leftovers(directory: Path, *, wait_s: float = 5.0) -> int:
    """Kill them and wait until they are gone; returns how many there were."""
    found = leftovers(directory)
    _kill(found)
    psutil.wait_procs(list(found), timeout=wait_s)
    return len(found)


def kill_run(run: str, started: int) -> None:
    """Kill whatever one start of a process has left, in whichever session it hid: it would keep the port, or the memory.

    `started` is that process's own, in the clock ticks of `start_ticks`: who began before it need not be looked at.
    """
    _kill(_marked(RUN_MARK, run, since=started))


def _marked(name: str, value: str, *, since: int = 0) -> tuple[psutil.Process, ...]:
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid() or start_ticks(process.pid) < since:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(name) == value:
                found.append(process)
    return tuple(found)


def _kill(found: Iterable[psutil.Process]) -> None:
    for process in found:
        # psutil compares start times first, so that a reused pid is spared.
        with contextlib.suppress(psutil.Error):
            process.kill()


def free_port(avoid: frozenset[int] = frozenset()) -> int:
    """A free port of loopback, chosen by the kernel."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        if port not in avoid:
            return port


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of loopback now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def last_line(log: Path, *, limit: int = 300) -> str:
    """The last line of a log that holds anything; "" where there is none. Text from outside: escape it before it is shown."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 8_192, 0))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:limit] if lines else ""
