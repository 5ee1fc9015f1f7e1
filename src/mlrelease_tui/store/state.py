"""The whole of what is known, immutable, and the one function that makes the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.action import ActionProgress, AuditEntry, OpenAction
from mlrelease_tui.domain.connection import ConnectionHealth
from mlrelease_tui.domain.metrics import VariantSample
from mlrelease_tui.domain.models import Lineage, Model, ModelVersion
from mlrelease_tui.domain.policy import READ_ONLY, Access
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.status import Binding
from mlrelease_tui.domain.verdict import Verdict

SERIES_LENGTH: Final = 180
"""Readings kept for each variant: fifteen minutes at one each five seconds."""
AUDIT_TAIL: Final = 500
"""Audit entries kept in memory; the log itself has them all."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """When a connection was last read whole, and since when reading it fails (None while it works)."""

    read_at: datetime | None = None
    failing_since: datetime | None = None
    error_code: str = ""
    error: str = ""


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

    `freshness` by connection name. `series` by endpoint, then variant name. `from_cache` holds the connections whose rows
    still come from the last run.
    """

    connections: Mapping[str, ConnectionHealth] = field(default_factory=lambda: MappingProxyType({}))
    freshness: Mapping[str, Freshness] = field(default_factory=lambda: MappingProxyType({}))
    endpoints: Mapping[EndpointRef, Endpoint] = field(default_factory=lambda: MappingProxyType({}))
    models: Mapping[ModelRef, Model] = field(default_factory=lambda: MappingProxyType({}))
    versions: Mapping[ModelRef, VersionList] = field(default_factory=lambda: MappingProxyType({}))
    lineage: Mapping[VersionRef, Lineage] = field(default_factory=lambda: MappingProxyType({}))
    series: Mapping[EndpointRef, Mapping[str, Series]] = field(default_factory=lambda: MappingProxyType({}))
    verdicts: Mapping[EndpointRef, Verdict] = field(default_factory=lambda: MappingProxyType({}))
    bindings: Mapping[EndpointRef, Binding] = field(default_factory=lambda: MappingProxyType({}))
    actions: Mapping[str, ActionProgress] = field(default_factory=lambda: MappingProxyType({}))
    audit: tuple[AuditEntry, ...] = ()
    open_actions: tuple[OpenAction, ...] = ()
    access: Access = READ_ONLY
    from_cache: frozenset[str] = frozenset()
