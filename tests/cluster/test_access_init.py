"""A kubeconfig with one live and two dead contexts: `init` writes what works, the app opens at once, the dead ones are marked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.api import DEPLOYMENTS
from tests.cluster.control_plane import ADMIN, ControlPlane
from tests.cluster.manifests import deployment
from tests.e2e.demo_host import MLRELEASE
from tests.ui.pty_harness import Terminal


@pytest.fixture
def blackhole() -> Iterator[str]:
    """An address that takes connections and never says a word."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(64)
        yield f"https://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def refusing() -> str:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"https://127.0.0.1:{taken.getsockname()[1]}"


def kubeconfig(control_plane: ControlPlane, folder: Path, namespace: str, *dead: tuple[str, str]) -> Path:
    path = control_plane.write_kubeconfig(
        "live", {"token": control_plane.token(ADMIN)}, namespace=namespace, folder=folder
    )
    content: dict[str, Any] = json.loads(path.read_text())
    for name, server in dead:
        content["clusters"].append({"name": name, "cluster": {"server": server}})
        content["users"].append({"name": name, "user": {"token": "a-token"}})
        content["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
    path.write_text(json.dumps(content))
    return path


def test_one_live_and_two_dead_contexts(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, refusing: str, blackhole: str
) -> None:
    manifest = deployment("fraud", replicas=1, annotations={"mlrelease.dev/model": "registry/fraud"})
    control_plane.kubectl.apply(manifest, namespace=namespace)
    control_plane.api.wait(DEPLOYMENTS, namespace, "fraud", lambda item: item["status"].get("availableReplicas") == 1)
    path = kubeconfig(control_plane, tmp_path, namespace, ("refusing", refusing), ("silent", blackhole))
    config = tmp_path / "config.toml"
    homes = {f"XDG_{kind}_HOME": str(tmp_path / kind.lower()) for kind in ("CONFIG", "STATE", "DATA", "CACHE")}
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "USER", "LOGNAME"}}
    environment = {**kept, **homes, "HOME": str(tmp_path), "LANG": "C.UTF-8", "KUBECONFIG": str(path)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(MLRELEASE), "--config", str(config), *words],
            env=environment, capture_output=True, text=True, check=False, timeout=90,
        )  # fmt: skip

    done = run("init", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    named = {item["name"]: item["kind"] for item in json.loads(done.stdout)["connections"]}
    assert {"live", "refusing", "silent"} <= {name for name, kind in named.items() if kind == "kubernetes"}

    tested = {item["name"]: item for item in json.loads(run("connections", "test", "--json").stdout)["connections"]}
    assert {name: tested[name]["state"] for name in ("live", "refusing", "silent")} == {
        "live": "ok",
        "refusing": "down",
        "silent": "down",
    }

    began = time.monotonic()
    with Terminal([str(MLRELEASE), "--config", str(config)], columns=160, rows=48, environ=environment) as screen:
        screen.wait(lambda seen: "Fleet" in seen.text, "the first paint", 30)
        painted = time.monotonic() - began
        screen.wait(lambda seen: "fraud" in seen.text, "the live cluster's endpoint", 30)
        for name in ("refusing DOWN", "silent DOWN", "live ok"):
            screen.wait(lambda seen, name=name: name in seen.text, name, 40)  # type: ignore[misc]
        screen.send("\x11")
        assert screen.wait_exit() == 0
    # Neither of the dead ones was waited for: a silent one takes ten seconds to be given up.
    assert painted < 5
