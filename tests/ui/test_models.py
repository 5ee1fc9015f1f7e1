"""Models and versions: what is listed, paged, compared, searched; an alias moved from there."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from tests.ui import registry_scenes as scenes
from tests.ui.pictures import at_both_sizes
from tests.ui.registry_driver import Compare, RegistryDriver, Size, driving, pressing, same
from tests.ui.scenes import NAMES

from mlrelease_tui.domain.intents import MoveAlias
from mlrelease_tui.domain.models import Readiness
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.presentation.version_diff import compare
from mlrelease_tui.store.facts import LineageObserved, ModelObserved, ReadFailed, VersionsObserved
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets.plan_panel import Stance

FRAUD = scenes.FRAUD


def unread(state: State) -> State:
    """The models are known, no version and no lineage was read."""
    return replace(state, versions=MappingProxyType({}), lineage=MappingProxyType({}))


async def versions(driver: RegistryDriver) -> None:
    """From the models to the versions of the model that has some."""
    await driver.select("fraud-scorer")
    await driver.press("list.open")
    assert driver.view == "versions"


# --- models -----------------------------------------------------------------------------------------------------------


async def test_the_list_says_alias_latest_and_what_serves() -> None:
    async with driving(scenes.degraded(), "app.view_models") as driver:
        row = driver.line_with("fraud-scorer")
        assert "v41→v42" in row
        assert "v44" in row
        assert "champion v41" in driver.line_with("embed-small") or "champion v3" in driver.line_with("embed-small")


async def test_an_endpoint_that_does_not_follow_its_alias_is_a_problem() -> None:
    async with driving(scenes.degraded(), "app.view_models", "rows.problems") as driver:
        shown = {key.rpartition("/")[2] for key in driver.table.keys}
        assert shown == {"churn", "ranker", "recommend"}
        await driver.select("churn")
        assert "alias champion says v9, endpoint runs v7" in driver.text


async def test_a_move_without_this_tool_is_told() -> None:
    async with driving(scenes.degraded(), "app.view_models") as driver:
        await driver.select("recommend")
        assert "champion was moved to v5 without this tool" in driver.text


async def test_the_model_of_the_selected_endpoint_is_selected() -> None:
    async with driving(scenes.degraded()) as driver:
        assert driver.table.key == "prod-eu/ml/fraud-scorer"
        await driver.press("app.view_models")
        assert driver.table.key == FRAUD.id


async def test_a_registry_that_fails_keeps_its_rows_as_old() -> None:
    async with driving(scenes.stale(), "app.view_models") as driver:
        row = driver.line_with("embed-small")
        assert "~STALE" in row
        assert "~v5" in row


async def test_a_registry_that_never_answered_says_why() -> None:
    async with driving(scenes.error(), "app.view_models") as driver:
        assert "the server answered 401" in driver.text


# --- versions ---------------------------------------------------------------------------------------------------------


async def test_opening_a_model_asks_for_its_versions_once_and_shows_them() -> None:
    async with driving(unread(scenes.healthy()), "app.view_models") as driver:
        await versions(driver)
        assert "reading the versions" in driver.text
        assert driver.reader.asked.count(f"versions {FRAUD}") == 1
        await driver.emit(VersionsObserved(FRAUD, scenes.versions(44, 3), "", True, driver.clock.now()))
        assert driver.rows == 3
        assert "PENDING" in driver.line_with("v44")
        assert "champion" not in driver.line_with("v42")
        assert "challenger" in driver.line_with("v42")
        assert driver.reader.asked.count(f"versions {FRAUD}") == 1


async def test_a_wish_that_was_not_answered_is_made_again_later() -> None:
    async with driving(unread(scenes.healthy()), "app.view_models") as driver:
        await versions(driver)
        await driver.emit(ReadFailed("registry", "versions", "timeout", "no answer within 10 s", driver.clock.now()))
        assert "can't be read: no answer within 10 s" in driver.text
        assert driver.reader.asked.count(f"versions {FRAUD}") == 1
        driver.clock.advance(6)
        await driver.emit(ReadFailed("registry", "versions", "timeout", "still no answer", driver.clock.now()))
        assert driver.reader.asked.count(f"versions {FRAUD}") == 2


async def test_pages_are_asked_for_as_the_cursor_nears_the_end() -> None:
    async with driving(unread(scenes.healthy()), "app.view_models") as driver:
        await versions(driver)
        await driver.emit(VersionsObserved(FRAUD, scenes.versions(400, 200), "200", True, driver.clock.now()))
        assert f"more {FRAUD}" not in driver.reader.asked
        assert "200 of 44 read; more come as you go down" in driver.text
        await driver.press("list.half_down")
        assert f"more {FRAUD}" not in driver.reader.asked
        await driver.press("list.end")
        assert driver.reader.asked.count(f"more {FRAUD}") == 1
        here = driver.table.key
        await driver.emit(VersionsObserved(FRAUD, scenes.versions(200, 200), "", False, driver.clock.now()))
        assert driver.rows == 400
        assert driver.table.key == here
        await driver.press("list.end")
        assert driver.table.key.endswith("@1")
        assert driver.reader.asked.count(f"more {FRAUD}") == 1


async def test_a_filter_reads_on_until_it_has_seen_all() -> None:
    async with driving(unread(scenes.healthy()), "app.view_models") as driver:
        await versions(driver)
        await driver.emit(VersionsObserved(FRAUD, scenes.versions(400, 200), "200", True, driver.clock.now()))
        await driver.press("rows.filter")
        await driver.type("v117")
        await driver.key("enter")
        assert "reading on" in driver.text
        assert driver.reader.asked.count(f"more {FRAUD}") == 1
        await driver.emit(VersionsObserved(FRAUD, scenes.versions(200, 200), "", False, driver.clock.now()))
        assert [key.rpartition("@")[2] for key in driver.table.keys] == ["117"]
        await driver.key("escape")
        assert driver.rows == 400


async def test_ten_thousand_versions_draw_only_the_rows_that_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlrelease_tui.presentation import versions as view

    drawn: list[str] = []
    cells = view.cells

    def counted(row: view.VersionRow, *args: object, **kwargs: object) -> object:
        drawn.append(row.version.ref.version)
        return cells(row, *args, **kwargs)  # type: ignore[arg-type]

    async with driving(scenes.many(), "app.view_models") as driver:
        await driver.select("fraud-scorer")
        monkeypatch.setattr(view, "cells", counted)
        await driver.press("list.open")
        assert driver.rows == 10_000
        assert set(drawn) <= {str(number) for number in range(10_000, 9_970, -1)}
        drawn.clear()
        await driver.press("list.end")
        assert driver.table.key.endswith("@1")
        assert len(set(drawn)) <= 60
        drawn.clear()
        await driver.emit(ModelObserved(replace(scenes.MODELS[0], version_count=12)))
        assert len(drawn) <= 60


async def test_lineage_is_read_for_the_version_that_is_looked_at_not_for_each_that_is_passed() -> None:
    state = replace(scenes.healthy(), lineage=MappingProxyType({}))
    async with driving(state, "app.view_models", size=(160, 48)) as driver:
        await versions(driver)
        await driver.pilot.press(*["j"] * 10)
        await driver.until(lambda: f"lineage {FRAUD}@34" in driver.reader.asked, "a wish for lineage")
        asked = [text for text in driver.reader.asked if text.startswith("lineage")]
        assert len(asked) < 10, "a slow machine may rest on one in passing, but not on each"
        shown = next(item for item in scenes.versions(44, 40) if item.ref.version == "34")
        await driver.emit(LineageObserved(shown.ref, scenes.lineage(34, f1="Infinity")))
        assert "0.934" in driver.line_with("accuracy")
        assert "Infinity" in driver.line_with(" f1")
        assert "8f2e0034" in driver.text


async def test_a_version_in_full_and_back_by_esc() -> None:
    async with driving(scenes.healthy(), "app.view_models") as driver:
        await versions(driver)
        await driver.press("list.down", "list.down", "list.open")
        assert "fraud-scorer v42" in driver.text
        assert "NaN" in driver.line_with("loss")
        assert "run42a7f3c2" in driver.text
        await driver.press("sheet.end")
        assert "device: string?" in driver.text
        await driver.key("escape")
        assert driver.table.has_focus
        assert "VERSION" in driver.text
        await driver.key("escape")
        assert driver.view == "models"


async def test_the_list_keeps_its_place_while_a_version_is_read() -> None:
    async with driving(scenes.healthy(), "app.view_models") as driver:
        await versions(driver)
        await driver.press(*("list.down",) * 25, *("list.up",) * 5)
        before = driver.lines
        await driver.press("list.open")
        await driver.emit(ModelObserved(replace(scenes.MODELS[0], version_count=12)))
        await driver.key("escape")
        assert driver.lines == before


async def test_a_text_is_laid_out_for_the_width_it_has() -> None:
    async with driving(scenes.healthy(), "app.view_models", size=(160, 48)) as driver:
        await versions(driver)
        assert "max_depth" in driver.text
        whole = "amount, merchant, hour, country, amount, merchant, hour, country, amount, merchant"
        assert whole not in driver.text
        await driver.press("list.open")
        await driver.until(lambda: whole in driver.text, "the text in its new width")


async def test_two_marked_versions_are_compared_older_at_the_left() -> None:
    async with driving(scenes.healthy(), "app.view_models") as driver:
        await versions(driver)
        await driver.press("list.mark", "list.down", "list.mark", "versions.diff")
        assert "fraud-scorer: v42 → v44" in driver.text
        assert "+0.002 (+0.2%)" in driver.line_with("accuracy")
        row = driver.line_with("loss")
        assert "NaN" in row
        assert "0.21" in row
        assert "auc" not in driver.text
        await driver.key("escape")
        assert driver.table.marks


async def test_versions_that_a_filter_finds_one_by_one_are_compared() -> None:
    async with driving(scenes.healthy(), "app.view_models") as driver:
        await versions(driver)
        for found in ("v44", "v42"):
            await driver.command(f"filter {found}")
            await driver.press("list.mark")
        assert "2 (1 hidden) marked" in driver.text
        await driver.press("versions.diff")
        assert "fraud-scorer: v42 → v44" in driver.text
        assert "+0.002 (+0.2%)" in driver.line_with("accuracy")


async def test_a_comparison_needs_two() -> None:
    async with driving(scenes.healthy(), "app.view_models") as driver:
        await versions(driver)
        await driver.press("versions.diff")
        assert "mark two versions" in driver.lines[-1]
        assert driver.table.has_focus


async def test_a_signature_that_changed_shows_column_by_column() -> None:
    old, new = scenes.version(41), scenes.version(42)
    found = {item.name: item for item in compare(old, scenes.lineage(41), new, scenes.lineage(42)) if not item.same}
    assert found["device"].word == "added"
    assert found["loss"].after == "NaN"
    assert not found["loss"].delta


async def test_an_alias_is_moved_by_a_plan() -> None:
    async with driving(scenes.healthy(), "app.view_models") as driver:
        await versions(driver)
        await driver.press("list.down", "list.down", "versions.move_alias")
        assert "it is here already" in driver.line_with("challenger: v42")
        await driver.key("1")
        assert driver.registry_desk.prepared == []
        await driver.key("2")
        await driver.plan.ready()
        assert driver.registry_desk.prepared == [MoveAlias(FRAUD, "champion", "42")]
        assert "alias    champion v41 → v42" in driver.text
        await driver.plan.confirm()
        assert driver.registry_desk.submitted == []
        await driver.press("plan.arm")
        await driver.plan.confirm()
        await driver.plan.stands(Stance.DONE)
        assert [plan.intent for plan, _, _ in driver.registry_desk.submitted] == [MoveAlias(FRAUD, "champion", "42")]
        await driver.key("escape")
        assert driver.table.has_focus


async def test_the_key_that_opened_the_menu_opens_it_anew() -> None:
    async with driving(scenes.healthy(), "app.view_models") as driver:
        await versions(driver)
        for _ in range(3):
            await driver.press("versions.move_alias")
            assert "Point an alias at fraud-scorer v44" in driver.text
        await driver.key("escape")
        assert "Point an alias" not in driver.text
        await driver.press("rows.sort", "rows.sort")
        assert "Sort by" in driver.text


async def test_a_new_alias_is_named() -> None:
    async with driving(scenes.healthy(), "app.view_models") as driver:
        await versions(driver)
        await driver.press("versions.move_alias")
        await driver.key("n")
        await driver.type("shadow")
        await driver.key("enter")
        await driver.plan.ready()
        assert driver.registry_desk.prepared == [MoveAlias(FRAUD, "shadow", "44")]


async def test_a_plan_carries_the_name_as_the_backend_has_it() -> None:
    async with driving(scenes.hostile(), "app.view_models") as driver:
        bad = next(ref.id for ref in driver.services.store.state.models if ref.name == SafeText(NAMES[0]))
        assert driver.table.select(bad)
        await driver.press("list.open", "list.down", "versions.move_alias")
        await driver.key("1")
        await driver.plan.ready()
        intent = driver.registry_desk.prepared[0]
        assert isinstance(intent, MoveAlias)
        assert isinstance(intent.model.name, SafeText)
        assert intent.model.name.raw == NAMES[0]


async def test_versions_that_are_not_ready_are_the_problems() -> None:
    async with driving(scenes.healthy(), "app.view_models") as driver:
        await versions(driver)
        await driver.press("rows.problems")
        assert driver.rows == sum(item.readiness is not Readiness.READY for item in scenes.versions(44, 40))


async def test_refetch_reads_the_registry_and_its_versions_again() -> None:
    async with driving(scenes.healthy(), "app.view_models") as driver:
        await versions(driver)
        driver.reader.asked.clear()
        await driver.press("app.refetch")
        assert driver.reader.asked == ["refresh registry", f"versions {FRAUD}"]


# --- pictures ---------------------------------------------------------------------------------------------------------


@at_both_sizes
@pytest.mark.parametrize("scene", sorted(scenes.SCENES))
def test_models_look(snap_compare: Compare, scene: str, size: Size) -> None:
    assert same(snap_compare, scenes.SCENES[scene](), size, pressing("app.view_models"))


async def _open(driver: object) -> None:
    assert isinstance(driver, RegistryDriver)
    await driver.press("app.view_models")
    await versions(driver)


@at_both_sizes
@pytest.mark.parametrize("scene", ["healthy", "degraded", "stale"])
def test_versions_look(snap_compare: Compare, scene: str, size: Size) -> None:
    assert same(snap_compare, scenes.SCENES[scene](), size, _open)


@at_both_sizes
def test_versions_look_while_loading(snap_compare: Compare, size: Size) -> None:
    assert same(snap_compare, unread(scenes.healthy()), size, _open)


@at_both_sizes
def test_versions_look_hostile(snap_compare: Compare, size: Size) -> None:
    keys = ("app.view_models", "list.top", *("list.down",) * 3, "list.open", "list.open")
    assert same(snap_compare, scenes.hostile(), size, pressing(*keys))


@at_both_sizes
def test_version_in_full_looks(snap_compare: Compare, size: Size) -> None:
    async def act(driver: object) -> None:
        await _open(driver)
        assert isinstance(driver, RegistryDriver)
        await driver.press("list.down", "list.down", "list.open")

    assert same(snap_compare, scenes.degraded(), size, act)


@at_both_sizes
def test_comparison_looks(snap_compare: Compare, size: Size) -> None:
    async def act(driver: object) -> None:
        await _open(driver)
        assert isinstance(driver, RegistryDriver)
        await driver.press("list.down", "list.mark", "list.down", "list.mark", "versions.diff")

    assert same(snap_compare, scenes.degraded(), size, act)


@at_both_sizes
def test_alias_plan_looks(snap_compare: Compare, size: Size) -> None:
    async def act(driver: object) -> None:
        await _open(driver)
        assert isinstance(driver, RegistryDriver)
        await driver.press("list.down", "list.down", "versions.move_alias")
        await driver.key("2")
        await driver.plan.ready()

    assert same(snap_compare, scenes.healthy(), size, act)
