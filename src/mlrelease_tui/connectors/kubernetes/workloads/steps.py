"""The weights of a release, as an object notes them that has no steps of its own."""

from __future__ import annotations

from typing import Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import notes, text
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP

STEPS: Final = f"{marks.PREFIX}steps"
"""The annotation with the weights of a release, in percent: `[10, 50]`."""


def steps_of(item: Object) -> tuple[int, ...]:
    """The weights in basis points, ascending and without 0 and 100 %; () where the object notes none."""
    found = marks.parsed(text(notes(item), STEPS))
    if not isinstance(found, list):
        return ()
    percents = (one for one in found if isinstance(one, int | float) and not isinstance(one, bool))
    # Compared before it is rounded: JSON has numbers that are none.
    weights = {round(one * 100) for one in percents if 0 < one < 100}
    return tuple(sorted(weight for weight in weights if 0 < weight < ALL_TRAFFIC_BP))


def step_index(steps: tuple[int, ...], weight_bp: int) -> int | None:
    """The last step whose weight is reached; None where there are no steps or none is reached."""
    reached = [index for index, weight in enumerate(steps) if weight <= weight_bp]
    return reached[-1] if reached else None
