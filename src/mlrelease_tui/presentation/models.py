"""Models and versions as rows and as text: which alias names what, what serves, where a version comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.models import AliasStamp, Lineage, Model, ModelVersion, Readiness
from mlrelease_tui.domain.rollout import Variant
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.presentation import glyphs as symbols
from mlrelease_tui.presentation import words
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, clip, fit, line, width, wrapped
from mlrelease_tui.presentation.matching import matches as matches_words
from mlrelease_tui.presentation.table import Column
from mlrelease_tui.presentation.times import age, moment, staleness

COLUMNS: Final = (
    Column("state", "ST", 6),
    Column("model", "MODEL", 18),
    Column("registry", "CONN", 8),
    Column("aliases", "ALIASES", 16, flexible=True),
    Column("latest", "LATEST", 6, right=True),
    Column("serving", "SERVING", 16),
    Column("moved", "MOVED", 5, right=True, from_width=90),
    Column("by", "BY", 8, from_width=90),
)
WIDE: Final = (COLUMNS[0], Column("model", "MODEL", 18, flexible=True), Column("latest", "LATEST", 6, right=True))
SORTS: Final = {"model": "name", "state": "worst first", "moved": "alias moved, newest first"}

VERSION_COLUMNS: Final = (
    Column("version", "VERSION", 9),
    Column("readiness", "READY", 8),
    Column("aliases", "ALIASES", 14, flexible=True),
    Column("serving", "SERVING", 18),
    Column("created", "CREATED", 7, right=True),
    Column("by", "BY", 8),
    Column("run", "RUN", 10, from_width=90),
    Column("digest", "DIGEST", 10, from_width=100),
)
VERSION_WIDE: Final = tuple(
    column for column in VERSION_COLUMNS if column.key in {"version", "readiness", "aliases", "created"}
)
VERSION_SORTS: Final = {"version": "newest first", "readiness": "not ready first"}

OWN_TAGS: Final = "mlrelease."
"""What the tags begin with that we write: an alias's last move."""
LABEL: Final = 11
"""Cells of the labels in a text."""

_READINESS: Final[Mapping[Readiness, tuple[Severity, str]]] = MappingProxyType(
    {
        Readiness.READY: (Severity.OK, "READY"),
        Readiness.PENDING: (Severity.WAIT, "PENDING"),
        Readiness.FAILED: (Severity.CRIT, "FAILED"),
        Readiness.UNKNOWN: (Severity.UNKNOWN, "UNKNOWN"),
    }
)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model, the endpoints that are bound to it, and since when its registry was not read (None while it is)."""

    model: Model
    serving: tuple[EndpointStatus, ...] = ()
    stale_since: datetime | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """What an operator should know: an alias that endpoints do not follow, or that somebody moved past us."""
        found = [f"{status.ref.name}: {status.mismatch}" for status in self.serving if status.mismatch]
        found += [
            f"{stamp.alias} was moved to {words.version(now_at)} without this tool ({_stamped(stamp)})"
            for stamp in self.model.stamps.values()
            if (now_at := self.model.aliases.get(stamp.alias, "")) and now_at != stamp.version
        ]
        return tuple(found)

    @property
    def severity(self) -> Severity:
        if self.stale_since is not None:
            return Severity.STALE
        return Severity.WARN if self.problems else Severity.OK

    @property
    def followed(self) -> frozenset[str]:
        """Aliases that endpoints follow."""
        return frozenset(status.alias for status in self.serving if status.alias)

    @property
    def moved(self) -> AliasStamp | None:
        """The last move of an alias that we know of."""
        dated = [stamp for stamp in self.model.stamps.values() if stamp.at is not None]
        return max(dated, key=lambda stamp: stamp.at.timestamp() if stamp.at else 0.0, default=None)


def _stamped(stamp: AliasStamp) -> str:
    return f"last by it: {words.version(stamp.version)}, {stamp.by or 'unknown'}"


def name_of(text: str) -> str:
    """A name that can be seen: an empty one as two quotes."""
    return text or '""'


def served(row: ModelRow, glyphs: Glyphs) -> str:
    """What the endpoints run: "v41→v42, v40 x2"."""
    counts: dict[str, int] = {}
    for status in row.serving:
        text = words.versions(status.endpoint, glyphs)
        counts[text] = counts.get(text, 0) + 1
    return ", ".join(f"{text} x{count}" if count > 1 else text for text, count in counts.items())


def aliases(model: Model, followed: frozenset[str] = frozenset()) -> str:
    """ "champion v41, challenger v42": those that endpoints follow come first."""
    return ", ".join(_aliases(model, followed))


def _aliases(model: Model, followed: frozenset[str]) -> list[str]:
    ordered = sorted(model.aliases.items(), key=lambda item: (item[0] not in followed, item[0]))
    return [f"{alias} {words.version(version)}" for alias, version in ordered]


def fewer_aliases(model: Model, followed: frozenset[str], cells: int) -> str:
    """ "champion v41 +1" where not all have room: half a name would be read as another one."""
    named = _aliases(model, followed)
    for shown in range(len(named), 1, -1):
        rest = f" +{len(named) - shown}" if shown < len(named) else ""
        if width(text := ", ".join(named[:shown]) + rest) <= cells:
            return text
    return f"{named[0]} +{len(named) - 1}" if len(named) > 1 else ", ".join(named)


def cells(row: ModelRow, now: datetime, glyphs: Glyphs, alias_cells: int = 80) -> dict[str, Span]:
    """The cells of a model's row by column. Old values carry "~". `alias_cells` is the width of the column of aliases."""
    model, stale = row.model, row.stale_since is not None
    moved = row.moved

    def value(text: str, role: Role = Role.TEXT) -> Span:
        return Span(f"~{text}" if stale and text else text, Role.STALE if stale else role)

    return {
        "state": symbols.state(row.severity, glyphs),
        "model": Span(name_of(model.ref.name), Role.STRONG),
        "registry": Span(model.ref.connection),
        "aliases": value(
            fewer_aliases(model, row.followed, alias_cells - stale), Role.WARN if row.problems else Role.TEXT
        ),
        "latest": value(words.version(model.latest_version) if model.latest_version else ""),
        "serving": Span(served(row, glyphs)),
        "moved": Span(age(moved.at if moved else None, now)),
        "by": Span(str(moved.by) if moved else ""),
    }


