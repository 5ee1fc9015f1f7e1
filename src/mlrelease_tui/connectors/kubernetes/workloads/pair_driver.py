"""Driving a canary pair: weights are numbers of pods, so each move is two guarded patches, and nothing is rounded.

Going up the canary's pods come first, going down the stable ones do, so that there are never fewer pods than before; getting back
to safety takes the canary's away first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.objects import name, notes, uid
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, Patch, pointer, test, watched
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.pods import deploy_ops
from mlrelease_tui.connectors.kubernetes.workloads.deployment_driver import SETTLE_S, DeploymentDriver
from mlrelease_tui.connectors.kubernetes.workloads.pair_standing import share, whole_note
from mlrelease_tui.connectors.kubernetes.workloads.pair_writes import Writing, counted
from mlrelease_tui.domain.expectation import EndpointExpectation, Expectation, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Hold, Phase, Verb
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import Refused

_UNHEARD_OF: Final = Artifact("0-unheard-of", "models:/unheard-of/0")


class PairDriver(Writing):
    """Plans the writes for one pair from the objects of one read."""

    # --- what there is

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]:
        endpoint, pair = self._endpoint, self._pair
        moving: Callable[[], tuple[Write, ...]] = (
            (lambda: self.complete(endpoint)) if pair.in_flight else (lambda: self.start(endpoint, _UNHEARD_OF, None))
        )
        back = raw(pair.stable.source.version if pair.in_flight or pair.owed else pair.stable.previous)
        return {
            Verb.PROMOTE: moving,
            Verb.WEIGHT: lambda: self.set_weight(endpoint, 0),
            Verb.HOLD: lambda: self.hold(endpoint, Hold(SafeText("nobody"), SafeText())),
            Verb.CONTINUE: lambda: self.resume(endpoint),
            Verb.ABORT: lambda: self.abort(endpoint),
            Verb.ROLLBACK: lambda: self.roll_back(endpoint, Artifact(back)),
            Verb.RESTART: lambda: self.restart(endpoint),
            Verb.SCALE: lambda: self.scale(endpoint, pair.stable.wanted + 1),
        }

    def native(self) -> Mapping[Verb, str]:
        return {
            Verb.PROMOTE: "replicas and image",
            Verb.WEIGHT: "replicas, by connection",
            Verb.HOLD: "annotation, advisory",
            Verb.CONTINUE: "annotation, advisory",
            Verb.ABORT: "canary to 0 replicas",
            Verb.ROLLBACK: "canary to 0, or rollout undo",
            Verb.RESTART: "rollout restart",
            Verb.SCALE: "spec.replicas of stable",
        }

    def never(self) -> Mapping[Verb, str]:
        return {
            Verb.RETRY: "nothing was given up: promote starts a canary anew",
            Verb.SWITCH: "one Service sends to both: a weight moves the traffic",
            Verb.SHADOW: "a Service mirrors nothing",
        }

    # --- going on

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        """The canary's template and pods in one patch, then fewer stable pods."""
        pair = self._pair
        if pair.in_flight:
            raise Refused(f"{endpoint.ref.name} has a canary already", hint="finish it or roll it back first")
        if self._paused():
            raise Refused(f"{self._paused()} is paused: nothing would start", hint="resume it with kubectl")
        self._free("promote")
        total = pair.whole
        first = pair.steps[0] if pair.steps else share(1, total)
        weight = first if weight_bp is None else weight_bp
        number = self._number(weight)
        version = SafeText(artifact.version)
        if weight == ALL_TRAFFIC_BP:
            return self._stable_alone(endpoint, artifact, total)
        canary = pair.canary
        ops = (
            *self._guard(canary),
            test("/spec/replicas", canary.wanted),
            *deploy_ops(canary.item, artifact),
            put("/spec/replicas", number),
        )
        up = EndpointExpectation(endpoint.ref, uid=endpoint.uid, ready=(version,), held=False)
        up = watched(up, endpoint)
        effect = Effect(
            f"no canary, {pair.stable.wanted} of {endpoint.rollout.from_version}",
            f"{number} of {version} beside them",
            f"scale {name(canary.item)} to 0",
            up,
            SETTLE_S,
        )
        kept = whole_note(total, pair.stable)
        begun = self._patch(Patch(self._kinds.deployments, canary.item, ops, notes=kept), effect)
        return (begun, self._fewer_stable(endpoint, total - number, version, weight))

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        pair = self._pair
        self._has_canary()
        following = [weight for weight in pair.steps if weight > pair.weight_bp]
        if not following:
            raise Refused(
                f"{endpoint.ref.name} has no step after this one", hint="name a weight, or promote it in full"
            )
        return self.set_weight(endpoint, following[0])

    def set_weight(self, endpoint: Endpoint, weight_bp: int) -> tuple[Write, ...]:
        pair = self._pair
        self._has_canary()
        self._free("move its weight")
        if weight_bp == 0:
            return self._without_canary(endpoint)
        number = self._number(weight_bp)
        if number == pair.canary.wanted:
            raise Refused(
                f"the canary of {endpoint.ref.name} has {percent(weight_bp)} already", hint="give another weight"
            )
        version = SafeText(pair.canary.target.version)
        if number > pair.canary.wanted:
            up = EndpointExpectation(endpoint.ref, uid=endpoint.uid, ready=(version,), labels=counted("canary", number))
            more = self._scaled(
                pair.canary,
                number,
                watched(up, endpoint),
                kept=whole_note(pair.whole, pair.stable),
            )
            return (more, self._fewer_stable(endpoint, pair.whole - number, version, weight_bp))
        rest = pair.whole - number
        stable = SafeText(pair.stable.source.version)
        ready = EndpointExpectation(endpoint.ref, uid=endpoint.uid, ready=(stable,), labels=counted("stable", rest))
        done = EndpointExpectation(
            endpoint.ref, uid=endpoint.uid, version_weights=((version, weight_bp),), labels=counted("canary", number)
        )
        kept = whole_note(pair.whole, pair.canary)
        return (self._scaled(pair.stable, rest, ready, kept=kept), self._scaled(pair.canary, number, done, later=True))

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        """The stable Deployment takes the canary's version while that goes on serving; then the canary goes."""
        pair = self._pair
        self._has_canary()
        self._free("promote")
        if self._paused():
            raise Refused(f"{self._paused()} is paused: it would take no version", hint="resume it with kubectl")
        version = raw(pair.canary.target.version)
        moved = self._stable_alone(endpoint, self._artifact_of(version), pair.whole, waits=Phase.WAITING)
        gone = EndpointExpectation(
            endpoint.ref, uid=endpoint.uid, stable_version=SafeText(version), phases=(Phase.COMPLETE,)
        )
        return (*moved, self._scaled(pair.canary, 0, gone, later=True))

    # --- stopping

    def hold(self, endpoint: Endpoint, hold: Hold) -> tuple[Write, ...]:
        pair = self._pair
        if endpoint.rollout.hold is not None:
            raise Refused(f"{endpoint.ref.name} is held already", hint="continue lets it go on")
        kept = notes(pair.service)
        path = pointer("metadata", "annotations", marks.HOLD) if kept else pointer("metadata", "annotations")
        ops = (test("/metadata/uid", uid(pair.service)), test(path, None))
        effect = Effect(
            "not held",
            "this tool moves no weight up; Kubernetes itself enforces nothing",
            "continue it",
            EndpointExpectation(endpoint.ref, uid=endpoint.uid, held=True),
        )
        return (self._patch(Patch(self._services, pair.service, ops, hold=True), effect),)

    def resume(self, endpoint: Endpoint) -> tuple[Write, ...]:
        pair = self._pair
        mark = notes(pair.service).get(marks.HOLD)
        if mark is None:
            raise Refused(f"{endpoint.ref.name} is not held", hint="there is nothing to continue")
        ops = (test("/metadata/uid", uid(pair.service)), test(pointer("metadata", "annotations", marks.HOLD), mark))
        effect = Effect(
            "held",
            "weights may be moved again",
            "hold it",
            EndpointExpectation(endpoint.ref, uid=endpoint.uid, held=False),
        )
        return (self._patch(Patch(self._services, pair.service, ops, hold=False), effect),)

    def abort(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._has_canary()
        return self._without_canary(endpoint)

    # --- going back

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        pair, version = self._pair, artifact.version
        stable = raw(pair.stable.source.version)
        if pair.in_flight:
            if version != stable:
                raise Refused(
                    f"{endpoint.ref.name} goes back to {SafeText(stable)} first: a canary is under way",
                    hint="name no version",
                )
            return self._without_canary(endpoint)
        if version == stable and pair.owed:
            return self.finish_return(endpoint)
        return self._of_pair(self._alone().roll_back(endpoint, artifact))

    def finish_return(self, endpoint: Endpoint) -> tuple[Write, ...]:
        """The pods that the stable half still lacks where a way back ended between its two writes."""
        pair = self._pair
        if not pair.owed:
            return ()
        stable = SafeText(pair.stable.source.version)
        full = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            ready=(stable,),
            labels=counted("stable", pair.whole),
            phases=(Phase.COMPLETE,),
        )
        return (self._scaled(pair.stable, pair.whole, full),)

    def restart(self, endpoint: Endpoint) -> tuple[Write, ...]:
        if self._pair.in_flight:
            raise Refused(f"{endpoint.ref.name} has a canary", hint="finish it or roll it back first")
        return self._of_pair(self._alone().restart(endpoint))

    def scale(self, endpoint: Endpoint, replicas: int) -> tuple[Write, ...]:
        if self._pair.in_flight:
            raise Refused(
                f"more pods on one side move the weights of {endpoint.ref.name}", hint="finish the canary first"
            )
        self._free("scale")
        return self._of_pair(self._alone().scale(endpoint, replicas))

    # --- beneath

    def _alone(self) -> DeploymentDriver:
        """What drives the stable Deployment by itself."""
        return DeploymentDriver(self._kinds, self._pair.stable, self._endpoint, self._frame)

    def _of_pair(self, writes: tuple[Write, ...]) -> tuple[Write, ...]:
        """What is looked for is read from the pair, whose variants are its Deployments and whose hold is a note on the Service."""
        return tuple(replace(write, expects=_seen_on_pair(write.expects)) for write in writes)

    def _artifact_of(self, version: str) -> Artifact:
        """The version as the canary runs it: its URI and digest are the ones in its template."""
        return self._uri_of_canary() or Artifact(version, digest=self._pair.canary.target.digest)

    def _uri_of_canary(self) -> Artifact | None:
        target = self._pair.canary.target
        uri = f"models:/{target.model.rpartition('/')[2]}/{target.version}"
        return Artifact(target.version, uri, target.digest) if target.model else None

    def _stable_alone(
        self, endpoint: Endpoint, artifact: Artifact, total: int, *, waits: Phase = Phase.COMPLETE
    ) -> tuple[Write, ...]:
        pair, version = self._pair, SafeText(artifact.version)
        stable = pair.stable
        ops: list[Op] = [*self._guard(stable), *deploy_ops(stable.item, artifact)]
        if stable.wanted != total:
            ops += [test("/spec/replicas", stable.wanted), put("/spec/replicas", total)]
        ran = marks.history_text([stable.source.version, *marks.history_of(stable.item)])
        kept = {marks.HISTORY: ran, **whole_note(total, pair.canary)}
        expects = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            stable_version=version,
            phases=(waits,),
            ready=(version,),
            labels=counted("stable", total),
        )
        effect = Effect(
            self._now(),
            f"{name(stable.item)} runs {version} on {total} pods",
            f"roll back to {stable.source.version}",
            watched(expects, endpoint),
            SETTLE_S,
        )
        return (self._patch(Patch(self._kinds.deployments, stable.item, tuple(ops), notes=kept), effect),)

    def _without_canary(self, endpoint: Endpoint) -> tuple[Write, ...]:
        """Back to safety: the canary's pods go at once where stable ones are there, and these become as many as both were."""
        pair = self._pair
        version, stable = SafeText(pair.canary.target.version), SafeText(pair.stable.source.version)
        whole = pair.whole
        alone = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            stable_version=stable,
            absent=tuple(variant.name for variant in endpoint.variants if variant is endpoint.canary),
        )
        if (pair.stable.wanted == whole and not self._cut_short()) or self._scalers:
            return (self._scaled(pair.canary, 0, replace(alone, phases=(Phase.COMPLETE,))),)
        full = EndpointExpectation(endpoint.ref, uid=endpoint.uid, ready=(stable,), labels=counted("stable", whole))
        if pair.stable.wanted == 0:
            # Without the canary nobody would answer.
            ended = replace(alone, phases=(Phase.COMPLETE,))
            first = self._scaled(pair.stable, whole, full, kept=whole_note(whole, pair.canary))
            return (first, self._scaled(pair.canary, 0, ended, later=True))
        expected = replace(alone, version_weights=((version, 0),))
        # Where another move was cut short this leaves our mark on the stable half too: what it still sends is void then.
        gone = self._scaled(pair.canary, 0, expected, kept=whole_note(whole, pair.stable))
        back = replace(full, phases=(Phase.COMPLETE,))
        return (gone, self._scaled(pair.stable, whole, back, later=True))

    def _cut_short(self) -> bool:
        return self._pair.whole != self._pair.total


def _seen_on_pair(expects: Expectation) -> Expectation:
    if not isinstance(expects, EndpointExpectation):
        return expects
    labels = tuple((f"stable {label}" if label == "replicas" else label, value) for label, value in expects.labels)
    return replace(expects, absent=(), held=None, labels=labels)
