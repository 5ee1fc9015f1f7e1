"""Taking a Canary forward: begin, without further analysis, another weight, again.

Facts seen on Flagger 1.36 and 1.44: it begins by itself when the target's template changes; `skipAnalysis` passes every gate
but `confirm-rollout`, says Succeeded while the primary still rolls, and left on promotes what comes next with nothing of it
judged; the weights are read from the route at each look, so that 100 in a release is a promotion at the next one; after a
failed promotion another release sends everything to the broken primary.
"""

from __future__ import annotations

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.patching import Effect, Patch, add, watched
from mlrelease_tui.connectors.kubernetes.pods import deploy_ops
from mlrelease_tui.connectors.kubernetes.workloads.flagger_standing import AT_REST, JUDGED, PROMOTED
from mlrelease_tui.connectors.kubernetes.workloads.flagger_writes import BEGUN, PODS_S, Writing
from mlrelease_tui.domain.expectation import EndpointExpectation, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Phase
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused


class Forward(Writing):
    """The verbs that lead to another version."""

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        standing, version = self._standing, SafeText(artifact.version)
        self._begins_from_rest()
        if weight_bp not in {None, ALL_TRAFFIC_BP}:
            raise Refused(
                f"{self._name} begins at the weight of its own first step",
                hint="leave the weight out; the steps are in the Canary's analysis",
            )
        if weight_bp is None and standing.skips:
            raise Refused(
                f"skipAnalysis is set: {version} would get all traffic unjudged",
                hint="`promote --full`, if that is meant",
            )
        begun = EndpointExpectation(endpoint.ref, uid=endpoint.uid, phases=BEGUN, labels=(("target", version),))
        begun = watched(begun, endpoint, toward=version)
        undo = f"roll back to {endpoint.rollout.from_version}"
        if weight_bp is None:
            return (
                self._deploy(artifact, Effect(self._now(), f"a canary of {version} begins", undo, begun, self._look_s)),
            )
        if gates := standing.gates("confirm-rollout"):
            raise Refused(
                f"{self._name} can't begin at 100%: its gate {', '.join(map(SafeText, gates))} comes first",
                hint="promote it, and finish it once the gate is open",
            )
        done = self._promoted(version)
        deployed = self._deploy(
            artifact, Effect(self._now(), f"{version} alone, unjudged", undo, done, 2 * self._look_s + PODS_S)
        )
        if standing.skips:
            return (deployed,)
        on = EndpointExpectation(endpoint.ref, uid=endpoint.uid, labels=(("skip analysis", "on"),))
        skip = self._skip(Effect("it is judged", "what comes next is not judged", "", on))
        return (skip, deployed, self._judge_again())

    def _begins_from_rest(self) -> None:
        standing = self._standing
        self._halves()
        self._noticed()
        self._running()
        self._well()
        if standing.native not in AT_REST:
            raise Refused(f"a release of {self._name} is under way already", hint="finish it or roll it back")
        if standing.stray:
            raise Refused(
                f"abort first: at rest, {percent(standing.weight_bp)} goes to its target: a canary would begin from there",
                hint="abort takes it back",
            )

    def _deploy(self, artifact: Artifact, effect: Effect) -> Write:
        target, primary = self._halves()
        ops = [*self._template_guard(target.item)]
        ops += [op for op in deploy_ops(target.item, artifact) if op not in ops]
        kept = [primary.source.version, *marks.history_of(target.item)]
        patch = Patch(self._kinds.deployments, target.item, tuple(ops), notes={marks.HISTORY: marks.history_text(kept)})
        return self._write(patch, effect)

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        standing = self._standing
        self._in_release()
        if standing.native == "Waiting":
            self._shut("confirm-rollout")
        if standing.native == "WaitingPromotion":
            self._shut("confirm-promotion")
        raise Refused(
            f"Flagger takes the steps of {self._name} by itself, every {standing.interval_s:g} s",
            hint="`promote --full` skips what is left of its analysis",
        )

    def _shut(self, kind: str) -> None:
        gates = ", ".join(SafeText(name) for name in self._standing.gates(kind)) or kind
        skip = "`promote --full` goes past it" if kind != "confirm-rollout" else "whoever keeps it opens it"
        raise Refused(f"{self._name} waits at its gate {gates}, which is not ours", hint=skip)

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        standing = self._standing
        self._in_release()
        self._running()
        if standing.native == "Waiting":
            gates = ", ".join(SafeText(name) for name in standing.gates("confirm-rollout")) or "confirm-rollout"
            raise Refused(
                f"{self._name} waits at {gates}: skipAnalysis does not pass that one",
                hint="whoever keeps the gate opens it",
            )
        if standing.skips:
            raise Refused(
                f"{self._name} is to be promoted without analysis already", hint="wait for Flagger's next look"
            )
        self._halves()
        to_version = endpoint.rollout.to_version
        effect = Effect(
            self._now(),
            f"{to_version} becomes stable, the rest of its analysis skipped",
            f"roll back to {endpoint.rollout.from_version}",
            self._promoted(to_version),
            self._look_s + PODS_S,
        )
        return (self._skip(effect), self._judge_again())

    def _in_release(self) -> None:
        standing = self._standing
        if standing.native in PROMOTED:
            raise Refused(f"{self._name} is being promoted already", hint="wait for its primary")
        if standing.native == "Failed" and not standing.same:
            raise Refused(
                f"the release of {self._endpoint.rollout.to_version} failed", hint="retry it, or roll it back"
            )
        if standing.native not in {*JUDGED, "Waiting"}:
            raise Refused(f"nothing is under way on {self._name}", hint="promote a version first")
        if standing.aborting:
            raise Refused(f"{self._name} is being aborted", hint="wait for Flagger's next look")

    def _promoted(self, version: str) -> EndpointExpectation:
        """The primary itself is rolled out on this version: Flagger says Succeeded before."""
        done = EndpointExpectation(
            self._endpoint.ref,
            uid=self._endpoint.uid,
            stable_version=version,
            ready=(version,),
            phases=(Phase.COMPLETE,),
        )
        return watched(done, self._endpoint, toward=version)

    def _skip(self, effect: Effect) -> Write:
        ops = (*self._guard("/spec/skipAnalysis"), add("/spec/skipAnalysis", True))
        return self._on_canary(ops, effect)

    # --- weights

    def set_weight(self, endpoint: Endpoint, weight_bp: int) -> tuple[Write, ...]:
        """Suspended first: Flagger goes on from whatever weight it finds. What is asked for is noted with that, so that
        whoever lets it go meanwhile is told."""
        standing = self._standing
        self._in_release()
        route = self._own_route()
        if standing.native == "Waiting" or standing.weight_bp is None:
            raise Refused(f"{endpoint.rollout.to_version} of {self._name} gets no live traffic yet", hint="wait")
        target, _ = self._halves()
        if weight_bp and not target.available:
            raise Refused(f"no pod of {endpoint.rollout.to_version} is available", hint="wait for its pods")
        if weight_bp % 100:
            raise Refused(f"{percent(weight_bp)} can't be: Flagger counts whole percent", hint="give whole percent")
        return self._held_at(route, weight_bp // 100)

    def retry(self, endpoint: Endpoint) -> tuple[Write, ...]:
        """A mark in the target's template is another template: Flagger begins anew."""
        standing = self._standing
        target, _ = self._halves()
        if standing.native != "Failed" or (standing.same and not standing.broken):
            raise Refused(f"no release of {self._name} failed", hint="there is nothing to retry")
        self._noticed()
        self._running()
        self._well()
        to_version = endpoint.rollout.to_version
        expects = watched(
            EndpointExpectation(endpoint.ref, uid=endpoint.uid, phases=BEGUN), endpoint, toward=to_version
        )
        effect = Effect(self._now(), f"a canary of {to_version} begins anew", "abort it", expects, self._look_s)
        return (self._restarted(target, effect, self._frame.now.strftime("%Y-%m-%dT%H:%M:%SZ")),)
