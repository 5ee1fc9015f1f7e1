"""Driving a SeldonDeployment by its predictors: each move one JSON Patch, tested on every predictor's name and share.

A new version gets a predictor of its own under a name of its own, made by copying the stable one within the patch: no template is
in the payload, and the status can't take it for one that was there. It gets requests once its pods are ready, in a patch of its
own. Going back takes the predictor that is left away: while one of them is not ready Seldon moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import at
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, add, copy, remove, test
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.noting import FIRST_BP, named, told
from mlrelease_tui.connectors.kubernetes.workloads.seldon_sources import predictor_ops
from mlrelease_tui.connectors.kubernetes.workloads.seldon_standing import Standing
from mlrelease_tui.connectors.kubernetes.workloads.seldon_writes import ADVISORY, SETTLE_S, Writing
from mlrelease_tui.domain.expectation import EndpointExpectation, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Hold, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

_ROOT: Final = "/spec/predictors"
_TRAFFIC: Final = "spec.predictors[].traffic; Seldon does not say when it is in force"
_UNHEARD_OF: Final = Artifact("0-unheard-of", "s3://unheard-of/0")
_NAMES: Final = ("canary", "green", "next")


class SeldonDriver(Writing):
    """Plans the writes for one SeldonDeployment from the object of one read."""

    def __init__(self, resource: Resource, standing: Standing, endpoint: Endpoint, frame: Frame) -> None:
        super().__init__(resource, standing.item, endpoint, frame)
        self._standing = standing

    # --- what there is

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]:
        endpoint, standing = self._endpoint, self._standing
        return {
            Verb.PROMOTE: (lambda: self.complete(endpoint))
            if standing.in_flight
            else (lambda: self.start(endpoint, _UNHEARD_OF, None)),
            Verb.WEIGHT: lambda: self.set_weight(endpoint, 0 if standing.weight_bp else FIRST_BP),
            Verb.HOLD: lambda: self.hold(endpoint, Hold(SafeText("nobody"), SafeText())),
            Verb.CONTINUE: lambda: self.resume(endpoint),
            Verb.ABORT: lambda: self.abort(endpoint),
            Verb.ROLLBACK: lambda: self.roll_back(endpoint, self._somewhere()),
            Verb.SCALE: lambda: self.scale(endpoint, -1),
            Verb.SHADOW: lambda: self.shadow(endpoint, _UNHEARD_OF, ALL_TRAFFIC_BP),
        }

    def native(self) -> Mapping[Verb, str]:
        return {
            Verb.PROMOTE: "spec.predictors",
            Verb.WEIGHT: _TRAFFIC,
            Verb.HOLD: ADVISORY,
            Verb.CONTINUE: ADVISORY,
            Verb.ABORT: _TRAFFIC,
            Verb.ROLLBACK: "spec.predictors",
            Verb.SCALE: "replicas of the stable predictor",
            Verb.SHADOW: "a predictor with shadow: true",
        }

    def never(self) -> Mapping[Verb, str]:
        return {
            Verb.RETRY: "nothing was given up: promote begins anew",
            Verb.RESTART: "promote it anew: Seldon compares pod specs alone",
            Verb.SWITCH: "traffic has weights: promote --full moves all of it",
        }

    # --- going on

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        """A predictor with the version and no requests; then its share. One that stands by with that version gets it at once."""
        standing = self._standing
        if standing.in_flight:
            raise Refused(
                f"{endpoint.ref.name} is between {endpoint.rollout.from_version} and {endpoint.rollout.to_version}",
                hint="finish that or roll it back first",
            )
        self._settled()
        first = standing.steps[0] if standing.steps else FIRST_BP
        weight = first if weight_bp is None else weight_bp
        self._whole(weight)
        version = SafeText(artifact.version)
        idle = [one for one in standing.predictors if one != standing.stable]
        running = [one for one in idle if standing.versions[one] == artifact.version]
        if running:
            return (self._shared(running[0], weight),)
        if len(idle) > 1:
            raise Refused(
                f"{endpoint.ref.name} has {len(idle)} predictors that stand by", hint="take all but one away first"
            )
        called = self._free_name(_NAMES)
        there = self._expect(ready=(version,), weights=named({standing.stable: ALL_TRAFFIC_BP, called: 0}))
        made = self._made(called, artifact, tuple(idle), there, self._noted(standing.versions[standing.stable]))
        return (made, self._follow(called, version, weight, tuple(idle), there))

    def _made(
        self,
        called: str,
        artifact: Artifact,
        gone: tuple[str, ...],
        expects: EndpointExpectation,
        noted: Mapping[str, str],
    ) -> Write:
        """A copy of the stable predictor with this version and no requests; those that are `gone` are taken away with it."""
        standing, version = self._standing, SafeText(artifact.version)
        index, stable = len(standing.all), standing.predictors[standing.stable].index
        found = predictor_ops(standing.item, stable, artifact, to=index)
        places = sorted((standing.predictors[one].index for one in gone), reverse=True)
        ops = (
            *self._guard(),
            *(op for op in found if op["op"] == "test"),
            copy(f"{_ROOT}/{stable}", f"{_ROOT}/{index}"),
            add(f"{_ROOT}/{index}/name", called),
            add(f"{_ROOT}/{index}/traffic", 0),
            *(op for op in found if op["op"] != "test"),
            add(f"{_ROOT}/{stable}/traffic", 100),
            *(remove(f"{_ROOT}/{place}") for place in places),
        )
        after = f"{version} runs as predictor {called}, without requests"
        if gone:
            after += f"; {', '.join(SafeText(one) for one in gone)}, which stood by, is taken away"
        now = told(standing.shares, standing.versions)
        return self._patch(ops, Effect(now, after, f"take the predictor {called} away", expects, SETTLE_S), notes=noted)

    def _follow(
        self,
        called: str,
        version: str,
        weight_bp: int,
        gone: tuple[str, ...],
        there: EndpointExpectation,
        *,
        last: bool = False,
    ) -> Write:
        """The share of a predictor that the write before makes. `last` takes the stable one away with it."""
        standing, number = self._standing, self._whole(weight_bp)
        names = [*(one.name for one in standing.all if one.name not in gone), called]
        stable, made = names.index(standing.stable), len(names) - 1
        ops: list[Op] = [self._same()]
        ops += [test(f"{_ROOT}/{index}/name", one) for index, one in enumerate(names)]
        ops += [test(f"{_ROOT}/{stable}/traffic", 100), test(f"{_ROOT}/{made}/traffic", 0)]
        ops += [add(f"{_ROOT}/{made}/traffic", number)]
        ops += [remove(f"{_ROOT}/{stable}")] if last else [add(f"{_ROOT}/{stable}/traffic", 100 - number)]
        shares = {called: weight_bp} if last else {standing.stable: ALL_TRAFFIC_BP - weight_bp, called: weight_bp}
        whole = weight_bp == ALL_TRAFFIC_BP
        expects = self._expect(
            weights=named(shares),
            stable_version=version if whole else None,
            absent=(str(SafeText(standing.stable)),) if last else (),
        )
        after = f"{version} gets everything" if whole else f"{version} {percent(weight_bp)}"
        now = SafeText(standing.versions[standing.stable])
        undo = f"promote {now} again" if last else "weight 0%"
        effect = Effect(f"{now} gets everything", after, undo, expects, SETTLE_S)
        noted = {marks.STABLE: called if last or whole else standing.stable}
        return self._patch(tuple(ops), effect, notes=noted, assumes=there, follows=True)

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        standing = self._standing
        following = [weight for weight in standing.steps if weight > standing.weight_bp]
        if not following:
            raise Refused(f"{endpoint.ref.name} has no step after this one", hint="give a weight, or promote it --full")
        return self.set_weight(endpoint, following[0])

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._settled()
        if not self._standing.in_flight:
            raise Refused(f"{endpoint.ref.name}: nothing is under way", hint="promote a version first")
        return (self._shared(self._standing.candidate, ALL_TRAFFIC_BP),)

    def set_weight(self, endpoint: Endpoint, weight_bp: int) -> tuple[Write, ...]:
        standing = self._standing
        if not standing.candidate:
            raise Refused(f"{endpoint.ref.name} has one predictor", hint="promote a version first")
        self._settled()
        if standing.weight_bp == weight_bp:
            raise Refused(
                f"{SafeText(standing.candidate)} gets {percent(weight_bp)} already", hint="give another weight"
            )
        return (self._shared(standing.candidate, weight_bp),)

    # --- going back

    def abort(self, endpoint: Endpoint) -> tuple[Write, ...]:
        if not self._standing.in_flight:
            raise Refused(f"{endpoint.ref.name}: nothing is under way", hint="roll back to another version")
        self._settled(hint="roll back: that takes the failing predictor away")
        return (self._shared(self._standing.candidate, 0),)

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        """Everything to the predictor of that version, and the others that share or fail taken away: one patch. Where none runs it,
        the stable one gets its template."""
        standing, version = self._standing, SafeText(artifact.version)
        running = [one for one in standing.predictors if standing.versions[one] == artifact.version]
        if not running:
            return self._replaced(artifact)
        kept = standing.stable if standing.stable in running else running[0]
        others = [one for name_, one in standing.predictors.items() if name_ != kept]
        gone = [one for one in others if standing.shares[one.name] or not one.works]
        if not gone:
            raise Refused(f"{endpoint.ref.name} runs {version}, alone", hint="name another version")
        if standing.predictors[kept].ready == 0:
            raise Refused(f"no pod of {SafeText(kept)} is ready: requests to it would fail", hint="wait until one is")
        # From the end, so that no removal moves the place of the next one.
        ops: list[Op] = [*self._guard(), add(f"{_ROOT}/{standing.predictors[kept].index}/traffic", 100)]
        ops += [remove(f"{_ROOT}/{one.index}") for one in sorted(gone, key=lambda one: one.index, reverse=True)]
        absent = tuple(str(SafeText(one.name)) for one in gone)
        expects = self._expect(stable_version=version, weights=((str(SafeText(kept)), ALL_TRAFFIC_BP),), absent=absent)
        left = ", ".join(SafeText(one.name) for one in gone)
        effect = Effect(
            told(standing.shares, standing.versions),
            f"{version} gets everything; {left} is taken away",
            f"promote {', '.join(SafeText(one.identity.version) for one in gone)} again",
            expects,
            SETTLE_S,
        )
        return (self._patch(tuple(ops), effect, notes={marks.STABLE: kept}),)

    def _replaced(self, artifact: Artifact) -> tuple[Write, ...]:
        """A predictor with the version beside the stable one; then everything to it, and the stable one away."""
        standing, version = self._standing, SafeText(artifact.version)
        if standing.in_flight:
            raise Refused(
                f"{self._endpoint.ref.name} goes back to {SafeText(standing.versions[standing.stable])} first",
                hint="name no version",
            )
        called, gone = self._free_name(_NAMES), tuple(one for one in standing.predictors if one != standing.stable)
        there = self._expect(ready=(version,))
        made = self._made(called, artifact, gone, there, {})
        return (made, self._follow(called, version, ALL_TRAFFIC_BP, gone, there, last=True))

    # --- beside

    def scale(self, endpoint: Endpoint, replicas: int) -> tuple[Write, ...]:
        standing = self._standing
        stable = standing.predictors[standing.stable]
        components = stable.item.get("componentSpecs") or ()
        if any(at(one, key) for one in components for key in ("hpaSpec", "kedaSpec")):
            raise Refused(f"an autoscaler sets the replicas of {SafeText(stable.name)}", hint="change its bounds")
        now = at(stable.item, "replicas")
        if now == replicas:
            raise Refused(f"{SafeText(stable.name)} has {replicas} replicas already", hint="give another number")
        path = f"{_ROOT}/{stable.index}/replicas"
        version = SafeText(stable.identity.version)
        effect = Effect(
            f"{SafeText(stable.name)}: {now if now is not None else 'unsaid'} replicas",
            f"{SafeText(stable.name)}: {replicas} replicas",
            f"scale to {now if now is not None else 1}",
            self._expect(ready=(version,) if replicas else ()),
            SETTLE_S,
        )
        return (self._patch((*self._guard(), test(path, now), add(path, replicas)), effect),)

    def shadow(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int) -> tuple[Write, ...]:
        """A predictor that gets a copy of the requests: a copy of the stable one. 0 takes it away."""
        standing, there = self._standing, self._standing.shadow
        number, version = self._whole(weight_bp), SafeText(artifact.version)
        if weight_bp == 0:
            if there is None:
                raise Refused(f"{endpoint.ref.name} has no shadow", hint="there is nothing to take away")
            absent = (str(SafeText(there.name)),)
            expects = self._expect(absent=absent, weights=named(standing.shares))
            gone = Effect("mirrored", "not mirrored", "mirror it again", expects, SETTLE_S)
            return (self._patch((*self._guard(), remove(f"{_ROOT}/{there.index}")), gone),)
        if there is not None:
            raise Refused(f"{endpoint.ref.name} has a shadow: Seldon takes one", hint="end that one first, with 0%")
        stable, index = standing.predictors[standing.stable].index, len(standing.all)
        called = self._free_name(("shadow", "mirror"))
        found = predictor_ops(standing.item, stable, artifact, to=index)
        ops = (
            *self._guard(),
            *(op for op in found if op["op"] == "test"),
            copy(f"{_ROOT}/{stable}", f"{_ROOT}/{index}"),
            add(f"{_ROOT}/{index}/name", called),
            add(f"{_ROOT}/{index}/shadow", True),
            add(f"{_ROOT}/{index}/traffic", number),
            *(op for op in found if op["op"] != "test"),
        )
        expects = self._expect(ready=(version,), weights=((called, weight_bp),))
        effect = Effect(
            "not mirrored", f"{version} gets a copy of {percent(weight_bp)}", "shadow 0%", expects, SETTLE_S
        )
        return (self._patch(ops, effect),)

    # --- what must be so

    def _settled(self, *, hint: str = "wait until they are, or roll back") -> None:
        standing = self._standing
        if standing.waiting_for:
            waiting = ", ".join(SafeText(one) for one in standing.waiting_for)
            raise Refused(f"Seldon moves no traffic while pods of {waiting} are not ready", hint=hint)
        if not standing.in_force:
            raise Refused(
                f"{self._endpoint.ref.name} is {SafeText(standing.state) or 'without status'}: nothing would be moved",
                hint=hint,
            )

    def _guard(self) -> tuple[Op, ...]:
        """Tests that this is the object, with these predictors and shares."""
        found = [self._same()]
        for one in self._standing.all:
            found += [test(f"{_ROOT}/{one.index}/name", one.name), test(f"{_ROOT}/{one.index}/traffic", one.traffic)]
        return tuple(found)

    def _whole(self, weight_bp: int) -> int:
        if weight_bp % 100 or not 0 <= weight_bp <= ALL_TRAFFIC_BP:
            raise Refused(
                f"{self._endpoint.ref.name} can't get {percent(weight_bp)}: Seldon knows whole percents",
                hint="give 0% to 100%",
            )
        return weight_bp // 100

    def _free_name(self, wanted: tuple[str, ...]) -> str:
        taken = {one.name for one in self._standing.all}
        return next((one for one in wanted if one not in taken), f"{wanted[0]}-{len(taken)}")

    # --- beneath

    def _shared(self, predictor: str, weight_bp: int) -> Write:
        """This share for a predictor, the rest for the stable one, nothing for any other."""
        standing, number = self._standing, self._whole(weight_bp)
        called = SafeText(standing.versions[predictor])
        shares = {**dict.fromkeys(standing.predictors, 0), standing.stable: ALL_TRAFFIC_BP - weight_bp}
        shares[predictor] = weight_bp
        ops = list(self._guard())
        for one in standing.predictors.values():
            wanted = number if one.name == predictor else 100 - number if one.name == standing.stable else 0
            if one.traffic != wanted:
                ops.append(add(f"{_ROOT}/{one.index}/traffic", wanted))
        whole = weight_bp == ALL_TRAFFIC_BP
        expects = self._expect(weights=named(shares), stable_version=called if whole else None)
        after = f"{called} gets everything" if whole else f"{called} {percent(weight_bp)}"
        undo = f"weight {percent(standing.shares[predictor])}"
        effect = Effect(told(standing.shares, standing.versions), after, undo, expects, SETTLE_S)
        noted = {marks.STABLE: predictor if whole else standing.stable}
        noted |= self._noted(standing.versions[standing.stable]) if weight_bp else {}
        return self._patch(tuple(ops), effect, notes=noted)

    def _somewhere(self) -> Artifact:
        """A version to which it could be rolled back, for whoever asks whether it can; one that nobody knows may be named, too."""
        standing = self._standing
        others = [one for name_, one in standing.predictors.items() if name_ != standing.stable]
        if standing.in_flight or any(not one.works for one in others):
            return Artifact(standing.versions[standing.stable])
        return _UNHEARD_OF
