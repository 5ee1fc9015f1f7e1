"""Two operators in two processes who want different things of one endpoint at the same moment."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).parents[2]
_LEAVES_S: Final = 20.0


class Rival:
    """One operator in a process of their own, asked and answering in lines of JSON."""

    def __init__(
        self, name: str, module: str, *arguments: str, environ: Mapping[str, str] | None = None, signs: str = ""
    ) -> None:
        self.name = name
        self.signs = signs or name
        """The name that their writes bear."""
        self._child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=REPOSITORY,
            env=dict(environ) if environ is not None else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(self, job: Mapping[str, Any]) -> None:
        assert self._child.stdin is not None
        print(json.dumps(job), file=self._child.stdin, flush=True)

    def hear(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line, f"{self.name} ended with code {self._child.wait()}"
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        self._child.wait(_LEAVES_S)
        self._child.stdout.close()


Pair = tuple[Rival, Rival]


def seated(kubeconfig: Path, namespace: str, root: Path, name: str) -> Rival:
    """An operator at a desk of their own, with an audit below `root`."""
    return Rival(name, "tests.cluster.seated_operator", str(kubeconfig), namespace, str(root), name)


@contextlib.contextmanager
def together(*rivals: Rival) -> Iterator[Pair]:
    """The two for the block; both have left after it."""
    first, second = rivals
    try:
        yield first, second
    finally:
        for rival in rivals:
            rival.end()


def contest(pair: Pair, wishes: Sequence[Sequence[Any]]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Both plan, then both send at the same moment. The name of who won, how that ended, and what the other was told;
    AssertionError where both won, or none, or the loser was not told by whom."""
    plans = _both(pair, [{"prepare": list(wish)} for wish in wishes])
    assert all("plan" in plan for plan in plans), (wishes, plans)
    endings = _both(pair, [{"submit": f"{rival.name} wants it"} for rival in pair])
    won = [ending.get("outcome") == "applied" for ending in endings]
    assert won.count(True) == 1, (wishes, endings)
    winner, lost = pair[won.index(True)], endings[won.index(False)]
    assert lost.get("refused") == "conflict" or lost.get("overtaken"), (wishes, lost)
    assert re.search(rf"by {re.escape(winner.signs)}\b", lost["reason"]), f"told who: {lost}"
    return winner.name, endings[won.index(True)], lost


def alone(rival: Rival, *wish: Any) -> dict[str, Any]:
    """One of them has their way; AssertionError where not."""
    rival.say({"prepare": list(wish)})
    plan = rival.hear()
    assert "plan" in plan, plan
    rival.say({"submit": "nobody is against it"})
    ending = rival.hear()
    assert ending["outcome"] == "applied", ending
    return ending


def _both(pair: Pair, jobs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    for rival, job in zip(pair, jobs, strict=True):
        rival.say(job)
    return [rival.hear() for rival in pair]
