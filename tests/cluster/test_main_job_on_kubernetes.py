"""The main job on Kubernetes, by keys: a Rollout paused at 10 %, rolled back under its real controller, verified, audited."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from tests.cluster.api import ROLLOUTS, Json
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import rollout
from tests.e2e.demo_host import MLRELEASE
from tests.ui.pty_harness import Terminal

pytestmark = [pytest.mark.kubernetes, pytest.mark.real]


def configured(folder: Path, cluster: Cluster, namespace: str) -> tuple[Path, dict[str, str]]:
    """A configuration with this cluster alone, and an environment that keeps everything in `folder`."""
    config = folder / "config.toml"
    config.write_text(
        f'[connections.lab]\nkind = "kubernetes"\nkubeconfig = "{cluster.kubeconfig}"\nnamespaces = ["{namespace}"]\n'
        'environment = "staging"\n',
        encoding="utf-8",
    )
    homes = {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("CONFIG", "STATE", "DATA", "CACHE")}
    environment = {key: value for key, value in os.environ.items() if key in {"PATH", "USER", "LOGNAME"}}
    return config, {**environment, **homes, "HOME": str(folder), "TERM": "xterm-256color", "LANG": "C.UTF-8"}


def paused_canary(cluster: Cluster, namespace: str) -> None:
    """A Rollout of ten pods that waits with one of them on version 2."""
    cluster.kubectl.apply(rollout("fraud", "registry.example/fraud:1"), namespace=namespace)
    cluster.api.wait(ROLLOUTS, namespace, "fraud", lambda item: item.get("status", {}).get("phase") == "Healthy")
    cluster.kubectl.apply(rollout("fraud", "registry.example/fraud:2"), namespace=namespace)
    cluster.api.wait(ROLLOUTS, namespace, "fraud", lambda item: bool(item["status"].get("pauseConditions")))


def images_of(item: Json) -> list[str]:
    return [container["image"] for container in item["spec"]["template"]["spec"]["containers"]]


def test_a_paused_canary_is_rolled_back_by_keys_verified_and_audited(
    rollouts: Cluster, namespace: str, tmp_path: Path
) -> None:
    paused_canary(rollouts, namespace)
    config, environment = configured(tmp_path, rollouts, namespace)
    with Terminal([str(MLRELEASE), "--config", str(config)], environ=environment) as screen:
        screen.wait(lambda s: "fraud" in s.text and "10%" in s.text, "the canary in the fleet", 30)
        screen.send("B")
        screen.wait_for("PLAN roll back fraud", 20)
        screen.wait_for("y = Roll", 20)
        time.sleep(0.7)  # keys of the first half second of a plan are dropped on purpose
        screen.send("i")
        screen.wait_for("Enter")
        screen.send("errors since 2\r")
        screen.wait(lambda s: "errors since 2" in s.text and "y send" in s.text, "the keys to be the plan's again")
        screen.send("W")
        screen.wait_for("ARMED")
        screen.send("y")
        screen.wait_for("APPLIED", 60)
        screen.send("\x11")
        assert screen.wait_exit() == 0

    after = rollouts.api.wait(
        ROLLOUTS, namespace, "fraud", lambda item: item["status"]["stableRS"] == item["status"]["currentPodHash"]
    )
    assert after["status"]["phase"] == "Healthy"
    assert images_of(after) == ["registry.example/fraud:1"]
    stamp = json.loads(after["metadata"]["annotations"]["mlrelease.dev/stamp"])
    assert (stamp["verb"], stamp["why"]) == ("rollback", "errors since 2")

    def audit(*words: str) -> Json:
        done = subprocess.run(
            [str(MLRELEASE), "--config", str(config), "audit", *words, "--json"],
            env=environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        answer: Json = json.loads(done.stdout)
        return answer

    assert audit("verify")["ok"] is True
    (outcome,) = [record for record in audit("list")["records"] if record["kind"] == "outcome"]
    assert outcome["why"] == "errors since 2"
    assert outcome["intent_id"] == stamp["intent"], "the backend is a second witness"
