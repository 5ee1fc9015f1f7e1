"""Getting a Canary back to safety: abort, and the whole way back.

Facts seen on Flagger 1.36 and 1.44: `failedChecks` at its threshold is an abort, at the next look, in Progressing and
WaitingPromotion alone, and not while it is suspended; a template that came meanwhile wins over it. The old template in the
target is none: the release goes on with the wrong image. It is right once it is Failed, and then begins nothing. After a
promotion the primary can be returned by itself, at once and for good: Flagger never looks at its template again. A promotion
that failed leaves the new template in the primary and, in 1.44, all traffic on the canary: putting the old template into the
target alone begins nothing and mends nothing.
"""

from __future__ import annotations

from dataclasses import replace

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.patching import Effect
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.patching import test as must
from mlrelease_tui.connectors.kubernetes.workloads import deployment_standing as deployments
from mlrelease_tui.connectors.kubernetes.workloads.flagger_standing import AT_REST, JUDGED, PROMOTED, set_like
from mlrelease_tui.connectors.kubernetes.workloads.flagger_writes import BEGUN, PODS_S, Writing
from mlrelease_tui.domain.expectation import EndpointExpectation
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Phase
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import Refused


class Back(Writing):
    """The verbs that lead back."""

    # --- traffic

    def abort(self, endpoint: Endpoint) -> tuple[Write, ...]:
        standing = self._standing
        if standing.stray:
            # At rest nobody but us takes it back.
            return (self._weigh(self._own_route(), 0, held=standing.suspended),)
        if standing.native == "Waiting":
            raise Refused(
                f"at its gate Flagger heeds no abort; nothing of {endpoint.rollout.to_version} serves",
                hint="hold it, or roll it back",
            )
        if standing.native in PROMOTED:
            raise Refused(f"{self._name} is being promoted, which Flagger does not stop", hint="roll it back")
        if standing.native not in JUDGED:
            raise Refused(f"nothing is under way on {self._name} to abort", hint="roll back to leave what it runs")
        if standing.aborting and not standing.suspended:
            raise Refused(f"{self._name} is being aborted already", hint="wait for Flagger's next look")
        if (standing.suspended and standing.newer) or (standing.route is not None and standing.route.halted):
            # Flagger would take the newer template for a release to begin, or takes no step at all.
            return self._held_at(self._own_route(), 0)
        # Suspended by another hand at the same moment, it would wait for ever.
        back = replace(self._failed(), toward=endpoint.rollout.to_version, failed=(Phase.HELD,))
        asked = [] if standing.aborting else [self._fail(back)]
        if not standing.suspended:
            return tuple(asked)
        return (*asked, self._let_go(back, "the abort takes effect"))

    def _fail(self, back: EndpointExpectation) -> Write:
        standing, endpoint = self._standing, self._endpoint
        # A check that fails writes this number too: guarded by it, an abort would be lost to each of them.
        guard = self._guard()
        now = standing.failed_checks
        if standing.suspended:
            guard = (*guard, must("/status/failedChecks", now))
        undo = "retry it"
        effect = Effect(
            self._now(),
            f"traffic goes back to {endpoint.rollout.from_version} at Flagger's next look",
            undo,
            replace(back, phases=(Phase.HELD,), version_weights=None, labels=(), failed=())
            if standing.suspended
            else back,
            self._look_s,
        )
        return self._on_canary((*guard, put("/status/failedChecks", max(standing.threshold, now))), effect, status=True)

    def _failed(self) -> EndpointExpectation:
        """Flagger's own signs that it is over: Failed, no traffic, no pods."""
        standing, endpoint = self._standing, self._endpoint
        weights = ((endpoint.rollout.to_version, 0),) if standing.weight_bp is not None and not standing.same else None
        labels = (("target replicas", "0"),) if standing.target is not None else ()
        return EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            version_weights=weights,
            phases=(Phase.COMPLETE if standing.same else Phase.DEGRADED,),
            labels=labels,
        )

    # --- the whole way

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        standing = self._standing
        _, primary = self._halves()
        if not standing.native or standing.native == "Initializing":
            raise Refused(f"{self._name} is not initialized: there is nothing to return to", hint="wait for Flagger")
        if standing.native in PROMOTED or standing.broken:
            return self._from_promotion(artifact)
        if raw(primary.source.version) != artifact.version:
            return self._to_older(artifact)
        if standing.same and standing.settled and not standing.stray and standing.native in AT_REST:
            raise Refused(f"{self._name} runs {SafeText(artifact.version)}, alone", hint="name another version")
        if standing.native in JUDGED:
            halted = standing.route is not None and standing.route.halted
            if standing.suspended and standing.newer and not halted:
                return self._while_held(artifact)
            first = self.abort(endpoint) if not (standing.aborting and not standing.suspended) else ()
            if standing.newer or halted:
                # Only the traffic could be taken back: what Flagger does next is for whoever lets it go.
                return first
            return (*first, *self._target_back(artifact))
        strays = self.abort(endpoint) if standing.stray else ()
        # Where only the primary was taken back, Flagger takes the old template for another release.
        ghost = standing.native in {"Initialized", "Succeeded"} and not standing.owed
        return (*strays, *(() if standing.same else self._target_back(artifact, ghost=ghost)))

    def _while_held(self, artifact: Artifact) -> tuple[Write, ...]:
        """Held, and another template came: the old one goes back first, so that Flagger sees no newer release in it and heeds
        the abort."""
        version = SafeText(artifact.version)
        restored = self._target_back(artifact)
        if not restored:
            return self.abort(self._endpoint)
        back = EndpointExpectation(
            self._endpoint.ref,
            uid=self._endpoint.uid,
            stable_version=version,
            phases=(Phase.COMPLETE,),
            labels=(("target", version), ("target replicas", "0")),
            toward=version,
        )
        return (*restored, self._fail(back), self._let_go(back, f"{version} alone"))

    def _target_back(self, artifact: Artifact, *, ghost: bool = False) -> tuple[Write, ...]:
        """What the primary runs, in the target too. `ghost`: Flagger takes it for a release and runs a canary of it."""
        standing, endpoint = self._standing, self._endpoint
        target, _ = self._halves()
        if marks.reconciles(target.item):
            return ()
        version = SafeText(artifact.version)
        held = standing.suspended and standing.native in {*AT_REST, *(JUDGED if standing.newer else ())}
        phases: tuple[Phase, ...] = (Phase.HELD,) if held else (Phase.COMPLETE,)
        if standing.native == "Waiting":
            phases = (Phase.HELD,) if standing.suspended else (Phase.WAITING, Phase.PROGRESSING)
        elif ghost and not held:
            phases = BEGUN
        after = f"{version} alone"
        if ghost:
            after += f"; Flagger runs a canary of {version} over it"
        if standing.native == "Waiting":
            after += f"; once its gate opens, Flagger runs a canary of {version}"
        expects = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            stable_version=version,
            phases=phases,
            labels=(("target", version),),
            toward=version,
        )
        undo = f"promote {endpoint.rollout.to_version} again"
        effect = Effect(f"{endpoint.rollout.to_version} is still in the target", after, undo, expects, self._look_s)
        return (self._template(target, self._source(target, version), artifact, effect),)

    def _source(self, half: deployments.Standing, version: str) -> Object | None:
        """Its ReplicaSet that holds what the primary runs, else one of that version."""
        _, primary = self._halves()
        running = primary.stable
        if running is not None and raw(primary.source.version) == raw(version):
            found = set_like(half, running)
            if found is not None:
                return found
        return half.running(raw(version))

    def _from_promotion(self, artifact: Artifact) -> tuple[Write, ...]:
        """While it is promoted, and after that failed: the primary first, which Flagger never touches again."""
        standing, endpoint = self._standing, self._endpoint
        target, primary = self._halves()
        version = SafeText(artifact.version)
        if raw(endpoint.rollout.to_version) == artifact.version:
            raise Refused(f"{version} is what {self._name} is being promoted to", hint="name another version")
        self._known_to(primary, artifact.version)
        writes = []
        moving = standing.native in PROMOTED
        to_zero = ((endpoint.rollout.to_version, 0),)
        returned = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            stable_version=version,
            ready=(version,),
            # Flagger ends its promotion first: then the target holds what nothing runs.
            phases=(Phase.DEGRADED,) if moving and not standing.suspended else (),
            version_weights=to_zero if moving and not standing.suspended and standing.weight_bp is not None else None,
        )
        if raw(primary.target.version) != raw(version):
            after = f"the primary runs {version} again"
            writes.append(self._primary_back(primary, version, artifact, returned, after))
        if standing.broken and standing.weight_bp:
            writes.append(self._weigh(self._own_route(), 0, held=standing.suspended))
        if standing.suspended and moving:
            writes.append(self._let_go(replace(returned, phases=(Phase.DEGRADED,)), "Flagger ends its promotion"))
        if marks.reconciles(target.item):
            return tuple(writes)
        if moving:
            return (*writes, *self._target_back(artifact, ghost=True))
        expects = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            stable_version=version,
            phases=(Phase.HELD,) if standing.suspended else (Phase.COMPLETE,),
            labels=(("target", version), ("target replicas", "0")),
        )
        effect = Effect(
            "the target serves what failed", f"{version} alone", f"promote {endpoint.rollout.to_version} again", expects,
            self._look_s,
        )  # fmt: skip
        source = self._source(target, version)
        return (*writes, self._template(target, source, artifact, effect, to_zero=bool(target.wanted)))

    def _to_older(self, artifact: Artifact) -> tuple[Write, ...]:
        """At rest: the primary at once, then the target, over which Flagger runs a canary of the same."""
        standing, endpoint, version = self._standing, self._endpoint, SafeText(artifact.version)
        target, primary = self._halves()
        running = SafeText(primary.source.version)
        if standing.native not in AT_REST:
            raise Refused(
                f"a release of {self._name} is under way: it goes back to {running}",
                hint=f"roll it back to {running} first",
            )
        if standing.native == "Failed" and not standing.same:
            raise Refused(
                f"{endpoint.rollout.to_version} is still in the target of {self._name}",
                hint=f"roll it back to {running} first",
            )
        if raw(standing.version()) == artifact.version:
            raise Refused(f"{version} is what {self._name} is on its way to", hint="wait, or retry it")
        self._known_to(primary, artifact.version)
        weights = ((version, ALL_TRAFFIC_BP),) if standing.weight_bp == 0 else None
        returned = EndpointExpectation(
            endpoint.ref, uid=endpoint.uid, stable_version=version, ready=(version,), version_weights=weights
        )
        first = self._primary_back(primary, version, artifact, returned, f"users get {version}")
        if marks.reconciles(target.item):
            return (first,)
        older = primary.running(artifact.version)
        source = set_like(target, older) if older is not None else None
        expects = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            stable_version=version,
            phases=(Phase.HELD,) if standing.suspended else BEGUN,
            labels=(("target", version),),
        )
        effect = Effect(
            f"the target holds {endpoint.rollout.to_version}",
            f"{version} in the target too; Flagger runs a canary of it",
            f"promote {endpoint.rollout.from_version} again",
            expects,
            self._look_s,
        )
        return (first, self._template(target, source or target.running(artifact.version), artifact, effect))

    def _known_to(self, primary: deployments.Standing, version: str) -> None:
        if primary.running(version) is None:
            known = ", ".join(sorted({SafeText(item.version) for item in primary.versions.values()}))
            reason = f"no ReplicaSet of the primary of {self._name} holds {SafeText(version)}"
            raise Refused(reason, hint=f"there are: {known}; or promote it")

    def _primary_back(
        self,
        primary: deployments.Standing,
        version: str,
        artifact: Artifact,
        expects: EndpointExpectation,
        after: str,
    ) -> Write:
        undo = f"roll back to {self._endpoint.rollout.to_version}"
        effect = Effect(self._now(), after, undo, expects, self._look_s + PODS_S)
        return self._template(primary, primary.running(raw(version)), artifact, effect)
