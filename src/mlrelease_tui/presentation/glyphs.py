"""Words and symbols: state is always word + glyph + colour, in UTF-8 or in plain ASCII. All symbols are one cell wide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.level import CheckStatus
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.presentation.lines import Role, Span


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of symbols. `levels` runs from least to most, for sparklines and charts."""

    states: Mapping[Severity, str]
    arrow: str
    cursor: str
    mark: str
    levels: str
    full: str
    empty: str
    rule: str
    separator: str
    ellipsis: str
    descending: str
    ascending: str


ASCII: Final = Glyphs(
    states=MappingProxyType(
        {
            Severity.CRIT: "x",
            Severity.WARN: "!",
            Severity.WAIT: "*",
            Severity.HOLD: "=",
            Severity.STALE: "~",
            Severity.UNKNOWN: "?",
            Severity.OK: "+",
        }
    ),
    arrow=">",
    cursor=">",
    mark="#",
    levels=".,:-=+*#",
    full="#",
    empty=".",
    rule="-",
    separator="|",
    ellipsis="...",
    descending="v",
    ascending="^",
)

UNICODE: Final = Glyphs(
    states=MappingProxyType({**ASCII.states, Severity.CRIT: "✗", Severity.OK: "✓"}),
    arrow="→",
    cursor="❯",
    mark="▪",
    levels="▁▂▃▄▅▆▇█",
    full="█",
    empty="░",
    rule="─",
    separator="│",
    ellipsis="…",
    descending="▾",
    ascending="▴",
)

WORDS: Final[Mapping[Severity, str]] = MappingProxyType(
    {
        Severity.CRIT: "CRIT",
        Severity.WARN: "WARN",
        Severity.WAIT: "WAIT",
        Severity.HOLD: "HOLD",
        Severity.STALE: "STALE",
        Severity.UNKNOWN: "UNKN",
        Severity.OK: "OK",
    }
)

ROLES: Final[Mapping[Severity, Role]] = MappingProxyType(
    {
        Severity.CRIT: Role.CRIT,
        Severity.WARN: Role.WARN,
        Severity.WAIT: Role.WAIT,
        Severity.HOLD: Role.HOLD,
        Severity.STALE: Role.STALE,
        Severity.UNKNOWN: Role.UNKNOWN,
        Severity.OK: Role.OK,
    }
)

LINK_ROLES: Final[Mapping[LinkState, Role]] = MappingProxyType(
    {
        LinkState.OK: Role.OK,
        LinkState.SLOW: Role.WARN,
        LinkState.DOWN: Role.CRIT,
        LinkState.AUTH: Role.CRIT,
        LinkState.BROKEN: Role.CRIT,
        LinkState.UNKNOWN: Role.UNKNOWN,
    }
)

CHECK_SEVERITY: Final[Mapping[CheckStatus, Severity]] = MappingProxyType(
    {
        CheckStatus.PASS: Severity.OK,
        CheckStatus.WARN: Severity.WARN,
        CheckStatus.UNKNOWN: Severity.UNKNOWN,
        CheckStatus.FAIL: Severity.CRIT,
    }
)


def state(severity: Severity, glyphs: Glyphs) -> Span:
    """Glyph and word of a severity, in its role: "✗CRIT"."""
    return Span(f"{glyphs.states[severity]}{WORDS[severity]}", ROLES[severity])


def sparkline(values: Sequence[float | None], cells: int, glyphs: Glyphs, *, top: float | None = None) -> str:
    """The last `cells` values as one line of levels. None is a gap; a value above zero is never drawn as nothing.

    `top` is the value of the highest level; None takes the largest value.
    """
    shown = list(values)[-cells:]
    known = [value for value in shown if value is not None]
    ceiling = top if top is not None else max(known, default=0.0)
    chars: list[str] = [" "] * (cells - len(shown))
    for value in shown:
        if value is None:
            chars.append(" ")
        elif value <= 0 or ceiling <= 0:
            chars.append(glyphs.levels[0])
        else:
            index = min(int(value / ceiling * len(glyphs.levels)), len(glyphs.levels) - 1)
            chars.append(glyphs.levels[max(index, 1)])
    return "".join(chars)


def chart(
    values: Sequence[float | None], cells: int, rows: int, glyphs: Glyphs, *, top: float | None = None
) -> list[str]:
    """A chart of `rows` lines, highest first. None is a gap; `top` as in `sparkline`."""
    shown = list(values)[-cells:]
    known = [value for value in shown if value is not None]
    ceiling = top if top is not None else max(known, default=0.0)
    steps = len(glyphs.levels)
    grid: list[list[str]] = [[" "] * cells for _ in range(rows)]
    for column, value in enumerate(shown, start=cells - len(shown)):
        if value is None:
            continue
        share = value / ceiling if ceiling > 0 else 0.0
        filled = max(min(round(share * rows * steps), rows * steps), 1)
        for row in range(rows):
            level = min(max(filled - row * steps, 0), steps)
            if level:
                grid[rows - 1 - row][column] = glyphs.levels[level - 1]
    return ["".join(row) for row in grid]


def bar(share: float, cells: int, glyphs: Glyphs) -> str:
    """A bar of `cells` cells, `share` (0–1) of them full; more than nothing shows, less than all shows."""
    filled = round(min(max(share, 0.0), 1.0) * cells)
    if 0 < share < 1:
        filled = min(max(filled, 1), cells - 1)
    return glyphs.full * filled + glyphs.empty * (cells - filled)


def wants_ascii(environ: Mapping[str, str], encoding: str) -> bool:
    """Whether the terminal is better off with ASCII: the locale says so, or what is written is not UTF-8.

    The first of LC_ALL, LC_CTYPE and LANG that is set decides, as in POSIX. None of them set says nothing: that is a bare
    container more often than an old terminal.
    """
    if "utf" not in encoding.lower():
        return True
    chosen = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    return bool(chosen) and "utf" not in chosen.lower()
