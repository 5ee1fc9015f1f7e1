"""The path that matters at three in the morning: see it, open the plan, arm, send, read what became of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.ui import scenes
from tests.ui.driver import driving

from mlrelease_tui.domain.action import ActionProgress, Stage
from mlrelease_tui.domain.intents import PromoteVersion, RollBack
from mlrelease_tui.domain.plan import OutcomeKind, Plan, Refusal
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.store.facts import ActionProgressed, EndpointObserved, EndpointsObserved
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.alone import ALONE_S
from mlrelease_tui.widgets.plan_panel import Stance

FRAUD = scenes.ref("fraud-scorer")


async def test_worst_is_first_and_b_w_y_rolls_it_back() -> None:
    async with driving(scenes.degraded()) as driver:
        assert driver.table.key == FRAUD.id
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        assert "roll back fraud-scorer" in driver.line_with("PLAN")
        assert "PRODUCTION" in driver.line_with("PLAN")
        assert "[READ-ONLY]" in driver.lines[0]
        await driver.press("plan.arm")
        assert "[ARMED until 01:50Z]" in driver.lines[0]
        await driver.plan.confirm()
        await driver.plan.stands(Stance.DONE)
        assert [plan.intent for plan, _, _ in driver.desk.submitted] == [RollBack(FRAUD)]
        assert "APPLIED" in driver.text
        assert "audited: key 6" in driver.text
        await driver.press("plan.cancel")
        assert not driver.plan.open


async def test_read_only_a_plan_opens_and_is_not_sent() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        await driver.plan.confirm()
        assert driver.desk.submitted == []
        assert "press W" in driver.text


async def test_enter_cancels_and_never_sends() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.desk.arm(15)
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        assert "[ Cancel ]" in driver.text
        await driver.key("enter")
        assert not driver.plan.open
        assert driver.desk.submitted == []


async def test_keys_typed_before_the_plan_appeared_are_dropped() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.desk.arm(15)
        await driver.press("endpoint.rollback")
        await driver.plan.stands(Stance.READY)
        await driver.plan.confirm()
        await driver.key("enter", "y", "q")
        assert driver.plan.open
        assert driver.desk.submitted == []


async def test_y_with_other_keys_right_behind_it_is_a_paste_and_sends_nothing() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.desk.arm(15)
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        await driver.pilot.press(*["y", "enter"] * 20)
        await driver.settle()
        await driver.until(lambda: driver.plan.panel is None or driver.plan.panel.settled)
        assert driver.desk.submitted == []


@pytest.mark.parametrize("count", [40, 700])
async def test_a_flood_of_y_and_enter_sends_nothing(count: int) -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.desk.arm(15)
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        driver.burst(*("y", "enter") * count)
        await driver.until(lambda: not driver.app.keys_wait, "all keys to be looked at")
        await asyncio.sleep(2 * ALONE_S)
        await driver.settle()
        assert driver.desk.submitted == []


async def test_a_key_that_came_behind_y_and_waits_for_its_turn_keeps_it_from_being_sent() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.desk.arm(15)
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        # As on a machine that is busy: the key behind comes to its turn long after the time in which y must be alone.
        hand_out = driver.app._next_key

        async def late() -> None:
            await hand_out()
            if driver.app._acting:
                driver.app._next_key = idle  # type: ignore[method-assign]

        async def idle() -> None:
            pass

        driver.app._next_key = late  # type: ignore[method-assign]
        driver.burst("y", "j")
        await driver.until(lambda: bool(driver.app._typed), "the key behind to wait")
        await driver.until(lambda: "another key came with y" in driver.text, "the panel to say so")
        assert driver.desk.submitted == []


async def test_reason_goes_with_the_action() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.desk.arm(15)
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        await driver.press("plan.reason")
        await driver.type("INC-7 y")
        await driver.key("enter")
        assert driver.desk.submitted == [], "enter in the reason sends nothing, and y in it is a letter"
        await driver.plan.confirm()
        await driver.plan.stands(Stance.DONE)
        assert [why for _, why, _ in driver.desk.submitted] == ["INC-7 y"]


async def test_a_plan_whose_target_moved_is_void_and_made_anew() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.desk.arm(15)
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        before = driver.services.store.state.endpoints[FRAUD]
        moved = replace(
            before,
            revision="r-other",
            observed_at=driver.clock.now() + timedelta(seconds=1),
            stamp=replace(before.stamp, by=SafeText("cj")) if before.stamp else None,
        )
        await driver.emit(EndpointObserved(moved))
        await driver.until(lambda: len(driver.desk.prepared) == 2, "a second plan")
        panel = await driver.plan.stands(Stance.READY)
        assert panel.plan is not None
        assert panel.plan.read_from[0].revision == "r-other"
        await driver.plan.confirm()
        assert driver.desk.submitted == [], "a new plan is deaf at first, as any"


async def test_an_expired_plan_is_made_anew_not_sent() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.desk.arm(60)
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        driver.clock.advance(121)
        await driver.press("plan.send")
        await driver.until(lambda: len(driver.desk.prepared) == 2, "a second plan")
        assert driver.desk.submitted == []


async def test_promote_full_in_production_wants_the_name_typed_and_a_reason() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.desk.arm(15)
        await driver.press("endpoint.actions")
        await driver.key(keys.entry("menu.full").keys[0])
        await driver.plan.ready()
        assert driver.desk.prepared == [PromoteVersion(FRAUD, full=True)]
        await driver.plan.confirm()
        assert "type the name fraud-scorer" in driver.text
        await driver.press("plan.reason")
        await driver.type("fraud-score")
        await driver.key("enter")
        await driver.type("weekly")
        await driver.key("enter")
        await driver.plan.confirm()
        assert driver.desk.submitted == []
        await driver.press("plan.cancel")
        await driver.press("endpoint.actions")
        await driver.key(keys.entry("menu.full").keys[0])
        await driver.plan.ready()
        await driver.press("plan.reason")
        await driver.type("fraud-scorer")
        await driver.key("enter")
        await driver.type("weekly")
        await driver.key("enter")
        await driver.plan.confirm()
        await driver.plan.stands(Stance.DONE)
        assert [(why, typed) for _, why, typed in driver.desk.submitted] == [("weekly", "fraud-scorer")]


@pytest.mark.parametrize("kind", list(OutcomeKind))
async def test_every_outcome_is_said_in_words(kind: OutcomeKind) -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.desk.arm(15)
        driver.desk.ends = kind
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        await driver.plan.confirm()
        await driver.plan.stands(Stance.DONE)
        assert f"{kind.value.upper()}: roll back fraud-scorer to v41" in driver.text


async def test_a_refusal_says_why_and_what_to_do() -> None:
    async with driving(scenes.degraded()) as driver:
        driver.desk.refuses = Refusal("busy", "cj promotes fraud-scorer now", "wait for it, or speak to cj")
        await driver.press("endpoint.rollback")
        await driver.plan.stands(Stance.REFUSED)
        assert "NO PLAN" in driver.text
        assert "cj promotes fraud-scorer now" in driver.text
        assert "speak to cj" in driver.text


async def test_closing_the_panel_does_not_stop_the_action_and_quitting_asks() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.desk.arm(15)
        driver.desk.gate.clear()
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        await driver.plan.confirm()
        await driver.plan.stands(Stance.SENT)
        await driver.press("plan.cancel")
        assert not driver.plan.open
        assert "1 RUNNING" in driver.lines[0]
        await driver.press("app.quit")
        assert "under way" in driver.text
        assert driver.app.is_running
        await driver.key("n")
        driver.desk.gate.set()
        await driver.until(lambda: not driver.desk.busy)
        await driver.settle()
        assert "RUNNING" not in driver.lines[0]


@pytest.mark.parametrize(("stage", "offered"), [(Stage.VERIFYING, True), (Stage.SENDING, False)])
async def test_what_gets_back_to_safety_is_offered_while_an_action_only_waits_to_be_seen(
    stage: Stage, offered: bool
) -> None:
    """A release may take minutes to be seen whole: the ways out of it must not be greyed meanwhile."""
    async with driving(scenes.degraded(), (120, 40)) as driver:
        plan = await driver.desk.prepare(PromoteVersion(FRAUD, full=True))
        assert isinstance(plan, Plan)
        await driver.emit(ActionProgressed(ActionProgress("0199-9", plan, stage, "anna", "", driver.clock.now())))
        await driver.press("endpoint.actions")
        assert "promote is under way by anna" in driver.line_with("retry")
        assert ("promote is under way by anna" not in driver.line_with("roll back")) is offered
        await driver.key(keys.entry("menu.rollback").keys[0])
        assert driver.plan.open is offered


async def test_what_cannot_be_done_is_greyed_with_the_reason() -> None:
    async with driving(scenes.degraded(), (120, 40)) as driver:
        await driver.press("endpoint.actions")
        assert "one process a variant: nothing to scale" in driver.line_with("scale")
        await driver.key(keys.entry("menu.scale").keys[0])
        assert not driver.plan.open
        assert driver.desk.prepared == []


async def test_the_menu_acts_on_what_it_was_opened_for() -> None:
    async with driving(scenes.degraded(), (120, 40)) as driver:
        await driver.press("endpoint.actions")
        rest = tuple(
            item for item in driver.services.store.state.endpoints.values() if item.ref.connection == "prod-eu"
        )
        gone = tuple(item for item in rest if item.ref != FRAUD)
        await driver.emit(EndpointsObserved("prod-eu", gone, driver.clock.now()))
        assert driver.table.key != FRAUD.id
        await driver.key(keys.entry("menu.rollback").keys[0])
        assert driver.desk.prepared == [], "no plan for the row that took its place"
        assert "gone" in driver.lines[-1]
