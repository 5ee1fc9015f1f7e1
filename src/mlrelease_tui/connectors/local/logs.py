"""The end of what a process printed, read from its file backwards: what lies before it costs nothing."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from typing import Final

from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.domain.logs import LINE_BYTES, LogTail, LogWish, line_of
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import Forbidden, UnexpectedAnswer

CHUNK_BYTES: Final = 65_536


def log_tail(layout: Layout, key: str, wish: LogWish) -> LogTail:
    """The end of the output of one process of the endpoint `key`. A file that is not there is a tail with a note.

    Forbidden where it may not be read, UnexpectedAnswer where it is no plain file (a pipe would never end).
    """
    name = raw(wish.variant)
    path = layout.previous_log_of(key, name) if wish.previous else layout.log_of(key, name)
    source = SafeText(path)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        none = "no run before this one has left its output" if wish.previous else "nothing was printed yet"
        return LogTail(source, note=SafeText(f"{none}: there is no such file"))
    except PermissionError as error:
        raise Forbidden(f"the log {path} may not be read", hint="it belongs to who runs the supervisor") from error
    except OSError as error:
        raise UnexpectedAnswer(f"the log {path} can't be read: {error.strerror}", hint="look at that file") from error
    try:
        return _read(handle, source, wish)
    finally:
        os.close(handle)


def _read(handle: int, source: SafeText, wish: LogWish) -> LogTail:
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        raise UnexpectedAnswer(f"the log {source} is no plain file", hint="look at what stands there")
    data, start = _end_of(handle, found.st_size, wish)
    notes: list[str] = []
    if os.fstat(handle).st_size < found.st_size:
        notes.append("the file was cut while it was read; read it again")
    if not data:
        notes = notes or ["it is empty: nothing was printed yet"]
    *whole, last = data.split(b"\n")
    lines = [*whole, last] if last else whole
    if start > 0 and len(lines) > 1:
        # Where reading began there was most likely no line's start.
        lines = lines[1:]
    elif start > 0 and lines:
        notes.append(f"one line of more than {len(lines[0])} bytes; this is its end")
        lines = [lines[0][-LINE_BYTES:]]
    kept = lines[-wish.lines :]
    return LogTail(
        source,
        tuple(line_of(item) for item in kept),
        earlier=start > 0 or len(kept) < len(lines),
        note=SafeText("; ".join(notes)),
        written_at=datetime.fromtimestamp(found.st_mtime, UTC) if data else None,
    )


def _end_of(handle: int, size: int, wish: LogWish) -> tuple[bytes, int]:
    """The last bytes: as many as hold the wanted lines, at most `wish.bytes`; and where in the file they begin."""
    chunks: list[bytes] = []
    start, ends = size, 0
    while start > 0 and size - start < wish.bytes and ends <= wish.lines:
        step = min(CHUNK_BYTES, start, wish.bytes - (size - start))
        chunk = os.pread(handle, step, start - step)
        if len(chunk) < step:
            # Cut meanwhile: what follows the gap is not its neighbour.
            chunks.clear()
        chunks.append(chunk)
        ends += chunk.count(b"\n")
        start -= step
    return b"".join(reversed(chunks)), start
