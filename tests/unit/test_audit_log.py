"""Appending: one chain, on disk, ours alone; and every way in which the system says no."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.audit_parts import CHAIN, StepClock, body, make_log, segment, write_some

from mlrelease_tui.audit.log import AuditLog
from mlrelease_tui.audit.record import GENESIS, line_hash
from mlrelease_tui.audit.syscalls import Syscalls
from mlrelease_tui.audit.verify import OK, verify
from mlrelease_tui.errors import NotDurable

ROOT_ONLY = "needs root to mount a small tmpfs or to write as another user"


def need_root() -> None:
    if os.geteuid() != 0:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{ROOT_ONLY}, and CI must run this")
        pytest.skip(ROOT_ONLY)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    need_root()
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


class Faulty(Syscalls):
    """The real calls, but the one named fails, or writes short, the next time it is made."""

    def __init__(self) -> None:
        self.fail: dict[str, int] = {}
        self.short = 0
        self.calls: list[str] = []

    def _maybe(self, name: str) -> None:
        self.calls.append(name)
        number = self.fail.pop(name, 0)
        if number:
            raise OSError(number, os.strerror(number))

    def write(self, fd: int, data: bytes) -> int:
        self._maybe("write")
        if self.short:
            count, self.short = self.short, 0
            return super().write(fd, data[:count])
        return super().write(fd, data)

    def fdatasync(self, fd: int) -> None:
        self._maybe("fdatasync")
        super().fdatasync(fd)

    def fsync(self, fd: int) -> None:
        self._maybe("fsync")
        super().fsync(fd)

    def ftruncate(self, fd: int, length: int) -> None:
        self._maybe("ftruncate")
        super().ftruncate(fd, length)

    def fallocate(self, fd: int, length: int) -> None:
        self._maybe("fallocate")
        super().fallocate(fd, length)


def test_a_record_is_one_line_that_names_the_line_before(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    first = log.append("intent", body(1))
    second = log.append("outcome", {"action": {"intent_id": first.id}, "result": {"status": "applied"}})
    lines = segment(tmp_path).read_bytes().splitlines()
    assert lines == [first.line, second.line]
    assert (first.seq, first.prev) == (1, GENESIS)
    assert (second.seq, second.prev) == (2, line_hash(first.line))
    assert log.head().sha256 == second.sha256
    assert first.intent_id == second.intent_id == first.id
    assert [record.line for record in log.read()] == lines
    fields = json.loads(lines[0])
    assert fields["actor"] == {
        "uid": 1000,
        "name": "operator",
        "login_uid": 1000,
        "audit_session": 7,
        "ssh_client": "192.0.2.7",
    }
    assert fields["process"]["pid"] == os.getpid()
    assert fields["time"]["utc"] == first.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert fields["time"]["synchronized"] is True


def test_each_append_writes_once_and_syncs_before_it_returns(tmp_path: Path) -> None:
    calls = Faulty()
    log = make_log(tmp_path, syscalls=calls)
    log.prepare()
    calls.calls.clear()
    log.append("intent", body())
    assert calls.calls == ["write", "fdatasync"]


def test_an_unknown_kind_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind"):
        make_log(tmp_path).append("Intent", body())


def test_opening_touches_nothing(tmp_path: Path) -> None:
    make_log(tmp_path / "audit")
    assert list(tmp_path.iterdir()) == []


def test_a_chosen_id_and_new_ids(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    chosen = log.new_id()
    assert log.append("intent", body(), record_id=chosen).id == chosen
    assert log.append("intent", body()).id > chosen


def test_what_an_append_returns_is_what_a_reader_reads(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    hostile = {"why": {"reason": "a\x1b]52;c;x\x07\u202e", "n": float("nan"), "big": 2**70, "f": 1e22}}
    made = log.append("intent", hostile)
    (read_back,) = log.read()
    assert read_back == made
    assert verify(tmp_path).ok


def test_the_clock_that_steps_is_noted(tmp_path: Path) -> None:
    clock = StepClock()
    log = make_log(tmp_path, clock=clock)
    log.append("session", {})
    clock.wall = clock.wall.replace(hour=clock.wall.hour - 1)
    stepped = log.append("session", {})
    assert stepped.section("time")["stepped_ms"] == -3_600_000
    assert "stepped_ms" not in log.append("session", {}).section("time")
    ids = [record.id for record in log.read()]
    assert ids == sorted(ids)


# --- whose files


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_log(tmp_path / "state" / "audit").append("intent", body())
    finally:
        os.umask(before)
    for path in (tmp_path / "state" / "audit").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE((tmp_path / "state" / "audit").stat().st_mode) == 0o700


def test_wide_modes_of_our_own_are_repaired(tmp_path: Path) -> None:
    write_some(tmp_path, 1)
    for path in [tmp_path, *tmp_path.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    make_log(tmp_path).append("intent", body())
    for path in [tmp_path, *tmp_path.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("which", ["root", "chain", "segment", "lock", "reserve"])
def test_symbolic_links_are_refused(tmp_path: Path, which: str) -> None:
    root = tmp_path / "audit"
    write_some(root, 2)
    make_log(root).append("intent", body())
    path = {
        "root": root,
        "chain": root / CHAIN,
        "segment": segment(root),
        "lock": root / CHAIN / "lock",
        "reserve": root / CHAIN / "reserve",
    }[which]
    moved = tmp_path / "moved"
    path.rename(moved)
    path.symlink_to(moved)
    before = segment(root).read_bytes()
    with pytest.raises(NotDurable, match=r"can't use|regular"):
        make_log(root).append("intent", body())
    assert segment(root).read_bytes() == before


@pytest.mark.parametrize("make", ["fifo", "folder", "hard link"])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, make: str) -> None:
    write_some(tmp_path, 2)
    path = segment(tmp_path)
    if make == "hard link":
        os.link(path, tmp_path / "second-name")
    else:
        path.unlink()
        os.mkfifo(path) if make == "fifo" else path.mkdir()
    with pytest.raises(NotDurable, match="can't use"):
        make_log(tmp_path).append("intent", body())


@pytest.mark.parametrize("which", ["folder", "file"])
def test_what_belongs_to_another_user_is_refused(tmp_path: Path, which: str) -> None:
    need_root()
    write_some(tmp_path, 2)
    path = tmp_path / CHAIN if which == "folder" else segment(tmp_path)
    os.chown(path, 65534, 65534)
    with pytest.raises(NotDurable, match="belongs to user 65534"):
        make_log(tmp_path).append("intent", body())


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotDurable):
        make_log(tmp_path / "file" / "audit").prepare()


def test_a_read_only_file_system_says_so(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(NotDurable, match="Read-only"):
        make_log(small_disk / "audit").prepare()


def test_a_network_file_system_is_refused_unless_allowed(tmp_path: Path) -> None:
    class OnNfs(Syscalls):
        def network_file_system(self, fd: int) -> str:
            return "NFS"

    log = make_log(tmp_path, syscalls=OnNfs())
    with pytest.raises(NotDurable, match="NFS") as caught:
        log.append("intent", body())
    assert "`audit_dir`" in caught.value.hint
    allowed = AuditLog(tmp_path, identity=log.identity, syscalls=OnNfs(), allow_network_folder=True)
    assert allowed.append("intent", body()).seq == 1


def test_the_kernel_is_asked_which_file_system_it_is(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert Syscalls().network_file_system(fd) == ""
    finally:
        os.close(fd)
    with pytest.raises(OSError, match="descriptor"):
        Syscalls().network_file_system(fd)


# --- the disk says no


def test_a_full_disk_refuses_the_intent_and_takes_the_outcome(small_disk: Path) -> None:
    root = small_disk / "audit"
    log = make_log(root, reserve_bytes=16 * 1024)
    intent = log.append("intent", body())
    (small_disk / "filler").write_bytes(b"")
    with (small_disk / "filler").open("ab", buffering=0) as filler, pytest.raises(OSError, match="space"):
        while True:
            filler.write(b"x" * 512)
    padded = {**body(), "why": {"reason": "r" * 3000}}
    refused = 0
    for _ in range(4):  # the last page of the segment may still have room for one
        try:
            log.append("sent", padded)
        except NotDurable as error:
            refused += 1
            assert "full" in error.hint
    assert refused >= 3
    outcome = log.append(
        "outcome", {"action": {"intent_id": intent.id}, "why": {"reason": "r" * 3000}}, use_reserve=True
    )
    assert [record.line for record in log.read()][-1] == outcome.line
    assert verify(root).exit_code == OK
    with pytest.raises(NotDurable):
        for _ in range(8):
            log.append("intent", padded)
    (small_disk / "filler").unlink()
    assert log.append("intent", padded).kind == "intent"
    assert (root / CHAIN / "reserve").stat().st_size == 16 * 1024
    assert verify(root, expect_head=log.head().sha256).exit_code == OK


def test_a_disk_too_small_for_the_outcome_refuses_the_intent(small_disk: Path) -> None:
    (small_disk / "other").write_bytes(b"x" * 4096)
    log = make_log(small_disk / "audit", reserve_bytes=64 * 1024)
    with pytest.raises(NotDurable, match="space"):
        log.prepare()
    with pytest.raises(NotDurable, match="space"):
        log.append("intent", body())
    assert list(log.read()) == []


def test_a_short_write_leaves_no_trace(tmp_path: Path) -> None:
    calls = Faulty()
    log = make_log(tmp_path, syscalls=calls)
    log.append("session", body(1))
    before = segment(tmp_path).read_bytes()
    calls.short = 100
    with pytest.raises(NotDurable, match="100 of"):
        log.append("session", body(2))
    assert segment(tmp_path).read_bytes() == before
    assert log.append("session", body(3)).seq == 2
    assert verify(tmp_path).ok


def test_a_short_write_that_cannot_be_undone_is_recovered(tmp_path: Path) -> None:
    calls = Faulty()
    log = make_log(tmp_path, syscalls=calls)
    log.append("session", body(1))
    calls.short = 100
    calls.fail["ftruncate"] = errno.EPERM
    with pytest.raises(NotDurable):
        log.append("session", body(2))
    log.append("session", body(3))
    assert [record.kind for record in log.read()] == ["session", "recovered", "session"]
    assert verify(tmp_path).ok


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_after_a_failed_sync_nothing_more_is_written(tmp_path: Path, call: str) -> None:
    calls = Faulty()
    log = make_log(tmp_path, syscalls=calls)
    if call == "fdatasync":
        log.append("session", body(1))
    calls.fail[call] = errno.EIO
    with pytest.raises(NotDurable, match="synced"):
        log.append("session", body(2))
    calls.calls.clear()
    for use_reserve in (False, True):
        with pytest.raises(NotDurable, match="closed"):
            log.append("session", body(3), use_reserve=use_reserve)
    with pytest.raises(NotDurable, match="closed"):
        log.prepare()
    assert calls.calls == []
    assert make_log(tmp_path).append("session", body(4)).kind == "session"
    assert verify(tmp_path).ok


def test_a_failed_write_is_not_durable_and_an_io_error_closes_the_log(tmp_path: Path) -> None:
    calls = Faulty()
    log = make_log(tmp_path, syscalls=calls)
    log.append("session", body(1))
    calls.fail["write"] = errno.EDQUOT
    with pytest.raises(NotDurable, match="quota"):
        log.append("session", body(2))
    assert log.append("session", body(3)).seq == 2
    calls.fail["write"] = errno.EIO
    with pytest.raises(NotDurable):
        log.append("session", body(4))
    with pytest.raises(NotDurable, match="closed"):
        log.append("session", body(5))


# --- others at the same file


@pytest.mark.parametrize("how", ["cut", "removed", "replaced"])
def test_a_log_changed_behind_our_back_is_refused_and_the_head_is_told(tmp_path: Path, how: str) -> None:
    log = make_log(tmp_path)
    log.append("session", body(1))
    last = log.append("session", body(2))
    path = segment(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    if how == "cut":
        os.truncate(path, len(lines[0]))
    else:
        path.rename(tmp_path / "gone")
        if how == "replaced":
            path.write_bytes(lines[0])
    with pytest.raises(NotDurable, match=how) as caught:
        log.append("intent", body(3))
    assert last.sha256 in caught.value.hint
    assert last.sha256 not in path.read_text() if path.exists() else True
    assert not verify(tmp_path, expect_head=last.sha256).ok


def test_two_logs_of_one_user_keep_one_chain(tmp_path: Path) -> None:
    first, second = make_log(tmp_path, segment_bytes=4000), make_log(tmp_path, segment_bytes=4000)
    for number in range(30):
        (first if number % 3 else second).append("session", body(number))
    assert first.head() == second.head()
    assert verify(tmp_path, expect_head=first.head().sha256).ok
    assert [r.section("model")["version"] for r in first.read() if r.kind == "session"] == [str(n) for n in range(30)]


def test_threads_share_a_log(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    threads = [threading.Thread(target=lambda: [log.append("session", body(n)) for n in range(25)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(tmp_path).records == 100
    assert verify(tmp_path).ok


APPENDER = """
import sys
from pathlib import Path
from tests.unit.audit_parts import body, make_log
log = make_log(Path(sys.argv[1]), segment_bytes=int(sys.argv[3]))
count = int(sys.argv[2])
number = 0
while count < 0 or number < count:
    record = log.append("session", body(number))
    number += 1
    print(record.sha256, flush=True)
