"""What a connector offers: the one file that an author reads.

A connector is any object with `name`, `kind`, `probe` and `close`; what else it can do is told by the small protocols below,
asked with `isinstance`. A package offers one by an entry point in the group `mlrelease_tui.connectors` that names a
`ConnectorFactory`. Nothing here sends a write by itself: drivers *plan* writes (pure, synchronous, no input or output), the core
confirms, records and then calls `perform` once for each.

Rules that the conformance kit checks:

- every call is async, ends within its deadline (`Settings.timeout_s`, seconds) and raises only errors of `errors.py`;
- every text from outside is `SafeText`; a name that goes back to the backend goes as `raw(text)`;
- `perform` sends at most one request that changes what the write names, never retries it, and checks the write's
  precondition as late as the backend allows; a lost answer is `OutcomeUnknown`, never a guess. Where the stamp has no room in
  that request (a status subresource, an alias) it may go in one of its own, whose failure does not fail the write;
- no secret in any repr, error or value. A write's payload goes into the audit: it names what is to change and what must
  hold, never a whole object of the backend (templates and services hold environments); `perform` reads that anew.

A driver plans from the endpoint as read. What it needs beyond the fields of `Endpoint` (a ReplicaSet's name, the exact value
of a pause condition) its connector remembers from that read, by `revision`, and hands to the driver that `driver` returns.

How a connector comes to be (`Settings`, `ConnectorFactory` and what they hold) is in `factory.py`; import the names from here.
"""

# ruff: noqa: PLC0414 - a name imported as itself is one that this module gives on

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from mlrelease_tui.connectors.factory import GROUP as GROUP
from mlrelease_tui.connectors.factory import ConnectorFactory as ConnectorFactory
from mlrelease_tui.connectors.factory import Credential as Credential
from mlrelease_tui.connectors.factory import CredentialSource as CredentialSource
from mlrelease_tui.connectors.factory import Option as Option
from mlrelease_tui.connectors.factory import Revealable as Revealable
from mlrelease_tui.connectors.factory import Settings as Settings
from mlrelease_tui.connectors.factory import no_credential as no_credential
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.details import Details
from mlrelease_tui.domain.logs import LogTail, LogWish
from mlrelease_tui.domain.metrics import VariantSample
from mlrelease_tui.domain.models import Lineage, Model, ModelVersion, VersionPage
from mlrelease_tui.domain.plan import Check, Write
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.rollout import Endpoint, Hold, Stamp
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import CredentialError, Forbidden, ReleaseError, Unauthenticated

# --- every connector --------------------------------------------------------------------------------------------------


@runtime_checkable
class Connector(Protocol):
    """The least that a connector is."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...

    async def probe(self) -> ConnectionHealth:
        """Ask the backend who it is and who we are. Never raises for a backend that is down: that is an answer."""
        ...

    async def close(self) -> None: ...


# --- registries -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelPage:
    """One page of models by name; `next_token` is "" on the last page."""

    models: tuple[Model, ...]
    next_token: str = ""


@runtime_checkable
class VersionSource(Protocol):
    """A registry that can be read."""

    async def models(self, *, query: str = "", limit: int = 200, page_token: str = "") -> ModelPage:
        """Models whose name holds `query`, with their aliases."""
        ...

    async def model(self, ref: ModelRef) -> Model:
        """One model with its aliases and alias stamps, read now. NotFound where the registry has none."""
        ...

    async def versions(self, ref: ModelRef, *, limit: int = 200, page_token: str = "") -> VersionPage:
        """A page of versions, newest first, aliases filled in."""
        ...

    async def version(self, ref: VersionRef) -> ModelVersion:
        """One version. NotFound where the registry has none."""
        ...

    def artifact(self, ref: VersionRef) -> str:
        """The URI by which a model server loads this version (`models:/name/7`, `registry/name@sha256:…`). Pure."""
        ...


@runtime_checkable
class LineageSource(Protocol):
    """A registry that knows where a version comes from."""

    async def lineage(self, version: ModelVersion) -> Lineage: ...


@runtime_checkable
class AliasMovable(Protocol):
    """A registry whose aliases can be moved."""

    def move_alias(self, model: Model, alias: str, version: str) -> tuple[Write, ...]:
        """The writes that point `alias` of `model`, as read, at `version`. Pure; Refused where it can't be."""
        ...


