"""What the Kubernetes connector does when an API server is none, lies, or says nothing: logs, details and all other reads."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from mlrelease_tui.connectors.api import Connector, Settings
from mlrelease_tui.connectors.conformance import FailureConformance
from mlrelease_tui.connectors.kubernetes.connector import KubernetesConnector

pytestmark = pytest.mark.real

SECRET: Final = "hunter2-hunter2"
HOSTILE: Final = "\x1b[2J\x1b]0;t\x07"


def answer(status: int, body: str, kind: str = "application/json") -> bytes:
    data = body.encode()
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    return head.encode() + data


def status(code: int, message: str) -> bytes:
    return answer(code, json.dumps({"kind": "Status", "code": code, "message": message}))


ANSWERS: Final[dict[str, bytes]] = {
    "refused": b"",
    "silent": b"",
    "cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{",
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "unauthenticated": status(401, f"Unauthorized {HOSTILE}"),
    "forbidden": status(403, f"nodes is forbidden {HOSTILE}"),
    "not found": status(404, "the server could not find the requested resource"),
    "overloaded": status(429, "too many requests"),
    "broken": status(500, f"etcd {HOSTILE}"),
    "html": answer(200, f"<html>log in {HOSTILE}</html>", "text/html"),
    "another shape": answer(200, '{"kind": ["\\u001b"], "items": 7, "status": [], "metadata": "x"}'),
    "a list": answer(200, "[1, 2]"),
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
}


@contextlib.asynccontextmanager
async def answering(what: str) -> AsyncIterator[int]:
    """The port of a server that answers every request with the same bytes; of none where it is refused."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if what == "silent":
                await over.wait()
            writer.write(ANSWERS[what])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if what == "refused":
        server.close()
    try:
        yield port
    finally:
        over.set()
        server.close()
        await server.wait_closed()


class TestFailures(FailureConformance):
    failures = tuple(ANSWERS)

    @pytest.fixture
    def deadline_s(self) -> float:
        return 1.0

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return (SECRET,)

    @pytest.fixture
    async def failing(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Connector]:
        async with answering(request.param) as port:
            config = {
                "current-context": "lab",
                "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "anna"}}],
                "clusters": [{"name": "lab", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "anna", "user": {"token": SECRET}}],
            }
            path = tmp_path / "kubeconfig"
            path.write_text(json.dumps(config), encoding="utf-8")
            path.chmod(0o600)
            options = {"kubeconfig": str(path)}
            connector = KubernetesConnector(Settings("lab", "kubernetes", options, timeout_s=1.0, environ={}))
            yield connector
            await connector.close()
