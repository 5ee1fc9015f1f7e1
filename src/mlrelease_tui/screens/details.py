"""What the pages about an endpoint ask of its backend: read when one of them is looked at and when the endpoint changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from mlrelease_tui.domain.details import Details
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.screens.services import Services

_AGAIN: Final = timedelta(seconds=3)
"""An endpoint that changes all the time is read this often at most."""


class DetailPage:
    """What stands behind the tabs of replicas and events."""

    def __init__(self, services: Services, ref: EndpointRef) -> None:
        self._services = services
        self._ref = ref
        self._of: object = None
        self._asked_at: datetime | None = None

    @property
    def offered(self) -> bool:
        """Whether the connection knows more of its endpoints."""
        health = self._services.store.state.connections.get(self._ref.connection)
        return health is not None and "details" in health.capabilities

    @property
    def found(self) -> Details | None:
        """What was read, None while it is awaited."""
        return self._services.store.state.details.get(self._ref)

    def look(self) -> None:
        """Read what is looked at, unless it was read since the endpoint changed last."""
        endpoint, now = self._services.store.state.endpoints.get(self._ref), self._services.now()
        if not self.offered or endpoint is None or endpoint is self._of:
            return
        if self._asked_at is None or now - self._asked_at >= _AGAIN:
            self._of, self._asked_at = endpoint, now
            self._services.reader.want_details(self._ref)

    def again(self) -> None:
        """Read it anew."""
        self._of = self._asked_at = None
        self.look()

    def leave(self) -> None:
        """The page is closed: what was read of it is kept no longer."""
        if self._asked_at is not None:
            self._services.reader.close_details(self._ref)
