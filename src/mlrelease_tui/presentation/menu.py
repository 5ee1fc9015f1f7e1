"""What the entries of the actions menu would do to this endpoint now, in few words."""

from __future__ import annotations

from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.presentation import words


def words_for(name: str, status: EndpointStatus) -> str:  # noqa: PLR0911 - one return an entry
    """What the entry of that name would do here; "" where the catalogue's own words say as much."""
    endpoint = status.endpoint
    rollout = endpoint.rollout
    stable = words.version(endpoint.stable.version if endpoint.stable else "")
    match name:
        case "promote" if not rollout.in_flight:
            return "promote: start a canary of a version"
        case "promote":
            step = rollout.next_step
            if step is None or step.weight_bp is None:
                return f"promote: last step, {words.version(rollout.to_version)} takes over"
            return f"promote: next step, {words.version(rollout.to_version)} to {words.weight(step.weight_bp)}"
        case "full" if rollout.in_flight:
            return f"promote fully: all users to {words.version(rollout.to_version)}"
        case "hold" if endpoint.canary is not None:
            return f"hold at {words.weight(endpoint.canary.weight_bp)}"
        case "abort" if rollout.in_flight:
            return f"abort: traffic to {stable}, {words.version(rollout.to_version)} kept"
        case "rollback" if status.known_good:
            return f"roll back to {words.version(status.known_good)}: traffic, rest, alias"
        case _:
            return ""
