"""`python -m benchmarks`: measure the targets of `docs/performance.md`, print them, keep them. Fails on nothing it measures."""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from benchmarks import durability, keys, kubernetes, memory, starts, traffic
from benchmarks.report import Row, keep, table

Measure = Callable[[Path, bool], list[Row]]
"""Takes a folder of its own and whether to be quick."""

MEASURES: Final[Mapping[str, Measure]] = MappingProxyType(
    {
        "1": starts.commands,
        "2": starts.first_paint,
        "3": keys.key_to_paint,
        "4": traffic.output,
        "5": traffic.plan_panel,
        "7": memory.resident,
        "9": keys.stalls,
        "10": durability.append,
        "kubernetes": kubernetes.fleet,
    }
)
RESULTS: Final = Path(__file__).with_name("results")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the targets of docs/performance.md."
    )
    parser.add_argument("--only", action="append", choices=list(MEASURES), help="this target (repeatable)")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs: numbers are rougher")
    chosen = parser.parse_args()
    rows: list[Row] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mlrelease-bench-") as folder:
        for target in chosen.only or MEASURES:
            print(f"measuring target {target} …", flush=True)
            rows += _measured(target, Path(folder) / str(target), chosen.quick)
            gc.collect()
    path = keep(rows, RESULTS, quick=chosen.quick)
    print(f"\n{table(rows)}\n\n{time.monotonic() - began:.0f} s; kept in {path}")


def _measured(target: str, folder: Path, quick: bool) -> list[Row]:
    """What can't be measured is a row that says why: the others are worth as much without it."""
    folder.mkdir(mode=0o700)
    try:
        return MEASURES[target](folder, quick)
    except (Exception, SystemExit) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
        said = " … ".join(dict.fromkeys((lines[0], lines[-1])))
        return [
            Row(
                int(target) if target.isdigit() else 8,
                "not measured",
                None,
                None,
                "",
                note=f"{type(error).__name__}: {said}",
            )
        ]


if __name__ == "__main__":
    main()
