"""Driving a Rollout: the smallest guarded writes that its controller really obeys.

Facts seen on Argo Rollouts 1.10.1: clearing the pause under a manual pause loses the promotion; a promotion without a guard
on the pause itself advances twice; an abort is only half done while the spec is paused; `promoteFull` on an aborted rollout
releases the bad version; restoring the stable template is one write that ends Healthy where an abort ends Degraded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import at, count, items, name, namespace, text, uid
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, Patch, Template, add, remove, test, written
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.pods import deploy_ops
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.argo_standing import HASH_LABEL, Standing
from mlrelease_tui.domain.expectation import EndpointExpectation, expectation_of, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Hold, Phase, Verb
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import Refused

_SETTLE_S: Final = 300.0
"""Pods of the version to return to may have to start first."""
_UNHEARD_OF: Final = Artifact("0-unheard-of", "models:/unheard-of/0")


class ArgoDriver:
    """Plans the writes for one Rollout from the objects of one read."""

    def __init__(
        self, rollouts: Resource, sets: Resource, standing: Standing, endpoint: Endpoint, frame: Frame
    ) -> None:
        self._rollouts = rollouts
        self._sets = sets
        self._standing = standing
        self._endpoint = endpoint
        self._frame = frame

    # --- what there is

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]:
        endpoint, standing = self._endpoint, self._standing
        stable = Artifact(raw(standing.version(standing.stable)))
        nobody = Hold(SafeText("nobody"), SafeText())
        moving: Callable[[], tuple[Write, ...]] = (
            (lambda: self.advance(endpoint))
            if standing.in_flight
            else (lambda: self.start(endpoint, _UNHEARD_OF, None))
        )
        found: dict[Verb, Callable[[], tuple[Write, ...]]] = {
            Verb.PROMOTE: moving,
            Verb.HOLD: lambda: self.hold(endpoint, nobody),
            Verb.CONTINUE: lambda: self.resume(endpoint),
            Verb.ABORT: lambda: self.abort(endpoint),
            Verb.ROLLBACK: lambda: self.roll_back(endpoint, stable),
            Verb.RETRY: lambda: self.retry(endpoint),
            Verb.RESTART: lambda: self.restart(endpoint),
            Verb.SCALE: lambda: self.scale(endpoint, count(standing.item, "spec", "replicas") + 1),
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

    # --- going on

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        self._listened()
        self._own_template()
        if weight_bp not in {None, ALL_TRAFFIC_BP}:
            raise Refused(
                f"{endpoint.ref.name} begins at the weight of its own first step",
                hint="leave the weight out; the steps are in the Rollout's spec",
            )
        if weight_bp == ALL_TRAFFIC_BP and items(self._standing.item, "spec", "strategy", "canary", "steps"):
            raise Refused(
                f"{endpoint.ref.name} can't begin at 100%: its steps come first",
                hint="promote it, then `promote --full`",
            )
        ops = [*self._guard("/status/currentPodHash"), *deploy_ops(self._standing.item, artifact)]
        return (
            self._patch(
                Patch(self._rollouts, self._standing.item, tuple(ops)),
                Effect(
                    before=self._now(),
                    after=f"a rollout to {SafeText(artifact.version)} begins",
                    undo=f"roll back to {endpoint.rollout.from_version}",
                    expects=replace(
                        self._expected(), phases=(Phase.PROGRESSING, Phase.WAITING, Phase.COMPLETE), present=()
                    ),
                ),
            ),
        )

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._listened()
        standing = self._standing
        self._in_flight("nothing is under way")
        if standing.aborted:
            raise Refused(f"{endpoint.ref.name} was aborted", hint="retry takes it up again")
        if standing.blue_green:
            return self.switch(endpoint)
        index = count(standing.item, "status", "currentStepIndex")
        if standing.paused:
            # The pause must go last: cleared first, the controller starts the same step anew.
            jump = self._status(
                [put("/status/currentStepIndex", index + 1)], self._step_guard(), f"step {index + 1} is next", index + 1
            )
            return (jump, self._unpause(f"the rollout goes on at step {index + 1}", index + 1))
        if not items(standing.item, "status", "pauseConditions"):
            raise Refused(
                f"{endpoint.ref.name} is not waiting for anybody: it takes its steps by itself",
                hint="hold it, or wait until it pauses",
            )
        ops: list[Op] = [remove("/status/pauseConditions")]
        reasons = [text(found, "reason") for found in items(standing.item, "status", "pauseConditions")]
        if any(reason != "CanaryPauseStep" for reason in reasons):
            # An inconclusive analysis would only be run again.
            ops.append(put("/status/currentStepIndex", index + 1))
        return (self._status(ops, self._pause_guard(), f"step {index + 1} begins", index + 1),)

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._listened()
        self._in_flight("nothing is under way")
        standing = self._standing
        if standing.aborted:
            raise Refused(
                f"{endpoint.ref.name} was aborted: a full promotion would release {endpoint.rollout.to_version} to all",
                hint="retry it, or roll it back",
            )
        expects = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            stable_version=endpoint.rollout.to_version,
            phases=(Phase.COMPLETE,),
        )
        full = self._on_status(
            (*self._guard("/status/currentPodHash"), put("/status/promoteFull", True)),
            Effect(
                self._now(),
                f"{endpoint.rollout.to_version} becomes stable, all steps skipped",
                f"roll back to {endpoint.rollout.from_version}",
                replace(self._expected(), stable_version=None, step_index=None) if standing.paused else expects,
                _SETTLE_S,
            ),
        )
        return (full, self._unpause("all steps are skipped", None, expects)) if standing.paused else (full,)

    def set_weight(self, endpoint: Endpoint, weight_bp: int) -> tuple[Write, ...]:
        self._listened()
        self._in_flight("it has no canary")
        if self._standing.paused or self._standing.aborted:
            raise Refused(f"{endpoint.ref.name} is {endpoint.rollout.phase}", hint="continue or retry it first")
        reached = self._weight_steps()
        index = reached.get(weight_bp)
        if index is None:
            known = ", ".join(percent(weight) for weight in sorted(reached)) or "none"
            raise Refused(
                f"{endpoint.ref.name} has no step of {percent(weight_bp)} at which it pauses",
                hint=f"its steps give: {known}",
            )
        ops = [put("/status/currentStepIndex", index)]
        if items(self._standing.item, "status", "pauseConditions"):
            ops.append(remove("/status/pauseConditions"))
        return (self._status(ops, self._pause_guard(), f"step {index}: {percent(weight_bp)}", index, exact=True),)

    def switch(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._listened()
        self._in_flight("no preview is there to switch to")
        standing = self._standing
        if not items(standing.item, "status", "pauseConditions"):
            raise Refused(f"the preview of {endpoint.ref.name} is not ready", hint="wait until it pauses")
        if standing.paused:
            raise Refused(f"{endpoint.ref.name} is held", hint="continue it first")
        active = "/status/blueGreen/activeSelector"
        guard = (*self._pause_guard(), test(active, at(standing.item, "status", "blueGreen", "activeSelector")))
        return (
            self._on_status(
                (*guard, remove("/status/pauseConditions")),
                Effect(
                    self._now(),
                    f"users get {endpoint.rollout.to_version}",
                    f"roll back to {endpoint.rollout.from_version}",
                    EndpointExpectation(
                        endpoint.ref,
                        uid=endpoint.uid,
                        version_weights=((endpoint.rollout.to_version, ALL_TRAFFIC_BP),),
                    ),
                    _SETTLE_S,
                ),
            ),
        )

    # --- stopping

    def hold(self, endpoint: Endpoint, hold: Hold) -> tuple[Write, ...]:
        if self._standing.paused:
            raise Refused(f"{endpoint.ref.name} is held already", hint="continue lets it go on")
        return (
            self._patch(
                Patch(self._rollouts, self._standing.item, (*self._guard(), add("/spec/paused", True)), hold=True),
                Effect(
                    self._now(),
                    "held where it is; a running analysis goes on measuring",
                    "continue it",
                    EndpointExpectation(endpoint.ref, uid=endpoint.uid, held=True),
                ),
            ),
        )

    def resume(self, endpoint: Endpoint) -> tuple[Write, ...]:
        if not self._standing.paused:
            raise Refused(f"{endpoint.ref.name} is not held", hint="promote takes the next step")
        return (self._unpause("goes on from where it is", None),)

    def abort(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._in_flight("nothing is under way to abort")
        standing = self._standing
        if standing.aborted and not standing.paused:
            raise Refused(f"{endpoint.ref.name} is aborted already", hint="roll it back, or retry it")
        ops: list[Op] = [*self._guard("/status/currentPodHash"), add("/status/abort", True)]
        if at(standing.item, "status", "promoteFull") is not None:
            # While it stands, a full promotion wins over the abort.
            ops.append(put("/status/promoteFull", False))
        back = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            version_weights=((endpoint.rollout.to_version, 0),),
            phases=(Phase.DEGRADED,),
        )
        aborted = self._on_status(
            tuple(ops),
            Effect(
                self._now(),
                f"traffic goes back to {endpoint.rollout.from_version}",
                "retry it",
                replace(back, version_weights=None, phases=()) if standing.paused else back,
                _SETTLE_S,
            ),
        )
        # Under a manual pause an abort moves nothing: the canary keeps serving.
        return (aborted, self._unpause("the abort takes effect", None, back)) if standing.paused else (aborted,)

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        standing = self._standing
        self._own_template()
        wanted = artifact.version
        key = self._set_of(wanted)
        source = standing.sets[key]
        if key == standing.stable and not standing.in_flight:
            raise Refused(f"{endpoint.ref.name} runs {SafeText(wanted)}, alone", hint="name another version")
        if key == standing.stable and self._spec_elsewhere():
            return self.abort(endpoint)
        ops = [
            *self._guard("/status/currentPodHash", "/status/stableRS"),
            test("/metadata/generation", at(standing.item, "metadata", "generation")),
            # Without this a paused rollout keeps the bad pods.
            add("/spec/paused", False),
        ]
        gone = tuple(sorted(variant.name for variant in endpoint.variants if raw(variant.version) != wanted))
        expects = EndpointExpectation(
            endpoint.ref, uid=endpoint.uid, stable_version=SafeText(wanted), absent=gone, phases=(Phase.COMPLETE,)
        )
        restored = Patch(
            self._rollouts,
            standing.item,
            tuple(ops),
            template=Template(self._sets, name(source), uid(source), HASH_LABEL),
            hold=False,
        )
        revision = text(source, "metadata", "annotations", "rollout.argoproj.io/revision")
        shell = self._shell("undo", f"--to-revision={revision}") if revision else ""
        after = f"{SafeText(wanted)} alone" if key == standing.stable else f"a rollout to {SafeText(wanted)} begins"
        undo = f"promote {endpoint.rollout.to_version} again"
        if key == standing.stable:
            return (self._patch(restored, Effect(self._now(), after, undo, expects, _SETTLE_S), shell=shell),)
        # All steps would run again: an older version comes back by steps only where nobody hurries.
        begun = replace(self._expected(), stable_version=None, step_index=None, present=(), weights=None, held=False)
        first = self._patch(restored, Effect(self._now(), after, undo, begun), shell=shell)
        full = self._skip_all(key, wanted, expects)
        return (first, full)

    def retry(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._listened()
        if not self._standing.aborted:
            raise Refused(f"{endpoint.ref.name} was not aborted", hint="there is nothing to retry")
        return (
            self._on_status(
                (*self._guard("/status/currentPodHash"), test("/status/abort", True), put("/status/abort", False)),
                Effect(
                    self._now(),
                    f"the rollout to {endpoint.rollout.to_version} begins again",
                    "abort it",
                    EndpointExpectation(
                        endpoint.ref,
                        uid=endpoint.uid,
                        phases=(Phase.PROGRESSING, Phase.WAITING, Phase.HELD, Phase.COMPLETE),
                    ),
                ),
            ),
        )

    def restart(self, endpoint: Endpoint) -> tuple[Write, ...]:
        moment = self._frame.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            self._patch(
                Patch(self._rollouts, self._standing.item, (*self._guard(), add("/spec/restartAt", moment))),
                Effect(
                    self._now(),
                    f"every pod older than {moment} is replaced",
                    "",
                    EndpointExpectation(endpoint.ref, uid=endpoint.uid),
                ),
            ),
        )

    def scale(self, endpoint: Endpoint, replicas: int) -> tuple[Write, ...]:
        now = count(self._standing.item, "spec", "replicas")
        if replicas == now:
            raise Refused(f"{endpoint.ref.name} has {now} replicas already", hint="give another number")
        return (
            self._patch(
                Patch(
                    self._rollouts,
                    self._standing.item,
                    (*self._guard(), test("/spec/replicas", now), put("/spec/replicas", replicas)),
                ),
                Effect(
                    f"{now} replicas",
                    f"{replicas} replicas",
                    f"scale to {now}",
                    EndpointExpectation(
                        endpoint.ref, uid=endpoint.uid, ready=(endpoint.rollout.from_version,) if replicas else ()
                    ),
                    _SETTLE_S,
                ),
                shell=self._shell("", f"scale --replicas={replicas}"),
            ),
        )

    # --- beneath

    def _listened(self) -> None:
        """Going on needs a controller that listens: what it never did would all happen when it comes back."""
        if not self._standing.observed or self._standing.deaf:
            raise Refused(
                f"{self._endpoint.ref.name}: no controller reacts to its spec",
                hint="is the argo-rollouts controller running?",
            )

    def _in_flight(self, otherwise: str) -> None:
        if not self._standing.in_flight:
            raise Refused(f"{self._endpoint.ref.name}: {otherwise}", hint="promote a version first")

    def _own_template(self) -> None:
        referred = text(self._standing.item, "spec", "workloadRef", "name")
        if referred:
            raise Refused(
                f"{self._endpoint.ref.name} takes its template from {SafeText(referred)} (workloadRef)",
                hint="change that object; abort moves the traffic back",
            )

    def _spec_elsewhere(self) -> bool:
        """Whether something else than this Rollout decides its template, or it lowers its weight on its own terms."""
        dynamic = at(self._standing.item, "spec", "strategy", "canary", "dynamicStableScale") is True
        return bool(self._endpoint.owner) or dynamic

    def _set_of(self, version: str) -> str:
        """The hash of the ReplicaSet that runs a version: the stable one before others, else the newest."""
        found = [key for key, identity in self._standing.versions.items() if identity.version == version]
        if not found:
            known = ", ".join(sorted({SafeText(item.version) for item in self._standing.versions.values()})) or "none"
            raise Refused(
                f"no ReplicaSet of {self._endpoint.ref.name} holds version {SafeText(version)}",
                hint=f"there are: {known}",
            )
        if self._standing.stable in found:
            return self._standing.stable
        return max(found, key=lambda key: text(self._standing.sets[key], "metadata", "creationTimestamp"))

    def _skip_all(self, key: str, version: str, expects: EndpointExpectation) -> Write:
        guard = (test("/metadata/uid", uid(self._standing.item)), test("/status/currentPodHash", key))
        return self._on_status(
            (*guard, put("/status/promoteFull", True)),
            Effect(f"a rollout to {SafeText(version)} has begun", f"{SafeText(version)} alone", "", expects, _SETTLE_S),
            assumes=EndpointExpectation(self._endpoint.ref, uid=self._endpoint.uid),
        )

    def _weight_steps(self) -> dict[int, int]:
        """The weights at which the rollout stops, and their step."""
        steps = items(self._standing.item, "spec", "strategy", "canary", "steps")
        return {
            step["setWeight"] * 100: index
            for index, step in enumerate(steps[:-1])
            if isinstance(at(step, "setWeight"), int) and at(steps[index + 1], "pause") is not None
        }

    def _some_weight(self) -> int:
        return next(iter(self._weight_steps()), -1)

    def _guard(self, *paths: str) -> tuple[Op, ...]:
        item = self._standing.item
        return (
            test("/metadata/uid", uid(item)),
            *(test(path, at(item, *path.split("/")[1:])) for path in paths),
        )

    def _step_guard(self) -> tuple[Op, ...]:
        return self._guard("/status/currentPodHash", "/status/currentStepIndex")

    def _pause_guard(self) -> tuple[Op, ...]:
        """The step, and the pause exactly as it was shown: without it a promotion that is sent twice advances twice."""
        paths = ["/status/currentPodHash"]
        if at(self._standing.item, "status", "currentStepIndex") is not None:
            paths.append("/status/currentStepIndex")
        if items(self._standing.item, "status", "pauseConditions"):
            paths.append("/status/pauseConditions")
        return self._guard(*paths)

    def _status(self, ops: list[Op], guard: tuple[Op, ...], after: str, step: int, *, exact: bool = False) -> Write:
        expects = EndpointExpectation(
            self._endpoint.ref,
            uid=self._endpoint.uid,
            step_reached=None if exact or self._standing.paused else step,
            version_weights=None,
        )
        if exact:
            # The controller runs on from a weight to the pause that follows it.
            expects = replace(expects, phases=(Phase.WAITING, Phase.PROGRESSING))
        return self._on_status((*guard, *ops), Effect(self._now(), after, "abort it", expects))

    def _unpause(self, after: str, step: int | None, expects: EndpointExpectation | None = None) -> Write:
        item = self._standing.item
        patch = Patch(
            self._rollouts,
            item,
            (test("/metadata/uid", uid(item)), test("/spec/paused", True), put("/spec/paused", False)),
            hold=False,
        )
        wanted = expects or EndpointExpectation(
            self._endpoint.ref, uid=self._endpoint.uid, held=False, step_reached=step
        )
        assumes = EndpointExpectation(self._endpoint.ref, uid=self._endpoint.uid, held=True)
        settle_s = _SETTLE_S if expects is not None else 60.0
        effect = Effect("held", after, "hold it", wanted, settle_s)
        return written(self._frame.connection, self._frame.context, patch, effect, assumes)

    def _expected(self) -> EndpointExpectation:
        return expectation_of(self._endpoint)

    def _patch(self, patch: Patch, effect: Effect, *, shell: str = "") -> Write:
        return written(self._frame.connection, self._frame.context, patch, effect, self._assumed(), shell=shell)

    def _on_status(self, ops: tuple[Op, ...], effect: Effect, *, assumes: EndpointExpectation | None = None) -> Write:
        patch = Patch(self._rollouts, self._standing.item, ops, subresource="status")
        return written(self._frame.connection, self._frame.context, patch, effect, assumes or self._assumed())

    def _assumed(self) -> EndpointExpectation:
        """What is looked at once more before sending. The patch's own tests are sharper; weights by replicas move by themselves."""
        return replace(self._expected(), weights=None, present=())

    def _now(self) -> str:
        endpoint = self._endpoint
        shown = [
            f"{variant.version} {percent(variant.weight_bp)}" for variant in endpoint.variants if variant.weight_bp
        ]
        return " + ".join(shown) or f"{endpoint.rollout.from_version}"

    def _shell(self, word: str, arguments: str) -> str:
        item = self._standing.item
        tool = "kubectl argo rollouts " if word else "kubectl "
        target = name(item) if word else f"rollouts.argoproj.io {name(item)}"
        verb, _, rest = (word, "", arguments) if word else arguments.partition(" ")
        return f"{tool}--context {self._frame.context} -n {namespace(item)} {verb} {target} {rest}"
