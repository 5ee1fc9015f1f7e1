"""The audit under a running program: its folder moved away, its lock removed, its disk full at the worst moment."""

from __future__ import annotations

import errno
import os
import re
import threading
from pathlib import Path

import pytest
from tests.unit.audit_parts import CHAIN, body, make_log, segment

from mlrelease_tui.audit.export import export
from mlrelease_tui.audit.folder import ChainFolder
from mlrelease_tui.audit.read import read
from mlrelease_tui.audit.verify import verify
from mlrelease_tui.errors import NotDurable


@pytest.mark.parametrize("what", ["the chain", "the root"])
@pytest.mark.parametrize("put_back", [False, True])
def test_a_folder_that_was_moved_away_is_written_no_more(tmp_path: Path, what: str, put_back: bool) -> None:
    """Nobody would find at the next start what is written there, so it must not announce anything."""
    root = tmp_path / "audit"
    log = make_log(root)
    last = log.append("session", body(1))
    folder = root / CHAIN if what == "the chain" else root
    away = tmp_path / "away"
    folder.rename(away)
    if put_back:
        folder.mkdir(mode=0o700)
    with pytest.raises(NotDurable, match="moved") as caught:
        log.append("intent", body(2))
    assert last.sha256 in caught.value.hint
    (written,) = away.rglob("000001.jsonl")
    assert written.read_bytes().splitlines() == [last.line]


def test_a_lock_that_somebody_removed_still_keeps_two_sessions_apart(tmp_path: Path) -> None:
    """A tired operator reads "locked by another process" and removes the file: both sessions must go on sharing one lock."""
    first = make_log(tmp_path, lock_timeout_s=0.05)
    first.append("session", body(1))
    (tmp_path / CHAIN / "lock").unlink()
    second = make_log(tmp_path)
    second.append("session", body(2))
    folder = second._opened()
    folder.lock(1)
    try:
        with pytest.raises(NotDurable, match=f"locked by process {os.getpid()}"):
            first.append("session", body(3))
    finally:
        folder.unlock()
    first.append("session", body(3))
    second.append("session", body(4))
    assert verify(tmp_path).ok


def test_a_disk_that_is_full_for_the_next_segment_closes_the_last_one_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make_log(tmp_path, segment_bytes=1000)
    log.append("session", body(1))
    opened, full = ChainFolder.open_segment, [True]

    def refuses(self: ChainFolder, number: int, *, create: bool = False) -> int:
        if create and full:
            full.clear()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(self, number, create=create)

    monkeypatch.setattr(ChainFolder, "open_segment", refuses)
    while not segment(tmp_path, 2).exists():
        log.append("outcome", body(2), use_reserve=True)
    assert not full
    found = verify(tmp_path)
    assert found.ok, found.breaks


def test_an_id_is_given_while_the_disk_hangs(tmp_path: Path) -> None:
    """Who wants to act is told that the log is busy, and does not wait for ever for the id to say it with."""
    log = make_log(tmp_path, lock_timeout_s=0.05)
    given: list[str] = []
    with log._mutex:
        asking = threading.Thread(target=lambda: given.append(log.new_id()), daemon=True)
        asking.start()
        asking.join(5)
        assert len(given) == 1
        with pytest.raises(NotDurable, match="busy in this process"):
            log.append("intent", body(1))


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"])
def test_a_moment_that_no_zone_can_tell_is_no_record(tmp_path: Path, when: str) -> None:
    log = make_log(tmp_path)
    log.append("session", body(1))
    good = log.append("session", body(2))
    log.close()
    lines = segment(tmp_path).read_bytes().splitlines(keepends=True)
    lines.insert(1, re.sub(rb'"utc":"[^"]*"', b'"utc":"%b"' % when.encode(), lines[0]))
    segment(tmp_path).write_bytes(b"".join(lines))
    found = list(read(tmp_path))
    assert [record.sha256 for record in found][-1] == good.sha256
    assert len(list(export(found, "csv"))) == len(found) + 1
    assert any("is in the year" in item.reason for item in verify(tmp_path).breaks)
