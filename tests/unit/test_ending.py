"""The end of the process: it comes, whatever hangs, and says what it waited for."""

from __future__ import annotations

import subprocess
import sys

CHILD = """
import asyncio, sys, threading
from mlrelease_tui.screens.ending import end_within

async def hangs():
    await asyncio.Event().wait()

async def main():
    end_within(float(sys.argv[1]))
    if sys.argv[2] == "task":
        await hangs()
    elif sys.argv[2] == "thread":
        threading.Thread(target=threading.Event().wait, name="reader").start()

asyncio.run(main())
"""


def child(seconds: str, how: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", CHILD, seconds, how]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def test_a_task_that_never_ends_does_not_keep_the_process() -> None:
    found = child("0.2", "task")
    assert found.returncode == 1
    assert found.stderr == ("mlrelease did not end by itself within 0.2 s; tasks: main; threads: MainThread\n")


def test_a_thread_that_never_ends_does_not_keep_the_process() -> None:
    found = child("0.2", "thread")
    assert found.returncode == 1
    assert "threads: MainThread, reader" in found.stderr


def test_what_ends_by_itself_is_left_alone() -> None:
    found = child("60", "nothing")
    assert (found.returncode, found.stderr) == (0, "")
