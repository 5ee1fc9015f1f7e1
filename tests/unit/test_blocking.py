"""The pool for synchronous SDKs: bounded, with deadlines, and no reason for the program not to end."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from mlrelease_tui.connectors._blocking import BlockingPool, collector_at_rest
from mlrelease_tui.errors import TimedOut


async def test_gives_results_and_errors_back() -> None:
    pool = BlockingPool("one")
    assert await pool.run(5.0, max, 1, 2) == 2
    with pytest.raises(ZeroDivisionError):
        await pool.run(5.0, divmod, 1, 0)
    with pytest.raises(TimeoutError, match="of its own"):
        await pool.run(5.0, _raise, TimeoutError("of its own"))
    pool.close()


async def test_never_runs_more_than_its_workers_at_once() -> None:
    pool = BlockingPool("one", workers=2)
    running, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    await asyncio.gather(*(pool.run(5.0, work) for _ in range(12)))
    assert most == 2
    pool.close()


async def test_a_host_that_hangs_starves_only_itself() -> None:
    hung, well = BlockingPool("hung", workers=1), BlockingPool("well", workers=1)
    release = threading.Event()
    try:
        first = asyncio.create_task(hung.run(0.2, release.wait))
        await asyncio.sleep(0)
        ran: list[int] = []
        with pytest.raises(TimedOut, match=r"hung did not answer within 0\.1 s"):
            await hung.run(0.1, ran.append, 1)
        assert await well.run(5.0, len, "abc") == 3
        with pytest.raises(TimedOut):
            await first
    finally:
        release.set()
    assert await hung.run(5.0, len, "abcd") == 4
    assert ran == [], "what was given up before it began never runs"
    hung.close()
    well.close()


def test_a_thread_that_hangs_does_not_keep_the_program_from_ending() -> None:
    program = """
import asyncio, threading
from mlrelease_tui.connectors._blocking import BlockingPool
from mlrelease_tui.errors import TimedOut

async def main():
    try:
        await BlockingPool("hung").run(0.1, threading.Event().wait)
    except TimedOut:
        print("gave up")

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert ended.stdout == "gave up\n", ended.stderr
    assert ended.returncode == 0


def _raise(error: BaseException) -> None:
    raise error


@pytest.fixture
def collecting() -> Iterator[None]:
    """The collector as it was, whatever a test does to it."""
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_while_something_large_is_imported(collecting: None) -> None:
    frozen = gc.get_freeze_count()
    with collector_at_rest():
        assert not gc.isenabled()
        came = [[] for _ in range(1_000)]  # type: ignore[var-annotated]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= frozen + len(came), "what came is walked through by the next collection"


def test_the_collector_goes_on_when_the_last_import_is_done(collecting: None) -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with collector_at_rest():
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(5)
    with pytest.raises(ImportError), collector_at_rest():
        raise ImportError("no such SDK")
    assert not gc.isenabled(), "the other import is not done"
    leave.set()
    thread.join(5)
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off(collecting: None) -> None:
    gc.disable()
    with collector_at_rest():
        pass
    assert not gc.isenabled()
