"""What a planned write makes of the document that it was planned on. Pure: documents in, documents out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlrelease_tui.connectors.local.desired import Mark, WantedProcess, restarted
from mlrelease_tui.connectors.local.release_state import KnownVersion, state_from_json
from mlrelease_tui.routing.api import Mirror, RoutedVersion, TrafficPlan


def route_after(
    payload: Mapping[str, Any],
    mark: Mark,
    current: TrafficPlan | None,
    url_of: Callable[[str], str],
    health_path: str,
) -> TrafficPlan:
    """The route once the write is made by `mark`; `url_of` says where the process of a variant listens."""
    known = {name: KnownVersion(**value) for name, value in payload["versions"].items()}
    before = state_from_json(current.state if current else {})
    mirror = payload["mirror"]
    return TrafficPlan(
        route=str(payload["route"]),
        stable=str(payload["stable"]),
        versions=tuple(
            RoutedVersion(str(name), url_of(name), int(weight), health_path) for name, weight in payload["weights"]
        ),
        mirror=Mirror(str(mirror[0]), int(mirror[1])) if mirror else None,
        sticky_cookie=current.sticky_cookie if current else "",
        state=before.changed(payload["change"], mark).knowing(known).as_json(),
        generation=current.generation if current else 0,
    )


def processes_after(payload: Mapping[str, Any], now: Mapping[str, WantedProcess]) -> Mapping[str, WantedProcess]:
    """The wanted processes once the write is made."""
    kept = {name: process for name, process in now.items() if name not in payload.get("remove", ())}
    kept |= {name: WantedProcess(**value) for name, value in payload.get("add", {}).items()}
    return kept | {name: restarted(kept[name]) for name in payload.get("restart", ()) if name in kept}
