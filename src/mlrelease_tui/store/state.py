"""The whole of what is known, immutable, and the one function that makes the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from mlrelease_tui.domain.connection import ConnectionHealth
from mlrelease_tui.domain.metrics import VariantSample
from mlrelease_tui.domain.models import Lineage, Model, ModelVersion
from mlrelease_tui.domain.policy import READ_ONLY, Access
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.status import Binding

if TYPE_CHECKING:
    from mlrelease_tui.domain.action import ActionProgress, AuditEntry, OpenAction
    from mlrelease_tui.domain.details import Details
    from mlrelease_tui.domain.logs import VariantLog
    from mlrelease_tui.domain.verdict import Verdict
    from mlrelease_tui.store.facts import EndpointsObserved, Fact

SERIES_LENGTH: Final = 180
"""Readings kept for each variant: fifteen minutes at one each five seconds."""
SAME_READING: Final = timedelta(seconds=1)
"""Endpoints of one listing were seen this close together: it counts as one moment, its earliest."""
AUDIT_TAIL: Final = 500
"""Audit entries kept in memory; the log itself has them all."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """When a connection was last read, and since when reading it fails (None while it works).

    `parts` says the same of each kind of read by itself ("endpoints", "models", "metrics", "versions"): that the models of a
    connection can be read does not make its endpoints fresh.
    """

    read_at: datetime | None = None
    failing_since: datetime | None = None
    error_code: str = ""
    error: str = ""
    parts: Mapping[str, Freshness] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, what: str) -> Freshness:
        """The freshness of one kind of read; of the whole where it is not known by parts."""
        return self.parts.get(what, Freshness()) if self.parts else self


@dataclass(frozen=True, slots=True)
class VersionList:
    """The versions of a model as far as they were paged; `next_token` "" when all are known."""

    versions: tuple[ModelVersion, ...]
    next_token: str
    at: datetime


Series = tuple[VariantSample, ...]
"""Readings of one variant, oldest first, at most SERIES_LENGTH."""


@dataclass(frozen=True, slots=True)
class State:
    """What is known now. Mappings are read-only; every change is a new state.

    `freshness` by connection name. `series` by endpoint, then variant name. `logs` by variant name and whether of the run before,
    of one endpoint at a time and only while somebody looks at them; `details` likewise. `from_cache` holds the connections whose
    rows still come from the last run.

    An endpoint in which nothing changed stays the same object, with the `observed_at` of then; `observed` says by connection since
    when at the earliest all its endpoints were seen again, and `seen` gives an endpoint with its true time. `split_at` says when an
    endpoint was first seen with the weights that it has, where they changed: requests counted before tell nothing of these.
    """

    connections: Mapping[str, ConnectionHealth] = field(default_factory=lambda: MappingProxyType({}))
    freshness: Mapping[str, Freshness] = field(default_factory=lambda: MappingProxyType({}))
    endpoints: Mapping[EndpointRef, Endpoint] = field(default_factory=lambda: MappingProxyType({}))
    models: Mapping[ModelRef, Model] = field(default_factory=lambda: MappingProxyType({}))
    versions: Mapping[ModelRef, VersionList] = field(default_factory=lambda: MappingProxyType({}))
    lineage: Mapping[VersionRef, Lineage] = field(default_factory=lambda: MappingProxyType({}))
    series: Mapping[EndpointRef, Mapping[str, Series]] = field(default_factory=lambda: MappingProxyType({}))
    split_at: Mapping[EndpointRef, datetime] = field(default_factory=lambda: MappingProxyType({}))
    logs: Mapping[tuple[str, bool], VariantLog] = field(default_factory=lambda: MappingProxyType({}))
    details: Mapping[EndpointRef, Details] = field(default_factory=lambda: MappingProxyType({}))
    verdicts: Mapping[EndpointRef, Verdict] = field(default_factory=lambda: MappingProxyType({}))
    bindings: Mapping[EndpointRef, Binding] = field(default_factory=lambda: MappingProxyType({}))
    actions: Mapping[str, ActionProgress] = field(default_factory=lambda: MappingProxyType({}))
    audit: tuple[AuditEntry, ...] = ()
    open_actions: tuple[OpenAction, ...] = ()
    access: Access = READ_ONLY
    from_cache: frozenset[str] = frozenset()
    observed: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))

    def seen(self, ref: EndpointRef) -> Endpoint | None:
        """The endpoint with the time at which it was really last seen; None where it is not known."""
        endpoint = self.endpoints.get(ref)
        again = self.observed.get(ref.connection)
        if endpoint is None or again is None or again <= endpoint.observed_at:
            return endpoint
        return replace(endpoint, observed_at=again)


def reduce(state: State, fact: Fact) -> State:  # noqa: PLR0911, PLR0912 - one branch a fact
    """The state after `fact`. Returns `state` itself where nothing changed, so that nobody is notified for nothing."""
    # Here, because the last known state is drawn before there is any fact.
    from mlrelease_tui.store import facts

    match fact:
        case facts.ConnectionObserved(health):
            if state.connections.get(health.name) == health:
                return state
            return replace(state, connections=_with(state.connections, health.name, health))
        case facts.EndpointsObserved():
            return _without_old_verdicts(state, _endpoints_observed(state, fact))
        case facts.EndpointObserved(endpoint):
            before = state.endpoints.get(endpoint.ref)
            if before == endpoint and before.observed_at == endpoint.observed_at:
                return state
            after = replace(state, endpoints=_with(state.endpoints, endpoint.ref, endpoint))
            return _without_old_verdicts(state, _split(after, [(before, endpoint)]))
        case facts.ModelsObserved(connection, models, at, complete):
            kept = {
                ref: model for ref, model in state.models.items() if not (complete and ref.connection == connection)
            }
            kept.update((model.ref, model) for model in models)
            return _read(replace(state, models=MappingProxyType(kept)), connection, "models", at)
        case facts.ModelObserved(model):
            known_model = state.models.get(model.ref)
            if known_model == model and known_model.observed_at == model.observed_at:
                return state
            return replace(state, models=_with(state.models, model.ref, model))
        case facts.VersionsObserved(model_ref, versions, next_token, first, at):
            known = () if first or model_ref not in state.versions else state.versions[model_ref].versions
            seen = {version.ref for version in known}
            merged = known + tuple(version for version in versions if version.ref not in seen)
            listed = VersionList(merged, next_token, at)
            if state.versions.get(model_ref) == listed:
                return state
            after = replace(state, versions=_with(state.versions, model_ref, listed))
            return _read(after, model_ref.connection, "versions", at)
        case facts.LineageObserved(version_ref, lineage):
            if state.lineage.get(version_ref) == lineage:
                return state
            return replace(state, lineage=_with(state.lineage, version_ref, lineage))
        case facts.LogObserved(log):
            of_it = {key: item for key, item in state.logs.items() if item.wish.endpoint == log.wish.endpoint}
            return replace(state, logs=_with(of_it, (log.wish.variant, log.wish.previous), log))
        case facts.LogsClosed(closed):
            left = {key: item for key, item in state.logs.items() if item.wish.endpoint != closed}
            return state if len(left) == len(state.logs) else replace(state, logs=MappingProxyType(left))
        case facts.DetailsObserved(details):
            return replace(state, details=MappingProxyType({details.endpoint: details}))
        case facts.DetailsClosed(closed):
            return state if closed not in state.details else replace(state, details=MappingProxyType({}))
        case facts.SamplesObserved(connection, samples, at):
            return _read(_samples_observed(state, samples), connection, "metrics", at)
        case facts.VerdictReached(endpoint_ref, verdict):
            if state.verdicts.get(endpoint_ref) == verdict or _is_gone(state, endpoint_ref):
                return state
            return replace(state, verdicts=_with(state.verdicts, endpoint_ref, verdict))
        case facts.VerdictsReached(verdicts):
            new = {
                ref: verdict
                for ref, verdict in verdicts.items()
                if state.verdicts.get(ref) != verdict and not _is_gone(state, ref)
            }
            return replace(state, verdicts=MappingProxyType(copied(state.verdicts) | new)) if new else state
        case facts.ReadFailed(connection, what, code, message, at):
            read = state.freshness.get(connection, Freshness()).of(what)
            failing = Freshness(read.read_at, read.failing_since or at, code, message)
            return _freshened(state, connection, what, failing)
        case facts.ActionProgressed(action):
            if state.actions.get(action.intent_id) == action:
                return state
            return replace(state, actions=_with(state.actions, action.intent_id, action))
        case facts.AuditObserved(entries):
            seen_ids = {entry.id for entry in state.audit}
            fresh = tuple(entry for entry in entries if entry.id not in seen_ids)
            return replace(state, audit=(state.audit + fresh)[-AUDIT_TAIL:]) if fresh else state
        case facts.OpenActionsObserved(actions):
            return state if state.open_actions == actions else replace(state, open_actions=actions)
        case facts.AccessChanged(access):
            return state if state.access == access else replace(state, access=access)
        case facts.BindingsConfigured(bindings):
            by_endpoint = {binding.endpoint: binding for binding in bindings}
            return state if state.bindings == by_endpoint else replace(state, bindings=MappingProxyType(by_endpoint))


K = TypeVar("K")
V = TypeVar("V")


def _with(mapping: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    after = copied(mapping)
    after[key] = value
    return MappingProxyType(after)


def copied(mapping: Mapping[K, V]) -> dict[K, V]:
    """A copy that hashes no key again, which for ten thousand references would take longer than a frame."""
    return mapping.copy() if isinstance(mapping, MappingProxyType | dict) else dict(mapping)


def _read(state: State, connection: str, what: str, at: datetime) -> State:
    """One kind of read went well at `at`. Rows of the last run stay such until the endpoints themselves were read."""
    if connection in state.from_cache and (what == "endpoints" or not _serves(state, connection)):
        state = replace(state, from_cache=state.from_cache - {connection})
    return _freshened(state, connection, what, Freshness(read_at=at))


def _serves(state: State, connection: str) -> bool:
    return any(ref.connection == connection for ref in state.endpoints)


def _freshened(state: State, connection: str, what: str, part: Freshness) -> State:
    """With the freshness of one kind of read replaced, and the connection's as a whole drawn from all kinds."""
    before = state.freshness.get(connection, Freshness())
    parts = {**before.parts, what: part}
    failing = [(item.failing_since, name) for name, item in parts.items() if item.failing_since is not None]
    read = [item.read_at for item in (before, *parts.values()) if item.read_at is not None]
    worst = parts[min(failing)[1]] if failing else Freshness()
    whole = Freshness(
        max(read, default=None), worst.failing_since, worst.error_code, worst.error, MappingProxyType(parts)
    )
    return state if whole == before else replace(state, freshness=_with(state.freshness, connection, whole))


