"""What an operator wants, in the imperative. An intent names a target and a wish; it knows nothing of any backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlrelease_tui.domain.refs import EndpointRef, ModelRef, TargetRef
from mlrelease_tui.domain.rollout import Verb


@dataclass(frozen=True, slots=True)
class EndpointIntent:
    """Base of the intents that move an endpoint."""

    verb: ClassVar[Verb]
    endpoint: EndpointRef

    @property
    def target(self) -> TargetRef:
        return self.endpoint


@dataclass(frozen=True, slots=True)
class PromoteVersion(EndpointIntent):
    """Start a canary of `version` at `weight_bp`; with no version take the rollout's next step; `full` takes all the rest.

    `weight_bp` None means the first step of the endpoint's own steps.
    """

    verb = Verb.PROMOTE
    version: str = ""
    weight_bp: int | None = None
    full: bool = False


@dataclass(frozen=True, slots=True)
class SetWeight(EndpointIntent):
    """Give the canary `weight_bp` (0–10,000) and the stable variant the rest."""

    verb = Verb.WEIGHT
    weight_bp: int = 0


@dataclass(frozen=True, slots=True)
class HoldRollout(EndpointIntent):
    verb = Verb.HOLD


@dataclass(frozen=True, slots=True)
class ContinueRollout(EndpointIntent):
    verb = Verb.CONTINUE


@dataclass(frozen=True, slots=True)
class AbortRollout(EndpointIntent):
    """Traffic back to stable now; the rest of the rollout stays as it is."""

    verb = Verb.ABORT


@dataclass(frozen=True, slots=True)
class RollBack(EndpointIntent):
    """Complete return to `version`, or with none to the last known good one: traffic, variant, alias."""

    verb = Verb.ROLLBACK
    version: str = ""


@dataclass(frozen=True, slots=True)
class RetryRollout(EndpointIntent):
    verb = Verb.RETRY


@dataclass(frozen=True, slots=True)
class RestartEndpoint(EndpointIntent):
    verb = Verb.RESTART


@dataclass(frozen=True, slots=True)
class ScaleEndpoint(EndpointIntent):
    verb = Verb.SCALE
    replicas: int = 0


@dataclass(frozen=True, slots=True)
class SwitchVersions(EndpointIntent):
    verb = Verb.SWITCH


@dataclass(frozen=True, slots=True)
class ShadowVersion(EndpointIntent):
    """Mirror `weight_bp` of the requests to `version`, whose answers nobody sees."""

    verb = Verb.SHADOW
    version: str = ""
    weight_bp: int = 0


@dataclass(frozen=True, slots=True)
class MoveAlias:
    """Point the registry's `alias` at `version`, alone: nothing that serves is touched."""

    verb: ClassVar[Verb] = Verb.ALIAS
    model: ModelRef
    alias: str
    version: str

    @property
    def target(self) -> TargetRef:
        return self.model


Intent = (
    PromoteVersion
    | SetWeight
    | HoldRollout
    | ContinueRollout
    | AbortRollout
    | RollBack
    | RetryRollout
    | RestartEndpoint
    | ScaleEndpoint
    | SwitchVersions
    | ShadowVersion
    | MoveAlias
)
