"""The connector: what a cluster serves as endpoints, read from the mirror or, where a plan needs it, from the server now."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import Final

from mlrelease_tui.connectors.api import Receipt, Settings, capabilities, link_state
from mlrelease_tui.connectors.kubernetes import incluster, kubeconfig
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.catalogue import Catalogue, Terms
from mlrelease_tui.connectors.kubernetes.details import Detailing
from mlrelease_tui.connectors.kubernetes.discovery import Served, discover
from mlrelease_tui.connectors.kubernetes.finding import Finding
from mlrelease_tui.connectors.kubernetes.kubeconfig import Context
from mlrelease_tui.connectors.kubernetes.link import warnings_of
from mlrelease_tui.connectors.kubernetes.logs import PodLogs
from mlrelease_tui.connectors.kubernetes.logs_follow import Following
from mlrelease_tui.connectors.kubernetes.mirror import Mirror
from mlrelease_tui.connectors.kubernetes.performing import Performing
from mlrelease_tui.connectors.kubernetes.podwatch import PodWatch
from mlrelease_tui.connectors.kubernetes.session import Session
from mlrelease_tui.connectors.kubernetes.shelf import CAME_OR_WENT, Token
from mlrelease_tui.connectors.kubernetes.workloads import ALL
from mlrelease_tui.connectors.kubernetes.workloads.api import Choice, Frame, Reading, Wishing, Workload
from mlrelease_tui.domain.connection import ConnectionHealth
from mlrelease_tui.domain.details import Details
from mlrelease_tui.domain.logs import LogTail, LogWish
from mlrelease_tui.domain.plan import Check, Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Stamp
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import NotFound, ReleaseError

KIND: Final = "kubernetes"
_REMEMBERED: Final = 32
"""Endpoints whose last look is kept, for the plan that is made of it."""
_TOGETHER_S: Final = 0.1
"""Changes that come so close are told at once: a controller writes many objects for one thing that happens."""
_SERVED_S: Final = 300.0
"""Seconds after which it is asked again which kinds the cluster serves."""


class KubernetesConnector:
    """One context of a kubeconfig. The kubeconfig is read once, at the start: a later switch of contexts does not move us."""

    kind = KIND

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self._settings = settings
        self._context = _context_of(settings)
        self._api = KubeApi(self._context, settings)
        namespaces = tuple(str(item) for item in settings.options.get("namespaces", ()))
        home = self._context.namespace or "default"
        self.session = Session(self._api, home, str(settings.options.get("cluster_uid", "")))
        self._performing = Performing(self._api)
        self.mirror = Mirror(self._api, namespaces, settings.now, home=home)
        self._catalogue = Catalogue(self.mirror)
        self._pods = PodWatch(self._api)
        self._details = Detailing(self._api)
        self._logs = PodLogs(self._api, settings.timeout_s)
        self._served: Served | None = None
        self._served_s = 0.0
        self._discovering = asyncio.Lock()
        self._finding = Finding(self._api, ALL, _choice_of(settings))
        self._looked: OrderedDict[EndpointRef, tuple[tuple[Workload, str], Reading]] = OrderedDict()

    def __repr__(self) -> str:
        return f"KubernetesConnector({self.name!r}, {self._context.name!r})"

    async def probe(self) -> ConnectionHealth:
        started = time.monotonic()
        error: ReleaseError | None = None
        try:
            await self.session.look()
        except ReleaseError as failure:
            error = failure
        session = self.session
        cluster = f", cluster {session.uid[:8]}" if session.uid else ""
        return ConnectionHealth(
            name=self.name,
            kind=KIND,
            state=link_state(error),
            environment=self._settings.environment,
            error_code=error.code if error else "",
            error=SafeText(error.message if error else ""),
            hint=SafeText(error.hint if error else ""),
            latency_s=None if error else time.monotonic() - started,
            server=SafeText(f"Kubernetes {session.version}{cluster}" if session.version else ""),
            address=SafeText(self._context.server),
            identity=SafeText(session.user),
            credential_source=self._api.identity.source,
            capabilities=capabilities(self),
            warnings=tuple(SafeText(warning) for warning in self._warnings()),
            observed_at=self._settings.now(),
        )

    def _warnings(self) -> tuple[str, ...]:
        found = [*warnings_of(self._context), *self.mirror.notes(), *self.session.notes(), *self._catalogue.faults]
        if passed := self._catalogue.passed_over:
            found.append(f"{passed} other workloads, not models: `all = true` shows them")
        return tuple(found)

    async def close(self) -> None:
        await self._api.close()

    @property
    def requests(self) -> int:
        """How many requests were sent since the start; a watch is one."""
        return self._api.traffic.requests

    # --- reading

    async def endpoints(self) -> tuple[Endpoint, ...]:
        served = await self._discovered()
        await self.mirror.load(self._wanted(served), self._catalogue.note, optional=self._optional(served))
        self.mirror.check()
        terms = self._terms(served)
        found = await self._catalogue.refresh(terms, more=self._pods.shelves(served))
        changed = await self._pods.look(served, self._catalogue.ailing())
        if changed:
            self._catalogue.note(changed)
            found = await self._catalogue.refresh(terms, more=self._pods.shelves(served))
        return found

    def seen_at(self) -> datetime | None:
        return self.mirror.good_at()

    async def endpoint(self, ref: EndpointRef) -> Endpoint:
        served = await self._discovered()
        found = await self._finding.find(served, ref, self._known(ref))
        if found is None:
            self._looked.pop(ref, None)
            raise NotFound(f"{self.name} has no endpoint {ref}", hint="`mlrelease status` lists the endpoints")
        self.mirror.compare(found.world.objects)
        frame = replace(self._frame(), called=raw(ref.name))
        reading = found.workload.read(found.sighting, found.world, served, frame)
        self._remember(ref, (found.workload, found.sighting.name), reading)
        return reading.endpoint

    def _known(self, ref: EndpointRef) -> tuple[Workload, str] | None:
        """Which workload is meant: by the fleet as it is, else as it was when a plan was made."""
        looked = self._looked.get(ref)
        return self._catalogue.known(ref) or (looked[0] if looked is not None else None)

    def _remember(self, ref: EndpointRef, known: tuple[Workload, str], reading: Reading) -> None:
        self._looked[ref] = (known, reading)
        self._looked.move_to_end(ref)
        while len(self._looked) > _REMEMBERED:
            self._looked.popitem(last=False)

    def driver(self, endpoint: Endpoint) -> object:
        looked = self._looked.get(endpoint.ref)
        if looked is not None and looked[1].endpoint.revision == endpoint.revision:
            return looked[1].driver
        if self._served is None:
            return None
        reading = self._catalogue.reading(endpoint.ref, self._terms(self._served))
        return reading.driver if reading is not None and reading.endpoint.revision == endpoint.revision else None

    async def changed(self) -> AsyncIterator[EndpointRef | None]:
        """Watches every kind that is read. Told are the endpoints that a change touches, None where one may have come or gone, or
        where it is the link that changed. Ends where the cluster serves other kinds than before."""
        served = await self._discovered()
        await self.mirror.load(self._wanted(served), self._catalogue.note, optional=self._optional(served))
        self.mirror.check()
        waiting: dict[str, set[Token]] = {}
        woken = asyncio.Event()

        def tell(changes: Mapping[str, set[Token]]) -> None:
            self._catalogue.note(changes)
            for place, tokens in changes.items():
                waiting.setdefault(place, set()).update(tokens)
            woken.set()

        following = asyncio.create_task(self.mirror.follow(tell, self.session.pulse))
        try:
            # What changed between the list and the watch is told by the watch; what was listed, by this.
            yield None
            while not following.done():
                waking = asyncio.create_task(woken.wait())
                await asyncio.wait({waking, following}, return_when=asyncio.FIRST_COMPLETED, timeout=_SERVED_S)
                waking.cancel()
                # Also where something changes all the time: whether it is due is for the question itself to know.
                if await self._other_kinds(served):
                    return
                if not woken.is_set():
                    continue
                await asyncio.sleep(_TOGETHER_S)
                woken.clear()
                changes, waiting = waiting, {}
                for ref in self._told(changes):
                    yield ref
            following.result()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def _told(self, changes: Mapping[str, set[Token]]) -> tuple[EndpointRef | None, ...]:
        refs = self._catalogue.touched(changes)
        if not refs or any(CAME_OR_WENT in tokens for tokens in changes.values()):
            return (None,)
        return tuple(sorted(refs))

    async def _discovered(self) -> Served:
        if self._served is None:
            async with self._discovering:
                if self._served is None:
                    await self.session.look()
                    self._served, self._served_s = await discover(self._api), time.monotonic()
        return self._served

    async def _other_kinds(self, served: Served) -> bool:
        """Whether the cluster serves other kinds than before that we would read."""
        if time.monotonic() - self._served_s < _SERVED_S:
            return False
        try:
            self._served, self._served_s = await discover(self._api), time.monotonic()
        except ReleaseError:
            return False
        return self._wanted(self._served) != self._wanted(served)

    def _wanted(self, served: Served) -> tuple[Resource, ...]:
        needed = [resource for workload in ALL for resource in workload.needs(served)]
        return tuple(dict.fromkeys([*needed, *_wishes(served)]))

    def _optional(self, served: Served) -> frozenset[Resource]:
        """What is read where we may: one that may not be seen is no failure."""
        return frozenset(_wishes(served)) - {resource for workload in ALL for resource in workload.needs(served)}

    def _terms(self, served: Served) -> Terms:
        settings = self._settings
        return Terms(ALL, served, self._frame(), _choice_of(settings))

    def _frame(self) -> Frame:
        settings = self._settings
        registry = str(settings.options.get("registry", ""))
        return Frame(self.name, settings.environment, self._context.name, registry, settings.now())

    async def details(self, endpoint: Endpoint) -> Details:
        return await self._details.read(await self._discovered(), endpoint, self._settings.now())

    async def logs(self, endpoint: Endpoint, wish: LogWish) -> tuple[LogTail, ...]:
        return await self._logs.read(await self._discovered(), endpoint, wish)

    async def follow(self, endpoint: Endpoint, wish: LogWish) -> AsyncIterator[tuple[LogTail, ...]]:
        served = await self._discovered()
        pods = served.find("", "pods")
        if pods is not None:
            async with aclosing(Following(self._logs, pods, served, endpoint, wish).tails()) as found:
                async for tails in found:
                    yield tails

    # --- writing

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        await self.session.same_cluster()
        return await self._performing.perform(write, stamp)

    async def rehearse(self, write: Write) -> tuple[Check, ...]:
        return await self._performing.rehearse(write)


def _choice_of(settings: Settings) -> Choice:
    # What is bound by kind and name is bound by its name: which of the two the binding means is told by the address.
    plain = {(place, own) for place, called in settings.bound if (own := called.partition(".")[2])}
    return Choice(settings.options.get("all") is True, settings.bound | plain)


def _context_of(settings: Settings) -> Context:
    options = settings.options
    named = str(options.get("kubeconfig", ""))
    paths = kubeconfig.paths_of(settings.environ, named)
    inside = not named and not any(path.is_file() for path in paths) and incluster.is_inside(settings.environ)
    if options.get("in_cluster") is True or inside:
        return incluster.context(settings.environ)
    return kubeconfig.load(paths).context(str(options.get("context", "")))


def _wishes(served: Served) -> tuple[Resource, ...]:
    return tuple(resource for workload in ALL if isinstance(workload, Wishing) for resource in workload.wishes(served))
