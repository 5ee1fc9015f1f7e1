"""One measured line of the table, and how lines are printed and kept."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """`target` is the number in `docs/performance.md`. `baseline` and `ours` are in `unit`; None where there is none.

    `limit` is the target in words, `met` None where the row only informs.
    """

    target: int
    what: str
    baseline: float | None
    ours: float | None
    unit: str
    limit: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.ours / self.baseline if self.ours is not None and self.baseline else None


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed; NaN where there is none."""
    ordered = sorted(values)
    return ordered[min(math.ceil(share * len(ordered)), len(ordered)) - 1] if ordered else math.nan


def table(rows: Sequence[Row]) -> str:
    heading = ("#", "what", "baseline", "ours", "ratio", "target", "met?")
    lines = [heading, *(_cells(row) for row in rows)]
    widths = [max(len(cells[index]) for cells in lines) for index in range(len(heading))]
    right = {2, 3, 4}
    out = []
    for number, cells in enumerate(lines):
        padded = (
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        out.append("  ".join(padded).rstrip())
        note = rows[number - 1].note if number else ""
        if note:
            out.append(f"{'':{widths[0] + 2}}  {note}")
    return "\n".join(out)


def _cells(row: Row) -> tuple[str, ...]:
    met = "" if row.met is None else "yes" if row.met else "NO"
    ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
    return (
        str(row.target),
        row.what,
        _number(row.baseline, row.unit),
        _number(row.ours, row.unit),
        ratio,
        row.limit,
        met,
    )


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    digits = 0 if unit in {"bytes", "B/s", "requests"} else 1 if abs(value) >= 1 or not value else 3
    return f"{value:,.{digits}f} {unit}"


def keep(rows: Sequence[Row], folder: Path, *, quick: bool) -> Path:
    """Write the rows, and what they were measured on, as JSON; the file."""
    now = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%SZ}.json"
    about = {
        "at": now.isoformat(timespec="seconds"),
        "commit": _commit(),
        "quick": quick,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "textual": version("textual"),
        "load": os.getloadavg(),
    }
    found = [{**asdict(row), "ratio": row.ratio} for row in rows]
    path.write_text(json.dumps({**about, "rows": found}, indent=1) + "\n", "utf-8")
    return path


def _commit() -> str:
    asked = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return found.stdout.strip()
