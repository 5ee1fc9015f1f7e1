"""To which version a rollback without a version returns, above all where an earlier rollback was left half done."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import (
    Endpoint,
    Native,
    Phase,
    Role,
    Rollout,
    Stamp,
    Strategy,
    Variant,
)
from mlrelease_tui.domain.status import known_good_of
from mlrelease_tui.domain.text import SafeText

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def endpoint(
    *variants: tuple[Role, str], previous: str = "", verb: str = "", source: str = "", target: str = ""
) -> Endpoint:
    stable = next((version for role, version in variants if role is Role.STABLE), "")
    made = tuple(Variant(f"v{version}", role, SafeText(version)) for role, version in variants)
    moving = bool(source or target)
    return Endpoint(
        ref=EndpointRef("local", SafeText("local"), SafeText("wine")),
        uid="1",
        revision="1",
        variants=made,
        rollout=Rollout(
            Strategy.CANARY, Phase.PROGRESSING if moving else Phase.COMPLETE, source or stable, target or stable
        ),
        native=Native(SafeText("route")),
        observed_at=NOW,
        previous_version=previous,
        stamp=Stamp("id", verb, SafeText("ann"), SafeText(""), NOW) if verb else None,
    )


STABLE, CANARY, PREVIEW = Role.STABLE, Role.CANARY, Role.PREVIEW


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (endpoint((STABLE, "3"), previous="2"), "2"),
        (endpoint((STABLE, "3")), ""),
        (endpoint((STABLE, "2"), (CANARY, "3"), source="2", target="3"), "2"),
        # Returning from 3 to 2: the process of 2 was started, no request went there yet.
        (endpoint((STABLE, "3"), (PREVIEW, "2"), previous="2", verb="rollback", source="3", target="2"), "2"),
        # Traffic is back, 3 is drained.
        (endpoint((STABLE, "2"), (PREVIEW, "3"), previous="1", verb="rollback", source="3", target="2"), "2"),
        # The route has 2 alone, the process of 3 still runs: it looks like a version that was just started.
        (endpoint((STABLE, "2"), (PREVIEW, "3"), previous="1", verb="rollback", source="2", target="3"), "2"),
        # Done, or done all but the alias: what serves is good. Pressed twice in a hurry, it goes no version further back.
        (endpoint((STABLE, "2"), previous="1", verb="rollback"), "2"),
        (endpoint((STABLE, "2"), verb="rollback"), "2"),
        # Whoever moved on since, moved away from it.
        (endpoint((STABLE, "2"), previous="1", verb="promote"), "1"),
        # To 1, not to the version before: killed when its process was started. Stable is where one returns to now.
        (endpoint((STABLE, "3"), (PREVIEW, "1"), previous="2", verb="rollback", source="3", target="1"), "3"),
    ],
)
def test_a_rollback_that_was_left_half_done_goes_on_to_where_it_went(found: Endpoint, wanted: str) -> None:
    assert known_good_of(found) == wanted


def test_without_a_stable_version_the_backend_is_believed() -> None:
    assert known_good_of(replace(endpoint((PREVIEW, "3")), previous_version="2")) == "2"
