"""Stand-ins for what stands behind the screens: a desk and a reader that tests script. They keep what they were asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from mlrelease_tui.domain.action import ActionProgress, Stage
from mlrelease_tui.domain.expectation import AliasExpectation, EndpointExpectation, expectation_of
from mlrelease_tui.domain.intents import Intent, PromoteVersion
from mlrelease_tui.domain.logs import LogWish
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
from mlrelease_tui.domain.rollout import Endpoint, Phase, Role, Stamp, Variant, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.domain.verdict import Verdict, VerdictKind
from mlrelease_tui.presentation.plan import verb_word
from mlrelease_tui.screens.services import Appearance, Services
from mlrelease_tui.store.facts import AccessChanged, ActionProgressed, EndpointObserved, VerdictReached
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

    def want_log(self, wish: LogWish) -> None:
        self.asked.append(f"log {wish.endpoint} {wish.variant}{' previous' if wish.previous else ''}")

    def close_logs(self, endpoint: EndpointRef) -> None:
        self.asked.append(f"close {endpoint}")

    def want_details(self, endpoint: EndpointRef) -> None:
        self.asked.append(f"details {endpoint}")

    def close_details(self, endpoint: EndpointRef) -> None:
        self.asked.append(f"close details {endpoint}")


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
        moved = canary or stable
        forward = isinstance(intent, PromoteVersion)
        kept, gone = (moved, stable) if forward else (stable, moved)
        steps = _all_to(endpoint, kept, gone)
        direction = direction_of(intent.verb)
        full = bool(getattr(intent, "full", False))
        return Plan(
            intent,
            target,
            endpoint.environment,
            direction,
            level_of(intent.verb, direction, production=is_production(endpoint.environment), full=full),
            steps,
            f"{verb_word(intent.verb)} {target.name} to {kept.version}",
            f"roll back {target.name} to v{stable.version}"
            if forward
            else f"promote {target.name} to v{moved.version} again",
            (ReadFrom(target.id, endpoint.revision, now),),
            now,
            now + timedelta(seconds=120),
            (
                Check("version", CheckStatus.PASS, f"v{kept.version} is READY"),
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
            OutcomeKind.FAILED: StepStatus.FAILED,
            OutcomeKind.REVERTED: StepStatus.VERIFIED,
            OutcomeKind.UNKNOWN: StepStatus.UNKNOWN,
        }[self.ends]
        results = tuple(StepResult(index, status) for index in range(len(plan.steps)))
        outcome = Outcome(
            intent_id, self.ends, plan.plan_hash, results, f"{plan.verb} {self.ends}", ("weights read back: 100/0",)
        )
        del self._busy[intent_id]
        if self.ends is OutcomeKind.APPLIED and isinstance(plan.target, EndpointRef):
            self._store.emit(
                EndpointObserved(_rolled_back(self._store.state.endpoints[plan.target], intent_id, self._now()))
            )
            self._store.emit(VerdictReached(plan.target, Verdict(VerdictKind.NOT_JUDGED, "no canary")))
        self._store.emit(
            ActionProgressed(
                ActionProgress(
                    intent_id, plan, Stage.ENDED, "anna", why, action.started_at, len(plan.steps) - 1, results, outcome
                )
            )
        )
        return outcome


def _all_to(endpoint: Endpoint, stable: Variant, moved: Variant) -> tuple[Write, ...]:
    """What the local connector and MLflow plan to leave `stable` alone and retire `moved`, in their words."""
    ref = endpoint.ref
    here = expectation_of(endpoint)
    both = replace(here, weights=((stable.name, 10_000), (moved.name, 0)))
    alone = replace(here, weights=((stable.name, 10_000),))
    gone = replace(alone, present=(stable.name,), absent=(moved.name,))
    model = ModelRef("registry", ref.name)
    old, new = f"v{stable.version}", f"v{moved.version}"
    split = f"{old} 75% + {new} 25%" if stable.role is Role.STABLE else f"{new} 75% + {old} 25%"

    def route(call: str, before: str, after: str, assumes: EndpointExpectation, expects: EndpointExpectation) -> Write:
        return Write(
            ref.connection,
            "route",
            f"route {ref.name}",
            f"write route {ref.name} in routes.yml: {call}",
            '{"generation":8}',
            before,
            after,
            f"route {ref.name} is at generation 7",
            f"write {before} back",
            assumes,
            expects,
            shell=f"mlrelease weight {ref.id} 0% --yes",
        )

    return (
        route(f"{old} 100%", split, f"{old} 100% ({new} to be retired)", here, both),
        replace(
            route("", "", "", both, both),
            operation="drain",
            call=f"wait until {new} has no request in flight",
            mutates=False,
            after=f"{new} has none",
            undo="",
        ),
        route(f"{old} 100% (without {new})", f"{old} 100%", f"{old} 100% (without {new})", both, alone),
        replace(
            route("", f"processes {old}, {new}", f"process {old}", alone, gone),
            operation="processes",
            call=f"remove process {new} of {ref.name} in desired.json, generation 2 > 3",
        ),
        Write(
            "registry",
            "alias",
            str(model),
            f"POST /api/2.0/mlflow/registered-models/alias name={ref.name} alias=champion version={stable.version}",
            "{}",
            f"alias champion points at {moved.version}",
            f"alias champion points at {stable.version}",
            f"alias champion still points at {moved.version}",
            f"point alias champion back at {moved.version}",
            AliasExpectation(model, "champion", moved.version),
            AliasExpectation(model, "champion", stable.version),
            shell="curl -X POST http://127.0.0.1:5000/api/2.0/mlflow/registered-models/alias "
            f'-d \'{{"name":"{ref.name}","alias":"champion","version":"{stable.version}"}}\'',
            best_effort=True,
        ),
    )


def _rolled_back(endpoint: Endpoint, intent_id: str, now: datetime) -> Endpoint:
    """The endpoint after that plan."""
    stable = endpoint.variant(Role.STABLE)
    assert stable is not None
    rollout = replace(
        endpoint.rollout,
        phase=Phase.COMPLETE,
        from_version=stable.version,
        to_version=stable.version,
        step_index=None,
        steps=(),
    )
    return replace(
        endpoint,
        variants=(replace(stable, weight_bp=10_000),),
        rollout=rollout,
        stamp=Stamp(intent_id, Verb.ROLLBACK, SafeText("anna"), SafeText(""), now),
        observed_at=now,
        revision="r-after",
    )


def services(
    state: State, now: Callable[[], datetime], appearance: Appearance | None = None, operator: str = "anna"
) -> Services:
    """Services on a scripted state."""
    store = Store(state)
    return Services(
        store, ScriptedReader(), ScriptedDesk(store, now), operator, now, appearance or Appearance(theme="dark")
    )
