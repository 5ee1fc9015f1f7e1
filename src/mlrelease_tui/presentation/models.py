"""Models as rows and as text: which alias names what, what serves, who moved an alias last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mlrelease_tui.domain.models import AliasStamp, Model
from mlrelease_tui.domain.rollout import Variant
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.presentation import glyphs as symbols
from mlrelease_tui.presentation import words
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.labels import heading, labelled, name_of, pairs
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, clip, line, width, wrapped
from mlrelease_tui.presentation.matching import matches as matches_words
from mlrelease_tui.presentation.table import Column
from mlrelease_tui.presentation.times import age, staleness

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

OWN_TAGS: Final = "mlrelease."
"""What the tags begin with that we write: an alias's last move."""


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
        # Texts in place of the reference: comparing references takes most of the time of sorting.
        ref = (row.model.ref.connection, row.model.ref.name)
        if column == "state":
            return (row.severity.rank, *ref)
        if column == "moved":
            at = row.moved.at if row.moved else None
            return (at is None, -(at.timestamp() if at else 0.0), *ref)
        return (row.model.ref.name, *ref)

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
    rows += tags_of(model.tags, cells)
    count = "" if model.version_count is None else f"{model.version_count} versions, "
    latest = f"latest {words.version(model.latest_version)}, " if model.latest_version else ""
    old = staleness(model.observed_at, now)
    rows += [EMPTY, line(Span(f" {count}{latest}read {old + ' ago' if old else 'just now'}", Role.MUTED))]
    return rows


def _variant(status: EndpointStatus, variant: Variant, cells: int) -> Line:
    weight = f" {words.weight(variant.weight_bp)}" if variant.weight_bp is not None else ""
    role = Role.CANARY if variant is status.endpoint.canary else Role.STABLE
    return clip(line("        ", Span(f"{variant.role} {words.version(variant.version)}{weight}", role)), cells)


def tags_of(tags: Mapping[str, str], cells: int) -> list[Line]:
    """People's tags; our own are shown as what they say, beside the alias."""
    shown = {key: value for key, value in tags.items() if not key.startswith(OWN_TAGS)}
    return [EMPTY, heading("TAGS"), *pairs(shown, cells)] if shown else []
