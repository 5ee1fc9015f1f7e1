"""Small HTTP servers that stand where model servers stand: with a delay, with errors, dead, or mute."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType


class Backend:
    """Answers every request with its name. All counters are of requests other than health checks."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.delay_s = 0.0
        self.fail_every = 0
        self.hang_up = False
        self.ready = True
        self.hits = 0
        self.in_flight = 0
        self.paths: set[str] = set()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Backend:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.crash()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def crash(self) -> None:
        """As SIGKILL: the port closes, and every connection is reset."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in set(self._writers):
            writer.transport.abort()
        handlers = set(self._handlers)
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    async def gauge(self) -> int | None:
        return self.in_flight

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._answer(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass
        finally:
            self._handlers.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        path = lines[0].split(" ")[1]
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
        if length := int(headers.get("content-length", "0")):
            await reader.readexactly(length)
        elif headers.get("transfer-encoding") == "chunked":
            while size := int((await reader.readline()).strip(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        if path == "/health":
            _reply(writer, 200 if self.ready else 503, b"")
            return True
        self.hits += 1
        self.paths.add(path)
        if self.hang_up:
            return False
        self.in_flight += 1
        try:
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            failed = bool(self.fail_every) and self.hits % self.fail_every == 0
            _reply(writer, 500 if failed else 200, self.name.encode())
            await writer.drain()
        finally:
            self.in_flight -= 1
        return True


def _reply(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


@contextlib.asynccontextmanager
async def two_backends() -> AsyncIterator[tuple[Backend, Backend]]:
    async with Backend("stable") as stable, Backend("canary") as canary:
        yield stable, canary
