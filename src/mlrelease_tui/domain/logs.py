"""What a variant's processes print: asked for in a bounded piece, the end of it, and never kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.text import EMPTY, SafeText

LINES: Final = 400
"""Lines of one answer."""
BYTES: Final = 131_072
"""Bytes of one answer, as the backend keeps them: a screen shows a part of that, and no operator reads more."""
LINE_BYTES: Final = 4_096
"""Bytes of one line; the rest of a longer one is left out and said so."""


@dataclass(frozen=True, slots=True)
class LogWish:
    """The end of what one variant printed: its run of now, or the one before (`previous`).

    The limits are for the whole answer, over all replicas of the variant.
    """

    endpoint: EndpointRef
    variant: str
    previous: bool = False
    lines: int = LINES
    bytes: int = BYTES


@dataclass(frozen=True, slots=True)
class LogTail:
    """The end of one output: a file, a container of a pod, a task of a service.

    `lines` are oldest first and hold no line end. `earlier` says that there is more before the first. `note` says why there is
    less than one would think (nothing printed yet, the file was cut while it was read). `written_at` is when the last was written,
    where the backend tells.
    """

    source: SafeText
    lines: tuple[SafeText, ...] = ()
    earlier: bool = False
    note: SafeText = EMPTY
    written_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class VariantLog:
    """The answer to a wish, or why there is none (`error`, and what helps in `hint`)."""

    wish: LogWish
    at: datetime
    tails: tuple[LogTail, ...] = ()
    error: SafeText = EMPTY
    hint: SafeText = EMPTY


def line_of(data: bytes, *, limit: int = LINE_BYTES) -> SafeText:
    """One line of an output as it is shown: UTF-8, bytes that are none of it replaced, at most `limit` bytes of it."""
    data = data.removesuffix(b"\n").removesuffix(b"\r")
    text = data[:limit].decode("utf-8", "replace")
    if len(data) <= limit:
        return SafeText(text, limit=limit)
    said = f"… ({len(data)} bytes)"
    return SafeText(text + said, limit=limit + len(said))


def bounded(tails: Sequence[LogTail], wish: LogWish) -> tuple[LogTail, ...]:
    """`tails` within the wish's limits, whatever was answered: what is too much goes from the start of each."""
    if not tails:
        return ()
    lines, size = max(wish.lines // len(tails), 1), max(wish.bytes // len(tails), 1)
    return tuple(_bounded(tail, lines, size) for tail in tails)


def _bounded(tail: LogTail, lines: int, size: int) -> LogTail:
    kept: list[SafeText] = []
    for text in reversed(tail.lines[-lines:]):
        # A character may be four bytes; as many characters as bytes is a bound all the same.
        size -= len(text.raw) + 1
        if size < 0:
            break
        kept.append(text)
    if len(kept) == len(tail.lines):
        return tail
    return replace(tail, lines=tuple(reversed(kept)), earlier=True)
