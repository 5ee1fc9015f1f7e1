"""Which actions are still open, whether somebody is still at work on them, and how records are found."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.audit_parts import Unsynced, body, make_log, segment
from tests.unit.test_audit_log import appender

from mlrelease_tui.audit.identity import Process, chain_id, life, this_identity, this_process
from mlrelease_tui.audit.intents import find_open, open_intents
from mlrelease_tui.audit.read import chains, read, records


def about(intent_id: str, status: str = "", step: int | None = None) -> dict[str, object]:
    action: dict[str, object] = {"intent_id": intent_id}
    if step is not None:
        action["step"] = step
    return {"action": action, **({"result": {"status": status}} if status else {})}


def test_an_intent_is_open_until_somebody_knows_how_it_ended(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    done, unknown, settled, left = (log.append("intent", body(n)).id for n in range(4))
    for step in range(2):
        log.append("sent", about(left, step=step))
    log.append("outcome", about(done, "applied"))
    log.append("outcome", about(unknown, "unknown"))
    log.append("outcome", about(settled, "unknown"))
    log.append("reconciled", about(settled, "not_applied"))
    log.append("reconciled", about("somebody-else", "applied"))
    found = open_intents(log)
    assert [item.intent_id for item in found] == [unknown, left]
    assert [record.section("action")["step"] for record in found[1].sent] == [0, 1]
    assert found[0].last_ending is not None
    assert found[0].last_ending.section("result")["status"] == "unknown"
    assert found[1].last_ending is None
    assert all(item.alive and item.life == "alive" for item in found)
    log.append("reconciled", about(unknown, "indeterminate"))
    assert len(open_intents(log)) == 2
    log.append("acknowledged", about(unknown))
    assert [item.intent_id for item in open_intents(log)] == [left]


def test_the_intent_of_a_killed_process_is_dead(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.unit.audit_parts import body, make_log;"
        "print(make_log(Path(sys.argv[1])).append('intent', body()).id, flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        intent_id = process.stdout.readline().strip()
        (running,) = open_intents(make_log(tmp_path))
        assert (running.intent_id, running.life) == (intent_id, "alive")
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie does no work
        (dead,) = open_intents(make_log(tmp_path))
        assert not dead.alive
    finally:
        process.kill()
        process.communicate(timeout=10)
    assert open_intents(make_log(tmp_path))[0].life == "dead"


def test_life_of_a_process() -> None:
    here = this_process()
    assert life(here) == "alive"
    assert life(Process(here.pid, "1", here.boot_id, here.pid_ns)) == "dead"
    assert life(Process(here.pid, here.starttime, "another boot", here.pid_ns)) == "dead"
    assert life(Process(here.pid, here.starttime, here.boot_id, "1")) == "unknown"
    assert life(Process(here.pid, here.starttime, "")) == "unknown"
    assert life(Process(2**22 + 1, here.starttime, here.boot_id)) == "dead"


def test_identity_comes_from_the_kernel(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "self/loginuid").write_text("1001\n")
    (proc / "self/sessionid").write_text("4294967295\n")
    machine = tmp_path / "machine-id"
    machine.write_text("abc\n")
    who = this_identity(
        tool_version="0.1",
        environ={"SSH_CONNECTION": "192.0.2.7 5000 192.0.2.1 22", "USER": "somebody"},
        proc=proc,
        machine_id_files=(tmp_path / "none", machine),
    )
    assert who.actor.login_uid == 1001
    assert who.actor.audit_session is None
    assert who.actor.ssh_client == "192.0.2.7"
    assert who.actor.uid == os.geteuid()
    assert who.chain == chain_id("abc", os.geteuid())
    assert "abc" not in who.chain


@pytest.mark.parametrize("other", [("a", 2), ("b", 1)])
def test_each_user_on_each_host_has_a_chain(other: tuple[str, int]) -> None:
    assert chain_id("a", 1) != chain_id(*other)


def test_records_are_found_newest_first(tmp_path: Path) -> None:
    log = make_log(tmp_path, segment_bytes=30_000, syscalls=Unsynced())
    made = [log.append("intent" if n % 10 == 0 else "session", body(n)) for n in range(200)]
    assert len(list((tmp_path / log.identity.chain).glob("*.jsonl"))) > 3
    assert log.records(limit=3) == tuple(reversed(made[-3:]))
    assert log.records(limit=None, kind="session") == tuple(r for r in reversed(made) if r.kind == "session")
    assert log.records(kind="intent", limit=2) == (made[190], made[180])
    assert log.records(since=made[-5].at, limit=None) == tuple(reversed(made[-5:]))
    assert log.records(since=made[-1].at + timedelta(seconds=1)) == ()
    assert log.records(endpoint="local/default/other") == ()
    assert len(log.records(endpoint="local/default/fraud", limit=None)) == 200
    assert log.records(intent_id=made[10].id) == (made[10],)
    assert log.records(limit=0) == ()
    assert [r for r in log.read() if r.kind != "segment_close"] == made


def test_lines_of_any_length_are_read_backwards(tmp_path: Path) -> None:
    log = make_log(tmp_path, syscalls=Unsynced())
    made = [log.append("session", {"result": {"items": ["x" * 4000] * (n % 20)}}) for n in range(40)]
    assert log.records(limit=None) == tuple(reversed(made))
    with segment(tmp_path).open("ab") as file:
        file.write(b'{"torn')
    assert log.records(limit=1) == (made[-1],)
    assert list(log.read()) == made


def test_a_line_that_is_no_record_is_passed_over(tmp_path: Path) -> None:
    log = make_log(tmp_path, syscalls=Unsynced())
    made = [log.append("session", body(n)) for n in range(3)]
    path = segment(tmp_path)
    path.write_bytes(path.read_bytes().replace(made[1].line, b"not a record"))
    assert list(log.read()) == [made[0], made[2]]
    assert log.records() == (made[2], made[0])


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    assert chains(tmp_path / "none") == ()
    assert list(read(tmp_path / "none")) == []
    assert records(tmp_path / "none") == ()
    assert find_open([]) == ()


def test_reading_while_another_process_writes(tmp_path: Path) -> None:
    process = appender(tmp_path, 150, 10_000)
    seen = 0
    while process.poll() is None:
        sequence = [record.seq for record in make_log(tmp_path).read()]
        assert sequence == list(range(1, len(sequence) + 1))
        assert len(sequence) >= seen
        seen = len(sequence)
    process.communicate(timeout=30)
    assert len([r for r in make_log(tmp_path).read() if r.kind == "session"]) == 150
