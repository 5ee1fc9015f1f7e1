"""Getting around by keys: views and back, filter, order, problems, marks, freeze, arming, copying, help, leaving."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType

import pytest
from tests.ui import scenes
from tests.ui.driver import driving

from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.store.facts import EndpointObserved, EndpointsObserved
from mlrelease_tui.widgets.prompt import Prompt

FRAUD = scenes.ref("fraud-scorer")


def names(keys: tuple[str, ...]) -> list[str]:
    return [key.rsplit("/", 1)[-1] for key in keys]


async def test_worst_first_and_the_note_explains_the_row() -> None:
    async with driving(scenes.degraded()) as driver:
        assert names(driver.table.keys)[:5] == ["fraud-scorer", "embed-small", "search", "ranker", "vision-edge"]
        assert "4.1% errors, guard 1.0%" in driver.line_with("fraud-scorer:")
        assert "known good: v41" in driver.text
        await driver.press("list.down")
        assert "restarted 4 times" in driver.line_with("embed-small:")


async def test_filter_narrows_as_it_is_typed_and_esc_shows_all() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("rows.filter")
        await driver.type("churn")
        assert names(driver.table.keys) == ["churn"]
        await driver.key("enter")
        assert driver.app.current.dock is None
        assert "[filter: churn]" in driver.text
        await driver.key("escape")
        assert len(driver.table.keys) == 7


@pytest.mark.parametrize(("first", "typed"), [("/", "WBnw"), (":", "qWhold"), ("ctrl+p", "BBy")])
async def test_keys_typed_in_a_burst_reach_what_the_first_one_opened(first: str, typed: str) -> None:
    async with driving(scenes.degraded()) as driver:
        driver.burst(first, *typed)
        await driver.until(lambda: isinstance(dock := driver.app.current.dock, Prompt) and dock.text == typed, typed)
        assert "READ-ONLY" in driver.text
        assert driver.app.current.planning is None, "no plan was opened"


async def test_a_key_that_nobody_acts_on_holds_up_no_other_even_if_none_comes_behind_it() -> None:
    async with driving(scenes.degraded()) as driver:
        first = driver.table.key
        driver.app._acting, driver.app._since = True, time.monotonic()
        driver.burst("j")
        await driver.until(lambda: driver.table.key != first, "the key to be acted on")


async def test_what_was_said_stands_until_the_next_key() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("app.refetch")
        assert "reading everything again" in driver.text
        await driver.press("list.down")
        assert "reading everything again" not in driver.text
        assert "? help" in driver.text


async def test_n_goes_from_match_to_match() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("rows.filter")
        await driver.type("prod-eu")
        await driver.key("enter")
        await driver.key("escape")
        await driver.select("vision-edge")
        await driver.press("rows.next")
        assert driver.table.key.endswith("/churn")
        await driver.press("rows.next")
        assert driver.table.key == FRAUD.id, "round again"
        await driver.press("rows.previous")
        assert driver.table.key.endswith("/churn")


async def test_problems_only_and_order() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("rows.problems")
        assert "churn" not in names(driver.table.keys)
        await driver.press("rows.problems")
        await driver.press("rows.sort")
        assert "Sort by" in driver.text
        await driver.key("2")
        assert names(driver.table.keys) == sorted(names(driver.table.keys))
        await driver.press("rows.reverse")
        assert names(driver.table.keys) == sorted(names(driver.table.keys), reverse=True)


async def test_the_cursor_stays_on_its_endpoint_when_rows_move() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.select("churn")
        fraud = driver.services.store.state.endpoints[FRAUD]
        churn = driver.services.store.state.endpoints[scenes.ref("churn")]
        from mlrelease_tui.domain.text import SafeText

        await driver.emit(
            EndpointObserved(replace(churn, problems=(SafeText("disk is full"),))),
            EndpointObserved(replace(fraud, problems=())),
        )
        assert driver.table.key == scenes.ref("churn").id
        assert driver.table.cursor_index == 1
        assert "disk is full" in driver.line_with("churn:")


async def test_marks_follow_the_key_and_are_cleared() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("list.mark", "list.mark")
        assert names(tuple(sorted(driver.table.marks))) == ["embed-small", "fraud-scorer"]
        await driver.press("list.unmark")
        assert driver.table.marks == frozenset()


async def test_views_back_and_last() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("list.open")
        assert driver.view == "endpoint"
        assert "fraud-scorer" in driver.lines[0]
        await driver.press("app.view_rollouts")
        assert driver.view == "rollouts"
        assert driver.table.key == FRAUD.id, "the endpoint goes with us"
        await driver.press("app.last_view")
        assert driver.view == "endpoint"
        await driver.press("app.last_view")
        assert driver.view == "rollouts"
        for _ in range(5):
            await driver.press("app.back")
        assert driver.view == "fleet"
        assert driver.app.is_running, "Esc at the root leaves nothing"


async def test_frozen_stands_still_and_says_so() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("app.freeze")
        assert "FROZEN" in driver.lines[0]
        churn = driver.services.store.state.endpoints[scenes.ref("churn")]
        await driver.emit(EndpointObserved(replace(churn, variants=(replace(churn.variants[0], version="99"),))))
        assert "v99" not in driver.text
        await driver.press("app.freeze")
        assert "v99" in driver.text
        assert "FROZEN" not in driver.text


async def test_arming_asks_for_minutes_shows_until_when_and_ends_by_itself() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("app.arm")
        assert isinstance(driver.app.current.dock, Prompt)
        await driver.key("backspace", "backspace")
        await driver.type("0")
        await driver.key("enter")
        assert "[READ-ONLY]" in driver.lines[0]
        await driver.press("app.arm")
        await driver.key("enter")
        assert "[ARMED until 01:50Z]" in driver.lines[0]
        driver.clock.advance(16 * 60)
        await driver.key("j")
        driver.app.current.refresh_view(driver.services.store.state, driver.clock.now(), driver.app.current.flags)
        assert "[READ-ONLY]" in driver.lines[0]


async def test_locked_writes_are_said_to_be_locked() -> None:
    async with driving(replace(scenes.degraded(), access=Access(locked="the audit can't be written"))) as driver:
        assert "[LOCKED]" in driver.lines[0]


async def test_copying_says_sent_not_copied() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("endpoint.copy_name")
        assert "sent the name" in driver.lines[-1]
        assert FRAUD.id in driver.lines[-1]
        assert "copied" not in driver.text


async def test_explain_and_help_open_over_the_view_and_close() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("endpoint.explain")
        assert driver.lines[0].startswith(" fraud-scorer  [why]")
        assert "3000 requests in 60 s, 4.10% failed" in driver.text
        await driver.key("escape")
        await driver.press("app.help")
        assert "open the plan to roll back" in driver.text
        await driver.key("escape")
        assert driver.view == "fleet"
        assert "READ-ONLY" in driver.lines[0]


async def test_commands_and_palette_reach_the_same() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.command("rollouts")
        assert driver.view == "rollouts"
        await driver.press("app.palette")
        await driver.type("vision")
        await driver.key("enter")
        assert driver.view == "endpoint"
        assert "vision-edge" in driver.lines[0]
        await driver.command("theme light")
        assert driver.app.theme == "light"
        await driver.command("rollback churn v6")
        await driver.plan.ready()
        assert "PLAN roll back churn" in driver.text


async def test_a_command_that_means_nothing_says_so() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.command("frobnicate")
        assert "no command and no endpoint" in driver.lines[-1]


async def test_q_at_the_root_asks_and_ctrl_q_leaves() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("app.leave")
        assert "Quit?" in driver.text
        await driver.key("n")
        assert driver.app.is_running
        await driver.pilot.press("ctrl+q")
        await driver.until(lambda: not driver.app.is_running)


async def test_old_values_are_marked_and_never_zero() -> None:
    async with driving(scenes.stale()) as driver:
        assert {status.severity for status in driver.app.current.statuses()} == {Severity.STALE}
        row = (
            driver.line_with("fraud-scorer  ") if "fraud-scorer  " in driver.text else driver.line_with("fraud-scorer")
        )
        assert "~25%" in row
        assert "0.00" not in driver.text
        assert "last known" in driver.lines[1]


async def test_a_reading_that_ages_says_its_age() -> None:
    async with driving(scenes.healthy()) as driver:
        assert "prod-eu ok" in driver.lines[1]
        driver.clock.advance(timedelta(minutes=3).total_seconds())
        driver.app.current.refresh_view(driver.services.store.state, driver.clock.now(), driver.app.current.flags)
        assert "prod-eu stale 3m" in driver.lines[1]


async def test_it_lives_in_one_cell() -> None:
    async with driving(scenes.degraded(), (1, 1)) as driver:
        await driver.key("j", "k", "enter", "escape")
        await driver.press("endpoint.rollback")
        assert driver.app.is_running


async def test_marks_outlive_a_filter_that_hides_them() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("list.mark", "rows.filter")
        await driver.type("churn")
        await driver.key("enter")
        await driver.press("list.mark")
        assert "2 (1 hidden) marked" in driver.text
        await driver.press("endpoint.copy_name")
        assert "sent 2 names" in driver.lines[-1]
        await driver.key("escape")
        assert names(tuple(sorted(driver.table.marks))) == ["churn", "fraud-scorer"]
        left = tuple(
            item
            for item in driver.services.store.state.endpoints.values()
            if item.ref.connection == "prod-eu" and item.ref != FRAUD
        )
        await driver.emit(EndpointsObserved("prod-eu", left, driver.clock.now()))
        assert names(tuple(driver.table.marks)) == ["churn"], "what is gone is not marked"


async def test_a_copied_command_holds_a_name_as_one_word() -> None:
    state = scenes.healthy()
    model = scenes.model("x; rm -rf ~", "7")
    hostile = scenes.endpoint("$(reboot)", "7")
    state = replace(
        state,
        models=MappingProxyType({model.ref: model}),
        endpoints=MappingProxyType({hostile.ref: hostile}),
    )
    async with driving(state, (160, 48)) as driver:
        await driver.press("endpoint.copy_command")
        assert "mlrelease endpoint 'prod-eu/ml/$(reboot)'" in driver.lines[-1]
        await driver.press("app.view_models", "item.copy_command")
        assert "mlrelease versions 'registry/x; rm -rf ~'" in driver.lines[-1]
        await driver.press("list.open")
        await driver.press("item.copy_command")
        assert "mlrelease versions 'registry/x; rm -rf ~'" in driver.lines[-1]
