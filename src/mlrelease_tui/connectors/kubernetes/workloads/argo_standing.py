"""Where a Rollout stands: what its status, spec and ReplicaSets say together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import at, count, table, text
from mlrelease_tui.connectors.kubernetes.pods import Identity, identity_of
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP

HASH_LABEL = "rollouts-pod-template-hash"
"""The label by which the controller tells its ReplicaSets apart."""


@dataclass(frozen=True)
class Standing:
    """A Rollout with its ReplicaSets by hash, and the version that each runs."""

    item: Object
    sets: Mapping[str, Object]
    versions: Mapping[str, Identity]

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
    def observed(self) -> bool:
        """Whether the controller has looked at the newest spec: it keeps the generation as text."""
        return text(self.item, "status", "observedGeneration") == text(self.item, "metadata", "generation")

    @property
    def deaf(self) -> bool:
        """A pause was lifted and the controller did not notice: it takes `controllerPause` away in the same moment."""
        status = table(self.item, "status")
        return status.get("controllerPause") is True and not status.get("pauseConditions") and not self.aborted

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

    def weights(self, wanted: Mapping[str, int]) -> dict[str, int]:
        """Basis points by hash. With a traffic router its weights; without one, the share of the wanted replicas, which is
        what moves traffic then (per connection, not per request)."""
        if self.blue_green:
            active = text(self.item, "status", "blueGreen", "activeSelector") or self.stable
            return {key: ALL_TRAFFIC_BP if key == active else 0 for key in self.sets}
        if at(self.item, "spec", "strategy", "canary", "trafficRouting"):
            return self._routed()
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
        if not weights:
            return {self.stable: ALL_TRAFFIC_BP} if self.stable else {}
        found = {
            text(part, "podTemplateHash"): count(part, "weight") * 100
            for part in (table(weights, "canary"), table(weights, "stable"))
        }
        return {key: weight for key, weight in found.items() if key}


def standing_of(item: Object, sets: tuple[Object, ...]) -> Standing:
    """The Rollout with those of its ReplicaSets that matter, by hash."""
    by_hash = {text(found, "metadata", "labels", HASH_LABEL): found for found in sets}
    return Standing(item, by_hash, _versions(item, by_hash))


def _versions(item: Object, by_hash: dict[str, Object]) -> dict[str, Identity]:
    """Which version each ReplicaSet runs. Two of one name are told apart by their hash."""
    found = {key: identity_of(table(one, "spec", "template"), item) for key, one in by_hash.items()}
    seen = [identity.version for identity in found.values()]
    return {
        key: identity
        if seen.count(identity.version) == 1
        else Identity(identity.model, f"{identity.version}+{key}", identity.digest, identity.source)
        for key, identity in found.items()
    }
