"""Two processes, two hundred actions on one Deployment that can't both be: one winner each, losers told what and by whom."""

from __future__ import annotations

import json
import os
import pwd
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.api import DEPLOYMENTS, Json
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import deployment
from tests.cluster.rivals import REPOSITORY, Pair, Rival, alone, contest, together

pytestmark = [pytest.mark.kubernetes, pytest.mark.real]

TURNS = 100


def _operator(folder: Path, cluster: Cluster, namespace: str) -> Rival:
    """A process with a configuration, an audit and a state of its own, as on another host."""
    folder.mkdir()
    config = folder / "config.toml"
    config.write_text(
        f'[connections.lab]\nkind = "kubernetes"\nkubeconfig = "{cluster.kubeconfig}"\nnamespaces = ["{namespace}"]\n'
        'environment = "staging"\n',
        encoding="utf-8",
    )
    homes = {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("CONFIG", "STATE", "DATA", "CACHE")}
    keep = {key: os.environ[key] for key in ("PATH", "USER", "LOGNAME") if key in os.environ}
    paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")])
    endpoint = f"lab/{namespace}/fraud"
    environ = {**keep, **homes, "HOME": str(folder), "PYTHONPATH": paths}
    # Both are this machine's user to each other.
    signs = pwd.getpwuid(os.getuid()).pw_name
    return Rival(folder.name, "tests.e2e.operator_child", str(config), endpoint, environ=environ, signs=signs)


@pytest.fixture
def operators(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Pair]:
    for version in ("1", "2"):
        image, marks = f"registry.example/fraud:{version}", {"mlrelease.dev/model": "fraud"}
        cluster.kubectl.apply(deployment("fraud", image, replicas=1, annotations=marks), namespace=namespace)
        cluster.api.wait(DEPLOYMENTS, namespace, "fraud", _rolled_out)
    with together(*(_operator(tmp_path / name, cluster, namespace) for name in ("ann", "bob"))) as pair:
        yield pair


def _rolled_out(item: Json) -> bool:
    status = item.get("status", {})
    return bool(
        status.get("observedGeneration") == item["metadata"]["generation"]
        and status.get("updatedReplicas") == status.get("replicas") == status.get("availableReplicas") == 1
    )


@pytest.mark.timeout(400)
def test_of_200_conflicting_actions_by_two_processes_one_wins_each_and_losers_are_told_what_and_who(
    cluster: Cluster, namespace: str, operators: Pair
) -> None:
    stopped_by_its_own_test = 0
    for turn in range(TURNS):
        held = turn % 2 == 1
        # Both want to hold it, both to let it go on; now and then one wants to return to another version instead.
        other = ["rollback"] if turn % 10 == 8 else ["continue"] if held else ["hold"]
        wishes = (["continue"] if held else ["hold"], other)
        before = cluster.api.get(DEPLOYMENTS, namespace, "fraud")
        winner, won, lost = contest(operators, wishes)
        assert re.search(r"paused|held|revision|template|stable|image", lost["reason"]), f"told what: {lost}"
        after = cluster.api.get(DEPLOYMENTS, namespace, "fraud")
        stamp = json.loads(after["metadata"]["annotations"]["mlrelease.dev/stamp"])
        assert stamp["intent"] == won["intent_id"], "the object bears the winner's mark"
        assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1, "one write, by the winner"
        if wishes[[rival.name for rival in operators].index(winner)] == ["rollback"]:
            # So that the next turn finds it held.
            alone(operators[0], "hold")
        stopped_by_its_own_test += "refused" not in lost
    assert stopped_by_its_own_test, "some were sent at the same moment, and the server let one through"
