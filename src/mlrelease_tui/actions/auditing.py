"""The audit as the app looks after it: read it again, settle what was left open, verify it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mlrelease_tui.actions.desk import Desk
from mlrelease_tui.audit.verify import TAMPERED, verify
from mlrelease_tui.domain.action import AuditCheck
from mlrelease_tui.domain.text import SafeText

SHOWN: Final = 20


class Auditor:
    """`folder` holds the chains. Nothing here raises: a log that can't be read is what the check says."""

    def __init__(self, desk: Desk, folder: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._desk = desk
        self._folder = folder
        self._now = now

    async def look_again(self) -> None:
        """Judge open intents anew and show the log's newest records; both come as facts."""
        await self._desk.reconcile()

    async def verify(self) -> AuditCheck:
        """Check every chain, in a thread."""
        return await asyncio.to_thread(self._verify)

    def _verify(self) -> AuditCheck:
        try:
            found = verify(self._folder)
        except OSError as error:
            reason = SafeText(f"{self._folder} can't be read: {error.strerror or error}")
            return AuditCheck(self._now(), 0, 0, problem_count=1, problems=(reason,))
        problems = tuple(SafeText(f"{item.file}:{item.line}: {item.reason}") for item in found.breaks[:SHOWN])
        return AuditCheck(
            self._now(),
            found.records,
            len(found.chains),
            found.exit_code == TAMPERED,
            len(found.breaks),
            problems,
        )
