"""Everything known of a thing: as text, as JSON, its numbers, and what happened to it. Pure; for any of our frozen values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum

from mlrelease_tui.domain.action import AuditEntry, OpenAction
from mlrelease_tui.domain.metrics import Coverage, VariantMetrics
from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.presentation import words
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, fit, line, width, wrapped
from mlrelease_tui.presentation.times import moment

DEPTH = 8
"""Values nested deeper than this are named, not opened."""


def plain(value: object, depth: int = 0, *, spoken: bool = False) -> object:  # noqa: PLR0911 - one return a kind of value
    """A value as JSON has it: frozen dataclasses as objects, enums by their word, times as ISO 8601, references by their id.

    `spoken`: our own field names as words. The keys of a mapping are somebody else's and stay as they are.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Enum):
        return plain(value.value, depth)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if depth > DEPTH:
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1, spoken=spoken) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        if isinstance(getattr(value, "id", None), str) and type(value).__name__.endswith("Ref"):
            return str(value)
        return {
            item.name.replace("_", " ") if spoken else item.name: plain(
                getattr(value, item.name), depth + 1, spoken=spoken
            )
            for item in fields(value)
        }
    if isinstance(value, Iterable):
        return [plain(item, depth + 1, spoken=spoken) for item in value]
    return str(value)


