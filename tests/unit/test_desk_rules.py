"""What the desk holds an action to whoever asks: the level of who follows an alias, rehearsals that end, and clocks that step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.release_parts import FRAUD, FRAUD_MODEL, START, Bench, VirtualClock, bench, connector_of

from mlrelease_tui.actions import reading
from mlrelease_tui.actions.desk import Rules
from mlrelease_tui.connectors.api import Connector
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.intents import MoveAlias, PromoteVersion, RollBack, SetWeight
from mlrelease_tui.domain.plan import Check, CheckStatus, Level, Outcome, Plan, Refusal, Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.status import Binding
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.domain.verdict import Verdict, VerdictKind
from mlrelease_tui.store.facts import BindingsConfigured, ConnectionObserved, EndpointObserved, VerdictReached

RULES = Rules(floor=lambda environment, _verb: Level.NAME if environment == "production" else Level.READ)
CHAMPION = MoveAlias(FRAUD_MODEL, "champion", "2")


# --- who follows an alias ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alias", "level"), [("champion", Level.NAME), ("", Level.NAME), ("shadow", Level.PLAN)])
async def test_an_endpoint_that_only_configuration_binds_follows_the_alias_too(
    tmp_path: Path, alias: str, level: Level
) -> None:
    seat = bench(tmp_path, rules=RULES)
    seat.store.emit(EndpointObserved(replace(seat.endpoint, model=None, alias="")))
    seat.store.emit(BindingsConfigured((Binding(FRAUD, FRAUD_MODEL, alias),)))
    assert (await seat.planned(CHAMPION)).level == level


async def test_an_endpoint_that_configuration_binds_and_nobody_has_seen_counts_by_its_connection(
    tmp_path: Path,
) -> None:
    seat = bench(tmp_path, rules=RULES)
    seat.store.emit(BindingsConfigured((Binding(FRAUD, FRAUD_MODEL, "champion"),)))
    seat.store.emit(ConnectionObserved(ConnectionHealth("world", "fake", LinkState.DOWN, environment="production")))
    plan = await seat.planned(CHAMPION)
    assert (plan.environment, plan.level) == ("production", Level.NAME)


async def test_what_is_bound_to_another_model_does_not_follow(tmp_path: Path) -> None:
    seat = bench(tmp_path, rules=RULES)
    seat.store.emit(EndpointObserved(seat.endpoint))
    seat.store.emit(BindingsConfigured((Binding(FRAUD, replace(FRAUD_MODEL, name="wine"), "champion"),)))
    assert (await seat.planned(CHAMPION)).level == Level.PLAN


# --- rehearsals --------------------------------------------------------------------------------------------------------


class _Rehearses(FakeConnector):
    """Asks about a write only once all writes of the plan are being asked about; then says or raises `end`."""

    end: BaseException | None = None
    asked = 0
    wanted = 0
    all_asked: asyncio.Event

    async def rehearse(self, write: Write) -> tuple[Check, ...]:
        self.asked += 1
        if self.asked == self.wanted:
            self.all_asked.set()
        await self.all_asked.wait()
        if self.end is not None:
            raise self.end
        return (Check("may", CheckStatus.PASS, "as asked"),)


def rehearsing(tmp_path: Path, *, wanted: int, end: BaseException | None = None) -> Bench:
    def connectors(backend: FakeBackend, clock: VirtualClock) -> Mapping[str, Connector]:
        made = _Rehearses(connector_of(backend, clock)._settings, backend)
        made.end, made.wanted, made.all_asked = end, wanted, asyncio.Event()
        return {"world": made}

    return bench(tmp_path, connectors=connectors)


async def test_the_writes_of_a_plan_are_rehearsed_at_the_same_time(tmp_path: Path) -> None:
    seat = rehearsing(tmp_path, wanted=3)
    async with asyncio.timeout(5):
        plan = await seat.planned(RollBack(FRAUD, "2"))
    assert len(plan.steps) == 3
    assert [check.text for check in plan.checks if check.name == "may"] == ["as asked"]


@pytest.mark.parametrize("end", [RuntimeError("a fault"), SystemExit(3), TimeoutError()])
async def test_a_rehearsal_that_fails_in_any_way_is_unknown_and_stops_no_way_back(
    tmp_path: Path, end: BaseException
) -> None:
    seat = rehearsing(tmp_path, wanted=3, end=end)
    plan = await seat.planned(RollBack(FRAUD, "2"))
    assert {check.status for check in plan.checks if check.name == "rehearsal"} == {CheckStatus.UNKNOWN}


async def test_a_rehearsal_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_DEADLINE_S", 0.05)
    seat = rehearsing(tmp_path, wanted=99)
    async with asyncio.timeout(5):
        plan = await seat.planned(RollBack(FRAUD, "2"))
    assert any("did not answer" in check.text for check in plan.checks if check.name == "rehearsal")


# --- clocks that step --------------------------------------------------------------------------------------------------


async def test_a_clock_that_was_set_back_keeps_no_writes_armed(tmp_path: Path) -> None:
    seat = bench(tmp_path, armed=False)
    assert await seat.desk.arm(5) is None
    seat.clock.wall = START - timedelta(hours=1)
    seat.clock.elapsed_s = 299
    assert isinstance(await seat.desk.submit(await seat.planned(SetWeight(FRAUD, 2500)), why="a test"), Outcome)
    seat.clock.elapsed_s = 300
    refusal = await seat.desk.submit(await seat.planned(SetWeight(FRAUD, 500)), why="a test")
    assert isinstance(refusal, Refusal)
    assert refusal.code == "read_only"
    assert seat.store.state.access.armed_until is None, "the screens still say armed"
    assert await seat.desk.arm(5) is None
    assert isinstance(await seat.desk.submit(await seat.planned(SetWeight(FRAUD, 500)), why="a test"), Outcome)


async def test_a_plan_from_before_the_clock_was_set_back_is_too_old(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    plan = await seat.planned(SetWeight(FRAUD, 2500))
    seat.clock.wall = START - timedelta(hours=1)
    refusal = await seat.desk.submit(plan, why="a test")
    assert isinstance(refusal, Refusal)
    assert refusal.code == "plan_expired"
    assert seat.backend.written == []


async def test_a_read_from_a_time_that_is_still_to_come_is_not_fresh(tmp_path: Path) -> None:
    """A target that is watched keeps what it saw; with the clock set back nobody knows how old that is."""
    known = bench(tmp_path).connectors["world"]
    assert isinstance(known, FakeConnector)
    kept = await known.endpoint(FRAUD)

    class Keeps(FakeConnector):
        async def endpoint(self, ref: EndpointRef) -> Endpoint:
            return kept

    clock = VirtualClock(wall=START - timedelta(minutes=10))
    keeping = bench(
        tmp_path,
        clock=clock,
        connectors=lambda backend, clock: {"world": Keeps(connector_of(backend, clock)._settings, backend)},
    )
    refusal = await keeping.refused(RollBack(FRAUD))
    assert refusal.code == "stale"
    clock.elapsed_s = 600
    await keeping.planned(RollBack(FRAUD))


# --- which version it was ----------------------------------------------------------------------------------------------


async def test_the_version_of_a_rollback_that_named_none_is_recorded(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    await seat.done(RollBack(FRAUD))
    assert {str(item.section("model").get("version")) for item in seat.log.read()} == {"2"}


async def test_the_version_of_a_step_that_named_none_is_recorded(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    plan = await seat.planned(PromoteVersion(FRAUD))
    assert isinstance(plan, Plan)
    await seat.submitted(plan)
    assert {str(item.section("model").get("version")) for item in seat.log.read()} == {"3"}


# --- who we are to a backend -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "known_as"), [(0, {"world": "svc-release"}), (3600, None)], ids=["now", "last run"])
async def test_what_a_backend_calls_us_is_recorded_with_the_intent(
    tmp_path: Path, age: int, known_as: Mapping[str, str] | None
) -> None:
    seat = bench(tmp_path)
    health = ConnectionHealth(
        "world",
        "fake",
        LinkState.OK,
        identity=SafeText("svc-release"),
        observed_at=seat.clock.now() - timedelta(seconds=age),
    )
    seat.store.emit(ConnectionObserved(health))
    await seat.done(SetWeight(FRAUD, 2500))
    (intent,) = [item for item in seat.log.read() if item.kind == "intent"]
    assert intent.section("actor").get("known_as") == known_as
    assert intent.section("actor")["name"] == "ana"


# --- what became of the canary meanwhile -------------------------------------------------------------------------------


@pytest.mark.parametrize("intent", [SetWeight(FRAUD, 2500), PromoteVersion(FRAUD)], ids=lambda intent: intent.verb)
async def test_a_canary_that_is_seen_to_hurt_after_the_plan_was_made_voids_what_goes_on_with_it(
    tmp_path: Path, intent: SetWeight | PromoteVersion
) -> None:
    seat = bench(tmp_path)
    plan, back = await seat.planned(intent), await seat.planned(SetWeight(FRAUD, 500))
    assert plan.level < Level.NAME
    seat.store.emit(VerdictReached(FRAUD, Verdict(VerdictKind.HARM, "errors 9% against 1%")))

    refusal = await seat.desk.submit(plan, why="a test")

    assert isinstance(refusal, Refusal)
    assert refusal.code == "hurts"
    assert "errors 9% against 1%" in refusal.reason
    assert seat.backend.written == []
    assert seat.kinds() == ["denied"]
    assert (await seat.planned(intent)).level == Level.NAME, "planned anew it wants the name"
    assert isinstance(await seat.desk.submit(back, why="a test"), Outcome), "the way back is no harder"


async def test_who_confirmed_knowing_that_it_hurts_is_not_asked_twice(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    await seat.planned(SetWeight(FRAUD, 2500))
    seat.store.emit(VerdictReached(FRAUD, Verdict(VerdictKind.HARM, "errors 9% against 1%")))
    plan = await seat.planned(SetWeight(FRAUD, 2500))
    assert isinstance(await seat.desk.submit(plan, why="known, to be measured", typed="fraud"), Outcome)
