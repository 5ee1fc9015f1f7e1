"""Whether a write would be let through, found out without writing: the directory's permissions, the command, the supervisor."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from mlrelease_tui.connectors.local.definitions import read_definitions
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.observed import halted_words, read_observed
from mlrelease_tui.connectors.local.writes import PROCESSES, ROUTE
from mlrelease_tui.domain.plan import Check, CheckStatus, Write
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import BackendError


def rehearsal(layout: Layout, write: Write) -> tuple[Check, ...]:
    """Blocking; reads a few small files. Empty for a write that only waits."""
    if not write.mutates:
        return ()
    folder = layout.routes if write.operation == ROUTE else layout.directory
    checks = [_may(folder)]
    payload = json.loads(write.payload)
    if write.operation == PROCESSES and payload.get("add"):
        checks += _can_start(layout, payload["endpoint"])
    return tuple(checks)


def _may(folder: Path) -> Check:
    # Documents are replaced by rename, so that the right to write is the directory's.
    if os.access(folder, os.W_OK | os.X_OK):
        return Check("may", CheckStatus.PASS, f"{SafeText(folder)} is ours to write")
    return Check("may", CheckStatus.FAIL, f"{SafeText(folder)} is not ours to write")


def _can_start(layout: Layout, key: str) -> list[Check]:
    try:
        definition, supervision = read_definitions(layout).get(key), read_observed(layout)
    except BackendError as failure:
        return [Check("start", CheckStatus.UNKNOWN, str(SafeText(failure.message)))]
    if definition is None:
        return [Check("start", CheckStatus.FAIL, f"{SafeText(key)} is not defined any more")]
    if not supervision.alive:
        return [Check("start", CheckStatus.FAIL, "no supervisor runs that could start a process")]
    if supervision.halted:
        return [Check("start", CheckStatus.FAIL, halted_words(supervision))]
    program = definition.command[0]
    if "{" not in program and shutil.which(program) is None:
        return [Check("start", CheckStatus.FAIL, f"there is no program {SafeText(program)}")]
    return [Check("start", CheckStatus.PASS, f"the supervisor runs, {SafeText(Path(program).name)} is there")]