def as_json(value: object) -> str:
    """The value as indented JSON; non-ASCII characters as they are."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False)


def raw(value: object, cells: int) -> list[Line]:
    """`as_json`, wrapped to a width."""
    rows: list[Line] = []
    for text in as_json(value).split("\n"):
        indent = len(text) - len(text.lstrip(" "))
        rows += wrapped(text.lstrip(" "), cells - 1, indent=" " * (indent + 1))
    return rows


def describe(value: object, cells: int) -> list[Line]:
    """Every field that says something, a line each, nested values below their name."""
    return _tree(plain(value, spoken=True), 1, cells)


def _tree(value: object, depth: int, cells: int) -> list[Line]:
    rows: list[Line] = []
    if isinstance(value, Mapping):
        inner = {key: item for key, item in value.items() if item not in (None, "", [], {})}
        longest = max((width(str(key)) for key, item in inner.items() if _flat(item)), default=0)
        name_cells = min(longest, max(cells // 3, 20)) + 2
        for key, item in inner.items():
            if _flat(item):
                indent = "  " * depth + fit(str(key), name_cells)
                text = ", ".join(_said(one) for one in item) if isinstance(item, list) else _said(item)
                rows += _labelled(indent, text, cells)
            else:
                rows.append(line(Span("  " * depth + str(key), Role.HEADING)))
                rows += _tree(item, depth + 1, cells)
    elif isinstance(value, list):
        for index, item in enumerate(value, start=1):
            if _flat(item):
                rows += wrapped(_said(item), cells, indent="  " * depth)
            else:
                rows.append(line(Span("  " * depth + str(index), Role.MUTED)))
                rows += _tree(item, depth + 1, cells)
    else:
        rows += wrapped(_said(value), cells, indent="  " * depth)
    return rows


def _labelled(label: str, text: str, cells: int) -> list[Line]:
    first, *rest = wrapped(text, cells, indent=" " * width(label))
    return [line(Span(label, Role.MUTED), *first[1:]), *rest]


def _flat(value: object) -> bool:
    if isinstance(value, list):
        return all(not isinstance(item, Mapping | list) for item in value)
    return not isinstance(value, Mapping)


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def metrics(status: EndpointStatus, cells: int) -> list[Line]:
    """Every number of every variant over the window, a column a variant, and where they were read."""
    variants = status.endpoint.variants
    column = max(min((cells - 16) // max(len(variants), 1), 24), 10)
    found = [status.metrics.get(variant.name) for variant in variants]
    head = "".join(fit(f"{item.role} {words.version(item.version)}", column) for item in variants)
    rows: list[Line] = [line(Span(f" {'':<15}{head}", Role.HEADING))]

    def row(name: str, values: Sequence[str]) -> None:
        rows.append(line(Span(f" {name:<15}", Role.MUTED), "".join(fit(value, column) for value in values)))

    def each(name: str, of: str, word: object) -> None:
        row(name, [word(getattr(item, of)) if item is not None else words.UNKNOWN for item in found])  # type: ignore[operator]

    row("set", [words.weight(variant.weight_bp) for variant in variants])
    each("seen", "observed_share", words.share)
    each("requests", "requests", lambda value: words.UNKNOWN if value is None else f"{value:.0f}")
    each("failed", "errors", lambda value: words.UNKNOWN if value is None else f"{value:.0f}")
    each("failed %", "error_ratio", words.errors)
    each("requests/s", "rate", words.rate)
    each("in flight", "in_flight", lambda value: words.UNKNOWN if value is None else f"{value:.0f}")
    for name in ("p50", "p95", "p99"):
        each(f"{name} ms", f"{name}_s", words.milliseconds)
    row("window s", [f"{item.window_s:.0f}" if item is not None else words.UNKNOWN for item in found])
    row("state", [_coverage(item) for item in found])
    if status.stale_since is not None:
        rows.append(line(Span(f" ~ last known: not read since {moment(status.stale_since)}", Role.STALE)))
    rows.append(EMPTY)
    for variant in variants:
        for series in variant.series:
            labels = ", ".join(f"{key}={value}" for key, value in series.labels)
            told = f"{variant.name}: {series.preset} {labels} {series.url}".rstrip()
            rows += wrapped(told, cells, Role.MUTED, indent=" read from ")
    return rows


def _coverage(item: VariantMetrics | None) -> str:
    if item is None:
        return "not measured"
    return "measured" if item.coverage is Coverage.OK else words.coverage(item.coverage)


def events(
    status: EndpointStatus, audit: Sequence[AuditEntry], unresolved: Sequence[OpenAction], cells: int
) -> list[Line]:
    """What is known to have happened here, newest first: what this audit says, what the backend and the registry remember."""
    endpoint = status.endpoint
    rows: list[Line] = []
    for item in unresolved:
        if str(item.target) == status.ref.id:
            told = f"{moment(item.at)}  {item.verb} by {item.actor}: outcome not known yet"
            rows += wrapped(told, cells, Role.WARN, indent=" ")
    stamp = endpoint.stamp
    rows.append(line(Span(" THE BACKEND REMEMBERS", Role.HEADING)))
    if stamp is None:
        rows.append(line(Span(" nothing: no intent of this tool is stamped on it", Role.MUTED)))
    else:
        rows += wrapped(f"{moment(stamp.at)}  {stamp.verb} by {stamp.by}  {stamp.why}", cells, indent=" ")
        rows.append(line(Span(f"   intent {stamp.intent_id}", Role.MUTED)))
    if endpoint.rollout.started_at is not None:
        rows += wrapped(f"{moment(endpoint.rollout.started_at)}  this rollout began", cells, indent=" ")
    for variant in endpoint.variants:
        if variant.started_at is not None:
            told = f"{moment(variant.started_at)}  {variant.role} {words.version(variant.version)} started"
            rows += wrapped(told, cells, indent=" ")
    if hold := endpoint.rollout.hold:
        rows += wrapped(f"{moment(hold.at)}  held by {hold.by}: {hold.why}", cells, Role.HOLD, indent=" ")
    stamps = status.model.stamps.values() if status.model is not None else ()
    if stamps:
        rows += [EMPTY, line(Span(" THE REGISTRY REMEMBERS", Role.HEADING))]
        for mark in stamps:
            came = f" from {words.version(mark.previous)}" if mark.previous else ""
            told = (
                f"{moment(mark.at)}  alias {mark.alias} to {words.version(mark.version)}{came} by {mark.by}  {mark.why}"
            )
            rows += wrapped(told, cells, indent=" ")
    rows += [EMPTY, line(Span(" THIS AUDIT", Role.HEADING))]
    # Each write and its check are records too; what an operator asks for is how actions began and ended.
    told_kinds = [item for item in reversed(audit) if item.kind not in {"sent", "step"}]
    mine = [item for item in told_kinds if str(item.target) in {status.ref.id, status.ref.name}]
    for entry in mine:
        told = f"{moment(entry.at)}  {entry.actor} {entry.verb} {entry.kind} {entry.summary} {entry.result} {entry.why}"
        rows += wrapped(" ".join(told.split(" ")).rstrip(), cells, indent=" ")
    if not mine:
        rows.append(line(Span(" nothing about this endpoint", Role.MUTED)))
    return rows
