"""What a list says of itself: nothing that is not so, when a filter hides rows, when nothing was read, when a part is looked at."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from tests.ui import scenes
from tests.ui.driver import driving

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
