"""Asking a model server, before it gets traffic, whether it is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from enum import StrEnum
from urllib.parse import urlsplit


class Presence(StrEnum):
    READY = "ready"
    NOT_READY = "not ready"
    """It listens, but says no or is too slow to say."""
    ABSENT = "absent"
    """Nothing listens at its address."""


Probe = Callable[[str, str, float], Awaitable[Presence]]
"""URL, health path ("": only connect), seconds allowed → presence."""


async def probe_server(url: str, health_path: str, timeout_s: float) -> Presence:
    """One GET of the health path over plain sockets; for https only the connection is tried."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError):
        return Presence.ABSENT
    try:
        if not health_path or parts.scheme == "https":
            return Presence.READY
        request = f"GET {health_path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        async with asyncio.timeout(timeout_s):
            writer.write(request.encode("ascii"))
            await writer.drain()
            status = (await reader.readline()).split(b" ")
    except (OSError, TimeoutError, ValueError):
        return Presence.NOT_READY
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return Presence.READY if len(status) > 1 and status[1][:1] in (b"2", b"3") else Presence.NOT_READY
