"""Keys move what is seen: when the text has the list's place, when a menu has no room."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from tests.ui import scenes
from tests.ui.driver import driving

from mlrelease_tui.screens.views import VIEWS
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets.prompt import Prompt


def scattered(connections: int) -> State:
    """An endpoint on each of so many connections."""
    items = [scenes.endpoint(f"e{number:02d}", "7", connection=f"conn-{number:02d}") for number in range(connections)]
    return replace(scenes.healthy(), endpoints=MappingProxyType({item.ref: item for item in items}))


@pytest.mark.parametrize("view", ["fleet", "rollouts", "models", "connections", "audit"])
async def test_zoomed_the_text_is_moved_and_the_list_again_after_it(view: str) -> None:
    async with driving(scenes.degraded(), (80, 10)) as driver:
        await driver.press(f"app.view_{view}")
        first = driver.table.key
        await driver.press("app.zoom")
        before = driver.lines[2:-1]
        assert "open" not in driver.lines[-1], "Enter opens nothing while no list is seen"
        await driver.press("sheet.end")
        assert driver.lines[2:-1] != before, "the end of the text is seen"
        assert driver.table.key == first
        await driver.press("app.zoom")
        await driver.press("list.down")
        assert driver.table.key != first or len(driver.table.keys) < 2


@pytest.mark.parametrize("view", list(VIEWS))
async def test_keys_have_somewhere_to_go_on_every_view(view: str) -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.app.show_view(view)
        for _ in range(3):
            await driver.press("app.zoom")
            assert driver.app.focused is not None
        await driver.press("app.command")
        await driver.key("escape")
        assert driver.app.focused is not None


async def test_more_places_than_letters_are_found_by_their_names() -> None:
    async with driving(scattered(45)) as driver:
        await driver.press("app.connection")
        assert isinstance(driver.app.current.dock, Prompt)
        await driver.type("conn-44")
        await driver.key("enter")
        assert "@conn-44" in driver.lines[0]
        assert [key.split("/")[0] for key in driver.table.keys] == ["conn-44"]
        await driver.press("app.connection")
        await driver.type("nowhere")
        await driver.key("enter")
        assert "there is no nowhere" in driver.lines[-1]
        assert "@conn-44" in driver.lines[0]


async def test_a_menu_without_room_begins_with_its_title_and_counts_the_rest() -> None:
    async with driving(scenes.degraded(), (80, 12)) as driver:
        await driver.press("endpoint.actions")
        assert driver.line_with("Actions on prod-eu/ml/fraud-scorer")
        assert driver.line_with("promote: next step")
        assert "more: enlarge the terminal" in driver.text
