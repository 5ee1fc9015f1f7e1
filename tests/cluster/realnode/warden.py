"""`python warden.py PLAN`: make this machine a node for as long as standard input is open, and leave nothing of it afterwards.

A process of its own, so that a test process which is killed leaves nothing either: its end closes the pipe. containerd, the kubelet
and every container live in a namespace of processes and one of mounts, which the kernel empties with their first process; data and
logs are in memory there. What is the whole machine's (kernel settings, control groups, one bridge) is put back by hand. Only one
node at a time: two kubelets on one root of control groups would end each other's pods. Only the standard library is used.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

SETTINGS: Final = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""What a kubelet sets for the whole machine (`setupKernelTunables` of its container manager), as paths below /proc/sys."""
PLACE: Final = Path("/run/mlrelease-node")
"""Everything of the node, in memory, inside its namespace of mounts alone: there is no such folder outside."""
GROUPS: Final = Path("/sys/fs/cgroup")
PODS_GROUP: Final = "kubepods"
_COVERED: Final = ("/run", "/var/lib", "/var/log")
"""Folders that the kubelet and containerd write to whatever they are told: what they write is in memory, above the real ones."""
_MEMORY: Final = "size=2g,mode=755"
_PR_SET_PDEATHSIG: Final = 1
_END_S: Final = 30.0
_POLL_S: Final = 0.1

Plan = dict[str, Any]


def guard(plan: Plan) -> None:
    """Be the node until standard input ends or the node does, then put everything back."""
    with _alone(Path(plan["lock"])), _settings(Path(plan["record"])), _groups(), _bridge(plan):
        child = subprocess.Popen(
            ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc",
             sys.executable, "-S", "-E", __file__, plan["file"], "--inside"],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_tie,  # noqa: PLW1509 - one thread forks; nothing else ties a child to its parent's death
        )  # fmt: skip
        try:
            while child.poll() is None and not _closed():
                pass
            if child.poll() is not None:
                print(f"warden: the node ended with code {child.returncode}", flush=True)
        finally:
            # The first process of a namespace takes all others with it.
            child.kill()
            child.wait()


def _tie() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _closed() -> bool:
    readable, _, _ = select.select([0], [], [], _POLL_S)
    return bool(readable) and not os.read(0, 4096)


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _settings(record: Path) -> Iterator[None]:
    """The machine's kernel settings as they were. A record that is there already is of one that could not put them back."""
    root = Path("/proc/sys")
    if record.exists():
        before = json.loads(record.read_text())
    else:
        before = {name: (root / name).read_text() for name in SETTINGS if (root / name).exists()}
        record.write_text(json.dumps(before))
    try:
        yield
    finally:
        for name, value in before.items():
            if (root / name).read_text() != value:
                (root / name).write_text(value)
        record.unlink()


@contextlib.contextmanager
def _groups() -> Iterator[None]:
    try:
        yield
    finally:
        deadline = time.monotonic() + _END_S
        while left := _emptied():
            if time.monotonic() > deadline:
                print(f"warden: control groups are still there: {left}", flush=True)
                break
            time.sleep(_POLL_S)


def _emptied() -> list[str]:
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / PODS_GROUP, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
    return [str(hierarchy) for hierarchy in hierarchies() if (hierarchy / PODS_GROUP).exists()]


def hierarchies() -> list[Path]:
    """Where control groups are mounted; an alias (cpu, cpu,cpuacct) is one."""
    return (
        sorted(path for path in GROUPS.iterdir() if path.is_dir() and not path.is_symlink()) if GROUPS.is_dir() else []
    )


@contextlib.contextmanager
def _bridge(plan: Plan) -> Iterator[None]:
    name, address = plan["bridge"], plan["address"]
    _unbridge(name)
    _ip("link", "add", name, "type", "bridge")
    try:
        _ip("address", "add", address, "dev", name)
        _ip("link", "set", name, "up")
        yield
    finally:
        _unbridge(name)


def _unbridge(name: str) -> None:
    # A pod's end of its cable goes with its namespace, a moment after its last process.
    for line in _ip("-o", "link", "show", "master", name, check=False).splitlines():
        _ip("link", "delete", line.split(": ")[1].partition("@")[0], check=False)
    _ip("link", "delete", name, check=False)


def _ip(*words: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


# -- inside the namespaces ---------------------------------------------------------------------------------------------


def inside(plan: Plan) -> int:
    """The namespaces' first process: starts containerd, brings the images in, starts the kubelet, reaps what is left to it."""
    _cover(Path(plan["folder"]))
    for name, text in plan["files"].items():
        target = PLACE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    environ = {"PATH": plan["path"], "HOME": str(PLACE)}
    runtime = _start(plan["containerd"], Path(plan["folder"]) / "containerd.log", environ)
    _images(plan, environ)
    kubelet = _start(plan["kubelet"], Path(plan["folder"]) / "kubelet.log", environ)
    names = {runtime.pid: "containerd", kubelet.pid: "the kubelet"}
    while True:
        pid, status = os.wait()
        if pid in names:
            print(f"warden: {names[pid]} ended with code {os.waitstatus_to_exitcode(status)}", flush=True)
            return 1


def _cover(folder: Path) -> None:
    layers = folder / "layers"
    _mount("-t", "tmpfs", "-o", _MEMORY, "tmpfs", str(layers))
    for target in _COVERED:
        upper, work = (layers / kind / target.strip("/").replace("/", "-") for kind in ("upper", "work"))
        for made in (upper, work):
            made.mkdir(parents=True)
        _mount("-t", "overlay", "-o", f"lowerdir={target},upperdir={upper},workdir={work}", "overlay", target)
    PLACE.mkdir()
    _mount("-t", "tmpfs", "-o", _MEMORY, "tmpfs", str(PLACE))
    # Mounts of pods are seen by the container runtime, and by nobody outside: the tree above is private.
    _mount("--make-rshared", "/")


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def _start(command: Sequence[str], log: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environ)


def _images(plan: Plan, environ: dict[str, str]) -> None:
    ctr = [*plan["ctr"], "-n", "k8s.io"]
    deadline = time.monotonic() + _END_S
    while subprocess.run([*ctr, "version"], env=environ, capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            raise RuntimeError(f"containerd does not answer after {_END_S:.0f} s")
        time.sleep(_POLL_S)
    for image in plan["images"]:
        done = subprocess.run(
            [*ctr, "images", "import", "--local", image], env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{image} can't be brought in: {done.stderr.strip()}")


def main(file: str, *words: str) -> int:
    plan: Plan = json.loads(Path(file).read_text())
    if "--inside" in words:
        return inside(plan)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Its end is the pipe's: whoever ends a whole group of processes ends the writer too.
        signal.signal(number, signal.SIG_IGN)
    guard(plan)
    print("warden: nothing is left", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
