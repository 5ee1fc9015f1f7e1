"""What all writes to a Canary and what belongs to it are made of: what guards them, what is expected of them, how they are said.

Who, why and notes go on the Canary and on the Deployments, never on the route: another edit of it has Flagger begin anew.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import at, name, namespace, notes, table, text, uid
from mlrelease_tui.connectors.kubernetes.patching import (
    Effect,
    Op,
    Patch,
    Template,
    add,
    pointer,
    remove,
    test,
    written,
)
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.pods import deploy_ops, image_tests
from mlrelease_tui.connectors.kubernetes.workloads import deployment_standing as deployments
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.deployment_standing import HASH_LABEL, RESTARTED, REVISION
from mlrelease_tui.connectors.kubernetes.workloads.flagger_route import Route
from mlrelease_tui.connectors.kubernetes.workloads.flagger_standing import HELD, Standing, canary_percent, print_of
from mlrelease_tui.domain.expectation import EndpointExpectation, expectation_of, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Endpoint, Phase
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

PODS_S: Final = 300.0
"""Pods may have to start first, in seconds."""
BEGUN: Final = (Phase.PROGRESSING, Phase.WAITING)
"""Phases of a release that Flagger has noticed."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds as this cluster addresses them."""

    canaries: Resource
    deployments: Resource
    sets: Resource


