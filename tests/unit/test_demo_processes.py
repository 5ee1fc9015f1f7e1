"""Parts of the demo on their own where a real one can't be made to fail so: two ends in one look, a full disk."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

from mlrelease_tui.demo.traffic import read_counters, send_traffic
from mlrelease_tui.demo.zygote import _Forks


def test_a_stand_in_that_goes_as_its_server_ends_takes_no_other_server_along() -> None:
    # Both are seen in one look: the server that ended, and the end of the stand-in's connection after it.
    with socket.socket() as listener:
        forks = _Forks(listener)
        ours, theirs = socket.socketpair()
        with theirs:
            forks._children[1] = ours
            forks._report(forks._children.pop(1), 0)
            forks._hear(1, ours)
            assert theirs.recv(8) == b"0"
        forks._selector.close()


async def test_a_full_disk_keeps_no_user_away(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps({"columns": ["a"], "rows": [[1]]}))
    folder = tmp_path / "later"
    stop = asyncio.Event()
    config = {
        "counters": str(folder / "traffic.json"),
        "endpoints": [{"name": "x", "url": "http://127.0.0.1:9/invocations", "rate": 100, "rows": str(rows)}],
    }
    sending = asyncio.create_task(send_traffic(config, stop))
    await asyncio.sleep(0)
    assert not sending.done()
    folder.mkdir()
    stop.set()
    await sending
    assert "x" in read_counters(folder / "traffic.json")
