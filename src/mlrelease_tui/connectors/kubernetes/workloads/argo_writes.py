"""What all writes to a Rollout are made of: what guards them, what is expected of them, how they are said."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import at, name, namespace, text, uid
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, Patch, test, written
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.argo_standing import Standing
from mlrelease_tui.domain.expectation import EndpointExpectation, expectation_of, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

SETTLE_S: Final = 300.0
"""Pods may have to start first, in seconds."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds that are read for a Rollout; None where the cluster does not serve one."""

    rollouts: Resource
    sets: Resource
    deployments: Resource | None = None
    runs: Resource | None = None
    experiments: Resource | None = None
    scalers: Resource | None = None
    routes: Resource | None = None

    @property
    def wishes(self) -> tuple[Resource, ...]:
        """Those without which less is shown."""
        found = (self.deployments, self.runs, self.experiments, self.scalers, self.routes)
        return tuple(resource for resource in found if resource is not None)


class Writing:
    """Makes writes for one Rollout from the objects of one read."""

    def __init__(self, kinds: Kinds, standing: Standing, endpoint: Endpoint, frame: Frame) -> None:
        self._kinds = kinds
        self._standing = standing
        self._endpoint = endpoint
        self._frame = frame

    # --- what must be so

    def _listened(self) -> None:
        """Going on needs a controller that listens: what it never did would all happen when it comes back."""
        if not self._standing.observed or self._standing.deaf:
            raise Refused(
                f"{self._endpoint.ref.name}: its controller has not looked at its last change yet",
                hint="wait a moment; is the argo-rollouts controller running?",
            )

    def _in_flight(self, otherwise: str) -> None:
        if not self._standing.in_flight:
            raise Refused(f"{self._endpoint.ref.name}: {otherwise}", hint="promote a version first")

    def _not_aborted(self) -> None:
        if self._standing.aborted:
            raise Refused(f"{self._endpoint.ref.name} was aborted", hint="retry takes it up again")

    def _guard(self, *paths: str) -> tuple[Op, ...]:
        item = self._standing.item
        return (
            test("/metadata/uid", uid(item)),
            *(test(path, at(item, *path.split("/")[1:])) for path in paths),
        )

    def _pause_guard(self) -> tuple[Op, ...]:
        """The step, and the pause exactly as it was shown: without it a promotion that is sent twice advances twice."""
        paths = ["/status/currentPodHash"]
        if self._standing.step is not None:
            paths.append("/status/currentStepIndex")
        if self._standing.waits:
            paths.append("/status/pauseConditions")
        return self._guard(*paths)

    # --- what is sent

    def _patch(
        self, patch: Patch, effect: Effect, *, shell: str = "", assumes: EndpointExpectation | None = None
    ) -> Write:
        return written(
            self._frame.connection, self._frame.context, patch, effect, assumes or self._assumed(), shell=shell
        )

    def _on_status(self, ops: tuple[Op, ...], effect: Effect, *, assumes: EndpointExpectation | None = None) -> Write:
        return self._patch(
            Patch(self._kinds.rollouts, self._standing.item, ops, subresource="status"), effect, assumes=assumes
        )

    def _unpause(self, after: str, expects: EndpointExpectation, *, settle_s: float = 60.0) -> Write:
        """Lifts the pause by hand. Where a status is written too this goes last: lifted first, the controller starts the same
        step anew."""
        item = self._standing.item
        # Another template that came meanwhile would begin unasked.
        known = ("/status/currentPodHash",) if self._standing.current else ()
        ops = (*self._guard(*known), test("/spec/paused", True), put("/spec/paused", False))
        effect = Effect("held", after, "hold it", expects, settle_s)
        return self._patch(Patch(self._kinds.rollouts, item, ops, hold=False), effect, assumes=self._same(held=True))

    def _same(self, *, held: bool | None = None) -> EndpointExpectation:
        """This very object, and no more."""
        return EndpointExpectation(self._endpoint.ref, uid=self._endpoint.uid, held=held)

    def _assumed(self) -> EndpointExpectation:
        """What is looked at once more before sending. The patch's own tests are sharper; weights by replicas move by themselves."""
        return replace(expectation_of(self._endpoint), weights=None, present=())

    # --- how it is said

    def _now(self) -> str:
        endpoint = self._endpoint
        shown = [
            f"{variant.version} {percent(variant.weight_bp)}" for variant in endpoint.variants if variant.weight_bp
        ]
        return " + ".join(shown) or f"{endpoint.rollout.from_version}"

    def _native(self, verb: str, *arguments: str) -> str:
        """The same by the project's own tool."""
        item = self._standing.item
        words = [
            "kubectl",
            "argo",
            "rollouts",
            "--context",
            self._frame.context,
            "-n",
            namespace(item),
            verb,
            name(item),
        ]
        return shlex.join([*words, *arguments])

    # --- where the template is

    def _template_place(self) -> tuple[Resource, Object]:
        """The kind and the object that hold the pod template. Refused where that object can't be seen or is none we know."""
        standing = self._standing
        if not standing.reference:
            return self._kinds.rollouts, standing.item
        kind = text(standing.item, "spec", "workloadRef", "kind")
        if kind != "Deployment" or self._kinds.deployments is None or standing.referred is None:
            raise Refused(
                f"{self._endpoint.ref.name}: {SafeText(kind)} {SafeText(standing.reference)} has its template, and can't be read",
                hint="change that object (workloadRef); abort moves the traffic back",
            )
        return self._kinds.deployments, standing.referred

    def _remembered(self) -> dict[str, str]:
        """The annotation that keeps the version which is stable now: it ran well, whatever comes."""
        stable = self._standing.version(self._standing.stable)
        if not stable:
            return {}
        known = (stable, *self._standing.history)
        return {marks.HISTORY: marks.history_text(known)}