class Writing:
    """Makes writes for one Canary from the objects of one read."""

    def __init__(self, kinds: Kinds, standing: Standing, endpoint: Endpoint, frame: Frame) -> None:
        self._kinds = kinds
        self._standing = standing
        self._endpoint = endpoint
        self._frame = frame

    @property
    def _name(self) -> str:
        return self._endpoint.ref.name

    @property
    def _look_s(self) -> float:
        """Seconds within which Flagger has looked twice, whatever it had just begun."""
        return max(60.0, 3 * self._standing.interval_s + 30.0)

    # --- what must be so

    def _halves(self) -> tuple[deployments.Standing, deployments.Standing]:
        """Target and primary. Refused where one is not there."""
        standing = self._standing
        if standing.target_kind != "Deployment":
            kind = SafeText(standing.target_kind)
            raise Refused(
                f"the target of {self._name} is a {kind}", hint=f"change that {kind}; Flagger goes on from it"
            )
        if standing.target is None or standing.primary is None:
            which = "primary" if standing.target is not None else "target"
            raise Refused(f"the {which} of {self._name} is not there", hint="is Flagger running?")
        return standing.target, standing.primary

    def _noticed(self) -> None:
        """Going on needs a Flagger that has looked: what it never saw would all happen when it does."""
        standing = self._standing
        if not standing.native or standing.owed or (standing.aborting and not standing.suspended):
            raise Refused(f"Flagger has not looked at {self._name} yet: {self._endpoint.rollout.message}", hint="wait")

    def _running(self) -> None:
        if self._standing.suspended:
            raise Refused(f"{self._name} is suspended", hint="continue it first")

    def _well(self) -> None:
        """A release on a primary that is not well: Flagger would send everything there, and kill the canary."""
        if self._standing.broken:
            raise Refused(
                f"roll {self._name} back first: its primary is not well since its promotion failed, and another release "
                "would send everything there",
                hint="roll it back",
            )
        if self._standing.primary is not None and not self._standing.settled:
            raise Refused(f"the primary of {self._name} is not rolled out", hint="wait for its pods, or roll it back")

    def _guard(self, *paths: str) -> tuple[Op, ...]:
        """Its identity, the phase, which revision Flagger had applied, whether it is suspended; and what stands at `paths`."""
        item = self._standing.item
        asked = ("/status/phase", "/status/lastAppliedSpec", "/spec/suspend", *paths)
        found = [test(path, at(item, *path.split("/")[1:])) for path in asked]
        return (test("/metadata/uid", uid(item)), *found)

    # --- the Canary

    def _on_canary(
        self,
        ops: tuple[Op, ...],
        effect: Effect,
        *,
        status: bool = False,
        hold: bool | None = None,
        notes: Mapping[str, str] | None = None,
        follows: bool = False,
        shell: str = "",
    ) -> Write:
        patch = Patch(
            self._kinds.canaries,
            self._standing.item,
            ops,
            subresource="status" if status else "",
            hold=hold,
            notes=notes or {},
            follows=follows,
            spec_only=True,
        )
        return self._write(patch, effect, shell=shell)

    def _suspend(self, canary: int | None, after: str) -> Write:
        """Suspended, with what is so now and the weight that is to be: what a later continue compares with. An abort leaves its
        stamp: one that came meanwhile would not be carried out."""
        ops = [*self._guard(), self._note_test()]
        if noted := notes(self._standing.item):
            ops.append(test(pointer("metadata", "annotations", marks.STAMP), noted.get(marks.STAMP)))
        if not self._standing.suspended:
            ops.append(add("/spec/suspend", True))
        expects = EndpointExpectation(self._endpoint.ref, uid=self._endpoint.uid, held=True)
        known = marks.hold_of(self._standing.item) is not None
        return self._on_canary(
            tuple(ops),
            Effect(self._now(), after, "continue it", expects),
            hold=None if self._standing.suspended and known else True,
            notes={HELD: self._held_text(canary)},
        )

    def _held_text(self, canary: int | None) -> str:
        target = self._standing.target
        found = {"template": print_of(target.item) if target is not None else "", "canary": canary}
        return json.dumps(found, separators=(",", ":"))

    def _note_test(self) -> Op:
        """What was noted when it was held: whoever holds anew or lets go in between changes it."""
        noted = notes(self._standing.item)
        if not noted:
            return test(pointer("metadata", "annotations"), None)
        return test(pointer("metadata", "annotations", HELD), noted.get(HELD))

    def _let_go(self, expects: EndpointExpectation, after: str, *, guard: tuple[Op, ...] = ()) -> Write:
        """No longer suspended."""
        item = self._standing.item
        ops = [test("/metadata/uid", uid(item)), *guard, test("/spec/suspend", True), remove("/spec/suspend")]
        if HELD in notes(item):
            ops.append(remove(pointer("metadata", "annotations", HELD)))
        effect = Effect("suspended", after, "hold it", expects, self._look_s)
        return self._on_canary(tuple(ops), effect, hold=False)

    def _judge_again(self, *, follows: bool = True) -> Write:
        """Left on, the next release would be promoted with nothing of it judged."""
        item = self._standing.item
        before = at(item, "spec", "skipAnalysis")
        ops: list[Op] = [test("/metadata/uid", at(item, "metadata", "uid")), test("/spec/skipAnalysis", True)]
        ops.append(put("/spec/skipAnalysis", False) if before is False else remove("/spec/skipAnalysis"))
        off = EndpointExpectation(self._endpoint.ref, uid=self._endpoint.uid, labels=(("skip analysis", "off"),))
        return self._on_canary(tuple(ops), Effect("not judged", "what comes next is judged", "", off), follows=follows)

    # --- the route

    def _weigh(self, route: Route, canary: int, *, held: bool | None = True) -> Write:
        """Another split, written by nobody but Flagger unless that is suspended or at rest."""
        weights = self._weights_by_version(canary * 100)
        expects = EndpointExpectation(self._endpoint.ref, uid=self._endpoint.uid, held=held, version_weights=weights)
        patch = Patch(route.resource, route.item, route.weigh(canary), marked_at="")
        words = " + ".join(f"{version} {percent(weight)}" for version, weight in weights)
        return self._write(patch, Effect(self._now(), words, f"weight {percent(self._standing.weight_bp)}", expects))

    def _held_at(self, route: Route, canary: int) -> tuple[Write, ...]:
        """Suspended, then this weight: at once, whatever its interval."""
        return (self._suspend(canary, f"held; {canary}% is to be next"), self._weigh(route, canary))

    def _weights_by_version(self, canary_bp: int) -> tuple[tuple[str, int], ...]:
        rollout = self._endpoint.rollout
        if rollout.from_version == rollout.to_version:
            return ((rollout.from_version, 10_000),)
        return ((rollout.from_version, 10_000 - canary_bp), (rollout.to_version, canary_bp))

    def _own_route(self) -> Route:
        """The route, where its weights may be written. Refused where they are not all there is to it."""
        route = self._standing.route
        if route is None:
            provider = SafeText(text(self._standing.item, "spec", "provider")) or "its provider"
            raise Refused(
                f"its weights are Flagger's alone: no route of {provider} is read here",
                hint="abort takes the traffic back",
            )
        if not route.writable:
            what = "one split" if route.resource.plural == "httproutes" else "HTTPRoutes"
            raise Refused(
                f"its weights are Flagger's alone: of others it takes {what} only",
                hint="abort takes the traffic back",
            )
        return route

    # --- its Deployments

    def _template(
        self,
        half: deployments.Standing,
        source: Object | None,
        artifact: Artifact,
        effect: Effect,
        *,
        to_zero: bool = False,
    ) -> Write:
        """The template of one of its ReplicaSets; where that was pruned, the version by its name."""
        item = self._real(half)
        ops = list(self._template_guard(item))
        template = None
        if source is not None:
            template = Template(self._kinds.sets, name(source), uid(source), HASH_LABEL)
        else:
            ops += [op for op in deploy_ops(item, artifact) if op not in ops]
        if half.paused:
            ops.append(remove("/spec/paused"))
        if to_zero:
            ops += [test("/spec/replicas", at(item, "spec", "replicas")), put("/spec/replicas", 0)]
        patch = Patch(self._kinds.deployments, item, tuple(ops), template=template)
        shell = ""
        if source is not None and not to_zero and not half.paused:
            shell = self._kubectl("rollout undo", item, f"--to-revision={text(notes(source), REVISION)}")
        return self._write(patch, effect, shell=shell)

    def _real(self, half: deployments.Standing) -> Object:
        """One of its Deployments as the server has it."""
        return self._standing.primary_item if half is self._standing.primary else half.item

    def _template_guard(self, item: Object) -> tuple[Op, ...]:
        path = pointer("metadata", "annotations", REVISION)
        number = notes(item).get(REVISION)
        known = (test(path, number),) if number is not None else ()
        marked = table(item, "spec", "template", "metadata", "annotations")
        root = "/spec/template/metadata/annotations"
        restarted = test(root + pointer(RESTARTED), marked.get(RESTARTED)) if marked else test(root, None)
        return (
            test("/metadata/uid", uid(item)), *known, test("/spec/paused", at(item, "spec", "paused")), *image_tests(item),
            restarted,
        )  # fmt: skip

    def _restarted(self, half: deployments.Standing, effect: Effect, moment: str) -> Write:
        item = self._real(half)
        marked = table(item, "spec", "template", "metadata", "annotations")
        root = "/spec/template/metadata/annotations"
        ops = [*self._template_guard(item), *([] if marked else [add(root, {})])]
        ops.append(add(root + pointer(RESTARTED), moment))
        patch = Patch(self._kinds.deployments, item, tuple(ops))
        return self._write(patch, effect, shell=self._kubectl("rollout restart", item))

    # --- how it is said

    def _write(self, patch: Patch, effect: Effect, *, shell: str = "") -> Write:
        looked = replace(expectation_of(self._endpoint), weights=None, present=(), step_index=None)
        return written(self._frame.connection, self._frame.context, patch, effect, looked, shell=shell)

    def _kubectl(self, verb: str, item: Object, *rest: str) -> str:
        words = ["kubectl", "--context", self._frame.context, "-n", namespace(item), *verb.split()]
        return shlex.join([*words, f"deployment/{name(item)}", *rest])

    def _now(self) -> str:
        shown = [
            f"{variant.version} {percent(variant.weight_bp)}" if variant.weight_bp is not None else f"{variant.version}"
            for variant in self._endpoint.variants
        ]
        return " + ".join(shown) or f"{self._endpoint.rollout.from_version}"

    def _percent(self) -> int | None:
        return canary_percent(self._standing)
