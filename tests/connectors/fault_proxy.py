"""A small HTTP proxy that stands before a real server and breaks what a test tells it to break.

It speaks HTTP/1.1 with one request per connection, rewrites `Host` to the real server's (servers that guard against DNS
rebinding want their own), records every request it was sent, and runs in the test's own event loop::

    async with FaultProxy("127.0.0.1", port) as proxy:
        proxy.on(Reset(after_apply=True), method="POST", path="/alias", times=1)
        ...
        assert proxy.count("POST", "/alias") == 1
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.connectors.listening import Listening

_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent: `path` with its query, header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Silent:
    """Take the request and never answer. `after_apply`: the real server gets it first."""

    after_apply: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """Cut the connection with a TCP reset, before or after the real server got the request."""

    after_apply: bool = False


@dataclass(frozen=True, slots=True)
class Drip:
    """Give the real answer, one byte each `every_s` seconds."""

    every_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Truncated:
    """Give the head of the real answer and half its body, then close."""


@dataclass(frozen=True, slots=True)
class Says:
    """Answer this instead of the real server. `after_apply`: the real server gets the request first, its answer is thrown away."""

    status: int
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    after_apply: bool = False


@dataclass(frozen=True, slots=True)
class Swallowed:
    """Give the head of the real answer, then nothing more of it, for ever: an answer that goes on and is lost on its way."""


Fault = Swallowed | Silent | Reset | Drip | Truncated | Says

LOGIN_PAGE = Says(
    200, b"<!doctype html><html><title>Sign in</title></html>", {"Content-Type": "text/html; charset=utf-8"}
)
INVALID_JSON = Says(200, b'{"registered_models": [{"name": ')
UNAUTHORIZED = Says(401, b"You are not authenticated.", {"WWW-Authenticate": 'Basic realm="mlflow"'})
FORBIDDEN = Says(403, b"Permission denied", {"Content-Type": "text/plain"})


def rate_limited(retry_after: str = "7") -> Says:
    return Says(429, b"{}", {"Retry-After": retry_after, "Content-Type": "application/json"})


def redirect(location: str, status: int = 302) -> Says:
    return Says(status, b"", {"Location": location})


@dataclass(slots=True)
class _Rule:
    fault: Fault
    method: str
    path: str
    left: int | None

    def takes(self, request: Request) -> bool:
        if self.left == 0 or self.method not in {"", request.method} or self.path not in request.path:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class FaultProxy(Listening):
    """See the module. Without a rule that fits, a request passes unharmed; of several that fit the first counts."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        """`tls` is how the real server is spoken to, where that is by TLS; clients speak plainly with the proxy."""
        super().__init__()
        self.requests: list[Request] = []
        self._upstream = (host, port)
        self._tls = tls
        self._rules: list[_Rule] = []

    def on(self, fault: Fault, *, method: str = "", path: str = "", times: int | None = None) -> None:
        """Break requests of `method` whose path holds `path`, `times` times (None: always)."""
        self._rules.append(_Rule(fault, method, path, times))

    def heal(self) -> None:
        self._rules.clear()

    def count(self, method: str = "", path: str = "") -> int:
        """How many requests of `method` came whose path holds `path`."""
        return sum(1 for item in self.requests if method in {"", item.method} and path in item.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read_request(reader)
        self.requests.append(request)
        fault = next((rule.fault for rule in self._rules if rule.takes(request)), None)
        match fault:
            case None:
                await self._relay(request, writer)
            case Silent(after_apply):
                if after_apply:
                    await self._answer_of(request)
                await asyncio.Event().wait()
            case Reset(after_apply):
                if after_apply:
                    await self._answer_of(request)
                _reset(writer)
            case Drip(every_s):
                for byte in await self._answer_of(request):
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(every_s)
            case Swallowed():
                reader, upstream = await self._sent(request)
                try:
                    writer.write(await reader.readuntil(b"\r\n\r\n"))
                    await writer.drain()
                    await asyncio.Event().wait()
                finally:
                    upstream.close()
            case Truncated():
                head, _, body = (await self._answer_of(request)).partition(b"\r\n\r\n")
                writer.write(head + b"\r\n\r\n" + body[: len(body) // 2])
                await writer.drain()
            case Says(status, body, headers, after_apply):
                if after_apply:
                    await self._answer_of(request)
                fields = {"Content-Length": str(len(body)), "Connection": "close", **headers}
                lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
                writer.write(f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + body)
                await writer.drain()

    async def _answer_of(self, request: Request) -> bytes:
        reader, writer = await self._sent(request)
        try:
            return await reader.read()
        finally:
            writer.close()

    async def _relay(self, request: Request, client: asyncio.StreamWriter) -> None:
        reader, writer = await self._sent(request)
        try:
            while chunk := await reader.read(_CHUNK):
                client.write(chunk)
                await client.drain()
        finally:
            writer.close()

    async def _sent(self, request: Request) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self._upstream, ssl=self._tls)
        own = {
            "host": f"{self._upstream[0]}:{self._upstream[1]}",
            "connection": "close",
            "content-length": str(len(request.body)),
        }
        dropped = {"transfer-encoding", *own}
        fields = own | {name: value for name, value in request.headers.items() if name not in dropped}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"{request.method} {request.path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + request.body)
        await writer.drain()
        return reader, writer


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = bytearray()
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return Request(method, path, headers, bytes(body))
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the peer gets RST, not FIN."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
