"""No word says more than is known: when a filter hides rows, when nothing was read or measured, when a link broke."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType

import pytest
from tests.ui import scenes
from tests.ui.driver import driving

from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.refs import ModelRef
from mlrelease_tui.domain.rollout import Phase, Stamp, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.presentation import fleet, rollouts
from mlrelease_tui.presentation.glyphs import UNICODE
from mlrelease_tui.presentation.lines import Role
from mlrelease_tui.store import select
from mlrelease_tui.store.facts import ReadFailed, SamplesObserved, VersionsObserved
from mlrelease_tui.store.state import Freshness, State

FRAUD = scenes.ref("fraud-scorer")


async def test_rollouts_that_a_filter_hides_are_not_said_to_be_none() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("app.view_rollouts", "rows.filter")
        await driver.type("zzz")
        await driver.key("enter")
        assert "no rollout is under way" not in driver.text
        assert "nothing matches (filter: zzz); Esc shows all" in driver.text
        await driver.key("escape")
        await driver.press("rows.filter")
        await driver.type("fraud")
        await driver.key("enter")
        assert "[filter: fraud]" in driver.text, "two of three are hidden, and that is said"


async def test_before_anything_was_read_nobody_knows_of_rollouts() -> None:
    async with driving(scenes.loading()) as driver:
        await driver.press("app.view_rollouts")
        assert "no rollout is under way" not in driver.text
        assert "asking the connections" in driver.text


async def test_where_a_connection_is_not_read_none_is_as_far_as_is_known() -> None:
    state = scenes.degraded()
    calm = {ref: item for ref, item in state.endpoints.items() if not item.rollout.in_flight}
    async with driving(replace(state, endpoints=MappingProxyType(calm))) as driver:
        await driver.press("app.view_rollouts")
        assert "no rollout is under way as far as is known" in driver.text
        assert "not read now: edge" in driver.text


@pytest.mark.parametrize("view", ["models", "audit", "connections"])
async def test_what_is_whole_is_not_called_a_part(view: str) -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("app.connection")
        await driver.key("2")
        assert "@edge" in driver.lines[0]
        await driver.press(f"app.view_{view}")
        assert driver.view == view
        assert "@edge" not in driver.text, "it shows all"
        await driver.press("app.view_fleet")
        assert "[only @edge]" in driver.text


def unreachable(connection: str) -> State:
    """The connection was read nine minutes ago and is down since."""
    state = scenes.degraded()
    down = scenes.health(connection, "kubernetes", LinkState.DOWN, error=SafeText("refused"), error_code="unreachable")
    ago = scenes.NOW - timedelta(minutes=9)
    return replace(
        state,
        connections=MappingProxyType({**state.connections, connection: down}),
        freshness=MappingProxyType({**state.freshness, connection: Freshness(ago, ago, "unreachable", "refused")}),
    )


async def test_what_was_measured_before_the_link_broke_is_no_verdict_of_now() -> None:
    async with driving(unreachable("prod-eu")) as driver:
        await driver.press("app.view_rollouts")
        await driver.select("ranker")
        row = driver.line_with("ERR%")
        assert "within" not in row
        assert "~0.20" in row
        assert "not read" in row
        await driver.press("endpoint.explain")
        assert "v9: ~10800 requests" in driver.text
        await driver.press("endpoint.metrics")
        assert "last known: not read since 2026-03-01 01:26:12Z" in driver.text


async def test_nothing_wrong_is_no_praise_where_nothing_is_known() -> None:
    item = replace(scenes.endpoint("lonely", "7"), model=None, alias="")
    state = replace(scenes.empty(), endpoints=MappingProxyType({item.ref: item}))
    async with driving(state) as driver:
        assert "nothing speaks against it; nothing was measured" in driver.text
        await driver.press("endpoint.explain")
        told = " ".join(driver.text.split())
        assert "it is read; but no alias is known to say what it should run" in told
        assert "nothing that its users feel was measured" in told
        assert "keeps within its guards" not in told
    async with driving(scenes.healthy()) as driver:
        await driver.press("endpoint.explain")
        told = " ".join(driver.text.split())
        assert "it is read, agrees with the registry and keeps within its guards." in told


async def test_models_are_old_when_models_are_not_read_and_since_then() -> None:
    async with driving(scenes.healthy()) as driver:
        registry, later = ModelRef("registry", "churn"), driver.clock.now() + timedelta(seconds=60)
        await driver.press("app.view_models")
        await driver.emit(ReadFailed("registry", "versions", "denied", "no access to one run", driver.clock.now()))
        assert "~STALE" not in driver.text, "one run that can't be read makes no list old"
        await driver.emit(ReadFailed("registry", "models", "timeout", "no answer", driver.clock.now()))
        assert "~STALE" in driver.line_with("churn")
        await driver.emit(VersionsObserved(registry, (scenes.version("churn", "7"),), "", True, later))
        assert "not read since 01:35:09Z" in driver.text, "that versions were read since does not make them newer"


async def test_a_connection_of_which_a_part_is_not_read_is_not_fresh() -> None:
    async with driving(scenes.healthy()) as driver:
        churn = driver.services.store.state.endpoints[scenes.ref("churn")]
        await driver.emit(ReadFailed("prod-eu", "endpoints", "timeout", "no answer", driver.clock.now()))
        driver.clock.advance(600)
        sample = scenes.readings(churn.ref, churn.variants[0].name, now=driver.clock.now())[-1]
        await driver.emit(SamplesObserved("prod-eu", (sample,), driver.clock.now()))
        assert "prod-eu stale 10m" in driver.lines[1]
        await driver.press("app.view_connections")
        row = driver.line_with("~STALE")
        assert "prod-eu" in row
        assert "fresh" not in row


def test_nothing_of_what_is_not_read_is_green() -> None:
    state = unreachable("prod-eu")
    for ref in state.endpoints:
        status = select.status_of(state, ref, scenes.NOW)
        assert status is not None
        if ref.connection != "prod-eu":
            continue
        back = replace(status.endpoint.rollout, phase=Phase.COMPLETE)
        stamp = Stamp("0199", Verb.ROLLBACK, SafeText("anna"), SafeText(""), scenes.NOW)
        returned = replace(status, endpoint=replace(status.endpoint, rollout=back, stamp=stamp))
        drawn = [
            *fleet.cells(status, scenes.NOW, UNICODE, None).values(),
            *rollouts.cells(status, scenes.NOW, UNICODE).values(),
            *(span for row in rollouts.detail(status, {}, (), scenes.NOW, UNICODE, 120) for span in row),
            *(span for row in fleet.note(returned, scenes.NOW, UNICODE, 120) for span in row),
        ]
        assert [span.text for span in drawn if span.role is Role.OK] == []
