"""Questions to a state. Pure; `now` is always given."""

from __future__ import annotations

from datetime import datetime

from mlrelease_tui.domain.action import ActionProgress
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.store.state import State


def status_of(state: State, ref: EndpointRef, now: datetime) -> EndpointStatus | None:
    """Everything known of one endpoint, judged; None where it is not known."""
    raise NotImplementedError


def fleet(state: State, now: datetime) -> tuple[EndpointStatus, ...]:
    """All endpoints, worst first, then by reference."""
    return tuple(
        sorted(
            (status for ref in state.endpoints if (status := status_of(state, ref, now)) is not None),
            key=lambda status: (status.severity.rank, status.ref),
        )
    )


def action_on(state: State, ref: EndpointRef) -> ActionProgress | None:
    """The action under way on this endpoint, None where there is none."""
    raise NotImplementedError
