"""Asks the connectors, for ever: each connection on its own, none waiting for another.

A read that fails costs its own rows their freshness and nothing else: pauses grow to a minute, with jitter, and the next read
comes by itself. A connector that raises what it should not, or asks to exit, is reported as broken.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Final

from mlrelease_tui.connectors.api import (
    Connector,
    EndpointSource,
    EndpointWatch,
    MetricSource,
    VersionSource,
    capabilities,
    link_state,
)
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.logs import LogWish
from mlrelease_tui.domain.redaction import unforeseen
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import RateLimited, ReleaseError, TimedOut
from mlrelease_tui.store.details import DetailReading
from mlrelease_tui.store.facts import (
    ConnectionObserved,
    ReadFailed,
)
from mlrelease_tui.store.logs import LogReading
from mlrelease_tui.store.readings import PAGE, Judging, Readings
from mlrelease_tui.store.store import Store

PROBE_S: Final = 30.0
MODELS_S: Final = 5.0
WATCHED_S: Final = 8.0
LONGEST_PAUSE_S: Final = 60.0
DEADLINE_S: Final = 20.0
CANCELS: Final = 3
CANCEL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds between reads: endpoints and metrics · models, for each page that a registry has · health.

    `own_s` are the connections that have a time of their own, for all but health.
    """

    refresh_s: float = 2.0
    models_s: float = MODELS_S
    probe_s: float = PROBE_S
    own_s: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


