"""The operator's desk: wishes in, plans and outcomes out. Owns every action under way, so that no screen can cancel one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from mlrelease_tui.actions.checks import hurts_by_now
from mlrelease_tui.actions.executor import Executor, Pace
from mlrelease_tui.actions.journal import Journal
from mlrelease_tui.actions.planner import plan as make_plan
from mlrelease_tui.actions.reading import Reader, asked
from mlrelease_tui.actions.reconcile import Reconciler
from mlrelease_tui.actions.situation import Situation, unfinished_rollback, wanted_version
from mlrelease_tui.connectors.api import Connector, EndpointSource, LineageSource, Rehearsable, VersionSource
from mlrelease_tui.domain.action import ActionProgress, OpenAction
from mlrelease_tui.domain.intents import Intent, MoveAlias, PromoteVersion
from mlrelease_tui.domain.models import Model, ModelVersion
from mlrelease_tui.domain.plan import Check, CheckStatus, Direction, Level, Outcome, OutcomeKind, Plan, Refusal, Write
from mlrelease_tui.domain.policy import PLAN_LIFETIME, Access, is_production
from mlrelease_tui.domain.refs import ModelRef, TargetRef, VersionRef
from mlrelease_tui.domain.rollout import Verb, registered
from mlrelease_tui.errors import NotDurable, NotFound, ReleaseError, TimedOut
from mlrelease_tui.store.facts import AccessChanged, AuditObserved, OpenActionsObserved
from mlrelease_tui.store.select import action_on, status_of
from mlrelease_tui.store.store import Store

WAY_S = 10.0
"""Seconds in which an action that makes way has recorded how it ended."""
REGISTRY_PATIENCE_S = 3.0
"""How long, in seconds, a plan waits for the registry. A rollback does without it, a promote is refused."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What configuration says of environments: the least level that a verb asks for there, and whether users live there."""

    floor: Callable[[str, Verb], Level] = lambda _environment, _verb: Level.READ
    production: Callable[[str], bool] = is_production


