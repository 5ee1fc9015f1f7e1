"""Versions as rows and as text: which are ready, which aliases name them, what runs them, where they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.models import Lineage, ModelVersion, Readiness
from mlrelease_tui.domain.rollout import Variant
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.presentation import glyphs as symbols
from mlrelease_tui.presentation import words
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.labels import heading, labelled, name_of, pairs
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, clip, line, wrapped
from mlrelease_tui.presentation.models import tags_of
from mlrelease_tui.presentation.table import Column
from mlrelease_tui.presentation.times import age, moment

COLUMNS: Final = (
    Column("version", "VERSION", 9),
    Column("readiness", "READY", 8),
    Column("aliases", "ALIASES", 14, flexible=True),
    Column("serving", "SERVING", 18),
    Column("created", "CREATED", 7, right=True),
    Column("by", "BY", 8),
    Column("run", "RUN", 10, from_width=90),
    Column("digest", "DIGEST", 10, from_width=100),
)
WIDE: Final = tuple(column for column in COLUMNS if column.key in {"version", "readiness", "aliases", "created"})
SORTS: Final = {"version": "newest first", "readiness": "not ready first"}

_READINESS: Final[Mapping[Readiness, tuple[Severity, str]]] = MappingProxyType(
    {
        Readiness.READY: (Severity.OK, "READY"),
        Readiness.PENDING: (Severity.WAIT, "PENDING"),
        Readiness.FAILED: (Severity.CRIT, "FAILED"),
        Readiness.UNKNOWN: (Severity.UNKNOWN, "UNKNOWN"),
    }
)


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version, the aliases that name it now, and what runs it: (endpoint, variant)."""

    version: ModelVersion
    aliases: tuple[str, ...] = ()
    running: tuple[tuple[EndpointStatus, Variant], ...] = ()


def readiness(value: Readiness, glyphs: Glyphs, *, stale: bool = False) -> Span:
    """Glyph and word: "✓READY"; "~READY" where that is what it was when it was read last."""
    severity, word = _READINESS[value]
    if stale:
        return Span(f"{glyphs.states[Severity.STALE]}{word}", Role.STALE)
    return Span(f"{glyphs.states[severity]}{word}", symbols.ROLES[severity])


def readiness_rank(value: Readiness) -> int:
    """0 is worst."""
    return _READINESS[value][0].rank


def short(text: str, length: int = 10) -> str:
    """A digest or id as far as people tell them apart; the algorithm's name is left out."""
    return text.rpartition(":")[2][:length]


def cells(row: VersionRow, now: datetime, glyphs: Glyphs, *, stale: bool) -> dict[str, Span]:
    version = row.version
    running = ", ".join(
        f"{status.ref.name}{' ' + words.weight(variant.weight_bp) if variant.weight_bp is not None else ''}"
        for status, variant in row.running
    )
    canary = any(variant is status.endpoint.canary for status, variant in row.running)
    named = ", ".join(row.aliases)
    return {
        "version": Span(words.version(version.ref.version), Role.STRONG),
        "readiness": readiness(version.readiness, glyphs, stale=stale),
        "aliases": Span(f"~{named}" if stale and named else named, Role.STALE if stale else Role.TITLE),
        "serving": Span(running, Role.CANARY if canary else Role.STABLE),
        "created": Span(age(version.created_at, now)),
        "by": Span(str(version.created_by)),
        "run": Span(short(version.run_id)),
        "digest": Span(short(version.digest)),
    }


def text(version: ModelVersion, aliases: Sequence[str]) -> str:
    """What a filter looks through."""
    parts = [
        words.version(version.ref.version),
        version.ref.version,
        version.readiness.value,
        *aliases,
        str(version.created_by),
        str(version.description),
        version.run_id,
        str(version.source),
        version.digest,
        *(f"{key}={value}" for key, value in version.tags.items()),
    ]
    return " ".join(parts)


def number(value: float | str) -> str:
    """A metric: six digits, or the text that was stored where no number says it (NaN, Inf)."""
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    return str(value)


def detail(
    row: VersionRow,
    lineage: Lineage | None,
    missing: Line,
    now: datetime,
    glyphs: Glyphs,
    cells: int,
    *,
    stale: bool = False,
) -> list[Line]:
    """A version in full. `missing` says why there is no lineage, where there is none."""
    version = row.version
    rows: list[Line] = [
        clip(
            line(
                Span(f" {name_of(version.ref.model.name)} {words.version(version.ref.version)}", Role.STRONG),
                "  ",
                readiness(version.readiness, glyphs, stale=stale),
                Span(f"  {version.readiness_message}" if version.readiness_message else "", Role.WARN),
            ),
            cells,
        )
    ]
    rows += wrapped(str(version.description), cells, Role.TEXT, indent=" ", limit=8) if version.description else []
    rows += labelled("aliases", ", ".join(row.aliases), cells, Role.TITLE)
    for index, (status, variant) in enumerate(row.running):
        weight = f" {words.weight(variant.weight_bp)}" if variant.weight_bp is not None else ""
        rows += labelled("serving" if not index else "", f"{status.ref.id} as {variant.role}{weight}", cells)
    if not row.running:
        rows += labelled("serving", "nothing runs it", cells, Role.MUTED)
    by = f" by {version.created_by}" if version.created_by else ""
    rows += labelled("created", f"{moment(version.created_at)} ({age(version.created_at, now)}){by}", cells)
    rows += labelled("source", str(version.source), cells)
    rows += labelled("digest", version.digest, cells)
    rows += labelled("run", _run(version, lineage), cells)
    if lineage is None:
        rows += [EMPTY, missing]
    else:
        rows += _lineage(lineage, cells)
    rows += tags_of(version.tags, cells)
    return rows


def _run(version: ModelVersion, lineage: Lineage | None) -> str:
    if lineage is None:
        return version.run_id
    parts = [str(lineage.run_id) or version.run_id]
    parts += [f"({lineage.run_name})"] if lineage.run_name else []
    parts += [f"by {lineage.user}"] if lineage.user else []
    parts += [moment(lineage.started_at)] if lineage.started_at else []
    return " ".join(part for part in parts if part)


def _lineage(lineage: Lineage, cells: int) -> list[Line]:
    rows: list[Line] = [EMPTY, heading("METRICS")]
    rows += pairs({key: number(value) for key, value in lineage.metrics.items()}, cells)
    rows += [EMPTY, heading("PARAMS")]
    rows += pairs({key: str(value) for key, value in lineage.params.items()}, cells)
    rows += [EMPTY, heading("DATASETS")]
    if not lineage.datasets:
        rows.append(line(Span(" none recorded", Role.MUTED)))
    for dataset in lineage.datasets:
        context = f" ({dataset.context})" if dataset.context else ""
        rows += wrapped(f"{dataset.name}{context}  digest {dataset.digest or words.UNKNOWN}", cells, indent=" ")
    rows += [EMPTY, heading("SIGNATURE")]
    if not lineage.signature_inputs and not lineage.signature_outputs:
        rows.append(line(Span(" none recorded", Role.MUTED)))
    else:
        rows += labelled("in", str(lineage.signature_inputs), cells, limit=40)
        rows += labelled("out", str(lineage.signature_outputs), cells, limit=40)
    return rows
