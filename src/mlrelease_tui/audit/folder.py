"""The folder of one chain: files that only we can write, a lock between our own sessions, and room kept for an outcome.

    <root>/<chain>/000001.jsonl …   the segments           <root>/<chain>/lock      held while a record is written
    <root>/<chain>/torn-<sha256>    torn tails moved aside  <root>/<chain>/reserve   bytes given up when the disk is full

Every name is opened relative to the folder's descriptor and never through a symbolic link. Modes don't depend on the umask:
0700 for folders, 0600 for files, repaired where they are ours and wider.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
from pathlib import Path
from typing import Final

from mlrelease_tui.audit.syscalls import Syscalls
from mlrelease_tui.errors import NotDurable

SEGMENT_NAME: Final = re.compile(r"([0-9]{6})\.jsonl")
CHAIN_NAME: Final = re.compile(r"[0-9a-f]{32}")
LOCK_NAME: Final = "lock"
RESERVE_NAME: Final = "reserve"
TORN_PREFIX: Final = "torn-"
PENDING_SUFFIX: Final = ".pending"

_SAFE_OPEN: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FIRST_WAIT_S: Final = 0.0005
_LONGEST_WAIT_S: Final = 0.02


class SyncFailed(Exception):
    """A sync was refused by the kernel: what was written may be lost, and asking again may say otherwise and be wrong."""

    def __init__(self, name: str, cause: OSError) -> None:
        super().__init__(f"{name}: {cause.strerror or cause}")


def segment_name(number: int) -> str:
    return f"{number:06}.jsonl"


class ChainFolder:
    """Open descriptors of one chain's folder. Construct with `open`."""

    def __init__(self, path: Path, fd: int, lock_fd: int, syscalls: Syscalls) -> None:
        self.path = path
        self._fd = fd
        self._lock_fd = lock_fd
        self._syscalls = syscalls

    @classmethod
    def open(cls, root: Path, chain: str, syscalls: Syscalls, *, allow_network: bool) -> ChainFolder:
        """Make what is missing, check what is there. NotDurable where it can't be trusted, OSError where the system refuses."""
        missing = [root]
        while not (parent := missing[-1].parent).exists() and parent != missing[-1]:
            missing.append(parent)
        for folder in reversed(missing):
            _make_folder(folder, syscalls)
        root_fd = _open_folder(root, None, root)
        try:
            _make_folder(root / chain, syscalls, within=root_fd)
            fd = _open_folder(root / chain, root_fd, chain)
        finally:
            os.close(root_fd)
        try:
            network = syscalls.network_file_system(fd)
            if network and not allow_network:
                raise NotDurable(
                    f"the audit folder {root} is on {network}, whose locks and syncs can't be relied on",
                    hint="set `audit_dir` in the configuration to a folder on a local disk",
                )
            lock_fd = _open_file(root / chain, fd, LOCK_NAME, os.O_RDWR | os.O_CREAT)
        except BaseException:
            os.close(fd)
            raise
        return cls(root / chain, fd, lock_fd, syscalls)

    def close(self) -> None:
        os.close(self._lock_fd)
        os.close(self._fd)

    def lock(self, timeout_s: float) -> None:
        """Take the lock between processes; NotDurable, naming who holds it, after `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        wait = _FIRST_WAIT_S
        while True:
            try:
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not self._lock_was_removed():
                    return
                # Whoever comes next would make another file and lock that one: lock what has the name now.
                self._open_lock_anew()
            except BlockingIOError:
                pass
            left = deadline - time.monotonic()
            if left <= 0:
                holder = self._holder()
                who = f"process {holder}" if holder else "another process"
                raise NotDurable(
                    f"the audit log {self.path} is locked by {who} for more than {timeout_s:g} s",
                    hint=f"see whether it hangs or is stopped: ps -p {holder}" if holder else "find it: lslocks",
                )
            time.sleep(min(wait, left))
            wait = min(wait * 2, _LONGEST_WAIT_S)

    def _lock_was_removed(self) -> bool:
        try:
            found = os.stat(LOCK_NAME, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return True
        return not os.path.samestat(found, os.fstat(self._lock_fd))

    def _open_lock_anew(self) -> None:
        fd = _open_file(self.path, self._fd, LOCK_NAME, os.O_RDWR | os.O_CREAT)
        os.close(self._lock_fd)
        self._lock_fd = fd

    def moved(self) -> bool:
        """Whether the folder is by now somewhere else than where a reader, or the next start, looks for it."""
        try:
            found = self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        return not os.path.samestat(found, os.fstat(self._fd))

    def unlock(self) -> None:
        fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def _holder(self) -> int:
        """The pid that /proc/locks names for our lock file; 0 where it names none that we can see."""
        own = os.fstat(self._lock_fd)
        exact = f"{os.major(own.st_dev):02x}:{os.minor(own.st_dev):02x}:{own.st_ino}"
        guess = 0
        try:
            lines = Path("/proc/locks").read_text("ascii", "replace").splitlines()
        except OSError:
            return 0
        for line in lines:
            fields = line.split()
            if len(fields) < 6 or fields[1] != "FLOCK" or not fields[4].isdigit():
                continue
            if fields[5] == exact:
                return int(fields[4])
            if fields[5].rpartition(":")[2] == str(own.st_ino):  # btrfs shows another device than stat does
                guess = int(fields[4])
        return guess

    def segments(self) -> list[int]:
        """Numbers of the segments there are, ascending."""
        return sorted(int(match[1]) for name in self._names() if (match := SEGMENT_NAME.fullmatch(name)))

    def pending_torn(self) -> list[str]:
        """Torn tails that were moved aside and that no record names yet."""
        return sorted(name for name in self._names() if name.startswith(TORN_PREFIX) and name.endswith(PENDING_SUFFIX))

    def _names(self) -> list[str]:
        return os.listdir(self._fd)  # noqa: PTH208 - by descriptor, so that a swapped folder can't answer

    def open_segment(self, number: int, *, create: bool = False) -> int:
        name = segment_name(number)
        flags = os.O_RDWR | os.O_APPEND
        if not create:
            return _open_file(self.path, self._fd, name, flags)
        fd = _open_file(self.path, self._fd, name, flags | os.O_CREAT | os.O_EXCL)
        try:
            self.sync()
        except BaseException:
            os.close(fd)
            raise
        return fd

    def stat_segment(self, number: int) -> os.stat_result:
        return os.stat(segment_name(number), dir_fd=self._fd, follow_symlinks=False)

    def write_torn(self, name: str, data: bytes) -> None:
        """Keep `data` durably under `name`; writing it again after a crash gives the same file."""
        fd = _open_file(self.path, self._fd, name, os.O_RDWR | os.O_CREAT)
        try:
            self._syscalls.ftruncate(fd, 0)
            view = memoryview(data)
            while view:
                view = view[self._syscalls.write(fd, bytes(view)) :]
            self._synced(fd, name)
        finally:
            os.close(fd)
        self.sync()

    def read_torn(self, name: str) -> bytes:
        fd = _open_file(self.path, self._fd, name, os.O_RDONLY)
        with os.fdopen(fd, "rb") as file:
            return file.read()

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        self.sync()

    def sync(self) -> None:
        self._synced(self._fd, str(self.path))

    def _synced(self, fd: int, name: str) -> None:
        try:
            self._syscalls.fsync(fd)
        except OSError as error:
            raise SyncFailed(name, error) from error

    def reserved(self) -> int:
        """Bytes of disk that are set aside."""
        try:
            found = os.stat(RESERVE_NAME, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return 0
        return min(found.st_size, found.st_blocks * 512) if stat.S_ISREG(found.st_mode) else 0

    def keep_reserve(self, length: int) -> None:
        """See that `length` bytes of disk are set aside; OSError (ENOSPC, EDQUOT) where they can't be: then what was, stays."""
        before = self.reserved()
        if before >= length:
            return
        fd = _open_file(self.path, self._fd, RESERVE_NAME, os.O_RDWR | os.O_CREAT)
        try:
            self._syscalls.fallocate(fd, length)
        except OSError as error:
            if error.errno in {errno.EOPNOTSUPP, errno.EINVAL}:
                return  # a file system without allocation promises nothing about space either way
            self._syscalls.ftruncate(fd, before)
            raise
        finally:
            os.close(fd)

    def release_reserve(self) -> None:
        """Give the set-aside bytes back to the file system, now."""
        fd = _open_file(self.path, self._fd, RESERVE_NAME, os.O_RDWR | os.O_CREAT)
        try:
            self._syscalls.ftruncate(fd, 0)
            # Journaling file systems hand freed blocks out again only after the commit.
            self._synced(fd, RESERVE_NAME)
        finally:
            os.close(fd)


