"""Keeping a Canary as it is, and its pods: hold, continue, restart, scale.

Facts of Flagger 1.36 and 1.44: `suspend` alone freezes the judgement too (gates do not); it does not freeze the target: a
template that comes meanwhile is rolled out at once, to as much traffic as the canary has, unjudged. Promoting copies the
target's replicas, and the target takes the primary's when a release begins.
"""

from __future__ import annotations

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.objects import uid
from mlrelease_tui.connectors.kubernetes.patching import Effect, Patch, test
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.workloads import deployment_standing as deployments
from mlrelease_tui.connectors.kubernetes.workloads.flagger_standing import AT_REST, JUDGED, print_of
from mlrelease_tui.connectors.kubernetes.workloads.flagger_writes import PODS_S, Writing
from mlrelease_tui.domain.expectation import EndpointExpectation
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Endpoint, Hold, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused


class Running(Writing):
    """The verbs that lead to no other version."""

    def hold(self, endpoint: Endpoint, hold: Hold) -> tuple[Write, ...]:
        standing = self._standing
        if standing.suspended:
            raise Refused(f"{self._name} is suspended already", hint="continue lets it go on")
        if standing.aborting:
            raise Refused(
                f"{self._name} is being aborted: suspended, it would not be", hint="wait for Flagger's next look"
            )
        after = "held where it is; a step that Flagger is just taking may still come"
        if standing.native in AT_REST:
            after = "nothing new begins"
        return (self._suspend(self._percent(), after),)

    def resume(self, endpoint: Endpoint) -> tuple[Write, ...]:
        standing = self._standing
        if not standing.suspended:
            left = marks.stamp_of(standing.item)
            if standing.skips and standing.native in AT_REST and left is not None and left.verb == Verb.PROMOTE:
                # A promotion of ours was cut short before it took that away.
                return (self._judge_again(follows=False),)
            raise Refused(f"{self._name} is not suspended", hint="there is nothing to continue")
        self._as_it_was_held()
        expects = EndpointExpectation(endpoint.ref, uid=endpoint.uid, held=False)
        # Nothing moves these while it is suspended: whoever aborted it, or held it anew, meant something else.
        guard = (*self._guard("/status/failedChecks")[1:], self._note_test())
        return (self._let_go(expects, "goes on from where it is", guard=guard),)

    def _as_it_was_held(self) -> None:
        standing, noted = self._standing, self._standing.noted
        if not noted or standing.native not in JUDGED or standing.target is None:
            return
        target, version = SafeText(standing.target_name), SafeText(standing.version())
        if noted.get("template") != print_of(standing.target.item):
            raise Refused(
                f"abort first: {target} was changed to {version} while held, and Flagger would begin anew with it",
                hint="or put back what it held",
            )
        if standing.rerouted:
            raise Refused(
                f"set its weight: while held its route was changed to {self._percent()}%, not {SafeText(noted.get('canary'))}%, "
                "and Flagger goes on from what it finds",
                hint="or abort",
            )

    def restart(self, endpoint: Endpoint) -> tuple[Write, ...]:
        primary = self._primary_at_rest()
        moment = self._frame.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        version = endpoint.rollout.from_version
        expects = EndpointExpectation(
            endpoint.ref, uid=endpoint.uid, labels=(("restarted", moment),), ready=(version,) if primary.wanted else ()
        )
        effect = Effect(self._now(), "every pod of the primary is replaced, a few at a time", "", expects, PODS_S)
        return (self._restarted(primary, effect, moment),)

    def scale(self, endpoint: Endpoint, replicas: int) -> tuple[Write, ...]:
        standing, primary = self._standing, self._primary_at_rest()
        now = primary.wanted
        if standing.scaler:
            raise Refused(f"{standing.scaler} sets the replicas of {self._name}", hint="change its bounds")
        if replicas == now:
            raise Refused(f"{self._name} has {now} replicas already", hint="give another number")
        version = endpoint.rollout.from_version
        expects = EndpointExpectation(
            endpoint.ref, uid=endpoint.uid, labels=(("replicas", str(replicas)),), ready=(version,) if replicas else ()
        )
        item = standing.primary_item
        ops = (test("/metadata/uid", uid(item)), test("/spec/replicas", now), put("/spec/replicas", replicas))
        effect = Effect(f"{now} replicas", f"{replicas} replicas", f"scale to {now}", expects, PODS_S)
        patch = Patch(self._kinds.deployments, item, ops, subresource="scale")
        return (self._write(patch, effect, shell=self._kubectl("scale", item, f"--replicas={replicas}")),)

    def _primary_at_rest(self) -> deployments.Standing:
        _, primary = self._halves()
        if self._standing.native not in AT_REST or self._standing.broken:
            raise Refused(
                f"finish the release of {self._name} first: Flagger waits for a primary that is not ready, and promoting "
                "copies the target over it",
                hint="or roll it back",
            )
        return primary
