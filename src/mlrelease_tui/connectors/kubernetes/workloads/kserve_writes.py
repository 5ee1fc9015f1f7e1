"""What all writes to an InferenceService are made of.

Who and why go into its status: KServe copies every annotation of the object itself into the pod template, so that a stamp there
would make a new revision, which is a new canary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import at, notes, uid
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, Patch, add, pointer, same_hold, test, written
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.kserve_source import Place
from mlrelease_tui.connectors.kubernetes.workloads.kserve_standing import AUTO_UPDATE, RESTARTED, STOP
from mlrelease_tui.domain.expectation import EndpointExpectation, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Endpoint, Hold
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

SETTLE_S: Final = 600.0
"""A model may have to be fetched and loaded first: Knative's own deadline, in seconds."""
NEWEST: Final = "newest"
READY: Final = "newest ready"
LATEST_GETS: Final = "latest gets"
_STOPPED_MODES: Final = ("true",)


class Writing:
    """Makes writes for one InferenceService from the object of one read."""

    def __init__(self, resource: Resource, item: Object, endpoint: Endpoint, frame: Frame) -> None:
        self._resource = resource
        self._item = item
        self._endpoint = endpoint
        self._frame = frame

    def hold(self, endpoint: Endpoint, hold: Hold) -> tuple[Write, ...]:
        """Advisory: KServe has no pause. Our own verbs keep to it."""
        del hold
        if endpoint.rollout.hold is not None:
            raise Refused(f"{endpoint.ref.name} is held already", hint="continue lets it go on")
        return (self._mark(True, Effect(self._now(), "held, for whoever asks: KServe has no pause", "continue it",
                                        self._expect(held=True))),)  # fmt: skip

    def resume(self, endpoint: Endpoint) -> tuple[Write, ...]:
        if endpoint.rollout.hold is None:
            raise Refused(f"{endpoint.ref.name} is not held", hint="promote goes on")
        return (self._mark(False, Effect("held", "may go on", "hold it", self._expect(held=False))),)

    # --- what must be so

    def _heard(self) -> None:
        """KServe takes writes that it then ignores."""
        if str(notes(self._item).get(AUTO_UPDATE)).lower() == "true":
            raise Refused(
                f"{AUTO_UPDATE.partition('/')[2]} is set: KServe would ignore this silently",
                hint=f"take the annotation {AUTO_UPDATE} away first",
            )
        if str(notes(self._item).get(STOP)).lower() in _STOPPED_MODES:
            raise Refused(f"{self._endpoint.ref.name} is stopped: nothing of it runs", hint=f"take {STOP} away first")

    # --- what is sent

    def _patch(
        self, ops: tuple[Op, ...], effect: Effect, *, assumes: EndpointExpectation | None = None, follows: bool = False
    ) -> Write:
        patch = Patch(self._resource, self._item, ops, marked_at="status", follows=follows)
        return written(
            self._frame.connection, self._frame.context, patch, effect, assumes or self._expect()
        )  # fmt: skip

    def _mark(self, hold: bool, effect: Effect) -> Write:
        ops = [test("/metadata/uid", uid(self._item))]
        if at(self._item, "status"):
            # Whoever holds it first has it; a hold is taken away by whoever saw it.
            ops.append(same_hold(self._item, "status"))
        patch = Patch(self._resource, self._item, tuple(ops), subresource="status", hold=hold, marked_at="status")
        return written(self._frame.connection, self._frame.context, patch, effect, self._expect())

    def _guard(self, *paths: str) -> tuple[Op, ...]:
        """Tests that these are as they were read. What is absent must be absent: such a test holds for null."""
        return (
            test("/metadata/uid", uid(self._item)),
            *(test(path, at(self._item, *path.split("/")[1:])) for path in paths),
        )

    def _other_source(self, place: Place, uri: str, version: str) -> tuple[Op, ...]:
        """Another model in its place. A version that is said by annotation goes along: KServe copies it to the new revision."""
        found: list[Op] = [put(place.pointer, uri)]
        if marks.VERSION in notes(self._item):
            found.append(add(pointer("metadata", "annotations", marks.VERSION), version))
        return tuple(found)

    def _restart_ops(self, moment: str) -> tuple[Op, ...]:
        there = at(self._item, "spec", "predictor", "annotations")
        key = pointer("spec", "predictor", "annotations", RESTARTED)
        if not isinstance(there, Mapping):
            return (test("/spec/predictor/annotations", None), add("/spec/predictor/annotations", {RESTARTED: moment}))
        return (test(key, there.get(RESTARTED)), add(key, moment))

    def _scale_ops(self, replicas: int) -> tuple[Op, ...]:
        predictor = "/spec/predictor"
        most = at(self._item, "spec", "predictor", "maxReplicas")
        if isinstance(most, int) and most and replicas > most:
            raise Refused(
                f"{self._endpoint.ref.name} has at most {most} replicas", hint="raise maxReplicas where it is deployed"
            )
        now = at(self._item, "spec", "predictor", "minReplicas")
        if now == replicas:
            raise Refused(
                f"{self._endpoint.ref.name} has at least {replicas} replicas already", hint="give another number"
            )
        return (
            test(f"{predictor}/minReplicas", now),
            test(f"{predictor}/maxReplicas", most),
            add(f"{predictor}/minReplicas", replicas),
        )

    def _expect(self, **more: object) -> EndpointExpectation:
        """This very object, and `more` of it."""
        return EndpointExpectation(self._endpoint.ref, uid=self._endpoint.uid, **more)  # type: ignore[arg-type]

    def _moment(self) -> str:
        return self._frame.now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _now(self) -> str:
        shown = [f"{one.version} {percent(one.weight_bp)}" for one in self._endpoint.variants if one.weight_bp]
        return " + ".join(shown) or str(SafeText(self._endpoint.rollout.from_version))
