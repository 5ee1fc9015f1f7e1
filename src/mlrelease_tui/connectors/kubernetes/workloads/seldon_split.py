"""How Seldon splits requests among predictors or candidates, and which of them users can rely on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.workloads.steps import steps_of


class Split(ABC):
    """An object that names who shares the requests. A subclass says who they are, what each runs and gets, and which is stable."""

    item: Object

    @property
    @abstractmethod
    def members(self) -> tuple[str, ...]:
        """Those that share the requests, by name, in the order of the spec."""

    @property
    @abstractmethod
    def shares(self) -> Mapping[str, int]:
        """Basis points by member."""

    @property
    @abstractmethod
    def versions(self) -> Mapping[str, str]:
        """What each runs."""

    @property
    @abstractmethod
    def stable(self) -> str:
        """The one that users can rely on."""

    @property
    def serving(self) -> tuple[str, ...]:
        return tuple(one for one, share in self.shares.items() if share)

    @property
    def in_flight(self) -> bool:
        return len(self.serving) > 1

    @property
    def candidate(self) -> str:
        """The other one that gets something or may next, "" for none."""
        others = [one for one in self.members if one != self.stable]
        return max(others, key=lambda one: self.shares[one], default="")

    @property
    def weight_bp(self) -> int:
        return self.shares.get(self.candidate, 0)

    @property
    def steps(self) -> tuple[int, ...]:
        return steps_of(self.item)

    def _noted(self, among: tuple[str, ...]) -> str:
        """The one of `among` that our own notes call the stable one, "" for none."""
        return marks.stable_of(self.item, {one: self.versions[one] for one in among})

    def _most(self, among: tuple[str, ...]) -> str:
        """The one of `among` that gets most; of two alike the first, "" where there is none."""
        return max(among, key=lambda one: self.shares[one], default="")
