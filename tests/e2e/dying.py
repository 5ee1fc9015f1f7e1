"""Operators who die at a given step of the protocol: a script that forks one for each job, and the test's hold on that script.

Forking spares each of them the imports. A job is one line of JSON with `at`, where to die: "before perform 1", "after sent 0",
"in line of intent 0" …; the answer is how that operator ended: "killed", what the action came to, or "failed" with the status.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mlrelease_tui.actions.journal import Journal

ROOT = Path(__file__).parents[2]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Fate:
    """Counts the steps of the protocol and dies at one of them."""

    def __init__(self, at: str) -> None:
        self._at = at
        self._counts: dict[str, int] = {}

    def before(self, what: str) -> str:
        number = self._counts.get(what, 0)
        self._counts[what] = number + 1
        step = f"{what} {number}"
        if self._at == f"before {step}":
            die()
        return step

    def after(self, step: str) -> None:
        if self._at == f"after {step}":
            die()

    def inside(self, step: str) -> bool:
        """Whether to die in the middle of it; a step says itself where that is."""
        return self._at == f"in {step}"


class Doomed(Journal):
    """A journal whose operator may die before or after each record."""

    def __init__(self, *args: Any, fate: Fate) -> None:
        super().__init__(*args)
        self._fate = fate

    def intent(self, *args: Any, **kwargs: Any) -> None:
        step = self._fate.before("intent")
        super().intent(*args, **kwargs)
        self._fate.after(step)

    def sent(self, *args: Any) -> None:
        step = self._fate.before("sent")
        super().sent(*args)
        self._fate.after(step)

    def step(self, *args: Any) -> None:
        step = self._fate.before("step")
        super().step(*args)
        self._fate.after(step)

    def outcome(self, *args: Any, **kwargs: Any) -> None:
        step = self._fate.before("outcome")
        super().outcome(*args, **kwargs)
        self._fate.after(step)


def fork_each(operate: Callable[[Mapping[str, Any]], Coroutine[Any, Any, str]]) -> None:
    """The script: an operator for each job on standard input, one after another, and an answer for each."""
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                print(asyncio.run(operate(job)), flush=True)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            print("killed", flush=True)
        elif status:
            print(f"failed: {status}", flush=True)


class Operators:
    """The script `module` as it runs: `die` gives it a job and says how that operator ended."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def die(self, job: Mapping[str, Any]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(job), file=self._process.stdin, flush=True)
        return self._process.stdout.readline().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()
