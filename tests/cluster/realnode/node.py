"""This machine as a node of the tests' control plane: kubelet, containerd and a bridge, as root, gone without a trace afterwards.

What is deliberately not here: kube-proxy (the router and the tests reach pods by their own addresses, and the machine's packet
filter stays untouched), a way out of the pods, DNS. The kubelet's port is open on the bridge alone, to certificates of the tests'
authority.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from tests.cluster import build
from tests.cluster.api import NODES, PODS, Json, condition, holds, wait_for
from tests.cluster.catalogue import CONTAINERD, NODE, PARTS
from tests.cluster.control_plane import CONTROLLERS, ControlPlane
from tests.cluster.processes import StartError
from tests.cluster.realnode import warden
from tests.cluster.realnode.host import PLUGINS
from tests.cluster.realnode.images import archive

NAME: Final = "real-node"
ONLY_HERE: Final[Json] = {
    "nodeSelector": {"mlrelease.test/real": "true"},
    "tolerations": [{"key": "mlrelease.test/real", "operator": "Exists"}],
    "automountServiceAccountToken": False,
    "dnsPolicy": "Default",
}
"""What of a pod's spec brings it here; no other pod comes."""
VERSIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "1": {},
    "2": {},
    "3": {},
    "crashing": {"FAULT": "crash"},
    "greedy": {"FAULT": "memory"},
    "erring": {"FAULT": "errors"},
}
"""The model's versions, and what is wrong with each: an image each."""
_PAUSE: Final = "docker.io/local/pause:1"
_BRIDGE: Final = "mlrelease-pods"
# Of the networks for benchmarks (RFC 2544): routed nowhere, and hardly ever used on a machine.
_HOST: Final = "198.18.88.1"
_NETWORK: Final = "198.18.88.0/24"
_FIRST, _LAST = "198.18.88.10", "198.18.88.250"
_START_S: Final = 90.0
_END_S: Final = 60.0
_TAIL_LINES: Final = 25


def image(version: str) -> str:
    """The image that serves a version of the model."""
    return f"docker.io/local/fraud:{version}"


