"""A server that answers as a test says, byte by byte: what no real server can be made to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable

from tests.connectors.listening import Listening


class ScriptedServer(Listening):
    """`answer` takes the head of a request and gives the whole answer, after which the connection is closed.

    `heads` are all that came.
    """

    def __init__(self, answer: Callable[[str], bytes]) -> None:
        super().__init__()
        self.answer = answer
        self.heads: list[str] = []

    def count(self, method: str) -> int:
        return sum(head.startswith(f"{method} ") for head in self.heads)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        length = next((line[15:] for line in head.lower().splitlines() if line.startswith("content-length:")), "0")
        await reader.readexactly(int(length))
        with contextlib.suppress(ConnectionError):
            writer.write(self.answer(head))
            await writer.drain()


def said(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer; `_` in a header's name stands for `-`."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} Said\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{lines}\r\n"
    return head.encode("latin-1") + body


def said_json(content: object, **headers: str) -> bytes:
    return said(200, json.dumps(content).encode(), content_type="application/json", **headers)
