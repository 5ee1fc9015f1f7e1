"""What drives a Rollout: all its verbs, which of them there are now, and why not the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.objects import text
from mlrelease_tui.connectors.kubernetes.workloads.argo_back import Back
from mlrelease_tui.connectors.kubernetes.workloads.argo_forward import Forward
from mlrelease_tui.connectors.kubernetes.workloads.argo_running import Running
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Hold, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

_UNHEARD_OF: Final = Artifact("0-unheard-of", "models:/unheard-of/0")


class ArgoDriver(Forward, Back, Running):
    """Plans the writes for one Rollout from the objects of one read."""

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]:
        endpoint, standing = self._endpoint, self._standing
        nobody = Hold(SafeText("nobody"), SafeText())
        moving: Callable[[], tuple[Write, ...]] = (
            self._going_on if standing.in_flight else (lambda: self.start(endpoint, _UNHEARD_OF, None))
        )
        found: dict[Verb, Callable[[], tuple[Write, ...]]] = {
            Verb.PROMOTE: moving,
            Verb.HOLD: lambda: self.hold(endpoint, nobody),
            Verb.CONTINUE: lambda: self.resume(endpoint),
            Verb.ABORT: lambda: self.abort(endpoint),
            Verb.ROLLBACK: lambda: self.roll_back(endpoint, self._return_target()),
            Verb.RETRY: lambda: self.retry(endpoint),
            Verb.RESTART: lambda: self.restart(endpoint),
            Verb.SCALE: lambda: self.scale(endpoint, standing.replicas + 1),
        }
        if standing.blue_green:
            found[Verb.SWITCH] = lambda: self.switch(endpoint)
        else:
            found[Verb.WEIGHT] = lambda: self.set_weight(endpoint, self._some_weight())
        return found

    def native(self) -> Mapping[Verb, str]:
        return {
            Verb.PROMOTE: "promote",
            Verb.WEIGHT: "currentStepIndex",
            Verb.HOLD: "pause",
            Verb.CONTINUE: "spec.paused",
            Verb.ABORT: "abort",
            Verb.ROLLBACK: "stable ReplicaSet's template",
            Verb.RETRY: "retry",
            Verb.RESTART: "restart",
            Verb.SCALE: "spec.replicas",
            Verb.SWITCH: "promote",
        }

    def never(self) -> Mapping[Verb, str]:
        found = {Verb.SHADOW: "mirroring is a step of the Rollout's own"}
        if self._standing.blue_green:
            return found | {Verb.WEIGHT: "a blue-green rollout has no weights: switch cuts over"}
        return found | {Verb.SWITCH: "a canary has weights: promote --full moves all traffic"}

    def _going_on(self) -> tuple[Write, ...]:
        """A rollout that takes its steps by itself can still be promoted to its end."""
        try:
            return self.advance(self._endpoint)
        except Refused as no:
            try:
                return self.complete(self._endpoint)
            except Refused:
                raise no from None

    def _return_target(self) -> Artifact:
        """Where a rollback could go: the stable version while another is under way, else the last healthy one, else any."""
        standing = self._standing
        if standing.in_flight:
            return Artifact(standing.version(standing.stable))
        others = {
            identity.version: text(standing.sets[key], "metadata", "creationTimestamp")
            for key, identity in standing.versions.items()
            if key != standing.current
        }
        known = next((version for version in standing.history if version in others), "")
        found = known or max(others, key=lambda version: others[version], default="")
        if not found:
            raise Refused(f"{self._endpoint.ref.name} has no ReplicaSet of another version", hint="promote one")
        return Artifact(found)
