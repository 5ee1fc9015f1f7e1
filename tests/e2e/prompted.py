"""An operator at a prompt of their own: makes a plan when told, sends it when told. One JSON object a line, in and out.

In: {"prepare": WISH}, {"submit": WHY}. Out: the plan's hash, why there is none, or what became of it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

from mlrelease_tui.actions.desk import Desk
from mlrelease_tui.domain.intents import Intent
from mlrelease_tui.domain.plan import Outcome, Plan, Refusal


async def operate(desk: Desk, intent_of: Callable[[list[Any]], Intent]) -> None:
    """Until standard input ends."""
    plan: Plan | Refusal | None = None
    while line := await asyncio.to_thread(sys.stdin.readline):
        job = json.loads(line)
        if "prepare" in job:
            plan = await desk.prepare(intent_of(job["prepare"]))
            answer = told(plan)
        else:
            assert isinstance(plan, Plan)
            answer = told(await desk.submit(plan, why=job["submit"], typed=str(plan.target.name)))
        print(json.dumps(answer), flush=True)


def told(ending: Plan | Refusal | Outcome) -> dict[str, Any]:
    match ending:
        case Plan():
            return {"plan": ending.plan_hash}
        case Refusal():
            return {"refused": ending.code, "reason": ending.reason, "hint": ending.hint}
        case Outcome():
            return {
                "outcome": str(ending.kind),
                "overtaken": ending.overtaken,
                "reason": ending.message,
                "intent_id": ending.intent_id,
            }
