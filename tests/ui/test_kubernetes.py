"""What an operator sees of Kubernetes: clusters beside the local demo, replicas, events, logs, what a write would change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.ui import kubernetes_scenes as clusters
from tests.ui.driver import Clock, Driver
from tests.ui.kubernetes_scenes import CANARY, DETAILS, FRAUD, ClusterReader
from tests.ui.pictures import at_both_sizes
from textual.pilot import Pilot

from mlrelease_tui.app import MlreleaseApp
from mlrelease_tui.domain.details import Details
from mlrelease_tui.domain.logs import line_of
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.store.facts import DetailsObserved, EndpointObserved, LogObserved

Size = tuple[int, int]
Compare = Callable[..., bool]
Act = Callable[[Driver], Awaitable[object]]


@asynccontextmanager
async def seated(size: Size = (80, 24)) -> AsyncIterator[Driver]:
    clock = Clock()
    given = replace(clusters.serving(clusters.mixed(), clock.now), monotonic=clock.monotonic)
    app = MlreleaseApp(given, environ={"LANG": "C.UTF-8"})
    async with app.run_test(size=size) as pilot:
        driver = Driver(app, pilot, given, clock)
        await driver.settle()
        await driver.select("fraud-scorer")
        yield driver


def same(snap_compare: Compare, size: Size, act: Act) -> bool:
    clock = Clock()
    given = replace(clusters.serving(clusters.mixed(), clock.now), monotonic=clock.monotonic)
    app = MlreleaseApp(given, environ={"LANG": "C.UTF-8"})

    async def run(pilot: Pilot[None]) -> None:
        driver = Driver(app, pilot, given, clock)
        await driver.settle()
        await driver.select("fraud-scorer")
        await act(driver)
        await driver.settle()

    return snap_compare(app, terminal_size=size, run_before=run)


async def _fleet(driver: Driver) -> None:
    pass


async def _endpoint(driver: Driver) -> None:
    await driver.key("enter")


async def _menu(driver: Driver) -> None:
    await driver.press("endpoint.actions")


async def _replicas(driver: Driver) -> None:
    await driver.press("endpoint.events")
    await driver.press("page.previous_tab")


async def _events(driver: Driver) -> None:
    await driver.press("endpoint.events")


async def _logs(driver: Driver) -> None:
    await driver.press("endpoint.logs")


async def _plan(driver: Driver) -> None:
    await driver.press("endpoint.rollback")
    await driver.plan.ready()


async def _dry_run(driver: Driver) -> None:
    await _plan(driver)
    for _ in range(12):
        await driver.press("plan.more")


PICTURES: dict[str, Act] = {
    "fleet": _fleet,
    "endpoint": _endpoint,
    "menu": _menu,
    "replicas": _replicas,
    "events": _events,
    "logs": _logs,
    "plan": _plan,
    "dry-run": _dry_run,
}


@at_both_sizes
@pytest.mark.parametrize("what", PICTURES)
def test_kubernetes_looks(snap_compare: Compare, what: str, size: Size) -> None:
    assert same(snap_compare, size, PICTURES[what])


def reader(driver: Driver) -> ClusterReader:
    assert isinstance(driver.reader, ClusterReader)
    return driver.reader


async def test_details_are_read_while_a_page_about_them_is_open_and_forgotten_with_it() -> None:
    async with seated() as driver:
        await driver.press("thing.describe")
        assert not [asked for asked in driver.reader.asked if "details" in asked], "other pages read none"
        await driver.press("endpoint.events")
        assert "BackOff x12" in driver.text
        await driver.press("page.previous_tab")
        assert f"{CANARY}-7fbst" in driver.text
        assert "at least 2 stay" in driver.text
        assert driver.reader.asked.count(f"details {FRAUD}") == 1, "one reading serves both pages"
        await driver.press("dialog.close")
        assert driver.reader.asked[-1] == f"close details {FRAUD}"


async def test_they_are_read_again_when_the_endpoint_changes_and_by_the_key_that_reads_again() -> None:
    async with seated() as driver:
        store = driver.services.store
        await driver.press("endpoint.events")
        asked = f"details {FRAUD}"
        store.emit(EndpointObserved(replace(clusters.fraud(), revision="other-1")))
        await driver.settle()
        assert driver.reader.asked.count(asked) == 1, "not oftener than every few seconds"
        driver.clock.advance(4)
        store.emit(EndpointObserved(replace(clusters.fraud(), revision="other-2")))
        await driver.settle()
        assert driver.reader.asked.count(asked) == 2
        await driver.press("app.refetch")
        assert driver.reader.asked.count(asked) == 3


async def test_what_can_not_be_read_is_said_on_its_page_and_what_is_awaited_too() -> None:
    async with seated() as driver:
        reader(driver).details = None
        await driver.press("endpoint.events")
        assert "reading ..." in driver.text
        store = driver.services.store
        error = SafeText("context prod-eu: list events: \x1b[31mforbidden")
        store.emit(DetailsObserved(Details(FRAUD, DETAILS.at, error=error, hint=SafeText("ask for the right"))))
        await driver.settle()
        assert "list events: \\e[31mforbidden" in driver.text
        assert "ask for the right" in driver.text
        assert "THIS AUDIT" in driver.text, "what we know ourselves is shown all the same"


async def test_what_a_connection_does_not_know_has_no_page() -> None:
    async with seated() as driver:
        await driver.select("iris")
        await driver.press("endpoint.events")
        assert "replicas" not in driver.lines[0]
        assert not [asked for asked in driver.reader.asked if "details" in asked]


async def test_a_plan_says_what_the_server_would_change_and_what_beside_the_plan() -> None:
    async with seated((160, 48)) as driver:
        await driver.press("endpoint.rollback")
        await driver.plan.ready()
        assert "! dry run: the server would change 1 field beside what the plan names" in driver.text
        text = " ".join(driver.text.split())
        assert "DRY RUN: WHAT THE SERVER WOULD CHANGE" in text
        assert "registry.example/fraud:42 →" in text
        assert "env[MODEL_URI]" in text
        assert "unset → false" in text
        assert "beside the plan" in text


async def test_a_followed_log_runs_on_and_stays_where_it_was_scrolled_to() -> None:
    async with seated() as driver:
        await driver.press("endpoint.logs")
        assert "this run, as it comes" in driver.lines[1]
        assert "MemoryError" in driver.lines[-1]
        await driver.press("sheet.top")
        shown = driver.lines[2:10]
        store = driver.services.store
        log = store.state.logs[CANARY, False]
        (tail,) = log.tails
        more = replace(log, tails=(replace(tail, lines=(*tail.lines, line_of(b"and then it served"))),))
        store.emit(LogObserved(more))
        await driver.settle()
        assert driver.lines[2:10] == shown, "who reads is not moved"
        await driver.press("sheet.end")
        assert "and then it served" in driver.lines[-1]
        (tail,) = more.tails
        store.emit(LogObserved(replace(more, tails=(replace(tail, lines=(*tail.lines, line_of(b"and on"))),))))
        await driver.settle()
        assert "and on" in driver.lines[-1], "who is at the end stays there"


async def test_a_reason_that_has_no_room_is_said_whole_by_its_letter() -> None:
    async with seated() as driver:
        await driver.press("endpoint.actions")
        await driver.key("m")
        assert "mirroring is a step of the Rollout's own: add it to its steps" in driver.text
