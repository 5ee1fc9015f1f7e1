"""A fleet too large to be judged at once: it comes in slices, keys are answered meanwhile, and no row is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType

from tests.ui import scenes
from tests.ui.driver import Driver, driving

from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Phase
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.domain.verdict import Verdict, VerdictKind
from mlrelease_tui.screens.slices import AT_ONCE
from mlrelease_tui.store import select
from mlrelease_tui.store.facts import EndpointsObserved, VerdictReached
from mlrelease_tui.store.state import State

COUNT = 4 * AT_ONCE
PATTERN: Endpoint = next(iter(scenes.healthy().endpoints.values()))


def many(second: float = 0.0) -> tuple[Endpoint, ...]:
    at = scenes.NOW + timedelta(seconds=second)
    return tuple(
        replace(PATTERN, ref=EndpointRef("prod-eu", "ml", f"scorer-{number:05}"), observed_at=at)
        for number in range(COUNT)
    )


def cached() -> State:
    """The fleet of the last run."""
    endpoints = MappingProxyType({item.ref: item for item in many()})
    return replace(State(), endpoints=endpoints, from_cache=frozenset({"prod-eu"}))


async def listed(driver: Driver) -> None:
    """Wait until what is listed is what judging everything anew gives."""

    def right() -> bool:
        state, now = driver.services.store.state, driver.clock.now()
        return driver.app.current.statuses() == select.fleet(state, now) and len(driver.table.keys) == len(
            state.endpoints
        )

    await driver.until(right, "the whole fleet as it is judged")


async def test_the_last_known_fleet_comes_whole() -> None:
    async with driving(cached()) as driver:
        await listed(driver)
        assert driver.table.keys[0] == "prod-eu/ml/scorer-00000"
        await driver.until(lambda: f"{COUNT} STALE" in driver.lines[0], "the counts")


async def test_what_begins_to_burn_comes_first_while_keys_are_answered() -> None:
    async with driving(cached()) as driver:
        await listed(driver)
        store = driver.services.store
        store.emit(EndpointsObserved("prod-eu", many(1), scenes.NOW + timedelta(seconds=1)))
        burning = EndpointRef("prod-eu", "ml", f"scorer-{COUNT - 1:05}")
        store.emit(VerdictReached(burning, Verdict(VerdictKind.HARM, "it burns")))
        await driver.press("list.down", "list.down")
        assert driver.table.key == "prod-eu/ml/scorer-00002", "a key was not answered"
        await listed(driver)
        assert driver.table.keys[0] == burning.id
        assert driver.table.key == "prod-eu/ml/scorer-00002", "the cursor left its row"
        assert driver.app.current.statuses()[0].severity is Severity.CRIT


async def test_a_filter_and_an_order_hold_for_all_rows() -> None:
    async with driving(cached()) as driver:
        await listed(driver)
        await driver.command("filter 0001")
        wanted = [item.ref.id for item in many() if "0001" in item.ref.name]
        await driver.until(lambda: list(driver.table.keys) == wanted, "the filtered rows")
        await driver.press("rows.reverse")
        await driver.until(lambda: list(driver.table.keys) == wanted[::-1], "the rows reversed")
        assert "scorer-00019" in driver.text


async def test_a_view_opened_on_a_row_stands_on_it_once_it_is_listed() -> None:
    rows = many()
    moving = tuple(
        replace(item, rollout=replace(item.rollout, from_version="1", to_version="2", phase=Phase.PROGRESSING))
        for item in rows
    )
    state = replace(State(), endpoints=MappingProxyType({item.ref: item for item in moving}))
    async with driving(state) as driver:
        await driver.until(lambda: len(driver.table.keys) == COUNT, "the fleet")
        await driver.press("list.down", "list.down")
        await driver.press("app.view_rollouts")
        await driver.until(lambda: driver.view == "rollouts" and len(driver.table.keys) == COUNT, "the rollouts")
        assert driver.table.key == "prod-eu/ml/scorer-00002"