class Desk:
    """Prepares and carries out actions for one operator."""

    def __init__(
        self,
        store: Store,
        connectors: Mapping[str, Connector],
        journal: Journal,
        *,
        rules: Rules | None = None,
        lifetime: timedelta = PLAN_LIFETIME,
        pace: Pace | None = None,
    ) -> None:
        self._store = store
        self._connectors = connectors
        self._journal = journal
        self._rules = rules or Rules()
        self._lifetime = lifetime
        self._pace = pace or Pace()
        self._reader = Reader(connectors, store.emit)
        self._began = self._pace.now()
        self._executor = Executor(self._reader, journal, store.emit, self._access, self._pace, self._known_as)
        self._reconciler = Reconciler(journal, self._reader, self._pace, lambda: {item.intent_id for item in self.busy})
        self._armed_until_s = float("inf")
        self._over: set[TargetRef] = set()
        self._detached: set[str] = set()
        self._running: dict[TargetRef, asyncio.Task[Outcome | Refusal]] = {}

    # --- writes armed or not ------------------------------------------------------------------------------------------

    async def open(self) -> tuple[OpenAction, ...]:
        """Make the audit ready and settle what a dead process left, waiting for what may still arrive. Actions need not wait
        for this."""
        await self.ready()
        return () if self._store.state.access.locked else await self.reconcile()

    async def ready(self) -> tuple[OpenAction, ...]:
        """Make the audit ready and tell what is open in it, asking no backend. Without a durable audit writes stay locked."""
        try:
            await asyncio.to_thread(self._journal.prepare)
            found = await self._reconciler.listed()
        except NotDurable as error:
            self._lock(error)
            return ()
        await self.refresh_audit()
        return self._observed(found)

    def _lock(self, error: NotDurable) -> None:
        self._store.emit(AccessChanged(replace(self._store.state.access, locked=str(error))))

    async def arm(self, minutes: int) -> Refusal | None:
        """Allow writes for a while. Refused where arming can't be recorded, or where they are locked and it is not mended."""
        if self._store.state.access.locked and not await self._unlocked():
            return self._store.state.access.may_write(self._pace.now())
        access = self._store.state.access
        try:
            await asyncio.to_thread(self._journal.session, "arm", f"writes armed for {minutes} min")
        except NotDurable as error:
            return Refusal(error.code, f"writes stay locked: {error.message}", error.hint)
        until = self._pace.now() + timedelta(minutes=minutes)
        self._armed_until_s = self._pace.monotonic() + minutes * 60
        self._store.emit(AccessChanged(replace(access, armed_until=until)))
        return None

    async def _unlocked(self) -> bool:
        """Whether the audit can be written after all: its disk has room again, or whoever held its lock let go."""
        try:
            await asyncio.to_thread(self._journal.prepare)
        except NotDurable as error:
            self._lock(error)
            return False
        self._store.emit(AccessChanged(replace(self._store.state.access, locked="")))
        await self.reconcile(patient=False)
        return not self._store.state.access.locked

    def _access(self) -> Access:
        """Who may write now. The time for writes ends by the clock that never steps too: one that was set back adds none."""
        access = self._store.state.access
        if access.armed_until is not None and self._pace.monotonic() >= self._armed_until_s:
            access = replace(access, armed_until=None)
            self._store.emit(AccessChanged(access))
        return access

    async def disarm(self) -> None:
        """Read-only again, at once."""
        self._store.emit(AccessChanged(replace(self._store.state.access, armed_until=None)))

    def _known_as(self, connections: Iterable[str]) -> Mapping[str, str]:
        """What these backends call us, where they said so in this session: an earlier one may have been somebody else's."""
        found = {name: self._store.state.connections.get(name) for name in connections}
        return {
            name: str(health.identity)
            for name, health in found.items()
            if health is not None and health.identity and health.observed_at and health.observed_at >= self._began
        }

    # --- plans --------------------------------------------------------------------------------------------------------

    async def prepare(self, intent: Intent) -> Plan | Refusal:
        """Read what the intent needs, now, and plan from that alone."""
        # Another session may have begun something since the last look. Where the audit can't be read, nothing will be sent either.
        with suppress(NotDurable):
            self._observed(await self._reconciler.listed())
        try:
            situation = await self._situation(intent)
        except NotFound as error:
            return Refusal(error.code, error.message, error.hint or "`mlrelease status` lists what there is")
        except ReleaseError as error:
            return Refusal(error.code, f"{intent.target} can't be read now: {error.message}", error.hint)
        plan = make_plan(intent, situation)
        return plan if isinstance(plan, Refusal) else await self._rehearsed(plan)

    async def _rehearsed(self, plan: Plan) -> Plan | Refusal:
        """Ask the backends that can tell whether they would let the writes through, about all of them at once; a clear no refuses
        the plan."""
        checks = list(plan.checks)
        for said in await asyncio.gather(*(self._rehearsal(step) for step in plan.steps)):
            checks += said
        failed = next(
            (check for check in checks if check not in plan.checks and check.status is CheckStatus.FAIL), None
        )
        if failed is not None:
            return Refusal("preflight", f"{failed.name}: {failed.text}", "nothing was sent")
        # Each write of a plan asks much the same of its backend: say it once.
        return replace(plan, checks=tuple(dict.fromkeys(checks)))

    async def _rehearsal(self, step: Write) -> tuple[Check, ...]:
        connector: object = self._connectors.get(step.connection)
        if not isinstance(connector, Rehearsable):
            return ()
        try:
            return tuple(await asked(step.connection, connector.rehearse(step)))
        except ReleaseError as error:
            return (Check("rehearsal", CheckStatus.UNKNOWN, f"{step.connection}: {error.message}"),)

    async def _situation(self, intent: Intent) -> Situation:
        base = Situation(
            now=self._pace.now(),
            operator=self._journal.operator,
            in_flight=self._in_flight(intent.target),
            open_actions=self._store.state.open_actions,
            lifetime=self._lifetime,
            access=self._store.state.access,
        )
        if isinstance(intent, MoveAlias):
            return await self._with_registry(self._alone(base, intent), intent.model, intent.version, lineage=True)
        endpoint = await self._reader.endpoint(intent.endpoint)
        connector = self._connectors[intent.endpoint.connection]
        driver = connector.driver(endpoint) if isinstance(connector, EndpointSource) else None
        binding = self._store.state.bindings.get(endpoint.ref)
        situation = replace(
            base,
            now=self._pace.now(),
            endpoint=endpoint,
            driver=driver,
            status=status_of(self._store.state, endpoint.ref, self._pace.now()),
            alias=endpoint.alias or (binding.alias if binding else ""),
            environment=endpoint.environment,
            production=self._rules.production(endpoint.environment),
            floor=self._rules.floor(endpoint.environment, intent.verb),
            unfinished=unfinished_rollback(self._store.state.audit, endpoint.ref.id),
        )
        model = binding.model if binding else endpoint.model
        if model is None:
            return situation
        version = wanted_version(intent, endpoint)
        lineage = isinstance(intent, PromoteVersion)
        return await self._with_registry(situation, model, version, lineage=lineage)

    def _alone(self, base: Situation, intent: MoveAlias) -> Situation:
        """An alias alone is felt where endpoints follow it: the strictest of their environments counts."""
        bound = self._environments(intent)
        strictest = max(bound, key=self._rules.production, default="")
        return replace(
            base,
            environment=strictest,
            production=self._rules.production(strictest),
            floor=max((self._rules.floor(name, intent.verb) for name in bound), default=Level.READ),
        )

    def _environments(self, intent: MoveAlias) -> list[str]:
        """Of every endpoint that follows the alias, or may. One that is bound to the model and was never seen counts by its
        connection."""
        state = self._store.state
        found = []
        for endpoint in state.endpoints.values():
            binding = state.bindings.get(endpoint.ref)
            model = binding.model if binding else endpoint.model
            alias = endpoint.alias or (binding.alias if binding else "")
            if model == intent.model and alias in {"", intent.alias}:
                found.append(endpoint.environment)
        for binding in state.bindings.values():
            health = state.connections.get(binding.endpoint.connection)
            if health is None or binding.endpoint in state.endpoints:
                continue
            if binding.model == intent.model and binding.alias in {"", intent.alias}:
                found.append(health.environment)
        return found

    async def _with_registry(self, situation: Situation, ref: ModelRef, version: str, *, lineage: bool) -> Situation:
        registry = self._connectors.get(ref.connection)
        if registry is None or not isinstance(registry, VersionSource):
            return replace(situation, registry_problem=f"no registry is called {ref.connection!r}")
        try:
            async with asyncio.timeout(REGISTRY_PATIENCE_S):
                model, record = await asyncio.gather(self._reader.model(ref), _version(registry, ref, version))
                if record is not None and lineage and isinstance(registry, LineageSource):
                    record = replace(record, lineage=await asked(ref.connection, registry.lineage(record)))
        except TimeoutError:
            error: ReleaseError = TimedOut(f"{ref.connection} did not answer within {REGISTRY_PATIENCE_S:g} s")
            return replace(situation, registry=registry, registry_problem=error.message)
        except ReleaseError as failed:
            return replace(situation, registry=registry, registry_problem=failed.message)
        return _read(situation, registry, model, record)

    # --- actions ------------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> tuple[ActionProgress, ...]:
        """The actions under way."""
        return tuple(found for target in self._running if (found := self._in_flight(target)) is not None)

    async def submit(self, plan: Plan, *, why: str, typed: str = "") -> Outcome | Refusal:
        """Carry a confirmed plan out. Cancelling the caller does not cancel the action: it ends by itself and is recorded."""
        if plan.target in self._running:
            # What is under way ends its wait only for a plan that will be sent.
            refusal = await self._executor.refused(plan, why=why, typed=typed)
            if refusal is not None:
                return refusal
            if not await self._made_way(plan):
                return Refusal("busy", f"an action on {plan.target} is under way", "wait for its outcome")
        task = asyncio.create_task(self._carry_out(plan, why=why, typed=typed), name=f"action {plan.target}")
        self._running[plan.target] = task
        task.add_done_callback(lambda _: self._ended(plan.target))
        return await asyncio.shield(task)

    def _ended(self, target: TargetRef) -> None:
        self._running.pop(target, None)
        self._over.discard(target)

    async def _made_way(self, plan: Plan) -> bool:
        """Whether the action under way, which only waits to see its last write take effect, ended for a plan that is safer."""
        under_way = self._in_flight(plan.target)
        if (
            plan.direction is not Direction.SAFE
            or under_way is None
            or not self._executor.make_way(under_way.intent_id)
        ):
            return False
        await asyncio.wait({self._running[plan.target]}, timeout=WAY_S)
        return plan.target not in self._running

    async def _carry_out(self, plan: Plan, *, why: str, typed: str) -> Outcome | Refusal:
        """The whole of an action, what follows it included: none of it waits for whoever asked."""
        refusal = hurts_by_now(plan, self._store.state, self._pace.now())
        if refusal is not None:
            return await self._executor.deny(plan, refusal, why)
        result = await self._executor.execute(plan, by=self._journal.operator, why=why, typed=typed)
        self._over.add(plan.target)
        await self.refresh_audit()
        if isinstance(result, Outcome) and result.kind is OutcomeKind.UNKNOWN:
            # Whoever asked has the answer that there is; what comes of it is told by the next look.
            await self.reconcile(patient=False)
        elif any(action.target == plan.target.id for action in self._store.state.open_actions):
            await self.reconcile(plan.target, patient=False)
        return result

    async def stop_waiting(self, target: TargetRef) -> bool:
        """The operator no longer waits for what is under way on `target`. True where nothing of it was sent, and nothing will be;
        else it goes on as long as this process lives, and the audit says that nobody waited."""
        if target not in self._running:
            return True
        if target in self._over:
            return False
        if self._executor.call_off(target):
            return True
        under_way = self._in_flight(target)
        if under_way is not None and under_way.intent_id not in self._detached:
            self._detached.add(under_way.intent_id)
            with suppress(NotDurable):
                await asyncio.to_thread(self._journal.detached, under_way.intent_id, under_way.plan)
        return False

    async def leave(self) -> None:
        """The operator leaves: nothing that was not sent is sent any more, and nobody waits for what was."""
        for target in tuple(self._running):
            await self.stop_waiting(target)

    async def settle(self, within_s: float) -> bool:
        """Wait for the actions under way; False where some are still running after `within_s` seconds."""
        if not self._running:
            return True
        _, pending = await asyncio.wait(tuple(self._running.values()), timeout=within_s)
        return not pending

    async def reconcile(self, target: TargetRef | None = None, *, patient: bool = True) -> tuple[OpenAction, ...]:
        """Look again at every intent without an outcome, or at those of `target`; all that stay open are given back.

        `patient` looks until nothing of them may still arrive; otherwise what may is left to the next look.
        """
        wait_s = 0.1
        while True:
            try:
                still = self._observed(await self._reconciler.look(target.id if target else ""))
            except NotDurable as error:
                self._lock(error)
                return ()
            await self.refresh_audit()
            now = self._pace.now()
            left = [item.settles_at for item in still if item.settles_at and (not target or item.target == target.id)]
            left_s = max((until - now).total_seconds() for until in left) if left else 0.0
            if not patient or left_s <= 0:
                return still
            await self._pace.sleep(min(wait_s, left_s))
            wait_s = min(wait_s * 2, 2.0)

    def _observed(self, found: tuple[OpenAction, ...]) -> tuple[OpenAction, ...]:
        ours = {action.intent_id for action in self.busy}
        still = tuple(action for action in found if action.intent_id not in ours)
        self._store.emit(OpenActionsObserved(still))
        return still

    async def refresh_audit(self) -> None:
        """Show the newest audit entries. A log that can't be read shows none: it is no reason to stop looking at the fleet."""
        with suppress(OSError):
            self._store.emit(AuditObserved(await asyncio.to_thread(self._journal.entries)))

    def _in_flight(self, target: TargetRef) -> ActionProgress | None:
        return action_on(self._store.state, target)


async def _version(registry: VersionSource, ref: ModelRef, version: str) -> ModelVersion | None:
    """The registry's record of a version; where it has none, of the one that this may be another template of."""
    for known in dict.fromkeys((version, registered(version))) if version else ():
        with suppress(NotFound):
            return await asked(ref.connection, registry.version(VersionRef(ref, known)))
    return None


def _read(situation: Situation, registry: object, model: Model, record: ModelVersion | None) -> Situation:
    return replace(situation, registry=registry, model=model, version=record)
