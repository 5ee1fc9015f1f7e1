"""Two versions of a model side by side: what differs in metrics, parameters, data and signature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.domain.models import Lineage, ModelVersion
from mlrelease_tui.presentation import words
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.labels import heading, name_of
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, clip, fit, line, width, wrap
from mlrelease_tui.presentation.versions import number, readiness, short

SECTIONS: Final = ("METRICS", "PARAMS", "SIGNATURE IN", "SIGNATURE OUT", "DATASETS", "VERSION")
_ROWS: Final = 6
"""Lines that one value takes at most: values that are cut alike would look the same."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that both, or one of them, have. None: that version has it not. `delta` in words, "" where there is none."""

    section: str
    name: str
    before: str | None
    after: str | None
    delta: str = ""

    @property
    def same(self) -> bool:
        return self.before == self.after

    @property
    def word(self) -> str:
        """ "changed", "added", "removed", or "" where both are the same."""
        if self.same:
            return ""
        return "added" if self.before is None else "removed" if self.after is None else "changed"


def delta(before: float | str | None, after: float | str | None) -> str:
    """ "+0.0123 (+1.4%)"; "" where one of them is no finite number. Which direction is good nobody told us."""
    if not isinstance(before, float) or not isinstance(after, float):
        return ""
    if not (math.isfinite(before) and math.isfinite(after)) or before == after:
        return ""
    change = after - before
    relative = f" ({change / abs(before):+.1%})" if before else ""
    return f"{change:+.4g}{relative}"


def compare(
    before: ModelVersion, before_lineage: Lineage, after: ModelVersion, after_lineage: Lineage
) -> tuple[Difference, ...]:
    """Everything that can be compared, by section; within each what differs comes first."""
    found: list[Difference] = []
    old_metrics, new_metrics = before_lineage.metrics, after_lineage.metrics
    for name in sorted(old_metrics.keys() | new_metrics.keys()):
        old, new = old_metrics.get(name), new_metrics.get(name)
        found.append(
            Difference(
                "METRICS",
                name,
                None if old is None else number(old),
                None if new is None else number(new),
                delta(old, new),
            )
        )
    found += _pairs("PARAMS", before_lineage.params, after_lineage.params)
    found += _pairs("DATASETS", _datasets(before_lineage), _datasets(after_lineage))
    for section, old_text, new_text in (
        ("SIGNATURE IN", before_lineage.signature_inputs, after_lineage.signature_inputs),
        ("SIGNATURE OUT", before_lineage.signature_outputs, after_lineage.signature_outputs),
    ):
        found += _pairs(section, signature_columns(str(old_text)), signature_columns(str(new_text)))
    found += _pairs("VERSION", _own(before), _own(after))
    return tuple(sorted(found, key=lambda item: (SECTIONS.index(item.section), item.same)))


def _own(version: ModelVersion) -> dict[str, str]:
    return {
        "created": f"{version.created_at:%Y-%m-%d %H:%M}Z" if version.created_at else "",
        "by": str(version.created_by),
        "run": version.run_id,
        "source": str(version.source),
        "digest": short(version.digest, 16),
        "description": str(version.description),
    }


def _datasets(lineage: Lineage) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in lineage.datasets:
        name = f"{item.name} ({item.context})" if item.context else str(item.name)
        found[name if name not in found else f"{name} {len(found) + 1}"] = str(item.digest)
    return found


def _pairs(section: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[Difference]:
    names = [*before, *(name for name in after if name not in before)]
    return [
        Difference(
            section,
            name,
            str(before[name]) if name in before else None,
            str(after[name]) if name in after else None,
        )
        for name in names
    ]


def rows(
    before: ModelVersion, after: ModelVersion, differences: tuple[Difference, ...], glyphs: Glyphs, cells: int
) -> list[Line]:
    """Both versions in columns. Equal values are counted, not listed, so that what differs is seen."""
    names = max((width(item.name) for item in differences if not item.same), default=8)
    first = min(max(names, 11), max(cells // 4, 8)) + 1
    last = 20 if cells >= 72 else 0
    value = max((cells - first - last - 4) // 2, 6)

    def columns(name: str, old: Span, new: Span, end: Span) -> list[Line]:
        olds, news = wrap(old.text, value, limit=_ROWS), wrap(new.text, value, limit=_ROWS)
        found: list[Line] = []
        for index in range(max(len(olds), len(news))):
            left = olds[index] if index < len(olds) else ""
            right = news[index] if index < len(news) else ""
            row = line(
                Span(f" {fit(name if not index else '', first - 1, ellipsis=glyphs.ellipsis)} ", Role.MUTED),
                Span(f"{fit(left, value)} ", old.role),
                Span(f"{fit(right, value)} ", new.role),
                end if not index else "",
            )
            found.append(clip(row, cells))
        return found

    old_word, new_word = words.version(before.ref.version), words.version(after.ref.version)
    title = f" {name_of(before.ref.model.name)}: {old_word} {glyphs.arrow} {new_word}"
    out: list[Line] = [
        clip(line(Span(title, Role.STRONG)), cells),
        *columns(
            "",
            Span(old_word, Role.TITLE),
            Span(new_word, Role.TITLE),
            Span("difference" if last else "", Role.HEADING),
        ),
        *columns("readiness", readiness(before.readiness, glyphs), readiness(after.readiness, glyphs), Span("")),
    ]
    for section in SECTIONS:
        mine = [item for item in differences if item.section == section]
        if not mine:
            continue
        changed = [item for item in mine if not item.same]
        same = len(mine) - len(changed)
        told = f"  {len(changed)} differ, {same} the same" if changed else f"  all {same} the same"
        out += [EMPTY, (*heading(section), Span(told, Role.MUTED))]
        for item in changed:
            end = Span(item.delta or item.word, Role.STRONG if item.delta else Role.WARN)
            old = Span(words.UNKNOWN, Role.MUTED) if item.before is None else Span(item.before or '""')
            new = Span(words.UNKNOWN, Role.MUTED) if item.after is None else Span(item.after or '""', Role.STRONG)
            out += columns(item.name, old, new, end)
    if not any(item.section != "VERSION" for item in differences):
        out += [EMPTY, line(Span(" neither run recorded metrics, parameters, data sets or a signature", Role.MUTED))]
    return out


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
