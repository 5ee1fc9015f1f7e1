"""The audit under a running program: its folder moved away, its lock removed, its disk full at the worst moment."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.unit.audit_parts import CHAIN, body, make_log, segment

from mlrelease_tui.audit.folder import ChainFolder
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
