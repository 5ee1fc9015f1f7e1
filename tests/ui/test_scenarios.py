"""What an operator lives through, by keys: planner, executor and audit are the real ones, only the backend is ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.ui.driver import Driver
from tests.ui.real_desk import DeskDriver, at_the_desk
from tests.unit.release_parts import DEAD, FRAUD, FRAUD_MODEL, WINE, Bench, VirtualClock, world

from mlrelease_tui.connectors.fake.faults import Fault, FaultKind
from mlrelease_tui.domain.rollout import Stamp, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.domain.verdict import Verdict, VerdictKind
from mlrelease_tui.store.facts import VerdictReached
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.plan_panel import Stance


async def act(driver: Driver, entry: str) -> None:
    """`a`, then the letter of that entry."""
    await driver.press("endpoint.actions")
    await driver.key(keys.entry(f"menu.{entry}").keys[0])


async def send(driver: Driver) -> None:
    """Arm where it must be, send what is shown, and wait for the end."""
    await driver.plan.ready()
    if "[READ-ONLY]" in driver.lines[0]:
        await driver.press("plan.arm")
    await driver.plan.confirm()
    await driver.plan.stands(Stance.DONE)


def harmed(seat: Bench) -> None:
    seat.store.emit(VerdictReached(FRAUD, Verdict(VerdictKind.HARM, "canary 3 fails 9% of requests, stable 0.1%")))


async def test_roll_back(tmp_path: Path) -> None:
    async with at_the_desk(tmp_path, before=harmed) as driver:
        assert "CRIT" in driver.line_with(" fraud ")
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        assert "2 90%, 3 10% → 2 100%" in driver.line_with("traffic ")
        assert "champion v3 → v2" in driver.line_with(" alias ")
        assert "best effort" in driver.line_with("champion")
        assert "y = Roll back fraud to v2" in driver.text
        await driver.plan.confirm()
        assert driver.seat.backend.written == [], "read-only: nothing is sent"
        await driver.press("plan.arm")
        await driver.plan.confirm()
        panel = await driver.plan.stands(Stance.DONE)
        assert "APPLIED" in driver.line_with("roll back fraud to v2")
        assert "users' traffic is back: v2 100%" in driver.text
        assert "alias champion at v2" in driver.text
        assert panel.plan is not None
        assert "mlrelease audit show" in driver.line_with("audited:")
        assert driver.seat.backend.models[FRAUD_MODEL].aliases["champion"] == "2"
        row = await driver.row("fraud")
        assert "v2" in row
        assert "→" not in row
        await driver.press("plan.cancel")
        assert "rolled back to v2  last: rollback by ana" in driver.text
        driver.seat.audit_holds()
        assert driver.seat.kinds()[-1] == "outcome"


async def test_going_on_with_a_harmful_canary_wants_name_and_reason(tmp_path: Path) -> None:
    async with at_the_desk(tmp_path, before=harmed) as driver:
        await driver.seat.desk.arm(15)
        await act(driver, "promote")
        await driver.plan.ready()
        assert "L3" in driver.line_with("PLAN")
        assert "canary 3 fails 9%" in driver.text
        await driver.plan.confirm()
        assert "type the name fraud" in driver.text
        await driver.press("plan.reason")
        await driver.type("fraud")
        await driver.key("enter")
        assert "nothing is sent while you type" in driver.lines[-1]
        await driver.key("enter")
        await driver.plan.confirm()
        assert driver.seat.backend.written == [], "a name without a reason is not enough"
        assert "give a reason" in driver.text
        await driver.press("plan.reason")
        await driver.type("INC-7")
        await driver.key("enter")
        await driver.plan.confirm()
        await driver.plan.stands(Stance.DONE)
        assert "50%" in await driver.row("fraud")
        intent = next(record for record in driver.seat.log.read() if record.kind == "intent")
        assert intent.section("why")["reason"] == "INC-7"


async def test_hold_and_continue(tmp_path: Path) -> None:
    async with at_the_desk(tmp_path) as driver:
        assert "a h hold" in driver.text
        assert "next step" not in driver.text, "nothing was measured: going on is not named"
        await act(driver, "hold")
        await send(driver)
        await driver.press("plan.cancel")
        await driver.read()
        assert "a c continue" in driver.text
        assert "held by ana" in driver.text
        await act(driver, "continue")
        await send(driver)
        await driver.press("plan.cancel")
        await driver.read()
        assert "held by ana" not in driver.text


async def test_weight(tmp_path: Path) -> None:
    async with at_the_desk(tmp_path) as driver:
        await driver.command("weight fraud 25%")
        await send(driver)
        assert "25%" in await driver.row("fraud")


async def test_alias(tmp_path: Path) -> None:
    async with at_the_desk(tmp_path) as driver:
        await driver.command("alias fraud champion 2")
        await driver.plan.ready()
        assert "alias    champion v3 → v2" in driver.text
        await send(driver)
        assert "alias champion at v2" in driver.text
        assert driver.seat.backend.models[FRAUD_MODEL].aliases["champion"] == "2"


async def test_a_refusal_says_what_to_do(tmp_path: Path) -> None:
    async with at_the_desk(tmp_path) as driver:
        await driver.command("promote wine 99 10%")
        await driver.plan.stands(Stance.REFUSED)
        assert "NO PLAN" in driver.text
        assert "version 99" in driver.text
        assert "mlrelease versions" in driver.text
        assert driver.lines[-1].strip() == "Esc close"


def _other_hand(driver: DeskDriver) -> None:
    """cj takes the canary to 40 % behind our back."""
    backend = driver.seat.backend
    now = backend.endpoints[FRAUD]
    weights = {"stable": 6000, "canary": 4000}
    backend.endpoints[FRAUD] = replace(
        now,
        revision="77",
        variants=tuple(replace(item, weight_bp=weights[item.role]) for item in now.variants),
        stamp=Stamp("0199-cj", Verb.WEIGHT, SafeText("cj"), SafeText("more data"), driver.clock.now()),
    )


async def test_a_change_that_is_read_voids_the_plan_and_plans_anew(tmp_path: Path) -> None:
    async with at_the_desk(tmp_path) as driver:
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        _other_hand(driver)
        driver.clock.advance(1)
        await driver.read()
        panel = await driver.plan.stands(Stance.READY)
        assert "changed by cj" in driver.text
        assert panel.plan is not None
        assert panel.plan.read_from[0].revision == "77"
        assert "2 60%, 3 40% → 2 100%" in driver.text


async def test_a_change_that_nobody_read_is_found_before_anything_is_sent(tmp_path: Path) -> None:
    async with at_the_desk(tmp_path) as driver:
        await driver.seat.desk.arm(15)
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        _other_hand(driver)
        await driver.plan.confirm()
        await driver.plan.stands(Stance.DONE)
        assert "REFUSED" in driver.text
        assert "last written by cj" in driver.text
        assert "plan again" in driver.text
        assert driver.seat.backend.written == []


async def test_an_answer_that_is_lost_is_found_out_by_reading(tmp_path: Path) -> None:
    async with at_the_desk(tmp_path) as driver:
        driver.seat.backend.faults.add(Fault(FaultKind.LOST_AFTER, "variants", 1))
        await driver.press("endpoint.rollback")
        await send(driver)
        assert "APPLIED" in driver.text
        assert [item["op"] for item in driver.seat.backend.written] == ["variants", "variants", "alias"], "once each"


async def test_what_nobody_can_say_is_shown_as_unknown_and_settled_later(tmp_path: Path) -> None:
    async with at_the_desk(tmp_path) as driver:
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        await driver.press("plan.arm")
        faults = driver.seat.backend.faults
        faults.add(Fault(FaultKind.LOST_AFTER, "variants", 1))
        panel = driver.plan.panel
        assert panel is not None

        def blind(_state: object, fact: object) -> None:
            if panel.stance is Stance.SENT and driver.seat.backend.written:
                faults.add(Fault(FaultKind.REFUSED, "endpoint"))

        driver.seat.store.subscribe(blind)
        await driver.plan.confirm()
        await driver.plan.stands(Stance.DONE)
        assert "UNKNOWN" in driver.text
        assert "do not send it twice" in driver.text
        assert "1 OPEN" in driver.lines[0]
        assert len(driver.seat.backend.written) == 1
        await driver.press("plan.cancel")
        faults.clear()
        assert await driver.seat.desk.reconcile() == ()
        await driver.settle()
        assert "OPEN" not in driver.lines[0]
        assert "left open before: rollback world/ml/fraud" in driver.lines[-1]


async def test_quitting_while_something_is_under_way_asks(tmp_path: Path) -> None:
    async with at_the_desk(tmp_path, timeout_s=30.0) as driver:
        driver.seat.backend.faults.add(Fault(FaultKind.SLOW, "variants", 1, delay_s=1.0))
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        await driver.press("plan.arm")
        await driver.plan.confirm()
        await driver.plan.stands(Stance.SENT)
        assert "1 RUNNING" in driver.lines[0]
        await driver.press("app.quit")
        assert "Quit while rollback" in driver.text
        await driver.key("n")
        await driver.plan.stands(Stance.DONE)
        assert "APPLIED" in driver.text


async def test_what_a_dead_process_left_is_told_at_the_next_start(tmp_path: Path) -> None:
    clock = VirtualClock()
    backend = world(clock)
    async with at_the_desk(tmp_path, backend=backend, clock=clock, process=DEAD, timeout_s=30.0) as first:
        backend.faults.add(Fault(FaultKind.SLOW, "variants", 1, delay_s=30.0))
        await first.press("endpoint.rollback")
        await first.plan.ready()
        await first.press("plan.arm")
        await first.plan.confirm()
        await first.until(lambda: bool(backend.written), "the write")
        await first.press("app.quit")
        await first.key("y")
        first.seat.log.close()
    backend.faults.clear()
    async with at_the_desk(tmp_path, backend=backend, clock=clock) as second:
        await second.seat.desk.open()
        await second.settle()
        assert "left open before: rollback world/ml/fraud: not applied" in second.lines[-1]
        assert "3 10%" not in second.text
        await second.press("app.view_audit")
        assert "rollback" in second.text
        assert len(backend.written) == 1, "nothing is sent again"


async def test_rows_keep_their_places_while_the_menu_is_open(tmp_path: Path) -> None:
    async with at_the_desk(tmp_path) as driver:
        before = driver.table.keys
        assert before == (FRAUD.id, WINE.id)
        await driver.press("endpoint.actions")
        wine, canary = driver.seat.backend.endpoints[WINE], driver.seat.backend.endpoints[FRAUD].rollout
        driver.seat.backend.endpoints[WINE] = replace(wine, rollout=canary, problems=(SafeText("its disk is full"),))
        await driver.read()
        driver.seat.store.emit(VerdictReached(WINE, Verdict(VerdictKind.HARM, "wine burns")))
        await driver.read()
        assert driver.table.keys == before
        await driver.press("dialog.close")
        await driver.read()
        assert driver.table.keys == (WINE.id, FRAUD.id)
