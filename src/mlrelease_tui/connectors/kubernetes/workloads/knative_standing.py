"""Where a Knative Service stands: its spec, its status, its Revisions.

Seen on Knative Serving 0.48: generations can be believed here; `status.traffic` says what is wanted before the ingress has it, so
RoutesReady is asked too; a ramp (`rollout-duration`) shows two entries that both say `latestRevision`, so weights go by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import at, condition, count, items, labels, name, table, text
from mlrelease_tui.connectors.kubernetes.pods import Identity, identity_of
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Stamp

SLOW_S: Final = 10.0
_NUMBER: Final = "serving.knative.dev/configurationGeneration"


@dataclass(frozen=True)
class Standing:
    """A Knative Service with its Revisions by name."""

    item: Object
    revisions: Mapping[str, Object] = field(default_factory=dict)

    @property
    def created(self) -> str:
        return text(self.item, "status", "latestCreatedRevisionName")

    @property
    def ready(self) -> str:
        return text(self.item, "status", "latestReadyRevisionName")

    @property
    def wanted(self) -> list[Mapping[str, Any]]:
        """The spec's traffic; an absent list means all to the latest ready Revision."""
        return items(self.item, "spec", "traffic") or [{"latestRevision": True, "percent": 100}]

    @cached_property
    def weights(self) -> Mapping[str, int]:
        """Basis points by Revision."""
        found: dict[str, int] = {}
        for entry in items(self.item, "status", "traffic"):
            revision = text(entry, "revisionName")
            found[revision] = found.get(revision, 0) + count(entry, "percent") * 100
        return found

    @property
    def observed(self) -> bool:
        return count(self.item, "status", "observedGeneration") >= count(self.item, "metadata", "generation")

    @property
    def routed(self) -> bool:
        return self.observed and condition(self.item, "RoutesReady").get("status") == "True"

    @property
    def settled(self) -> bool:
        return bool(self.created) and self.created == self.ready

    @property
    def floating(self) -> bool:
        """Whether some traffic goes to whatever is the latest: a new Revision takes it as soon as it is ready."""
        return any(at(entry, "latestRevision") is True for entry in self.wanted if count(entry, "percent"))

    @property
    def ramping(self) -> bool:
        return condition(self.item, "RoutesReady").get("reason") == "RolloutInProgress" or any(
            entry.get("status") == "Unknown" and "RolloutInProgress" in str(entry.get("reason"))
            for entry in items(self.item, "status", "conditions")
        )

    @cached_property
    def stable(self) -> str:
        """The Revision that counts as stable: the one that an operator tagged so, else the one with all traffic, else with most of
        it; of two that have the same the older one."""
        for entry in items(self.item, "status", "traffic"):
            if entry.get("tag") == "stable" and count(entry, "percent"):
                return text(entry, "revisionName")
        serving = [revision for revision, weight in self.weights.items() if weight]
        if not serving:
            return self.ready or self.created
        older = sorted(serving, key=self.number)
        return next((one for one in older if self.weights[one] == ALL_TRAFFIC_BP), older[0])

    @property
    def candidate(self) -> str:
        """The Revision under way: another that the traffic names, be it with nothing, or the newest one where that is to get some
        as soon as it is ready; "" for none. One that nobody names is history, whatever the template says."""
        others = [revision for revision in self.weights if revision != self.stable]
        newest = self.created
        if newest and newest != self.stable and self.floating:
            return newest
        return max(others, key=self.number, default="")

    @property
    def in_flight(self) -> bool:
        return bool(self.candidate)

    def number(self, revision: str) -> int:
        told = str(labels(self.revisions.get(revision, {})).get(_NUMBER) or revision.rpartition("-")[2])
        return int(told) if told.isdigit() else 0

    @cached_property
    def identities(self) -> Mapping[str, Identity]:
        """What each Revision runs. Two of one version are told apart by their numbers."""
        found = {key: identity_of(one, self.item) for key, one in self.revisions.items()}
        named = [identity.version for identity in found.values()]
        return {
            key: identity
            if named.count(identity.version) == 1 or key == self._newest_of(identity.version, found)
            else Identity(identity.model, f"{identity.version}+{self.number(key)}", identity.digest, identity.source)
            for key, identity in found.items()
        }

    def _newest_of(self, version: str, known: Mapping[str, Identity]) -> str:
        return max((key for key, identity in known.items() if identity.version == version), key=self.number)

    def version(self, revision: str) -> str:
        found = self.identities.get(revision)
        return found.version if found is not None else revision.rpartition("-")[2]

    @property
    def template(self) -> Object:
        return table(self.item, "spec", "template")

    @property
    def spec_version(self) -> str:
        return identity_of(self.template, self.item).version

    @property
    def failed(self) -> str:
        """Why the newest Revision does not come up, "" while it may."""
        found = condition(self.revisions.get(self.created, {}), "Ready")
        if self.settled or found.get("status") != "False":
            return ""
        return ": ".join(part for part in (text(found, "reason"), text(found, "message")) if part) or "not ready"

    @property
    def unrouted(self) -> str:
        """Why the traffic is not as the spec wants it, "" where it is or may still become so."""
        found = condition(self.item, "RoutesReady")
        if found.get("status") != "False":
            return ""
        return ": ".join(part for part in (text(found, "reason"), text(found, "message")) if part)

    @property
    def empty(self) -> tuple[str, ...]:
        """Revisions that get traffic, want pods and have none that is ready: every condition stays green meanwhile."""
        return tuple(
            key
            for key, weight in self.weights.items()
            if weight
            and count(self.revisions.get(key, {}), "status", "desiredReplicas")
            and not count(self.revisions[key], "status", "actualReplicas")
        )

    @property
    def stamp(self) -> Stamp | None:
        return marks.last_writer(self.item, "controller", "webhook")

    def silent_s(self, now: datetime) -> float | None:
        stamp = self.stamp
        return (now - stamp.at).total_seconds() if stamp is not None and stamp.at is not None else None

    @property
    def called(self) -> str:
        return name(self.item)
