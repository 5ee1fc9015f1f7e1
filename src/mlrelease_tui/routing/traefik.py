"""The Traefik driver: writes the document, then believes only what Traefik's API shows.

`traefik_config_last_reload_success` advances for a broken document too, so it proves nothing and is not read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mlrelease_tui.domain.expectation import percent
from mlrelease_tui.errors import BackendError, Rejected
from mlrelease_tui.routing.api import (
    Applied,
    Capabilities,
    DrainReport,
    Drifted,
    Health,
    InFlight,
    Observed,
    StaleGeneration,
    Stamp,
    TrafficPlan,
    Unconfirmed,
    check_plan,
)
from mlrelease_tui.routing.probing import Presence, Probe, probe_server
from mlrelease_tui.routing.traefik_api import TraefikApi
from mlrelease_tui.routing.traefik_directory import DocumentStore
from mlrelease_tui.routing.traefik_document import (
    CAPABILITIES,
    Document,
    RouteEntry,
    TraefikSettings,
    live_generation,
    live_status,
    service_name,
    unlike_live,
)

_DRAIN_POLL_S = 0.1
_SPLITS_TOLD = 4


def _utc_now() -> datetime:
    return datetime.now(UTC)


class TraefikRouter:
    """One Traefik host: a document store, and the API that shows what became of it. Implements `Router`.

    `confirm_s`: how long `apply` waits for the read-back. `lock_s`: how long for another writer. `probe` None: servers
    cannot be reached from here (a remote Docker host), so only the router's own health check speaks of them. `refusal`: why
    Traefik does not take the document, where its log is at hand, "" where it took it.
    """

    def __init__(
        self,
        store: DocumentStore,
        api: TraefikApi,
        *,
        settings: TraefikSettings | None = None,
        confirm_s: float = 5.0,
        lock_s: float = 8.0,
        probe: Probe | None = probe_server,
        refusal: Callable[[], str] | None = None,
        now: Callable[[], datetime] = _utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._api = api
        self._settings = settings or TraefikSettings()
        self._confirm_s = confirm_s
        self._lock_s = lock_s
        self._probe = probe
        self._refusal = refusal
        self._now = now
        self._monotonic = monotonic
        self._seen_drained: dict[tuple[str, str], datetime | None] = {}
        # When, on a clock that nobody sets, the versions lost their traffic that lost it by our hand.
        self._idle_from: dict[tuple[str, str], tuple[datetime, float]] = {}

    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def metric_labels(self, route: str, version: str, *, mirrored: bool = False) -> Mapping[str, str]:
        return {"service": service_name(route, version, mirrored=mirrored)}

    async def routes(self) -> tuple[str, ...]:
        """Raises `Drifted` where the document is damaged."""
        return (await self._document()).routes()

    async def read(self, route: str) -> Observed:
        entry, drift, error = None, "", ""
        live: Mapping[str, Any] = {}
        try:
            _, entry = await self._current(route)
        except Drifted as failure:
            drift = str(failure)
        try:
            live = await self._api.snapshot()
        except BackendError as failure:
            error = str(failure)
        if entry and not error:
            drift = await self._explained(unlike_live(entry, live))
        plan = entry.plan if entry else None
        return Observed(
            route=route,
            plan=plan,
            generation=plan.generation if plan else 0,
            live_generation=live_generation(route, live),
            health={v.name: _health(live_status(route, v.name, live)) for v in plan.versions} if plan else {},
            drift=drift,
            error=error,
            observed_at=self._now(),
        )

    async def apply(self, plan: TrafficPlan, expect: int) -> Applied:
        check_plan(plan, self.capabilities())
        # The lock is held until the read-back, so that no later write can hide this one from it.
        async with self._store.locked(self._lock_s):
            document, current = await self._current(plan.route)
            generation = current.plan.generation if current else 0
            if generation != expect:
                stamp = Stamp.of(current.plan.state if current else {})
                raise StaleGeneration(plan.route, expect, generation, stamp)
            started = self._monotonic()
            changed = current is None or not current.plan.same_as(plan) or current.settings != self._settings
            wanted = self._next_entry(plan, current) if changed or current is None else current
            if changed:
                self._check_removals(plan, current)
                await self._check_servers(plan, current)
                await self._write(document, wanted)
            await self._confirm(wanted)
            return Applied(wanted.plan, changed, self._monotonic() - started)

    async def restore(self, route: str) -> Applied:
        """Puts the last good state of a damaged or foreign-edited route back, as a new generation.

        Raises `Rejected` where there is no last good copy, or where nothing is wrong with the route.
        """
        async with self._store.locked(self._lock_s):
            started = self._monotonic()
            good = await self._last_good()
            entry = good.entry(route)
            if entry is None:
                raise Rejected(f"there is no last good copy of route {route}", hint="nothing was changed")
            document = good
            try:
                document = await self._document()
                await self._entry(document, route, entry)
            except Drifted:
                pass
            else:
                raise Rejected(f"route {route} is as it was written", hint="apply a plan to change it")
            plan = replace(entry.plan, generation=entry.plan.generation + 1)
            wanted = replace(entry, plan=plan)
            await self._write(document, wanted)
            await self._confirm(wanted)
            return Applied(wanted.plan, True, self._monotonic() - started)

    async def drained(
        self, route: str, version: str, timeout_s: float, in_flight: InFlight | None = None
    ) -> DrainReport:
        """Without `in_flight`, or where it gives None, a version is drained once the longest request must be over.

        Raises `Rejected` where requests still reach the version: then it can never drain.
        """
        _, entry = await self._current(route)
        if entry is None or entry.plan.version(version) is None:
            return DrainReport(route, version, True, None, 0.0, "the router does not know this version")
        if version in entry.plan.receiving():
            raise Rejected(
                f"version {version} of route {route} still receives requests, so it cannot drain",
                hint="take its weight, mirror and header rule away first",
            )
        await self._confirm(entry)
        started = self._monotonic()
        idle_since = entry.idle_since.get(version)
        quiet, count = 0, None
        while True:
            count = await in_flight() if in_flight else None
            # A request that left the router before the change may not have reached the server yet: ask twice.
            quiet = quiet + 1 if count == 0 else 0
            waited = self._monotonic() - started
            if quiet >= 2:
                self._seen_drained[route, version] = idle_since
                return DrainReport(route, version, True, 0, waited, "the server has no request in flight")
            if count is None and (self._outlived(entry, version) or waited > entry.settings.longest_request_s):
                self._seen_drained[route, version] = idle_since
                return DrainReport(route, version, True, None, waited, "the longest request must be over")
            if waited >= timeout_s:
                reason = f"{count} requests in flight" if count is not None else "the server gives no count"
                return DrainReport(route, version, False, count, waited, reason)
            await asyncio.sleep(min(_DRAIN_POLL_S, max(timeout_s - waited, 0.001)))

    async def aclose(self) -> None:
        await self._api.aclose()

    async def _document(self, route: str = "") -> Document:
        """The document as it is; `route` is the one it is read for, "" for all of them."""
        try:
            text = await self._store.read()
            if text is None and await self._store.read_last_good() is not None:
                raise Drifted("the routes document was removed by another hand")
            return Document.parse(text)
        except Drifted as failure:
            raise await self._with_way_back(failure, route) from None

    async def _current(self, route: str) -> tuple[Document, RouteEntry | None]:
        """The document, and what is stored of a route. The copy is read first: a write in between can only make the document
        the newer of the two, and an older document is what drift looks like."""
        good = await self._last_good_entry(route)
        document = await self._document(route)
        return document, await self._entry(document, route, good)

    async def _entry(self, document: Document, route: str, good: RouteEntry | None) -> RouteEntry | None:
        try:
            entry = document.entry(route)
            found, written = (item.plan.generation if item else 0 for item in (entry, good))
            if found < written:
                raise Drifted(
                    f"route {route} was put back to generation {found} by another hand; {written} was the last written"
                )
            if found == written and entry != good:
                # As whole as ours, but no plan was ever applied to it: who planned on what was there before must hear of it.
                raise Drifted(f"route {route} was edited by another hand: generation {found} was written otherwise")
        except Drifted as failure:
            raise await self._with_way_back(failure, route) from None
        return entry

    async def _write(self, document: Document, entry: RouteEntry) -> None:
        good = document.last_good_after(await self._last_good(), entry)
        await self._store.write(document.with_entry(entry).text(), good.text())

    async def _last_good(self) -> Document:
        try:
            return Document.parse(await self._store.read_last_good())
        except Drifted:
            return Document()

    async def _last_good_entry(self, route: str) -> RouteEntry | None:
        try:
            return (await self._last_good()).entry(route)
        except Drifted:
            return None

    async def _with_way_back(self, failure: Drifted, route: str) -> Drifted:
        """The same with what to do next, and what that does to the split of `route`, or of every route."""
        good = await self._last_good()
        if not good.routes():
            return Drifted(failure.message, hint="nothing was changed; there is no last good copy to put back")
        splits = []
        for name in [route] if route else good.routes():
            with suppress(Drifted):
                entry = good.entry(name)
                splits.append(_split_words(entry.plan) if entry else f"{name}: none")
        more = f" and {len(splits) - _SPLITS_TOLD} more" if len(splits) > _SPLITS_TOLD else ""
        said = "; ".join(splits[:_SPLITS_TOLD]) + more
        effect = f"that gives every route in it the split that was written last ({said})"
        return Drifted(failure.message, hint=f"nothing was changed; {self._store.restore_hint()}; {effect}")

    def _next_entry(self, plan: TrafficPlan, current: RouteEntry | None) -> RouteEntry:
        before = current.plan.receiving() if current else frozenset()
        earlier = current.idle_since if current else {}
        idle_since = {}
        for version in plan.versions:
            if version.name in plan.receiving():
                continue
            if version.name in before:
                idle_since[version.name] = self._now()
                self._idle_from[plan.route, version.name] = idle_since[version.name], self._monotonic()
            elif version.name in earlier:
                idle_since[version.name] = earlier[version.name]
        generation = current.plan.generation + 1 if current else 1
        return RouteEntry(replace(plan, generation=generation), self._settings, idle_since)

    def _check_removals(self, plan: TrafficPlan, current: RouteEntry | None) -> None:
        if current is None:
            return
        for version in current.plan.versions:
            if plan.version(version.name) is not None:
                continue
            shown = f"version {version.name} of route {plan.route}"
            if version.name in current.plan.receiving():
                raise Rejected(
                    f"{shown} still receives requests ({version.weight_bp} basis points) and cannot be removed",
                    hint="nothing was changed; give it weight 0, let it drain, then remove it",
                )
            if not self._finished(current, version.name):
                raise Rejected(
                    f"{shown} may still have requests in flight and cannot be removed",
                    hint="nothing was changed; wait until it has drained",
                )

    def _finished(self, entry: RouteEntry, version: str) -> bool:
        idle_since = entry.idle_since.get(version)
        if idle_since is None:
            return True
        return self._seen_drained.get((entry.plan.route, version)) == idle_since or self._outlived(entry, version)

    def _outlived(self, entry: RouteEntry, version: str) -> bool:
        """Whether a version has been without traffic for longer than the router lets any request last."""
        idle_since = entry.idle_since.get(version)
        # Idle counts from the write; requests came until it took effect.
        longest_s = entry.settings.longest_request_s + CAPABILITIES.worst_effect_s
        since, began = self._idle_from.get((entry.plan.route, version), (None, 0.0))
        if idle_since is not None and idle_since == since:
            return self._monotonic() - began > longest_s
        return idle_since is None or self._now() - idle_since > timedelta(seconds=longest_s)

    async def _check_servers(self, plan: TrafficPlan, current: RouteEntry | None) -> None:
        """Refuses to send users to a server that is not there.

        The way back to stable is the safe direction: a slow or failing health check does not bar it, a dead address does.
        """
        if self._probe is None:
            return
        gaining = [v for v in plan.versions if v.name in plan.answering() and _gains(plan, current, v.name)]
        timeout_s = self._settings.health_timeout_s
        found = await asyncio.gather(*(self._probe(v.url, v.health_path, timeout_s) for v in gaining))
        for version, presence in zip(gaining, found, strict=True):
            if presence is Presence.ABSENT:
                raise Rejected(
                    f"nothing answers at {version.url} for version {version.name} of route {plan.route}",
                    hint="nothing was changed; start the model server first",
                )
            if presence is Presence.NOT_READY and (version.name != plan.stable or current is None):
                raise Rejected(
                    f"version {version.name} of route {plan.route} is not ready: {version.url}{version.health_path}",
                    hint="nothing was changed; wait until its health check passes, or read its log",
                )

    async def _confirm(self, wanted: RouteEntry) -> None:
        deadline = self._monotonic() + self._confirm_s
        pause_s = 0.01
        while True:
            try:
                reason = unlike_live(wanted, await self._api.snapshot())
            except BackendError as failure:
                reason = failure.message
            if not reason:
                return
            if self._monotonic() >= deadline:
                raise Unconfirmed(
                    f"generation {wanted.plan.generation} of route {wanted.plan.route} is written, but was not seen "
                    f"in force within {self._confirm_s:g} s: {await self._explained(reason)}",
                    hint="read the route again; it takes effect as soon as Traefik loads its document",
                )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.1)

    async def _explained(self, difference: str) -> str:
        """How the router differs from the document, with what it says itself against taking that one."""
        if not difference or self._refusal is None:
            return difference
        said = await asyncio.to_thread(self._refusal)
        return f"{difference}; Traefik refuses the document: {said[:200]!a}" if said else difference


def _split_words(plan: TrafficPlan) -> str:
    shares = [f"{item.name} {percent(item.weight_bp)}" for item in plan.versions if item.weight_bp]
    mirror = f", {plan.mirror.percent}% mirrored to {plan.mirror.version}" if plan.mirror else ""
    return f"{plan.route}: {' + '.join(shares)}{mirror}"


def _gains(plan: TrafficPlan, current: RouteEntry | None, name: str) -> bool:
    before = current.plan.version(name) if current else None
    after = plan.version(name)
    if current is None or before is None or after is None or before.url != after.url:
        return True
    newly_reached = name in plan.answering() and name not in current.plan.answering()
    return newly_reached or after.weight_bp > before.weight_bp


def _health(status: Mapping[str, str]) -> Health:
    if not status:
        return Health.UNKNOWN
    return Health.UP if all(value == "UP" for value in status.values()) else Health.DOWN
