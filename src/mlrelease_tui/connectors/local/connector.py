"""The connector: reads a directory's documents and its router, plans with `planning`, writes with `performing`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

from mlrelease_tui.connectors._blocking import BlockingPool
from mlrelease_tui.connectors.api import Artifact, Receipt, Settings, capabilities, link_state
from mlrelease_tui.connectors.local import planning
from mlrelease_tui.connectors.local.definitions import EndpointDefinition, read_definitions
from mlrelease_tui.connectors.local.desired import WantedEndpoint, read_desired
from mlrelease_tui.connectors.local.documents import fingerprint
from mlrelease_tui.connectors.local.gauge import in_flight_of
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.logs import log_tail
from mlrelease_tui.connectors.local.observed import Supervision, halted_words, read_observed
from mlrelease_tui.connectors.local.performing import Performing
from mlrelease_tui.connectors.local.ports import read_ports
from mlrelease_tui.connectors.local.presence import presence
from mlrelease_tui.connectors.local.reading import Reading, endpoint_of
from mlrelease_tui.connectors.local.rehearsing import rehearsal
from mlrelease_tui.domain.connection import ConnectionHealth
from mlrelease_tui.domain.logs import LogTail, LogWish
from mlrelease_tui.domain.plan import Check, Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Hold, Stamp
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import (
    BackendError,
    Conflict,
    NotFound,
    ReleaseError,
    TimedOut,
    UnexpectedAnswer,
    Unreachable,
)
from mlrelease_tui.routing.api import Observed
from mlrelease_tui.routing.traefik import TraefikRouter
from mlrelease_tui.routing.traefik_api import TraefikApi
from mlrelease_tui.routing.traefik_directory import FILE_NAME, RoutesDirectory
from mlrelease_tui.routing.traefik_process import TraefikAddresses, refusal_in

KIND = "local"
_WATCH_S = 1.0
_SETTLE_LOOKS = 5
_SETTLE_S = 0.06

_Documents = tuple[dict[str, EndpointDefinition], dict[str, WantedEndpoint], Supervision, TraefikAddresses | None]


class LocalConnector:
    """One directory of local endpoints. The option `directory` names it; a supervisor must run for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layout = Layout(Path(str(settings.options["directory"])))
        self._pool = BlockingPool(settings.name)
        self._router: TraefikRouter | None = None
        self._addresses: TraefikAddresses | None = None
        self._performing = Performing(self._layout, self._pool, self._reached_router, in_flight_of, settings.timeout_s)

    def __repr__(self) -> str:
        return f"LocalConnector({self.name!r}, {str(self._layout.directory)!r})"

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def kind(self) -> str:
        return KIND

    async def probe(self) -> ConnectionHealth:
        started = time.monotonic()
        error: ReleaseError | None = None
        address = ""
        try:
            _, _, supervision, addresses = await self._documents()
            address = addresses.traffic_url if addresses else ""
            if not supervision.alive:
                raise Unreachable(
                    f"no supervisor runs for {self._layout.directory}",
                    hint=f"python -m mlrelease_tui.connectors.local.supervisor {self._layout.directory}",
                )
            if supervision.halted:
                raise Unreachable(halted_words(supervision), hint="let it go on, or find out who stopped it")
            await TraefikApi(self._reached_addresses().api_url).snapshot()
        except ReleaseError as failure:
            error = failure
        return ConnectionHealth(
            name=self.name,
            kind=KIND,
            state=link_state(error),
            environment=self._settings.environment,
            error_code=error.code if error else "",
            error=SafeText(error.message if error else ""),
            hint=SafeText(error.hint if error else ""),
            latency_s=None if error else time.monotonic() - started,
            server=SafeText("traefik and supervised processes"),
            address=SafeText(address),
            capabilities=capabilities(self),
            observed_at=self._settings.now(),
        )

    async def close(self) -> None:
        if self._router is not None:
            await self._router.aclose()
            self._router = None
        self._pool.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def endpoints(self) -> tuple[Endpoint, ...]:
        documents = await self._documents()
        found = await asyncio.gather(*(self._read(definition, documents) for definition in documents[0].values()))
        return tuple(sorted(found, key=lambda endpoint: endpoint.ref))

    async def endpoint(self, ref: EndpointRef) -> Endpoint:
        documents = await self._documents()
        definition = documents[0].get(f"{raw(ref.namespace)}/{raw(ref.name)}")
        if definition is None or ref.connection != self.name:
            raise NotFound(f"{self.name} has no endpoint {ref}", hint="`mlrelease status` lists the endpoints")
        return await self._read(definition, documents)

    def driver(self, endpoint: Endpoint) -> object:
        return self

    async def logs(self, endpoint: Endpoint, wish: LogWish) -> tuple[LogTail, ...]:
        if all(variant.name != wish.variant for variant in endpoint.variants):
            raise NotFound(f"{endpoint.ref} has no variant {SafeText(wish.variant)}", hint="it was retired meanwhile")
        key = f"{raw(endpoint.ref.namespace)}/{raw(endpoint.ref.name)}"
        return (await self._pool.run(self._settings.timeout_s, log_tail, self._layout, key, wish),)

    async def changed(self) -> AsyncIterator[EndpointRef | None]:
        """Looks at the documents once a second."""
        layout = self._layout
        paths = (layout.endpoints, layout.desired, layout.observed, layout.routes / FILE_NAME)
        seen: tuple[object, ...] | None = None
        known: Mapping[EndpointRef, object] = {}
        while True:
            now = await self._pool.run(self._settings.timeout_s, lambda: tuple(fingerprint(path) for path in paths))
            if now != seen:
                before, known = known, await self._processes()
                only_processes = seen is not None and (now[0], now[3]) == (seen[0], seen[3])
                moved = sorted(ref for ref in {*before, *known} if before.get(ref) != known.get(ref))
                if seen is not None:
                    for hint in moved if only_processes and moved else [None]:
                        yield hint
                seen = now
            await asyncio.sleep(_WATCH_S)

    async def _processes(self) -> Mapping[EndpointRef, object]:
        try:
            definitions, desired, supervision, _ = await self._documents()
        except BackendError:
            return {}
        return {
            EndpointRef(self.name, SafeText(item.namespace), SafeText(item.name)): (
                desired.get(key),
                supervision.alive,
                dict(supervision.endpoints.get(key, {})),
            )
            for key, item in definitions.items()
        }

    async def _documents(self) -> _Documents:
        def read() -> _Documents:
            layout = self._layout
            try:
                there = layout.directory.is_dir()
            except OSError as failure:
                raise Unreachable(
                    f"{layout.directory} can't be looked at: {failure.strerror or failure}",
                    hint="correct `directory` of this connection; it must be ours to read",
                ) from failure
            if not there:
                raise Unreachable(
                    f"there is no directory {layout.directory}", hint="correct `directory` of this connection"
                )
            return read_definitions(layout), read_desired(layout), read_observed(layout), read_ports(layout).router

        documents = await self._pool.run(self._settings.timeout_s, read)
        await self._follow(documents[3])
        return documents

    async def _follow(self, addresses: TraefikAddresses | None) -> None:
        """One driver for as long as the router stays where it is: the driver remembers what it saw drained."""
        if addresses is None or addresses == self._addresses:
            return
        before = self._router
        bound_s = self._settings.timeout_s / 2
        self._router = TraefikRouter(
            RoutesDirectory(self._layout.routes),
            TraefikApi(addresses.api_url, timeout_s=min(2.0, bound_s)),
            confirm_s=min(5.0, bound_s),
            lock_s=min(5.0, bound_s),
            probe=presence(self._layout, self._pool, bound_s),
            refusal=partial(refusal_in, self._layout.traefik_log, self._layout.routes / FILE_NAME),
            now=self._settings.now,
        )
        self._addresses = addresses
        if before is not None:
            await before.aclose()

    def _reached_router(self) -> TraefikRouter:
        if self._router is None:
            raise self._never_started()
        return self._router

    def _reached_addresses(self) -> TraefikAddresses:
        if self._addresses is None:
            raise self._never_started()
        return self._addresses

    def _never_started(self) -> Unreachable:
        return Unreachable(
            f"the router of {self._layout.directory} was never started", hint="start the supervisor first"
        )

    async def _read(self, definition: EndpointDefinition, documents: _Documents) -> Endpoint:
        _, desired, supervision, addresses = documents
        router = self._router
        if router is None:
            observed = Observed(definition.route, None, 0, None, {}, "", "it was never started", self._settings.now())
        else:
            observed = await _settled(router, definition.route)
        reading = Reading(
            connection=self.name,
            environment=self._settings.environment,
            definition=definition,
            wanted=desired.get(definition.key, WantedEndpoint()),
            supervision=supervision,
            observed=observed,
            addresses=addresses,
            labels=self._metric_labels,
            now=self._settings.now(),
        )
        return endpoint_of(reading, self._layout)

    def _metric_labels(self, route: str, version: str, mirrored: bool) -> Mapping[str, str]:
        return self._router.metric_labels(route, version, mirrored=mirrored) if self._router else {}

    # --- planning -----------------------------------------------------------------------------------------------------

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        return planning.start(self._layout, endpoint, artifact, weight_bp)

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        return planning.advance(self._layout, endpoint)

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        return planning.complete(self._layout, endpoint)

    def set_weight(self, endpoint: Endpoint, weight_bp: int) -> tuple[Write, ...]:
        return planning.set_weight(self._layout, endpoint, weight_bp)

    def hold(self, endpoint: Endpoint, hold: Hold) -> tuple[Write, ...]:
        return planning.hold(self._layout, endpoint, hold)

    def resume(self, endpoint: Endpoint) -> tuple[Write, ...]:
        return planning.resume(self._layout, endpoint)

    def abort(self, endpoint: Endpoint) -> tuple[Write, ...]:
        return planning.abort(self._layout, endpoint)

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        return planning.roll_back(self._layout, endpoint, artifact)

    def restart(self, endpoint: Endpoint) -> tuple[Write, ...]:
        return planning.restart(self._layout, endpoint)

    def shadow(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int) -> tuple[Write, ...]:
        return planning.shadow(self._layout, endpoint, artifact, weight_bp)

    # --- writing ------------------------------------------------------------------------------------------------------

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        try:
            await self._documents()
        except (UnexpectedAnswer, TimedOut) as failure:
            raise Conflict(failure.message, hint=f"nothing was sent; {failure.hint}") from failure
        return await self._performing.perform(write, stamp)

    async def rehearse(self, write: Write) -> tuple[Check, ...]:
        return await self._pool.run(self._settings.timeout_s, rehearsal, self._layout, write)


async def _settled(router: TraefikRouter, route: str) -> Observed:
    """What a route does. The router takes a moment to load what was just written; that moment is waited out."""
    for _ in range(_SETTLE_LOOKS):
        observed = await router.read(route)
        # None: it has only just started. Later than ours: somebody wrote between our two looks.
        if observed.error or observed.plan is None or observed.live_generation == observed.generation:
            break
        await asyncio.sleep(_SETTLE_S)
    return observed
