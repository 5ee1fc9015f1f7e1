"""Carrying out the writes that `planning` made: each once, under its precondition, confirmed by the router itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from mlrelease_tui.connectors._blocking import BlockingPool
from mlrelease_tui.connectors.api import Receipt
from mlrelease_tui.connectors.local.definitions import EndpointDefinition, read_definitions
from mlrelease_tui.connectors.local.desired import Mark, change_desired, read_desired
from mlrelease_tui.connectors.local.effects import processes_after, route_after
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.observed import ProcessState, Supervision, halted_words, read_observed
from mlrelease_tui.connectors.local.processes import is_running
from mlrelease_tui.connectors.local.release_state import mark_of, state_from_json
from mlrelease_tui.connectors.local.writes import AWAIT_READY, DRAIN, PROCESSES, ROUTE, Split
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Stamp
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict, OutcomeUnknown, Refused, Rejected, TimedOut, UnexpectedAnswer, Unreachable
from mlrelease_tui.routing.api import (
    InFlight,
    Observed,
    Router,
    StaleGeneration,
    TrafficPlan,
)
from mlrelease_tui.routing.traefik_directory import RoutesDirectory

_POLL_S = 0.05
_LOCK_S = 5.0
_FAILURES_ENOUGH = 3


@dataclass(frozen=True, slots=True)
class Performing:
    """What a write needs: the documents, the router, and how to ask a model server what it is working on."""

    layout: Layout
    pool: BlockingPool
    router: Callable[[], Router]
    in_flight: Callable[[str], InFlight]
    timeout_s: float

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        payload = _planned(write)
        definition = await self._definition(payload)
        mark = mark_of(stamp, hashlib.sha256(write.payload.encode()).hexdigest()[:16])
        if write.operation == ROUTE:
            return await self._write_route(definition, payload, mark)
        if write.operation == PROCESSES:
            return await self._change_processes(definition, payload, mark)
        if write.operation == AWAIT_READY:
            return await self._await_ready(definition, payload["name"], write.settle_s)
        if write.operation == DRAIN:
            return await self._drain(definition, payload, write.settle_s)
        raise Refused(f"no operation {write.operation!r} is known here", hint="make the plan again with this version")

    async def _definition(self, payload: Mapping[str, Any]) -> EndpointDefinition:
        found = (await self.pool.run(self.timeout_s, read_definitions, self.layout)).get(payload["endpoint"])
        if found is None:
            raise Conflict(f"endpoint {payload['endpoint']} is not defined any more", hint="nothing was changed")
        if found.uid != payload["uid"]:
            raise Conflict(
                f"endpoint {payload['endpoint']} was removed and defined anew since the plan was made",
                hint="nothing was changed; read it again and make a new plan",
            )
        return found

    async def _supervision(self) -> Supervision:
        return await self.pool.run(self.timeout_s, read_observed, self.layout)

    async def _write_route(self, definition: EndpointDefinition, payload: Mapping[str, Any], mark: Mark) -> Receipt:
        router, route, expect = self.router(), str(payload["route"]), int(payload["expect"])
        observed = await router.read(route)
        if observed.plan is None and observed.drift:
            raise Conflict(observed.drift, hint="nothing was changed")
        if observed.plan is not None and observed.generation == expect + 1:
            before = state_from_json(observed.plan.state).mark
            if mark.intent_id and (before.intent_id, before.write) == (mark.intent_id, mark.write):
                return await self._written_before(router, observed.plan, expect)
        if observed.generation != expect:
            raise _overtaken(route, expect, observed, payload)
        plan = await self._traffic(definition, payload, mark, observed.plan)
        try:
            applied = await router.apply(plan, expect)
        except StaleGeneration:
            raise _overtaken(route, expect, await router.read(route), payload) from None
        except TimedOut as failure:
            # Another writer kept the lock of the routes: the only silence there before anything is written.
            raise Conflict(failure.message, hint=failure.hint) from failure
        detail = f"generation {applied.plan.generation} is in force after {applied.effect_s * 1000:.0f} ms"
        return Receipt(SafeText(detail), str(applied.plan.generation))

    async def _written_before(self, router: Router, plan: TrafficPlan, expect: int) -> Receipt:
        # The same plan again writes nothing: it only waits until the router shows it.
        applied = await router.apply(plan, expect + 1)
        detail = f"generation {applied.plan.generation} was written by this very step already"
        return Receipt(SafeText(detail), str(applied.plan.generation))

    async def _traffic(
        self, definition: EndpointDefinition, payload: Mapping[str, Any], mark: Mark, current: TrafficPlan | None
    ) -> TrafficPlan:
        supervision = await self._supervision()

        def url_of(name: str) -> str:
            process = supervision.process(definition.key, name)
            there = current.version(name) if current else None
            if process is not None and process.port:
                return f"http://127.0.0.1:{process.port}"
            if there is not None:
                return there.url
            raise Rejected(
                f"no process {name} of {definition.key} runs, so the route can't have it",
                hint="nothing was changed; start it first",
            )

        return route_after(payload, mark, current, url_of, definition.health_path)

    async def _change_processes(
        self, definition: EndpointDefinition, payload: Mapping[str, Any], mark: Mark
    ) -> Receipt:
        removed = frozenset(payload.get("remove", ()))
        if not removed:
            return await self._write_processes(definition, payload, mark)
        try:
            # Between the look and the write nobody may give one of them traffic again.
            async with RoutesDirectory(self.layout.routes).locked(min(_LOCK_S, self.timeout_s)):
                await self._not_routed(definition, removed)
                return await self._write_processes(definition, payload, mark)
        except TimedOut as failure:
            raise Conflict(failure.message, hint=failure.hint) from failure

    async def _write_processes(self, definition: EndpointDefinition, payload: Mapping[str, Any], mark: Mark) -> Receipt:
        try:
            wanted, made = await self.pool.run(
                self.timeout_s + _LOCK_S,
                lambda: change_desired(
                    self.layout,
                    definition.key,
                    int(payload["expect"]),
                    lambda now: processes_after(payload, now),
                    mark,
                    lock_s=min(_LOCK_S, self.timeout_s),
                ),
            )
        except UnexpectedAnswer as failure:
            raise Conflict(failure.message, hint=f"nothing was changed; {failure.hint}") from failure
        except TimedOut as failure:
            raise OutcomeUnknown(
                f"the disk took longer than {self.timeout_s + _LOCK_S:g} s for {self.layout.desired}",
                hint="it may still be written; read the endpoint again",
            ) from failure
        said = "is written" if made else "was written by this very step already"
        return Receipt(SafeText(f"generation {wanted.generation} {said}"), str(wanted.generation))

    async def _not_routed(self, definition: EndpointDefinition, names: frozenset[str]) -> None:
        """Whatever happened since: a process that the route names is never stopped."""
        observed = await self.router().read(definition.route)
        routed = {version.name for version in observed.plan.versions} if observed.plan else set()
        if (observed.plan is None and observed.drift) or names & routed:
            shown = ", ".join(sorted(names & routed))
            reason = f"the route of {definition.key} has {shown}" if shown else observed.drift
            raise Conflict(f"{', '.join(sorted(names))} can't be stopped: {reason}", hint="nothing was changed")

    async def _await_ready(self, definition: EndpointDefinition, name: str, wait_s: float) -> Receipt:
        deadline = asyncio.get_running_loop().time() + wait_s
        started = asyncio.get_running_loop().time()
        hint = f"its log is {self.layout.log_of(definition.key, name)}; roll back to stop it"
        while True:
            supervision = await self._supervision()
            if not supervision.alive:
                raise Unreachable(
                    f"{name} of {definition.key} can't start: no supervisor runs for {self.layout.directory}",
                    hint="start the supervisor",
                )
            if supervision.halted:
                raise Unreachable(
                    f"{name} of {definition.key} can't start: {halted_words(supervision)}",
                    hint="let the supervisor go on",
                )
            wanted = (await self.pool.run(self.timeout_s, read_desired, self.layout)).get(definition.key)
            asked = wanted.processes.get(name) if wanted else None
            if asked is None:
                raise Conflict(
                    f"process {name} of {definition.key} is not wanted any more"
                    + (f", {wanted.mark}" if wanted else ""),
                    hint="somebody removed it; read the endpoint again",
                )
            process = supervision.process(definition.key, name)
            if process is not None and process.turn == asked.turn:
                if process.state is ProcessState.READY:
                    waited = asyncio.get_running_loop().time() - started
                    return Receipt(SafeText(f"{name} is healthy at port {process.port} after {waited:.1f} s"))
                if process.failures >= _FAILURES_ENOUGH:
                    raise Rejected(
                        f"{name} of {definition.key} failed {process.failures} times: {SafeText(process.message)}",
                        hint=hint,
                    )
            if asyncio.get_running_loop().time() >= deadline:
                said = SafeText(process.message or str(process.state)) if process else "not started"
                raise Rejected(f"{name} of {definition.key} was not healthy within {wait_s:g} s: {said}", hint=hint)
            await asyncio.sleep(_POLL_S)

    async def _drain(self, definition: EndpointDefinition, payload: Mapping[str, Any], wait_s: float) -> Receipt:
        name = str(payload["name"])

        async def gauge() -> int | None:
            process = (await self._supervision()).process(definition.key, name)
            if process is None or not is_running(process.pid, process.started):
                # A process that is gone has taken its requests with it.
                return 0
            return await self.in_flight(f"http://127.0.0.1:{process.port}{definition.metrics_path}")()

        report = await self.router().drained(str(payload["route"]), name, wait_s, gauge)
        if not report.drained:
            raise Rejected(
                f"{name} of {definition.key} did not drain within {wait_s:g} s: {report.reason}",
                hint="it has no traffic any more; roll back again once its last requests are over",
            )
        return Receipt(SafeText(f"{report.reason}, after {report.waited_s:.1f} s"))


_NEEDED: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        ROUTE: frozenset({"endpoint", "uid", "route", "expect"}),
        PROCESSES: frozenset({"endpoint", "uid", "expect"}),
        AWAIT_READY: frozenset({"endpoint", "uid", "name"}),
        DRAIN: frozenset({"endpoint", "uid", "name", "route"}),
    }
)
"""What the payload of each operation holds at least."""


def _planned(write: Write) -> Mapping[str, Any]:
    """The payload of a write that `planning` made. Refused for any other: nothing is guessed from half a payload."""
    try:
        payload = json.loads(write.payload)
    except ValueError:
        payload = None
    needed = _NEEDED.get(write.operation)
    if needed is None or not isinstance(payload, dict) or not needed <= payload.keys():
        raise Refused(
            f"{write.operation!r} is no write that local endpoints plan", hint="make the plan again with this version"
        )
    return payload


def _overtaken(route: str, expect: int, observed: Observed, payload: Mapping[str, Any]) -> Conflict:
    """Who moved it, and what changed since the plan was made."""
    if observed.plan is None:
        return Conflict(f"route {route} is gone; the plan was made at generation {expect}", hint="nothing was changed")
    mark = state_from_json(observed.plan.state).mark
    mirror = observed.plan.mirror
    now = Split(
        tuple((version.name, version.weight_bp) for version in observed.plan.versions),
        (mirror.version, mirror.percent) if mirror else None,
    )
    verb = f"{SafeText(mark.verb, limit=40)} " if mark.verb else ""
    return Conflict(
        f"route {route} is at generation {observed.generation}, not at {expect}: {verb}{mark}; "
        f"it was {payload['before']}, it is {now.words()}",
        hint="nothing was changed; read the endpoint again and make a new plan",
    )
