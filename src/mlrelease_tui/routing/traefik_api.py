"""Traefik's own read-only view of what it runs, and its counters; writing goes through the document alone."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlrelease_tui.errors import TimedOut, Unauthenticated, UnexpectedAnswer, Unreachable

if TYPE_CHECKING:
    import httpx

_MAX_BYTES = 16_777_216


class TraefikApi:
    """`url`: the entry point of the API, as `http://127.0.0.1:8080`. `credential`: user and password where it asks."""

    def __init__(self, url: str, *, credential: tuple[str, str] | None = None, timeout_s: float = 2.0) -> None:
        parts = urlsplit(url)
        self.url = f"{parts.scheme}://{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        self._credential = credential
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"TraefikApi({self.url!r})"

    async def snapshot(self) -> Mapping[str, Any]:
        """All routers, services and middlewares of one moment (`/api/rawdata`)."""
        try:
            answer = json.loads(await self._get("/api/rawdata"))
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise UnexpectedAnswer(
                f"the API at {self.url} answered something that is not Traefik's", hint="check the address of its API"
            )
        return answer

    async def metrics_text(self) -> str:
        return await self._get("/metrics")

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _get(self, path: str) -> str:
        httpx = await asyncio.to_thread(importlib.import_module, "httpx")
        if self._client is None:
            # No proxies from the environment: the API listens on loopback.
            self._client = httpx.AsyncClient(trust_env=False, auth=self._credential, timeout=self._timeout_s)
        try:
            async with asyncio.timeout(self._timeout_s), self._client.stream("GET", self.url + path) as answer:
                body = bytearray()
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _MAX_BYTES:
                        raise UnexpectedAnswer(f"the API at {self.url} answered more than {_MAX_BYTES} bytes")
                status = answer.status_code
        except (TimeoutError, httpx.TimeoutException) as failure:
            raise TimedOut(
                f"Traefik's API at {self.url} stayed silent for {self._timeout_s:g} s",
                hint="traffic may still flow; look at the Traefik process",
            ) from failure
        except httpx.HTTPError as failure:
            raise Unreachable(
                f"Traefik's API at {self.url} does not answer ({type(failure).__name__})",
                hint="start Traefik, or check the address of its API",
            ) from failure
        if status in (401, 403):
            raise Unauthenticated(f"Traefik's API at {self.url} wants a user and password (status {status})")
        if status != 200:
            raise UnexpectedAnswer(f"Traefik's API at {self.url} answered {path} with status {status}")
        return body.decode("utf-8", errors="replace")
