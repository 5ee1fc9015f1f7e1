"""How the screens look, state by state, at both sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.ui import scenes
from tests.ui.driver import Driver
from tests.ui.pictures import at_both_sizes, same

from mlrelease_tui.screens.services import Appearance
from mlrelease_tui.themes import NAMES
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.plan_panel import Stance

Compare = Callable[..., bool]
Size = tuple[int, int]


async def _plan(driver: Driver) -> None:
    await driver.press("endpoint.rollback")
    await driver.plan.ready()


async def _name_plan(driver: Driver) -> None:
    await driver.desk.arm(15)
    await driver.press("endpoint.actions")
    await driver.key(keys.entry("menu.full").keys[0])
    await driver.plan.ready()


async def _applied(driver: Driver) -> None:
    await driver.desk.arm(15)
    await _plan(driver)
    await driver.plan.confirm()
    await driver.plan.stands(Stance.DONE)


async def _endpoint(driver: Driver) -> None:
    await driver.press("list.open")


async def _rollouts(driver: Driver) -> None:
    await driver.press("app.view_rollouts")


@at_both_sizes
@pytest.mark.parametrize("scene", ["loading", "empty", "healthy", "degraded", "stale", "hostile"])
def test_fleet(snap_compare: Compare, scene: str, size: Size) -> None:
    assert same(snap_compare, scenes.SCENES[scene](scenes.NOW), size)


@at_both_sizes
def test_fleet_plan_open(snap_compare: Compare, size: Size) -> None:
    assert same(snap_compare, scenes.degraded(), size, _plan)


@at_both_sizes
def test_fleet_plan_by_name(snap_compare: Compare, size: Size) -> None:
    assert same(snap_compare, scenes.degraded(), size, _name_plan)


@at_both_sizes
def test_fleet_applied(snap_compare: Compare, size: Size) -> None:
    assert same(snap_compare, scenes.degraded(), size, _applied)


@at_both_sizes
def test_actions_menu(snap_compare: Compare, size: Size) -> None:
    async def act(driver: Driver) -> None:
        await driver.press("endpoint.actions")

    assert same(snap_compare, scenes.degraded(), size, act)


@at_both_sizes
def test_command_line(snap_compare: Compare, size: Size) -> None:
    async def act(driver: Driver) -> None:
        await driver.press("app.command")
        await driver.type("pro")

    assert same(snap_compare, scenes.degraded(), size, act)


@at_both_sizes
@pytest.mark.parametrize("scene", ["healthy", "degraded", "stale", "hostile", "loading"])
def test_endpoint(snap_compare: Compare, scene: str, size: Size) -> None:
    act = _endpoint if scene != "loading" else _view_endpoint
    assert same(snap_compare, scenes.SCENES[scene](scenes.NOW), size, act)


async def _view_endpoint(driver: Driver) -> None:
    await driver.press("app.view_endpoint")


@at_both_sizes
@pytest.mark.parametrize("scene", ["healthy", "degraded", "stale"])
def test_rollouts(snap_compare: Compare, scene: str, size: Size) -> None:
    assert same(snap_compare, scenes.SCENES[scene](scenes.NOW), size, _rollouts)


@at_both_sizes
def test_rollouts_plan_open(snap_compare: Compare, size: Size) -> None:
    async def act(driver: Driver) -> None:
        await _rollouts(driver)
        await _plan(driver)

    assert same(snap_compare, scenes.degraded(), size, act)


@at_both_sizes
def test_explain(snap_compare: Compare, size: Size) -> None:
    async def act(driver: Driver) -> None:
        await driver.press("endpoint.explain")

    assert same(snap_compare, scenes.degraded(), size, act)


def test_help(snap_compare: Compare) -> None:
    async def act(driver: Driver) -> None:
        await driver.press("app.help")

    assert same(snap_compare, scenes.degraded(), (80, 48), act)


@pytest.mark.parametrize("theme", NAMES)
def test_theme(snap_compare: Compare, theme: str) -> None:
    assert same(snap_compare, scenes.degraded(), (80, 24), _plan, appearance=Appearance(theme=theme))


def test_ascii(snap_compare: Compare) -> None:
    assert same(snap_compare, scenes.degraded(), (80, 24), _plan, appearance=Appearance(theme="dark", ascii=True))


@pytest.mark.parametrize("size", [(60, 18), (40, 10)], ids=["60x18", "40x10"])
def test_small(snap_compare: Compare, size: Size) -> None:
    assert same(snap_compare, scenes.degraded(), size)


@pytest.mark.parametrize("page", ["thing.describe", "endpoint.metrics", "endpoint.events", "thing.raw"])
def test_page(snap_compare: Compare, page: str) -> None:
    async def act(driver: Driver) -> None:
        await driver.press(page)

    assert same(snap_compare, scenes.degraded(), (80, 24), act)


def test_scope_menu(snap_compare: Compare) -> None:
    async def act(driver: Driver) -> None:
        await driver.press("app.connection")

    assert same(snap_compare, scenes.degraded(), (80, 24), act)


def test_marked(snap_compare: Compare) -> None:
    async def act(driver: Driver) -> None:
        await driver.press("list.mark", "list.mark")

    assert same(snap_compare, scenes.degraded(), (80, 24), act)
