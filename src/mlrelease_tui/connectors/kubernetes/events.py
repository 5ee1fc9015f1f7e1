"""What a cluster remembers of a release: the events of its workload, of what that owns, and of its pods, gone ones too.

Source: core/v1 Event. An event is kept for an hour; the same again counts up (`count`, or `series.count` of newer reporters).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Raw
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.objects import at, count, text, when
from mlrelease_tui.connectors.kubernetes.shelf import opened
from mlrelease_tui.domain.details import Happening
from mlrelease_tui.domain.text import SafeText

SHOWN: Final = 100
READ: Final = 5_000
"""Events of a namespace that are looked through; of more only the first ones in the server's order."""
_LONGEST: Final = 400
_START: Final = datetime.min.replace(tzinfo=UTC)


async def happenings(
    api: KubeApi, served: Served, place: str, names: Collection[str], owners: Collection[str]
) -> tuple[tuple[Happening, ...], str]:
    """Events about objects with one of these `names`, or about what one of `owners` made ("fraud-7d9-x" of "fraud-7d9"), newest
    first; and a word on what was not looked at. Forbidden where we may not see events."""
    events = served.find("", "events")
    if events is None:
        return (), "the cluster serves no events"
    starts = tuple(f"{owner}-" for owner in owners)
    found: list[Object] = []
    seen, note = 0, ""
    async for page in api.pages(events, place):
        found += await asyncio.to_thread(_about, page, frozenset(names), starts)
        seen += len(page.items)
        if seen >= READ and not page.last:
            note = f"only {seen} events of the namespace were looked through"
            break
    # Times are of whole seconds mostly: the store's version, which only grows, tells what came later within one.
    found.sort(key=_version)
    told = sorted((happening_of(event) for event in reversed(found)), key=lambda one: one.at or _START, reverse=True)
    return tuple(told[:SHOWN]), note


def _version(event: Object) -> int:
    told = text(event, "metadata", "resourceVersion")
    return int(told) if told.isdecimal() else 0


def _about(page: Raw, names: frozenset[str], starts: tuple[str, ...]) -> list[Object]:
    events = (opened(item) for item in page.items)
    return [event for event in events if _meant(text(event, "involvedObject", "name"), names, starts)]


def _meant(named: str, names: frozenset[str], starts: Iterable[str]) -> bool:
    return named in names or any(named.startswith(start) for start in starts)


def happening_of(event: Object) -> Happening:
    """One event in our words."""
    times = (
        at(event, "series", "lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        at(event, "metadata", "creationTimestamp"),
    )
    who = text(event, "reportingComponent") or text(event, "source", "component")
    return Happening(
        next((moment for found in times if (moment := when(found)) is not None), None),
        event.get("type") != "Normal",
        SafeText(text(event, "reason")),
        SafeText(f"{text(event, 'involvedObject', 'kind')} {text(event, 'involvedObject', 'name')}"),
        SafeText(text(event, "message").strip(), limit=_LONGEST),
        max(count(event, "series", "count"), count(event, "count"), 1),
        SafeText(who),
    )
