"""What is known of a model, a version and a connection: described, as JSON, and where a browser finds it."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType

import pytest
from tests.ui import registry_scenes as scenes
from tests.ui.driver import Driver
from tests.ui.pictures import at_both_sizes
from tests.ui.registry_driver import Compare, RegistryDriver, Size, driving, pressing, same

from mlrelease_tui.domain.connection import page_of
from mlrelease_tui.domain.text import SafeText, is_hidden
from mlrelease_tui.presentation.inspect import as_json
from mlrelease_tui.screens.views import VIEWS
from mlrelease_tui.store.facts import ConnectionObserved, LineageObserved
from mlrelease_tui.store.state import State

FRAUD = scenes.FRAUD
PAGES = {
    "model_page": "http://127.0.0.1:5000/#/models/{model}",
    "version_page": "http://127.0.0.1:5000/#/models/{model}/versions/{version}",
}


async def with_pages(driver: RegistryDriver) -> None:
    """The registry says where its pages are."""
    health = driver.services.store.state.connections["registry"]
    await driver.emit(
        ConnectionObserved(replace(health, model_page=PAGES["model_page"], version_page=PAGES["version_page"]))
    )


async def test_a_model_is_described_and_not_the_endpoint_that_runs_it() -> None:
    async with driving(scenes.healthy(), "app.view_models") as driver:
        await driver.select("fraud-scorer")
        await driver.press("thing.describe")
        assert driver.lines[0].startswith(" registry/fraud-scorer")
        assert "[describe]" in driver.lines[0]
        assert "metrics" not in driver.lines[0], "those are an endpoint's pages"
        assert "champion" in driver.text
        await driver.press("thing.raw")
        assert '"ref": "registry/fraud-scorer"' in driver.text


async def test_a_version_is_described_with_its_lineage_as_soon_as_that_is_read() -> None:
    state = replace(scenes.healthy(), lineage=MappingProxyType({}))
    async with driving(state, "app.view_models") as driver:
        await driver.select("fraud-scorer")
        await driver.press("list.open")
        chosen = driver.table.key
        await driver.press("thing.describe")
        assert driver.lines[0].startswith(f" {chosen}")
        assert f"lineage {chosen}" in driver.reader.asked
        assert "0.75" not in driver.text
        version = driver.services.store.state.versions[FRAUD].versions[0]
        assert version.ref.id == chosen
        await driver.emit(LineageObserved(version.ref, scenes.lineage(1, auc=0.75)))
        await driver.press("sheet.end")
        await driver.until(lambda: "0.75" in driver.text, "the metric of the run")


async def test_a_connection_is_described_without_what_is_secret() -> None:
    async with driving(scenes.linked(), "app.view_connections") as driver:
        assert driver.table.select("registry")
        await driver.press("thing.raw")
        assert '"kind": "mlflow"' in driver.text
        await driver.press("page.copy")
        assert "sent this page" in driver.lines[0]


async def test_addresses_are_the_registrys_pages_and_the_configured_url() -> None:
    async with driving(scenes.healthy(), "app.view_models") as driver:
        await driver.select("fraud-scorer")
        await driver.press("thing.url")
        assert "no address is known" in driver.lines[-1]
        await with_pages(driver)
        await driver.press("thing.url")
        assert "http://127.0.0.1:5000/#/models/fraud-scorer " in driver.lines[-1]
        await driver.press("list.open", "thing.url")
        number = driver.table.key.rpartition("@")[2]
        assert f"http://127.0.0.1:5000/#/models/fraud-scorer/versions/{number} " in driver.lines[-1]
        await driver.press("app.view_connections")
        assert driver.table.select("registry")
        await driver.press("thing.url")
        assert "http://127.0.0.1:5000 " in driver.lines[-1]


@pytest.mark.parametrize("view", ["models", "versions", "connections"])
async def test_the_help_names_these_keys(view: str) -> None:
    assert "thing" in VIEWS[view]().SCOPES
    assert "thing.describe" in VIEWS[view]().FOOTER


@pytest.mark.parametrize("key", ["thing.describe", "thing.raw", "thing.url", "item.copy_name"])
async def test_nothing_is_selected_is_said(key: str) -> None:
    async with driving(State(), "app.view_connections") as driver:
        await driver.press(key)
        assert "nothing is selected" in driver.lines[-1] or "no address is known" in driver.lines[-1]


async def test_what_is_not_listed_any_more_stays_to_be_read() -> None:
    async with driving(scenes.linked(), "app.view_connections") as driver:
        assert driver.table.select("registry")
        await driver.press("thing.describe")
        driver.app.current.narrow("nothing-like-it")
        await driver.settle()
        assert "mlflow" in driver.text


async def test_hostile_texts_are_letters_in_these_pages_too() -> None:
    for views in (("app.view_models",), ("app.view_models", "list.open")):
        async with driving(scenes.hostile(), *views) as driver:
            for key in ("thing.describe", "thing.raw"):
                await driver.press(key)
                assert not any(is_hidden(char) for line in driver.lines for char in line)
                await driver.press("dialog.close")
    async with driving(scenes.hostile_links(), "app.view_connections") as driver:
        for key in ("thing.describe", "thing.raw"):
            await driver.press(key)
            assert not any(is_hidden(char) for line in driver.lines for char in line)
            await driver.press("dialog.close")
        await driver.press("thing.url")
        assert not any(is_hidden(char) for char in driver.lines[-1])


def test_a_page_has_its_names_encoded() -> None:
    assert page_of(PAGES["version_page"], "a/b c", "{model}") == (
        "http://127.0.0.1:5000/#/models/a%2Fb%20c/versions/%7Bmodel%7D"
    )
    assert page_of(PAGES["model_page"], SafeText("é\x1b")) == "http://127.0.0.1:5000/#/models/%C3%A9%1B"
    assert page_of("", "x", "1") == ""


def test_a_description_of_a_mapping_is_json_too() -> None:
    assert json.loads(as_json({"reads": None})) == {"reads": None}


@at_both_sizes
def test_a_described_version_looks(snap_compare: Compare, size: Size) -> None:
    async def act(driver: Driver) -> None:
        await driver.press("app.view_models")
        await driver.select("fraud-scorer")
        await driver.press("list.open", "list.down", "thing.describe")

    assert same(snap_compare, scenes.healthy(), size, act)


def test_a_described_connection_looks(snap_compare: Compare) -> None:
    act = pressing("app.view_connections", "thing.describe")
    assert same(snap_compare, scenes.broken_links(), (80, 24), act)
