"""What the versions on the screen need to have read: asked once, and again where no answer came for a while."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from mlrelease_tui.domain.models import Model
from mlrelease_tui.domain.refs import ModelRef, VersionRef
from mlrelease_tui.screens.services import Reader
from mlrelease_tui.store.state import VersionList

AHEAD: Final = 50
"""Rows left below the cursor at which the next page is asked for."""
ASK_AGAIN: Final = timedelta(seconds=5)
"""A wish that was not answered is made again after this time."""


class Wishes:
    """Remembers what was asked of the reader, and when."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._asked: dict[object, datetime] = {}

    def forget(self) -> None:
        """Everything may be asked again at once."""
        self._asked.clear()

    def versions(self, model: Model, known: VersionList | None, cursor: int, now: datetime) -> None:
        """Read the newest page where none is known, or where a version came since: unless the operator is deep in the list."""
        if known is None:
            if self._may_ask(("versions", model.ref), now):
                self._reader.want_versions(model.ref)
            return
        latest = model.latest_version
        newest = {version.ref.version for version in known.versions[:AHEAD]}
        outdated = (
            bool(latest) and latest not in newest and model.observed_at is not None and model.observed_at > known.at
        )
        if outdated and cursor < AHEAD and self._may_ask(("versions", latest), now):
            self._reader.want_versions(model.ref)

    def more(self, model: ModelRef, known: VersionList, left: int, page: int, now: datetime) -> None:
        """Read the next page where fewer than enough rows are `left` below the cursor, or than fit on a `page`."""
        if known.next_token and left <= max(AHEAD, page) and self._may_ask(("more", known.next_token), now):
            self._reader.want_more_versions(model)

    def lineage(self, version: VersionRef, now: datetime) -> None:
        if self._may_ask(("lineage", version), now):
            self._reader.want_lineage(version)

    def _may_ask(self, key: object, now: datetime) -> bool:
        before = self._asked.get(key)
        if before is not None and now - before < ASK_AGAIN:
            return False
        self._asked[key] = now
        return True
