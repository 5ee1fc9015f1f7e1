"""What this machine is: whether it can be a node, and what a node would leave behind on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import pytest
from tests.cluster import build
from tests.cluster.api import wait_for
from tests.cluster.catalogue import REAL_NODE
from tests.cluster.fixtures import unavailable
from tests.cluster.realnode.warden import GROUPS, PLACE, PODS_GROUP, hierarchies

from mlrelease_tui.errors import ReleaseError
from mlrelease_tui.routing.traefik_process import find_traefik

PLUGINS: Final = Path("/usr/lib/cni")
"""Where Debian's containernetworking-plugins are."""
_CONTROLLERS: Final = ("cpu", "cpuset", "memory", "pids", "devices", "freezer")
_PROGRAMS: Final = ("ip", "mount", "prometheus", "runc", "unshare")
_PROBE: Final = """
ip link add probe type bridge
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt
"""
"""What a node does to a machine, in namespaces that end with it."""
_OURS: Final = ("kubelet", "containerd", "containerd-shim", "runc", "modelserver", "pause", "ctr")
_GROUP_NAMES: Final = (PODS_GROUP, "kubelet", "containerd", "k8s.io", "cri-")
_PATHS: Final = (
    "/etc/cni", "/opt/cni", "/opt/containerd", "/run/containerd", "/run/netns", "/run/flannel", str(PLACE),
    "/usr/libexec/kubernetes", "/var/lib/cni", "/var/lib/containerd", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods",
)  # fmt: skip
_SETTINGS: Final = ("vm", "kernel", "net/ipv4", "net/ipv6", "net/bridge", "net/netfilter", "fs/inotify")
_EXPIRY: Final = re.compile(r" expires \d+sec")
_RESTLESS: Final = (
    "kernel/random", "kernel/ns_last_pid", "kernel/pty/nr", "kernel/perf_event_max_sample_rate", "kernel/cad_pid",
    "kernel/hung_task_detect_count", "kernel/tainted", "net/netfilter/nf_conntrack_count",
)  # fmt: skip
"""Kernel settings that move by themselves."""


def unfit() -> str:
    """Why this machine can't be a node whatever is installed, "" if it can."""
    if os.geteuid() != 0:
        return "a real node wants root"
    missing = [name for name in _CONTROLLERS if not _grouped(name)]
    if missing:
        return f"a real node wants control groups of version 1 to write to, there is none for {', '.join(missing)}"
    if shutil.which("unshare") and shutil.which("ip"):
        tried = ["unshare", "--mount", "--propagation=private", "--pid", "--net", "--fork", "sh", "-ec", _PROBE]
        done = subprocess.run(tried, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"a real node wants namespaces, a bridge and overlayfs: {done.stderr.strip()}"
    return ""


def occupied() -> bool:
    """Whether pods run here already: two kubelets would end each other's."""
    return any(_populated(hierarchy / PODS_GROUP) for hierarchy in hierarchies())


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """This machine for one test process at a time: what another one's node does to it would be taken for our own's."""
    lock = build.cache_folder() / "real-node-tests.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def lacking() -> str:
    """What is to be installed or built before this machine is a node, "" if nothing is."""
    absent = [name for name in _PROGRAMS if shutil.which(name) is None]
    absent += [] if (PLUGINS / "bridge").exists() else ["containernetworking-plugins"]
    absent += [] if traefik() is not None else ["traefik"]
    if absent:
        return f"not installed: {', '.join(absent)} (tests/provision/cluster.sh, make setup)"
    not_built = [programs.name for programs in REAL_NODE if build.built(programs) is None]
    if not_built:
        return f"not built yet: {', '.join(not_built)}; `make test-kubernetes` builds what is missing"
    return ""


def require() -> None:
    """Skip the test on a machine that can't be a node. What is missing on one that can is a failure where CI is set."""
    if why := unfit():
        pytest.skip(why)
    if why := lacking():
        unavailable(why)


def traefik() -> Path | None:
    """The router's program, which comes with the Python packages."""
    try:
        return find_traefik()
    except ReleaseError:
        return None


def _grouped(controller: str) -> bool:
    return os.access(GROUPS / controller / "cgroup.procs", os.W_OK)


def _populated(folder: Path) -> bool:
    return any(Path(root, "cgroup.procs").read_text().strip() for root, _, _ in os.walk(folder))


@dataclass(frozen=True, slots=True)
class Traces:
    """What of this machine a node may change, at one moment."""

    settings: frozenset[str]
    mounts: frozenset[str]
    network: frozenset[str]
    """Links, addresses, routes, rules of the packet filter."""
    groups: frozenset[str]
    processes: frozenset[str]
    paths: frozenset[str]

    @classmethod
    def now(cls) -> Traces:
        # First: the tools that show the packet filter may load parts of the kernel, which have settings.
        network = frozenset(_network())
        return cls(
            frozenset(_settings()),
            frozenset(" ".join(line.split()[4:]) for line in _lines(Path("/proc/self/mountinfo"))),
            network,
            frozenset(_groups()),
            frozenset(_processes()),
            frozenset(path for path in _PATHS if Path(path).exists()),
        )

    def against(self, before: Traces) -> list[str]:
        """What is other than it was, each with what it is about."""
        found: list[str] = []
        for part in fields(self):
            was, now = getattr(before, part.name), getattr(self, part.name)
            found += [f"{part.name}: new {what}" for what in sorted(now - was)]
            found += [f"{part.name}: gone {what}" for what in sorted(was - now)]
        return found


def untouched(before: Traces, *, within_s: float = 30.0) -> None:
    """Wait until the machine is as it was; what passes by itself passes meanwhile. AssertionError with what is other."""
    wait_for(
        lambda: not Traces.now().against(before),
        within_s=within_s,
        otherwise=lambda: "\n".join(Traces.now().against(before)),
    )


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _groups() -> Iterator[str]:
    """Control groups of the names that a node's programs give. A machine makes others at any time: for a timer, for a login."""
    for hierarchy in hierarchies():
        for root, _, _ in os.walk(hierarchy):
            if any(name in root for name in _GROUP_NAMES):
                yield root


def _settings() -> Iterator[str]:
    root = Path("/proc/sys")
    for tree in _SETTINGS:
        for folder, _, names in os.walk(root / tree):
            for name in names:
                path = Path(folder, name)
                short = str(path.relative_to(root))
                if short.startswith(_RESTLESS):
                    continue
                try:
                    yield f"{short} = {path.read_text().strip()}"
                except (OSError, UnicodeDecodeError):
                    continue


def _network() -> Iterator[str]:
    for words in (
        ("ip", "-br", "address"), ("ip", "route", "show", "table", "all"), ("iptables-save",), ("nft", "list", "ruleset"),
    ):  # fmt: skip
        if shutil.which(words[0]) is None:
            continue
        text = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        # Comments of iptables-save carry the time.
        text = _EXPIRY.sub("", text)
        yield from (f"{words[0]} {line}" for line in text.splitlines() if not line.startswith("#"))
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=False).stdout
    yield from (f"link {line.split(': ')[1]}" for line in links.splitlines())


def _processes() -> Iterator[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "comm").read_text().strip()
        except OSError:
            continue
        if name.startswith(_OURS):
            yield f"{folder.name} {name}"
