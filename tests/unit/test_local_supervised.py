"""One supervised process on its own: what it prints without an end, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from mlrelease_tui.connectors.local import supervised
from mlrelease_tui.connectors.local.processes import free_port, is_running, start_ticks
from mlrelease_tui.connectors.local.supervised import Launch, SupervisedProcess, Surroundings

CHATTY = "i=0; while :; do i=$((i+1)); echo line $i of many; done"


async def test_the_log_of_a_process_that_never_ends_is_kept_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "_LOG_BYTES", 60_000)
    monkeypatch.setattr(supervised, "_LOG_KEPT_BYTES", 2_000)
    monkeypatch.setattr(supervised, "_LOG_LOOK_S", 0.0)
    log = tmp_path / "log"
    around = Surroundings(tmp_path, dict(os.environ), lambda: None)
    process = SupervisedProcess(Launch("1", ("sh", "-c", CHATTY), port=free_port(), grace_s=0.0), log, around)
    content = b""
    try:
        async with asyncio.timeout(30):
            while not content.startswith(supervised._LOG_CUT):
                process.tick()
                content = log.read_bytes()
                await asyncio.sleep(0)
            first, last = content.split(b"\n")[1], log.stat().st_size
            assert first.startswith(b"line ")
            assert first.endswith(b" of many")
            # It goes on behind what was kept.
            while log.stat().st_size == last:
                await asyncio.sleep(0)
        assert (process.observed().restarts, process.observed().last_exit) == (0, "")
    finally:
        process.kill()
        while not process.gone:
            process.tick()
            await asyncio.sleep(0.001)
        await process.close()


async def test_what_a_process_started_in_a_session_of_its_own_ends_with_it(tmp_path: Path) -> None:
    around = Surroundings(tmp_path, dict(os.environ), lambda: None)
    hiding = "setsid sleep 600 & echo $! ; wait"
    process = SupervisedProcess(
        Launch("1", ("sh", "-c", hiding), port=free_port(), grace_s=5.0), tmp_path / "log", around
    )
    hidden = 0
    try:
        async with asyncio.timeout(30):
            while not (hidden and is_running(hidden, start_ticks(hidden))):
                process.tick()
                hidden = int((tmp_path / "log").read_text() or 0)
                await asyncio.sleep(0.01)
            started = start_ticks(hidden)
            process.stop()
            while not process.gone:
                process.tick()
                await asyncio.sleep(0.01)
            while is_running(hidden, started):
                await asyncio.sleep(0.01)
    finally:
        process.kill()
        await process.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(hidden, signal.SIGKILL)
