"""What a crash or a power loss leaves at the end of a segment is moved aside, named, and the chain goes on."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

import pytest
from tests.unit.audit_parts import CHAIN, Unsynced, body, make_log, segment, write_some

from mlrelease_tui.audit.syscalls import Syscalls
from mlrelease_tui.audit.verify import OK, verify
from mlrelease_tui.errors import NotDurable


def torn_files(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / CHAIN).glob("torn-*")}


def test_every_byte_prefix_of_the_last_record(tmp_path: Path) -> None:
    lines = write_some(tmp_path, 3)
    path = segment(tmp_path)
    kept = b"".join(line + b"\n" for line in lines[:2])
    for length in range(len(lines[2]) + 1):
        shutil.rmtree(tmp_path / CHAIN)
        (tmp_path / CHAIN).mkdir()
        fragment = lines[2][:length]
        path.write_bytes(kept + fragment)
        log = make_log(tmp_path, syscalls=Unsynced())
        record = log.append("session", body(9))
        log.close()
        assert record.seq == (4 if length else 3)
        found = verify(tmp_path, expect_head=record.sha256)
        assert found.exit_code == OK, (length, found.breaks)
        if not length:
            assert torn_files(tmp_path) == {}
            continue
        digest = hashlib.sha256(fragment).hexdigest()
        assert torn_files(tmp_path) == {f"torn-{digest}": fragment}
        recovered = list(log.read())[2]
        assert recovered.kind == "recovered"
        assert recovered.section("log") == {"torn": f"torn-{digest}", "sha256": digest, "bytes": length}


@pytest.mark.parametrize(
    "junk",
    [b"\0" * 4096, b"\0" * 700 + b"\n", b"{}\n", b"not json\n", b"\n\n\n", b'{"v":1}\n' * 4000, b"x" * 70_000],
    ids=["zeros", "zeros and an end", "empty", "text", "blank", "many lines", "more than one window"],
)
def test_a_corrupt_tail(tmp_path: Path, junk: bytes) -> None:
    """Power loss may leave a block of zeros, or a line that has its end but not its middle."""
    write_some(tmp_path, 3)
    with segment(tmp_path).open("ab") as file:
        file.write(junk)
    log = make_log(tmp_path)
    assert log.append("session", body()).seq == 5
    assert list(torn_files(tmp_path).values()) == [junk]
    assert verify(tmp_path).ok


def test_a_segment_with_nothing_whole_in_it(tmp_path: Path) -> None:
    (tmp_path / CHAIN).mkdir(parents=True)
    segment(tmp_path).write_bytes(b'{"v":1,"chain"')
    assert make_log(tmp_path).append("session", body()).seq == 2
    assert verify(tmp_path).ok


def fill(root: Path) -> int:
    log = make_log(root, segment_bytes=2500)
    for number in range(12):
        log.append("session", body(number))
    log.close()
    return len(list((root / CHAIN).glob("*.jsonl")))


@pytest.mark.parametrize("left", ["no successor", "an empty successor", "a torn successor"])
def test_a_crash_while_rotating(tmp_path: Path, left: str) -> None:
    count = fill(tmp_path)
    newest = segment(tmp_path, count)
    if left == "no successor":
        newest.unlink()
    else:
        newest.write_bytes(b"" if left == "an empty successor" else b'{"acto')
    make_log(tmp_path).append("session", body())
    assert newest.exists()
    assert verify(tmp_path).ok


class DiesAt(Syscalls):
    """Runs the real calls and then, before call number `at`, the power goes."""

    def __init__(self, at: int) -> None:
        self.left = at

    def _tick(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt

    def write(self, fd: int, data: bytes) -> int:
        self._tick()
        return super().write(fd, data)

    def fdatasync(self, fd: int) -> None:
        self._tick()
        super().fdatasync(fd)

    def fsync(self, fd: int) -> None:
        self._tick()
        super().fsync(fd)

    def ftruncate(self, fd: int, length: int) -> None:
        self._tick()
        super().ftruncate(fd, length)


def test_a_crash_at_each_step_of_a_recovery(tmp_path: Path) -> None:
    finished = False
    at = 0
    while not finished:
        root = tmp_path / str(at)
        write_some(root, 2)
        with segment(root).open("ab") as file:
            file.write(b'{"torn tail')
        log = make_log(root, syscalls=DiesAt(at))
        try:
            log.append("session", body())
            finished = True
        except KeyboardInterrupt:
            log.close()
            make_log(root).append("session", body())
        names = torn_files(root)
        assert list(names.values()) == [b'{"torn tail'], (at, names)
        assert not any(name.endswith(".pending") for name in names)
        told = [r.section("log")["torn"] for r in make_log(root).read() if r.kind == "recovered"]
        assert set(told) == set(names)
        assert verify(root).ok
        at += 1
    assert at > 5


def test_no_room_to_move_the_tail_aside(tmp_path: Path) -> None:
    class Full(Syscalls):
        full = True

        def write(self, fd: int, data: bytes) -> int:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(fd, data)

    write_some(tmp_path, 2)
    with segment(tmp_path).open("ab") as file:
        file.write(b'{"torn')
    before = segment(tmp_path).read_bytes()
    calls = Full()
    log = make_log(tmp_path, syscalls=calls)
    with pytest.raises(NotDurable, match="space"):
        log.append("intent", body())
    assert segment(tmp_path).read_bytes() == before  # nothing is cut before it is kept elsewhere
    calls.full = False
    log.append("intent", body())
    assert list(torn_files(tmp_path).values()) == [b'{"torn']
    assert verify(tmp_path).ok
