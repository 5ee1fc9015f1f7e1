"""The weights of a release, as an object notes them that has no steps of its own."""

from __future__ import annotations

import json
from typing import Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import notes, text
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP

STEPS: Final = f"{marks.PREFIX}steps"
"""The annotation with the weights of a release, in percent: `[10, 50]`."""


def steps_of(item: Object) -> tuple[int, ...]:
    """The weights in basis points, ascending and without 0 and 100 %; () where the object notes none."""
    try:
        found = json.loads(text(notes(item), STEPS) or "[]")
    except ValueError:
        return ()
    if not isinstance(found, list):
        return ()
    weights = {round(item * 100) for item in found if isinstance(item, int | float) and not isinstance(item, bool)}
    return tuple(sorted(weight for weight in weights if 0 < weight < ALL_TRAFFIC_BP))


def step_index(steps: tuple[int, ...], weight_bp: int) -> int | None:
    """The last step whose weight is reached; None where there are no steps or none is reached."""
    reached = [index for index, weight in enumerate(steps) if weight <= weight_bp]
    return reached[-1] if reached else None
