"""An operator of a cluster in a process of their own, told what to do as `tests.e2e.prompted` says.

`python -m tests.cluster.seated_operator KUBECONFIG NAMESPACE ROOT NAME`; a wish is ["hold", ENDPOINT].
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from tests.cluster.argo_bench import seated
from tests.e2e.prompted import operate

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


async def main(kubeconfig: str, namespace: str, root: str, name: str) -> None:
    seed = sum(name.encode())
    async with seated(Path(kubeconfig), namespace, Path(root), by=name, seed=seed) as seat:
        await operate(seat.desk, lambda wish: intent_of(wish, seat.ref(wish[1])))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
