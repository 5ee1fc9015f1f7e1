"""What a node changes on the machine is put back: after its orderly end, and after the end of whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.api import NODES, PODS, Json, holds, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fixtures import Cluster
from tests.cluster.processes import StartError
from tests.cluster.realnode import host, warden
from tests.cluster.realnode.host import Traces
from tests.cluster.realnode.node import NAME, ONLY_HERE, RealNode, image

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.timeout(300)]

STARTER = """
import subprocess, sys, time
with open(sys.argv[1], "ab") as log:
    subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
time.sleep(600)
"""


@pytest.fixture
def node(machine: None, control_plane: ControlPlane, tmp_path: Path) -> Iterator[RealNode]:
    """A node that is not started."""
    found = RealNode(control_plane, tmp_path)
    yield found
    found.close()


def pod(name: str) -> Json:
    container = {"name": "model", "image": image("1"), "imagePullPolicy": "Never"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {**ONLY_HERE, "containers": [container]},
    }


def runs_a_pod(cluster: Cluster, namespace: str, name: str) -> None:
    cluster.api.create(PODS, namespace, pod(name))
    cluster.api.wait(PODS, namespace, name, lambda item: holds(item, "Ready"), within_s=60.0)


def test_a_node_changes_the_machine_and_leaves_it_as_it_was(node: RealNode, cluster: Cluster, namespace: str) -> None:
    before = Traces.now()
    with node:
        runs_a_pod(cluster, namespace, "one")
        meanwhile = Traces.now()
        assert {"kernel/panic = 10", "kernel/panic_on_oops = 1", "vm/overcommit_memory = 1"} <= meanwhile.settings
        assert any("kubepods" in group for group in meanwhile.groups - before.groups)
        assert {"kubelet", "containerd", "modelserver", "pause"} <= {
            name.split()[1] for name in meanwhile.processes - before.processes
        }
        # What it mounts and keeps, nobody outside sees.
        assert (meanwhile.mounts, meanwhile.paths) == (before.mounts, before.paths)
        forwarding = {line for line in meanwhile.settings if line.startswith("net/ipv4/ip_forward =")}
        assert forwarding <= before.settings
    host.untouched(before)
    assert cluster.api.find(PODS, namespace, "one") is None
    assert cluster.api.find(NODES, "", NAME) is None
    assert "nothing is left" in node.log.read_text()


def test_a_killed_test_process_leaves_nothing(node: RealNode, cluster: Cluster, namespace: str) -> None:
    before = Traces.now()
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(node.log), *node.command()])
    try:
        node.wait_ready()
        runs_a_pod(cluster, namespace, "one")
    finally:
        starter.kill()
        starter.wait()
        host.untouched(before, within_s=60.0)
        node.forget()
    assert "nothing is left" in node.log.read_text()


def test_after_a_killed_warden_nothing_runs_and_the_next_start_puts_the_rest_back(
    node: RealNode, cluster: Cluster, namespace: str
) -> None:
    before = Traces.now()
    node.start()
    try:
        runs_a_pod(cluster, namespace, "one")
        os.kill(node.warden, signal.SIGKILL)
        wait_for(
            lambda: Traces.now().processes <= before.processes,
            within_s=60.0,
            otherwise=lambda: str(Traces.now().processes - before.processes),
        )
        assert Traces.now().mounts == before.mounts
        with pytest.raises(StartError):
            node.close()
    finally:
        with node:
            runs_a_pod(cluster, namespace, "two")
    host.untouched(before)


# -- which machine it is skipped on: these run on any ------------------------------------------------------------------


def test_without_root_the_reason_is_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root" in host.unfit()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.skip.Exception, match="root"):
        host.require()


def test_without_control_groups_the_reason_names_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(host, "GROUPS", tmp_path)
    assert "control groups of version 1 to write to, there is none for cpu, cpuset, memory" in host.unfit()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.skip.Exception, match="control groups"):
        host.require()


def test_what_is_not_installed_skips_on_a_laptop_and_fails_in_ci(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host, "unfit", lambda: "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="not installed: ip, mount, prometheus, runc, unshare"):
        host.require()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="not installed: ip"):
        host.require()


def test_a_setting_a_mount_a_link_a_group_that_stays_is_found() -> None:
    nothing = Traces(*(frozenset[str]() for _ in range(6)))
    left = Traces(*(frozenset({f"thing {part}"}) for part in range(6)))
    assert len(left.against(nothing)) == len(nothing.against(left)) == 6
    assert left.against(left) == []
    assert set(warden.SETTINGS) <= {line.partition(" = ")[0] for line in Traces.now().settings}