# --- targets ----------------------------------------------------------------------------------------------------------


@runtime_checkable
class EndpointSource(Protocol):
    """A target that serves endpoints."""

    async def endpoints(self) -> tuple[Endpoint, ...]: ...

    async def endpoint(self, ref: EndpointRef) -> Endpoint:
        """One endpoint, read now. NotFound where the target has none."""
        ...

    def driver(self, endpoint: Endpoint) -> object:
        """What drives this endpoint, asked with `isinstance` for the verbs below. The connector itself, where all
        endpoints are of one kind."""
        ...


@runtime_checkable
class EndpointWatch(Protocol):
    """A target that tells of changes, so that nobody polls it."""

    def changed(self) -> AsyncIterator[EndpointRef | None]:
        """Yields the endpoint that may have changed, None for "anything may have". Hints: read again after each."""
        ...


@runtime_checkable
class Dated(Protocol):
    """A target that keeps its endpoints between reads, each the same object while it is as it was."""

    def seen_at(self) -> datetime | None:
        """When all that `endpoints` gave last was known to be what the backend has: the `observed_at` of the endpoints themselves
        may be older. None where nobody knows."""
        ...


@runtime_checkable
class LogSource(Protocol):
    """A target that keeps what the processes of a variant print."""

    async def logs(self, endpoint: Endpoint, wish: LogWish) -> tuple[LogTail, ...]:
        """The end of each output of `wish.variant`: one for a process, one for each container of each pod or task.

        At most `wish.lines` lines and about `wish.bytes` bytes in all, read from the end: what lies before costs nothing, however
        much it is. A line is cut before it becomes text (`domain.logs.line_of`). What was never printed, or is kept no more, is a
        tail without lines and with a `note`. NotFound where the endpoint has no such variant.
        """
        ...


@runtime_checkable
class LogFollowable(Protocol):
    """A target that tells what a variant prints as it prints it."""

    def follow(self, endpoint: Endpoint, wish: LogWish) -> AsyncIterator[tuple[LogTail, ...]]:
        """What `logs` gives, then the same again a few times a second at most, whenever more was printed; within the wish's limits
        each time. Goes on until it is closed. Of the run now only: `wish.previous` is False. Errors as `logs`."""
        ...


@runtime_checkable
class DetailSource(Protocol):
    """A target that knows more of an endpoint than its variants."""

    async def details(self, endpoint: Endpoint) -> Details:
        """Its replicas, what happened to them and what bears on it, read now. What may not be seen is left out, with a note."""
        ...


@dataclass(frozen=True, slots=True)
class Artifact:
    """A version to deploy: what the registry calls it, where a server loads it from, what it is byte for byte."""

    version: str
    uri: str = ""
    digest: str = ""


@runtime_checkable
class Promotable(Protocol):
    """Can move an endpoint toward another version. All methods are pure and raise Refused with what to do."""

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        """Begin a rollout of `artifact` at `weight_bp` basis points, None for the endpoint's own first step."""
        ...

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        """Take the rollout's next step."""
        ...

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        """Give the version under way all traffic and make it the stable one."""
        ...


@runtime_checkable
class Weighable(Protocol):
    def set_weight(self, endpoint: Endpoint, weight_bp: int) -> tuple[Write, ...]:
        """Give the canary `weight_bp` basis points and stable the rest."""
        ...


@runtime_checkable
class Holdable(Protocol):
    def hold(self, endpoint: Endpoint, hold: Hold) -> tuple[Write, ...]: ...

    def resume(self, endpoint: Endpoint) -> tuple[Write, ...]: ...


@runtime_checkable
class Abortable(Protocol):
    def abort(self, endpoint: Endpoint) -> tuple[Write, ...]:
        """Traffic back to stable, now; nothing else."""
        ...


@runtime_checkable
class Returnable(Protocol):
    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        """The fewest writes that return to `artifact` whole and leave a healthy end state: traffic first."""
        ...


