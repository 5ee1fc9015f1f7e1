"""Target 10: an audit record, durable when the call returns, against the same bytes written and synced raw."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.report import Row, quantile

from mlrelease_tui import __version__
from mlrelease_tui.audit.identity import this_identity
from mlrelease_tui.audit.log import AuditLog
from mlrelease_tui.audit.syscalls import Syscalls

BODY: Final[Mapping[str, object]] = {
    "target": {"endpoint": "prod/ml/scorer", "environment": "production", "cluster": "eu-1"},
    "model": {"name": "registry/scorer", "from": "42", "to": "41"},
    "action": {"verb": "roll back", "step": 1, "summary": "42 25% to 0%, 41 75% to 100%", "intent_id": "0190"},
    "why": "errors rose from 0.2 % to 4.1 % since 42 got 25 %",
    "result": {"kind": "applied", "text": "verified by reading"},
}


class _SizedSyscalls(Syscalls):
    """Notes how long each line is, so that the baseline writes the same bytes."""

    def __init__(self) -> None:
        self.written: list[int] = []

    def write(self, fd: int, data: bytes) -> int:
        self.written.append(len(data))
        return super().write(fd, data)


def append(folder: Path, quick: bool) -> list[Row]:
    """One of each in turn, on the same file system: a slow moment of the disk falls on both."""
    count = 300 if quick else 1_500
    calls = _SizedSyscalls()
    log = AuditLog(
        folder / "audit", identity=this_identity(tool_version=__version__, environ=os.environ), syscalls=calls
    )
    log.prepare()
    raw_ms: list[float] = []
    ours_ms: list[float] = []
    fd = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for number in range(count + 20):
            started = time.perf_counter()
            log.append("step", BODY)
            between = time.perf_counter()
            data = b"x" * calls.written[-1]
            ready = time.perf_counter()
            os.write(fd, data)
            os.fdatasync(fd)
            ended = time.perf_counter()
            if number >= 20:
                ours_ms.append((between - started) * 1000)
                raw_ms.append((ended - ready) * 1000)
    finally:
        os.close(fd)
        log.close()
    raw, ours = statistics.median(raw_ms), statistics.median(ours_ms)
    late = f"p95 {quantile(raw_ms, 0.95):.2f} and {quantile(ours_ms, 0.95):.2f} ms"
    note = f"median of {count}; {calls.written[-1]} bytes each; {late}"
    return [Row(10, "audit append", raw, ours, "ms", "≤ 1.5×", ours <= 1.5 * raw, note)]
