"""The page of logs: read when it is looked at, one variant and one run at a time, harmless, gone when it is closed."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.ui import scenes
from tests.ui.driver import Clock, Driver, driving
from tests.ui.pictures import at_both_sizes, same
from tests.ui.preview import log_reader
from tests.ui.pty_harness import Terminal
from tests.ui.stand_in import services

from mlrelease_tui.app import MlreleaseApp
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.domain.logs import LogTail, LogWish, VariantLog
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.text import SafeText, is_hidden
from mlrelease_tui.presentation import logs as view
from mlrelease_tui.presentation.lines import Span, plain, width_of
from mlrelease_tui.store.facts import EndpointObserved, LogObserved
from mlrelease_tui.store.state import State

FRAUD = scenes.ref("fraud-scorer")
STABLE, CANARY = "fraud-scorer-v41", "fraud-scorer-v42"
HOSTILE = (
    b"\x1b[2J\x1b[31mred\n\x1b]52;c;aGFja2Vk\x07\x1b]0;title\x07\n\x00\x08\x7f\xff\xfe\xc3(\x9b2J\n"
    + "\u202egpj.exe\u2066 zero\u200bwidth\ufeff \x9b31m [@click=app.quit]quit[/] 宽宽👩‍👩‍👧\n".encode()
    + b"W" * 50_000
    + b"\rover\x0b\x0c\x85the end\n"
)


@dataclass
class Seat:
    driver: Driver
    layout: Layout

    def prints(self, text: str | bytes, variant: str = CANARY, *, previous: bool = False) -> None:
        key = f"{FRAUD.namespace}/{FRAUD.name}"
        path = self.layout.previous_log_of(key, variant) if previous else self.layout.log_of(key, variant)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def offering(state: State, *words: str) -> State:
    """The state with connections that say they can do this."""
    healths = {name: replace(item, capabilities=words) for name, item in state.connections.items()}
    return replace(state, connections=healths)


@asynccontextmanager
async def seated(tmp_path: Path, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Seat]:
    """The app on a scripted state; logs are read from real files by the local connector."""
    layout = Layout(tmp_path)
    layout.make()
    clock = Clock()
    given = services(offering(scenes.degraded(), "endpoints", "logs"), clock.now)
    reader = log_reader(given.store, tmp_path)
    app = MlreleaseApp(replace(given, reader=reader), environ={"LANG": "C.UTF-8"})
    async with app.run_test(size=size) as pilot:
        driver = Driver(app, pilot, replace(given, reader=reader), clock)
        await driver.settle()
        await driver.select("fraud-scorer")
        yield Seat(driver, layout)
    await reader.stop()


async def test_the_end_of_the_canarys_log_is_shown_first_and_the_others_by_a_key(tmp_path: Path) -> None:
    async with seated(tmp_path) as seat:
        driver = seat.driver
        seat.prints("".join(f"request {number} scored\n" for number in range(200)))
        seat.prints("stable is bored\n", STABLE)
        seat.prints("the run that failed\n", previous=True)
        await driver.press("endpoint.logs")
        await driver.until(lambda: "request 199 scored" in driver.text, "the end of the log")
        assert driver.lines[1].startswith(" canary v42  this run")
        assert "request 199 scored" in driver.lines[-1], "nothing lies below the end"
        await driver.press("sheet.top")
        assert "request 0 scored" in driver.text
        await driver.press("page.variant")
        await driver.until(lambda: "stable is bored" in driver.text, "the other variant's log")
        assert driver.lines[1].startswith(" stable v41  this run")
        await driver.press("page.variant", "page.previous_run")
        await driver.until(lambda: "the run that failed" in driver.text, "the run before")
        assert driver.lines[1].startswith(" canary v42  the run before")


async def test_it_is_read_again_by_the_key_that_reads_everything_again(tmp_path: Path) -> None:
    async with seated(tmp_path) as seat:
        driver = seat.driver
        seat.prints("first\n")
        await driver.press("endpoint.logs")
        await driver.until(lambda: "first" in driver.text, "the log")
        seat.prints("first\nsecond\n")
        await driver.settle()
        assert "second" not in driver.text
        await driver.press("app.refetch")
        await driver.until(lambda: "second" in driver.text, "what was printed since")


async def test_a_log_is_kept_no_longer_than_its_page_is_open(tmp_path: Path) -> None:
    async with seated(tmp_path) as seat:
        driver = seat.driver
        seat.prints("a secret of the model\n")
        await driver.press("endpoint.logs")
        await driver.until(lambda: "a secret" in driver.text, "the log")
        assert driver.services.store.state.logs
        await driver.press("dialog.close")
        await driver.until(lambda: not driver.services.store.state.logs, "the log to be forgotten")
        await driver.press("thing.describe")
        assert not driver.services.store.state.logs, "no other page reads logs"


async def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    async with seated(tmp_path) as seat:
        driver = seat.driver
        await driver.press("endpoint.logs")
        await driver.until(lambda: "nothing was printed yet" in driver.text, "the reason")
        await driver.press("page.previous_run")
        await driver.until(lambda: "no run before this one" in driver.text, "the reason")
        seat.prints("x\n")
        log = next(seat.layout.logs.iterdir())
        log.unlink()
        log.mkdir()
        await driver.press("page.previous_run", "app.refetch")
        await driver.until(lambda: "no plain file" in driver.text, "the error")
        assert driver.services.store.state.freshness == scenes.degraded().freshness, (
            "the endpoint is as fresh as before"
        )


async def test_nothing_is_asked_of_a_connection_without_logs() -> None:
    async with driving(offering(scenes.degraded(), "endpoints")) as driver:
        await driver.press("endpoint.logs")
        assert "reads no logs: its connector does not offer them" in driver.text
        assert not [asked for asked in driver.reader.asked if asked.startswith("log")]


async def test_the_page_of_a_variant_that_went_turns_to_another(tmp_path: Path) -> None:
    async with seated(tmp_path) as seat:
        driver = seat.driver
        seat.prints("canary\n")
        seat.prints("it is stable\n", STABLE)
        await driver.press("endpoint.logs")
        await driver.until(lambda: "canary v42" in driver.lines[1], "the log")
        now = driver.services.store.state.endpoints[FRAUD]
        await driver.emit(EndpointObserved(replace(now, variants=now.variants[:1], revision="r-next")))
        await driver.until(lambda: "it is stable" in driver.text, "the log of what is left")


async def test_hostile_output_is_letters_on_the_screen(tmp_path: Path) -> None:
    async with seated(tmp_path) as seat:
        driver = seat.driver
        seat.prints(HOSTILE)
        await driver.press("endpoint.logs")
        await driver.until(lambda: "(50015 bytes)" in driver.text, "the end of the log")
        await driver.press("sheet.top")
        assert "\\e[2J\\e[31mred" in driver.text
        assert "[@click=app.quit]quit[/]" in driver.text
        for line in driver.lines:
            assert not any(is_hidden(char) for char in line)
            assert width_of((Span(line),)) <= 80


OURS = re.compile(rb"\x1b\[[0-9;:?<=>]*[ -/]*[@-~]|\x1b\](?:22;default|2;[ -~]*)\x07|\x1b[=>78]|\x1b\[\?2026\$p")


@pytest.mark.real
def test_hostile_output_does_not_drive_the_terminal(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make()
    for variant in (STABLE, CANARY):
        layout.log_of(f"{FRAUD.namespace}/{FRAUD.name}", variant).write_bytes(HOSTILE)
    command = [sys.executable, "-m", "tests.ui.preview", "degraded", "--logs", str(tmp_path)]
    with Terminal(command, columns=80, rows=24, cwd=str(Path(__file__).parents[2])) as terminal:
        terminal.wait_for("fraud-scorer")
        terminal.send("L")
        terminal.wait_for("(50015 bytes)")
        for key in "gG":
            terminal.send(key)
            terminal.wait_quiet()
        left = OURS.sub(b"", terminal.received)
        assert not re.search(rb"[\x00-\x06\x07\x0b\x0c\x0e-\x1b\x7f]", left)
        assert not re.search(
            "[\x80-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]", left.decode("utf-8", "replace")
        )
        assert "\\e[2J" in terminal.text or "WWWW" in terminal.text


@pytest.mark.parametrize("cells", [2, 7, 40])
@pytest.mark.parametrize("text", ["", "x", "x" * 100, "宽" * 50, "a宽b" * 30, "e\u0301" * 40])
def test_lines_are_broken_at_the_edge_and_nothing_is_lost(text: str, cells: int) -> None:
    found = list(view.pieces(text, cells))
    assert "".join(found) == text
    assert all(width_of((Span(piece),)) <= cells for piece in found)
    assert found


def test_an_error_comes_with_what_helps() -> None:
    wish = LogWish(EndpointRef("k8s", "ml", "x"), "v1")
    log = VariantLog(wish, scenes.NOW, error=SafeText("pods/log is forbidden"), hint=SafeText("ask for the right"))
    told = "\n".join(plain(row) for row in view.rows(log, 80))
    assert "pods/log is forbidden" in told
    assert "ask for the right" in told


def _printed(driver: Driver) -> VariantLog:
    """What a model server may have printed, with a failure at its end."""
    lines = [
        f"2026-03-01 01:3{number // 10}:{number % 60:02d} INFO scored 12 rows in {7 + number % 5} ms"
        for number in range(38)
    ]
    lines += [
        "2026-03-01 01:34:58 ERROR POST /invocations 500",
        "Traceback (most recent call last):",
        '  File "scoring.py", line 71, in predict',
        "ValueError: Input contains NaN: column merchant_risk, 3 of 12 rows; the version expects a number in every row",
        "\x1b[33mWARNING\x1b[0m retrying without these rows",
    ]
    tail = LogTail(
        SafeText("/srv/models/logs/ml_fraud-scorer--fraud-scorer-v42.log"),
        tuple(SafeText(text) for text in lines),
        earlier=True,
        written_at=scenes.NOW,
    )
    return VariantLog(LogWish(FRAUD, CANARY), driver.clock.now(), (tail,))


@at_both_sizes
def test_logs_look(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    async def act(driver: Driver) -> None:
        await driver.select("fraud-scorer")
        await driver.press("endpoint.logs")
        await driver.emit(LogObserved(_printed(driver)))

    assert same(snap_compare, offering(scenes.degraded(), "endpoints", "logs"), size, act)


def test_a_backend_without_logs_looks(snap_compare: Callable[..., bool]) -> None:
    async def act(driver: Driver) -> None:
        await driver.select("fraud-scorer")
        await driver.press("endpoint.logs")

    assert same(snap_compare, offering(scenes.degraded(), "endpoints"), (80, 24), act)
