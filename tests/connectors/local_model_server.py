"""A model server of a few lines that starts at once: answers its version, counts, and dies without a word on SIGTERM.

What the artifact says it does: `broken:TEXT` writes TEXT and ends; `late:S` is healthy only after S seconds; `stubborn:` ignores
SIGTERM and has a child that does, too; `dies:N` ends at its N-th request. A request whose `X-Held-While` header names a file is
answered once that file is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time


class Server:
    def __init__(self, version: str, artifact: str) -> None:
        self.version = version
        self.kind, _, self.detail = artifact.partition(":")
        self.started = time.monotonic()
        self.in_flight = 0
        self.hits = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.answer(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = lines[0].split(" ")[1]
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
        if length := int(headers.get("content-length", "0")):
            await reader.readexactly(length)
        if path == "/health":
            late = self.kind == "late" and time.monotonic() - self.started < float(self.detail)
            return reply(writer, 503 if late else 200, b"")
        if path == "/metrics":
            return reply(writer, 200, self.metrics().encode())
        self.hits += 1
        if self.kind == "dies" and self.hits >= int(self.detail):
            print("out of memory while scoring", file=sys.stderr, flush=True)
            os._exit(7)
        self.in_flight += 1
        try:
            while os.access(headers.get("x-held-while", ""), os.F_OK):
                await asyncio.sleep(0.02)
            reply(writer, 200, self.version.encode())
            await writer.drain()
        finally:
            self.in_flight -= 1
        return True

    def metrics(self) -> str:
        return (
            "# TYPE model_requests_in_flight gauge\n"
            f"model_requests_in_flight {self.in_flight}\n"
            "# TYPE model_requests_total counter\n"
            f"model_requests_total {self.hits}\n"
        )


def reply(writer: asyncio.StreamWriter, status: int, body: bytes) -> bool:
    writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return True


async def run(version: str, port: int, artifact: str) -> None:
    server = Server(version, artifact)
    if server.kind == "broken":
        print(server.detail, file=sys.stderr)
        sys.exit(3)
    if server.kind == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    listener = await asyncio.start_server(server.serve, "127.0.0.1", port)
    async with listener:
        await listener.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--artifact", default="")
    options = parser.parse_args()
    asyncio.run(run(options.version, options.port, options.artifact))


if __name__ == "__main__":
    main()
