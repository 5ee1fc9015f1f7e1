"""Pages lie over a view, and views follow one another: what is valid everywhere is so on a page too, and nothing opens unseen."""

from __future__ import annotations

import pytest
from tests.ui import scenes
from tests.ui.driver import Driver, driving

from mlrelease_tui.domain.policy import Access
from mlrelease_tui.screens.overlay import PageScreen
from mlrelease_tui.store.facts import AccessChanged, EndpointsObserved
from mlrelease_tui.widgets.menu import Menu
from mlrelease_tui.widgets.prompt import Prompt

FRAUD = scenes.ref("fraud-scorer")


def covered(driver: Driver) -> bool:
    return isinstance(driver.app.screen, PageScreen)


@pytest.mark.parametrize("home", ["app.view_fleet", "app.view_models"])
async def test_a_view_that_is_opened_on_a_page_takes_its_place(home: str) -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press(home)
        await driver.press("thing.describe")
        assert covered(driver)
        await driver.press("app.view_rollouts")
        assert not covered(driver)
        assert driver.lines[0].startswith(" Rollouts")
        await driver.press("app.view_fleet")
        assert not covered(driver)
        assert driver.lines[0].startswith(" Fleet")
        assert len(driver.app.screen_stack) == 1


@pytest.mark.parametrize(
    ("pressed", "kind"),
    [("app.command", Prompt), ("app.palette", Prompt), ("app.arm", Prompt), ("app.connection", Menu)],
)
async def test_what_a_key_opens_on_a_page_is_seen(pressed: str, kind: type) -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("endpoint.explain")
        await driver.press(pressed)
        assert not covered(driver)
        dock = driver.app.current.dock
        assert dock is not None
        assert isinstance(dock, kind)
        assert dock.has_focus_within


async def test_h_on_a_page_closes_the_page_and_nothing_below_it() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("rows.filter")
        await driver.type("fraud")
        await driver.key("enter")
        await driver.press("endpoint.explain")
        await driver.key("h")
        assert not covered(driver)
        assert "[filter: fraud]" in driver.text


async def test_disarming_on_a_page_is_said() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.desk.arm(15)
        await driver.press("endpoint.explain")
        await driver.press("app.arm")
        assert "writes are disarmed" in driver.lines[-1]


async def test_quitting_from_a_page_while_something_is_under_way_asks_where_it_is_seen() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.desk.arm(15)
        driver.desk.gate.clear()
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        await driver.plan.confirm()
        await driver.press("plan.cancel")
        await driver.press("endpoint.explain")
        await driver.press("app.quit")
        assert "under way" in driver.text
        await driver.key("n")
        driver.desk.gate.set()
        await driver.until(lambda: not driver.desk.busy)


async def test_frozen_the_header_still_says_whether_one_may_write() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("app.freeze")
        await driver.press("app.arm")
        await driver.key("enter")
        assert "FROZEN" in driver.lines[0]
        assert "[ARMED until 01:50Z]" in driver.lines[0]
        await driver.press("endpoint.actions")
        assert "READ-ONLY" not in driver.text
        await driver.key("escape")
        await driver.emit(AccessChanged(Access(locked="the audit can't be written")))
        assert "[LOCKED]" in driver.lines[0]


async def test_what_is_gone_from_a_frozen_fleet_is_not_another_endpoint() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.select("churn")
        await driver.press("list.open")
        await driver.press("app.view_fleet")
        await driver.press("app.freeze")
        await driver.select("fraud-scorer")
        rest = (item for item in driver.services.store.state.endpoints.values() if item.ref.connection == "prod-eu")
        left = tuple(item for item in rest if item.ref != FRAUD)
        await driver.emit(EndpointsObserved("prod-eu", left, driver.clock.now()))
        await driver.press("list.open")
        assert "fraud-scorer" in driver.lines[0]
        await driver.press("app.freeze")
        assert "fraud-scorer is not there any more" in driver.text
        await driver.press("endpoint.rollback")
        assert driver.desk.prepared == []


async def test_the_footer_says_what_the_arming_key_does_now() -> None:
    async with driving(scenes.degraded()) as driver:
        assert "W arm " in driver.lines[-1]
        await driver.desk.arm(15)
        await driver.settle()
        assert "W disarm" in driver.lines[-1]
        await driver.press("app.arm")
        assert "[READ-ONLY]" in driver.lines[0]


async def test_what_is_closed_draws_nothing_any_more() -> None:
    """A draw that was asked for before may come after: a resize and Esc right behind it."""
    async with driving(scenes.degraded()) as driver:
        await driver.press("endpoint.rollback")
        panel = await driver.plan.ready()
        await driver.press("plan.cancel")
        panel.look(Access(locked="no"))
        await driver.press("endpoint.explain")
        page = driver.app.screen
        assert isinstance(page, PageScreen)
        await driver.key("escape")
        page.redraw()
        assert driver.app.is_running
