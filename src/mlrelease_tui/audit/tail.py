"""Where a segment really ends: after its last whole record. What follows was torn by a crash, a full disk or a power loss."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.audit.record import AuditRecord

_WINDOW_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Ending:
    """`end` is the offset after the last whole record, `size` that of the file; `record` is None where there is none."""

    record: AuditRecord | None
    end: int
    size: int

    @property
    def torn_bytes(self) -> int:
        return self.size - self.end


def ending(fd: int, chain: str) -> Ending:
    """Look for the last whole record of `chain` from the end of the file backwards, reading no more than that takes."""
    size = os.fstat(fd).st_size
    window = _WINDOW_BYTES
    while True:
        start = max(0, size - window)
        data = read_at(fd, start, size - start)
        stop = len(data)
        while (newline := data.rfind(b"\n", 0, stop)) >= 0:
            begin = data.rfind(b"\n", 0, newline) + 1
            if begin == 0 and start > 0:
                break  # the line begins before the window
            record = _record(data[begin:newline], chain)
            if record is not None:
                return Ending(record, start + newline + 1, size)
            stop = newline
        if start == 0:
            return Ending(None, 0, size)
        window *= 4


def read_at(fd: int, offset: int, length: int) -> bytes:
    """`length` bytes from `offset`, or fewer where the file ends."""
    parts: list[bytes] = []
    while length > 0 and (part := os.pread(fd, length, offset)):
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return b"".join(parts)


def _record(line: bytes, chain: str) -> AuditRecord | None:
    try:
        record = AuditRecord.parse(line)
    except ValueError:
        return None
    return record if record.chain == chain else None