def _make_folder(path: Path, syscalls: Syscalls, *, within: int | None = None) -> None:
    try:
        os.mkdir(path.name if within is not None else path, 0o700, dir_fd=within)
    except FileExistsError:
        return
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if within is None else within
    try:
        syscalls.fsync(fd)
    except OSError as error:
        raise SyncFailed(str(path.parent), error) from error
    finally:
        if within is None:
            os.close(fd)


def _open_folder(path: Path, within: int | None, name: str | Path) -> int:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _SAFE_OPEN, dir_fd=within)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise _untrusted(path, "is a symbolic link or not a folder") from error
        raise
    try:
        _own(path, fd, 0o700)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_file(folder: Path, within: int, name: str, flags: int) -> int:
    path = folder / name
    try:
        fd = os.open(name, flags | _SAFE_OPEN, 0o600, dir_fd=within)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO, errno.EISDIR}:
            raise _untrusted(path, "is not a regular file") from error
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _untrusted(path, "is not a regular file")
        if found.st_nlink != 1:
            raise _untrusted(path, f"has {found.st_nlink} names" if found.st_nlink else "was just removed")
        _own(path, fd, 0o600)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _own(path: Path, fd: int, mode: int) -> None:
    found = os.fstat(fd)
    if found.st_uid != os.geteuid():
        raise _untrusted(path, f"belongs to user {found.st_uid}, not to {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) != mode:
        os.fchmod(fd, mode)


def _untrusted(path: Path, why: str) -> NotDurable:
    return NotDurable(
        f"the audit can't use {path}: it {why}",
        hint="move it away, or point the state folder elsewhere",
    )
