"""Where a Rollout stands: what its status, spec and ReplicaSets say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import at, count, items, name, table, text, when
from mlrelease_tui.connectors.kubernetes.pods import Identity, identity_of
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Stamp

HASH_LABEL = "rollouts-pod-template-hash"
"""The label by which the controller tells its ReplicaSets apart."""


@dataclass(frozen=True)
class Standing:
    """A Rollout with its ReplicaSets by hash, and the version that each runs.

    `referred` is the object that `workloadRef` names, None where there is none or it can't be seen; `runs` and `experiments` are
    the Rollout's own; `scaler` is the name of the autoscaler that sets its replicas, "" for none.
    """

    item: Object
    sets: Mapping[str, Object]
    versions: Mapping[str, Identity]
    referred: Object | None = None
    runs: tuple[Object, ...] = ()
    experiments: tuple[Object, ...] = ()
    scaler: str = ""

    @property
    def stable(self) -> str:
        """The hash of the stable ReplicaSet, "" before the first one is complete."""
        return text(self.item, "status", "stableRS")

    @property
    def current(self) -> str:
        """The hash of the template that the spec holds."""
        return text(self.item, "status", "currentPodHash")

    @property
    def in_flight(self) -> bool:
        return bool(self.stable) and self.stable != self.current

    @property
    def aborted(self) -> bool:
        return at(self.item, "status", "abort") is True

    @property
    def blue_green(self) -> bool:
        return bool(at(self.item, "spec", "strategy", "blueGreen"))

    @property
    def paused(self) -> bool:
        """Paused by hand. The key stays as `false` once it was set."""
        return at(self.item, "spec", "paused") is True

    @property
    def replicas(self) -> int:
        """Replicas that the spec asks for; 1 where it does not say."""
        found = at(self.item, "spec", "replicas")
        return found if isinstance(found, int) else 1

    @property
    def steps(self) -> list[Mapping[str, object]]:
        return items(self.item, "spec", "strategy", "canary", "steps")

    @property
    def step(self) -> int | None:
        """The step being taken, None for blue-green and where there are no steps. 0 is written down, unlike other zeros."""
        index = at(self.item, "status", "currentStepIndex")
        return index if isinstance(index, int) and self.steps else None

    @property
    def waits(self) -> tuple[str, ...]:
        """Why the controller waits for a person: `CanaryPauseStep`, `BlueGreenPause`, `InconclusiveAnalysisRun` … Several at once
        can be."""
        return tuple(text(found, "reason") for found in items(self.item, "status", "pauseConditions"))

    @property
    def reference(self) -> str:
        """The name of the object from which the pod template comes, "" where it is the Rollout's own."""
        return text(self.item, "spec", "workloadRef", "name")

    @property
    def template_owner(self) -> Object:
        """The object that holds the pod template, with what the Rollout says of itself where that one says nothing."""
        if self.referred is None:
            return self.item
        meta = table(self.referred, "metadata")
        said = {**table(self.item, "metadata", "annotations"), **table(meta, "annotations")}
        return {**self.referred, "metadata": {**meta, "annotations": said}}

    @property
    def dynamic(self) -> bool:
        """Whether stable shrinks while the canary grows: traffic may go back only as fast as stable comes up again."""
        return at(self.item, "spec", "strategy", "canary", "dynamicStableScale") is True

    @property
    def routed(self) -> bool:
        """Whether a traffic router splits the requests."""
        return bool(at(self.item, "spec", "strategy", "canary", "trafficRouting"))

    @property
    def verified(self) -> bool:
        """False where the traffic router was asked and does not have the weights (yet)."""
        return at(self.item, "status", "canary", "weights", "verified") is not False

    @property
    def observed(self) -> bool:
        """Whether the controller has looked at the newest spec: it keeps the generation as text. A template that is elsewhere
        does not move the Rollout's own generation: its owner's is kept beside."""
        if text(self.item, "status", "observedGeneration") != text(self.item, "metadata", "generation"):
            return False
        if self.referred is None:
            return True
        seen = text(self.item, "status", "workloadObservedGeneration")
        return seen == text(self.referred, "metadata", "generation")

    @property
    def deaf(self) -> bool:
        """Something was asked of the controller and it did not notice: it takes `controllerPause` and its phase away in
        the moment in which a pause is lifted, and dates an abort in the moment in which it is asked for."""
        status = table(self.item, "status")
        if self.aborted:
            return not status.get("abortedAt")
        stopped = status.get("controllerPause") is True or status.get("phase") == "Paused"
        return stopped and not status.get("pauseConditions") and not self.paused

    @property
    def restarting(self) -> bool:
        """Whether pods are still to be replaced: the controller writes the time down when none is older."""
        wanted = text(self.item, "spec", "restartAt")
        return bool(wanted) and when(wanted) != when(text(self.item, "status", "restartedAt"))

    @property
    def stamp(self) -> Stamp | None:
        """Who wrote last, to the Rollout or to the object that holds its template."""
        found = [marks.last_writer(one) for one in (self.item, self.referred) if one is not None]
        return max((stamp for stamp in found if stamp is not None), key=_moment, default=None)

    @property
    def history(self) -> tuple[str, ...]:
        """Versions that were stable before, newest first, without the one that is stable now."""
        found = marks.history_of(self.item) or (marks.history_of(self.referred) if self.referred is not None else ())
        return tuple(version for version in found if version != self.version(self.stable))

    @property
    def settled(self) -> bool:
        """Whether nothing of another version serves: the phase says Healthy while a router still sends to the canary."""
        weight = at(self.item, "status", "canary", "weights", "canary", "weight")
        return not weight and text(self.item, "status", "phase") == "Healthy"

    def identity(self, key: str) -> Identity | None:
        return self.versions.get(key)

    def version(self, key: str) -> str:
        found = self.versions.get(key)
        return found.version if found else ""

    def at_rest(self, key: str) -> str:
        """What the version of this ReplicaSet is called once it is the only one that serves."""
        return self.version(key).removesuffix(f"+{key}")

    def weights(self, wanted: Mapping[str, int]) -> dict[str, int]:
        """Basis points by hash. With a traffic router its weights; without one, the share of the wanted replicas, which is
        what moves traffic then (per connection, not per request)."""
        if self.blue_green:
            active = text(self.item, "status", "blueGreen", "activeSelector") or self.stable
            return {key: ALL_TRAFFIC_BP if key == active else 0 for key in self.sets}
        if self.routed:
            return self._routed() if self.verified else {}
        total = sum(wanted.values())
        if not total:
            return {}
        shares = {key: round(ALL_TRAFFIC_BP * replicas / total) for key, replicas in wanted.items()}
        # Rounding must not invent traffic: what is left over is the stable one's.
        if self.stable in shares:
            shares[self.stable] += ALL_TRAFFIC_BP - sum(shares.values())
        return shares

    def _routed(self) -> dict[str, int]:
        weights = table(self.item, "status", "canary", "weights")
        # Pods that are kept for a while after they lost their traffic are named no more.
        found = dict.fromkeys(self.sets, 0)
        if not weights:
            return found | ({self.stable: ALL_TRAFFIC_BP} if self.stable else {})
        for part in (table(weights, "canary"), table(weights, "stable")):
            if key := text(part, "podTemplateHash"):
                # At rest both name the same.
                found[key] = max(found.get(key, 0), count(part, "weight") * 100)
        return found


