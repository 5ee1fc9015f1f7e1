"""One supervised process on its own: what it prints without an end, and what it leaves behind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from mlrelease_tui.connectors.local import supervised
from mlrelease_tui.connectors.local.processes import free_port
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
