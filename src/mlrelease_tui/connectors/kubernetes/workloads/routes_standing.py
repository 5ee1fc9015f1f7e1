"""Where a route stands: its split, the Deployments behind it, and which of its backends is the stable one.

With all requests at one backend that one is. While two share them nothing on a route says which came first: a label
`mlrelease.dev/role` on Deployment or Service does, else what each write of ours notes, else the version that a promotion noted
before there was such a note; else it is a guess, and said to be one: the older ReplicaSet, else the larger share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import count, items, name, namespace, table, text, when
from mlrelease_tui.connectors.kubernetes.pods import Identity
from mlrelease_tui.connectors.kubernetes.workloads.deployment_standing import Standing as Deployed
from mlrelease_tui.connectors.kubernetes.workloads.pair_standing import role_of
from mlrelease_tui.connectors.kubernetes.workloads.routes_splits import Backend, Split, host_key
from mlrelease_tui.connectors.kubernetes.workloads.routes_taken import Taken
from mlrelease_tui.connectors.kubernetes.workloads.steps import steps_of
from mlrelease_tui.domain.rollout import BindingSource, Stamp


@dataclass(frozen=True)
class Behind:
    """What a backend is: its Service and the Deployments whose pods that sends to, the first one read whole. `reached` counts the
    Service's ready addresses, None where nobody looked or they are of more than this backend; `ill` says what ails its pods."""

    backend: Backend
    service: Object | None = None
    deployed: Deployed | None = None
    others: tuple[str, ...] = ()
    missing: str = ""
    reached: int | None = None
    ill: str = ""

    @cached_property
    def identity(self) -> Identity:
        """What runs there; where no Deployment can be seen, what the Service or the subset calls itself."""
        if self.deployed is not None:
            return self.deployed.target
        said = marks.said(self.service or {}, marks.VERSION) or self.backend.subset or self.backend.name
        return Identity(marks.said(self.service or {}, marks.MODEL), said, "", BindingSource.NONE)

    @property
    def role(self) -> str:
        """Which half it says it is; "" for neither."""
        item = self.deployed.item if self.deployed is not None else {}
        return role_of(item) or role_of(self.service or {})

    @property
    def ready(self) -> int | None:
        """Available pods of what its spec says, None where no Deployment can be seen."""
        if self.deployed is None:
            return None
        current = self.deployed.current
        if current is not None and not self.deployed.rolled_out:
            return count(current, "status", "availableReplicas")
        return self.deployed.available if current is not None else 0

    @property
    def empty(self) -> bool:
        """Whether it is known that nobody would answer there."""
        return self.reached == 0 or (self.deployed is not None and not self.deployed.available)

    @property
    def moving(self) -> bool:
        return self.deployed is not None and not self.deployed.settled

    @property
    def since(self) -> datetime | None:
        """When what runs there was made."""
        current = self.deployed.current if self.deployed is not None else None
        return when(text(current or {}, "metadata", "creationTimestamp"))


