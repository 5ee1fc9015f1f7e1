"""`python isolated.py PORT PROGRAM [WORD ...]`: run a program in a network namespace that reaches one port of this machine.

Programs that insist on a port (Knative's controller and autoscaler both want 8080) run side by side like this, and nothing outside
reaches them. Inside, 127.0.0.1:PORT leads to 127.0.0.1:PORT outside; there is nothing else. Linux only; without root it takes a
user namespace too. The parent relays, the child is the program; both end together.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
from typing import Final

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_CHUNK: Final = 65_536
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def main(port: int, command: list[str]) -> int:
    """Run the command. Returns its exit code, 128 + n where signal n ended it."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _run(theirs, port, command)
    theirs.close()
    descriptors = socket.recv_fds(ours, 1, 1)[1]
    ours.close()
    if not descriptors:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return asyncio.run(_relay(socket.socket(fileno=descriptors[0]), port, pid))


def _run(theirs: socket.socket, port: int, command: list[str]) -> None:
    try:
        parent = os.getppid()
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        _enter()
        # A socket belongs to the namespace in which it was made: the parent accepts on it from outside.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        socket.send_fds(theirs, [b"."], [listener.fileno()])
        listener.close()
        theirs.close()
        os.execv(command[0], command)
    except OSError as problem:
        print(f"isolated: {problem}", file=sys.stderr, flush=True)
    finally:
        os._exit(125)


def _enter() -> None:
    user, group = os.getuid(), os.getgid()
    flags = _CLONE_NEWNET if user == 0 else _CLONE_NEWNET | _CLONE_NEWUSER
    if _LIBC.unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, f"no network namespace: {os.strerror(number)}")
    if user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123
                file.write(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16xh22x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[0]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


async def _relay(listener: socket.socket, port: int, pid: int) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # The whole group gets the signal; this process has to outlive the program's orderly end.
        loop.add_signal_handler(number, lambda: None)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            upstream, downstream = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(reader, downstream), pump(upstream, writer))
            downstream.close()
        writer.close()

    server = await asyncio.start_server(connected, sock=listener)
    ended = await loop.run_in_executor(None, os.waitpid, pid, 0)
    server.close()
    code = os.waitstatus_to_exitcode(ended[1])
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    # Connections that are still open would hold asyncio's end back.
    os._exit(main(int(sys.argv[1]), sys.argv[2:]))
