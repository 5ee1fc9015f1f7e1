"""The fleet as judged, kept between looks: only what may be judged otherwise now is judged again.

What it gives equals `select.fleet` for the same state and moment, which judges every endpoint anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.models import Model
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.store import select
from mlrelease_tui.store.order import BREATH, Order, Rank, differing
from mlrelease_tui.store.state import Freshness, Series, State, copied

_NOTHING: Final = State()
_NO_SERIES: Final[Mapping[str, Series]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Judged:
    """The endpoints of `state` as they were judged at `at`.

    A status whose endpoint was only seen again holds the object of then: `State.seen` says when it was really seen.
    """

    state: State
    at: datetime
    statuses: Mapping[EndpointRef, EndpointStatus] = field(default_factory=lambda: MappingProxyType({}))
    worst_first: tuple[EndpointStatus, ...] = ()
    counts: Mapping[Severity, int] = field(default_factory=lambda: MappingProxyType({}))


class FleetJudge:
    """`step` goes on judging; `judged` is the last judgement that is whole. Whoever asks, there is one pass at a time."""

    def __init__(self) -> None:
        self.judged: Judged | None = None
        self._pass: Iterator[None] = iter(())
        self._under_way = False
        self._order: Order[EndpointRef, EndpointStatus] = Order(_worst, lambda status: status.ref.id)
        self._models: Mapping[ModelRef, Model] = MappingProxyType({})
        self._ages_at: dict[EndpointRef, datetime] = {}
        self._soonest: datetime | None = None

    def step(self, state: State, now: datetime) -> Judged | None:
        """Judge some endpoints more. The judgement of `state` at `now` once that is whole, None until then.

        A pass that is under way for another state is ended first, so that there is something newer however fast states come.
        """
        if not self._under_way:
            if self.judged is not None and self.judged.state is state and self.judged.at == now:
                return self.judged
            self._pass = self._judge(state, now)
            self._under_way = True
        try:
            next(self._pass)
        except StopIteration:
            self._under_way = False
        return None

    def at_once(self, state: State, now: datetime) -> Judged:
        """The same without a pause."""
        while (found := self.step(state, now)) is None:
            continue
        return found

    def _judge(self, state: State, now: datetime) -> Iterator[None]:
        before = self.judged or Judged(_NOTHING, now)
        touched, gone = yield from self._touched(before, state, now)
        fresh: dict[EndpointRef, EndpointStatus] = {}
        for count, ref in enumerate(touched, start=1):
            fresh[ref] = select.judged(state, state.endpoints[ref], now)
            if not count % BREATH:
                yield
        statuses, counts = before.statuses, before.counts
        if fresh or gone:
            statuses, counts = yield from self._taken_in(before, state, now, fresh, gone)
            yield from self._order.place(statuses)
        self._models = state.models
        self.judged = Judged(state, now, statuses, self._order.values, counts)

    def _touched(
        self, before: Judged, state: State, now: datetime
    ) -> Generator[None, None, tuple[Iterable[EndpointRef], list[EndpointRef]]]:
        """Endpoints that may be judged otherwise now, and those that are gone."""
        changed, gone = differing(before.state.endpoints, state.endpoints)
        touched = dict.fromkeys(changed)
        for count, ref in enumerate(self._moved(before, state, now), start=1):
            if ref in state.endpoints:
                touched[ref] = None
            if not count % (BREATH * 4):
                yield
        models = yield from self._other_models(state)
        if models:
            for count, (ref, endpoint) in enumerate(state.endpoints.items(), start=1):
                binding = state.bindings.get(ref)
                if (endpoint.model or (binding.model if binding else None)) in models:
                    touched[ref] = None
                if not count % (BREATH * 4):
                    yield
        return touched, gone

    def _taken_in(
        self,
        before: Judged,
        state: State,
        now: datetime,
        fresh: Mapping[EndpointRef, EndpointStatus],
        gone: Iterable[EndpointRef],
    ) -> Generator[None, None, tuple[Mapping[EndpointRef, EndpointStatus], Mapping[Severity, int]]]:
        """All statuses and their counts with these taken in."""
        kept, counts = copied(before.statuses), Counter(before.counts)
        for ref in gone:
            counts[kept.pop(ref).severity] -= 1
            self._ages_at.pop(ref, None)
        for count, (ref, status) in enumerate(fresh.items(), start=1):
            if ref in kept:
                counts[kept[ref].severity] -= 1
            counts[status.severity] += 1
            kept[ref] = status
            self._note_age(state, ref, now)
            if not count % (BREATH * 4):
                yield
        self._soonest = min(self._ages_at.values(), default=None)
        return MappingProxyType(kept), MappingProxyType(+counts)

    def _moved(self, before: Judged, state: State, now: datetime) -> Iterator[EndpointRef]:
        """Endpoints of which something else than themselves and their model is another now."""
        for old, new in (
            (before.state.verdicts, state.verdicts),
            (before.state.bindings, state.bindings),
            (before.state.series, state.series),
        ):
            changed, gone = differing(old, new)
            yield from changed
            yield from gone
        if now < before.at:
            # The clock went back: readings that were too old may be young again.
            yield from state.series
        elif self._soonest is not None and now > self._soonest:
            yield from [ref for ref, at in self._ages_at.items() if now > at]
        names = before.state.freshness.keys() | state.freshness.keys() | before.state.from_cache | state.from_cache
        other = {name for name in names if _standing(before.state, name) != _standing(state, name)}
        if other:
            yield from [ref for ref in state.endpoints if ref.connection in other]

    def _other_models(self, state: State) -> Generator[None, None, set[ModelRef]]:
        """Models that say something else than when they were last looked at."""
        if state.models is self._models:
            return set()
        changed, gone = differing(self._models, state.models)
        found = set(gone)
        for count, ref in enumerate(changed, start=1):
            if self._models.get(ref) != state.models[ref]:
                found.add(ref)
            if not count % BREATH:
                yield
        return found

    def _note_age(self, state: State, ref: EndpointRef, now: datetime) -> None:
        """From when on a reading that counts now is too old, for what it shows or for what was judged by it."""
        ends = [
            readings[-1].at + age
            for readings in state.series.get(ref, _NO_SERIES).values()
            if readings
            for age in (select.METRICS_MAX_AGE, select.VERDICT_MAX_AGE)
        ]
        left = [end for end in ends if now <= end]
        if left:
            self._ages_at[ref] = min(left)
        else:
            self._ages_at.pop(ref, None)


def _worst(status: EndpointStatus) -> Rank:
    ref = status.ref
    # The texts themselves: comparing references would take ten times as long.
    return (status.severity.rank, ref.connection, ref.namespace, ref.name)


def _standing(state: State, connection: str) -> tuple[bool, datetime | None, bool]:
    """All of a connection's freshness that its endpoints are judged by."""
    freshness = state.freshness.get(connection, Freshness()).of("endpoints")
    failing = freshness.failing_since is not None
    return (failing, freshness.read_at if failing else None, connection in state.from_cache)