class RealNode:
    """One node, as a context manager: Ready on entry, nothing of it on exit. StartError with the ends of the logs."""

    def __init__(self, control_plane: ControlPlane, folder: Path) -> None:
        self._plane = control_plane
        self._folder = folder
        self._warden: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RealNode:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start it; returns when it is Ready."""
        command = self.command()
        with self.log.open("ab") as log:
            self._warden = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self.wait_ready()
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> Path:
        """What the warden says."""
        return self._folder / "warden.log"

    @property
    def warden(self) -> int:
        """The process id of the warden. StartError while none was started here."""
        if self._warden is None:
            raise StartError("the node was not started")
        return self._warden.pid

    def command(self) -> list[str]:
        """The warden's command: the node lives as long as the command's standard input is open."""
        return [sys.executable, "-S", "-E", warden.__file__, str(self._plan())]

    def wait_ready(self) -> None:
        """Wait until the API server says that it is Ready."""

        def ready() -> bool:
            if self._warden is not None and self._warden.poll() is not None:
                raise StartError(f"the node has ended{self.tails()}")
            node = self._plane.api.find(NODES, "", NAME)
            return node is not None and holds(node, "Ready")

        try:
            wait_for(ready, within_s=_START_S)
        except AssertionError as problem:
            node = self._plane.api.find(NODES, "", NAME) or {}
            raise StartError(f"not ready: {condition(node, 'Ready')}{self.tails()}") from problem

    def close(self) -> None:
        """End its pods and it; returns when the machine is as it was. StartError where the warden says otherwise."""
        if self._warden is None:
            return
        self._warden.communicate(timeout=_END_S)
        code, self._warden = self._warden.returncode, None
        self.forget()
        if code:
            raise StartError(f"the warden ended with code {code}{self.tails()}")

    def forget(self) -> None:
        """Take the node and its pods from the API server: nobody is there any more to say that they have ended."""
        for pod in self._plane.api.items(PODS):
            if pod["spec"].get("nodeName") == NAME:
                path = PODS.path(pod["metadata"]["namespace"], pod["metadata"]["name"])
                self._plane.api.client.request("DELETE", path, json={"gracePeriodSeconds": 0})
        self._plane.api.delete(NODES, "", NAME)

    def tails(self) -> str:
        """The ends of the logs."""
        found = []
        for name in ("warden", "containerd", "kubelet"):
            file = self._folder / f"{name}.log"
            if file.exists():
                lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
                found.append(f"\n{name} said last:\n" + "\n".join(lines))
        return "".join(found)

    def _plan(self) -> Path:
        """What the warden is to do, written down."""
        folder, place = self._folder, warden.PLACE
        for made in (folder, folder / "layers"):
            made.mkdir(parents=True, exist_ok=True)
        runtime, parts = build.ensure(CONTAINERD), build.ensure(PARTS)
        serving = self._plane.authority.server(NAME, (NAME, _HOST))
        kubelet_port, health_port = self._plane.free_ports(2)
        socket = place / "containerd.sock"
        served = {image(version): {"MODEL_VERSION": version, **fault} for version, fault in VERSIONS.items()}
        images = (
            archive(parts / "pause", folder / "pause.tar", {_PAUSE: {}}),
            archive(parts / "modelserver", folder / "modelserver.tar", served),
        )
        kubelet = _kubelet(socket, str(self._plane.authority.bundle), serving.certificate, serving.key)
        kubelet |= {"port": kubelet_port, "healthzPort": health_port}
        file = folder / "plan.json"
        plan: dict[str, Any] = {
            "file": str(file),
            "folder": str(folder),
            "lock": str(build.cache_folder() / "real-node.lock"),
            "record": str(build.cache_folder() / "real-node-settings.json"),
            "bridge": _BRIDGE,
            "address": f"{_HOST}/{_NETWORK.rpartition('/')[2]}",
            # The shim is looked for where the daemon is, the plugins of the network call programs of the system.
            "path": f"{runtime}:{os.environ['PATH']}",
            "files": {
                "containerd.toml": _containerd(socket),
                "cni/10-pods.conflist": json.dumps(_network()),
                "kubelet.json": json.dumps(kubelet),
            },
            "containerd": [str(runtime / "containerd"), "--config", str(place / "containerd.toml")],
            "ctr": [str(runtime / "ctr"), "--address", str(socket)],
            "images": [str(path) for path in images],
            "kubelet": [
                str(build.ensure(NODE) / "kubelet"),
                f"--config={place / 'kubelet.json'}",
                f"--kubeconfig={self._plane.kubeconfig_of(CONTROLLERS)}",
                f"--hostname-override={NAME}",
                f"--node-ip={_HOST}",
                "--node-labels=mlrelease.test/real=true",
                f"--root-dir={place / 'kubelet'}",
                f"--cert-dir={place / 'kubelet-pki'}",
            ],
        }
        file.write_text(json.dumps(plan, indent=1))
        return file


def _containerd(socket: Path) -> str:
    place = warden.PLACE
    return f"""\
version = 3
root = "{place}/containerd"
state = "{place}/containerd-state"
[grpc]
address = "{socket}"
[ttrpc]
address = "{socket}.ttrpc"
[plugins.'io.containerd.internal.v1.opt']
path = "{place}/opt"
[plugins.'io.containerd.nri.v1.nri']
disable = true
[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{_PAUSE}"
[plugins.'io.containerd.cri.v1.runtime']
disable_apparmor = true
netns_mounts_under_state_dir = true
# Without CAP_SYS_RESOURCE no score may be lowered.
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{PLUGINS}"]
conf_dir = "{place}/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{shutil.which("runc")}"
SystemdCgroup = false
"""


def _network() -> Json:
    # The bridge is there and has its address: a plugin that is to give it one switches forwarding on for the whole machine.
    addresses = {
        "type": "host-local",
        "dataDir": str(warden.PLACE / "addresses"),
        "ranges": [[{"subnet": _NETWORK, "rangeStart": _FIRST, "rangeEnd": _LAST, "gateway": _HOST}]],
    }
    bridge = {"type": "bridge", "bridge": _BRIDGE, "isGateway": False, "ipMasq": False, "ipam": addresses}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}


def _kubelet(socket: Path, authority: str, certificate: Path, key: Path) -> Json:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": _HOST,
        "healthzBindAddress": _HOST,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": authority},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "tlsCertFile": str(certificate),
        "tlsPrivateKeyFile": str(key),
        "containerRuntimeEndpoint": f"unix://{socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": "/",
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "resolvConf": "",
        "podLogsDir": "/var/log/pods",
        "volumePluginDir": str(warden.PLACE / "volume-plugins"),
        "registerWithTaints": [{"key": "mlrelease.test/real", "value": "true", "effect": "NoSchedule"}],
        # Whatever else the machine's disk holds is none of this node's business.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "5s",
        "nodeLeaseDurationSeconds": 20,
        "serializeImagePulls": False,
        "enableDebuggingHandlers": True,
    }
