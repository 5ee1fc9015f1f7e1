"""The endpoints of a mirror: one object that can't be read costs nobody else a row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from tests.unit.test_kubernetes_deployment import DEPLOYMENTS, FRAME, SERVED, SETS, deployment

from mlrelease_tui.connectors.kubernetes.catalogue import Catalogue, Terms
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.mirror import Mirror
from mlrelease_tui.connectors.kubernetes.shelf import Key, Packed, Shelves, packed
from mlrelease_tui.connectors.kubernetes.workloads.api import Choice, Frame, Reading, Sighting, Workload, World
from mlrelease_tui.connectors.kubernetes.workloads.deployment import Deployments
from mlrelease_tui.domain.rollout import Endpoint, Phase
from mlrelease_tui.domain.text import SafeText

SEEN = datetime(2026, 1, 2, 3, tzinfo=UTC)


class Kept(Mirror):
    """Holds these Deployments."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self._kept: dict[str, dict[Key, Packed]] = {}
        for item in items:
            key, small = packed(item)
            self._kept.setdefault(key[0], {})[key] = small

    def shelves(self) -> Shelves:
        return {DEPLOYMENTS: self._kept, SETS: {}}

    def good_at(self) -> datetime:
        return SEEN


class Stumbling(Deployments):
    """Falls over an object of that name, as a driver does over what nobody thought of."""

    def read(self, sighting: Sighting, world: World, served: Served, frame: Frame) -> Reading:
        if sighting.name == "odd":
            raise TypeError("unhashable \x1b[31mlist")
        return super().read(sighting, world, served, frame)


class Falling(Deployments):
    """Falls before it has told any."""

    kind = "Oddity"

    def sightings(self, world: World, served: Served) -> Iterator[Sighting]:
        raise KeyError("spec")


def named(name: str) -> dict[str, Any]:
    item = deployment("1")
    item["metadata"] |= {"name": name, "uid": name}
    return item


async def looked(*workloads: Workload) -> tuple[Catalogue, dict[str, Endpoint]]:
    catalogue = Catalogue(Kept(named("fraud"), named("odd"), named("search")))
    catalogue.note({"ml": set()})
    terms = Terms(workloads, SERVED, FRAME, Choice())
    return catalogue, {str(item.ref.name): item for item in await catalogue.refresh(terms)}


async def test_an_object_that_cannot_be_read_is_a_row_that_says_so_and_costs_no_other_its_row() -> None:
    catalogue, found = await looked(Stumbling())
    assert sorted(found) == ["fraud", "odd", "search"]
    assert found["fraud"].verbs
    odd = found["odd"]
    assert (odd.rollout.phase, odd.variants, odd.verbs) == (Phase.UNKNOWN, (), ())
    (problem,) = odd.problems
    assert "can't be read (TypeError: unhashable" in problem
    assert isinstance(problem, SafeText)
    assert "\x1b" not in problem
    assert catalogue.faults == ()


async def test_a_kind_that_cannot_be_looked_through_is_told_and_what_it_may_own_is_not_shown_as_its_own_master() -> (
    None
):
    catalogue, found = await looked(Falling(), Deployments())
    assert found == {}
    assert catalogue.faults == ("Oddity in ml can't be looked through, so more is not shown there: KeyError: 'spec'",)


async def test_what_was_found_before_a_kind_that_cannot_be_looked_through_is_shown() -> None:
    catalogue, found = await looked(Deployments(), Falling())
    assert sorted(found) == ["fraud", "odd", "search"]
    assert catalogue.faults