def _moment(stamp: Stamp) -> float:
    return stamp.at.timestamp() if isinstance(stamp.at, datetime) else 0.0


def standing_of(
    item: Object,
    sets: Sequence[Object],
    *,
    referred: Object | None = None,
    runs: Sequence[Object] = (),
    experiments: Sequence[Object] = (),
    scaler: str = "",
) -> Standing:
    """The Rollout with those of its ReplicaSets that matter, by hash."""
    by_hash = {text(found, "metadata", "labels", HASH_LABEL): found for found in sets}
    return Standing(item, by_hash, _versions(item, by_hash), referred, tuple(runs), tuple(experiments), scaler)


def scaler_of(item: Object, scalers: Sequence[Object]) -> str:
    """The name of the HorizontalPodAutoscaler that sets this object's replicas, "" where none does."""
    for scaler in scalers:
        target = table(scaler, "spec", "scaleTargetRef")
        if target.get("kind") == item.get("kind", "Rollout") and target.get("name") == name(item):
            return name(scaler)
    return ""


def _versions(item: Object, by_hash: dict[str, Object]) -> dict[str, Identity]:
    """Which version each ReplicaSet runs. Of those of one name the one that users have keeps it, then the newest; the others are
    told apart by their hash, as both are while a release goes from a version to itself in another template."""
    stable, current = text(item, "status", "stableRS"), text(item, "status", "currentPodHash")
    found = {key: identity_of(table(one, "spec", "template"), item) for key, one in by_hash.items()}
    newest = sorted(by_hash, key=lambda key: text(by_hash[key], "metadata", "creationTimestamp"), reverse=True)
    first = [key for key in (stable, current) if key in found]
    itself = len(set(first)) > 1 and found[stable].version == found[current].version
    taken = {found[stable].version} if itself else set()
    told: dict[str, Identity] = {}
    for key in dict.fromkeys([*first, *newest]):
        identity = found[key]
        if identity.version in taken:
            identity = replace(identity, version=f"{identity.version}+{key}")
        taken.add(found[key].version)
        told[key] = identity
    return told