"""


def appender(root: Path, count: int, segment_bytes: int = 20_000) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", APPENDER, str(root), str(count), str(segment_bytes)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_two_processes_write_one_chain(tmp_path: Path) -> None:
    both = [appender(tmp_path, 100), appender(tmp_path, 100)]
    heads = [set(process.communicate(timeout=60)[0].split()) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    found = verify(tmp_path)
    assert found.ok, found.breaks
    assert found.records == 200 + found.chains[0].segments - 1
    written = {record.sha256 for record in make_log(tmp_path).read()}
    assert heads[0] | heads[1] <= written
    assert len(heads[0] | heads[1]) == 200


def test_whatever_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for round_ in range(6):
        process = appender(tmp_path, -1)
        assert process.stdout is not None
        for _ in range(5 + round_ * 7):
            acknowledged.append(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.read().split("\n")[:-1]
        process.wait(timeout=10)
        process.stdout.close()
        log = make_log(tmp_path)
        acknowledged.append(log.append("session", {}).sha256)
        log.close()
    written = [record.sha256 for record in make_log(tmp_path).read()]
    assert set(acknowledged) <= set(written)
    assert verify(tmp_path).ok


def test_a_lock_that_is_held_names_its_holder(tmp_path: Path) -> None:
    write_some(tmp_path, 1)
    code = "import fcntl,os,sys; f=os.open(sys.argv[1],os.O_RDWR); fcntl.flock(f,fcntl.LOCK_EX); print('x',flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / CHAIN / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        log = make_log(tmp_path, lock_timeout_s=0.2)
        began = time.monotonic()
        with pytest.raises(NotDurable, match=f"process {process.pid}"):
            log.append("intent", body())
        assert 0.2 <= time.monotonic() - began < 30
    finally:
        process.kill()
        process.communicate(timeout=10)
    assert log.append("intent", body()).seq == 2  # death frees the lock


def test_a_log_does_not_survive_a_fork(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.append("session", body())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            log.append("session", body())
        except NotDurable:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert log.append("session", body()).seq == 2


def test_closing_frees_the_descriptors_and_the_log_opens_again(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        log.append("session", body())
        log.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert log.append("session", body()).seq == 4
    fd = os.open(tmp_path / CHAIN / "lock", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nothing is held between appends
    os.close(fd)
