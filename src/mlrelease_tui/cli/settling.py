"""Before and after an action: what a dead process left open, looked at without keeping anybody from acting.

Only going forward on the very target waits until nothing that was sent there may still arrive; other targets, and the ways
back to safety, never do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mlrelease_tui.domain.action import AuditEntry, OpenAction
from mlrelease_tui.domain.intents import Intent
from mlrelease_tui.domain.plan import Plan, Refusal
from mlrelease_tui.domain.refs import TargetRef

if TYPE_CHECKING:
    from mlrelease_tui.bootstrap import Program
    from mlrelease_tui.cli.output import Output

LOOK_S: Final = 3.0
"""Seconds that a plan waits for a first look at what was left open on its target; after that it is planned without."""


class Settling:
    """Tells a person what was found out about open actions, each finding once."""

    def __init__(self, program: Program, output: Output) -> None:
        self._program = program
        self._output = output
        self._began = datetime.now(UTC)
        self._told: set[str] = set()
        self._open: set[str] = set()

    async def prepared(self, intent: Intent) -> Plan | Refusal:
        """The plan, after a first look at its target; where it must wait for what may still arrive, after that."""
        await self._look(intent.target)
        made = await self._program.desk.prepare(intent)
        if not isinstance(made, Refusal) or made.code != "unsettled":
            return made
        self._output.note(f"waiting: {made.reason}")
        await self._program.desk.reconcile(intent.target)
        self.tell()
        return await self._program.desk.prepare(intent)

    async def _look(self, target: TargetRef) -> None:
        desk, state = self._program.desk, self._program.store.state
        if any(action.target == target.id and not action.alive for action in state.open_actions):
            try:
                async with asyncio.timeout(LOOK_S):
                    await desk.reconcile(target, patient=False)
            except TimeoutError:
                self._output.note(f"{target} did not answer within {LOOK_S:g} s: what was left open on it stays so")
        self.tell()

    def tell(self) -> None:
        """What was settled since the last time, and what is still open and was not told yet."""
        state = self._program.store.state
        for entry in state.audit:
            if entry.kind == "reconciled" and entry.at >= self._began and entry.id not in self._told:
                self._told.add(entry.id)
                self._output.note(_settled(entry))
        for action in state.open_actions:
            if action.intent_id not in self._open:
                self._open.add(action.intent_id)
                self._output.note(_still_open(action))


def _settled(entry: AuditEntry) -> str:
    result = entry.detail.get("result")
    why = result.get("message", "") if isinstance(result, Mapping) else ""
    said = f"an earlier action was left open ({entry.summary}, intent {entry.intent_id}): {entry.result}"
    return f"{said}: {why}" if why else said


def _still_open(action: OpenAction) -> str:
    if action.alive:
        became = f"under way in process {action.pid}"
    elif action.settles_at is not None:
        became = f"open: what it sent may still arrive until {action.settles_at:%H:%M:%S}Z"
    else:
        became = "open: what became of it is not known"
    seen = f"; seen so far: {action.seen}" if action.seen else ""
    what = f" ({action.summary})" if action.summary else ""
    return f"{action.verb} of {action.target} by {action.actor}{what} is {became} (intent {action.intent_id}){seen}"


@asynccontextmanager
async def settling(program: Program, output: Output) -> AsyncIterator[Settling]:
    """Make the audit ready and look at everything that is open in it while the body runs."""
    told = Settling(program, output)
    open_actions = await program.desk.ready()
    if not any(not action.alive for action in open_actions):
        yield told
        return
    looking = asyncio.ensure_future(program.desk.reconcile(patient=False))
    try:
        yield told
        told.tell()
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
