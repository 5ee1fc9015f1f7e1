"""Stand-ins for what stands behind the screens: a desk and a reader that tests script. They keep what they were asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from mlrelease_tui.domain.action import ActionProgress, Stage
from mlrelease_tui.domain.expectation import EndpointExpectation
from mlrelease_tui.domain.intents import Intent
from mlrelease_tui.domain.plan import (
    Check,
    CheckStatus,
    Outcome,
    OutcomeKind,
    Plan,
    ReadFrom,
    Refusal,
    StepResult,
    StepStatus,
    Write,
)
from mlrelease_tui.domain.policy import Access, direction_of, is_production, level_of
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.rollout import Role
from mlrelease_tui.screens.services import Appearance, Services
from mlrelease_tui.store.facts import AccessChanged, ActionProgressed
from mlrelease_tui.store.state import State
from mlrelease_tui.store.store import Store


class ScriptedReader:
    """Remembers requests."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def refresh(self, connection: str | None = None) -> None:
        self.asked.append(f"refresh {connection or 'all'}")

    def want_versions(self, model: ModelRef) -> None:
        self.asked.append(f"versions {model}")

    def want_more_versions(self, model: ModelRef) -> None:
        self.asked.append(f"more {model}")

    def want_lineage(self, version: VersionRef) -> None:
        self.asked.append(f"lineage {version}")


class ScriptedDesk:
    """Plans a traffic write and an alias move for any endpoint intent; ends each action as `ends` says.

    `gate` holds a submitted action under way until it is set; `refuses` answers every intent with that refusal.
    """

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self.prepared: list[Intent] = []
        self.submitted: list[tuple[Plan, str, str]] = []
        self.ends = OutcomeKind.APPLIED
        self.refuses: Refusal | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self._busy: dict[str, ActionProgress] = {}

    @property
    def busy(self) -> tuple[ActionProgress, ...]:
        return tuple(self._busy.values())

    async def arm(self, minutes: int) -> Refusal | None:
        self._store.emit(AccessChanged(Access(self._now() + timedelta(minutes=minutes))))
        return None

    async def disarm(self) -> None:
        self._store.emit(AccessChanged(Access()))

    async def prepare(self, intent: Intent) -> Plan | Refusal:
        self.prepared.append(intent)
        if self.refuses is not None:
            return self.refuses
        target = intent.target
        assert isinstance(target, EndpointRef)
        endpoint = self._store.state.endpoints[target]
        stable, canary = endpoint.variant(Role.STABLE), endpoint.variant(Role.CANARY)
        assert stable is not None
        now = self._now()
        expects = EndpointExpectation(target, endpoint.uid, weights=((stable.name, 10_000),))
        moved = canary.version if canary else stable.version
        steps = (
            Write(
                target.connection,
                "weights",
                target.id,
                f"replace /srv/traefik/routes.json#{target.name}: generation 7 > 8",
                '{"generation":8}',
                f"v{moved} 25%, v{stable.version} 75%",
                f"v{moved} 0%, v{stable.version} 100%",
                "generation is 7",
                "put generation 7's weights back",
                expects,
                expects,
                shell=f"mlrelease weight {target.id} 0% --yes",
            ),
            Write(
                "registry",
                "alias",
                f"registry/{target.name}",
                f"POST /api/2.0/mlflow/registered-models/alias name={target.name} alias=champion version={stable.version}",
                "{}",
                f"champion: v{moved}",
                f"champion: v{stable.version}",
                f"champion is v{moved}",
                f"move champion back to v{moved}",
                expects,
                expects,
                shell="curl -X POST http://127.0.0.1:5000/api/2.0/mlflow/registered-models/alias "
                f'-d \'{{"name":"{target.name}","alias":"champion","version":"{stable.version}"}}\'',
                best_effort=True,
            ),
        )
        direction = direction_of(intent.verb)
        full = bool(getattr(intent, "full", False))
        return Plan(
            intent,
            target,
            endpoint.environment,
            direction,
            level_of(intent.verb, direction, production=is_production(endpoint.environment), full=full),
            steps,
            f"{intent.verb} {target.name} to v{stable.version}",
            f"promote {target.name} to v{moved} again",
            (ReadFrom(target.id, endpoint.revision, now),),
            now,
            now + timedelta(seconds=120),
            (
                Check("version", CheckStatus.PASS, f"v{stable.version} is READY"),
                Check("capacity", CheckStatus.PASS, "3 of 3 ready"),
                Check("lock", CheckStatus.UNKNOWN, "no lock service"),
            ),
            ("the alias move is best effort: MLflow has no compare-and-set",),
        )

    async def submit(self, plan: Plan, *, why: str, typed: str = "") -> Outcome | Refusal:
        refusal = self._store.state.access.may_write(self._now())
        if refusal is not None:
            return refusal
        self.submitted.append((plan, why, typed))
        intent_id = f"0199-{len(self.submitted)}"
        action = ActionProgress(intent_id, plan, Stage.SENDING, "anna", why, self._now())
        self._busy[intent_id] = action
        self._store.emit(ActionProgressed(action))
        await self.gate.wait()
        status = {
            OutcomeKind.APPLIED: StepStatus.VERIFIED,
            OutcomeKind.REJECTED: StepStatus.REJECTED,
            OutcomeKind.REVERTED: StepStatus.VERIFIED,
            OutcomeKind.UNKNOWN: StepStatus.UNKNOWN,
        }[self.ends]
        results = tuple(StepResult(index, status) for index in range(len(plan.steps)))
        outcome = Outcome(
            intent_id, self.ends, plan.plan_hash, results, f"{plan.verb} {self.ends}", ("weights read back: 100/0",)
        )
        del self._busy[intent_id]
        self._store.emit(
            ActionProgressed(
                ActionProgress(
                    intent_id, plan, Stage.ENDED, "anna", why, action.started_at, len(plan.steps) - 1, results, outcome
                )
            )
        )
        return outcome


def services(
    state: State, now: Callable[[], datetime], appearance: Appearance | None = None, operator: str = "anna"
) -> Services:
    """Services on a scripted state."""
    store = Store(state)
    return Services(
        store, ScriptedReader(), ScriptedDesk(store, now), operator, now, appearance or Appearance(theme="dark")
    )
