"""What is seen while a write's effect is waited for, and says that it will not come: so that nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mlrelease_tui.domain.expectation import EndpointExpectation, Expectation, diverted, failure_of
from mlrelease_tui.domain.rollout import Endpoint, Stamp

FAILED_S: Final = 3.0
"""How long a backend must go on saying that it failed, or go elsewhere, in seconds, before that is the outcome: what it says of
the release before may stand for a moment."""


class Omens:
    """The looks at one endpoint after one write. `before` is the stamp that it carried until then; `altered`: its backend wrote
    something else than it was asked."""

    def __init__(
        self,
        expects: Expectation,
        ours: Stamp,
        monotonic: Callable[[], float],
        *,
        before: Stamp | None = None,
        altered: bool = False,
    ) -> None:
        self._expects = expects
        self._ours = ours
        self._before = before
        self._altered = altered
        self._monotonic = monotonic
        self._since: float | None = None
        self._why = ""

    def seen(self, endpoint: Endpoint) -> None:
        """One look at the endpoint. What it says must be said for a while, without a word to the contrary between."""
        if not isinstance(self._expects, EndpointExpectation):
            return
        failed = failure_of(self._expects, endpoint)
        by_another = self._altered or written_after(self._ours, endpoint.stamp, self._before)
        elsewhere = by_another and diverted(self._expects, endpoint)
        self._why = failed
        if not failed and not elsewhere:
            self._since = None
        elif self._since is None:
            self._since = self._monotonic()

    @property
    def bad(self) -> bool:
        return self._since is not None

    @property
    def certain(self) -> bool:
        return self._since is not None and self._monotonic() - self._since >= FAILED_S

    @property
    def failed(self) -> str:
        """Why it failed, in the backend's words; "" where it did not, or is not certain to have."""
        return self._why if self.certain else ""


def written_after(ours: Stamp, found: Stamp | None, before: Stamp | None = None) -> bool:
    """Whether somebody else is known to have written after us. `before` is the stamp that stood there before we wrote: it is no
    later one, whatever its clock says."""
    if found is None or found == before or found.intent_id == ours.intent_id or found.at is None or ours.at is None:
        return False
    return found.at >= ours.at