@runtime_checkable
class Finishable(Protocol):
    """A way back may take several writes, and be cut short when the version to return to runs alone already."""

    def finish_return(self, endpoint: Endpoint) -> tuple[Write, ...]:
        """What a way back that was cut short left to do; () for nothing. Asked of an endpoint that runs that version alone."""
        ...


@runtime_checkable
class Retryable(Protocol):
    def retry(self, endpoint: Endpoint) -> tuple[Write, ...]: ...


@runtime_checkable
class Restartable(Protocol):
    def restart(self, endpoint: Endpoint) -> tuple[Write, ...]: ...


@runtime_checkable
class Scalable(Protocol):
    def scale(self, endpoint: Endpoint, replicas: int) -> tuple[Write, ...]: ...


@runtime_checkable
class Switchable(Protocol):
    def switch(self, endpoint: Endpoint) -> tuple[Write, ...]:
        """The blue-green cut-over."""
        ...


@runtime_checkable
class Shadowable(Protocol):
    def shadow(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int) -> tuple[Write, ...]:
        """Mirror `weight_bp` basis points of the requests to `artifact`; 0 ends the shadow."""
        ...


# --- writing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the backend answered to a write that it accepted. Acceptance is not success: the core verifies by reading.

    `altered` says what the backend wrote instead of what it was asked to, as its answer shows.
    """

    detail: SafeText = field(default_factory=SafeText)
    revision: str = ""
    altered: tuple[str, ...] = ()


@runtime_checkable
class Rehearsable(Protocol):
    """A connector that can ask its backend whether a write would be let through, without sending it."""

    async def rehearse(self, write: Write) -> tuple[Check, ...]:
        """Permission ("may"), the server's dry run ("dry run") and whatever else the backend says beforehand; nothing changes.

        A check that the backend can't make is UNKNOWN, one that says no is FAIL. Raises only for a backend that is down.
        """
        ...


@runtime_checkable
class Performer(Protocol):
    """A connector that can carry out the writes which its drivers planned."""

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        """Send the write once, leaving `stamp` (who, why, which intent) in the backend where it has room for it.

        Conflict: the precondition does not hold, nothing was written. Rejected: the backend said no, nothing was written.
        OutcomeUnknown: sent, and no one can say. Other errors of the tree: raised before anything was sent.
        """
        ...


# --- metrics ----------------------------------------------------------------------------------------------------------


@runtime_checkable
class MetricSource(Protocol):
    """A source of cumulative counts by variant."""

    async def samples(self, endpoints: Sequence[Endpoint]) -> tuple[VariantSample, ...]:
        """One reading for every variant of `endpoints` that this source knows how to find.

        A target that can't be scraped gives samples with coverage NO_TARGET, one without series NO_SERIES; neither gives zeros.
        """
        ...


CAPABILITIES: Mapping[str, type] = MappingProxyType(
    {
        "versions": VersionSource,
        "lineage": LineageSource,
        "alias": AliasMovable,
        "endpoints": EndpointSource,
        "watch": EndpointWatch,
        "logs": LogSource,
        "follow": LogFollowable,
        "details": DetailSource,
        "promote": Promotable,
        "weight": Weighable,
        "hold": Holdable,
        "abort": Abortable,
        "rollback": Returnable,
        "retry": Retryable,
        "restart": Restartable,
        "scale": Scalable,
        "switch": Switchable,
        "shadow": Shadowable,
        "rehearse": Rehearsable,
        "write": Performer,
        "metrics": MetricSource,
    }
)
"""The word for each capability, as screens and `connections list` show it."""


def link_state(error: ReleaseError | None) -> LinkState:
    """What a look at a backend that ended so says of the connection; None where it went well."""
    if isinstance(error, Unauthenticated | Forbidden | CredentialError):
        return LinkState.AUTH
    return LinkState.OK if error is None else LinkState.DOWN


def capabilities(connector: object) -> tuple[str, ...]:
    """The words for what this connector offers."""
    return tuple(word for word, protocol in CAPABILITIES.items() if isinstance(connector, protocol))