class Poller:
    """Keeps facts coming until it is stopped. `refresh` and the `want_…` calls return at once; answers come as facts."""

    def __init__(
        self,
        store: Store,
        connectors: Mapping[str, Connector],
        *,
        intervals: Intervals | None = None,
        judging: Judging = lambda _endpoint, _samples: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._connectors = connectors
        self._intervals = intervals or Intervals()
        self._now = now
        self._jitter = jitter
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake: dict[str, list[asyncio.Event]] = {}
        self._wanted: set[object] = set()
        self._unwatched: set[str] = set()
        self._failing: set[tuple[str, str]] = set()
        self._asked_to_wait: dict[tuple[str, str], float] = {}
        self._readings = Readings(store, connectors, judging=judging, now=now, ask=self._ask_how_it_is)
        self._logs = LogReading(store, connectors, spawn=self._spawn, now=now, deadline_s=DEADLINE_S)
        self._details = DetailReading(store, connectors, spawn=self._spawn, now=now, deadline_s=DEADLINE_S)

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read. Must be called on the event loop."""
        for name, connector in self._connectors.items():
            self._loop(name, "probe", lambda: self._intervals.probe_s, partial(self._readings.probe, connector))
            if isinstance(connector, EndpointSource):
                watched = isinstance(connector, EndpointWatch)
                every = partial(self._endpoint_pause if watched else self._refresh_pause, name)
                woken = self._loop(name, "endpoints", every, partial(self._readings.endpoints, connector))
                if isinstance(connector, EndpointWatch):
                    self._spawn(self._watch(name, connector, woken))
            if isinstance(connector, VersionSource):
                self._loop(name, "models", partial(self._models_pause, name), partial(self._readings.models, connector))
            if isinstance(connector, MetricSource):
                self._loop(
                    name, "metrics", partial(self._refresh_pause, name), partial(self._readings.samples, connector)
                )

    async def stop(self) -> None:
        """End all reads and wait for them. One that outlives being cancelled, as a library may make it, is cancelled again; after
        the third time it is left to itself."""
        for _ in range(CANCELS):
            reading = tuple(task for task in self._tasks if not task.done())
            if not reading:
                break
            for task in reading:
                task.cancel()
            await asyncio.wait(reading, timeout=CANCEL_S)
        self._tasks.clear()

    async def once(self) -> None:
        """Read everything one time, all at once; failures become facts. What a command needs."""

        async def targets() -> None:
            # Metrics are asked for by variant, so the endpoints come first.
            await self._all(self._once_endpoints)
            await self.once_metrics()

        await asyncio.gather(
            self._all(lambda name, connector: self._guarded(name, "probe", self._readings.probe(connector))),
            self._all(self._once_models),
            targets(),
        )

    async def once_metrics(self) -> None:
        """Read every metrics source one time."""
        await self._all(self._once_metrics)

    async def _all(self, read: Callable[[str, Connector], Awaitable[object]]) -> None:
        await asyncio.gather(*(read(name, connector) for name, connector in self._connectors.items()))

    async def _once_endpoints(self, name: str, connector: Connector) -> None:
        if isinstance(connector, EndpointSource):
            await self._guarded(name, "endpoints", self._readings.endpoints(connector))

    async def _once_models(self, name: str, connector: Connector) -> None:
        if isinstance(connector, VersionSource):
            await self._guarded(name, "models", self._readings.models(connector))

    async def _once_metrics(self, name: str, connector: Connector) -> None:
        if isinstance(connector, MetricSource):
            await self._guarded(name, "metrics", self._readings.samples(connector))

    # --- wishes -------------------------------------------------------------------------------------------------------

    def refresh(self, connection: str | None = None) -> None:
        """Read again now: one connection, or all."""
        for name, events in self._wake.items():
            if connection in {None, name}:
                for event in events:
                    event.set()

    def want_versions(self, model: ModelRef) -> None:
        """Read a model's newest versions."""
        self._want(("versions", model), model.connection, partial(self._readings.versions, model, ""))

    def want_more_versions(self, model: ModelRef) -> None:
        """Read the next page of a model's versions, where there is one."""
        known = self._store.state.versions.get(model)
        if known is not None and known.next_token:
            self._want(("versions", model), model.connection, partial(self._readings.versions, model, known.next_token))

    def want_lineage(self, version: VersionRef) -> None:
        """Read where a version comes from, unless it is known: lineage does not change."""
        if version not in self._store.state.lineage:
            self._want(("lineage", version), version.model.connection, partial(self._readings.lineage, version))

    def want_log(self, wish: LogWish) -> None:
        """Read the end of a variant's log now."""
        self._logs.want(wish)

    def close_logs(self, endpoint: EndpointRef) -> None:
        """Forget the logs of an endpoint: nobody looks at them any more."""
        self._logs.close(endpoint)

    def want_details(self, endpoint: EndpointRef) -> None:
        """Read what is beneath an endpoint now."""
        self._details.want(endpoint)

    def close_details(self, endpoint: EndpointRef) -> None:
        """Forget what is beneath an endpoint: nobody looks at it any more."""
        self._details.close(endpoint)

    def _want(self, key: object, connection: str, read: Callable[[], Awaitable[None]]) -> None:
        """Single flight: a wish that is being read already is not read twice."""
        if key in self._wanted:
            return
        self._wanted.add(key)

        async def fetch() -> None:
            try:
                await self._guarded(connection, "versions", read())
            finally:
                self._wanted.discard(key)

        self._spawn(fetch())

    # --- how often -------------------------------------------------------------------------------------------------

    def _endpoint_pause(self, name: str) -> float:
        """Seldom while a watch tells of changes, as often as without one while it fails."""
        return self._refresh_pause(name) if name in self._unwatched else WATCHED_S

    def _refresh_pause(self, name: str) -> float:
        return self._intervals.own_s.get(name, self._intervals.refresh_s)

    def _models_pause(self, name: str) -> float:
        """Longer for a registry of many pages, so that it is not read without an end."""
        known = sum(1 for ref in self._store.state.models if ref.connection == name)
        return self._intervals.own_s.get(name, self._intervals.models_s) * max(1, -(-known // PAGE))

    async def _watch(self, name: str, source: EndpointWatch, woken: asyncio.Event) -> None:
        """Wake the reader at every hint; a watch that ends or fails is begun anew. While it fails the reader reads as often as
        without one: whether the backend is down is for those reads to say."""
        pause = 1.0
        while True:
            began = asyncio.get_running_loop().time()
            self._unwatched.discard(name)
            try:
                async for _ in source.changed():
                    woken.set()
            except ReleaseError:
                pass
            except (Exception, SystemExit) as error:
                self._broken(name, "watch", error)
            self._unwatched.add(name)
            woken.set()
            if asyncio.get_running_loop().time() - began > LONGEST_PAUSE_S:
                pause = 1.0
            await asyncio.sleep(pause * (0.5 + self._jitter()))
            pause = min(pause * 2, LONGEST_PAUSE_S)

    # --- beneath ------------------------------------------------------------------------------------------------------

    def _loop(
        self, name: str, what: str, every_s: Callable[[], float], read: Callable[[], Awaitable[None]]
    ) -> asyncio.Event:
        """Read again and again; the returned event brings the next read forward."""
        wake = asyncio.Event()
        self._wake.setdefault(name, []).append(wake)

        async def forever() -> None:
            failures = 0
            while True:
                wake.clear()
                failures = 0 if await self._guarded(name, what, read()) else failures + 1
                every = every_s()
                pause = min(every * 2 ** min(failures, 16), max(LONGEST_PAUSE_S, every)) if failures else every
                # Jitter of a tenth, so that many connections do not fall into step.
                pause *= 0.9 + 0.2 * self._jitter()
                asked = self._asked_to_wait.pop((name, what), 0.0)
                if asked:
                    await asyncio.sleep(asked)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(pause - asked, 0.0)):
                        await wake.wait()

        self._spawn(forever())
        return wake

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, name: str, what: str, read: Awaitable[None]) -> bool:
        """Await one read within the deadline; False where it failed. Nothing that a connector raises gets past here."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                await read
        except TimeoutError:
            self._failed(name, what, TimedOut(f"{name} did not answer within {DEADLINE_S:g} s"))
        except ReleaseError as error:
            if isinstance(error, RateLimited):
                self._asked_to_wait[name, what] = error.retry_after_s
            self._failed(name, what, error)
        except (Exception, SystemExit) as error:
            self._broken(name, what, error)
        else:
            self._recovered(name, what)
            return True
        return False

    def _recovered(self, name: str, what: str) -> None:
        """Where the last read that failed goes well again, ask the connection at once how it is."""
        if (name, what) not in self._failing:
            return
        self._failing.discard((name, what))
        if not any(failing == name for failing, _ in self._failing):
            self._ask_how_it_is(name)

    def _ask_how_it_is(self, name: str) -> None:
        """The probe is the first of a connection's loops."""
        probes = self._wake.get(name)
        if probes:
            probes[0].set()

    def _failed(self, name: str, what: str, error: ReleaseError) -> None:
        self._failing.add((name, what))
        self._say(name, link_state(error), error.code, error.message, error.hint)
        if what != "probe":
            self._store.emit(ReadFailed(name, what, error.code, error.message, self._now()))

    def _broken(self, name: str, what: str, error: BaseException) -> None:
        self._failing.add((name, what))
        message = f"the connector failed: {unforeseen(error)}"
        self._say(
            name, LinkState.BROKEN, "broken", message, "this is a fault of the connector; its author wants to know"
        )
        self._store.emit(ReadFailed(name, what, "broken", str(SafeText(message)), self._now()))

    def _say(self, name: str, state: LinkState, code: str, message: str, hint: str) -> None:
        known = self._store.state.connections.get(name)
        connector = self._connectors[name]
        base = known or ConnectionHealth(name, connector.kind, LinkState.UNKNOWN, capabilities=capabilities(connector))
        health = replace(
            base,
            state=state,
            error_code=code,
            error=SafeText(message),
            hint=SafeText(hint),
            latency_s=None,
            observed_at=self._now(),
        )
        self._store.emit(ConnectionObserved(health))
