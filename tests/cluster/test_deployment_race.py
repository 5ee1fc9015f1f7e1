"""Two processes, two hundred actions on one Deployment that can't both be: one winner each, losers told what and by whom."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.api import DEPLOYMENTS, Json
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import deployment

pytestmark = [pytest.mark.kubernetes, pytest.mark.real]

ROOT = Path(__file__).parents[2]
TURNS = 100


class Operator:
    """A process with a configuration, an audit and a state of its own, as on another host."""

    def __init__(self, folder: Path, cluster: Cluster, namespace: str) -> None:
        folder.mkdir()
        self.config = folder / "config.toml"
        self.config.write_text(
            f'[connections.lab]\nkind = "kubernetes"\nkubeconfig = "{cluster.kubeconfig}"\nnamespaces = ["{namespace}"]\n'
            'environment = "staging"\n',
            encoding="utf-8",
        )
        homes = {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("CONFIG", "STATE", "DATA", "CACHE")}
        keep = {key: os.environ[key] for key in ("PATH", "USER", "LOGNAME") if key in os.environ}
        paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.operator_child", str(self.config), f"lab/{namespace}/fraud"],
            cwd=ROOT,
            env={**keep, **homes, "HOME": str(folder), "PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **job: object) -> None:
        assert self._process.stdin is not None
        print(json.dumps(job), file=self._process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def leave(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


@pytest.fixture
def operators(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[tuple[Operator, Operator]]:
    for version in ("1", "2"):
        image, marks = f"registry.example/fraud:{version}", {"mlrelease.dev/model": "fraud"}
        cluster.kubectl.apply(deployment("fraud", image, replicas=1, annotations=marks), namespace=namespace)
        cluster.api.wait(DEPLOYMENTS, namespace, "fraud", _rolled_out)
    both = Operator(tmp_path / "ann", cluster, namespace), Operator(tmp_path / "bob", cluster, namespace)
    yield both
    for operator in both:
        operator.leave()


def _rolled_out(item: Json) -> bool:
    status = item.get("status", {})
    return bool(
        status.get("observedGeneration") == item["metadata"]["generation"]
        and status.get("updatedReplicas") == status.get("replicas") == status.get("availableReplicas") == 1
    )


@pytest.mark.timeout(400)
def test_of_200_conflicting_actions_by_two_processes_one_wins_each_and_losers_are_told_what_and_who(
    cluster: Cluster, namespace: str, operators: tuple[Operator, Operator]
) -> None:
    stopped_by_its_own_test = 0
    for turn in range(TURNS):
        held = turn % 2 == 1
        # Both want to hold it, both to let it go on; now and then one wants to return to another version instead.
        other = ["rollback"] if turn % 10 == 8 else ["continue"] if held else ["hold"]
        wishes = (["continue"] if held else ["hold"], other)
        before = cluster.api.get(DEPLOYMENTS, namespace, "fraud")
        for operator, wish in zip(operators, wishes, strict=True):
            operator.ask(prepare=wish)
        plans = [operator.answer() for operator in operators]
        assert all("plan" in plan for plan in plans), (turn, plans)
        for operator in operators:
            operator.ask(submit=f"turn {turn}")
        endings = [operator.answer() for operator in operators]
        won = [ending.get("outcome") == "applied" for ending in endings]
        assert sum(won) == 1, (turn, wishes, endings)
        lost = endings[won.index(False)]
        assert lost.get("refused") == "conflict" or lost.get("overtaken"), (turn, lost)
        assert re.search(r"paused|held|revision|template|stable|image", lost["reason"]), f"told what: {lost}"
        assert re.search(r"by \S+", lost["reason"]), f"told who: {lost}"
        after = cluster.api.get(DEPLOYMENTS, namespace, "fraud")
        stamp = json.loads(after["metadata"]["annotations"]["mlrelease.dev/stamp"])
        assert stamp["intent"] == endings[won.index(True)]["intent_id"], "the object bears the winner's mark"
        assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1, "one write, by the winner"
        if wishes[won.index(True)] == ["rollback"]:
            operators[0].ask(prepare=["hold"])
            assert "plan" in operators[0].answer()
            operators[0].ask(submit="so that the next turn finds it held")
            assert operators[0].answer()["outcome"] == "applied"
        stopped_by_its_own_test += "refused" not in lost
    assert stopped_by_its_own_test, "some were sent at the same moment, and the server let one through"
