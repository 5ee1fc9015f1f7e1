"""Two processes, two hundred actions on one Canary that can't both be: one winner each, losers told what and by whom."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.control_plane import ControlPlane
from tests.cluster.controllers import Controller
from tests.cluster.flagger_bench import Bench
from tests.cluster.rivals import Pair, contest, seated, together

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(400)]

NAME = "fraud"
TURNS = 100


@pytest.fixture
def operators(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Pair]:
    names = ("ana", "bo")
    with together(*(seated(control_plane.kubeconfig, namespace, tmp_path / name, name) for name in names)) as pair:
        yield pair


def _wishes(turn: int, *, held: bool, weight: int) -> list[list[Any]]:
    """What the two want: both the same, or one to hold or let go what the other gives another weight."""
    verb: list[Any] = ["continue" if held else "hold", NAME]
    # While it is held a weight may only be lowered: to continue and to raise it are one thing after the other.
    lower = ["weight", NAME, (weight - 1 if held else 40) * 100]
    if turn % 4 < 2 or lower[2] == weight * 100:
        return [verb, verb]
    return [verb, lower] if turn % 8 < 6 else [lower, verb]


def test_of_200_conflicting_actions_by_two_processes_one_wins_each_and_losers_are_told_what_and_who(
    control_plane: ControlPlane, flagger: Controller, namespace: str, operators: Pair
) -> None:
    bench = Bench(control_plane.api, control_plane.kubectl, namespace)
    bench.at_rest(NAME)
    bench.released(NAME)
    stopped_by_its_own_test = 0
    for turn in range(TURNS):
        before, weight = bench.get(NAME), bench.weight(NAME)
        held = bool(before["spec"].get("suspend"))
        wishes = _wishes(turn, held=held, weight=weight)
        winner, _, lost = contest(operators, wishes)
        wish = wishes[[rival.name for rival in operators].index(winner)]
        assert re.search(r"suspend|held", lost["reason"]), f"told what: {lost}"
        after = bench.get(NAME)
        stamp = json.loads(after["metadata"]["annotations"]["mlrelease.dev/stamp"])
        assert (stamp["by"], stamp["verb"]) == (winner, wish[0]), "the Canary bears the winner's mark"
        assert bool(after["spec"].get("suspend")) == (wish[0] != "continue")
        assert bench.weight(NAME) == (wish[2] / 100 if wish[0] == "weight" else weight)
        stopped_by_its_own_test += "refused" not in lost
    assert stopped_by_its_own_test, "some were sent at the same moment, and the server let one through"
