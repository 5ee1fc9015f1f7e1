"""An object that a workload can't make sense of: a row that says so, and not the end of everybody else's.

Objects are what people and controllers write; one that nobody thought of must not take a fleet's other rows with it.
"""

from __future__ import annotations

from datetime import datetime

from mlrelease_tui.connectors.kubernetes.objects import uid
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Sighting, Workload
from mlrelease_tui.domain.rollout import Endpoint, Native, Phase, Rollout, Strategy
from mlrelease_tui.domain.text import SafeText


def unreadable(workload: Workload, sighting: Sighting, frame: Frame, error: Exception, seen_at: datetime) -> Endpoint:
    """An endpoint of which nothing is known but that it is there, and that reading it failed: it offers no verb."""
    return Endpoint(
        frame.ref(sighting.item),
        uid=uid(sighting.item),
        revision=f"unreadable: {type(error).__name__}",
        variants=(),
        rollout=Rollout(Strategy.NONE, Phase.UNKNOWN, SafeText(""), SafeText("")),
        native=Native(SafeText(workload.kind), SafeText("can't be read")),
        observed_at=seen_at,
        environment=frame.environment,
        problems=(
            SafeText(
                f"this {workload.kind} can't be read ({fault(error)}): look at it with kubectl; that is a fault of the connector"
            ),
        ),
    )


def fault(error: Exception) -> str:
    """What went wrong, in short. The object's own text may be in it: `SafeText` before it is shown."""
    return f"{type(error).__name__}: {str(error)[:80]}"
