"""When something begins to burn: whether the bell rings, and what the terminal's title says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.status import EndpointStatus, Severity

QUIET_S: Final = 30.0
"""After the bell rang it is silent for this time: a flapping endpoint must not ring all night."""


class Alarm:
    """Hears every judgement of the fleet. What is critical when it is first seen does not ring: whoever starts the app looks."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._heard: tuple[EndpointStatus, ...] = ()
        self._burning: set[EndpointRef] = set()
        self._rung_at = float("-inf")

    def hear(self, statuses: Iterable[EndpointStatus]) -> bool:
        """Whether the bell rings for what is critical now and was seen to be otherwise before."""
        found, before = tuple(statuses), self._heard
        if found is before:
            return False
        burning = {status.ref for status in found if status.severity is Severity.CRIT}
        new = burning - self._burning
        if new:
            new &= {status.ref for status in before}
        self._heard = found
        self._burning = burning
        if not new or self._monotonic() - self._rung_at < QUIET_S:
            return False
        self._rung_at = self._monotonic()
        return True

    @property
    def burning(self) -> int:
        """How many endpoints are critical."""
        return len(self._burning)

    @property
    def title(self) -> str:
        """What the window is called: "! 1 CRIT mlrelease" while something burns."""
        return f"! {len(self._burning)} CRIT mlrelease" if self._burning else "mlrelease"
