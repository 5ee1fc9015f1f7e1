"""Driving a Deployment: one guarded patch a verb.

Facts of the API: nothing is refused of a paused Deployment (kubectl refuses by itself), so an undo under a pause stalls, while
undo and resume in one patch work; a `test` of a key that is absent holds for null alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import at, name, namespace, notes, table, text, uid
from mlrelease_tui.connectors.kubernetes.patching import (
    LOOKED_AT,
    Effect,
    Op,
    Patch,
    Template,
    add,
    pointer,
    remove,
    test,
    watched,
    written,
)
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.pods import deploy_ops, image_tests
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.deployment_standing import HASH_LABEL, RESTARTED, REVISION, Standing
from mlrelease_tui.domain.expectation import EndpointExpectation, expectation_of
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Hold, Phase, Verb
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import Refused

SETTLE_S: Final = 300.0
"""Pods of the version to return to may have to start first."""
_UNHEARD_OF: Final = Artifact("0-unheard-of", "models:/unheard-of/0")
_CAUSE: Final = "kubernetes.io/change-cause"


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds as this cluster addresses them."""

    deployments: Resource
    sets: Resource


class DeploymentDriver:
    """Plans the writes for one Deployment from the objects of one read. `scaler` names what else sets its replicas."""

    def __init__(self, kinds: Kinds, standing: Standing, endpoint: Endpoint, frame: Frame, scaler: str = "") -> None:
        self._kinds = kinds
        self._standing = standing
        self._endpoint = endpoint
        self._frame = frame
        self._scaler = scaler

    # --- what there is

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]:
        endpoint = self._endpoint
        return {
            Verb.PROMOTE: lambda: self.start(endpoint, _UNHEARD_OF, None),
            Verb.HOLD: lambda: self.hold(endpoint, Hold(SafeText("nobody"), SafeText())),
            Verb.CONTINUE: lambda: self.resume(endpoint),
            Verb.ROLLBACK: lambda: self.roll_back(endpoint, Artifact(self._somewhere())),
            Verb.RESTART: lambda: self.restart(endpoint),
            Verb.SCALE: lambda: self.scale(endpoint, self._standing.wanted + 1),
        }

    def native(self) -> Mapping[Verb, str]:
        return {
            Verb.PROMOTE: "spec.template",
            Verb.HOLD: "rollout pause",
            Verb.CONTINUE: "rollout resume",
            Verb.ROLLBACK: "rollout undo",
            Verb.RESTART: "rollout restart",
            Verb.SCALE: "scale",
        }

    def never(self) -> Mapping[Verb, str]:
        return {
            Verb.WEIGHT: "a rolling update has no weights: its pods share the traffic",
            Verb.ABORT: "rollback returns whole: a rolling update moves no traffic alone",
            Verb.RETRY: "a rolling update tries for ever: restart replaces its pods",
            Verb.SWITCH: "one Service sends to old and new pods: nothing to switch",
            Verb.SHADOW: "a Deployment mirrors nothing",
        }

    # --- going on

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        standing, called = self._standing, endpoint.ref.name
        if weight_bp not in {None, ALL_TRAFFIC_BP}:
            raise Refused(
                f"{called} can't begin at a weight: a rolling update replaces its pods one by one",
                hint="leave the weight out; a canary pair or a Rollout has weights",
            )
        if standing.paused:
            raise Refused(f"{called} is paused: nothing would start", hint="continue it first")
        if standing.in_flight and not standing.rolled_out:
            raise Refused(
                f"{called} is being rolled out already: it goes on by itself", hint="hold it, or roll it back"
            )
        version = SafeText(artifact.version)
        begun = EndpointExpectation(
            endpoint.ref, uid=endpoint.uid, phases=(Phase.PROGRESSING, Phase.COMPLETE), labels=(("wanted", version),)
        )
        done = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            stable_version=version,
            phases=(Phase.COMPLETE,),
            ready=(version,) if standing.wanted else (),
        )
        effect = Effect(
            before=f"{endpoint.rollout.from_version}",
            after=f"{version} alone" if weight_bp else f"pods of {version} replace the others, a few at a time",
            undo=f"roll back to {endpoint.rollout.from_version}",
            expects=watched(done if weight_bp else begun, endpoint, toward=version, sheds=True),
            settle_s=SETTLE_S if weight_bp else 60.0,
        )
        kept = {
            marks.HISTORY: marks.history_text([standing.source.version, *marks.history_of(standing.item)]),
            **self._cause("promote", version),
        }
        ops = _once((*self._guard(), *deploy_ops(standing.item, artifact)))
        return (self._patch(Patch(self._kinds.deployments, standing.item, ops, notes=kept), effect),)

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        raise Refused(
            f"{endpoint.ref.name} goes on by itself: a rolling update has no steps",
            hint="wait, hold it or roll it back",
        )

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        return self.advance(endpoint)

    # --- stopping

    def hold(self, endpoint: Endpoint, hold: Hold) -> tuple[Write, ...]:
        standing = self._standing
        if standing.paused:
            raise Refused(f"{endpoint.ref.name} is paused already", hint="continue lets it go on")
        after = (
            "no pod is replaced any more; those of both versions go on serving"
            if standing.in_flight
            else "nothing new is rolled out"
        )
        patch = Patch(self._kinds.deployments, standing.item, (*self._guard(), add("/spec/paused", True)), hold=True)
        effect = Effect(
            "not paused",
            after,
            "continue it",
            EndpointExpectation(endpoint.ref, uid=endpoint.uid, held=True, phases=LOOKED_AT),
        )
        return (self._patch(patch, effect, shell=self._shell("rollout pause")),)

    def resume(self, endpoint: Endpoint) -> tuple[Write, ...]:
        standing = self._standing
        if not standing.paused:
            raise Refused(f"{endpoint.ref.name} is not paused", hint="there is nothing to continue")
        # What was put into its template while it was paused would all begin: it must be what was shown.
        ops = (*self._guard(), remove("/spec/paused"))
        effect = Effect(
            "paused",
            "goes on from where it is",
            "hold it",
            EndpointExpectation(endpoint.ref, uid=endpoint.uid, held=False, phases=LOOKED_AT),
        )
        patch = Patch(self._kinds.deployments, standing.item, ops, hold=False)
        assumes = EndpointExpectation(endpoint.ref, uid=endpoint.uid, held=True)
        return (self._patch(patch, effect, shell=self._shell("rollout resume"), assumes=assumes),)

    # --- going back

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        """One patch, whatever the state: the template of the ReplicaSet that held the version, and no pause."""
        standing, version = self._standing, artifact.version
        if not version:
            raise Refused(f"nobody noted which version of {endpoint.ref.name} ran well before", hint=self._kept())
        if raw(standing.target.version) == version:
            word = "is on its way to" if standing.in_flight or not standing.rolled_out else "runs"
            raise Refused(f"{endpoint.ref.name} {word} {SafeText(version)} already", hint=self._kept())
        source = standing.running(version)
        expects = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            stable_version=SafeText(version),
            held=False,
            phases=(Phase.COMPLETE,),
            ready=(SafeText(version),) if standing.wanted else (),
            absent=self._leaving(endpoint, version),
        )
        expects = watched(expects, endpoint, toward=SafeText(version), sheds=True)
        effect = Effect(
            self._now(), f"{SafeText(version)} alone", f"promote {endpoint.rollout.to_version} again", expects, SETTLE_S
        )
        return (self._patch(self._return(source, artifact), effect, shell=self._undo(source)),)

    def _return(self, source: Object | None, artifact: Artifact) -> Patch:
        standing = self._standing
        item, sets = standing.item, self._kinds.sets
        ops = [*self._guard()]
        template = None
        if source is not None:
            template = Template(sets, name(source), uid(source), HASH_LABEL)
        else:
            # Its ReplicaSet was pruned, but where a version is named another one can be.
            ops = [*_once((*ops, *deploy_ops(item, artifact)))]
        if standing.paused:
            ops.append(remove("/spec/paused"))
        kept = self._cause("rollback", artifact.version)
        if marks.HISTORY in notes(item):
            known = [version for version in marks.history_of(item) if version != artifact.version]
            kept[marks.HISTORY] = marks.history_text(known)
        return Patch(
            self._kinds.deployments,
            item,
            tuple(ops),
            template=template,
            hold=False if standing.paused else None,
            notes=kept,
        )

    def _leaving(self, endpoint: Endpoint, version: str) -> tuple[str, ...]:
        return tuple(sorted(variant.name for variant in endpoint.variants if raw(variant.version) != version))

    def restart(self, endpoint: Endpoint) -> tuple[Write, ...]:
        standing = self._standing
        if standing.paused:
            raise Refused(f"{endpoint.ref.name} is paused: no pod would be replaced", hint="continue it first")
        moment = self._frame.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        marked = table(standing.item, "spec", "template", "metadata", "annotations")
        before = marked.get(RESTARTED)
        root = "/spec/template/metadata/annotations"
        path = root + pointer(RESTARTED)
        ops: list[Op] = [*self._guard()]
        ops += [] if marked else [add(root, {})]
        ops.append(add(path, moment))
        effect = Effect(
            f"restarted {before or 'never'}",
            "every pod is replaced, a few at a time",
            "",
            EndpointExpectation(endpoint.ref, uid=endpoint.uid, labels=(("restarted", moment),), phases=LOOKED_AT),
        )
        patch = Patch(self._kinds.deployments, standing.item, tuple(ops))
        return (self._patch(patch, effect, shell=self._shell("rollout restart")),)

    def scale(self, endpoint: Endpoint, replicas: int) -> tuple[Write, ...]:
        standing = self._standing
        now = standing.wanted
        if self._scaler:
            raise Refused(f"{self._scaler} sets the replicas of {endpoint.ref.name}", hint="change its bounds")
        if replicas == now:
            raise Refused(f"{endpoint.ref.name} has {now} replicas already", hint="give another number")
        serving = replicas and standing.settled
        expects = EndpointExpectation(
            endpoint.ref,
            uid=endpoint.uid,
            labels=(("replicas", str(replicas)),),
            ready=(SafeText(standing.target.version),) if serving else (),
        )
        ops = (test("/metadata/uid", uid(standing.item)), test("/spec/replicas", now), put("/spec/replicas", replicas))
        patch = Patch(self._kinds.deployments, standing.item, ops, subresource="scale")
        effect = Effect(f"{now} replicas", f"{replicas} replicas", f"scale to {now}", expects, SETTLE_S)
        return (self._patch(patch, effect, shell=self._shell("scale", f"--replicas={replicas}")),)

    # --- beneath

    def _guard(self) -> tuple[Op, ...]:
        """Its identity, which rollout this is and whether it is paused. Neither a status tick nor another number of replicas
        moves these; a new template and a pause do. The images and the restart are in it because the controller counts a new
        template only a moment later."""
        item = self._standing.item
        path = pointer("metadata", "annotations", REVISION)
        number = notes(item).get(REVISION)
        rollout = (test(path, number),) if number is not None else ()
        marked = table(item, "spec", "template", "metadata", "annotations")
        root = "/spec/template/metadata/annotations"
        restarted = test(root + pointer(RESTARTED), marked.get(RESTARTED)) if marked else test(root, None)
        paused = test("/spec/paused", at(item, "spec", "paused"))
        return (test("/metadata/uid", uid(item)), *rollout, paused, *image_tests(item), restarted)

    def _cause(self, verb: str, version: str) -> dict[str, str]:
        """The cause in kubectl's own history, only where one is kept: it would be the one of the rollout before."""
        return {_CAUSE: f"mlrelease {verb} {version}"} if _CAUSE in notes(self._standing.item) else {}

    def _somewhere(self) -> str:
        """A version to which a rollback could go, "" where there is none."""
        standing = self._standing
        now = standing.target.version
        wished = standing.source.version if standing.in_flight else standing.previous
        others = [identity.version for identity in standing.versions.values() if identity.version != now]
        return raw(wished if wished and wished != now else next(iter(others), ""))

    def _kept(self) -> str:
        known = sorted({SafeText(identity.version) for identity in self._standing.versions.values()})
        return f"its ReplicaSets hold: {', '.join(known)}" if known else "it has no ReplicaSet"

    def _now(self) -> str:
        shown = [f"{variant.version} ({variant.ready} of {variant.desired})" for variant in self._endpoint.variants]
        return " + ".join(shown) or "no pods"

    def _patch(
        self, patch: Patch, effect: Effect, *, shell: str = "", assumes: EndpointExpectation | None = None
    ) -> Write:
        looked = assumes or replace(expectation_of(self._endpoint), weights=None, present=())
        return written(self._frame.connection, self._frame.context, patch, effect, looked, shell=shell)

    def _undo(self, source: Object | None) -> str:
        if source is None:
            return ""
        words = self._shell("rollout undo", f"--to-revision={text(notes(source), REVISION)}")
        return f"{self._shell('rollout resume')} && {words}" if self._standing.paused else words

    def _shell(self, verb: str, *rest: str) -> str:
        item = self._standing.item
        words = [
            "kubectl",
            "--context",
            self._frame.context,
            "-n",
            namespace(item),
            *verb.split(),
            f"deployment/{name(item)}",
            *rest,
        ]
        return shlex.join(words)


def _once(ops: tuple[Op, ...]) -> tuple[Op, ...]:
    """Each test once: another one of the same says nothing more."""
    return tuple(op for index, op in enumerate(ops) if op not in ops[:index])
