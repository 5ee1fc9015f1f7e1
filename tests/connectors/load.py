"""A keep-alive HTTP client over plain sockets: quick enough to send thousands of POSTs, and it hides no failure."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

BODY = b"x" * 1024


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: str


class Connection:
    """One connection, opened anew only when it is seen to be closed before a request is sent: nothing is replayed."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        assert parts.hostname and parts.port
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(
        self, path: str = "/invocations", *, method: str = "POST", headers: Mapping[str, str] | None = None
    ) -> Answer:
        if self._streams is None or self._streams[0].at_eof():
            self.close()
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        body = BODY if method == "POST" else b""
        fields = {"Host": f"{self._host}:{self._port}", "Content-Length": str(len(body)), **(headers or {})}
        head = f"{method} {self._prefix}{path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items())
        try:
            writer.write(head.encode() + b"\r\n" + body)
            return await asyncio.wait_for(self._read(reader), 20)
        except BaseException:
            self.close()
            raise

    async def _read(self, reader: asyncio.StreamReader) -> Answer:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.close()
        return Answer(int(lines[0].split(" ")[1]), headers, body.decode("latin-1"))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


@dataclass
class Tally:
    """What clients saw: answers of 200 by the name of who answered, other statuses, and broken connections."""

    by_name: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        return self.by_name.total() + self.failed.total()

    async def one(self, connection: Connection) -> None:
        try:
            answer = await connection.send()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as failure:
            self.failed[type(failure).__name__] += 1
            return
        if answer.status == 200:
            self.by_name[answer.body] += 1
        else:
            self.failed[str(answer.status)] += 1


async def send_many(base_url: str, count: int, *, clients: int = 8) -> Tally:
    """Sends exactly `count` POSTs over `clients` keep-alive connections."""
    tally = Tally()
    left = iter(range(count))

    async def client() -> None:
        connection = Connection(base_url)
        try:
            for _ in left:
                await tally.one(connection)
        finally:
            connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return tally


@contextlib.asynccontextmanager
async def steady_load(base_url: str, *, clients: int = 8) -> AsyncIterator[Tally]:
    """POSTs without a break while the block runs; no request is cut off at its end."""
    tally = Tally()
    stop = asyncio.Event()

    async def client() -> None:
        connection = Connection(base_url)
        try:
            while not stop.is_set():
                await tally.one(connection)
        finally:
            connection.close()

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    try:
        yield tally
    finally:
        stop.set()
        await asyncio.gather(*tasks)