def unchanged(known: Endpoint, new: Endpoint, since: datetime) -> bool:
    """Whether `known` can stand for `new` in a reading that began at `since`."""
    return known is new or (new.observed_at - since <= SAME_READING and known == new)


def _endpoints_observed(state: State, fact: EndpointsObserved) -> State:
    connection = fact.connection
    since = fact.since or min((item.observed_at for item in fact.endpoints), default=fact.at)
    first = connection not in state.observed
    state = _with_endpoints(state, connection, fact.endpoints, since)
    if first:
        # Measured before it was known which endpoints there are.
        stray = {
            ref
            for ref in (*state.series, *state.verdicts)
            if ref.connection == connection and ref not in state.endpoints
        }
        state = replace(state, series=_without(state.series, stray), verdicts=_without(state.verdicts, stray))
    state = replace(state, observed=_with(state.observed, connection, since))
    return _read(state, connection, "endpoints", fact.at)


def _without_old_verdicts(before: State, after: State) -> State:
    """Without verdicts on canaries that are no longer under way: they say nothing of what runs now."""
    old = {ref for ref in after.verdicts if _moved_on(before.endpoints.get(ref), after.endpoints.get(ref))}
    return replace(after, verdicts=_without(after.verdicts, old)) if old else after


def _moved_on(before: Endpoint | None, now: Endpoint | None) -> bool:
    if before is None or now is None or before is now:
        return False
    there, here = before.rollout, now.rollout
    return not here.in_flight or (there.from_version, there.to_version) != (here.from_version, here.to_version)


