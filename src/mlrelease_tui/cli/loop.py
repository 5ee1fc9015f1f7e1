"""The event loop of the program: asyncio's own, but for where it looks up the names of hosts.

asyncio looks them up in the few threads that all of a program shares, and a resolver that is silent holds each for as long as its
own time-outs last, half a minute and more, whatever deadline a connector has. A few connections behind a dead resolver would hold
up everything else that is done in a thread, the audit of a rollback among it, and the end of the program.
"""

from __future__ import annotations

import asyncio
import math
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mlrelease_tui.connectors._blocking import BlockingPool

LOOKUPS: Final = 4
"""Of one name at the same time; a name of which none ends holds no more threads than that."""


class Loop(asyncio.SelectorEventLoop):
    """Looks up each name in threads of its own, which neither others nor the end of the program wait for."""

    def __init__(self) -> None:
        super().__init__()
        self._lookups: dict[str, BlockingPool] = {}

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        # After the first frame, which needs no host.
        from mlrelease_tui.connectors._blocking import BlockingPool

        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host or ""
        if name not in self._lookups:
            self._lookups[name] = BlockingPool(name, workers=LOOKUPS)
        return await self._lookups[name].run(math.inf, socket.getaddrinfo, host, port, family, type, proto, flags)
