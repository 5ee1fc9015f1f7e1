"""JSON documents that several processes share: read whole, replaced by rename, changed under a lock."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, TypeVar, get_type_hints

from mlrelease_tui.errors import Conflict, OutcomeUnknown, Rejected, UnexpectedAnswer
from mlrelease_tui.routing.plain_file import MAX_BYTES, content_of

_LOCK_POLL_S = 0.02

T = TypeVar("T")


class Busy(Conflict):
    """Another writer kept the lock; nothing was changed."""


def canonical(value: object) -> str:
    """JSON with sorted keys and nothing superfluous: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def last_good(path: Path) -> Path:
    """Where `write_json` keeps a copy of a document that must not get lost."""
    return path.with_name(f"{path.name}.last-good")


def way_back(path: Path) -> str:
    """What a person does about a damaged document."""
    copy = last_good(path)
    if fingerprint(copy) == NOWHERE:
        return "mend or remove it"
    good, scratch, document = (shlex.quote(str(item)) for item in (copy, f"{path}.new", path))
    return f"put the last good copy back: cp -p {good} {scratch} && mv {scratch} {document}"


def read_json(path: Path) -> dict[str, Any] | None:
    """The document, None where there never was one. UnexpectedAnswer where it is damaged, gone or can't be read."""
    try:
        content = content_of(path)
    except FileNotFoundError:
        if fingerprint(last_good(path)) != NOWHERE:
            # Read as empty, it would stop everything that runs.
            raise UnexpectedAnswer(f"{path} was removed by another hand", hint=way_back(path)) from None
        return None
    except OSError as failure:
        raise UnexpectedAnswer(
            f"{path} can't be read: {failure.strerror or failure}", hint="it must be a file that we may read"
        ) from failure
    try:
        if len(content) > MAX_BYTES:
            raise ValueError("too large")
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UnexpectedAnswer(f"{path} is damaged: it is not the JSON object that was written", hint=way_back(path))
    return value


def record(kind: type[T], shape: Mapping[str, Any]) -> T:
    """A dataclass of plain fields from a document that a hand may have edited: each value is of the very type of its field.

    TypeError, ValueError or AttributeError where one is not.
    """
    made = kind(**shape)
    for name, wanted in get_type_hints(kind).items():
        value = getattr(made, name)
        if type(value) is not wanted:
            raise TypeError(f"{name} is {json.dumps(value, default=repr)[:80]}")
    return made


def write_json(path: Path, value: object, *, keep: bool = False) -> None:
    """Replace the document by rename, on the disk before this returns; with `keep` a copy is kept as the last good one.

    Rejected where nothing changed; OutcomeUnknown where it was replaced, but the disk did not confirm it.
    """
    _replace(path, value)
    if keep:
        with contextlib.suppress(Rejected):
            _replace(last_good(path), value)
    _sync_directory(path)


def _replace(path: Path, value: object) -> None:
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{token_hex(4)}.tmp")
    try:
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
    except OSError as failure:
        raise Rejected(
            f"{path} could not be written: {failure.strerror or failure}", hint="nothing was changed"
        ) from failure


def _sync_directory(path: Path) -> None:
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as failure:
        raise OutcomeUnknown(
            f"{path} was replaced, but the disk did not confirm it: {failure.strerror or failure}",
            hint="it is in force until the host loses power; read it again",
        ) from failure


@contextlib.contextmanager
def locked(path: Path, deadline_s: float) -> Iterator[None]:
    """Keep every other writer of the document at `path` out. `Busy` after `deadline_s` seconds.

    The lock is `flock` on a file beside the document: the kernel frees it when its holder dies.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as failure:
        raise Rejected(
            f"{lock} can't be opened: {failure.strerror or failure}",
            hint="nothing was changed; the directory must exist and be ours to write",
        ) from failure
    try:
        deadline = time.monotonic() + deadline_s
        while not take_lock(handle):
            if time.monotonic() >= deadline:
                raise Busy(
                    f"another writer has held {lock} for {deadline_s:g} s",
                    hint="nothing was changed; try again, or look who holds it: `fuser` names the process",
                )
            time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(handle)


def take_lock(handle: int) -> bool:
    """Take the exclusive lock of an open file without waiting; False where somebody else has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


NOWHERE: Final = (0, 0, 0)
"""The fingerprint of a file that is not there."""


def fingerprint(path: Path) -> tuple[int, int, int]:
    """Inode, time of change and size: differs after every rename. `NOWHERE` where there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return NOWHERE
    return (found.st_ino, found.st_mtime_ns, found.st_size)
