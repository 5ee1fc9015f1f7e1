"""The whole of what is known, immutable, and the one function that makes the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final, TypeVar

from mlrelease_tui.domain.action import ActionProgress, AuditEntry, OpenAction
from mlrelease_tui.domain.connection import ConnectionHealth
from mlrelease_tui.domain.logs import VariantLog
from mlrelease_tui.domain.metrics import VariantSample
from mlrelease_tui.domain.models import Lineage, Model, ModelVersion
from mlrelease_tui.domain.policy import READ_ONLY, Access
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.status import Binding
from mlrelease_tui.domain.verdict import Verdict
from mlrelease_tui.store.facts import (
    AccessChanged,
    ActionProgressed,
    AuditObserved,
    BindingsConfigured,
    ConnectionObserved,
    EndpointObserved,
    EndpointsObserved,
    Fact,
    LineageObserved,
    LogObserved,
    LogsClosed,
    ModelObserved,
    ModelsObserved,
    OpenActionsObserved,
    ReadFailed,
    SamplesObserved,
    VerdictReached,
    VersionsObserved,
)

SERIES_LENGTH: Final = 180
"""Readings kept for each variant: fifteen minutes at one each five seconds."""
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
    of one endpoint at a time and only while somebody looks at them. `from_cache` holds the connections whose rows
    still come from the last run.
    """

    connections: Mapping[str, ConnectionHealth] = field(default_factory=lambda: MappingProxyType({}))
    freshness: Mapping[str, Freshness] = field(default_factory=lambda: MappingProxyType({}))
    endpoints: Mapping[EndpointRef, Endpoint] = field(default_factory=lambda: MappingProxyType({}))
    models: Mapping[ModelRef, Model] = field(default_factory=lambda: MappingProxyType({}))
    versions: Mapping[ModelRef, VersionList] = field(default_factory=lambda: MappingProxyType({}))
    lineage: Mapping[VersionRef, Lineage] = field(default_factory=lambda: MappingProxyType({}))
    series: Mapping[EndpointRef, Mapping[str, Series]] = field(default_factory=lambda: MappingProxyType({}))
    logs: Mapping[tuple[str, bool], VariantLog] = field(default_factory=lambda: MappingProxyType({}))
    verdicts: Mapping[EndpointRef, Verdict] = field(default_factory=lambda: MappingProxyType({}))
    bindings: Mapping[EndpointRef, Binding] = field(default_factory=lambda: MappingProxyType({}))
    actions: Mapping[str, ActionProgress] = field(default_factory=lambda: MappingProxyType({}))
    audit: tuple[AuditEntry, ...] = ()
    open_actions: tuple[OpenAction, ...] = ()
    access: Access = READ_ONLY
    from_cache: frozenset[str] = frozenset()


