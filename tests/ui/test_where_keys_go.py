"""What an operator types reaches what it is meant for: letters of a reason never send, Tab and clicks leave nothing behind, a plan
that nobody can read or has read is not sent."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.ui import scenes
from tests.ui.driver import Driver, driving
from textual.widgets import Input

from mlrelease_tui.domain.plan import Plan, Refusal
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.screens.services import Appearance
from mlrelease_tui.store.facts import EndpointObserved, EndpointsObserved
from mlrelease_tui.widgets.menu import Menu
from mlrelease_tui.widgets.plan_panel import DEAF_S, Stance
from mlrelease_tui.widgets.prompt import Prompt

FRAUD = scenes.ref("fraud-scorer")


def moved(driver: Driver, revision: str = "r-other") -> EndpointObserved:
    """Somebody else changed the endpoint."""
    before = driver.services.store.state.endpoints[FRAUD]
    at = driver.clock.now() + timedelta(seconds=1)
    return EndpointObserved(replace(before, revision=revision, observed_at=at))


async def open_plan(driver: Driver) -> None:
    await driver.desk.arm(15)
    await driver.press("endpoint.rollback")
    await driver.plan.ready()


async def plan_anew(driver: Driver) -> None:
    """The plan that is open goes stale, and another one stands in its place."""
    await driver.emit(moved(driver))
    await driver.until(lambda: len(driver.desk.prepared) == 2, "a second plan")
    await driver.plan.ready()


async def test_a_reason_that_is_typed_while_the_plan_is_made_anew_sends_nothing() -> None:
    async with driving(scenes.degraded()) as driver:
        await open_plan(driver)
        await driver.press("plan.reason")
        await driver.type("laten")
        await plan_anew(driver)
        await driver.plan.confirm()
        assert driver.desk.submitted == [], "y is a letter of the reason"
        assert "lateny" in driver.line_with("reason")
        assert "nothing is sent while you type" in driver.lines[-1]
        await driver.key("enter")
        await driver.plan.confirm()
        assert driver.desk.submitted == [], "the new plan is deaf from when keys reach it"
        driver.clock.advance(DEAF_S + 0.1)
        await driver.plan.confirm()
        await driver.plan.stands(Stance.DONE)
        (plan, why, _) = driver.desk.submitted[0]
        assert (plan.read_from[0].revision, why) == ("r-other", "lateny")


async def test_a_reason_goes_on_being_typed_after_a_look_at_another_window() -> None:
    async with driving(scenes.degraded()) as driver:
        await open_plan(driver)
        await driver.press("plan.reason")
        await driver.type("INC-7 ")
        driver.app.app_focus = False
        await plan_anew(driver)
        driver.app.app_focus = True
        await driver.settle()
        await driver.plan.confirm()
        assert driver.desk.submitted == []
        assert "INC-7 y" in driver.line_with("reason")


async def test_a_plan_that_comes_while_another_window_is_looked_at_is_deaf_at_first() -> None:
    async with driving(scenes.degraded()) as driver:
        await open_plan(driver)
        driver.app.app_focus = False
        await plan_anew(driver)
        driver.app.app_focus = True
        await driver.settle()
        await driver.plan.confirm()
        assert driver.desk.submitted == []
        driver.clock.advance(DEAF_S + 0.1)
        await driver.plan.confirm()
        assert len(driver.desk.submitted) == 1


async def test_a_reason_goes_on_being_typed_where_no_plan_comes() -> None:
    async with driving(scenes.degraded()) as driver:
        await open_plan(driver)
        await driver.press("plan.reason")
        await driver.type("lat")
        driver.desk.refuses = Refusal("busy", "cj promotes fraud-scorer now", "wait for it")
        await driver.emit(moved(driver))
        await driver.plan.stands(Stance.REFUSED)
        await driver.type("qB")
        assert driver.plan.open
        assert isinstance(driver.app.focused, Input)
        assert driver.app.focused.value == "latqB"
        await driver.key("escape")
        assert driver.plan.open, "the first Esc leaves the field"
        await driver.key("escape")
        assert not driver.plan.open


@pytest.mark.parametrize("opener", ["app.command", "app.connection"])
async def test_a_plan_that_comes_leaves_the_keys_to_what_was_opened_meanwhile(opener: str) -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.desk.arm(15)
        waits = asyncio.Event()
        prepare = driver.desk.prepare

        async def slow(intent: object) -> Plan | Refusal:
            await waits.wait()
            return await prepare(intent)  # type: ignore[arg-type]

        driver.desk.prepare = slow  # type: ignore[method-assign]
        await driver.press("endpoint.rollback")
        await driver.plan.stands(Stance.PLANNING)
        await driver.press(opener)
        waits.set()
        await driver.plan.ready()
        dock = driver.app.current.dock
        assert isinstance(dock, Prompt | Menu)
        assert dock.has_focus_within
        if isinstance(dock, Prompt):
            await driver.plan.confirm()
            assert driver.desk.submitted == [], "y was typed into what lies over the plan"
        await driver.key("escape")
        assert driver.plan.open
        await driver.plan.confirm()
        assert driver.desk.submitted == [], "deaf from when keys reach it"
        driver.clock.advance(DEAF_S + 0.1)
        await driver.plan.confirm()
        assert len(driver.desk.submitted) == 1


async def test_a_plan_that_was_covered_is_deaf_when_it_is_seen_again() -> None:
    async with driving(scenes.degraded()) as driver:
        await open_plan(driver)
        await driver.press("app.help")
        await driver.key("escape")
        await driver.plan.confirm()
        assert driver.desk.submitted == []
        driver.clock.advance(DEAF_S + 0.1)
        await driver.plan.confirm()
        assert len(driver.desk.submitted) == 1


@pytest.mark.parametrize("leave", ["tab", "shift+tab"])
async def test_tab_leads_out_of_nothing_that_takes_all_keys(leave: str) -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("endpoint.actions")
        await driver.key(leave)
        await driver.key("b")
        await driver.plan.ready()
        await driver.key(leave)
        for _ in range(4):
            assert driver.app.focused is not None
            assert driver.plan.panel in driver.app.focused.ancestors_with_self
            await driver.key(leave)


async def test_a_click_beside_a_plan_leaves_the_keys_with_it() -> None:
    async with driving(scenes.degraded()) as driver:
        await open_plan(driver)
        await driver.pilot.click("#fleet", offset=(10, 3))
        await driver.plan.confirm()
        await driver.plan.stands(Stance.DONE)
        assert [plan.target for plan, _, _ in driver.desk.submitted] == [FRAUD]


@pytest.mark.parametrize("size", [(20, 5), (10, 3), (1, 1), (39, 24), (80, 6)])
async def test_a_plan_that_has_no_room_to_be_read_is_not_sent(size: tuple[int, int]) -> None:
    async with driving(scenes.degraded(), size) as driver:
        await open_plan(driver)
        await driver.plan.confirm()
        assert driver.desk.submitted == []
        if size[0] >= 20:
            assert "too small to send" in driver.text
        assert " send" not in driver.lines[-1]
        await driver.pilot.resize_terminal(80, 24)
        await driver.settle()
        await driver.plan.confirm()
        assert len(driver.desk.submitted) == 1


async def test_in_a_small_terminal_a_plan_begins_with_its_title() -> None:
    async with driving(scenes.degraded(), (40, 10)) as driver:
        await open_plan(driver)
        assert driver.line_with("PLAN roll back fraud-scorer")
        assert driver.line_with("traffic")
        assert driver.line_with("y = ")
        await driver.plan.confirm()
        assert len(driver.desk.submitted) == 1


async def test_a_plan_names_the_keys_that_it_has() -> None:
    mine = {"plan.send": "Y", "plan.arm": "A", "plan.reason": "R", "app.view_audit": "9"}
    async with driving(scenes.degraded(), appearance=Appearance(theme="dark", keys=mine)) as driver:
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        assert "Y = Roll back fraud-scorer to v41" in driver.line_with("Cancel")
        assert "A arms" in driver.line_with("Cancel")
        await driver.key("Y")
        assert "press A first" in driver.text
        await driver.press("plan.arm")
        await driver.plan.confirm()
        await driver.plan.stands(Stance.DONE)
        assert "audited: key 9" in driver.text


async def test_what_is_pasted_and_cannot_be_seen_is_shown_as_what_it_is() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("app.command")
        field = driver.app.focused
        assert isinstance(field, Input)
        field.insert_text_at_cursor("alias cham\u200bpion\u202e 41")
        await driver.settle()
        assert "cham\\u200bpion\\u202e 41" in driver.text


def without(driver: Driver, gone: EndpointRef) -> EndpointsObserved:
    """A reading of the connection on which that endpoint is gone."""
    known = driver.services.store.state.endpoints.values()
    left = tuple(item for item in known if item.ref.connection == gone.connection and item.ref != gone)
    return EndpointsObserved(gone.connection, left, driver.clock.now())


def opened(driver: Driver) -> bool:
    """Whether a plan or a menu is open."""
    return driver.plan.open or driver.app.current.dock is not None


@pytest.mark.parametrize("line", ["promote", "promote-full", "alias champion 7", "hold", "rollback 41"])
async def test_a_command_on_an_endpoint_that_is_gone_is_a_sentence(line: str) -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("list.open")
        await driver.emit(without(driver, FRAUD))
        await driver.command(line)
        assert "fraud-scorer is not there any more" in driver.lines[-1]
        assert driver.desk.prepared == []


async def test_a_command_is_about_what_was_selected_when_it_was_begun() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("app.command")
        await driver.type("rollback")
        await driver.emit(without(driver, FRAUD))
        await driver.key("enter")
        assert driver.desk.prepared == [], "no plan for the row that took its place"
        assert "fraud-scorer is not there any more" in driver.lines[-1]


@pytest.mark.parametrize("pressed", ["endpoint.rollback", "endpoint.actions"])
async def test_a_row_that_took_the_place_of_another_is_acted_on_when_it_is_meant(pressed: str) -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("app.view_rollouts")
        assert driver.table.key == FRAUD.id
        await driver.emit(without(driver, FRAUD))
        other = driver.table.key.rsplit("/", 1)[-1]
        await driver.press(pressed)
        assert not opened(driver)
        assert f"fraud-scorer is not listed any more: this is {other}" in driver.lines[-1]
        await driver.press(pressed)
        assert opened(driver)


async def test_a_row_that_the_operator_went_to_is_acted_on_at_once() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.command("filter churn")
        await driver.press("endpoint.rollback")
        assert opened(driver), "the filter was the operator's own"
        await driver.plan.ready()
        await driver.press("plan.cancel", "app.back", "list.top")
        await driver.emit(without(driver, FRAUD))
        await driver.press("list.down", "list.up")
        await driver.press("endpoint.actions")
        assert opened(driver)
