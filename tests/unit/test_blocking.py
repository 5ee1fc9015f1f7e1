"""The pool for synchronous SDKs: bounded, with deadlines, and no reason for the program not to end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from mlrelease_tui.connectors._blocking import BlockingPool
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
