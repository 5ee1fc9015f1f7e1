"""Where an Experiment of Seldon Core 2 stands: its candidates, their shares, and whether it is active."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import condition, count, items, text
from mlrelease_tui.connectors.kubernetes.workloads.seldon_model_standing import MANAGER, Model
from mlrelease_tui.connectors.kubernetes.workloads.seldon_split import Split
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Stamp


@dataclass(frozen=True)
class Experiment(Split):
    """An Experiment with the Models of its candidates by name, and what it mirrors to with which percent."""

    item: Object
    models: Mapping[str, Model]
    mirror: tuple[Model, int] | None = None

    @property
    def default(self) -> str:
        """The candidate whose own endpoint is split; "" for an endpoint of the Experiment's own."""
        return text(self.item, "spec", "default")

    @property
    def pipelines(self) -> bool:
        return text(self.item, "spec", "resourceType") == "pipeline"

    @property
    def weights(self) -> Mapping[str, int]:
        """Proportions by candidate, in the order of the spec."""
        return {text(one, "name"): count(one, "weight") for one in items(self.item, "spec", "candidates")}

    @property
    def total(self) -> int:
        return sum(self.weights.values())

    @property
    def shares(self) -> Mapping[str, int]:
        """Basis points by candidate."""
        total = self.total
        return {one: round(ALL_TRAFFIC_BP * weight / total) if total else 0 for one, weight in self.weights.items()}

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self.models)

    @property
    def versions(self) -> Mapping[str, str]:
        return {one: model.version for one, model in self.models.items()}

    @cached_property
    def stable(self) -> str:
        """The candidate that users can rely on: the one with everything, else the default, else the one that our promotion noted,
        else the one with most; of two alike the first."""
        serving = self.serving
        if len(serving) == 1:
            return serving[0]
        if self.default in self.models:
            return self.default
        among = serving or self.members
        return self._noted(among) or self._most(among)

    @property
    def seen(self) -> bool:
        return bool(items(self.item, "status", "conditions"))

    @property
    def active(self) -> bool:
        """Whether the scheduler says that it splits. It says so of the generation before for a moment, too: nobody can tell."""
        return condition(self.item, "ExperimentReady").get("status") == "True"

    @property
    def moving(self) -> bool:
        return any(model.item is not None and not model.loaded for model in self.models.values())

    @property
    def failing(self) -> str:
        """Why a candidate that gets requests does not serve, "" where all do or may."""
        found = (self.models[one] for one in self.serving)
        return next((f"{model.called}: {model.failing}" for model in found if model.failing), "")

    @property
    def stamp(self) -> Stamp | None:
        """The newest of its own and its candidates': a version is put on a Model."""
        found = [marks.last_writer(marks.of_spec(self.item), MANAGER), *(one.stamp for one in self.models.values())]
        known = [(stamp.at.timestamp(), stamp) for stamp in found if stamp is not None and stamp.at is not None]
        return max(known, key=lambda one: one[0])[1] if known else None