def reduce(state: State, fact: Fact) -> State:  # noqa: PLR0911, PLR0912 - one branch a fact
    """The state after `fact`. Returns `state` itself where nothing changed, so that nobody is notified for nothing."""
    match fact:
        case ConnectionObserved(health):
            if state.connections.get(health.name) == health:
                return state
            return replace(state, connections=_with(state.connections, health.name, health))
        case EndpointsObserved(connection, endpoints, at):
            return _endpoints_observed(state, connection, endpoints, at)
        case EndpointObserved(endpoint):
            if state.endpoints.get(endpoint.ref) == endpoint:
                return state
            return replace(state, endpoints=_with(state.endpoints, endpoint.ref, endpoint))
        case ModelsObserved(connection, models, at, complete):
            kept = {
                ref: model for ref, model in state.models.items() if not (complete and ref.connection == connection)
            }
            kept.update((model.ref, model) for model in models)
            return _read(replace(state, models=MappingProxyType(kept)), connection, "models", at)
        case ModelObserved(model):
            if state.models.get(model.ref) == model:
                return state
            return replace(state, models=_with(state.models, model.ref, model))
        case VersionsObserved(model_ref, versions, next_token, first, at):
            known = () if first or model_ref not in state.versions else state.versions[model_ref].versions
            seen = {version.ref for version in known}
            merged = known + tuple(version for version in versions if version.ref not in seen)
            listed = VersionList(merged, next_token, at)
            if state.versions.get(model_ref) == listed:
                return state
            after = replace(state, versions=_with(state.versions, model_ref, listed))
            return _read(after, model_ref.connection, "versions", at)
        case LineageObserved(version_ref, lineage):
            if state.lineage.get(version_ref) == lineage:
                return state
            return replace(state, lineage=_with(state.lineage, version_ref, lineage))
        case LogObserved(log):
            of_it = {key: item for key, item in state.logs.items() if item.wish.endpoint == log.wish.endpoint}
            return replace(state, logs=_with(of_it, (log.wish.variant, log.wish.previous), log))
        case LogsClosed(closed):
            left = {key: item for key, item in state.logs.items() if item.wish.endpoint != closed}
            return state if len(left) == len(state.logs) else replace(state, logs=MappingProxyType(left))
        case SamplesObserved(connection, samples, at):
            return _read(_samples_observed(state, samples), connection, "metrics", at)
        case VerdictReached(endpoint_ref, verdict):
            if state.verdicts.get(endpoint_ref) == verdict:
                return state
            return replace(state, verdicts=_with(state.verdicts, endpoint_ref, verdict))
        case ReadFailed(connection, what, code, message, at):
            before = state.freshness.get(connection, Freshness()).of(what)
            failing = Freshness(before.read_at, before.failing_since or at, code, message)
            return _freshened(state, connection, what, failing)
        case ActionProgressed(action):
            if state.actions.get(action.intent_id) == action:
                return state
            return replace(state, actions=_with(state.actions, action.intent_id, action))
        case AuditObserved(entries):
            seen_ids = {entry.id for entry in state.audit}
            fresh = tuple(entry for entry in entries if entry.id not in seen_ids)
            return replace(state, audit=(state.audit + fresh)[-AUDIT_TAIL:]) if fresh else state
        case OpenActionsObserved(actions):
            return state if state.open_actions == actions else replace(state, open_actions=actions)
        case AccessChanged(access):
            return state if state.access == access else replace(state, access=access)
        case BindingsConfigured(bindings):
            by_endpoint = {binding.endpoint: binding for binding in bindings}
            return state if state.bindings == by_endpoint else replace(state, bindings=MappingProxyType(by_endpoint))


K = TypeVar("K")
V = TypeVar("V")


def _with(mapping: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    return MappingProxyType({**mapping, key: value})


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


def _endpoints_observed(state: State, connection: str, endpoints: tuple[Endpoint, ...], at: datetime) -> State:
    found = {endpoint.ref: endpoint for endpoint in endpoints}
    kept = {ref: item for ref, item in state.endpoints.items() if ref.connection != connection} | found

    def present(ref: EndpointRef) -> bool:
        return ref.connection != connection or ref in found

    return _read(
        replace(
            state,
            endpoints=MappingProxyType(kept),
            series=MappingProxyType({ref: item for ref, item in state.series.items() if present(ref)}),
            verdicts=MappingProxyType({ref: item for ref, item in state.verdicts.items() if present(ref)}),
        ),
        connection,
        "endpoints",
        at,
    )


def _samples_observed(state: State, samples: tuple[VariantSample, ...]) -> State:
    series = dict(state.series)
    for sample in samples:
        by_variant = dict(series.get(sample.endpoint, {}))
        known = by_variant.get(sample.variant, ())
        # A reading that comes twice or late would look like a counter that went back.
        if known and sample.monotonic_s <= known[-1].monotonic_s:
            continue
        by_variant[sample.variant] = (*known, sample)[-SERIES_LENGTH:]
        series[sample.endpoint] = MappingProxyType(by_variant)
    return replace(state, series=MappingProxyType(series))
