"""From the first frame to the whole program: it is wired while keys are answered already, and what they ask for meanwhile waits.

The desk, the reader and the auditor of this module stand in for those of the program, from the first key on. Nothing that was asked
of them is lost; where wiring fails, whoever waits is told by its exception.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mlrelease_tui.actions.auditing import Auditor
    from mlrelease_tui.bootstrap import Program
    from mlrelease_tui.domain.action import ActionProgress, AuditCheck
    from mlrelease_tui.domain.intents import Intent
    from mlrelease_tui.domain.logs import LogWish
    from mlrelease_tui.domain.plan import Outcome, Plan, Refusal
    from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
    from mlrelease_tui.outset import Outset
    from mlrelease_tui.store.poller import Poller

SOON: Final = (
    "mlrelease_tui.screens.planning",
    "mlrelease_tui.screens.commands",
    "mlrelease_tui.bootstrap",
    "mlrelease_tui.actions.auditing",
    "mlrelease_tui.screens.endpoint",
)
"""Modules that are wanted soon after the first frame, and are in its way before: first what a key opens at once."""


class Wiring:
    """Wires one program, once, when `begin` is called. Lives on the event loop on which it is made."""

    def __init__(
        self,
        outset: Outset,
        environ: Mapping[str, str],
        *,
        when_wired: Callable[[Program], None] = lambda program: None,
    ) -> None:
        self._outset = outset
        self._environ = environ
        self._when_wired = when_wired
        self._begun: asyncio.Future[asyncio.Task[Program]] = asyncio.get_running_loop().create_future()
        self._opening: asyncio.Task[object] | None = None

    def begin(self, failed: Callable[[], None] = lambda: None) -> None:
        """Begin to wire; `failed` is called where that can't be done."""

        def ended(task: asyncio.Task[Program]) -> None:
            if not task.cancelled() and task.exception() is not None:
                failed()

        task = asyncio.create_task(self._wire(), name="wiring")
        task.add_done_callback(ended)
        self._begun.set_result(task)

    async def program(self) -> Program:
        """The program, as soon as it is wired. Raises what kept it from being wired."""
        # Shielded: who gives up waiting must not take it from the others.
        return await asyncio.shield(await asyncio.shield(self._begun))

    @property
    def wired(self) -> Program | None:
        """The program where it is wired already."""
        task = self._begun.result() if self._begun.done() else None
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    async def close(self) -> None:
        """Close the program, or give its wiring up. Raises what kept it from being wired."""
        if not self._begun.done():
            return
        task = self._begun.result()
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        if task.cancelled():
            return
        program = task.result()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        await program.close()

    async def _wire(self) -> Program:
        # Importing takes a tenth of a second, and a plugin may take for ever. In a thread it leaves the loop to the keys; a daemon
        # thread lets the operator quit meanwhile.
        from mlrelease_tui.connectors._blocking import BlockingPool

        pool = BlockingPool("wiring", workers=1)
        await pool.run(math.inf, self._load)
        pool.close()
        from mlrelease_tui.bootstrap import wire

        program = wire(self._outset, environ=self._environ)
        # What was loaded until now stays to the end: no collection needs to walk through it, which would stop the keys.
        gc.freeze()
        gc.enable()
        program.poller.start()
        self._opening = asyncio.create_task(program.desk.open())
        self._when_wired(program)
        return program

    def _load(self) -> None:
        for name in SOON:
            importlib.import_module(name)
        from mlrelease_tui.connectors import plugins
        from mlrelease_tui.errors import ConfigError

        for kind in {connection.kind for connection in self._outset.config.connections.values()}:
            # A connector that can't be loaded is told of when its connections are built.
            with suppress(ConfigError):
                plugins.prepare(kind)


class LateDesk:
    """The desk, as soon as there is one."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    async def prepare(self, intent: Intent) -> Plan | Refusal:
        return await (await self._wiring.program()).desk.prepare(intent)

    async def submit(self, plan: Plan, *, why: str, typed: str = "") -> Outcome | Refusal:
        return await (await self._wiring.program()).desk.submit(plan, why=why, typed=typed)

    async def arm(self, minutes: int) -> Refusal | None:
        return await (await self._wiring.program()).desk.arm(minutes)

    async def disarm(self) -> None:
        await (await self._wiring.program()).desk.disarm()

    @property
    def busy(self) -> tuple[ActionProgress, ...]:
        program = self._wiring.wired
        return program.desk.busy if program is not None else ()


class LateReader:
    """The poller, as soon as there is one. It begins by reading everything, so `refresh` has nothing to keep for it."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._waiting: set[asyncio.Task[None]] = set()

    def refresh(self, connection: str | None = None) -> None:
        if (program := self._wiring.wired) is not None:
            program.poller.refresh(connection)

    def want_versions(self, model: ModelRef) -> None:
        self._ask(lambda poller: poller.want_versions(model))

    def want_more_versions(self, model: ModelRef) -> None:
        self._ask(lambda poller: poller.want_more_versions(model))

    def want_lineage(self, version: VersionRef) -> None:
        self._ask(lambda poller: poller.want_lineage(version))

    def want_log(self, wish: LogWish) -> None:
        self._ask(lambda poller: poller.want_log(wish))

    def close_logs(self, endpoint: EndpointRef) -> None:
        self._ask(lambda poller: poller.close_logs(endpoint))

    def want_details(self, endpoint: EndpointRef) -> None:
        self._ask(lambda poller: poller.want_details(endpoint))

    def close_details(self, endpoint: EndpointRef) -> None:
        self._ask(lambda poller: poller.close_details(endpoint))

    def _ask(self, wish: Callable[[Poller], None]) -> None:
        program = self._wiring.wired
        if program is not None:
            wish(program.poller)
            return

        async def later() -> None:
            # Where wiring failed the app ends, and says why.
            with suppress(Exception):
                wish((await self._wiring.program()).poller)

        task = asyncio.create_task(later())
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)


class LateAuditor:
    """The auditor, as soon as there is a desk."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    async def look_again(self) -> None:
        await (await self._auditor()).look_again()

    async def verify(self) -> AuditCheck:
        return await (await self._auditor()).verify()

    async def _auditor(self) -> Auditor:
        program = await self._wiring.program()
        from mlrelease_tui.actions.auditing import Auditor

        return Auditor(program.desk, program.config.audit_dir)
