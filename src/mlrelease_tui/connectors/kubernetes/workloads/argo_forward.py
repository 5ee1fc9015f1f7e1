"""Taking a Rollout forward: begin, next step, all the way, cut over, begin again.

Facts seen on Argo Rollouts 1.10.1: clearing the pause under a manual pause loses the promotion; a promotion without a guard on the
pause itself advances twice; an inconclusive analysis is run again unless the step is passed; a pause that is jumped to is passed at
once unless `controllerPause` goes too; a step index beyond the last one scales stable to nothing; `promoteFull` on an aborted
rollout releases the bad version.
"""

from __future__ import annotations

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.objects import at
from mlrelease_tui.connectors.kubernetes.patching import LOOKED_AT, Effect, Op, Patch, remove, test, watched
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.pods import deploy_ops
from mlrelease_tui.connectors.kubernetes.workloads.argo_writes import SETTLE_S, Writing
from mlrelease_tui.domain.expectation import EndpointExpectation, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Phase
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused


class Forward(Writing):
    """The verbs that lead to another version."""

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        self._listened()
        standing = self._standing
        if weight_bp == ALL_TRAFFIC_BP and standing.steps:
            raise Refused(
                f"{endpoint.ref.name} can't begin at 100%: its steps come first",
                hint="promote it, then `promote --full`",
            )
        if weight_bp not in {None, ALL_TRAFFIC_BP}:
            raise Refused(
                f"{endpoint.ref.name} begins at the weight of its own first step",
                hint="leave the weight out; the steps are in the Rollout's spec",
            )
        resource, holder = self._template_place()
        changed = deploy_ops(standing.template_owner, artifact)
        guard = (
            self._guard("/status/currentPodHash", "/status/stableRS")
            if holder is standing.item
            else (
                test("/metadata/uid", at(holder, "metadata", "uid")),
                test("/metadata/generation", at(holder, "metadata", "generation")),
            )
        )
        return (
            self._patch(
                Patch(resource, holder, (*guard, *changed), notes=self._remembered()),
                Effect(
                    self._now(),
                    f"a rollout to {SafeText(artifact.version)} begins",
                    f"roll back to {endpoint.rollout.from_version}",
                    watched(
                        EndpointExpectation(
                            endpoint.ref,
                            uid=endpoint.uid,
                            phases=(Phase.PROGRESSING, Phase.WAITING, Phase.HELD, Phase.COMPLETE),
                            labels=(("wanted", SafeText(artifact.version)),),
                        ),
                        endpoint,
                        toward=SafeText(artifact.version),
                        sheds=True,
                    ),
                ),
            ),
        )

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._listened()
        standing = self._standing
        self._in_flight("nothing is under way")
        self._not_aborted()
        if standing.blue_green:
            return self.switch(endpoint)
        index = standing.step
        if index is None or index >= len(standing.steps):
            raise Refused(f"{endpoint.ref.name} has no step left to take", hint="wait for its pods, or continue it")
        if standing.paused:
            jump = self._on_status(
                (*self._pause_guard(), *self._pause_removed(), *self._jump(index + 1)),
                Effect(self._now(), f"step {index + 1} is next", "abort it", self._same(held=True)),
            )
            return (jump, self._unpause(f"the rollout goes on at step {index + 1}", self._reached(index + 1)))
        if not standing.waits:
            raise Refused(
                f"{endpoint.ref.name} takes its steps by itself: it waits for nobody",
                hint="hold it, or wait until it pauses",
            )
        ops = self._pause_removed()
        if any(reason != "CanaryPauseStep" for reason in standing.waits):
            # An inconclusive analysis would only be run again.
            ops += self._jump(index + 1)
        return (
            self._on_status(
                (*self._pause_guard(), *ops),
                Effect(self._now(), f"step {index + 1} begins", "abort it", self._reached(index + 1)),
            ),
        )

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._listened()
        self._in_flight("nothing is under way")
        standing = self._standing
        if standing.aborted:
            raise Refused(
                f"{endpoint.ref.name} was aborted: in full, everybody would get {endpoint.rollout.to_version}",
                hint="retry it, or roll it back",
            )
        version = SafeText(standing.at_rest(standing.current))
        alone = EndpointExpectation(endpoint.ref, uid=endpoint.uid, stable_version=version, phases=(Phase.COMPLETE,))
        expects = watched(alone, endpoint, toward=version)
        full = self._on_status(
            (
                *self._guard("/status/currentPodHash", "/status/stableRS", "/status/abort"),
                put("/status/promoteFull", True),
            ),
            Effect(
                self._now(),
                f"{endpoint.rollout.to_version} becomes stable, all steps skipped",
                f"roll back to {endpoint.rollout.from_version}",
                self._same(held=True) if standing.paused else expects,
                SETTLE_S,
            ),
        )
        return (
            (full, self._unpause("all steps are skipped", expects, settle_s=SETTLE_S)) if standing.paused else (full,)
        )

    def set_weight(self, endpoint: Endpoint, weight_bp: int) -> tuple[Write, ...]:
        self._listened()
        standing = self._standing
        self._in_flight("it has no canary")
        if standing.paused or standing.aborted:
            raise Refused(f"{endpoint.ref.name} is {endpoint.rollout.phase}", hint="continue or retry it first")
        reached = self._weight_steps()
        index = reached.get(weight_bp)
        if index is None:
            known = ", ".join(percent(weight) for weight in sorted(reached)) or "none"
            raise Refused(
                f"{endpoint.ref.name} has no step of {percent(weight_bp)} at which it pauses",
                hint=f"its steps give: {known}",
            )
        # The controller runs on from the weight to the pause behind it, and from a pause with a duration further.
        timed = at(standing.steps[index + 1], "pause", "duration") is not None
        expects = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            step_index=None if timed else index + 1,
            phases=(Phase.WAITING, Phase.PROGRESSING, Phase.COMPLETE) if timed else (Phase.WAITING,),
            labels=self._wanted(),
        )
        expects = watched(expects, endpoint, toward=endpoint.rollout.to_version)
        ops = (*self._pause_guard(), *self._pause_removed(), *self._jump(index))
        return (
            self._on_status(
                ops, Effect(self._now(), f"step {index}: {percent(weight_bp)}", "abort it", expects, SETTLE_S)
            ),
        )

    def switch(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._listened()
        self._in_flight("no preview is there to switch to")
        self._not_aborted()
        standing = self._standing
        if standing.paused:
            raise Refused(f"{endpoint.ref.name} is held", hint="continue it first")
        if not standing.waits:
            raise Refused(f"the preview of {endpoint.ref.name} is not ready", hint="wait until it pauses")
        if any(reason != "BlueGreenPause" for reason in standing.waits):
            raise Refused(
                f"the analysis of {endpoint.ref.name} is inconclusive",
                hint="`promote --full` skips it; or roll it back",
            )
        active = test("/status/blueGreen/activeSelector", at(standing.item, "status", "blueGreen", "activeSelector"))
        version = SafeText(standing.at_rest(standing.current))
        moved = ((version, ALL_TRAFFIC_BP),)
        # From a version to itself in another template it gets its own name once it is the stable one.
        itself = version != endpoint.rollout.to_version
        expects = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            stable_version=version if itself else None,
            phases=(Phase.COMPLETE,) if itself else (),
            version_weights=None if itself else moved,
        )
        return (
            self._on_status(
                (*self._pause_guard(), active, remove("/status/pauseConditions")),
                Effect(
                    self._now(),
                    f"users get {endpoint.rollout.to_version}",
                    f"roll back to {endpoint.rollout.from_version}",
                    watched(expects, endpoint, toward=endpoint.rollout.to_version),
                    SETTLE_S,
                ),
            ),
        )

    def retry(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._listened()
        if not self._standing.aborted:
            raise Refused(f"{endpoint.ref.name} was not aborted", hint="there is nothing to retry")
        ops = (*self._guard("/status/currentPodHash"), test("/status/abort", True), put("/status/abort", False))
        expects = EndpointExpectation(
            endpoint.ref, uid=endpoint.uid, phases=(Phase.PROGRESSING, Phase.WAITING, Phase.HELD, Phase.COMPLETE)
        )
        return (
            self._on_status(
                ops,
                Effect(self._now(), f"the rollout to {endpoint.rollout.to_version} begins again", "abort it", expects),
            ),
        )

    # --- beneath

    def _reached(self, step: int) -> EndpointExpectation:
        endpoint = self._endpoint
        reached = EndpointExpectation(
            endpoint.ref, uid=endpoint.uid, held=False, step_reached=step, phases=LOOKED_AT, labels=self._wanted()
        )
        return watched(reached, endpoint, toward=endpoint.rollout.to_version)

    def _wanted(self) -> tuple[tuple[str, str], ...]:
        """Still on its way to the same version: taken back by another hand it is complete, too, and all steps are behind it."""
        return (("wanted", SafeText(self._standing.at_rest(self._standing.current))),)

    def _jump(self, step: int) -> list[Op]:
        """Left standing, `controllerPause` would count the pause at that step as one that somebody has lifted."""
        return [put("/status/currentStepIndex", step), put("/status/controllerPause", False)]

    def _pause_removed(self) -> list[Op]:
        return [remove("/status/pauseConditions")] if self._standing.waits else []

    def _weight_steps(self) -> dict[int, int]:
        """The weights at which the rollout stops, and their step."""
        steps = self._standing.steps
        return {
            weight * 100: index
            for index, step in enumerate(steps[:-1])
            if isinstance(weight := at(step, "setWeight"), int) and at(steps[index + 1], "pause") is not None
        }

    def _some_weight(self) -> int:
        return next(iter(self._weight_steps()), -1)
