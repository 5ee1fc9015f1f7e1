"""Asking a model server how many requests it is working on."""

from __future__ import annotations

import asyncio
import importlib
import re
from typing import Final

from mlrelease_tui.routing.api import InFlight

_NAMES: Final = re.compile(r"in_?flight|in_progress|active_requests|requests_running")
_TIMEOUT_S: Final = 2.0
_MAX_BYTES: Final = 4_194_304


def in_flight_of(url: str) -> InFlight:
    """Sums the gauges of a metrics page that count requests in flight. None where there is no such gauge or no answer."""

    async def ask() -> int | None:
        text = await _get(url)
        return None if text is None else in_flight_in(text)

    return ask


def in_flight_in(exposition: str) -> int | None:
    from prometheus_client.parser import text_string_to_metric_families

    found: list[float] = []
    try:
        for family in text_string_to_metric_families(exposition):
            if family.type in {"gauge", "unknown"} and _NAMES.search(family.name):
                found += [sample.value for sample in family.samples]
        return max(round(sum(found)), 0) if found else None
    except (ValueError, KeyError, IndexError, OverflowError):
        return None


async def _get(url: str) -> str | None:
    httpx = await asyncio.to_thread(importlib.import_module, "httpx")
    try:
        async with (
            asyncio.timeout(_TIMEOUT_S),
            # No proxies from the environment: the server listens on loopback.
            httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_S) as client,
            client.stream("GET", url) as answer,
        ):
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _MAX_BYTES:
                    return None
            return body.decode("utf-8", errors="replace") if answer.status_code == 200 else None
    except (TimeoutError, httpx.HTTPError):
        return None
