"""What the tests of the audit share: a fixed identity, a clock that a test moves, and a log in a folder."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlrelease_tui.audit.identity import Actor, Identity, chain_id, this_process
from mlrelease_tui.audit.log import AuditLog
from mlrelease_tui.audit.syscalls import Syscalls

CHAIN = chain_id("0123456789abcdef0123456789abcdef", 1000)


class StepClock:
    """Each look at the wall is a millisecond later than the last."""

    def __init__(self) -> None:
        self.wall = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
        self.monotonic = 1_000_000_000_000

    def now(self) -> datetime:
        self.wall += timedelta(milliseconds=1)
        self.monotonic += 1_000_000
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic

    def synchronized(self) -> bool | None:
        return True


def seeded(seed: int = 1) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def identity(chain: str = CHAIN) -> Identity:
    return Identity(
        chain=chain,
        actor=Actor(uid=1000, name="operator", login_uid=1000, audit_session=7, ssh_client="192.0.2.7"),
        host="bastion",
        tool_version="0.1",
        process=this_process(),
    )


def make_log(
    root: Path,
    *,
    syscalls: Syscalls | None = None,
    clock: StepClock | None = None,
    segment_bytes: int = 16 * 1024 * 1024,
    reserve_bytes: int = 4096,
    lock_timeout_s: float = 5.0,
) -> AuditLog:
    return AuditLog(
        root,
        identity=identity(),
        clock=clock or StepClock(),
        entropy=seeded(),
        syscalls=syscalls,
        segment_bytes=segment_bytes,
        reserve_bytes=reserve_bytes,
        lock_timeout_s=lock_timeout_s,
    )


def body(number: int = 0) -> dict[str, object]:
    return {
        "target": {"endpoint": "local/default/fraud", "environment": "production"},
        "model": {"name": "fraud", "version": str(number)},
        "action": {"verb": "weight", "before": {"canary_bp": 0}, "after": {"canary_bp": number}},
        "why": {"reason": f"step {number}"},
    }


def segment(root: Path, number: int = 1) -> Path:
    return root / CHAIN / f"{number:06}.jsonl"


class Unsynced(Syscalls):
    """For tests that make hundreds of logs and are not about power: nothing waits for the disk."""

    def fdatasync(self, fd: int) -> None:
        pass

    def fsync(self, fd: int) -> None:
        pass


def write_some(root: Path, count: int, *, short: bool = False) -> list[bytes]:
    """A log of `count` records; its lines, without newlines."""
    log = make_log(root, syscalls=Unsynced())
    for number in range(count):
        log.append("session", {"model": {"version": str(number)}} if short else body(number))
    log.close()
    return segment(root).read_bytes().splitlines()
