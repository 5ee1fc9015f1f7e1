"""What each verb does on each workload, as the tests saw it beside the native tool: the table of docs/kubernetes.md.

A test records a row with the fixture `verb_table`; the committed rows (`verbs.json`) must be what it saw. To write them anew:
`MLRELEASE_WRITE_VERBS=1 make test-kubernetes && make docs`.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

ROWS: Final = Path(__file__).with_name("verbs.json")
WRITE_VARIABLE: Final = "MLRELEASE_WRITE_VERBS"


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """One verb on one workload. `end` is the state that both our writes and the native tool's led to."""

    workload: str
    """ "Argo Rollout, canary"."""
    verb: str
    """Ours, with what matters of its arguments: "rollback, canary paused by hand"."""
    writes: str
    """What we send, in short: "1 JSON Patch: stable ReplicaSet's template, paused false"."""
    native: str
    """The native tool's command, or why it has none."""
    end: str
    """ "Healthy, 10 of 10 pods on version 1"."""


class VerbTable:
    """The committed rows, and the ones that tests record."""

    def record(self, row: Row) -> None:
        """Compare a row with the committed one; AssertionError where it differs. Writes it instead where that is asked for."""
        if os.environ.get(WRITE_VARIABLE):
            _write(row)
            return
        known = {(item.workload, item.verb): item for item in rows()}
        assert known.get((row.workload, row.verb)) == row, (
            f"docs/kubernetes.md says otherwise: {WRITE_VARIABLE}=1 writes it"
        )


def rows() -> tuple[Row, ...]:
    """The committed rows, by workload and verb."""
    if not ROWS.exists():
        return ()
    return tuple(sorted(Row(**item) for item in json.loads(ROWS.read_text(encoding="utf-8"))))


def _write(row: Row) -> None:
    # Tests run in several processes.
    with ROWS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = [item for item in rows() if (item.workload, item.verb) != (row.workload, row.verb)]
        data = [asdict(item) for item in sorted([*kept, row])]
        ROWS.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def page_section() -> str:
    """The table as Markdown, one section a workload."""
    found: list[str] = []
    for workload in dict.fromkeys(item.workload for item in rows()):
        found.append(f"\n### {workload}\n\n| verb | writes | native tool | both end in |\n|---|---|---|---|\n")
        found += [
            f"| {item.verb} | {item.writes} | {item.native} | {item.end} |\n"
            for item in rows()
            if item.workload == workload
        ]
    return "".join(found)