def _with_endpoints(state: State, connection: str, endpoints: tuple[Endpoint, ...], since: datetime) -> State:
    mine = [item for item in state.endpoints.values() if item.ref.connection == connection]
    # What the last run wrote down is never taken for what is read now: a file may have lost what a backend said exactly.
    keeps = connection not in state.from_cache
    if len(mine) == len(endpoints) and all(
        old is new or old.ref == new.ref for old, new in zip(mine, endpoints, strict=True)
    ):
        changed = [
            (old, new)
            for old, new in zip(mine, endpoints, strict=True)
            if old is not new and not (keeps and unchanged(old, new, since))
        ]
        if not changed:
            return state
        after = copied(state.endpoints)
        for _, item in changed:
            after[item.ref] = item
        return _split(replace(state, endpoints=MappingProxyType(after)), changed)
    known = {item.ref: item for item in mine} if keeps else {}
    found = {new.ref: new for new in endpoints}
    for ref, old in known.items():
        if ref in found and unchanged(old, found[ref], since):
            found[ref] = old
    before = {item.ref: item for item in mine}
    gone = before.keys() - found.keys()
    others = {ref: item for ref, item in state.endpoints.items() if ref.connection != connection}
    listed = replace(
        state,
        endpoints=MappingProxyType(others | found),
        series=_without(state.series, gone),
        split_at=_without(state.split_at, gone),
        verdicts=_without(state.verdicts, gone),
    )
    return _split(listed, [(before.get(ref), new) for ref, new in found.items()])


