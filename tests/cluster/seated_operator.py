"""An operator in a process of their own: makes a plan when told, sends it when told. One JSON object a line, in and out.

`python -m tests.cluster.seated_operator KUBECONFIG NAMESPACE ROOT NAME`; in: {"prepare": ["hold", ENDPOINT]}, {"submit": WHY}.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.cluster.argo_bench import Seat, seated

from mlrelease_tui.domain.intents import (
    AbortRollout,
    ContinueRollout,
    HoldRollout,
    Intent,
    PromoteVersion,
    RestartEndpoint,
    RollBack,
    ScaleEndpoint,
    SetWeight,
)
from mlrelease_tui.domain.plan import Outcome, Plan, Refusal
from mlrelease_tui.domain.refs import EndpointRef


def intent_of(wish: list[Any], ref: EndpointRef) -> Intent:
    match wish:
        case ["promote", *_]:
            return PromoteVersion(ref)
        case ["abort", *_]:
            return AbortRollout(ref)
        case ["rollback", *_]:
            return RollBack(ref)
        case ["restart", *_]:
            return RestartEndpoint(ref)
        case ["scale", _, int(replicas)]:
            return ScaleEndpoint(ref, replicas)
        case ["weight", _, int(weight_bp)]:
            return SetWeight(ref, weight_bp)
        case ["hold", *_]:
            return HoldRollout(ref)
        case ["continue", *_]:
            return ContinueRollout(ref)
    raise ValueError(f"no such wish: {wish}")


def told(ending: Plan | Refusal | Outcome) -> dict[str, Any]:
    match ending:
        case Plan():
            return {"plan": ending.plan_hash}
        case Refusal():
            return {"refused": ending.code, "reason": ending.reason}
        case Outcome():
            return {"outcome": str(ending.kind), "overtaken": ending.overtaken, "reason": ending.message}


async def operate(seat: Seat) -> None:
    plan: Plan | Refusal | None = None
    while line := await asyncio.to_thread(sys.stdin.readline):
        job = json.loads(line)
        if "prepare" in job:
            plan = await seat.desk.prepare(intent_of(job["prepare"], seat.ref(job["prepare"][1])))
            answer = told(plan)
        else:
            assert isinstance(plan, Plan)
            answer = told(await seat.desk.submit(plan, why=job["submit"], typed=str(plan.target.name)))
        print(json.dumps(answer), flush=True)


async def main(kubeconfig: str, namespace: str, root: str, name: str) -> None:
    seed = sum(name.encode())
    async with seated(Path(kubeconfig), namespace, Path(root), by=name, seed=seed) as seat:
        await operate(seat)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
