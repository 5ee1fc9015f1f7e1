"""Where the operator was: the view that is shown, those before it, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LONGEST: Final = 20
"""Steps that are kept."""


@dataclass(frozen=True, slots=True)
class Place:
    """A view, and what it is about (the id of an endpoint or a model, "" for nothing)."""

    view: str
    subject: str = ""


class Trail:
    """Begins at `home`."""

    def __init__(self, home: str) -> None:
        self.here = Place(home)
        self.last = self.here
        """Where the operator was before, forth or back."""
        self._behind: list[Place] = []

    def __bool__(self) -> bool:
        """Whether there is a way back."""
        return bool(self._behind)

    def go(self, place: Place, *, remember: bool = True) -> None:
        """Be at `place` now; `remember` keeps the way back."""
        if remember:
            self._behind = [*self._behind, self.here][-LONGEST:]
        self.last, self.here = self.here, place

    def back(self) -> Place | None:
        """Take the way back to the last place that is another one; None where there is none."""
        while self._behind:
            place = self._behind.pop()
            if place != self.here:
                return place
        return None
