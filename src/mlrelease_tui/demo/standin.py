"""The process that stands in for a fork of the zygote: its output, its signals, its exit code. Imports as little as it can."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

_CONNECT_S = 5.0


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yield a name for a socket that fits in `sockaddr_un` (108 bytes) however deep its folder lies.

    Changes the working directory meanwhile: for processes with one thread.
    """
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)
        yield path.name
    finally:
        os.fchdir(before)
        os.close(before)


def delegate(zygote: Path, module: str, argv: Sequence[str]) -> int:
    """Have `module.run(argv)` run in a fork of the zygote at socket `zygote`, and stand in for it until it ends.

    Returns its exit code, 128 + n if signal n killed it (as a shell does), 3 if the zygote cannot be reached or has gone.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_CONNECT_S)
        try:
            with short_path(zygote) as name:
                connection.connect(name)
        except OSError as error:
            print(f"{module}: no zygote answers at {zygote}: {error}", file=sys.stderr)  # noqa: T201
            return 3
        connection.settimeout(None)

        def forward(number: int, _frame: FrameType | None) -> None:
            with contextlib.suppress(OSError):
                connection.send(bytes([number]))

        # Installed before the request leaves: a signal in between must reach the fork or nobody.
        signal.signal(signal.SIGTERM, forward)
        signal.signal(signal.SIGINT, forward)
        request = json.dumps({"module": module, "argv": list(argv)}).encode() + b"\n"
        socket.send_fds(connection, [request], [1, 2])
        answer = b""
        with contextlib.suppress(OSError):
            while chunk := connection.recv(64):
                answer += chunk
    return int(answer) if answer else 3
