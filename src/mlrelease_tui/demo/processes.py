"""What every process of the demo has in common: a clean environment, a lifeline to its parent, an end.

A child's standard input is a pipe whose only writer is the parent. The child never gets a byte through it: the end of file says
that the parent is gone, however it died, and the child then kills its own process group. `PR_SET_PDEATHSIG` would be Linux only,
and it fires when the *thread* that forked ends, which a worker thread of the parent's pool may do at any time.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Progress = Callable[[str], None]
"""Takes one short line for a person who waits."""

_DROPPED_PREFIXES = ("MLFLOW_", "_MLFLOW_", "DATABRICKS_", "PROMETHEUS_")
_DROPPED = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GUNICORN_CMD_ARGS", "PYTHONSTARTUP", "PYTHONWARNINGS"})


def quiet(_line: str) -> None:
    """The progress callback of a caller that wants none."""


def child_environment(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment of a demo process: the operator's own, without what points MLflow or HTTP clients elsewhere.

    Temporary files go to `folder`/tmp, so that nothing is left outside; numeric libraries get one thread each, because the
    demo's servers share two cores and because a process with native threads must not be forked.
    """
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    kept = {
        key: value
        for key, value in environ.items()
        if key.upper() not in _DROPPED and not key.upper().startswith(_DROPPED_PREFIXES)
    }
    return kept | {
        "TMPDIR": str(temporary),
        "NO_PROXY": "*",
        "no_proxy": "*",
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_ASSISTANT_SANDBOX": "false",
        "GIT_PYTHON_REFRESH": "quiet",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def start_child(
    module: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Run `python -m module` in a session of its own, output appended to `log`, standard input the lifeline."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )


def stop_child(process: subprocess.Popen[bytes], *, grace_s: float) -> int:
    """End a child of `start_child` and its whole group: SIGTERM, `grace_s` seconds, SIGKILL. Returns its exit code.

    The group is killed even when its leader ended by itself: a worker that outlived it would keep a port.
    """
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    _signal_group(process.pid, signal.SIGKILL)
    code = process.wait()
    if process.stdin is not None:
        process.stdin.close()
    return code


def _signal_group(group: int, number: signal.Signals) -> None:
    # PermissionError: macOS answers so for a group of which only zombies are left.
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def die_with_parent() -> Callable[[], None]:
    """Kill this process's group as soon as its standard input ends. To be called once, by a child of `start_child`.

    Watches in a thread; the function that it returns ends the watch and the thread.
    """
    let_go, letting_go = os.pipe()

    def watch() -> None:
        while True:
            readable, _, _ = select.select([0, let_go], [], [])
            if let_go in readable:
                return
            if not os.read(0, 1):
                break
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    thread = threading.Thread(target=watch, name="lifeline", daemon=True)
    thread.start()

    def stop() -> None:
        os.write(letting_go, b".")
        thread.join()
        os.close(let_go)
        os.close(letting_go)

    return stop


def tail(log: Path, lines: int = 5) -> str:
    """The last `lines` lines of a log, for an error message; empty if there is none."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])


def wait_until(
    condition: Callable[[], bool],
    *,
    deadline_s: float,
    every_s: float = 0.05,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Ask `condition` until it holds or `deadline_s` seconds have passed; says whether it held."""
    end = clock() + deadline_s
    while not condition():
        if clock() >= end:
            return False
        time.sleep(every_s)
    return True
