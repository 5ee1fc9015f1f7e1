"""Driving an InferenceService in Knative mode by `canaryTrafficPercent`.

Seen on KServe 0.17: a percent below 100 on a service that was promoted before is the rollback gesture, whatever it was meant for,
so a canary begins with model and percent in one patch. A cleared percent gives everything to the last *ready* revision, so it is
cleared only once the newest one is. Restoring the model and clearing the percent in one patch hands all to the rejected one. The
way back goes one level deep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import count, text
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, add, remove, test, watched
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.kserve_source import Place, uri_for
from mlrelease_tui.connectors.kubernetes.workloads.kserve_standing import PERCENT, Standing, uri_of
from mlrelease_tui.connectors.kubernetes.workloads.kserve_writes import LATEST_GETS, NEWEST, READY, SETTLE_S, Writing
from mlrelease_tui.domain.expectation import EndpointExpectation, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Hold, Phase, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

FIRST_BP: Final = 1000
"""KServe has no steps: a canary without a weight begins at 10 %."""
_STATUS: Final = "/status/components/predictor"
_ROLLED_OUT: Final = f"{_STATUS}/latestRolledoutRevision"
_CREATED: Final = f"{_STATUS}/latestCreatedRevision"
_READY: Final = f"{_STATUS}/latestReadyRevision"
_BEFORE: Final = f"{_STATUS}/previousRolledoutRevision"
_BEGUN: Final = (Phase.PROGRESSING, Phase.WAITING, Phase.COMPLETE)
_UNHEARD_OF: Final = Artifact("0-unheard-of", "s3://unheard-of/0")


class KnativeModeDriver(Writing):
    """Plans the writes for one InferenceService from the objects of one read."""

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
            Verb.WEIGHT: lambda: self.set_weight(endpoint, 5000 if standing.percent != 50 else 2500),
            Verb.HOLD: lambda: self.hold(endpoint, Hold(SafeText("nobody"), SafeText())),
            Verb.CONTINUE: lambda: self.resume(endpoint),
            Verb.ABORT: lambda: self.abort(endpoint),
            Verb.ROLLBACK: lambda: self.roll_back(endpoint, self._return_target()),
            Verb.RESTART: lambda: self.restart(endpoint),
            Verb.SCALE: lambda: self.scale(endpoint, count(standing.item, "spec", "predictor", "minReplicas") + 1),
        }

    def native(self) -> Mapping[Verb, str]:
        return {
            Verb.PROMOTE: "canaryTrafficPercent null",
            Verb.WEIGHT: "canaryTrafficPercent",
            Verb.HOLD: "advisory: KServe has no pause",
            Verb.CONTINUE: "advisory: KServe has no pause",
            Verb.ABORT: "canaryTrafficPercent 0",
            Verb.ROLLBACK: "canaryTrafficPercent 0, storageUri, canaryTrafficPercent null",
            Verb.RESTART: "annotation of the predictor: a new revision",
            Verb.SCALE: "minReplicas: a new revision",
        }

    def never(self) -> Mapping[Verb, str]:
        return {
            Verb.RETRY: "KServe tries for ever: another model is another release",
            Verb.SWITCH: "a canary has weights: promote --full moves all traffic",
            Verb.SHADOW: "KServe mirrors nothing",
        }

    # --- going on

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        self._followed()
        standing, place = self._standing, self._place()
        if standing.in_flight:
            # A new model would get the traffic that the rejected one got, until it is ready.
            raise Refused(
                f"{endpoint.ref.name} is between {endpoint.rollout.from_version} and {endpoint.rollout.to_version}",
                hint="finish that or roll it back first",
            )
        version = SafeText(artifact.version)
        uri = uri_for(standing.item, artifact, standing.sources)
        if uri == place.uri:
            raise Refused(f"{endpoint.ref.name} fetches {SafeText(uri)} already", hint="name another version")
        weight_bp = FIRST_BP if weight_bp is None else weight_bp
        ops = (*self._all_as_read(), *self._other_source(place, uri, artifact.version))
        undo = f"roll back to {endpoint.rollout.from_version}"
        if weight_bp == ALL_TRAFFIC_BP:
            cleared = (remove(PERCENT),) if standing.percent is not None else ()
            effect = Effect(
                self._now(), f"{version} alone, once it is ready", undo, self._alone(artifact.version), SETTLE_S
            )
            return (self._patch((*ops, *cleared), effect),)
        begun = self._expect(phases=_BEGUN, labels=((NEWEST, version),))
        effect = Effect(self._now(), f"{version} gets {percent(weight_bp)} once it is ready", undo, begun, 60.0)
        return (self._patch((*ops, add(PERCENT, self._whole(weight_bp))), effect),)

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        raise Refused(
            f"{endpoint.ref.name} has no steps: KServe keeps a weight until it gets another",
            hint="give a weight, or promote it --full",
        )

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._followed()
        standing = self._standing
        self._in_flight("nothing is under way")
        if not standing.settled:
            raise Refused(
                f"{endpoint.rollout.to_version} is not ready: the last ready one would get everything",
                hint="wait until it is ready, or roll it back",
            )
        if standing.percent is None:
            raise Refused(f"{endpoint.ref.name} goes on by itself: it has no percent", hint="wait for its traffic")
        effect = Effect(
            self._now(),
            f"{endpoint.rollout.to_version} gets everything and is the stable one",
            f"roll back to {endpoint.rollout.from_version}",
            self._alone(endpoint.rollout.to_version),
            SETTLE_S,
        )
        return (self._patch((*self._all_as_read(), remove(PERCENT)), effect),)

    def set_weight(self, endpoint: Endpoint, weight_bp: int) -> tuple[Write, ...]:
        if weight_bp == ALL_TRAFFIC_BP:
            return self.complete(endpoint)
        self._heard()
        standing = self._standing
        self._canary()
        if weight_bp and not standing.settled and standing.ready != standing.rolled_out:
            raise Refused(
                f"{endpoint.rollout.to_version} is not ready: {percent(weight_bp)} would go to the one that was rejected",
                hint="roll back first",
            )
        number = self._whole(weight_bp)
        if number == standing.percent:
            raise Refused(f"{endpoint.ref.name} is at {percent(weight_bp)} already", hint="give another weight")
        weights = ((endpoint.rollout.to_version, weight_bp),) if standing.settled or not weight_bp else ()
        expects = self._weighs(weights, number)
        undo = f"weight {standing.percent}%" if standing.percent is not None else "roll it back"
        effect = Effect(self._now(), f"{endpoint.rollout.to_version} {percent(weight_bp)}", undo, expects)
        return (self._patch((*self._all_as_read(), add(PERCENT, number)), effect),)

    # --- going back

    def abort(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._heard()
        self._canary()
        standing = self._standing
        if standing.percent == 0:
            raise Refused(f"{endpoint.rollout.to_version} gets nothing already", hint="roll it back to be rid of it")
        return (self._nothing_for_canary(endpoint.rollout.from_version, endpoint.rollout.to_version),)

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        self._heard()
        standing, wanted = self._standing, artifact.version
        stable = standing.version(standing.rolled_out)
        if standing.in_flight:
            if wanted != stable:
                raise Refused(
                    f"{endpoint.ref.name} is under way from {SafeText(stable)} to {endpoint.rollout.to_version}",
                    hint=f"roll back to {SafeText(stable)} first",
                )
            return self._to_stable(standing.rolled_out, standing.created)
        if wanted == stable:
            raise Refused(f"{endpoint.ref.name} runs {SafeText(wanted)}, alone", hint="name another version")
        if standing.percent is None and self._returns_to(wanted):
            return self._to_stable(standing.before, standing.created)
        return self._to_older(artifact)

    def _returns_to(self, wanted: str) -> bool:
        """Whether percent 0 goes back to this version: to a Revision that is gone KServe goes as well, and stays on the bad one."""
        standing = self._standing
        before = standing.before
        return before in standing.revisions and before != standing.rolled_out and standing.version(before) == wanted

    def _to_stable(self, good: str, bad: str) -> tuple[Write, ...]:
        """Traffic, then the model, then, once that is ready, the percent away."""
        standing, place = self._standing, self._place()
        wanted, rejected = standing.version(good), standing.version(bad)
        if not standing.named:
            rejected = standing.wanted
        uri = uri_of(standing.revisions.get(good, {}))
        if not uri:
            raise Refused(
                f"nothing says from where {SafeText(wanted)} was fetched", hint="abort takes the traffic back"
            )
        if not standing.alike(good, bad):
            raise Refused(
                f"{SafeText(rejected)} differs from {SafeText(wanted)} in more than its model",
                hint="abort takes the traffic back; put the template back where it is deployed from",
            )
        # The newest is the good model again where this way back was begun before and cut short: that one stays.
        restarted = uri_of(standing.revisions.get(bad, {})) == uri
        found: list[Write] = []
        pinned = (test("/metadata/uid", self._endpoint.uid), test(_ROLLED_OUT, good), test(PERCENT, 0))
        nothing = () if wanted == rejected else ((SafeText(rejected), 0),)
        if standing.percent != 0:
            found.append(self._nothing_for_canary(wanted, rejected))
        after_first = self._expect(stable_version=SafeText(wanted), version_weights=nothing)
        if uri != place.uri:
            restored = (*pinned, test(place.pointer, place.uri), *self._other_source(place, uri, wanted))
            effect = Effect(
                f"{SafeText(rejected)} gets nothing, and is still in the spec",
                f"{SafeText(wanted)} is in the spec and starts beside the one that serves",
                "",
                self._expect(version_weights=nothing, labels=((READY, SafeText(wanted)),)),
                SETTLE_S,
            )
            found.append(
                self._patch(restored, effect, assumes=after_first if found else None, follows=bool(found))
            )  # fmt: skip
        cleared = (*pinned, test(place.pointer, uri), remove(PERCENT))
        effect = Effect(
            f"{SafeText(wanted)} serves, pinned",
            f"{SafeText(wanted)} alone, nothing pinned",
            f"promote {SafeText(rejected)} again",
            self._alone(wanted, absent=() if restarted or bad in {good, ""} else (bad,)),
            SETTLE_S,
        )
        ready = self._expect(labels=((READY, SafeText(wanted)),))
        if not found and not standing.settled:
            raise Refused(f"{SafeText(wanted)} is not ready yet", hint="wait until it is: then the pin can go")
        return (*found, self._patch(cleared, effect, assumes=ready if found else None, follows=bool(found)))

    def _to_older(self, artifact: Artifact) -> tuple[Write, ...]:
        """As a canary without traffic, which then gets everything: percent 0 alone goes back one version and no further."""
        self._followed()
        standing, place, endpoint = self._standing, self._place(), self._endpoint
        wanted, rejected = SafeText(artifact.version), endpoint.rollout.to_version
        uri = uri_for(standing.item, artifact, standing.sources)
        ops = (*self._all_as_read(), *self._other_source(place, uri, artifact.version), add(PERCENT, 0))
        ready = self._expect(labels=((READY, wanted),))
        started = watched(ready, endpoint)
        first = Effect(
            self._now(), f"{wanted} starts without traffic", f"promote {rejected} again", started, SETTLE_S
        )  # fmt: skip
        second = Effect(f"{wanted} is ready", f"{wanted} alone", "", self._alone(artifact.version), SETTLE_S)
        cleared = (
            test("/metadata/uid", endpoint.uid),
            test(place.pointer, uri),
            test(PERCENT, 0),
            remove(PERCENT),
        )
        return (self._patch(ops, first), self._patch(cleared, second, assumes=ready, follows=True))

    # --- its pods

    def restart(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._at_rest("a restart")
        moment = self._moment()
        expects = self._expect(phases=(Phase.COMPLETE,), labels=(("restarted", SafeText(moment)),))
        effect = Effect(self._now(), "a new revision of the same model takes over", "", expects, SETTLE_S)
        return (self._patch((*self._all_as_read(), *self._restart_ops(moment)), effect),)

    def scale(self, endpoint: Endpoint, replicas: int) -> tuple[Write, ...]:
        self._at_rest("another number of replicas")
        ops = self._scale_ops(replicas)
        before = count(self._item, "spec", "predictor", "minReplicas")
        expects = self._expect(
            phases=(Phase.COMPLETE, Phase.PROGRESSING), labels=(("least replicas", SafeText(replicas)),)
        )
        effect = Effect(
            f"at least {before} replicas",
            f"at least {replicas} replicas, in a new revision",
            f"scale to {before}",
            expects,
            SETTLE_S,
        )
        return (self._patch((*self._all_as_read(), *ops), effect),)

    # --- beneath

    def _followed(self) -> None:
        self._heard()
        if not self._standing.followed:
            raise Refused(
                f"KServe has not done yet what {self._endpoint.ref.name} says", hint="wait a moment; is KServe running?"
            )

    def _place(self) -> Place:
        place = self._standing.place
        if place is None:
            raise Refused(
                f"{self._endpoint.ref.name} names its model in no storage URI",
                hint="change its container's image where it is deployed from",
            )
        return place

    def _in_flight(self, otherwise: str) -> None:
        if not self._standing.in_flight:
            raise Refused(f"{self._endpoint.ref.name}: {otherwise}", hint="promote a version first")

    def _canary(self) -> None:
        """A Revision beside the stable one. Without it any percent below 100 is the rollback gesture."""
        standing = self._standing
        if not standing.rolled_out or standing.created == standing.rolled_out:
            raise Refused(
                f"{self._endpoint.ref.name} has no canary: it would go back to the version before",
                hint="promote a version first",
            )

    def _at_rest(self, what: str) -> None:
        self._followed()
        standing = self._standing
        if standing.in_flight or standing.percent not in {None, 100}:
            raise Refused(
                f"{what} is a new revision: it would be its canary now",
                hint="finish the release first",
            )

    def _all_as_read(self) -> tuple[Op, ...]:
        place = self._standing.place
        paths = (place.pointer,) if place else ()
        return self._guard(_ROLLED_OUT, _CREATED, _READY, PERCENT, *paths)

    def _nothing_for_canary(self, wanted: str, rejected: str) -> Write:
        standing = self._standing
        guard = self._guard(_ROLLED_OUT, _CREATED, PERCENT)
        if not standing.in_flight:
            guard = (*guard, *self._guard(_READY, _BEFORE)[1:])
        nothing = () if wanted == rejected else ((SafeText(rejected), 0),)
        effect = Effect(
            self._now(),
            f"{SafeText(wanted)} gets everything, {SafeText(rejected)} nothing",
            f"weight {standing.percent}%" if standing.percent is not None else f"promote {SafeText(rejected)} again",
            self._weighs(nothing, 0, stable=SafeText(wanted)),
        )
        op = add(PERCENT, 0) if standing.percent is None else put(PERCENT, 0)
        return self._patch((*guard, op), effect)

    def _weighs(
        self, weights: tuple[tuple[str, int], ...], number: int, *, stable: str | None = None
    ) -> EndpointExpectation:
        """Weights by version, once KServe has taken up the percent: while a model starts, they may be so beforehand."""
        kept = () if stable is None else ((stable, ALL_TRAFFIC_BP),)
        return self._expect(
            version_weights=tuple(sorted({*weights, *kept})),
            stable_version=stable,
            labels=((LATEST_GETS, SafeText(f"{number}%")),),
        )

    def _alone(self, version: str, *, absent: tuple[str, ...] = ()) -> EndpointExpectation:
        alone = self._expect(
            stable_version=SafeText(version),
            version_weights=((SafeText(version), ALL_TRAFFIC_BP),),
            absent=absent,
            phases=(Phase.COMPLETE,),
            labels=((READY, SafeText(version)),),
        )
        return watched(alone, self._endpoint)

    def _whole(self, weight_bp: int) -> int:
        if weight_bp % 100:
            raise Refused(
                f"{self._endpoint.ref.name} can't get {percent(weight_bp)}: KServe knows whole percents",
                hint=f"{weight_bp // 100}% or {weight_bp // 100 + 1}%",
            )
        if not 0 <= weight_bp <= ALL_TRAFFIC_BP:
            # KServe admits 101 and fails afterwards.
            raise Refused(f"{percent(weight_bp)} is no share of traffic", hint="give 0% to 100%")
        return weight_bp // 100

    def _return_target(self) -> Artifact:
        standing = self._standing
        if standing.in_flight:
            return Artifact(standing.version(standing.rolled_out))
        stable = standing.version(standing.rolled_out)
        if standing.before in standing.revisions and standing.version(standing.before) != stable:
            return Artifact(standing.version(standing.before))
        others = {
            standing.version(name): text(one, "metadata", "creationTimestamp")
            for name, one in standing.revisions.items()
            if standing.version(name) != stable
        }
        # To a version that has no Revision any more one can return too, by its name.
        return Artifact(max(others, key=lambda version: others[version])) if others else _UNHEARD_OF