def sort_key(column: str) -> Callable[[ModelRow], tuple[object, ...]]:
    """How models are ordered by a column of `SORTS`; what is unknown comes last."""

    def key(row: ModelRow) -> tuple[object, ...]:
        if column == "state":
            return (row.severity.rank, row.model.ref)
        if column == "moved":
            at = row.moved.at if row.moved else None
            return (at is None, -(at.timestamp() if at else 0.0), row.model.ref)
        return (row.model.ref.name, row.model.ref)

    return key


def matches(row: ModelRow, wanted: str) -> bool:
    """Whether a filter's words are found in names, aliases, tags, description, endpoints or the state's word."""
    model = row.model
    text = [model.ref.id, aliases(model), str(model.description), symbols.WORDS[row.severity]]
    text += [f"{key}={value}" for key, value in model.tags.items() if not key.startswith(OWN_TAGS)]
    text += [status.ref.id for status in row.serving]
    return matches_words(" ".join(text), wanted)


def note(row: ModelRow | None, now: datetime, cells: int) -> list[Line]:
    """Two lines under the list: what is wrong with the selected model or what it is for, and who moved an alias last."""
    if row is None:
        return [EMPTY, EMPTY]
    head = Span(f" {name_of(row.model.ref.name)}:", Role.STRONG)
    if row.stale_since is not None:
        text = Span(f" not read since {row.stale_since:%H:%M:%S}Z", Role.STALE)
    elif row.problems:
        text = Span(f" {row.problems[0]}", Role.WARN)
    else:
        text = Span(f" {row.model.description or 'no description'}", Role.MUTED)
    moved = row.moved
    if moved is None:
        last = Span(" no move of an alias is recorded", Role.MUTED)
    else:
        last = Span(
            f" last move: {_move(moved)}, {age(moved.at, now)} ago: {moved.why or 'no reason given'}", Role.MUTED
        )
    return [clip(line(head, text), cells), clip(line(last), cells)]


def _move(stamp: AliasStamp) -> str:
    was = f" from {words.version(stamp.previous)}" if stamp.previous else ""
    return f"{stamp.alias} to {words.version(stamp.version)}{was} by {stamp.by or 'unknown'}"


def heading(text: str) -> Line:
    return line(Span(f" {text}", Role.HEADING))


def labelled(label: str, text: str, cells: int, role: Role = Role.TEXT, *, limit: int = 12) -> list[Line]:
    """A label and its value, which goes on below itself where it is long."""
    rows = wrapped(text or words.UNKNOWN, max(cells - LABEL - 1, 8), role if text else Role.MUTED, limit=limit)
    pad = " " * (LABEL + 1)
    return [
        line(Span(f" {fit(label, LABEL - 1)} ", Role.MUTED) if not index else pad, *row)
        for index, row in enumerate(rows)
    ]


