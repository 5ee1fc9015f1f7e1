"""The connections: each trouble is told apart, with what helps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.ui import registry_scenes as scenes
from tests.ui.pictures import at_both_sizes
from tests.ui.registry_driver import Compare, Size, driving, pressing, same

from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.store.facts import ConnectionObserved

CONNECTIONS = "app.view_connections"


async def test_each_trouble_has_its_own_word_worst_first() -> None:
    async with driving(scenes.broken_links(), CONNECTIONS) as driver:
        words = {key: driver.row(f" {key[:10]}").split(key[:10])[0].strip(" ❯") for key in driver.table.keys}
        assert {key: word[1:] for key, word in words.items()} == {
            "edge": "DOWN",
            "registry": "AUTH",
            "seldon": "BROKEN",
            "prod-us": "SLOW",
            "staging-registry": "WARN",
            "traffic": "STALE",
            "prod-eu": "OK",
        }
        assert driver.table.keys[-1] == "prod-eu"


async def test_the_selected_trouble_says_what_helps() -> None:
    async with driving(scenes.broken_links(), CONNECTIONS) as driver:
        assert driver.table.select("registry")
        await driver.settle()
        assert "the server answered 401" in driver.text
        assert "mlrelease connections login registry" in driver.text


async def test_a_plugin_that_cannot_be_loaded_is_a_row() -> None:
    async with driving(scenes.broken_links(), CONNECTIONS) as driver:
        assert driver.table.select("seldon")
        await driver.press("list.open")
        assert "ModuleNotFoundError" in driver.text
        assert "(plugin)" in driver.text
        assert "install what it needs, or remove [connections.seldon]" in driver.text
        assert "not known: it never answered" in driver.text


async def test_reads_that_fail_behind_a_probe_that_answers_are_told() -> None:
    async with driving(scenes.broken_links(), CONNECTIONS) as driver:
        assert driver.table.select("traffic")
        await driver.press("list.open")
        assert "READS FAIL" in driver.text
        assert "2 of 9 targets did not answer" in driver.text


async def test_where_the_credential_comes_from_is_shown_and_what_it_can_do() -> None:
    async with driving(scenes.linked(), CONNECTIONS) as driver:
        assert "keyring" in driver.row(" registry ")
        assert driver.table.select("prod-eu")
        await driver.press("list.open")
        assert "from command" in driver.text
        assert "system:serviceaccount:ml:release" in driver.text
        assert "weight, hold, abort, rollback" in driver.text


async def test_r_asks_the_selected_connection_again() -> None:
    async with driving(scenes.broken_links(), CONNECTIONS) as driver:
        assert driver.table.select("edge")
        await driver.press("app.refetch")
        assert driver.reader.asked == ["refresh edge"]
        assert "asking edge again" in driver.lines[-1]
        edge = driver.services.store.state.connections["edge"]
        healed = replace(edge, state=LinkState.OK, error_code="", error=type(edge.error)(), latency_s=0.02)
        await driver.emit(ConnectionObserved(healed))
        assert "DOWN" not in driver.text
        assert driver.table.key == "edge"


async def test_only_problems() -> None:
    async with driving(scenes.broken_links(), CONNECTIONS, "rows.problems") as driver:
        assert "prod-eu" not in driver.table.keys
        assert driver.rows == 6


async def test_a_filter_finds_capabilities() -> None:
    async with driving(scenes.linked(), CONNECTIONS, "rows.filter") as driver:
        await driver.type("lineage")
        await driver.key("enter")
        assert driver.table.keys == ("registry",)


async def test_the_connection_of_the_selected_endpoint_is_selected() -> None:
    async with driving(scenes.linked()) as driver:
        await driver.press(CONNECTIONS)
        assert driver.table.key == "prod-eu"


@at_both_sizes
@pytest.mark.parametrize("scene", sorted(scenes.CONNECTION_SCENES))
def test_connections_look(snap_compare: Compare, scene: str, size: Size) -> None:
    assert same(snap_compare, scenes.CONNECTION_SCENES[scene](), size, pressing(CONNECTIONS, "list.top"))


@at_both_sizes
@pytest.mark.parametrize("scene", ["healthy", "degraded", "hostile"])
def test_connection_in_full_looks(snap_compare: Compare, scene: str, size: Size) -> None:
    keys = (CONNECTIONS, "list.top", "list.down", "list.open")
    assert same(snap_compare, scenes.CONNECTION_SCENES[scene](), size, pressing(*keys))
