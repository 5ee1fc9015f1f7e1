"""Who writes: the user behind this process, the host, and the process itself.

Facts come from the kernel where it has them: `loginuid` and `sessionid` of proc(5) survive `sudo su`; a process is named by
(pid, starttime, boot_id), because a pid alone is reused. `ssh_client` is what the environment claims.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mlrelease_tui.audit.redact import Json, clean_text

_UNSET_ID: Final = 0xFFFFFFFF
_MACHINE_ID_FILES: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))

Life = Literal["alive", "dead", "unknown"]


@dataclass(frozen=True, slots=True)
class Process:
    """One run of a program. `starttime` is in clock ticks since boot, as proc(5) counts; `pid_ns` names its PID namespace."""

    pid: int
    starttime: str
    boot_id: str
    pid_ns: str = ""


@dataclass(frozen=True, slots=True)
class Actor:
    """`login_uid` and `audit_session` are None where no login is behind the process (a service, a container)."""

    uid: int
    name: str
    login_uid: int | None = None
    audit_session: int | None = None
    ssh_client: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """`chain` names the log that this identity writes: one per host and user."""

    chain: str
    actor: Actor
    host: str
    tool_version: str
    process: Process

    def sections(self) -> dict[str, dict[str, Json]]:
        """The `actor`, `where` and `process` of every record; what isn't known is absent."""
        actor, process = self.actor, self.process
        who: dict[str, Json] = {"uid": actor.uid, "name": clean_text(actor.name)}
        if actor.login_uid is not None:
            who["login_uid"] = actor.login_uid
        if actor.audit_session is not None:
            who["audit_session"] = actor.audit_session
        if actor.ssh_client:
            who["ssh_client"] = clean_text(actor.ssh_client)
        run: dict[str, Json] = {"pid": process.pid, "starttime": process.starttime, "boot_id": process.boot_id}
        if process.pid_ns:
            run["pid_ns"] = process.pid_ns
        where: dict[str, Json] = {"host": clean_text(self.host), "tool_version": self.tool_version}
        return {"actor": who, "where": where, "process": run}


def chain_id(machine_id: str, uid: int) -> str:
    """32 hex digits for one user on one host.

    The machine id goes in hashed, since machine-id(5) asks not to show it to others.
    """
    seed = f"mlrelease-tui audit chain 1\0{machine_id}\0{uid}"
    return hashlib.sha256(seed.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def this_process(proc: Path = Path("/proc")) -> Process:
    pid = os.getpid()
    return Process(
        pid=pid,
        starttime=_starttime(pid, proc)[0],
        boot_id=_text(proc / "sys/kernel/random/boot_id"),
        pid_ns=_pid_namespace(proc),
    )


def this_identity(
    *,
    tool_version: str,
    environ: Mapping[str, str],
    proc: Path = Path("/proc"),
    machine_id_files: tuple[Path, ...] = _MACHINE_ID_FILES,
) -> Identity:
    """The identity of the process that asks. Never fails: what can't be known is left empty."""
    uid = os.geteuid()
    host = os.uname().nodename
    machine = next((text for path in machine_id_files if (text := _text(path)) not in {"", "uninitialized"}), host)
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = ""
    connection = environ.get("SSH_CONNECTION", "").split()
    return Identity(
        chain=chain_id(machine, uid),
        actor=Actor(
            uid=uid,
            name=name,
            login_uid=_kernel_id(proc / "self/loginuid"),
            audit_session=_kernel_id(proc / "self/sessionid"),
            ssh_client=connection[0][:64] if connection else "",
        ),
        host=host,
        tool_version=tool_version,
        process=this_process(proc),
    )


def life(process: Process, *, proc: Path = Path("/proc")) -> Life:
    """Whether that process still runs. `unknown` where this process could not see it: another PID namespace of this boot."""
    here = _text(proc / "sys/kernel/random/boot_id")
    if not here or not process.boot_id:
        return "unknown"
    if process.boot_id != here:
        return "dead"
    if process.pid_ns and process.pid_ns != _pid_namespace(proc):
        return "unknown"
    starttime, state = _starttime(process.pid, proc)
    return "alive" if starttime == process.starttime and state not in {"Z", "X"} else "dead"


def _starttime(pid: int, proc: Path) -> tuple[str, str]:
    """Field 22 (starttime) and field 3 (state) of /proc/PID/stat; empty where there is no such process."""
    stat = _text(proc / str(pid) / "stat")
    fields = stat.rpartition(")")[2].split()  # the command name before it may hold spaces and parentheses
    return (fields[19], fields[0]) if len(fields) > 19 else ("", "")


def _pid_namespace(proc: Path) -> str:
    try:
        link = str((proc / "self/ns/pid").readlink())
    except OSError:
        return ""
    return link.partition("[")[2].rstrip("]")


def _kernel_id(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() and int(text) != _UNSET_ID else None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
