"""The system calls whose failure decides whether a record exists. One seam, so that their failures can be tested."""

from __future__ import annotations

import os
from typing import Final

NETWORK_FILE_SYSTEMS: Final[dict[int, str]] = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x5346414F: "AFS",
    0x73757245: "Coda",
    0x00C36400: "Ceph",
}
"""`f_type` of `statfs(2)` for file systems whose locks and syncs can't be relied on (linux/magic.h)."""


class Syscalls:
    """The real ones. Each raises OSError as `os` does."""

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data)

    def fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def ftruncate(self, fd: int, length: int) -> None:
        os.ftruncate(fd, length)

    def fallocate(self, fd: int, length: int) -> None:
        os.posix_fallocate(fd, 0, length)

    def network_file_system(self, fd: int) -> str:
        """The name of the network file system that `fd` is on, or "" for a local one."""
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        answer = (ctypes.c_ulong * 64)()
        if libc.fstatfs(fd, ctypes.byref(answer)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return NETWORK_FILE_SYSTEMS.get(answer[0] & 0xFFFFFFFF, "")
