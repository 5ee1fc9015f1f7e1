"""An operator of a whole program in a process of their own, told what to do as `tests.e2e.prompted` says.

`python -m tests.e2e.operator_child CONFIG ENDPOINT`; a wish is ["weight", 1200] or ["hold"].
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from tests.e2e.prompted import operate

from mlrelease_tui.bootstrap import Program, build, load_config
from mlrelease_tui.domain.intents import ContinueRollout, HoldRollout, Intent, RollBack, SetWeight
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


async def serve(program: Program, endpoint: EndpointRef) -> None:
    await program.desk.open()
    await program.desk.arm(10)
    await operate(program.desk, lambda wish: intent_of(wish, endpoint))
    await program.close()


def main() -> None:
    program = build(load_config(Path(sys.argv[1]), os.environ), environ=os.environ)
    asyncio.run(serve(program, EndpointRef.parse(sys.argv[2])))


if __name__ == "__main__":
    main()
