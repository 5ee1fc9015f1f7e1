"""What was read for one plan. The planner decides from nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mlrelease_tui.domain.action import ActionProgress, OpenAction
from mlrelease_tui.domain.models import Model, ModelVersion
from mlrelease_tui.domain.plan import Level
from mlrelease_tui.domain.policy import PLAN_LIFETIME, READ_ONLY, Access
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.status import EndpointStatus


@dataclass(frozen=True, slots=True)
class Situation:
    """Fresh reads, and who drives what.

    `driver` is asked for verbs with `isinstance`; `registry` likewise, None where the endpoint has no registry or it could not
    be read (`registry_problem` then says why). `version` is the registry's record of the version that the intent would
    make users get, None where it is not known. `environment` is where an alias alone would be felt. `floor` is the
    least level that configuration asks for; `access` says which connections are never written to.
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

    @property
    def alias_version(self) -> str:
        """Where the endpoint's alias points, "" where there is none or its registry did not answer."""
        return self.model.aliases.get(self.alias, "") if self.model is not None and self.alias else ""
