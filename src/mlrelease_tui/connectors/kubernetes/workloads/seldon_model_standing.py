"""Where a Model of Seldon Core 2 stands.

Facts read in Seldon's operator, not seen live: its status has no generation, and is written only for the newest one, with
`ModelReady` False while another version is loaded. So a condition that is older than our write says nothing of what we wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import at, condition, count, name, text, when
from mlrelease_tui.connectors.kubernetes.pods import Identity
from mlrelease_tui.connectors.kubernetes.workloads.seldon_sources import model_identity
from mlrelease_tui.domain.rollout import Stamp, Verb

MANAGER: Final = "manager"
"""The field manager of Seldon's operators: their program's name."""
_SAME_SECOND_S: Final = 2.0
_PUT_THERE: Final = frozenset({Verb.PROMOTE, Verb.ROLLBACK})


@dataclass(frozen=True)
class Model:
    """A Model, or a name that an Experiment gives and nothing has (`item` None), as it is `now`."""

    called: str
    now: datetime
    item: Object | None = None

    @cached_property
    def identity(self) -> Identity | None:
        return model_identity(self.item) if self.item is not None else None

    @property
    def version(self) -> str:
        return self.identity.version if self.identity is not None else self.called

    @property
    def readiness(self) -> Mapping[str, Any]:
        return condition(self.item or {}, "ModelReady") or condition(self.item or {}, "Ready")

    @property
    def stamp(self) -> Stamp | None:
        return marks.last_writer(marks.of_spec(self.item or {}), MANAGER)

    @property
    def heard(self) -> bool:
        """Whether the status is newer than the last version that we put there. Its times are whole seconds: one of the same second
        is believed once nothing newer came for a while."""
        stamp, said = self.stamp, when(text(self.readiness, "lastTransitionTime"))
        if stamp is None or not stamp.intent_id or stamp.verb not in _PUT_THERE or stamp.at is None:
            return True
        if said is None:
            return False
        same_second = said == stamp.at.replace(microsecond=0)
        return said > stamp.at or (same_second and (self.now - stamp.at).total_seconds() >= _SAME_SECOND_S)

    @property
    def loaded(self) -> bool:
        """Whether Seldon says that it serves what its spec names."""
        return self.heard and self.readiness.get("status") == "True"

    @property
    def failing(self) -> str:
        """Why it does not come up, "" where it may; a Model that is being loaded is not ready either, and says so."""
        if not self.heard or self.readiness.get("status") != "False":
            return ""
        told = ": ".join(part for part in (text(self.readiness, "reason"), text(self.readiness, "message")) if part)
        return "" if "Progressing" in told or "Loading" in told else told

    @property
    def desired(self) -> int | None:
        if self.item is None:
            return None
        wanted = at(self.item, "spec", "replicas")
        return wanted if isinstance(wanted, int) else max(count(self.item, "status", "replicas"), 1)

    @property
    def ready(self) -> int | None:
        """Available replicas; older operators count none, and say only whether it is ready."""
        if self.item is None:
            return None
        said = at(self.item, "status", "availableReplicas")
        if not self.loaded:
            return 0
        return said if isinstance(said, int) else self.desired


def model_of(item: Object, now: datetime) -> Model:
    return Model(name(item), now, item)
