"""Whether a version may get traffic: its server answers, and nobody has asked for its end."""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit

from mlrelease_tui.connectors._blocking import BlockingPool
from mlrelease_tui.connectors.local.desired import WantedEndpoint, read_desired
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.ports import read_ports
from mlrelease_tui.errors import BackendError
from mlrelease_tui.routing.probing import Presence, Probe, probe_server


def presence(layout: Layout, pool: BlockingPool, timeout_s: float) -> Probe:
    """The router asks it under the lock of the routes, before it gives a version traffic."""

    async def ask(url: str, health_path: str, seconds: float) -> Presence:
        if await pool.run(timeout_s, _is_leaving, layout, urlsplit(url).port):
            return Presence.ABSENT
        return await probe_server(url, health_path, seconds)

    return ask


def _is_leaving(layout: Layout, port: int | None) -> bool:
    """Whether the process of this port is wanted no longer, though it may still answer: until it ends, that takes a while."""
    with contextlib.suppress(BackendError):
        desired = read_desired(layout)
        for key, named in read_ports(layout).processes.items():
            for name, listening in named.items():
                if listening == port:
                    return name not in desired.get(key, WantedEndpoint()).processes
    return False
