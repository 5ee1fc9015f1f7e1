"""Where a segment really ends: after its last whole record. What follows was torn by a crash, a full disk or a power loss.

The next line of a chain goes there, once what was torn is out of the way.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.audit.folder import PENDING_SUFFIX, TORN_PREFIX, ChainFolder
from mlrelease_tui.audit.record import GENESIS, AuditRecord
from mlrelease_tui.audit.syscalls import Syscalls

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


@dataclass(slots=True)
class Tail:
    """Where the next line goes. `inode` tells our segment from one put in its place."""

    number: int
    fd: int
    inode: tuple[int, int]
    offset: int
    seq: int
    sha256: str
    closed: bool


def find_tail(folder: ChainFolder, chain: str, syscalls: Syscalls) -> Tail:
    """Open the newest segment and find the last whole record, which may be in an older one after a crash.

    What is torn behind it is moved aside, and stays pending until a record names it. The caller holds the folder's lock.
    """
    numbers = folder.segments()
    if not numbers:
        return tail_of(1, folder.open_segment(1, create=True), 0, 0, GENESIS)
    newest = numbers[-1]
    fd = folder.open_segment(newest)
    try:
        end = ending(fd, chain)
        last = end.record
        for number in reversed(numbers[:-1]):
            if last is not None:
                break
            older = folder.open_segment(number)
            try:
                last = ending(older, chain).record
            finally:
                os.close(older)
        if end.torn_bytes:
            fragment = read_at(fd, end.end, end.torn_bytes)
            name = f"{TORN_PREFIX}{hashlib.sha256(fragment).hexdigest()}{PENDING_SUFFIX}"
            folder.write_torn(name, fragment)
            syscalls.ftruncate(fd, end.end)
    except BaseException:
        os.close(fd)
        raise
    if last is None:
        return tail_of(newest, fd, end.end, 0, GENESIS)
    closed = end.record is not None and last.kind == "segment_close"
    return tail_of(newest, fd, end.end, last.seq, last.sha256, closed=closed)


def tail_of(number: int, fd: int, offset: int, seq: int, sha256: str, *, closed: bool = False) -> Tail:
    """The tail of an open segment. It owns `fd` from now on."""
    found = os.fstat(fd)
    return Tail(number, fd, (found.st_dev, found.st_ino), offset, seq, sha256, closed)


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
