"""A line at every change: what is told apart is what an operator would act on, not every number that moved."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mlrelease_tui.cli.finding import find_endpoint, match, read_endpoints
from mlrelease_tui.cli.output import Output
from mlrelease_tui.cli.reading import PROBLEMS, status_now
from mlrelease_tui.cli.serving_shapes import status_shape, verdict_word
from mlrelease_tui.cli.text import sentence
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.store.select import fleet

if TYPE_CHECKING:
    from mlrelease_tui.bootstrap import Program


async def watch_changes(program: Program, output: Output, *, name: str | None, problems: bool) -> int:
    """Print every endpoint that changed, and every connection that came or went, until cancelled."""
    only = await _there(program, name) if name is not None else None
    changed = asyncio.Event()

    def wake(_state: object, _fact: object) -> None:
        # Ctrl-C is a signal: it may cancel the waiter in the very middle of `set`.
        with suppress(asyncio.InvalidStateError):
            changed.set()

    unsubscribe = program.store.subscribe(wake)
    teller = _Teller(program, output, only, problems)
    program.poller.start()
    try:
        while True:
            changed.clear()
            teller.tell()
            await changed.wait()
    finally:
        unsubscribe()


async def _there(program: Program, name: str) -> EndpointRef:
    """The endpoint that `name` means. UnknownName where its connection answers and has none: waiting for it would look like rest.

    Where its connection does not answer, a whole id is waited for.
    """
    ref = await find_endpoint(program, name)
    if ref not in program.store.state.endpoints or ref.connection in program.store.state.from_cache:
        silent = await read_endpoints(program)
        if ref.connection not in silent:
            return match(name, program.store.state.endpoints, what="endpoint")
    return ref


class _Teller:
    """Remembers what it last said of each endpoint and connection."""

    def __init__(self, program: Program, output: Output, only: EndpointRef | None, problems: bool) -> None:
        self._program = program
        self._output = output
        self._only = only
        self._problems = problems
        self._endpoints: dict[EndpointRef, object] = {}
        self._links: dict[str, object] = {}

    def tell(self) -> None:
        now = datetime.now(UTC)
        rows = [status for status in self._rows(now) if self._is_news(status)]
        links = [health for health in self._program.store.state.connections.values() if self._is_link_news(health)]
        gone = self._gone()
        if not rows and not links and not gone:
            return
        if self._output.as_json:
            self._output.document(status_shape(rows, links, at=now, window_s=None, gone=gone))
            return
        for ref in gone:
            self._output.line(f"{now:%H:%M:%S}Z GONE {ref}: {ref.connection} has it no more")
        for status in rows:
            self._output.line(f"{now:%H:%M:%S}Z {sentence(status)}")
        for health in links:
            said = f": {health.error}" if health.error else ""
            self._output.line(f"{now:%H:%M:%S}Z {health.state.upper()} connection {health.name}{said}")

    def _rows(self, now: datetime) -> tuple[EndpointStatus, ...]:
        if self._only is None:
            return fleet(self._program.store.state, now)
        status = status_now(self._program, self._only)
        return () if status is None else (status,)

    def _gone(self) -> list[EndpointRef]:
        """Those that were told of and are there no more; if they come back that is news."""
        gone = [ref for ref in self._endpoints if ref not in self._program.store.state.endpoints]
        for ref in gone:
            del self._endpoints[ref]
        return gone

    def _is_news(self, status: EndpointStatus) -> bool:
        # Rows of the last run are told when they were read anew.
        if status.ref.connection in self._program.store.state.from_cache:
            return False
        before, after = self._endpoints.get(status.ref), told_of(status)
        if before == after:
            return False
        self._endpoints[status.ref] = after
        return not self._problems or status.severity in PROBLEMS or before is not None

    def _is_link_news(self, health: ConnectionHealth) -> bool:
        if health.state is LinkState.UNKNOWN:
            return False
        if self._only is not None and health.name != self._only.connection:
            return False
        before, after = self._links.get(health.name), (health.state, health.error_code)
        self._links[health.name] = after
        return before != after


def told_of(status: EndpointStatus) -> object:
    """What counts as a change of an endpoint: anything but numbers that move by themselves."""
    endpoint = status.endpoint
    variants = tuple(
        (item.name, item.role, item.version, item.weight_bp, item.ready, item.desired) for item in endpoint.variants
    )
    return (
        status.severity,
        endpoint.rollout.phase,
        endpoint.rollout.step_index,
        endpoint.rollout.hold,
        verdict_word(status),
        status.alias,
        status.alias_version,
        status.mismatch,
        status.stale_since is not None,
        variants,
        tuple((reason.severity, reason.variant) for reason in status.reasons),
    )
