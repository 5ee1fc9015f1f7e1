"""Driving a route by its weights: one JSON Patch sets them in every rule of the split, tested on who stands where with which.

Everything else of the route (filters, matches, time-outs) stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import at, name, owner_uid, uid
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, Patch, add, test, written
from mlrelease_tui.connectors.kubernetes.pods import deploy_ops
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.deployment_standing import Standing as Deployed
from mlrelease_tui.connectors.kubernetes.workloads.noting import FIRST_BP, Writing, named
from mlrelease_tui.connectors.kubernetes.workloads.routes_splits import Numbers
from mlrelease_tui.connectors.kubernetes.workloads.routes_standing import Standing
from mlrelease_tui.domain.expectation import EndpointExpectation, expectation_of, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Hold, Phase, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

SETTLE_S: Final = 120.0
PODS_S: Final = 600.0
_UNHEARD_OF: Final = Artifact("0-unheard-of", "models:/unheard-of/0")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between kinds of routes: the kind, where weights stand in words, which numbers they can be, and how a weight
    that no numbers make is refused."""

    routes: Resource
    weights: str
    numbers: Numbers
    grain: str


class RouteDriver(Writing):
    """Plans the writes for one route from the objects of one read."""

    pauseless = "a route has no pause"

    def __init__(
        self, dialect: Dialect, deployments: Resource, standing: Standing, endpoint: Endpoint, frame: Frame
    ) -> None:
        super().__init__(dialect.routes, standing.item, endpoint, frame)
        self._dialect = dialect
        self._deployments = deployments
        self._standing = standing

    # --- what there is

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]:
        endpoint, standing = self._endpoint, self._standing
        return {
            Verb.PROMOTE: (lambda: self.complete(endpoint)) if standing.in_flight else (lambda: self._begun(endpoint)),
            Verb.WEIGHT: lambda: self.set_weight(endpoint, 0 if standing.weight_bp else FIRST_BP),
            Verb.HOLD: lambda: self.hold(endpoint, Hold(SafeText("nobody"), SafeText())),
            Verb.CONTINUE: lambda: self.resume(endpoint),
            Verb.ABORT: lambda: self.abort(endpoint),
            Verb.ROLLBACK: lambda: self.roll_back(endpoint, Artifact(self._somewhere())),
        }

    def native(self) -> Mapping[Verb, str]:
        weights = self._dialect.weights
        return {
            Verb.PROMOTE: weights,
            Verb.WEIGHT: weights,
            Verb.HOLD: "annotation, advisory: a route has no pause",
            Verb.CONTINUE: "annotation, advisory: a route has no pause",
            Verb.ABORT: weights,
            Verb.ROLLBACK: weights,
        }

    def never(self) -> Mapping[Verb, str]:
        return {
            Verb.RETRY: "nothing was given up: a weight begins again",
            Verb.RESTART: "a route has no pods: restart the Deployment behind it",
            Verb.SCALE: "a route has no pods: scale the Deployment behind it",
            Verb.SWITCH: "traffic has weights: promote --full moves all of it",
            Verb.SHADOW: "a mirror is shown, and set where the route is written",
        }

    # --- going on

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        """A weight for the backend that runs the version. Where none does, its idle Deployment gets it first."""
        standing = self._free()
        self._in_force()
        if standing.in_flight:
            raise Refused(
                f"{endpoint.ref.name} is between {endpoint.rollout.from_version} and {endpoint.rollout.to_version}",
                hint="finish that or roll it back first",
            )
        if standing.deserted:
            raise Refused(f"no backend of {endpoint.ref.name} gets anything", hint="roll back to a version first")
        first = standing.steps[0] if standing.steps else FIRST_BP
        weight = first if weight_bp is None else weight_bp
        self._numbers(weight)
        running = [one for one in self._idle() if standing.versions[one] == artifact.version]
        if running:
            self._answers(running[0])
            return (self._weighed(running[0], weight),)
        return self._deployed(self._idle_deployment(artifact), artifact, weight)

    def _deployed(self, backend: str, artifact: Artifact, weight_bp: int) -> tuple[Write, ...]:
        """The idle Deployment's template, then the weight once its pods are there: it gets nothing before."""
        deployed, version = self._deployment(backend), SafeText(artifact.version)
        item = deployed.item
        ops = (
            test("/metadata/uid", uid(item)),
            test("/spec/paused", at(item, "spec", "paused")),
            *deploy_ops(item, artifact),
        )
        there = self._expect(ready=(version,), phases=(Phase.COMPLETE, Phase.HELD))
        effect = Effect(
            f"{name(item)} runs {deployed.target.version}, without requests",
            f"{name(item)} runs {version}, still without requests",
            f"put {deployed.target.version} back on {name(item)}",
            there,
            PODS_S,
        )
        patch = Patch(self._deployments, item, ops)
        first = written(self._frame.connection, self._frame.context, patch, effect, expectation_of(self._endpoint))
        return (first, self._weighed(backend, weight_bp, version=version, assumes=there))

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        standing = self._standing
        following = [weight for weight in standing.steps if weight > standing.weight_bp]
        if not following:
            raise Refused(f"{endpoint.ref.name} has no step after this one", hint="give a weight, or promote it --full")
        return self.set_weight(endpoint, following[0])

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        standing = self._free()
        self._in_force()
        if not standing.in_flight:
            raise Refused(f"{endpoint.ref.name}: nothing is under way", hint="promote a version first")
        self._answers(standing.candidate)
        return (self._all_to(standing.candidate, noted=True),)

    def set_weight(self, endpoint: Endpoint, weight_bp: int) -> tuple[Write, ...]:
        standing = self._free()
        backend = standing.candidate
        if weight_bp:
            self._in_force()
            self._answers(backend)
        if standing.weight_bp == weight_bp and standing.split.agrees:
            raise Refused(f"{SafeText(backend)} gets {percent(weight_bp)} already", hint="give another weight")
        if weight_bp == 0:
            return (self._all_to(standing.stable),)
        if weight_bp == ALL_TRAFFIC_BP:
            return (self._all_to(backend, noted=True),)
        if len(standing.serving) > 2:
            raise Refused(
                f"{len(standing.serving)} backends share the requests of {endpoint.ref.name}",
                hint="abort gives them all to the stable one; then give a weight",
            )
        return (self._weighed(backend, weight_bp),)

    def hold(self, endpoint: Endpoint, hold: Hold) -> tuple[Write, ...]:
        self._free()
        return super().hold(endpoint, hold)

    def resume(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._free()
        return super().resume(endpoint)

    # --- going back

    def abort(self, endpoint: Endpoint) -> tuple[Write, ...]:
        standing = self._free()
        if not standing.in_flight:
            raise Refused(f"{endpoint.ref.name}: nothing is under way", hint="roll back to another version")
        self._answers(standing.stable)
        return (self._all_to(standing.stable),)

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        """All requests to the backend that runs the version. No pod is touched: a Deployment goes back by itself."""
        standing = self._free()
        found = [one for one, version in standing.versions.items() if version == artifact.version]
        found = [one for one in found if one in standing.behind]
        if not found:
            there = ", ".join(sorted(SafeText(standing.versions[one]) for one in standing.behind))
            raise Refused(
                f"no backend of {endpoint.ref.name} runs version {SafeText(artifact.version)}",
                hint=f"there are: {there}; or roll back the Deployment behind it",
            )
        backend = standing.stable if standing.stable in found else max(found, key=lambda one: standing.shares[one])
        if standing.shares[backend] == ALL_TRAFFIC_BP and standing.split.agrees:
            raise Refused(f"{endpoint.ref.name} runs {SafeText(artifact.version)}, alone", hint="name another version")
        self._answers(backend)
        return (self._all_to(backend),)

    # --- what holds it up

    def _free(self) -> Standing:
        standing = self._standing
        if standing.driven:
            raise Refused(
                f"{SafeText(standing.driven)} drives {self._endpoint.ref.name}, and would put back what is written here",
                hint="act on what drives it",
            )
        return standing

    def _in_force(self) -> None:
        taken = self._standing.taken
        if not taken.in_force:
            raise Refused(
                f"{self._endpoint.ref.name} is not in force: {SafeText(taken.message)}", hint="look at its gateway"
            )

    def _answers(self, backend: str) -> None:
        """Refused where it is known that nobody would answer."""
        behind = self._standing.behind.get(backend)
        if behind is None:
            raise Refused(f"{self._endpoint.ref.name} has no other backend", hint="add one where the route is written")
        if behind.missing:
            raise Refused(f"{SafeText(backend)} can't get requests: {SafeText(behind.missing)}", hint="mend that first")
        if behind.empty:
            hint = "wait until one is" if behind.deployed is None or behind.deployed.wanted else "scale it first"
            raise Refused(f"no pod of {SafeText(backend)} is ready: requests to it would fail", hint=hint)

    def _idle(self) -> tuple[str, ...]:
        standing = self._standing
        return tuple(one for one in standing.behind if not standing.shares[one])

    def _idle_deployment(self, artifact: Artifact) -> str:
        """The backend whose Deployment may get another version: it has no requests, and it is clear which one is meant."""
        idle, version = self._idle(), SafeText(artifact.version)
        usable = [one for one in idle if self._standing.behind[one].deployed is not None]
        if len(usable) > 1:
            usable = [one for one in usable if one == self._standing.candidate and self._standing.behind[one].role]
        if len(usable) != 1:
            raise Refused(
                "no backend runs that version, and none is there to get it",
                hint=f"deploy {version} behind a backend of weight 0 first",
            )
        item = self._deployment(usable[0]).item
        called = SafeText(name(item))
        if self._deployment(usable[0]).paused:
            raise Refused(f"{called} is paused: it would take no version", hint="resume it with kubectl")
        if not self._deployment(usable[0]).wanted:
            raise Refused(f"{called} has 0 replicas: nobody would answer", hint=f"scale {called} first")
        if owner_uid(item) or len(self._standing.behind[usable[0]].others):
            raise Refused(f"{called} is not this route's alone", hint=f"deploy {version} there by what owns it")
        return usable[0]

    def _deployment(self, backend: str) -> Deployed:
        found = self._standing.behind[backend].deployed
        if found is None:
            raise Refused(f"no Deployment is seen behind {SafeText(backend)}", hint="deploy it first")
        return found

    def _numbers(self, weight_bp: int) -> tuple[int, int]:
        found = self._dialect.numbers(weight_bp, self._standing.split.total)
        if found is None or not 0 <= weight_bp <= ALL_TRAFFIC_BP:
            raise Refused(
                f"{self._endpoint.ref.name} can't give {percent(weight_bp)}: {self._dialect.grain}",
                hint="give 0% to 100%",
            )
        return found

    # --- beneath

    def _all_to(self, backend: str, *, noted: bool = False, version: str = "") -> Write:
        standing = self._standing
        version = version or SafeText(standing.versions[backend])
        weights = {one: ALL_TRAFFIC_BP if one == backend else 0 for one in standing.behind}
        expects = self._expect(stable_version=version, weights=named(weights))
        undo = f"{SafeText(standing.candidate)} {percent(standing.weight_bp)}"
        if backend != standing.stable and not standing.in_flight:
            undo = f"roll back to {SafeText(standing.versions[standing.stable])}"
        after = f"{version} gets everything"
        left = [one for one in standing.split.alone if one != backend]
        if left:
            after += f"; a rule without weights still sends to {', '.join(SafeText(one) for one in left)}"
        whole, _ = self._numbers(ALL_TRAFFIC_BP)
        numbers = {one: whole if one == backend else 0 for one in standing.behind}
        return self._set(backend, numbers, Effect(self._now(), after, undo, expects, SETTLE_S), noted=noted)

    def _weighed(
        self, backend: str, weight_bp: int, *, version: str = "", assumes: EndpointExpectation | None = None
    ) -> Write:
        if weight_bp == ALL_TRAFFIC_BP:
            return self._all_to(backend, noted=True, version=version)
        standing = self._standing
        part, rest = self._numbers(weight_bp)
        called = version or SafeText(standing.versions[backend])
        weights = dict.fromkeys(standing.behind, 0) | {
            standing.stable: ALL_TRAFFIC_BP - weight_bp,
            backend: weight_bp,
        }
        numbers = dict.fromkeys(standing.behind, 0) | {standing.stable: rest, backend: part}
        effect = Effect(
            self._now(),
            f"{called} {percent(weight_bp)}",
            f"{SafeText(backend)} {percent(standing.shares[backend])}",
            self._expect(weights=named(weights)),
            SETTLE_S,
        )
        return self._set(standing.stable, numbers, effect, noted=not standing.in_flight, assumes=assumes)

    def _set(
        self,
        stable: str,
        numbers: Mapping[str, int],
        effect: Effect,
        *,
        noted: bool = False,
        assumes: EndpointExpectation | None = None,
    ) -> Write:
        """Every weight of every rule of the split. `stable` is the backend that is the stable one then; `noted` writes down which
        version was it."""
        standing = self._standing
        ops: list[Op] = [test("/metadata/uid", uid(standing.item))]
        writes: list[Op] = []
        for rule in standing.split.rules:
            for entry in rule:
                path, wanted = f"{entry.pointer}/weight", numbers[entry.backend.name]
                ops += [*entry.named, test(path, entry.weight)]
                if entry.weight != wanted:
                    writes.append(add(path, wanted))
        kept = {marks.STABLE: stable}
        if noted:
            ran = standing.versions[standing.stable]
            kept[marks.HISTORY] = marks.history_text([ran, *marks.history_of(standing.item)])
        return self._patch((*ops, *writes), effect, notes=kept, assumes=assumes)

    def _now(self) -> str:
        standing = self._standing
        shown = [f"{SafeText(standing.versions[one])} {percent(standing.shares[one])}" for one in standing.serving]
        return " + ".join(shown) or "nobody gets anything"

    def _begun(self, endpoint: Endpoint) -> tuple[Write, ...]:
        """A release of what stands by, else of what nobody knows, for whoever asks whether one can be begun."""
        standing = self._standing
        other = [one for one in self._idle() if standing.versions[one] != standing.versions[standing.stable]]
        try:
            return self.start(endpoint, Artifact(standing.versions[other[0]]) if other else _UNHEARD_OF, None)
        except Refused:
            return self.start(endpoint, _UNHEARD_OF, None)

    def _somewhere(self) -> str:
        """A version to which it could be rolled back, for whoever asks whether it can."""
        standing = self._standing
        if standing.in_flight or standing.deserted:
            return standing.versions[standing.stable]
        others = [one for one in standing.behind if one != standing.stable]
        versions = [
            standing.versions[one] for one in others if standing.versions[one] != standing.versions[standing.stable]
        ]
        if not versions:
            raise Refused(
                f"every backend of {self._endpoint.ref.name} runs {SafeText(standing.versions[standing.stable])}",
                hint="roll back the Deployment behind it",
            )
        return standing.previous or versions[0]
