"""What writes to objects are made of that have no pause: who holds one is a note on it, which this tool keeps to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import notes, uid
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, Patch, same_hold, test, watched, written
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.domain.expectation import EndpointExpectation, expectation_of, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Hold
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

FIRST_BP: Final = 1000
"""Without noted steps a canary begins at 10 %."""


class Writing:
    """Makes writes for one endpoint from the object of one read."""

    pauseless = "it has no pause"

    def __init__(self, resource: Resource, item: Object, endpoint: Endpoint, frame: Frame) -> None:
        self._resource = resource
        self._item = item
        self._endpoint = endpoint
        self._frame = frame

    def hold(self, endpoint: Endpoint, hold: Hold) -> tuple[Write, ...]:
        """Advisory: our own verbs keep to it."""
        del hold
        if endpoint.rollout.hold is not None:
            raise Refused(f"{endpoint.ref.name} is held already", hint="continue lets it go on")
        after = f"this tool moves no weight up; {self.pauseless}"
        effect = Effect("not held", after, "continue it", self._expect(held=True))
        return (self._patch((self._same(), same_hold(self._item)), effect, hold=True),)

    def resume(self, endpoint: Endpoint) -> tuple[Write, ...]:
        if notes(self._item).get(marks.HOLD) is None:
            raise Refused(f"{endpoint.ref.name} is not held", hint="promote goes on")
        ops = (self._same(), same_hold(self._item))
        return (self._patch(ops, Effect("held", "may go on", "hold it", self._expect(held=False)), hold=False),)

    # --- beneath

    def _same(self) -> Op:
        return test("/metadata/uid", uid(self._item))

    def _patch(
        self,
        ops: tuple[Op, ...],
        effect: Effect,
        *,
        hold: bool | None = None,
        notes: Mapping[str, str] | None = None,
        assumes: EndpointExpectation | None = None,
        follows: bool = False,
    ) -> Write:
        patch = Patch(self._resource, self._item, ops, hold=hold, notes=notes or {}, follows=follows, spec_only=True)
        looked = assumes or expectation_of(self._endpoint)
        seen = effect if hold is not None else replace(effect, expects=watched(effect.expects, self._endpoint))
        return written(self._frame.connection, self._frame.context, patch, seen, looked)

    def _expect(self, **more: object) -> EndpointExpectation:
        """This very object, and `more` of it."""
        return EndpointExpectation(self._endpoint.ref, uid=self._endpoint.uid, **more)  # type: ignore[arg-type]

    def _noted(self, version: str) -> Mapping[str, str]:
        """The note that this version was the stable one."""
        return {marks.HISTORY: marks.history_text([version, *marks.history_of(self._item)])}


def named(shares: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Shares as an expectation has them."""
    return tuple(sorted((str(SafeText(one)), share) for one, share in shares.items()))


def alone(names: Mapping[str, object], one: str) -> Mapping[str, int]:
    """Everything for one of them."""
    return {name: ALL_TRAFFIC_BP if name == one else 0 for name in names}


def told(shares: Mapping[str, int], versions: Mapping[str, str]) -> str:
    """Shares in words: "1 90% + 2 10%"."""
    shown = [f"{SafeText(versions[one])} {percent(share)}" for one, share in shares.items() if share]
    return " + ".join(shown) or "nobody gets anything"
