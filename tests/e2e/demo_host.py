"""A headless demo as an operator starts it, for the tests that need all of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

MLRELEASE = Path(sys.executable).with_name("mlrelease")
READY_S = 90.0


def clean_environment(home: Path) -> dict[str, str]:
    """The environment of a person who has configured nothing: what the tests' own shell knows must not leak in."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "MLRELEASE_", "XDG_"))}
    return kept | {"HOME": str(home), "TMPDIR": str(home)}


def processes_in(folder: Path) -> list[psutil.Process]:
    """Every living process whose command line or working directory names `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            named = str(folder) in " ".join(process.cmdline()) or process.cwd().startswith(str(folder))
            if named and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


class HeadlessDemo:
    """`mlrelease demo --headless --json` with a temporary folder of its own below `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = clean_environment(home)
        self.log = home / "demo.log"
        self.ready: Mapping[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None, "the demo was not launched"
        return self._process

    @property
    def config(self) -> Path:
        return Path(self.ready["config"])

    def launch(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [MLRELEASE, "demo", "--headless", "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
                cwd=self.home,
                text=True,
                start_new_session=True,
            )
        return self

    def wait_ready(self) -> Mapping[str, Any]:
        """The line that says that all is ready; fails with the demo's own words where it ends before."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the demo ended with {self.process.wait(10)}:\n{self.log.read_text()}"
        self.ready = json.loads(line)
        return self.ready

    def stop(self, number: signal.Signals = signal.SIGTERM, within_s: float = 90.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(within_s)

    def run(self, *arguments: str, within_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """One command on this demo, from another process."""
        return subprocess.run(
            [MLRELEASE, "--config", str(self.config), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self.environment,
            cwd=self.home,
            text=True,
            timeout=within_s,
            check=False,
        )

    def users(self) -> dict[str, dict[str, Any]]:
        """What the users of each endpoint saw so far (sent, ok, failed, by_code …)."""
        from mlrelease_tui.demo.traffic import read_counters

        return read_counters(self.config.parent / "traffic.json")

    def __enter__(self) -> Self:
        self.launch()
        self.wait_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()


def nothing_left(home: Path, within_s: float = 45.0) -> list[str]:
    """Command lines of what still runs in `home` after a while; empty when all is gone."""
    deadline = time.monotonic() + within_s
    while True:
        left = []
        for process in processes_in(home):
            try:
                left.append(" ".join(process.cmdline()) or f"pid {process.pid}")
            except psutil.Error:
                continue
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)
