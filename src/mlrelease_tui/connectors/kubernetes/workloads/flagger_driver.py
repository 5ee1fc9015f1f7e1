"""What drives a Canary: all its verbs, which of them there are now, and why not the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.workloads.flagger_back import Back
from mlrelease_tui.connectors.kubernetes.workloads.flagger_forward import Forward
from mlrelease_tui.connectors.kubernetes.workloads.flagger_running import Running
from mlrelease_tui.connectors.kubernetes.workloads.flagger_standing import AT_REST, PROMOTED
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Hold, Strategy, Verb
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import Refused

_UNHEARD_OF: Final = Artifact("0-unheard-of", "models:/unheard-of/0")


class FlaggerDriver(Forward, Back, Running):
    """Plans the writes for one Canary from the objects of one read."""

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]:
        endpoint, standing = self._endpoint, self._standing
        nobody = Hold(SafeText("nobody"), SafeText())
        at_rest = standing.native in AT_REST and standing.same
        # Flagger takes its steps by itself: in a release what is left to ask for is the end.
        moving: Callable[[], tuple[Write, ...]] = (
            (lambda: self.start(endpoint, _UNHEARD_OF, None))
            if at_rest or not standing.native
            else (lambda: self.complete(endpoint))
        )
        replicas = standing.primary.wanted if standing.primary is not None else 0
        found: dict[Verb, Callable[[], tuple[Write, ...]]] = {
            Verb.PROMOTE: moving,
            Verb.HOLD: lambda: self.hold(endpoint, nobody),
            Verb.CONTINUE: lambda: self.resume(endpoint),
            Verb.ABORT: lambda: self.abort(endpoint),
            Verb.ROLLBACK: lambda: self.roll_back(endpoint, self._return_target()),
            Verb.RETRY: lambda: self.retry(endpoint),
            Verb.RESTART: lambda: self.restart(endpoint),
            Verb.SCALE: lambda: self.scale(endpoint, replicas + 1),
        }
        if standing.strategy is Strategy.CANARY:
            found[Verb.WEIGHT] = lambda: self.set_weight(endpoint, 0)
        return found

    def native(self) -> Mapping[Verb, str]:
        return {
            Verb.PROMOTE: "target's template" if self._standing.native in AT_REST else "spec.skipAnalysis",
            Verb.WEIGHT: "spec.suspend, weights of the route",
            Verb.HOLD: "spec.suspend",
            Verb.CONTINUE: "spec.suspend",
            Verb.ABORT: "status.failedChecks",
            Verb.ROLLBACK: "templates of primary and target",
            Verb.RETRY: "annotation in the target's template",
            Verb.RESTART: "rollout restart of the primary",
            Verb.SCALE: "replicas of the primary",
        }

    def never(self) -> Mapping[Verb, str]:
        found = {
            Verb.SWITCH: "promote --full cuts over now: Flagger does it by itself",
            Verb.SHADOW: "mirroring is `analysis.mirror` of the Canary's own",
        }
        if self._standing.strategy is Strategy.CANARY:
            return found
        words = {
            Strategy.AB: "requests are split by their headers: there are no weights",
            Strategy.BLUE_GREEN: "it has iterations, no weights: users stay on the primary",
        }
        return found | {Verb.WEIGHT: words[self._standing.strategy]}

    def _return_target(self) -> Artifact:
        """Where a rollback could go: what the primary runs while the target holds something else, else what it ran before."""
        standing = self._standing
        _, primary = self._halves()
        stable = raw(primary.source.version)
        arrived = standing.native in PROMOTED and stable == raw(standing.version())
        moving = standing.native not in AT_REST or not standing.same or standing.broken or standing.stray
        if moving and not arrived:
            return Artifact(stable)
        others = [raw(identity.version) for identity in primary.versions.values() if raw(identity.version) != stable]
        found = raw(primary.previous) or next(iter(others), "")
        if not found:
            raise Refused(f"the primary of {self._name} has no ReplicaSet of another version", hint="promote one")
        return Artifact(found)
