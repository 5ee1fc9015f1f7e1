"""Getting a Rollout back to safety: abort, and the whole way back.

Facts seen on Argo Rollouts 1.10.1: an abort is only half done while the spec is paused; while `promoteFull` stands it wins over an
abort; restoring the stable template is one write that ends Healthy where an abort ends Degraded, and clears abort, step and
`promoteFull`; without lifting a manual pause in the same write the bad pods stay. Abort comes first where the template is another
object's, where stable must grow again before traffic may return (`dynamicStableScale`), and where another tool owns the spec: what
that one puts back would begin the release anew.
"""

from __future__ import annotations

from dataclasses import replace

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import at, name, text, uid
from mlrelease_tui.connectors.kubernetes.patching import LOOKED_AT, Effect, Op, Patch, Template, add, test, watched
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.workloads.argo_standing import HASH_LABEL
from mlrelease_tui.connectors.kubernetes.workloads.argo_writes import SETTLE_S, Writing
from mlrelease_tui.domain.expectation import EndpointExpectation
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Endpoint, Phase
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import Refused


class Back(Writing):
    """The verbs that lead back."""

    def abort(self, endpoint: Endpoint) -> tuple[Write, ...]:
        standing = self._standing
        self._in_flight("nothing is under way to abort")
        if standing.aborted and not standing.paused:
            raise Refused(f"{endpoint.ref.name} is aborted already", hint="roll it back, or retry it")
        ops: list[Op] = [
            *self._guard("/status/currentPodHash", "/status/stableRS", "/spec/paused"),
            add("/status/abort", True),
        ]
        if at(standing.item, "status", "promoteFull") is not None:
            # While it stands, a full promotion wins over the abort.
            ops.append(put("/status/promoteFull", False))
        back = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            version_weights=((endpoint.rollout.to_version, 0),),
            phases=(Phase.DEGRADED,),
        )
        seen = self._same(held=True) if standing.paused else back
        effect = Effect(
            self._now(), f"traffic goes back to {endpoint.rollout.from_version}", "retry it", seen, SETTLE_S
        )
        shell = "" if standing.paused else self._native("abort")
        aborted = self._patch(
            Patch(self._kinds.rollouts, standing.item, tuple(ops), subresource="status"), effect, shell=shell
        )
        if not standing.paused:
            return (aborted,)
        # Under a manual pause an abort moves nothing: the canary keeps serving.
        lifted = self._unpause("the abort takes effect", back, settle_s=SETTLE_S)
        return (lifted,) if standing.aborted else (aborted, lifted)

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        standing = self._standing
        wanted = artifact.version
        key = self._set_of(wanted)
        if key == standing.current and not standing.in_flight:
            raise Refused(f"{endpoint.ref.name} runs {SafeText(wanted)}, alone", hint="name another version")
        if key == standing.stable:
            return self._to_stable(key, wanted)
        if key == standing.current:
            raise Refused(
                f"{SafeText(wanted)} is what {endpoint.ref.name} is on its way to",
                hint="`promote --full` gives it all traffic",
            )
        return self._to_older(key, wanted)

    # --- back to what is stable

    def _to_stable(self, key: str, wanted: str) -> tuple[Write, ...]:
        standing, endpoint = self._standing, self._endpoint
        traffic = self._traffic_first()
        if marks.reconciles(standing.item):
            if not traffic:
                raise Refused(
                    f"the traffic is back on {SafeText(wanted)}; {endpoint.owner} keeps the template",
                    hint=f"take {endpoint.rollout.to_version} back there",
                )
            return traffic
        resource, holder = self._template_place()
        if holder is standing.item:
            guard = [*self._guard("/status/currentPodHash", "/status/stableRS")]
            if not traffic:
                guard.append(test("/metadata/generation", at(standing.item, "metadata", "generation")))
        else:
            guard = [
                test("/metadata/uid", uid(holder)),
                test("/metadata/generation", at(holder, "metadata", "generation")),
            ]
        restored = replace(self._restored(resource, holder, key, tuple(guard)), follows=bool(traffic))
        effect = Effect(
            f"aborted, {endpoint.rollout.to_version} is still in the spec" if traffic else self._now(),
            f"{SafeText(wanted)} alone",
            f"promote {endpoint.rollout.to_version} again",
            self._alone(key),
            SETTLE_S,
        )
        assumes = replace(self._same(), phases=(Phase.DEGRADED,)) if traffic else None
        return (*traffic, self._patch(restored, effect, shell=self._undo_shell(key), assumes=assumes))

    def _traffic_first(self) -> tuple[Write, ...]:
        """The abort that comes before the template, where it does and is not done yet."""
        standing = self._standing
        first = bool(self._endpoint.owner) or bool(standing.reference) or standing.dynamic
        done = standing.aborted and not standing.paused
        return self.abort(self._endpoint) if first and not done else ()

    # --- back to what was stable before

    def _to_older(self, key: str, wanted: str) -> tuple[Write, ...]:
        standing, endpoint = self._standing, self._endpoint
        resource, holder = self._template_place()
        guard = (
            *(self._guard("/status/currentPodHash", "/status/stableRS") if holder is standing.item else ()),
            *(() if holder is standing.item else (test("/metadata/uid", uid(holder)),)),
            test("/metadata/generation", at(holder, "metadata", "generation")),
        )
        undo = f"promote {endpoint.rollout.to_version} again"
        after = f"a rollout to {SafeText(wanted)} begins"
        begun = EndpointExpectation(
            endpoint.ref, uid=endpoint.uid, present=(name(standing.sets[key]),), phases=LOOKED_AT
        )
        first = self._patch(
            self._restored(resource, holder, key, guard),
            Effect(self._now(), after, undo, begun),
            shell=self._undo_shell(key),
        )
        # All steps would run again, and a blue-green pause too. Aborted meanwhile, it must not be released: the new template takes
        # an abort of before away, and leaves `false` as it is.
        ops = (
            test("/metadata/uid", uid(standing.item)),
            test("/status/currentPodHash", key),
            test("/status/abort", None if standing.aborted else at(standing.item, "status", "abort")),
            put("/status/promoteFull", True),
        )
        full = self._patch(
            Patch(self._kinds.rollouts, standing.item, ops, subresource="status", follows=True),
            Effect(
                f"a rollout to {SafeText(wanted)} has begun",
                f"{SafeText(wanted)} alone",
                "",
                self._alone(key),
                SETTLE_S,
            ),
            assumes=self._same(),
        )
        return (first, full)

    # --- beneath

    def _restored(self, resource: Resource, holder: Object, key: str, guard: tuple[Op, ...]) -> Patch:
        standing = self._standing
        ops = list(guard)
        if holder is standing.item:
            # Without this a paused rollout keeps the bad pods.
            ops.append(add("/spec/paused", False))
        source = standing.sets[key]
        return Patch(
            resource,
            holder,
            tuple(ops),
            template=Template(self._kinds.sets, name(source), uid(source), HASH_LABEL),
            hold=False if holder is standing.item else None,
        )

    def _alone(self, key: str) -> EndpointExpectation:
        """This ReplicaSet serves everything. Where pods without traffic are kept for a while on purpose, they may stay."""
        standing, endpoint = self._standing, self._endpoint
        wanted = standing.at_rest(key)
        others = [variant for variant in endpoint.variants if raw(variant.name) != name(standing.sets[key])]
        kept = standing.blue_green or standing.routed
        alone = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            stable_version=SafeText(wanted),
            absent=() if kept else tuple(sorted(variant.name for variant in others)),
            version_weights=tuple(sorted((one.version, 0) for one in others if raw(one.version) != wanted))
            if kept
            else None,
            phases=(Phase.COMPLETE,),
        )
        return watched(alone, endpoint, toward=SafeText(wanted), sheds=True)

    def _undo_shell(self, key: str) -> str:
        revision = text(self._standing.sets[key], "metadata", "annotations", "rollout.argoproj.io/revision")
        return self._native("undo", f"--to-revision={revision}") if revision else ""

    def _set_of(self, version: str) -> str:
        """The hash of the ReplicaSet that runs a version: the stable one before others, else the newest."""
        standing = self._standing
        found = [key for key, identity in standing.versions.items() if identity.version == version]
        if not found:
            known = ", ".join(sorted({SafeText(item.version) for item in standing.versions.values()})) or "none"
            raise Refused(
                f"no ReplicaSet of {self._endpoint.ref.name} holds version {SafeText(version)}",
                hint=f"there are: {known}",
            )
        if standing.stable in found:
            return standing.stable
        return max(found, key=lambda key: text(standing.sets[key], "metadata", "creationTimestamp"))
