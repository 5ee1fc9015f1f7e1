"""Telling what became of actions that an earlier run left open, once each."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlrelease_tui.domain.action import AuditEntry


class Settled:
    """Hears the audit. What was found out before `since` was told by another run."""

    def __init__(self, since: datetime) -> None:
        self._since = since
        self._told: set[str] = set()

    def hear(self, entries: Iterable[AuditEntry]) -> str:
        """A sentence about what is new, "" where nothing is."""
        found = [entry for entry in entries if entry.kind == "reconciled" and entry.at >= self._since]
        new = [entry for entry in found if entry.id not in self._told]
        if not new:
            return ""
        self._told |= {entry.id for entry in new}
        last = new[-1]
        more = f" (and {len(new) - 1} more)" if len(new) > 1 else ""
        return f"left open before: {last.verb} {last.target}: {last.result.replace('_', ' ')}{more}"
