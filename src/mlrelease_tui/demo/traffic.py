"""Steady traffic from pretended users, counted as they see it.

    python -m mlrelease_tui.demo.traffic --config traffic.json

The configuration is JSON: `{"counters": PATH, "seed": 1, "endpoints": [{"name", "url", "rate", "rows"}, …]}`. `url` is the full
address of `/invocations` behind the router, `rate` requests a second, `rows` a file of held-out rows (see `train.rows_file`).

Open loop: a request leaves when it is due, whether or not earlier ones were answered, as with users who do not know of each other;
at most `MAX_IN_FLIGHT` wait on one endpoint, and what falls due beyond that is counted as `skipped`, not sent late. No request is
ever sent a second time. The counters go to a file once a second by atomic rename, and once more at the end (SIGTERM, SIGINT).

The client is asyncio streams and some forty lines of HTTP/1.1: at 60 requests a second it takes about 2 % of a core and 20 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlrelease_tui.demo.processes import die_with_parent

MAX_IN_FLIGHT = 64
TIMEOUT_S = 10.0
_IDLE_S = 30.0
_LATENCIES_KEPT = 2048


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint: `bodies` are drawn from at random, `rate` is requests a second."""

    name: str
    url: str
    rate: float
    bodies: tuple[bytes, ...]


@dataclass(slots=True)
class Counters:
    """What the users of one endpoint saw since the start.

    `ok` + `failed` = answered or given up; `sent` - that = in flight. `failed` holds every status from 400 on and every request
    without an answer; the latter are also in `no_answer`, by kind. `latencies_s` are the last 2,048 answers, in seconds.
    """

    sent: int = 0
    ok: int = 0
    failed: int = 0
    skipped: int = 0
    by_code: dict[str, int] = field(default_factory=dict)
    by_version: dict[str, dict[str, int]] = field(default_factory=dict)
    no_answer: dict[str, int] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)

    def answered(self, code: int, version: str, seconds: float) -> None:
        """An answer with HTTP status `code`; `version` is what the server said it was, "" if nothing."""
        if code < 400:
            self.ok += 1
        else:
            self.failed += 1
        self.by_code[str(code)] = self.by_code.get(str(code), 0) + 1
        if version:
            codes = self.by_version.setdefault(version, {})
            codes[str(code)] = codes.get(str(code), 0) + 1
        self.latencies_s.append(seconds)
        del self.latencies_s[:-_LATENCIES_KEPT]

    def unanswered(self, kind: str) -> None:
        """A connection that could not be made or broke, or a time-out."""
        self.failed += 1
        self.no_answer[kind] = self.no_answer.get(kind, 0) + 1

    def summary(self) -> dict[str, Any]:
        """Counters as JSON-ready values; quantiles only where there are answers."""
        ordered = sorted(self.latencies_s)
        quantiles = {
            f"p{percent}_s": round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 6)
            for percent in (50, 95, 99)
            if ordered
        }
        return {
            "sent": self.sent,
            "ok": self.ok,
            "failed": self.failed,
            "skipped": self.skipped,
            "in_flight": self.sent - self.ok - self.failed,
            "by_code": dict(sorted(self.by_code.items())),
            "by_version": {version: dict(codes) for version, codes in sorted(self.by_version.items())},
            "no_answer": dict(sorted(self.no_answer.items())),
            **quantiles,
        }


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used_at: float