def _split(state: State, changed: Sequence[tuple[Endpoint | None, Endpoint]]) -> State:
    """Note which of them came with other weights than before."""
    moved = {
        new.ref: new.observed_at
        for old, new in changed
        if old is not None and old is not new and _weights(old) != _weights(new)
    }
    return replace(state, split_at=MappingProxyType({**state.split_at, **moved})) if moved else state


def _weights(endpoint: Endpoint) -> Mapping[str, int | None]:
    return {variant.name: variant.weight_bp for variant in endpoint.variants}


def _without(mapping: Mapping[K, V], gone: Set[K]) -> Mapping[K, V]:
    left = copied(mapping)
    for key in gone:
        left.pop(key, None)
    return MappingProxyType(left) if len(left) != len(mapping) else mapping


def _is_gone(state: State, ref: EndpointRef) -> bool:
    """Whether its connection's endpoints were listed, and this was not among them: what is measured of it comes too late."""
    return ref.connection in state.observed and ref not in state.endpoints


def _samples_observed(state: State, samples: tuple[VariantSample, ...]) -> State:
    series = copied(state.series)
    for sample in samples:
        if _is_gone(state, sample.endpoint):
            continue
        by_variant = dict(series.get(sample.endpoint, {}))
        known = by_variant.get(sample.variant, ())
        # A reading that comes twice or late would look like a counter that went back.
        if known and sample.monotonic_s <= known[-1].monotonic_s:
            continue
        by_variant[sample.variant] = (*known, sample)[-SERIES_LENGTH:]
        series[sample.endpoint] = MappingProxyType(by_variant)
    return replace(state, series=MappingProxyType(series))
