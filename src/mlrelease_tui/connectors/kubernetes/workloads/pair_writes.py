"""What all writes to a canary pair are made of: what guards them, how many pods a weight is, how they are said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.objects import at, name, notes, uid
from mlrelease_tui.connectors.kubernetes.patching import Effect, Op, Patch, pointer, test, written
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.deployment_driver import SETTLE_S, Kinds
from mlrelease_tui.connectors.kubernetes.workloads.deployment_standing import Standing
from mlrelease_tui.connectors.kubernetes.workloads.pair_standing import Pair, nearest, pods_for
from mlrelease_tui.domain.expectation import EndpointExpectation, expectation_of, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Writing:
    """Makes writes for one pair from the objects of one read. `scalers` name what else sets the replicas of either."""

    def __init__(
        self,
        services: Resource,
        kinds: Kinds,
        pair: Pair,
        endpoint: Endpoint,
        frame: Frame,
        scalers: tuple[str, ...] = (),
    ) -> None:
        self._services = services
        self._kinds = kinds
        self._pair = pair
        self._endpoint = endpoint
        self._frame = frame
        self._scalers = scalers

    # --- what must be so

    def _paused(self) -> str:
        return next((SafeText(name(one.item)) for one in (self._pair.stable, self._pair.canary) if one.paused), "")

    def _has_canary(self) -> None:
        if not self._pair.in_flight:
            raise Refused(f"{self._endpoint.ref.name} has no canary", hint="promote a version first")

    def _free(self, what: str) -> None:
        if self._scalers:
            raise Refused(
                f"can't {what}: {self._scalers[0]} sets how many pods there are",
                hint="a weight is a number of pods here",
            )

    def _guard(self, standing: Standing) -> tuple[Op, ...]:
        return (test("/metadata/uid", uid(standing.item)), test("/spec/paused", at(standing.item, "spec", "paused")))

    # --- numbers of pods

    def _number(self, weight_bp: int) -> int:
        """How many pods a weight is. Refused where no number of them makes it: it is never rounded behind anybody's back."""
        total = self._pair.whole
        number = pods_for(weight_bp, total)
        if number is None:
            low, high = nearest(weight_bp, total)
            raise Refused(
                f"{total} pods can't make {percent(weight_bp)}",
                hint=f"the nearest they can are {percent(low)} and {percent(high)}",
            )
        return number

    def _fewer_stable(self, endpoint: Endpoint, number: int, version: str, weight_bp: int) -> Write:
        weighs = EndpointExpectation(
            endpoint.ref, uid=endpoint.uid, version_weights=((version, weight_bp),), labels=counted("stable", number)
        )
        return self._scaled(self._pair.stable, number, weighs, later=True)

    def _scaled(
        self,
        standing: Standing,
        number: int,
        expects: EndpointExpectation,
        *,
        later: bool = False,
        kept: Mapping[str, str] = _NOTHING,
    ) -> Write:
        ops = [test("/metadata/uid", uid(standing.item)), test("/spec/replicas", standing.wanted)]
        if later and notes(standing.item):
            # Between the two halves of a move somebody else may have taken it back without another number here.
            ops.append(test(pointer("metadata", "annotations", marks.STAMP), notes(standing.item).get(marks.STAMP)))
        ops.append(put("/spec/replicas", number))
        called = name(standing.item)
        effect = Effect(
            f"{called}: {standing.wanted} pods",
            f"{called}: {number} pods",
            f"scale {called} to {standing.wanted}",
            expects,
            SETTLE_S,
        )
        assumes = EndpointExpectation(self._endpoint.ref, uid=self._endpoint.uid) if later else None
        return self._patch(
            Patch(self._kinds.deployments, standing.item, tuple(ops), notes=kept), effect, assumes=assumes
        )

    # --- the write itself

    def _now(self) -> str:
        shown = [f"{item.version} {percent(item.weight_bp)}" for item in self._endpoint.variants]
        return " + ".join(shown) or "no pods"

    def _patch(self, patch: Patch, effect: Effect, *, assumes: EndpointExpectation | None = None) -> Write:
        looked = assumes or replace(expectation_of(self._endpoint), present=())
        return written(self._frame.connection, self._frame.context, patch, effect, looked)


def counted(side: str, number: int) -> tuple[tuple[str, str], ...]:
    """What an endpoint shows of a side that was given so many pods."""
    return ((f"{side} replicas", str(number)),)
