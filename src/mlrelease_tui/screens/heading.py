"""What the two lines at the top of every screen are made of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.presentation.header import Link
from mlrelease_tui.store.state import Freshness, State


def _read_whole(fresh: Freshness) -> datetime | None:
    """Until when everything was read: where one kind of read fails, until that one failed, however well the others go."""
    failing = [part for part in fresh.parts.values() if part.failing_since is not None]
    known = [at for part in failing if (at := part.read_at or part.failing_since) is not None]
    return min(known, default=fresh.read_at)


class Links:
    """The connections as the header and their own screen show them."""

    def __init__(self) -> None:
        self._seen: tuple[Mapping[EndpointRef, Endpoint], dict[str, datetime]] = ({}, {})

    def of(self, state: State) -> list[Link]:
        """Every connection that is configured or was ever read, by name."""
        found: list[Link] = []
        for name in sorted(state.connections.keys() | state.freshness.keys() | state.from_cache):
            health = state.connections.get(name) or ConnectionHealth(name, "", LinkState.UNKNOWN)
            fresh = state.freshness.get(name)
            found.append(
                Link(
                    health,
                    _read_whole(fresh) if fresh else self._last_known(state, name),
                    fresh is not None and fresh.failing_since is not None,
                    name in state.from_cache,
                )
            )
        return found

    def _last_known(self, state: State, connection: str) -> datetime | None:
        """When the rows of a connection were read, where this run has not read it yet."""
        if self._seen[0] is not state.endpoints:
            newest: dict[str, datetime] = {}
            for ref, item in state.endpoints.items():
                known = newest.get(ref.connection)
                if known is None or item.observed_at > known:
                    newest[ref.connection] = item.observed_at
            self._seen = (state.endpoints, newest)
        return self._seen[1].get(connection)
