"""An operator at a prompt of their own: makes a plan when told, sends it when told. One JSON object a line, in and out.

`python -m tests.e2e.operator_child CONFIG`; in: {"prepare": ["weight", 1200]} or {"prepare": ["hold"]}, {"submit": "why"}.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from mlrelease_tui.bootstrap import Program, build, load_config
from mlrelease_tui.domain.intents import ContinueRollout, HoldRollout, Intent, RollBack, SetWeight
from mlrelease_tui.domain.plan import Outcome, Plan, Refusal
from mlrelease_tui.domain.refs import EndpointRef


def intent_of(wish: list[Any], endpoint: EndpointRef) -> Intent:
    match wish:
        case ["weight", int(weight)]:
            return SetWeight(endpoint, weight_bp=weight)
        case ["hold"]:
            return HoldRollout(endpoint)
        case ["continue"]:
            return ContinueRollout(endpoint)
        case ["rollback"]:
            return RollBack(endpoint)
        case _:
            raise ValueError(f"no such wish: {wish}")


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


async def operate(program: Program, endpoint: EndpointRef) -> None:
    await program.desk.open()
    await program.desk.arm(10)
    plan: Plan | Refusal | None = None
    while line := await asyncio.to_thread(sys.stdin.readline):
        job = json.loads(line)
        if "prepare" in job:
            plan = await program.desk.prepare(intent_of(job["prepare"], endpoint))
            answer = told(plan)
        else:
            assert isinstance(plan, Plan)
            answer = told(await program.desk.submit(plan, why=job["submit"], typed=str(endpoint.name)))
        print(json.dumps(answer), flush=True)
    await program.close()


def main() -> None:
    program = build(load_config(Path(sys.argv[1]), os.environ), environ=os.environ)
    asyncio.run(operate(program, EndpointRef.parse(sys.argv[2])))


if __name__ == "__main__":
    main()
