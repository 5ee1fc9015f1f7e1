"""Where a SeldonDeployment (Seldon Core 1) stands: its predictors, their shares, and whether Seldon has carried them out.

Facts read in Seldon's operator, not seen live: it moves no traffic while one pod of any predictor is not ready (the state is
Creating until then), so that taking requests away from a predictor that crashes does nothing: only taking the predictor away does.
It compares pod specs alone: an annotation rolls nothing out. Its status names no generation, so that only a predictor under another
name is told from the one before. Its webhook wants the shares of all predictors that are no shadow to be 100 together, and at most
one shadow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import at, count, items, name, table, text
from mlrelease_tui.connectors.kubernetes.pods import Identity
from mlrelease_tui.connectors.kubernetes.workloads.seldon_sources import predictor_identity
from mlrelease_tui.connectors.kubernetes.workloads.seldon_split import Split
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Stamp

SLOW_S: Final = 10.0
_MOST: Final = 63
"""Characters of a Deployment's name; Seldon hashes a longer one."""


@dataclass(frozen=True, slots=True)
class Predictor:
    """One predictor: its place in the list, its share as the spec says it (None where it does not), and its pods as the status
    counts them (None where that can't be told)."""

    index: int
    name: str
    item: Object
    traffic: int | None
    shadow: bool
    identity: Identity
    ready: int | None
    desired: int | None

    @property
    def works(self) -> bool:
        """Whether every pod of it is known to be ready."""
        return self.ready is not None and self.ready > 0 and self.ready >= (self.desired or 0)


@dataclass(frozen=True)
class Standing(Split):
    """A SeldonDeployment."""

    item: Object

    @cached_property
    def all(self) -> tuple[Predictor, ...]:
        found = []
        for index, one in enumerate(items(self.item, "spec", "predictors")):
            traffic, replicas = at(one, "traffic"), at(one, "replicas")
            wanted = replicas if isinstance(replicas, int) else at(self.item, "spec", "replicas")
            ready, desired = self._pods(text(one, "name"))
            found.append(
                Predictor(
                    index,
                    text(one, "name"),
                    one,
                    traffic if isinstance(traffic, int) else None,
                    at(one, "shadow") is True,
                    predictor_identity(one, self.item),
                    ready,
                    max(desired or 0, wanted if isinstance(wanted, int) else 1) if ready is not None else None,
                )
            )
        return tuple(found)

    @property
    def predictors(self) -> Mapping[str, Predictor]:
        """Those that share the requests, by name."""
        return {one.name: one for one in self.all if not one.shadow}

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self.predictors)

    @property
    def shadow(self) -> Predictor | None:
        return next((one for one in self.all if one.shadow), None)

    @property
    def shares(self) -> Mapping[str, int]:
        """Basis points by predictor; one alone gets everything, whatever it says."""
        found = self.predictors
        if len(found) == 1:
            return dict.fromkeys(found, ALL_TRAFFIC_BP)
        return {one: (predictor.traffic or 0) * 100 for one, predictor in found.items()}

    @property
    def versions(self) -> Mapping[str, str]:
        return {one.name: one.identity.version for one in self.all}

    @cached_property
    def stable(self) -> str:
        """The predictor that users can rely on: the one with all requests, the one that our promotion noted, the one with most of
        them; of two alike the one that the spec names first. "" where there is none."""
        among = self.serving or self.members
        return (self._noted(among) if len(among) > 1 else "") or self._most(among)

    # --- what Seldon says

    @property
    def state(self) -> str:
        """`Available`, `Creating`, `Failed`; "" where no operator has looked."""
        return text(self.item, "status", "state")

    @property
    def description(self) -> str:
        return text(self.item, "status", "description")

    @property
    def unseen(self) -> tuple[str, ...]:
        """Predictors whose Deployments the status does not have yet, as far as their names can be told."""
        return tuple(one.name for one in self.all if one.ready is None and not self._hashed(one.name))

    @property
    def left(self) -> tuple[str, ...]:
        """Deployments that the status still has and whose predictor is gone."""
        known = tuple(one.name for one in self.all)
        return tuple(
            one
            for one in table(self.item, "status", "deploymentStatus")
            if one.startswith(f"{name(self.item)}-") and not self._owner(one, known)
        )

    @property
    def in_force(self) -> bool:
        """Whether the shares in the spec are those that requests meet, as far as the status says."""
        return self.state == "Available" and not self.unseen and not self.left

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """The predictors whose pods are not all ready."""
        return tuple(one.name for one in self.all if one.ready is not None and not one.works)

    @property
    def empty(self) -> tuple[str, ...]:
        """The predictors that get requests and have no ready pod."""
        return tuple(one for one in self.serving if self.predictors[one].ready == 0)

    @property
    def stamp(self) -> Stamp | None:
        return marks.last_writer(marks.of_spec(self.item), "manager")

    def silent_s(self, now: datetime) -> float | None:
        stamp = self.stamp
        return (now - stamp.at).total_seconds() if stamp is not None and stamp.at is not None else None

    def _pods(self, predictor: str) -> tuple[int | None, int | None]:
        """Available and all pods of the Deployment of a predictor that has fewest available; None where the status has none."""
        names = tuple(text(one, "name") for one in items(self.item, "spec", "predictors"))
        found = [
            (count(one, "availableReplicas"), count(one, "replicas"))
            for called, one in table(self.item, "status", "deploymentStatus").items()
            if self._owner(called, names) == predictor
        ]
        return min(found) if found else (None, None)

    def _owner(self, deployment: str, predictors: tuple[str, ...]) -> str:
        """Whose Deployment it is: NAME-PREDICTOR-NUMBER-CONTAINERS, or NAME-PREDICTOR-svc-orch. Of two predictors that fit, the one
        with the longer name."""
        fits = [
            one
            for one in predictors
            if re.match(rf"{re.escape(name(self.item))}-{re.escape(one)}-(\d+-|svc-orch$)", deployment)
        ]
        return max(fits, key=len, default="")

    def _hashed(self, predictor: str) -> bool:
        return len(f"{name(self.item)}-{predictor}-0-") > _MOST or any(
            one.startswith("seldon-") for one in table(self.item, "status", "deploymentStatus")
        )
