"""Reading the fleet once, for a command: everything at one moment, rates from a short window, and who did not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from mlrelease_tui.connectors.api import MetricSource
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.metrics import Coverage
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.errors import ReleaseError, Unreachable
from mlrelease_tui.store.select import since, status_of

if TYPE_CHECKING:
    from mlrelease_tui.bootstrap import Program
    from mlrelease_tui.store.state import State

WINDOW_S: Final = 2.0
"""Seconds between the two readings that a rate is made from, unless asked otherwise."""
SCRAPE_S: Final = 2.0
"""Seconds between two readings in a longer window: the judge wants several."""

PROBLEMS: Final = frozenset({Severity.CRIT, Severity.WARN})
"""What counts as a problem for the exit code. A rollout that waits or is held is where a person wanted it."""
_MEASURED: Final = frozenset({Coverage.OK, Coverage.NO_TRAFFIC, Coverage.WARMING, Coverage.RESET})
_ANSWERS: Final = frozenset({LinkState.OK, LinkState.SLOW})


async def read_fleet(program: Program, window_s: float) -> None:
    """Read every connection one time, and the metrics again until `window_s` seconds are covered."""
    await program.poller.once()
    await read_window(program, window_s)


async def read_window(program: Program, window_s: float) -> None:
    """Read metrics until the readings span `window_s` seconds; those that the last command left behind count.

    One reading must have been taken before.
    """
    left = window_s - spanned(program.store.state)
    while left > 0.05 and program.store.state.series:
        pause = left if left < 2 * SCRAPE_S else SCRAPE_S
        await asyncio.sleep(pause)
        left -= pause
        await program.poller.once_metrics()


def spanned(state: State) -> float:
    """Seconds that the readings of every variant span at least, since the weights are as they are; 0 where one of them has a
    single reading."""
    spans = [
        readings[-1].monotonic_s - readings[0].monotonic_s if readings else 0.0
        for ref, variants in state.series.items()
        for name, all_readings in variants.items()
        if (endpoint := state.endpoints.get(ref)) and any(item.name == name for item in endpoint.variants)
        for readings in (since(all_readings, state.split_at.get(ref)),)
    ]
    return min(spans, default=0.0)


def has_metrics(program: Program) -> bool:
    return any(isinstance(source, MetricSource) for source in program.connectors.values())


def not_answering(state: State, names: Iterable[str] | None = None) -> tuple[ConnectionHealth, ...]:
    """The connections, of all or of `names`, that did not answer as they should."""
    wanted = None if names is None else set(names)
    return tuple(
        health
        for name, health in sorted(state.connections.items())
        if (wanted is None or name in wanted) and (health.state not in _ANSWERS or _failing(state, name))
    )


def _failing(state: State, name: str) -> bool:
    freshness = state.freshness.get(name)
    return freshness is not None and freshness.failing_since is not None


def needed_by(program: Program, status: EndpointStatus) -> frozenset[str]:
    """The connections without which this row would be a guess: its target, its registry, and, where nothing was measured,
    whoever may have the numbers."""
    names = {status.ref.connection}
    model = status.endpoint.model or (status.model.ref if status.model else None)
    binding = program.store.state.bindings.get(status.ref)
    if model is None and binding is not None:
        model = binding.model
    if model is not None:
        names.add(model.connection)
    if not any(seen.coverage in _MEASURED for seen in status.metrics.values()):
        names |= {name for name, source in program.connectors.items() if isinstance(source, MetricSource)}
    return frozenset(names)


def exit_code(statuses: Iterable[EndpointStatus], missing: Iterable[ConnectionHealth]) -> int:
    """1 where a problem was seen, else 3 where something needed could not be asked, else 0.

    What was seen outweighs what could not be seen: a problem is certain.
    """
    if any(status.severity in PROBLEMS for status in statuses):
        return 1
    return 3 if any(True for _ in missing) else 0


def status_now(program: Program, ref: EndpointRef) -> EndpointStatus | None:
    from datetime import UTC, datetime

    return status_of(program.store.state, ref, datetime.now(UTC))


def broken(program: Program, capability: str) -> dict[str, ReleaseError]:
    """The configured connections for which there is no connector, and why, by name: those that may offer `capability`.

    What one offers is known from the time when it worked; where it never did, it may be anything.
    """
    found: dict[str, ReleaseError] = {}
    for name in program.config.connections:
        health = program.store.state.connections.get(name)
        if name not in program.connectors and (
            health is None or not health.capabilities or capability in health.capabilities
        ):
            found[name] = why_broken(program, name)
    return found


def why_broken(program: Program, name: str) -> ReleaseError:
    """Why a configured connection has no connector."""
    health = program.store.state.connections.get(name)
    said, hint = (health.error, health.hint) if health is not None else ("", "")
    return Unreachable(f"{name} can't be asked: {said or 'it is broken'}", hint=str(hint))
