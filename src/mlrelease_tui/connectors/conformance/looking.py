"""How the kit looks at values: every text in them, secrets in them, and whether something is done beside the answer."""

# ruff: noqa: S101 - a test asserts

from __future__ import annotations

import asyncio
import builtins
import io
import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from unittest.mock import patch

from mlrelease_tui.connectors.api import EndpointSource, VersionSource
from mlrelease_tui.domain.expectation import (
    EndpointExpectation,
    Expectation,
    alias_mismatches,
    endpoint_mismatches,
)
from mlrelease_tui.domain.rollout import Endpoint, Stamp
from mlrelease_tui.domain.text import SafeText, is_hidden

HOSTILE: Final = "evil \x1b]52;c;QUJD\x07\x9b31m\u202e [@click=app.quit]\n\x00[/] $x"
"""Text as an attacker would put it into a tag, a description or a reason: it writes the clipboard, colours, turns the line."""

T = TypeVar("T")


def texts(value: object) -> Iterator[str]:
    """Every string in a value, as it would be shown, however deep."""
    return (str(text) for text in _strings(value))


def raw_texts(value: object) -> Iterator[str]:
    """Every string in a value as the backend said it."""
    return (text.raw if isinstance(text, SafeText) else text for text in _strings(value))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            yield from _strings(getattr(value, item.name))
    elif isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes | bytearray):
        for item in value:
            yield from _strings(item)


def assert_safe(value: object) -> None:
    """No text in `value` holds a character that a terminal acts on."""
    bad = [text for text in texts(value) if any(is_hidden(char) for char in text)]
    assert not bad, f"text from outside must be SafeText: {bad!r}"


def assert_says(value: object, text: str) -> None:
    """`text` came through whole in some field, as `raw`: otherwise nothing was tested."""
    assert any(text in found for found in raw_texts(value)), f"{text!r} is nowhere in what was read"


def assert_no_secret(secrets: Sequence[str], *shown: object) -> None:
    """None of `secrets` stands in what is shown of a value: its repr, its text, its fields."""
    for value in shown:
        everything = "\n".join((repr(value), str(value), *texts(value)))
        if isinstance(value, BaseException):
            cause = value.__cause__ or value.__context__
            if cause is not None:
                assert_no_secret(secrets, cause)
        for secret in secrets:
            assert secret not in everything, f"a secret stands in {type(value).__name__}"


@contextmanager
def no_io() -> Iterator[None]:
    """Fails where the block opens a socket or a file or starts a process: planning is pure."""
    done: list[str] = []

    def forbidden(what: str) -> Callable[..., Any]:
        def refuse(*_: object, **__: object) -> Any:
            done.append(what)
            raise AssertionError(f"planning used {what}")

        return refuse

    with (
        patch.object(socket, "socket", forbidden("a socket")),
        patch.object(socket, "create_connection", forbidden("a socket")),
        patch.object(builtins, "open", forbidden("a file")),
        patch.object(io, "open", forbidden("a file")),
        patch.object(os, "open", forbidden("a file")),
        patch.object(subprocess, "Popen", forbidden("a process")),
    ):
        yield
    assert not done, f"planning used {', '.join(done)}"


async def within(deadline_s: float, call: Awaitable[T]) -> T:
    """Await `call`, which must keep its own deadline: AssertionError where it takes longer."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(deadline_s + 5):
            return await call
    except TimeoutError:
        raise AssertionError(
            f"no answer after {time.monotonic() - began:.1f} s, its deadline is {deadline_s:g} s"
        ) from None


def aware(at: datetime | None) -> bool:
    return at is not None and at.tzinfo is not None and at.utcoffset() is not None


def same_time(value: T) -> T:
    """`value` without the moment at which it was read, to compare two reads."""
    return replace(value, observed_at=datetime.min.replace(tzinfo=UTC))  # type: ignore[type-var]


async def mismatches(connector: object, expected: Expectation) -> tuple[str, ...]:
    """What of `expected` a fresh read does not show."""
    if isinstance(expected, EndpointExpectation):
        assert isinstance(connector, EndpointSource)
        return endpoint_mismatches(expected, await connector.endpoint(expected.endpoint))
    assert isinstance(connector, VersionSource)
    return alias_mismatches(expected, await connector.model(expected.model))


async def settled(connector: object, expected: Expectation, within_s: float) -> tuple[str, ...]:
    """What is still missing when `within_s` seconds passed; empty as soon as all of `expected` is seen."""
    deadline = time.monotonic() + within_s
    while (left := await mismatches(connector, expected)) and time.monotonic() < deadline:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.02)
    return left


def stamp(
    intent_id: str = "0190c000-0000-7000-8000-000000000001", *, verb: str = "weight", why: str = "a test"
) -> Stamp:
    return Stamp(intent_id, verb, SafeText("conformance"), SafeText(why), datetime.now(UTC))


def moved_fields(endpoint: Endpoint) -> tuple[object, ...]:
    """Everything of an endpoint that a write could have changed."""
    names = sorted((item.name, item.role, item.version, item.weight_bp) for item in endpoint.variants)
    return (endpoint.uid, names, endpoint.rollout.hold, endpoint.rollout.step_index, endpoint.stamp)
