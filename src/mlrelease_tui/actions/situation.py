"""What was read for one plan. The planner decides from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mlrelease_tui.domain.action import ActionProgress, AuditEntry, OpenAction
from mlrelease_tui.domain.intents import EndpointIntent, PromoteVersion, RollBack, ShadowVersion
from mlrelease_tui.domain.models import Model, ModelVersion
from mlrelease_tui.domain.plan import Level
from mlrelease_tui.domain.policy import PLAN_LIFETIME, READ_ONLY, Access
from mlrelease_tui.domain.rollout import Endpoint, Verb
from mlrelease_tui.domain.status import EndpointStatus, known_good_of

_COURSE: Final = frozenset({"intent", "sent", "step", "outcome", "reconciled"})
_ENDED: Final = frozenset({"applied", "superseded"})


@dataclass(frozen=True, slots=True)
class Situation:
    """Fresh reads, and who drives what.

    `driver` is asked for verbs with `isinstance`; `registry` likewise, None where the endpoint has no registry or it could not
    be read (`registry_problem` then says why). `version` is the registry's record of the version that the intent would
    make users get, None where it is not known. `environment` is where an alias alone would be felt. `floor` is the
    least level that configuration asks for; `access` says which connections are never written to. `unfinished` is the version
    that the latest action here, a rollback, wanted and did not get to, "" where it was none.
    """

    now: datetime
    operator: str
    endpoint: Endpoint | None = None
    driver: object = None
    status: EndpointStatus | None = None
    registry: object = None
    registry_problem: str = ""
    model: Model | None = None
    version: ModelVersion | None = None
    alias: str = ""
    environment: str = ""
    production: bool = False
    floor: Level = Level.READ
    access: Access = READ_ONLY
    in_flight: ActionProgress | None = None
    open_actions: tuple[OpenAction, ...] = ()
    lifetime: timedelta = PLAN_LIFETIME
    unfinished: str = ""


def unfinished_rollback(audit: Iterable[AuditEntry], target: str) -> str:
    """The version that the latest action on `target` wanted, by the audit (oldest first), where it is a rollback that did not
    get to its end; else ""."""
    entries = [entry for entry in audit if entry.target == target and entry.kind in _COURSE]
    latest = entries[-1] if entries else None
    if latest is None or latest.verb != Verb.ROLLBACK or latest.result in _ENDED:
        return ""
    model = latest.detail.get("model")
    version = model.get("version", "") if isinstance(model, Mapping) else ""
    return version if isinstance(version, str) else ""


def wanted_version(intent: EndpointIntent, endpoint: Endpoint) -> str:
    """The version that the intent would make users get; "" where it names none and none follows from the endpoint."""
    match intent:
        case PromoteVersion():
            return intent.version or (endpoint.rollout.to_version if endpoint.rollout.in_flight else "")
        case RollBack():
            return intent.version or known_good_of(endpoint)
        case ShadowVersion():
            return intent.version
        case _:
            return ""
