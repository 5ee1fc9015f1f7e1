"""What happened. The poller and the executor emit facts; nothing else changes the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mlrelease_tui.domain.action import ActionProgress, AuditEntry, OpenAction
from mlrelease_tui.domain.connection import ConnectionHealth
from mlrelease_tui.domain.details import Details
from mlrelease_tui.domain.logs import VariantLog
from mlrelease_tui.domain.metrics import VariantSample
from mlrelease_tui.domain.models import Lineage, Model, ModelVersion
from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.status import Binding
from mlrelease_tui.domain.verdict import Verdict


@dataclass(frozen=True, slots=True)
class ConnectionObserved:
    health: ConnectionHealth


@dataclass(frozen=True, slots=True)
class EndpointsObserved:
    """All endpoints of a connection, read at `at`: what is missing is gone.

    `since`: none of them was seen before that, whatever its own `observed_at` says (it may be the object of an earlier reading, in
    which nothing changed). None: their own times say it.
    """

    connection: str
    endpoints: tuple[Endpoint, ...]
    at: datetime
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class EndpointObserved:
    """One endpoint, read again (after a change, or to verify)."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class ModelsObserved:
    """All models of a registry (or those that endpoints are bound to, `complete` False)."""

    connection: str
    models: tuple[Model, ...]
    at: datetime
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ModelObserved:
    model: Model


@dataclass(frozen=True, slots=True)
class VersionsObserved:
    """A page of a model's versions, appended to what is known unless `first`; `next_token` "" when that was the last."""

    model: ModelRef
    versions: tuple[ModelVersion, ...]
    next_token: str
    first: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class LineageObserved:
    version: VersionRef
    lineage: Lineage


@dataclass(frozen=True, slots=True)
class LogObserved:
    """The end of a variant's log, or why it can't be read."""

    log: VariantLog


@dataclass(frozen=True, slots=True)
class LogsClosed:
    """Nobody looks at the logs of this endpoint any more."""

    endpoint: EndpointRef


@dataclass(frozen=True, slots=True)
class DetailsObserved:
    """What is beneath an endpoint, or why that can't be read."""

    details: Details


@dataclass(frozen=True, slots=True)
class DetailsClosed:
    """Nobody looks at the details of this endpoint any more."""

    endpoint: EndpointRef


@dataclass(frozen=True, slots=True)
class SamplesObserved:
    """One reading of a metrics source. May be dropped under load; the next one says more."""

    connection: str
    samples: tuple[VariantSample, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class VerdictReached:
    endpoint: EndpointRef
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class VerdictsReached:
    """What one reading of metrics made the judge say of many endpoints."""

    verdicts: Mapping[EndpointRef, Verdict]


@dataclass(frozen=True, slots=True)
class ReadFailed:
    """A read of a connection failed: its rows keep their values and their age."""

    connection: str
    what: str
    code: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ActionProgressed:
    """Never dropped."""

    action: ActionProgress


@dataclass(frozen=True, slots=True)
class AuditObserved:
    """The newest audit entries, oldest first. Never dropped."""

    entries: tuple[AuditEntry, ...]


@dataclass(frozen=True, slots=True)
class OpenActionsObserved:
    """Intents without an outcome, found at start or on demand."""

    actions: tuple[OpenAction, ...]


@dataclass(frozen=True, slots=True)
class AccessChanged:
    access: Access


@dataclass(frozen=True, slots=True)
class BindingsConfigured:
    bindings: tuple[Binding, ...]


Fact = (
    ConnectionObserved
    | EndpointsObserved
    | EndpointObserved
    | ModelsObserved
    | ModelObserved
    | VersionsObserved
    | LineageObserved
    | LogObserved
    | LogsClosed
    | DetailsObserved
    | DetailsClosed
    | SamplesObserved
    | VerdictReached
    | VerdictsReached
    | ReadFailed
    | ActionProgressed
    | AuditObserved
    | OpenActionsObserved
    | AccessChanged
    | BindingsConfigured
)
