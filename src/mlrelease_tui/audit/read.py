"""Read records back, streamed and tolerant: a line that is no record is passed over, since telling is the verifier's work.

Readers take no lock. A line that is being written has no newline yet, so it isn't seen.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from mlrelease_tui.audit.folder import CHAIN_NAME, SEGMENT_NAME
from mlrelease_tui.audit.record import AuditRecord

LONGEST_LINE: Final = 1024 * 1024
"""Bytes; no line that this tool writes comes near. A longer one is not read into memory whole."""

_BLOCK_BYTES: Final = 64 * 1024


def chains(root: Path) -> tuple[str, ...]:
    """The ids of the chains under `root`, sorted; none where there is no such folder."""
    try:
        return tuple(sorted(entry.name for entry in os.scandir(root) if CHAIN_NAME.fullmatch(entry.name)))
    except FileNotFoundError:
        return ()


def segments(root: Path, chain: str) -> tuple[Path, ...]:
    """The segments of one chain, oldest first."""
    try:
        return tuple(sorted(path for path in (root / chain).iterdir() if SEGMENT_NAME.fullmatch(path.name)))
    except FileNotFoundError:
        return ()


def open_segment(path: Path) -> BinaryIO:
    """Open a segment to read. OSError where it is a symbolic link or no regular file."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{path} is not a regular file")
    return os.fdopen(fd, "rb")


def read(root: Path, *, chain: str | None = None) -> Iterator[AuditRecord]:
    """Records oldest first: of one chain in its order, or of all chains, one after another."""
    for name in chains(root) if chain is None else (chain,):
        for path in segments(root, name):
            yield from _forwards(path)


def records(
    root: Path,
    *,
    chain: str | None = None,
    limit: int | None = 100,
    since: datetime | None = None,
    kind: str | None = None,
    endpoint: str | None = None,
    intent_id: str | None = None,
) -> tuple[AuditRecord, ...]:
    """The newest records that fit every filter given, newest first, at most `limit` (None: all).

    Chains are merged by their wall clocks, which is no proof of order between hosts. `since` is inclusive, aware. `endpoint` is
    `connection/namespace/name`; `intent_id` gives an intent with all that followed it.
    """
    found: list[AuditRecord] = []
    marker = b"" if kind is None else b'"kind":"%b"' % kind.encode("utf-8", "replace")
    streams = [_backwards_chain(root, name, marker) for name in (chains(root) if chain is None else (chain,))]
    for record in heapq.merge(*streams, key=lambda record: record.at, reverse=True):
        if limit is not None and len(found) >= limit:
            break
        if kind is not None and record.kind != kind:
            continue
        if since is not None and record.at < since:
            continue
        if endpoint is not None and record.endpoint != endpoint:
            continue
        if intent_id is not None and record.intent_id != intent_id:
            continue
        found.append(record)
    return tuple(found)


def _forwards(path: Path) -> Iterator[AuditRecord]:
    try:
        file = open_segment(path)
    except OSError:
        return
    with file:
        while line := file.readline(LONGEST_LINE):
            record = _parsed(line[:-1]) if line.endswith(b"\n") else None
            if record is not None:
                yield record


def _backwards_chain(root: Path, chain: str, marker: bytes) -> Iterator[AuditRecord]:
    for path in reversed(segments(root, chain)):
        try:
            file = open_segment(path)
        except OSError:
            continue
        with file:
            for line in _backwards(file):
                # A cheap look at the bytes first: parsing is what costs.
                if marker in line and (record := _parsed(line)) is not None:
                    yield record


def _backwards(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines of `file`, last first, without their newlines."""
    position = file.seek(0, os.SEEK_END)
    rest = b""
    whole = False  # whether `rest` is known to end at a newline
    while position > 0:
        size = min(_BLOCK_BYTES, position)
        position -= size
        file.seek(position)
        lines = (file.read(size) + rest).split(b"\n")
        rest = lines[0]
        for line in reversed(lines[1:]):
            if whole:
                yield line
            whole = True
        if len(rest) > LONGEST_LINE:
            rest = b""
    if whole and rest:
        yield rest


def _parsed(line: bytes) -> AuditRecord | None:
    try:
        return AuditRecord.parse(line)
    except ValueError:
        return None
