"""Where an InferenceService in Knative mode stands: its spec, what KServe says of it, and the Revisions that run.

Seen on KServe 0.17 with Knative Serving 0.48: `status.observedGeneration` is the generation of another object, Ready stays True
without a single ready pod, `lastFailureInfo` is never cleared, and weights come by name of a Revision, never by number alone. So
what was written counts as taken up once it is what the newest Revision and the traffic say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import at, condition, count, items, notes, table, text
from mlrelease_tui.connectors.kubernetes.pods import identity_of
from mlrelease_tui.connectors.kubernetes.workloads.kserve_source import (
    RUNS,
    Place,
    Source,
    pattern_of,
    place_of,
    source_of,
    sources_of,
)
from mlrelease_tui.domain.rollout import Stamp

MANAGER: Final = "manager"
"""The field manager of KServe's controller."""
STOP: Final = "serving.kserve.io/stop"
AUTO_UPDATE: Final = "serving.kserve.io/disable-auto-update"
PERCENT: Final = "/spec/predictor/canaryTrafficPercent"
RESTARTED: Final = f"{marks.PREFIX}restarted-at"
SLOW_S: Final = 10.0
"""A controller that runs reacts within a second or two; one that is loaded may take some."""


@dataclass(frozen=True)
class Standing:
    """An InferenceService with its Knative Service (None where that can't be seen) and its Revisions by name."""

    item: Object
    service: Object | None = None
    revisions: Mapping[str, Object] = field(default_factory=dict)

    # --- what is wanted

    @cached_property
    def place(self) -> Place | None:
        return place_of(self.item)

    @property
    def percent(self) -> int | None:
        """`canaryTrafficPercent`; None where it is absent, and a new model takes everything as soon as it is ready."""
        found = at(self.item, "spec", "predictor", "canaryTrafficPercent")
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    @property
    def stopped(self) -> bool:
        return str(notes(self.item).get(STOP)).lower() == "true"

    @property
    def deaf(self) -> bool:
        """Whether KServe ignores every edit without a sign."""
        return str(notes(self.item).get(AUTO_UPDATE)).lower() == "true"

    # --- what KServe says

    @property
    def component(self) -> Mapping[str, Any]:
        return table(self.item, "status", "components", "predictor")

    @property
    def created(self) -> str:
        return text(self.component, "latestCreatedRevision")

    @property
    def ready(self) -> str:
        return text(self.component, "latestReadyRevision")

    @property
    def rolled_out(self) -> str:
        """The Revision that counts as stable."""
        return text(self.component, "latestRolledoutRevision")

    @property
    def before(self) -> str:
        """The Revision that was stable before: to it percent 0 goes back, one level deep."""
        return text(self.component, "previousRolledoutRevision")

    @cached_property
    def weights(self) -> Mapping[str, int]:
        """Basis points by Revision, summed: while a model starts, one Revision has two entries."""
        found: dict[str, int] = {}
        for entry in items(self.component, "traffic"):
            revision = text(entry, "revisionName")
            found[revision] = found.get(revision, 0) + count(entry, "percent") * 100
        return found

    @property
    def latest_gets(self) -> int | None:
        """The percent of whatever is the latest ready Revision, as KServe has asked Knative for it."""
        return next(
            (
                count(entry, "percent")
                for entry in items(self.component, "traffic")
                if entry.get("latestRevision") is True
            ),
            None,
        )

    @property
    def routed(self) -> bool:
        """Whether the traffic is in force. `traffic` says so before the ingress has it."""
        return condition(self.item, "RoutesReady").get("status") == "True" and self.service_followed

    @property
    def service_followed(self) -> bool:
        """Whether Knative's controller has looked at the newest Knative Service: its generations can be believed."""
        if self.service is None:
            return True
        return count(self.service, "status", "observedGeneration") >= count(self.service, "metadata", "generation")

    @property
    def transition(self) -> str:
        """UpToDate, InProgress, BlockedByFailedLoad, InvalidSpec."""
        return text(self.item, "status", "modelStatus", "transitionStatus")

    # --- both together

    @cached_property
    def sources(self) -> Mapping[str, Source]:
        """Every URI that is named, with its version."""
        uris = {uri for revision in self.revisions.values() if (uri := uri_of(revision))}
        return sources_of(sorted(uris | ({self.place.uri} if self.place else set())), pattern_of(self.item))

    @property
    def wanted(self) -> str:
        """The version that the spec names."""
        if self.place is None:
            return self.version(self.created)
        return marks.said(self.item, marks.VERSION) or self.sources[self.place.uri].version

    def version(self, revision: str) -> str:
        """The version that a Revision runs; the number of the Revision where nothing says it."""
        found = self.revisions.get(revision)
        if found is None:
            # The newest one runs what the spec says where Revisions can't be seen.
            if revision and revision == self.created and not self.revisions and self.place is not None:
                return self.sources[self.place.uri].version
            return revision.rpartition("-")[2]
        if version := marks.said(found, marks.VERSION):
            return version
        if uri := uri_of(found):
            return self.sources[uri].version
        return identity_of(found, self.item).version

    @property
    def model(self) -> str:
        """The model that the URI names, "" for none."""
        return source_of(self.place.uri, pattern_of(self.item)).model if self.place else ""

    @property
    def settled(self) -> bool:
        """Whether the newest Revision is ready. Before that a cleared percent gives everything to the last one that was."""
        return bool(self.created) and self.created == self.ready

    @property
    def in_flight(self) -> bool:
        return bool(self.rolled_out) and (self.created != self.rolled_out or not self.named)

    @property
    def named(self) -> bool:
        """Whether the newest Revision is of the model that the spec names."""
        newest = self.revisions.get(self.created)
        if newest is None or self.place is None or not (uri := uri_of(newest)):
            return True
        return uri == self.place.uri

    @property
    def followed(self) -> bool:
        """Whether the controllers have done what the spec says, as far as that can be done at once."""
        if self.deaf or self.stopped:
            return True
        if not self.named or not self.service_followed or not self.created:
            return False
        if self.percent is None or not self.settled or self.created == self.rolled_out:
            return self.percent is not None or not self.settled or self.weights.get(self.created, 0) == 10_000
        return self.weights.get(self.created, 0) == self.percent * 100

    def alike(self, one: str, other: str) -> bool:
        """Whether two Revisions have the same pods but for the model that they fetch, as far as both can be seen. A model that
        is named in a container's environment makes another template by itself."""
        specs = [table(self.revisions.get(revision, {}), "spec") for revision in (one, other)]
        if not all(specs) or self.place is None or "/containers/" in self.place.pointer:
            return True
        return specs[0] == specs[1]

    @property
    def pinned(self) -> bool:
        """Whether the version in the spec gets nothing, and would get everything once the percent is cleared."""
        return self.in_flight and self.percent == 0

    @property
    def failed(self) -> str:
        """Why the newest model does not come up, "" while it may. Reasons outlive their failure: only with its state they count."""
        info = table(self.item, "status", "modelStatus", "lastFailureInfo")
        told = ": ".join(part for part in (text(info, "reason"), text(info, "message")) if part)
        if self.transition == "InvalidSpec":
            return told or "InvalidSpec"
        if self.settled:
            return ""
        if self.transition == "BlockedByFailedLoad":
            return told or "BlockedByFailedLoad"
        newest = condition(self.revisions.get(self.created, {}), "Ready")
        if newest.get("status") == "False":
            return ": ".join(part for part in (text(newest, "reason"), text(newest, "message")) if part) or "not ready"
        return ""

    @property
    def empty(self) -> tuple[str, ...]:
        """Revisions that get traffic, want pods and have none that is ready: every condition stays green meanwhile."""
        return tuple(
            revision
            for revision, weight in self.weights.items()
            if weight
            and count(self.revisions.get(revision, {}), "status", "desiredReplicas")
            and not count(self.revisions[revision], "status", "actualReplicas")
        )

    @property
    def stamp(self) -> Stamp | None:
        return marks.last_writer(self.item, MANAGER, "controllers")

    def silent_s(self, now: datetime) -> float | None:
        """Seconds since the last write, None where nobody knows."""
        stamp = self.stamp
        return (now - stamp.at).total_seconds() if stamp is not None and stamp.at is not None else None


def uri_of(revision: Object) -> str:
    """The URI that a Revision (or a pod template) really fetches."""
    return text(revision, "metadata", "annotations", RUNS)
