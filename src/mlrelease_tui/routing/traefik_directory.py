"""Where the routes document lives: a watched directory, one writer at a time, never half a file.

Traefik watches the directory, so a rename inside it is one event with a whole document. Writing in place would show it
truncated files; a single-file bind mount would never show it the renamed one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shlex
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from secrets import token_hex
from typing import Protocol, TypeVar

from mlrelease_tui.errors import Rejected, TimedOut
from mlrelease_tui.routing.api import Drifted, Unconfirmed
from mlrelease_tui.routing.plain_file import MAX_BYTES, content_of

# Traefik 3 reads .toml, .yaml and .yml and passes over every other name in the directory.
FILE_NAME = "routes.yml"
LAST_GOOD_NAME = "routes.yml.last-good"
_LOCK_POLL_S = 0.02

_T = TypeVar("_T")


class DocumentStore(Protocol):
    """What the driver needs of the place where its document lives; a Docker volume is another such place."""

    def restore_hint(self) -> str:
        """What a person does to get the last good document back."""
        ...

    def locked(self, deadline_s: float) -> AbstractAsyncContextManager[None]:
        """Keeps every other writer of this document out, in this process and in others."""
        ...

    async def read(self) -> str | None: ...

    async def read_last_good(self) -> str | None: ...

    async def write(self, text: str, last_good: str) -> None:
        """Replaces the document, then the copy that is kept beside it to restore from.

        Raises `Rejected` when nothing changed, `Unconfirmed` when it may have.
        """
        ...


class RoutesDirectory:
    """A directory on this host. The lock is `flock` on the directory itself: the kernel frees it when its holder dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / FILE_NAME
        self.last_good = path / LAST_GOOD_NAME

    def begin(self) -> None:
        """Gives Traefik a document without routes where there is none: its provider wants a file at start-up, and never looks
        again without one. Whole or not at all, for an empty file is one that nobody may write to. Raises `Rejected`."""
        if os.path.lexists(self.file):
            return
        try:
            _replace(self.file, "{}\n")
        except OSError as failure:
            raise _unwritten(self.file, failure) from failure

    def restore_hint(self) -> str:
        # Copied beside it, then renamed: copied over it, Traefik may see the empty file in between, and answers 404 for all.
        copy, scratch, file = (shlex.quote(str(path)) for path in (self.last_good, f"{self.file}.new", self.file))
        return f"look at {self.file}, then put the last good copy back: cp -p {copy} {scratch} && mv {scratch} {file}"

    @contextlib.asynccontextmanager
    async def locked(self, deadline_s: float) -> AsyncIterator[None]:
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as failure:
            raise Rejected(
                f"the routes directory {self.path} cannot be opened: {failure.strerror}",
                hint="nothing was changed; the directory that Traefik watches must exist and be ours to write",
            ) from failure
        try:
            await self._wait_for_lock(handle, deadline_s)
            yield
        finally:
            os.close(handle)

    async def read(self) -> str | None:
        return await asyncio.to_thread(_read, self.file)

    async def read_last_good(self) -> str | None:
        return await asyncio.to_thread(_read, self.last_good)

    async def write(self, text: str, last_good: str) -> None:
        await _to_the_end(lambda: self._write(text, last_good))

    def _write(self, text: str, last_good: str) -> None:
        try:
            _replace(self.file, text)
        except OSError as failure:
            raise _unwritten(self.file, failure) from failure
        try:
            _sync_directory(self.path)
            _replace(self.last_good, last_good)
        except OSError as failure:
            raise Unconfirmed(
                f"{self.file} was replaced, but the disk did not confirm it: {failure.strerror or failure}",
                hint="read the route again; the change is in force until the host loses power",
            ) from failure

    async def _wait_for_lock(self, handle: int, deadline_s: float) -> None:
        deadline = time.monotonic() + deadline_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimedOut(
                        f"another writer{_holder(handle)} has held {self.path} for {deadline_s:g} s",
                        hint="nothing was changed; try again, or look at that process: it may be stopped",
                    ) from None
                await asyncio.sleep(_LOCK_POLL_S)
            else:
                return


async def _to_the_end(work: Callable[[], _T]) -> _T:
    """Runs blocking work in a thread; a cancelled caller still waits for it, so that no lock is freed under a write."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _unwritten(path: Path, failure: OSError) -> Rejected:
    return Rejected(f"{path} could not be written: {failure.strerror or failure}", hint="nothing was changed")


def _read(path: Path) -> str | None:
    try:
        content = content_of(path)
    except FileNotFoundError:
        return None
    except OSError as failure:
        raise Drifted(f"{path} cannot be read: {failure.strerror or failure}") from failure
    if len(content) > MAX_BYTES:
        raise Drifted(f"{path} is larger than {MAX_BYTES} bytes: this program did not write it")
    return content.decode("utf-8", errors="replace")


def _replace(path: Path, text: str) -> None:
    """Writes beside `path` under a name that Traefik passes over, to the disk, then renames over it.

    Who may read it stays as it was; to write it is its owner's alone.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH)
    except FileNotFoundError:
        mode = 0o600
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{token_hex(4)}.tmp")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _holder(handle: int) -> str:
    """ " (process N)" where the kernel says who holds the lock (proc(5), /proc/locks), else ""."""
    try:
        inode = os.fstat(handle).st_ino
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
                return f" (process {int(fields[4])})"
    except (OSError, ValueError):
        pass
    return ""
