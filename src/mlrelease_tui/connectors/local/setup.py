"""Setting a directory up: define its endpoints, start its supervisor, deploy the first version of each. For the demo and tests."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.local.connector import LocalConnector
from mlrelease_tui.connectors.local.definitions import EndpointDefinition, define_endpoint
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.observed import ProcessState, read_observed
from mlrelease_tui.connectors.local.ports import read_ports
from mlrelease_tui.connectors.local.processes import last_line
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Stamp
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import TimedOut, Unreachable
from mlrelease_tui.routing.traefik_process import TraefikAddresses

_POLL_S = 0.02


def start_supervisor(
    directory: Path, environ: Mapping[str, str], *, die_with_parent: bool = True, traefik: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start the supervisor of a directory in a session of its own; `environ` is what its processes inherit.

    With `die_with_parent` it stops everything in order as soon as the calling process is gone, however it went. To stop it,
    send SIGTERM and wait.
    """
    layout = Layout(directory)
    layout.make()
    argv = [sys.executable, "-m", "mlrelease_tui.connectors.local.supervisor", str(directory.resolve())]
    argv += ["--die-with-parent", str(os.getpid())] if die_with_parent else []
    argv += ["--traefik", str(traefik)] if traefik else []
    with layout.supervisor_log.open("ab") as log:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            cwd=directory,
            start_new_session=True,
        )


async def wait_until_up(
    directory: Path, supervisor: subprocess.Popen[bytes], *, deadline_s: float = 20.0
) -> TraefikAddresses:
    """Until this supervisor's router answers. Unreachable where the supervisor ended, TimedOut after `deadline_s` seconds."""
    layout = Layout(directory)
    deadline = time.monotonic() + deadline_s
    while True:
        found = read_observed(layout)
        addresses = read_ports(layout).router
        up = found.pid == supervisor.pid and found.router is not None and found.router.state is ProcessState.READY
        if up and addresses is not None:
            return addresses
        if supervisor.poll() is not None:
            raise Unreachable(
                f"the supervisor of {directory} ended with exit code {supervisor.returncode}",
                hint=str(SafeText(last_line(layout.supervisor_log))) or f"its log is {layout.supervisor_log}",
            )
        if time.monotonic() >= deadline:
            said = f": {SafeText(found.router.message)}" if found.router and found.router.message else ""
            raise TimedOut(
                f"the router of {directory} did not answer within {deadline_s:g} s{said}",
                hint=f"its logs are {layout.supervisor_log} and {layout.traefik_log}",
            )
        await asyncio.sleep(_POLL_S)


async def deploy(
    connector: LocalConnector, ref: EndpointRef, artifact: Artifact, stamp: Stamp, *, weight_bp: int | None = None
) -> Endpoint:
    """Start a version (the first, or a canary) by the same plan and writes as an operator's promote, without asking."""
    for write in connector.start(await connector.endpoint(ref), artifact, weight_bp):
        await connector.perform(write, stamp)
    return await connector.endpoint(ref)


__all__ = ["EndpointDefinition", "define_endpoint", "deploy", "start_supervisor", "wait_until_up"]
