"""What is known of a thing, in pages; one connection alone; marks; the bell; a slow link."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.ui import scenes
from tests.ui.driver import driving

from mlrelease_tui.domain.metrics import Coverage, VariantMetrics
from mlrelease_tui.domain.status import EndpointStatus, Severity
from mlrelease_tui.presentation import inspect, words
from mlrelease_tui.presentation.footer import footer
from mlrelease_tui.presentation.lines import plain, width_of
from mlrelease_tui.screens.alarm import QUIET_S, Alarm
from mlrelease_tui.screens.services import Appearance
from mlrelease_tui.store import select

FRAUD = scenes.ref("fraud-scorer")


@pytest.mark.parametrize(
    ("pressed", "page", "told"),
    [
        ("endpoint.explain", "[why]", "guard"),
        ("thing.describe", "[describe]", "uid-fraud-scorer"),
        ("thing.raw", "[raw]", '"ref": "prod-eu/ml/fraud-scorer"'),
        ("endpoint.metrics", "[metrics]", "requests/s"),
        ("endpoint.events", "[events]", "THE BACKEND REMEMBERS"),
        ("endpoint.logs", "[logs]", "reading the log of canary v42"),
    ],
)
async def test_each_page_has_its_key_and_the_others_are_a_turn_away(pressed: str, page: str, told: str) -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press(pressed)
        assert page in driver.lines[0]
        assert told in driver.text
        await driver.press("page.next_tab")
        assert page not in driver.lines[0]
        await driver.press("page.previous_tab")
        assert page in driver.lines[0]
        await driver.press("dialog.close")
        assert driver.lines[0].startswith(" Fleet")


async def test_pages_follow_what_changes() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("thing.describe")
        assert "r-fraud-scorer-7" in driver.text
        now = driver.services.store.state.endpoints[FRAUD]
        from mlrelease_tui.store.facts import EndpointObserved

        await driver.emit(EndpointObserved(replace(now, revision="r-next", observed_at=driver.clock.now())))
        await driver.until(lambda: "r-next" in driver.text, "the new revision")


def test_raw_is_json_of_the_whole_value() -> None:
    status = _status()
    found = json.loads(inspect.as_json(status.endpoint))
    assert found["ref"] == FRAUD.id
    assert found["variants"][1]["weight_bp"] == 2500
    assert json.loads(inspect.as_json(float("nan"))) == "nan"


def _status() -> EndpointStatus:
    status = select.status_of(scenes.degraded(), FRAUD, scenes.NOW)
    assert status is not None
    return status


async def test_one_connection_alone_and_all_again() -> None:
    async with driving(scenes.degraded()) as driver:
        everything = driver.table.keys
        await driver.press("app.connection")
        letter = driver.line_with("connection prod-us").split()[0]
        await driver.key(letter)
        assert driver.table.keys == ("prod-us/ml/recommend",)
        assert "Fleet @prod-us" in driver.lines[0]
        assert "1 CRIT" in driver.lines[0], "what burns elsewhere is still counted"
        await driver.press("app.everything")
        assert driver.table.keys == everything


async def test_marks_are_for_copying_and_say_so() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("list.mark", "list.down", "list.mark_range")
        assert "3 marked" in driver.text
        assert "act on the cursor's row" in driver.text
        await driver.press("endpoint.copy_name")
        assert "sent 3 names" in driver.lines[-1]
        await driver.press("list.unmark")
        assert "marked" not in driver.text


async def test_the_address_is_shown_and_copied() -> None:
    async with driving(scenes.degraded()) as driver:
        await driver.press("thing.url")
        assert "http://127.0.0.1:4100/fraud-scorer" in driver.lines[-1]


async def test_a_slow_link_gets_no_charts() -> None:
    async with driving(scenes.degraded(), appearance=Appearance(theme="dark", slow=True)) as driver:
        assert "slow link" in driver.lines[0]
        await driver.press("list.open")
        _, heading, below = driver.text.partition("VARIANT")
        assert heading
        assert not set("▁▂▃▄▅▆▇█") & set(below), "the bar of the steps above is no chart: it moves with a step"


def test_the_bell_rings_for_what_began_to_burn_once_in_a_while() -> None:
    clock = [0.0]
    alarm = Alarm(lambda: clock[0])
    burning = _status()
    calm = replace(burning, severity=Severity.OK)
    assert not alarm.hear([burning]), "what burns at the start is seen without a bell"
    assert alarm.title == "! 1 CRIT mlrelease"
    assert not alarm.hear([calm])
    assert alarm.title == "mlrelease"
    assert alarm.hear([burning])
    assert not alarm.hear([burning])
    assert not alarm.hear([calm])
    assert not alarm.hear([burning]), "it flaps"
    clock[0] += QUIET_S
    assert not alarm.hear([calm])
    assert alarm.hear([burning])


@pytest.mark.parametrize("cells", range(10, 120, 7))
def test_the_footer_names_whole_keys_only_and_always_the_last(cells: int) -> None:
    items = [("Enter", "open"), ("B", "roll back"), ("a", "actions"), ("W", "arm"), ("?", "help")]
    text = plain(footer(items, cells))
    assert width_of(footer(items, cells)) <= cells
    assert text.endswith("? help")
    assert all(f"{key} {word}" in text or f"{word}" not in text for key, word in items)


@pytest.mark.parametrize(
    ("set_bp", "seen", "requests", "told"),
    [
        (1000, 0.10, 100.0, "10%"),
        (2500, 0.12, 1200.0, "25/12%"),
        (1000, 0.13, 40.0, "10%"),
        (10_000, 0.98, 4000.0, "100%"),
        (10_000, 0.50, 4000.0, "100/50"),
    ],
)
def test_the_share_that_is_seen_is_shown_where_it_is_another(
    set_bp: int, seen: float, requests: float, told: str
) -> None:
    metrics = VariantMetrics("v", Coverage.OK, 60.0, requests=requests, observed_share=seen)
    assert words.canary_share(set_bp, metrics)[0] == told
