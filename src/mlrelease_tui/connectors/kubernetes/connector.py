"""The connector: what a cluster serves as endpoints, read from the mirror or, where a plan needs it, from the server now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final

from mlrelease_tui.connectors.api import Receipt, Settings, capabilities
from mlrelease_tui.connectors.kubernetes import kubeconfig
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served, discover
from mlrelease_tui.connectors.kubernetes.link import warnings_of
from mlrelease_tui.connectors.kubernetes.mirror import Key, Mirror
from mlrelease_tui.connectors.kubernetes.objects import text
from mlrelease_tui.connectors.kubernetes.performing import Performing
from mlrelease_tui.connectors.kubernetes.workloads import ALL
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, Sighting, Wishing, Workload, World
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.plan import Check, Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Stamp
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import Forbidden, NotFound, ReleaseError, Unauthenticated

KIND: Final = "kubernetes"
_WHO: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class KubernetesConnector:
    """One context of a kubeconfig. The kubeconfig is read once, at the start: a later switch of contexts does not move us."""

    kind = KIND

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self._settings = settings
        options = settings.options
        paths = kubeconfig.paths_of(settings.environ, str(options.get("kubeconfig", "")))
        self._context = kubeconfig.load(paths).context(str(options.get("context", "")))
        self._api = KubeApi(self._context, settings)
        self._performing = Performing(self._api)
        self._mirror = Mirror(self._api, tuple(str(item) for item in options.get("namespaces", ())), settings.now)
        self._served: Served | None = None
        self._discovering = asyncio.Lock()
        self._known: dict[EndpointRef, tuple[Workload, Reading]] = {}

    def __repr__(self) -> str:
        return f"KubernetesConnector({self.name!r}, {self._context.name!r})"

    async def probe(self) -> ConnectionHealth:
        started = time.monotonic()
        error: ReleaseError | None = None
        version, user, uid = "", "", ""
        try:
            answer = await self._api.get("/version")
            version = text(answer, "gitVersion")
            user = await self._who()
            uid = await self._cluster_uid()
        except ReleaseError as failure:
            error = failure
        return ConnectionHealth(
            name=self.name,
            kind=KIND,
            state=_state_of(error),
            environment=self._settings.environment,
            error_code=error.code if error else "",
            error=SafeText(error.message if error else ""),
            hint=SafeText(error.hint if error else ""),
            latency_s=None if error else time.monotonic() - started,
            server=SafeText(f"Kubernetes {version}" + (f", cluster {uid[:8]}" if uid else "") if version else ""),
            address=SafeText(self._context.server),
            identity=SafeText(user),
            credential_source=self._api.identity.source,
            capabilities=capabilities(self),
            warnings=tuple(SafeText(warning) for warning in warnings_of(self._context)),
            observed_at=self._settings.now(),
        )

    async def _who(self) -> str:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await self._api.create(_WHO, body, asked="who we are")
        return text(answer, "status", "userInfo", "username")

    async def _cluster_uid(self) -> str:
        """The uid of the namespace kube-system: the usual name of a cluster; "" where we may not read it."""
        try:
            return text(await self._api.get("/api/v1/namespaces/kube-system"), "metadata", "uid")
        except (Forbidden, NotFound):
            return ""

    async def close(self) -> None:
        await self._api.close()

    # --- reading

    async def endpoints(self) -> tuple[Endpoint, ...]:
        served = await self._discovered()
        if not self._mirror.live:
            await self._mirror.load(self._wanted(served), optional=self._optional(served))
        world = World({resource: self._mirror.objects(resource) for resource in self._wanted(served)})
        found = self._readings(world, served)
        self._known = found
        return tuple(found[ref][1].endpoint for ref in sorted(found))

    async def endpoint(self, ref: EndpointRef) -> Endpoint:
        served = await self._discovered()
        key = (raw(ref.namespace), raw(ref.name))
        known = self._known.get(ref)
        for workload in [known[0]] if known is not None else [item for item in ALL if item.needs(served)]:
            try:
                world = await workload.look(self._api, served, key)
            except NotFound:
                continue
            for sighting in workload.sightings(world, served):
                if (sighting.namespace, sighting.name) == key:
                    reading = workload.read(sighting, world, served, self._frame())
                    self._known[ref] = (workload, reading)
                    return reading.endpoint
        self._known.pop(ref, None)
        raise NotFound(f"{self.name} has no endpoint {ref}", hint="`mlrelease status` lists the endpoints")

    def driver(self, endpoint: Endpoint) -> object:
        known = self._known.get(endpoint.ref)
        return known[1].driver if known is not None and known[1].endpoint.revision == endpoint.revision else None

    async def changed(self) -> AsyncIterator[EndpointRef | None]:
        """Watches every kind that is read; an object that changed is told as its endpoint where that is known."""
        served = await self._discovered()
        await self._mirror.load(self._wanted(served), optional=self._optional(served))
        queue: asyncio.Queue[EndpointRef | None] = asyncio.Queue()

        def tell(resource: Resource, objects: Mapping[Key, Object | None]) -> None:
            del resource, objects
            if queue.empty():
                queue.put_nowait(None)

        following = asyncio.create_task(self._mirror.follow(tell))
        try:
            while True:
                getting = asyncio.create_task(queue.get())
                await asyncio.wait({getting, following}, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    getting.cancel()
                    await following
                    return
                yield getting.result()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _discovered(self) -> Served:
        if self._served is None:
            async with self._discovering:
                if self._served is None:
                    self._served = await discover(self._api)
        return self._served

    def _wanted(self, served: Served) -> tuple[Resource, ...]:
        needed = [resource for workload in ALL for resource in workload.needs(served)]
        return tuple(dict.fromkeys([*needed, *_wishes(served)]))

    def _optional(self, served: Served) -> frozenset[Resource]:
        """What is read where we may: one that may not be seen is no failure."""
        return frozenset(_wishes(served)) - {resource for workload in ALL for resource in workload.needs(served)}

    def _readings(self, world: World, served: Served) -> dict[EndpointRef, tuple[Workload, Reading]]:
        """Every endpoint once: what one workload stands for is no endpoint of another."""
        frame, claimed = self._frame(), set[str]()
        found: dict[EndpointRef, tuple[Workload, Reading]] = {}
        for workload, sighting in _sighted(world, served):
            if text(sighting.item, "metadata", "uid") in claimed:
                continue
            claimed |= sighting.claims
            reading = workload.read(sighting, world, served, frame)
            found.setdefault(reading.endpoint.ref, (workload, reading))
        return found

    def _frame(self) -> Frame:
        settings = self._settings
        registry = str(settings.options.get("registry", ""))
        return Frame(self.name, settings.environment, self._context.name, registry, settings.now())

    # --- writing

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        return await self._performing.perform(write, stamp)

    async def rehearse(self, write: Write) -> tuple[Check, ...]:
        return await self._performing.rehearse(write)


def _wishes(served: Served) -> tuple[Resource, ...]:
    return tuple(resource for workload in ALL if isinstance(workload, Wishing) for resource in workload.wishes(served))


def _sighted(world: World, served: Served) -> Iterable[tuple[Workload, Sighting]]:
    for workload in ALL:
        if workload.needs(served):
            for sighting in workload.sightings(world, served):
                yield workload, sighting


def _state_of(error: ReleaseError | None) -> LinkState:
    if isinstance(error, Unauthenticated | Forbidden):
        return LinkState.AUTH
    return LinkState.OK if error is None else LinkState.DOWN
