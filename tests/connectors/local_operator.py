"""An operator in a process of their own: plans from a fresh read, waits for a word, performs, says how it went.

python -m tests.connectors.local_operator DIRECTORY BY VERB ARGUMENT [--kill-after N | --kill-after-ms T]

Prints `planned`, waits for a line on standard input, then prints `done N`, or the error's code and text. With --kill-after it is
killed by SIGKILL once it has performed N writes, with --kill-after-ms wherever it is after T milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.connectors.local_host import connector_for, stamp

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.local.connector import LocalConnector
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.errors import ReleaseError


def planned(connector: LocalConnector, endpoint: Endpoint, verb: str, argument: str) -> tuple[Write, ...]:
    if verb == "rollback":
        return connector.roll_back(endpoint, Artifact(argument))
    if verb == "start":
        return connector.start(endpoint, Artifact(argument, f"models:/iris/{argument}"), None)
    if verb == "complete":
        return connector.complete(endpoint)
    return connector.set_weight(endpoint, int(argument))


async def run(
    directory: Path, by: str, verb: str, argument: str, kill_after: int | None, kill_after_ms: float | None
) -> None:
    connector = connector_for(directory)
    endpoint = await connector.endpoint(EndpointRef(connector.name, "local", "iris"))
    writes = planned(connector, endpoint, verb, argument)
    print("planned", flush=True)
    sys.stdin.readline()
    mark = stamp(verb, by=by)
    if kill_after_ms is not None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, kill_after_ms / 1000)
    for count, write in enumerate(writes):
        if kill_after == count:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            await connector.perform(write, mark)
        except ReleaseError as failure:
            print(failure.code, failure, flush=True)
            break
    else:
        print("done", len(writes), flush=True)
    await connector.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("by")
    parser.add_argument("verb")
    parser.add_argument("argument")
    parser.add_argument("--kill-after", type=int)
    parser.add_argument("--kill-after-ms", type=float)
    options = parser.parse_args()
    asyncio.run(
        run(options.directory, options.by, options.verb, options.argument, options.kill_after, options.kill_after_ms)
    )


if __name__ == "__main__":
    main()
