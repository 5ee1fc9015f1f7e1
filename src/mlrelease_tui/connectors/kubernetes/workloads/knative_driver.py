"""Driving a Knative Service by its traffic list.

The whole list is replaced each time. Every entry that we write names its Revision: one that says `latestRevision` would move by
itself with the next template. So a release begins with the running Revision pinned, in the same patch as the new template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import at, uid
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, Patch, add, same_hold, test, written
from mlrelease_tui.connectors.kubernetes.pods import deploy_ops
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.knative_standing import Standing
from mlrelease_tui.domain.expectation import EndpointExpectation, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Hold, Phase, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

SETTLE_S: Final = 600.0
FIRST_BP: Final = 1000
"""Knative has no steps: a canary without a weight begins at 10 %."""
_TRAFFIC: Final = "/spec/traffic"
_CREATED: Final = "/status/latestCreatedRevisionName"
_UNHEARD_OF: Final = Artifact("0-unheard-of", "models:/unheard-of/0")
_LEAST: Final = "autoscaling.knative.dev/min-scale"


class KnativeDriver:
    """Plans the writes for one Knative Service from the objects of one read."""

    def __init__(self, resource: Resource, standing: Standing, endpoint: Endpoint, frame: Frame) -> None:
        self._resource = resource
        self._standing = standing
        self._endpoint = endpoint
        self._frame = frame

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]:
        endpoint, standing = self._endpoint, self._standing
        return {
            Verb.PROMOTE: (lambda: self.complete(endpoint))
            if standing.in_flight
            else (lambda: self.start(endpoint, _UNHEARD_OF, None)),
            Verb.WEIGHT: lambda: self.set_weight(endpoint, 4900),
            Verb.HOLD: lambda: self.hold(endpoint, Hold(SafeText("nobody"), SafeText())),
            Verb.CONTINUE: lambda: self.resume(endpoint),
            Verb.ABORT: lambda: self.abort(endpoint),
            Verb.ROLLBACK: lambda: self.roll_back(endpoint, Artifact(self._somewhere())),
        }

    def native(self) -> Mapping[Verb, str]:
        return {
            Verb.PROMOTE: "spec.traffic",
            Verb.WEIGHT: "spec.traffic",
            Verb.HOLD: "advisory: Knative has no pause",
            Verb.CONTINUE: "advisory: Knative has no pause",
            Verb.ABORT: "spec.traffic",
            Verb.ROLLBACK: "spec.traffic",
        }

    def never(self) -> Mapping[Verb, str]:
        return {
            Verb.RETRY: "a Revision that failed stays so: promote it anew",
            Verb.RESTART: "promote it anew: a Revision's pods come from its template",
            Verb.SCALE: f"replicas follow the requests; {_LEAST} belongs to each Revision",
            Verb.SWITCH: "traffic has weights: promote --full moves all of it",
            Verb.SHADOW: "Knative mirrors nothing",
        }

    # --- going on

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        """A new Revision without traffic, then its weight: a list can't name a Revision that is not there."""
        standing = self._standing
        self._looked_at()
        if standing.in_flight:
            raise Refused(
                f"{endpoint.ref.name} is between {endpoint.rollout.from_version} and {endpoint.rollout.to_version}",
                hint="finish that or roll it back first",
            )
        version, weight_bp = SafeText(artifact.version), FIRST_BP if weight_bp is None else weight_bp
        number = self._whole(weight_bp)
        template = deploy_ops(standing.item, artifact)
        remembered = {marks.HISTORY: marks.history_text([standing.version(standing.stable), *self._history()])}
        floating: list[dict[str, Any]] = [{"latestRevision": True, "percent": number, "tag": "canary"}]
        if weight_bp < ALL_TRAFFIC_BP:
            pinned = {"revisionName": standing.stable, "percent": 100 - number, "tag": "stable"}
            traffic = [pinned, *floating]
        else:
            traffic = [{"latestRevision": True, "percent": 100}]
        undo = f"roll back to {endpoint.rollout.from_version}"
        expects = (
            self._alone(version)
            if weight_bp == ALL_TRAFFIC_BP
            else self._expect(phases=(Phase.PROGRESSING, Phase.WAITING), labels=(("newest", version),))
        )
        after = f"{version} gets {percent(weight_bp)} once it is ready"
        ops = (*self._guard(), test(_CREATED, standing.created), *template, add(_TRAFFIC, traffic))
        settle_s = SETTLE_S if weight_bp == ALL_TRAFFIC_BP else 60.0
        return (self._patch(ops, Effect(self._now(), after, undo, expects, settle_s), notes=remembered),)

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        raise Refused(
            f"{endpoint.ref.name} has no steps: Knative keeps a weight until it gets another",
            hint="give a weight, or promote it --full",
        )

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        self._looked_at()
        revision = self._candidate()
        self._is_ready(revision)
        version = SafeText(self._standing.version(revision))
        undo = f"roll back to {endpoint.rollout.from_version}"
        effect = Effect(self._now(), f"{version} gets everything", undo, self._alone(version), SETTLE_S)
        return (self._traffic([{"revisionName": revision, "percent": 100, "tag": "stable"}], effect),)

    def set_weight(self, endpoint: Endpoint, weight_bp: int) -> tuple[Write, ...]:
        if weight_bp == ALL_TRAFFIC_BP:
            return self.complete(endpoint)
        revision, standing = self._candidate(), self._standing
        if weight_bp:
            self._is_ready(revision)
        if standing.weights.get(revision, 0) == weight_bp:
            raise Refused(f"{endpoint.ref.name} is at {percent(weight_bp)} already", hint="give another weight")
        version = SafeText(standing.version(revision))
        stable = SafeText(standing.version(standing.stable))
        expects = self._expect(version_weights=((version, weight_bp), (stable, ALL_TRAFFIC_BP - weight_bp)))
        undo = f"weight {percent(standing.weights.get(revision, 0))}"
        effect = Effect(self._now(), f"{version} {percent(weight_bp)}", undo, expects)
        return (self._traffic(self._split(revision, self._whole(weight_bp)), effect),)

    def hold(self, endpoint: Endpoint, hold: Hold) -> tuple[Write, ...]:
        """Advisory: Knative has no pause. Our own verbs keep to it."""
        del hold
        if endpoint.rollout.hold is not None:
            raise Refused(f"{endpoint.ref.name} is held already", hint="continue lets it go on")
        effect = Effect(
            self._now(), "held, for whoever asks: Knative has no pause", "continue it", self._expect(held=True)
        )
        return (self._patch((*self._guard(), same_hold(self._standing.item)), effect, hold=True),)

    def resume(self, endpoint: Endpoint) -> tuple[Write, ...]:
        if endpoint.rollout.hold is None:
            raise Refused(f"{endpoint.ref.name} is not held", hint="promote goes on")
        ops = (*self._guard(), same_hold(self._standing.item))
        return (self._patch(ops, Effect("held", "may go on", "hold it", self._expect(held=False)), hold=False),)

    # --- going back

    def abort(self, endpoint: Endpoint) -> tuple[Write, ...]:
        standing = self._standing
        revision = self._candidate()
        if not standing.weights.get(revision) and not standing.floating:
            raise Refused(f"{endpoint.rollout.to_version} gets nothing already", hint="roll it back to be rid of it")
        return (self._all_to(standing.stable, tag=True),)

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        """All traffic to the Revision of that version, by name. The template stays: nothing of it serves until somebody gives it
        traffic, and every Revision is kept."""
        standing = self._standing
        found = [key for key in standing.revisions if standing.version(key) == artifact.version]
        if not found:
            known = ", ".join(sorted(SafeText(standing.version(key)) for key in standing.revisions)) or "none"
            raise Refused(
                f"{endpoint.ref.name} has no Revision of version {SafeText(artifact.version)}",
                hint=f"there are: {known}",
            )
        revision = max(found, key=standing.number)
        if standing.weights.get(revision) == ALL_TRAFFIC_BP and not standing.in_flight:
            raise Refused(f"{endpoint.ref.name} runs {SafeText(artifact.version)}, alone", hint="name another version")
        self._is_ready(revision)
        return (self._all_to(revision),)

    # --- beneath

    def _looked_at(self) -> None:
        if not self._standing.observed:
            raise Refused(
                f"no controller has looked at the newest spec of {self._endpoint.ref.name}",
                hint="wait a moment; is Knative Serving running?",
            )

    def _candidate(self) -> str:
        revision = self._standing.candidate
        if not revision:
            raise Refused(f"{self._endpoint.ref.name}: nothing is under way", hint="promote a version first")
        return revision

    def _is_ready(self, revision: str) -> None:
        """Knative takes the name of a Revision that is not there, and says RevisionMissing afterwards."""
        conditions = at(self._standing.revisions.get(revision, {}), "status", "conditions") or []
        if not any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions):
            raise Refused(f"the Revision {SafeText(revision)} is not ready", hint="wait until it is")

    def _all_to(self, revision: str, *, tag: bool = False) -> Write:
        standing, endpoint = self._standing, self._endpoint
        version = SafeText(standing.version(revision))
        others = tuple(
            (SafeText(standing.version(key)), 0)
            for key, weight in standing.weights.items()
            if weight and key != revision
        )
        expects = self._expect(
            stable_version=version, version_weights=((version, ALL_TRAFFIC_BP), *sorted(set(others)))
        )
        undo = f"promote {endpoint.rollout.to_version} again"
        effect = Effect(self._now(), f"{version} gets everything", undo, expects)
        traffic: list[dict[str, Any]] = [{"revisionName": revision, "percent": 100, "tag": "stable"}]
        if tag and standing.candidate:
            traffic.append({"revisionName": standing.candidate, "percent": 0, "tag": "canary"})
        return self._traffic(traffic, effect)

    def _split(self, revision: str, number: int) -> list[dict[str, Any]]:
        return [
            {"revisionName": self._standing.stable, "percent": 100 - number, "tag": "stable"},
            {"revisionName": revision, "percent": number, "tag": "canary"},
        ]

    def _traffic(self, traffic: list[dict[str, Any]], effect: Effect) -> Write:
        return self._patch((*self._guard(), add(_TRAFFIC, traffic)), effect)

    def _guard(self) -> tuple[Op, ...]:
        item = self._standing.item
        return (test("/metadata/uid", uid(item)), test(_TRAFFIC, at(item, "spec", "traffic")))

    def _patch(
        self, ops: tuple[Op, ...], effect: Effect, *, hold: bool | None = None, notes: Mapping[str, str] | None = None
    ) -> Write:
        patch = Patch(self._resource, self._standing.item, ops, hold=hold, notes=notes or {})
        return written(self._frame.connection, self._frame.context, patch, effect, self._expect())

    def _expect(self, **more: object) -> EndpointExpectation:
        return EndpointExpectation(self._endpoint.ref, uid=self._endpoint.uid, **more)  # type: ignore[arg-type]

    def _alone(self, version: str) -> EndpointExpectation:
        return self._expect(
            stable_version=version, version_weights=((version, ALL_TRAFFIC_BP),), phases=(Phase.COMPLETE,)
        )

    def _whole(self, weight_bp: int) -> int:
        if weight_bp % 100 or not 0 <= weight_bp <= ALL_TRAFFIC_BP:
            raise Refused(
                f"{self._endpoint.ref.name} can't get {percent(weight_bp)}: Knative knows whole percents",
                hint="give 0% to 100%",
            )
        return weight_bp // 100

    def _history(self) -> tuple[str, ...]:
        return marks.history_of(self._standing.item)

    def _now(self) -> str:
        shown = [f"{one.version} {percent(one.weight_bp)}" for one in self._endpoint.variants if one.weight_bp]
        return " + ".join(shown) or str(SafeText(self._endpoint.rollout.from_version))

    def _somewhere(self) -> str:
        standing = self._standing
        if standing.in_flight:
            return standing.version(standing.stable)
        stable = standing.version(standing.stable)
        known = {standing.version(key): standing.number(key) for key in standing.revisions}
        known.pop(stable, None)
        past = next((version for version in self._history() if version in known), "")
        if not past and not known:
            raise Refused(f"{self._endpoint.ref.name} has no Revision of another version", hint="promote one")
        return past or max(known, key=lambda version: known[version])
