"""A process that has the heavy libraries imported already and forks whoever needs them.

Importing MLflow and scikit-learn costs some 4 s of processor time and 250 MB, and the demo needs both in one training run and
in five or more model servers: on two cores that would be half a minute and 1.3 GB before the first request. The zygote pays
once; a forked model server starts in well under a second and shares those pages by copy-on-write.

A forked process is a child of the zygote, not of whoever asked for it, while a supervisor wants a child: a pid that ends when
the server ends and takes signals. So `python -m mlrelease_tui.demo.model_server --zygote SOCKET …` stays as a thin stand-in of
7 MB (`standin.delegate`): it hands over its output, passes SIGTERM and SIGINT on, leaves with the server's exit code, and when
it is killed the server is killed. When the zygote ends, however it ends, every process that it forked ends.

When it forks, the zygote has no second thread: forking a process with threads can copy a held lock.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
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
from mlrelease_tui.demo.standin import short_path
from mlrelease_tui.errors import TimedOut, Unreachable

FORKABLE = frozenset({"mlrelease_tui.demo.model_server", "mlrelease_tui.demo.train"})
"""Modules whose `run(argv) -> int` the zygote calls; it runs nothing else."""

PRELOADED = ("mlflow.pyfunc", "mlflow.sklearn", "mlflow.data", "sklearn.ensemble", "sklearn.pipeline", "uvicorn")

_GRACE_S = 6.0
_MAX_REQUEST = 65_536


@dataclass(frozen=True, slots=True)
class ZygoteReport:
    """A zygote that takes requests: seconds from launch, and resident bytes once everything is imported."""

    socket: Path
    pid: int
    started_in_s: float
    rss_bytes: int


class Zygote:
    """The parent's side: one zygote process with its socket and log in `folder`."""

    def __init__(
        self, folder: Path, *, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = folder
        self.socket = folder / "zygote.sock"
        self.log = folder / "zygote.log"
        self._environ = environ
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._launched_at = 0.0

    @property
    def pid(self) -> int:
        """The process, or 0 before `launch`."""
        return self._process.pid if self._process else 0

    def launch(self) -> None:
        """Start the process and return at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        self._launched_at = self._clock()
        self._process = start_child(
            "mlrelease_tui.demo.zygote",
            ["--socket", str(self.socket)],
            environment=child_environment(self._environ, self.folder),
            folder=self.folder,
            log=self.log,
        )

    def wait_ready(self, progress: Progress = quiet, *, deadline_s: float = 60.0) -> ZygoteReport:
        """Block until everything is imported; raises `Unreachable` if the process ended, `TimedOut` after `deadline_s`."""
        process = self._process
        if process is None:
            raise Unreachable("the model server's zygote was not launched", hint="call launch() first")
        progress("loading MLflow and scikit-learn once for all model servers")
        ready = wait_until(
            lambda: process.poll() is not None or self.socket.exists(), deadline_s=deadline_s, clock=self._clock
        )
        if process.poll() is not None:
            raise Unreachable(
                f"the model server's zygote ended with exit code {process.returncode}",
                hint=f"see {self.log}:\n{tail(self.log)}",
            )
        if not ready:
            raise TimedOut(f"the model server's zygote was not ready within {deadline_s:.0f} s", hint=f"see {self.log}")
        took = self._clock() - self._launched_at
        rss = psutil.Process(process.pid).memory_info().rss
        progress(f"model libraries loaded ({took:.1f} s, {rss / 1e6:.0f} MB shared)")
        return ZygoteReport(socket=self.socket, pid=process.pid, started_in_s=took, rss_bytes=rss)

    def stop(self, *, grace_s: float = _GRACE_S + 1.0) -> int | None:
        """End the zygote and, through it, every process that it forked; returns its exit code. May be called again."""
        process, self._process = self._process, None
        return stop_child(process, grace_s=grace_s) if process else None


class _Forks:
    """The zygote's loop: one selector over the socket, the stand-ins' connections, the lifeline and ended children."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, socket.socket] = {}
        self._lifeline, self._lifeline_writer = os.pipe()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._stop_at: float | None = None

    def run(self) -> None:
        """Serve until SIGTERM (children are asked to end first) or until standard input ends (they are killed)."""
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._woken)
        self._selector.register(0, selectors.EVENT_READ, self._orphaned)
        while self._stop_at is None or (self._children and time.monotonic() < self._stop_at):
            for key, _ in self._selector.select(None if self._stop_at is None else 0.1):
                key.data()
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._children:
            os.kill(pid, number)

    def _orphaned(self) -> None:
        if not os.read(0, 1):
            self._selector.unregister(0)
            self._signal_all(signal.SIGKILL)
            self._stop_at = time.monotonic()

    def _woken(self) -> None:
        numbers = self._wake_reader.recv(4096)
        if (signal.SIGTERM in numbers or signal.SIGINT in numbers) and self._stop_at is None:
            self._stop_at = time.monotonic() + _GRACE_S
            self._selector.unregister(self._listener)
            self._signal_all(signal.SIGTERM)
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._report(self._children.pop(pid), os.waitstatus_to_exitcode(status))

    def _report(self, connection: socket.socket, code: int) -> None:
        with contextlib.suppress(OSError):
            connection.send(str(code if code >= 0 else 128 - code).encode())
        # Already gone if the stand-in was killed.
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection)
        connection.close()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(2.0)
        descriptors: list[int] = []
        try:
            request, descriptors, _, _ = socket.recv_fds(connection, _MAX_REQUEST, 2)
            message = json.loads(request)
            module, argv = str(message["module"]), [str(item) for item in message["argv"]]
            if module not in FORKABLE or len(descriptors) != 2:
                raise ValueError(f"not forkable: {module}")
        except (OSError, ValueError, KeyError, TypeError):
            traceback.print_exc()
            connection.close()
        else:
            self._fork(connection, module, argv, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _fork(self, connection: socket.socket, module: str, argv: list[str], output: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                self._become_child(connection, output)
                code = int(importlib.import_module(module).run(argv))
            except SystemExit as leaving:
                code = leaving.code if isinstance(leaving.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        connection.setblocking(False)
        self._children[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._hear(pid, connection))

    def _hear(self, pid: int, connection: socket.socket) -> None:
        """A byte is a signal to pass on; the end of the stream is a stand-in that was killed."""
        if pid not in self._children:
            # It ended in this very moment: reported and closed by what was looked at just before.
            return
        try:
            numbers = connection.recv(64)
        except BlockingIOError:
            return
        except OSError:
            numbers = b""
        if not numbers:
            self._selector.unregister(connection)
            os.kill(pid, signal.SIGKILL)
            return
        for number in numbers:
            os.kill(pid, number)

    def _become_child(self, connection: socket.socket, output: list[int]) -> None:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        self._selector.close()
        # Whatever stays open here would keep a stand-in waiting, or a sibling alive after the zygote's death.
        for inherited in (self._listener, self._wake_reader, self._wake_writer, connection, *self._children.values()):
            inherited.close()
        os.close(self._lifeline_writer)
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(output[0], 1)
        os.dup2(output[1], 2)
        lifeline = self._lifeline

        def watch() -> None:
            os.read(lifeline, 1)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=watch, name="lifeline", daemon=True).start()


def warm_up() -> None:
    """Save, load and ask a tiny model, because most of what a prediction needs is imported by the first one.

    Leaves the objects of that behind for the forks to share. Raises `RuntimeError` if the prediction fails.
    """
    import mlflow.sklearn
    import pandas as pd  # type: ignore[import-untyped]

    from mlrelease_tui.demo.catalogue import CATALOGUE
    from mlrelease_tui.demo.scoring import ModelApp
    from mlrelease_tui.demo.train import build

    frame = pd.DataFrame({"age_band": ["20-29", "30-39"] * 12, "value": [float(n) for n in range(24)]})
    for spec in CATALOGUE:
        version = spec.versions[1]
        features = frame[["value"]] if spec.classifies else frame
        estimator = build(version).fit(features, frame["value"] > 9)
        with tempfile.TemporaryDirectory() as folder:
            mlflow.sklearn.save_model(
                estimator,
                folder + "/model",
                signature=mlflow.models.infer_signature(features, [1.0]),
                pip_requirements=["mlflow"],
                serialization_format="cloudpickle",
            )
            app = ModelApp(spec.name, "0", threads=1)
            app.load_from(folder + "/model")
        split = {"columns": list(features.columns), "data": features.head(1).to_numpy().tolist()}
        code, answer = app.score(json.dumps({"dataframe_split": split}).encode())
        if code != 200:
            raise RuntimeError(f"the zygote's own prediction failed: {answer}")


def main(argv: Sequence[str] | None = None) -> None:
    """Import, listen, fork until told to stop. Raises `RuntimeError` if an import left a thread running."""
    parser = argparse.ArgumentParser(prog="python -m mlrelease_tui.demo.zygote")
    parser.add_argument("--socket", type=Path, required=True)
    path: Path = parser.parse_args(argv).socket
    let_go = die_with_parent()
    for module in (*PRELOADED, *sorted(FORKABLE)):
        importlib.import_module(module)
    # MLflow warns of every pickled model; errors still reach the log.
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    warm_up()
    # From here on the loop watches the lifeline itself.
    let_go()
    if threading.active_count() > 1:
        raise RuntimeError(f"the zygote has threads and cannot fork: {threading.enumerate()}")
    gc.collect()
    # Collections in the forks would otherwise write to every shared page that holds an object.
    gc.freeze()
    os.umask(0o077)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with short_path(path) as name:
            # The name appears only when somebody listens there.
            listener.bind(f"{name}.new")
            listener.listen(64)
            Path(f"{name}.new").rename(name)
        try:
            _Forks(listener).run()
        finally:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
