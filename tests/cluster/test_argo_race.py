"""Two operators in two processes want different things of one Rollout at the same moment: one wins, the other is told by whom."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.cluster.api import ROLLOUTS, Json
from tests.cluster.argo_bench import Bench, healthy, paused_at
from tests.cluster.fixtures import Cluster

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

NAME: Final = "fraud"
ROUNDS: Final = 100
"""Two wishes each: 200 actions."""
REPOSITORY: Final = Path(__file__).parents[2]


class Operator:
    """One child, asked and answering in lines."""

    def __init__(self, cluster: Cluster, namespace: str, root: Path, name: str) -> None:
        self.name = name
        words = [
            sys.executable,
            "-m",
            "tests.cluster.argo_operator",
            str(cluster.kubeconfig),
            namespace,
            str(root),
            name,
        ]
        self._child = subprocess.Popen(words, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, job: dict[str, Any]) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(job) + "\n")
        self._child.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line, f"{self.name} ended with code {self._child.wait()}"
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(20)


@pytest.fixture
def operators(rollouts: Cluster, namespace: str, tmp_path: Path) -> Iterator[tuple[Operator, Operator]]:
    pair = tuple(Operator(rollouts, namespace, tmp_path / name, name) for name in ("ana", "bo"))
    try:
        yield pair[0], pair[1]
    finally:
        for operator in pair:
            operator.end()


def _both(operators: tuple[Operator, Operator], jobs: tuple[dict[str, Any], dict[str, Any]]) -> list[dict[str, Any]]:
    for operator, job in zip(operators, jobs, strict=True):
        operator.say(job)
    return [operator.hear() for operator in operators]


def _judged(answers: list[dict[str, Any]], operators: tuple[Operator, Operator]) -> str:
    """Who won. AssertionError where both did, or none, or the loser was not told by whom."""
    won = [answer.get("outcome") == "applied" for answer in answers]
    assert won.count(True) == 1, answers
    winner, loser = operators[won.index(True)].name, answers[won.index(False)]
    assert loser.get("overtaken") or loser.get("refused") == "conflict", loser
    assert winner in loser["reason"], loser
    return winner


def test_of_200_conflicting_actions_by_two_processes_one_wins_each_time_and_the_other_is_told_by_whom(
    rollouts: Cluster, namespace: str, operators: tuple[Operator, Operator]
) -> None:
    bench = Bench(rollouts, namespace)
    bench.at_rest(NAME, replicas=2)
    wins: Counter[str] = Counter()
    for turn in range(ROUNDS):
        wanted = {"ana": 2 if turn % 2 else 1, "bo": 4 if turn % 2 else 3}
        wishes = ({"prepare": ["scale", NAME, wanted["ana"]]}, {"prepare": ["scale", NAME, wanted["bo"]]})
        assert all("plan" in answer for answer in _both(operators, wishes)), turn
        winner = _judged(_both(operators, ({"submit": "less load"}, {"submit": "more load"})), operators)
        assert bench.get(NAME)["spec"]["replicas"] == wanted[winner]
        wins[winner] += 1
    assert sum(wins.values()) == ROUNDS
    bench.api.wait(ROLLOUTS, namespace, NAME, healthy)


def test_of_two_who_promote_one_pause_one_passes_it(
    rollouts: Cluster, namespace: str, operators: tuple[Operator, Operator]
) -> None:
    bench = Bench(rollouts, namespace)
    steps: list[Json] = []
    for weight in range(1, 13):
        steps += [{"setWeight": weight}, {"pause": {}}]
    bench.at_pause(NAME, replicas=2, steps=steps)
    for turn in range(10):
        bench.wait(NAME, paused_at(2 * turn + 1))
        wish = {"prepare": ["promote", NAME]}
        assert all("plan" in answer for answer in _both(operators, (wish, wish)))
        _judged(_both(operators, ({"submit": "looks good"}, {"submit": "looks fine"})), operators)
    bench.wait(NAME, paused_at(21))
