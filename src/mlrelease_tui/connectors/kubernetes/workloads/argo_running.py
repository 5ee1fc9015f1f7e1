"""Keeping a Rollout as it is, and its pods: hold, continue, restart, scale."""

from __future__ import annotations

import shlex

from mlrelease_tui.connectors.kubernetes.objects import at, name, namespace, text
from mlrelease_tui.connectors.kubernetes.patching import LOOKED_AT, Effect, Patch, add, test, watched
from mlrelease_tui.connectors.kubernetes.workloads.argo_writes import SETTLE_S, Writing
from mlrelease_tui.domain.expectation import EndpointExpectation
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Endpoint, Hold, Phase
from mlrelease_tui.errors import Refused

_REPLACED: tuple[Phase, ...] = tuple(phase for phase in LOOKED_AT if phase is not Phase.PROGRESSING)


class Running(Writing):
    """The verbs that lead to no other version."""

    def hold(self, endpoint: Endpoint, hold: Hold) -> tuple[Write, ...]:
        if self._standing.paused:
            raise Refused(f"{endpoint.ref.name} is held already", hint="continue lets it go on")
        # Of a hold and an abort at the same moment one wins: under a pause an abort moves nothing.
        known = ("/status/abort",) if at(self._standing.item, "status") else ()
        guard = self._guard("/spec/paused", *known)
        return (
            self._patch(
                Patch(self._kinds.rollouts, self._standing.item, (*guard, add("/spec/paused", True)), hold=True),
                Effect(
                    self._now(),
                    "held where it is; a running analysis goes on measuring",
                    "continue it",
                    EndpointExpectation(endpoint.ref, uid=endpoint.uid, held=True, phases=LOOKED_AT),
                ),
                shell=self._native("pause"),
            ),
        )

    def resume(self, endpoint: Endpoint) -> tuple[Write, ...]:
        """Never the project's own `promote`: under a manual pause that skips a step."""
        if not self._standing.paused:
            raise Refused(f"{endpoint.ref.name} is not held", hint="promote takes the next step")
        expects = EndpointExpectation(endpoint.ref, uid=endpoint.uid, held=False, phases=LOOKED_AT)
        return (self._unpause("goes on from where it is", expects),)

    def restart(self, endpoint: Endpoint) -> tuple[Write, ...]:
        moment = self._frame.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        if text(self._standing.item, "spec", "restartAt") == moment:
            raise Refused(f"{endpoint.ref.name} was restarted this very second", hint="wait a moment")
        before = at(self._standing.item, "spec", "restartAt")
        guard = (*self._guard(), *((test("/spec/restartAt", before),) if before is not None else ()))
        return (
            self._patch(
                Patch(self._kinds.rollouts, self._standing.item, (*guard, add("/spec/restartAt", moment))),
                Effect(
                    self._now(),
                    f"every pod older than {moment} is replaced",
                    "",
                    watched(EndpointExpectation(endpoint.ref, uid=endpoint.uid, phases=_REPLACED), endpoint),
                    SETTLE_S,
                ),
                shell=self._native("restart"),
            ),
        )

    def scale(self, endpoint: Endpoint, replicas: int) -> tuple[Write, ...]:
        standing = self._standing
        before = at(standing.item, "spec", "replicas")
        now = standing.replicas
        if standing.scaler:
            raise Refused(
                f"the HorizontalPodAutoscaler {standing.scaler} sets the replicas of {endpoint.ref.name}",
                hint="change its bounds; it would undo this",
            )
        if replicas == now:
            raise Refused(f"{endpoint.ref.name} has {now} replicas already", hint="give another number")
        expects = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            ready=(endpoint.rollout.from_version,) if replicas else (),
            phases=LOOKED_AT,
        )
        expects = watched(expects, endpoint)
        ops = (*self._guard(), test("/spec/replicas", before), add("/spec/replicas", replicas))
        words = ["kubectl", "--context", self._frame.context, "-n", namespace(standing.item), "scale"]
        words += [f"rollouts.argoproj.io/{name(standing.item)}", f"--replicas={replicas}"]
        return (
            self._patch(
                Patch(self._kinds.rollouts, standing.item, ops),
                Effect(f"{now} replicas", f"{replicas} replicas", f"scale to {now}", expects, SETTLE_S),
                shell=shlex.join(words),
            ),
        )
