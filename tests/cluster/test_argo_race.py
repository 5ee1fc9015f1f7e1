"""Two operators in two processes want different things of one Rollout at the same moment: one wins, the other is told by whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.cluster.api import ROLLOUTS, Json
from tests.cluster.argo_bench import Bench, healthy, paused_at
from tests.cluster.fixtures import Cluster
from tests.cluster.rivals import Pair, contest, seated, together

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

NAME: Final = "fraud"
ROUNDS: Final = 100
"""Two wishes each: 200 actions."""


@pytest.fixture
def operators(rollouts: Cluster, namespace: str, tmp_path: Path) -> Iterator[Pair]:
    with together(*(seated(rollouts.kubeconfig, namespace, tmp_path / name, name) for name in ("ana", "bo"))) as pair:
        yield pair


def test_of_200_conflicting_actions_by_two_processes_one_wins_each_time_and_the_other_is_told_by_whom(
    rollouts: Cluster, namespace: str, operators: Pair
) -> None:
    bench = Bench(rollouts, namespace)
    bench.at_rest(NAME, replicas=2)
    wins: Counter[str] = Counter()
    for turn in range(ROUNDS):
        wanted = {"ana": 2 if turn % 2 else 1, "bo": 4 if turn % 2 else 3}
        winner, _, _ = contest(operators, [["scale", NAME, wanted["ana"]], ["scale", NAME, wanted["bo"]]])
        assert bench.get(NAME)["spec"]["replicas"] == wanted[winner]
        wins[winner] += 1
    assert sum(wins.values()) == ROUNDS
    bench.api.wait(ROLLOUTS, namespace, NAME, healthy)


def test_of_two_who_promote_one_pause_one_passes_it(rollouts: Cluster, namespace: str, operators: Pair) -> None:
    bench = Bench(rollouts, namespace)
    steps: list[Json] = []
    for weight in range(1, 13):
        steps += [{"setWeight": weight}, {"pause": {}}]
    bench.at_pause(NAME, replicas=2, steps=steps)
    for turn in range(10):
        bench.wait(NAME, paused_at(2 * turn + 1))
        contest(operators, [["promote", NAME]] * 2)
    bench.wait(NAME, paused_at(21))
