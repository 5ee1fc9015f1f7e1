"""Where a canary pair stands: two Deployments behind one Service, told apart by a label, and the share of pods that each has.

The share of the pods is the share of the connections, not of the requests: whoever keeps a connection open keeps its pod.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import at, items, labels, notes, table, text, uid
from mlrelease_tui.connectors.kubernetes.workloads.deployment_standing import Standing
from mlrelease_tui.connectors.kubernetes.workloads.steps import step_index, steps_of
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP

ROLE: Final = f"{marks.PREFIX}role"
"""The label of a Deployment that says which half of a pair it is: `stable` or `canary`."""

WHOLE: Final = f"{marks.PREFIX}whole"
"""The note of a move that begins on this half: how many pods both are to have after it, and the other half's generation before
that was touched. While it stands so, the move was cut short."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two Deployments behind a Service. `reached` counts the ready addresses of the Service by the uid of the Deployment that they
    are of, None where that was not looked at; `others` names what else the Service sends to."""

    service: Object
    stable: Standing
    canary: Standing
    reached: Mapping[str, int] | None = None
    others: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Pods that both are to have together, as they stand."""
        return self.stable.wanted + self.canary.wanted

    @property
    def whole(self) -> int:
        """Pods that both were to have together: another number than `total` where a move was cut short between its two halves."""
        for half, other in ((self.canary, self.stable), (self.stable, self.canary)):
            note = marks.parsed(notes(half.item).get(WHOLE))
            whole = note.get("pods") if isinstance(note, dict) else None
            if (
                isinstance(whole, int)
                and whole > 0
                and note.get("generation") == at(other.item, "metadata", "generation")
            ):
                return whole
        return self.total

    @property
    def owed(self) -> int:
        """Pods that stable still lacks, since a way back was cut short; 0 where none was."""
        return 0 if self.in_flight else max(self.whole - self.total, 0)

    @property
    def weight_bp(self) -> int:
        """The canary's share of the pods that are wanted."""
        return share(self.canary.wanted, self.total)

    @property
    def steps(self) -> tuple[int, ...]:
        """The weights of a release as the Service notes them, in basis points and ascending; () where it notes none."""
        return steps_of(self.service)

    @property
    def step_index(self) -> int | None:
        """The last step whose weight is reached; None where there are no steps or no canary."""
        return step_index(self.steps, self.weight_bp)

    @property
    def observed(self) -> bool:
        return self.stable.observed and self.canary.observed

    @property
    def in_flight(self) -> bool:
        return self.canary.wanted > 0

    @property
    def moving(self) -> bool:
        """Whether one of them is on its way to what its spec says."""
        return not (self.stable.settled and (self.canary.settled or not self.in_flight))


def whole_note(pods: int, other: Standing) -> dict[str, str]:
    """The annotation of the half on which a move begins."""
    return {WHOLE: json.dumps({"pods": pods, "generation": at(other.item, "metadata", "generation")})}


def share(part: int, whole: int) -> int:
    """Basis points, rounded."""
    return round(ALL_TRAFFIC_BP * part / whole) if whole else 0


def pods_for(weight_bp: int, total: int) -> int | None:
    """How many of `total` pods make a weight, None where no number of them does."""
    number = round(weight_bp * total / ALL_TRAFFIC_BP)
    return number if share(number, total) == weight_bp else None


def nearest(weight_bp: int, total: int) -> tuple[int, int]:
    """The two weights around one that `total` pods can make."""
    below = weight_bp * total // ALL_TRAFFIC_BP
    return share(below, total), share(min(below + 1, total), total)


def role_of(item: Object) -> str:
    """Which half of a pair a Deployment says it is; "" for neither."""
    role = text(labels(item), ROLE) or text(notes(item), ROLE)
    return role if role in {"stable", "canary"} else ""


def picks(service: Object, item: Object) -> bool:
    """Whether a Service sends to the pods of a Deployment. One without a selector sends to nobody that it names itself."""
    selector = table(service, "spec", "selector")
    marked = table(item, "spec", "template", "metadata", "labels")
    return bool(selector) and all(marked.get(key) == value for key, value in selector.items())


def reached_of(slices: Iterable[Object], pods: Iterable[Object], owners: Mapping[str, str]) -> Mapping[str, int]:
    """Ready addresses by the uid of the Deployment whose pods they are. `owners` gives a Deployment's uid for its ReplicaSet's."""
    by_pod = {uid(pod): owners.get(_controller(pod), "") for pod in pods}
    found: dict[str, int] = {}
    seen: set[str] = set()
    for piece in slices:
        for address in items(piece, "endpoints"):
            ready = table(address, "conditions").get("ready")
            pod = text(address, "targetRef", "uid")
            if ready is not False and pod not in seen:
                seen.add(pod)
                found[by_pod.get(pod, "")] = found.get(by_pod.get(pod, ""), 0) + 1
    return found


def _controller(pod: Object) -> str:
    return next(
        (text(owner, "uid") for owner in items(pod, "metadata", "ownerReferences") if owner.get("controller")), ""
    )