@dataclass(frozen=True)
class Standing:
    """A route with what is behind it, by the names of its backends. `driven` says who else drives it, "" for nobody."""

    item: Object
    split: Split
    behind: Mapping[str, Behind]
    taken: Taken
    driven: str = ""
    shadows: Mapping[str, Behind] = field(default_factory=dict)

    @property
    def shares(self) -> Mapping[str, int]:
        return self.split.shares

    @property
    def serving(self) -> tuple[str, ...]:
        """The backends that get anything, in the order of the route."""
        return tuple(one.name for one in self.split.backends if self.shares[one.name])

    @property
    def in_flight(self) -> bool:
        return len(self.serving) > 1

    @property
    def deserted(self) -> bool:
        """Whether no backend gets anything: every request fails."""
        return not self.serving

    @cached_property
    def stable(self) -> str:
        """The name of the backend that users can rely on."""
        serving = self.serving
        if len(serving) == 1:
            return serving[0]
        among = serving or tuple(one.name for one in self.split.backends)
        known = self._said(among) or self._oldest(among)
        return known or max(among, key=lambda one: self.shares[one])

    @property
    def guessed(self) -> bool:
        """Whether nothing says which of those that share the requests is the stable one."""
        return self.in_flight and not self._said(self.serving)

    def _said(self, among: tuple[str, ...]) -> str:
        return self._labelled(among) or self._remembered(among)

    def _labelled(self, among: Iterable[str]) -> str:
        roles = {one: self.behind[one].role for one in among}
        others = [one for one, role in roles.items() if role != "canary"]
        return next((one for one in others if roles[one] == "stable"), others[0] if len(others) == 1 else "")

    def _remembered(self, among: Iterable[str]) -> str:
        return marks.stable_of(self.item, {one: self.behind[one].identity.version for one in among})

    def _oldest(self, among: Iterable[str]) -> str:
        known = {one: since.timestamp() for one in among if (since := self.behind[one].since) is not None}
        first = sorted(known, key=lambda one: known[one])
        return first[0] if len(first) > 1 and known[first[0]] < known[first[1]] else ""

    @cached_property
    def candidate(self) -> str:
        """The other backend that gets something, or may next: of several the one with the largest share, "" for none."""
        others = [one.name for one in self.split.backends if one.name != self.stable]
        labelled = [one for one in others if self.behind[one].role == "canary"]
        serving = [one for one in others if self.shares[one]]
        return max(serving or labelled or others[:1], key=lambda one: self.shares[one], default="")

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """The version of each backend."""
        return {one: found.identity.version for one, found in {**self.shadows, **self.behind}.items()}

    @property
    def weight_bp(self) -> int:
        return self.shares[self.candidate] if self.candidate else 0

    @property
    def steps(self) -> tuple[int, ...]:
        return steps_of(self.item)

    @property
    def moving(self) -> bool:
        return any(one.moving for one in self.behind.values())

    @property
    def empty(self) -> tuple[str, ...]:
        """The backends that get requests and have nobody to answer them."""
        return tuple(one for one in self.serving if self.behind[one].empty)

    @cached_property
    def previous(self) -> str:
        """The version to which a rollback at rest would return: noted by us, else the older one that still stands by; "" where
        nobody can say."""
        if self.in_flight:
            return ""
        now, idle = self.versions[self.stable], [one for one in self.behind if one != self.stable]
        standing_by = {self.versions[one]: one for one in idle if not self.behind[one].empty}
        for version in marks.history_of(self.item):
            if version != now and version in standing_by:
                return version
        older = [one for one in standing_by.values() if self._oldest((self.stable, one)) == one]
        return self.versions[older[0]] if len(older) == 1 and self.versions[older[0]] != now else ""

    @property
    def stamp(self) -> Stamp | None:
        return marks.last_writer(marks.of_spec(self.item))


def subset_labels(rules: Iterable[Object], backend: Backend) -> Mapping[str, str] | None:
    """The labels that a DestinationRule gives to a subset, None where none defines it: requests to it fail."""
    for rule in rules:
        if host_key(text(rule, "spec", "host"), namespace(rule)) != backend.service:
            continue
        for one in items(rule, "spec", "subsets"):
            if text(one, "name") == backend.subset:
                return table(one, "labels")
    return None


def deployments_of(service: Object, more: Mapping[str, str], deployments: Iterable[Object]) -> list[Object]:
    """The Deployments whose pods a Service sends to, of those that have these labels too, by name."""
    wanted = {**table(service, "spec", "selector"), **more}
    if not table(service, "spec", "selector"):
        return []
    found = []
    for item in deployments:
        marked = table(item, "spec", "template", "metadata", "labels")
        if all(marked.get(key) == value for key, value in wanted.items()):
            found.append(item)
    return sorted(found, key=name)