class User:
    """Sends to one target over kept-alive connections, the one used last first."""

    def __init__(self, target: Target, chance: random.Random) -> None:
        self.target = target
        self.counters = Counters()
        self._chance = chance
        self._idle: list[_Connection] = []
        self._in_flight: set[asyncio.Task[None]] = set()
        parts = urlsplit(target.url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 80
        self._head = (
            f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
            "Content-Length: "
        ).encode()

    async def send_steadily(self, stop: asyncio.Event) -> None:
        """Send at the target's rate until `stop`, then wait for the answers that are still due."""
        loop = asyncio.get_running_loop()
        gap = 1.0 / self.target.rate
        due = loop.time() + self._chance.random() * gap
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - loop.time())):
                    await stop.wait()
                break
            # After a stall of this process the missed requests are dropped, not sent in one burst.
            due = max(due + gap, loop.time() - gap)
            if len(self._in_flight) >= MAX_IN_FLIGHT:
                self.counters.skipped += 1
                continue
            task = asyncio.create_task(self._request(self._chance.choice(self.target.bodies)))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=TIMEOUT_S)
        for connection in self._idle:
            connection.writer.close()

    async def _request(self, body: bytes) -> None:
        self.counters.sent += 1
        started = time.perf_counter()
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                connection = await self._connect()
                connection.writer.write(self._head + str(len(body)).encode() + b"\r\n\r\n" + body)
                code, version, keep = await _read_answer(connection.reader)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            self.counters.unanswered(type(error).__name__)
            if connection:
                connection.writer.close()
            return
        self.counters.answered(code, version, time.perf_counter() - started)
        if keep:
            connection.used_at = time.monotonic()
            self._idle.append(connection)
        else:
            connection.writer.close()

    async def _connect(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            fresh = time.monotonic() - connection.used_at < _IDLE_S
            if fresh and not connection.reader.at_eof() and not connection.writer.is_closing():
                return connection
            connection.writer.close()
        reader, writer = await asyncio.open_connection(self._host, self._port)
        return _Connection(reader, writer, time.monotonic())


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, str, bool]:
    """Status, `X-Model-Version` and whether the connection may be used again; the body is read and dropped."""
    status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    code = int(status_line.split(" ", 2)[1])
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
    else:
        await reader.readexactly(int(headers.get("content-length", "0")))
    return code, headers.get("x-model-version", ""), headers.get("connection", "").lower() != "close"


def bodies_from(rows: Path) -> tuple[bytes, ...]:
    """One scoring request for each held-out row of a file that `train` wrote."""
    content = json.loads(rows.read_text(encoding="utf-8"))
    return tuple(
        json.dumps({"dataframe_split": {"columns": content["columns"], "data": [row]}}).encode()
        for row in content["rows"]
    )


def write_counters(path: Path, users: Sequence[User], started_at: float) -> None:
    """Replace `path` atomically by `{"pid", "started_at", "written_at", "endpoints": {name: Counters.summary()}}`."""
    content = {
        "pid": os.getpid(),
        "started_at": started_at,
        "written_at": time.time(),
        "endpoints": {user.target.name: user.counters.summary() for user in users},
    }
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(content), encoding="utf-8")
    new.replace(path)


def read_counters(path: Path) -> dict[str, dict[str, Any]]:
    """Endpoint name → `Counters.summary()`; raises `OSError` before the first write."""
    endpoints: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["endpoints"]
    return endpoints


async def send_traffic(config: Mapping[str, Any], stop: asyncio.Event) -> None:
    """Send as `config` says until `stop`; the last counters are written after the last answer."""
    users = [
        User(
            Target(str(item["name"]), str(item["url"]), float(item["rate"]), bodies_from(Path(item["rows"]))),
            random.Random(f"{config.get('seed', 1)}/{item['name']}"),  # noqa: S311
        )
        for item in config["endpoints"]
    ]
    counters, started_at = Path(config["counters"]), time.time()
    sending = asyncio.gather(*(user.send_steadily(stop) for user in users))
    while not sending.done():
        # A full disk makes the numbers old; the users come all the same.
        with contextlib.suppress(OSError):
            write_counters(counters, users, started_at)
        await asyncio.wait([sending], timeout=1.0)
    write_counters(counters, users, started_at)
    await sending


async def _run(config: Mapping[str, Any]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await send_traffic(config, stop)


def main(argv: Sequence[str] | None = None) -> None:
    """Send until SIGTERM, SIGINT, or until the parent is gone (with `--lifeline`)."""
    parser = argparse.ArgumentParser(prog="python -m mlrelease_tui.demo.traffic")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--lifeline", action="store_true", help="end when standard input ends")
    arguments = parser.parse_args(argv)
    if arguments.lifeline:
        die_with_parent()
    asyncio.run(_run(json.loads(arguments.config.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