def detail(row: ModelRow, now: datetime, glyphs: Glyphs, cells: int) -> list[Line]:
    """A model in full: problems, aliases with their last moves, what serves, tags."""
    model = row.model
    rows: list[Line] = [
        line(Span(f" {name_of(model.ref.name)}", Role.STRONG), Span(f"  {model.ref.connection}", Role.MUTED))
    ]
    rows += wrapped(str(model.description), cells, Role.TEXT, indent=" ", limit=8) if model.description else []
    for problem in row.problems:
        rows += wrapped(problem, cells, Role.WARN, indent=f" {glyphs.states[Severity.WARN]} ")
    rows += [EMPTY, heading("ALIASES")]
    if not model.aliases:
        rows.append(line(Span(" none", Role.MUTED)))
    for alias, version in sorted(model.aliases.items()):
        rows += labelled(alias, words.version(version), cells, Role.STRONG)
        stamp = model.stamps.get(alias)
        if stamp is not None:
            was = f"from {words.version(stamp.previous)} " if stamp.previous else ""
            there = "" if stamp.version == version else f"to {words.version(stamp.version)} "
            when = f"{age(stamp.at, now)} ago" if stamp.at else "nobody knows when"
            rows += labelled("", f"{was}{there}by {stamp.by or 'unknown'}, {when}", cells, Role.MUTED)
            rows += labelled("", f"why: {stamp.why or 'no reason given'}", cells, Role.MUTED)
    rows += [EMPTY, heading("SERVING")]
    if not row.serving:
        rows.append(line(Span(" no endpoint is bound to it", Role.MUTED)))
    for status in row.serving:
        rows.append(clip(line(" ", symbols.state(status.severity, glyphs), f" {status.ref.id}"), cells))
        rows += [_variant(status, variant, cells) for variant in status.endpoint.variants]
    rows += _tags(model.tags, cells)
    count = "" if model.version_count is None else f"{model.version_count} versions, "
    latest = f"latest {words.version(model.latest_version)}, " if model.latest_version else ""
    old = staleness(model.observed_at, now)
    rows += [EMPTY, line(Span(f" {count}{latest}read {old + ' ago' if old else 'just now'}", Role.MUTED))]
    return rows


def _variant(status: EndpointStatus, variant: Variant, cells: int) -> Line:
    weight = f" {words.weight(variant.weight_bp)}" if variant.weight_bp is not None else ""
    role = Role.CANARY if variant is status.endpoint.canary else Role.STABLE
    return clip(line("        ", Span(f"{variant.role} {words.version(variant.version)}{weight}", role)), cells)


# --- versions ---------------------------------------------------------------------------------------------------------


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


def version_cells(row: VersionRow, now: datetime, glyphs: Glyphs, *, stale: bool) -> dict[str, Span]:
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


def version_text(version: ModelVersion, aliases: Sequence[str]) -> str:
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


def signature_columns(text: str) -> dict[str, str]:
    """A signature in words as column → type; columns without a name are numbered. Commas inside brackets do not part columns."""
    found: dict[str, str] = {}
    depth, start = 0, 0
    parts: list[str] = []
    for index, char in enumerate(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth = max(depth - 1, 0)
        elif char == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    for index, part in enumerate(parts, start=1):
        name, colon, kind = part.strip().rpartition(": ")
        if part.strip():
            found[name if colon else f"#{index}"] = kind if colon else part.strip()
    return found


def version_detail(
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
    rows += _tags(version.tags, cells)
    return rows


def _tags(tags: Mapping[str, str], cells: int) -> list[Line]:
    """People's tags; our own are shown as what they say, beside the alias."""
    shown = {key: value for key, value in tags.items() if not key.startswith(OWN_TAGS)}
    return [EMPTY, heading("TAGS"), *_pairs(shown, cells)] if shown else []


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
    rows += _pairs({key: number(value) for key, value in lineage.metrics.items()}, cells)
    rows += [EMPTY, heading("PARAMS")]
    rows += _pairs({key: str(value) for key, value in lineage.params.items()}, cells)
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


def _pairs(values: Mapping[str, str], cells: int) -> list[Line]:
    """Names and values, the values in one column."""
    if not values:
        return [line(Span(" none recorded", Role.MUTED))]
    widest = min(max(len(key) for key in values), max(cells // 2 - 2, 8))
    rows: list[Line] = []
    for key, value in sorted(values.items()):
        parts = wrapped(name_of(value), max(cells - widest - 3, 8), limit=4)
        rows += [
            line(Span(f" {fit(name_of(key) if not index else '', widest)}  ", Role.MUTED), *part)
            for index, part in enumerate(parts)
        ]
    return rows
