"""The documents that operators and the supervisor share: definitions, wanted processes, ports, the state beside the weights."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from mlrelease_tui.connectors.local.definitions import EndpointDefinition, define_endpoint, read_definitions
from mlrelease_tui.connectors.local.desired import Mark, WantedProcess, change_desired, read_desired
from mlrelease_tui.connectors.local.documents import Busy, locked, read_json, write_json
from mlrelease_tui.connectors.local.gauge import in_flight_in
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.observed import read_observed
from mlrelease_tui.connectors.local.ports import read_ports, write_ports
from mlrelease_tui.connectors.local.processes import exit_words, is_free, is_running, last_line, start_ticks
from mlrelease_tui.connectors.local.release_state import HISTORY, KnownVersion, ReleaseState, state_from_json
from mlrelease_tui.errors import ConfigError, Conflict, Rejected, UnexpectedAnswer
from mlrelease_tui.routing.traefik_process import TraefikAddresses

COMMAND = ("serve", "--port={port}", "--model={artifact}")


def mark(intent: str = "i1", by: str = "anna", write: str = "w1") -> Mark:
    return Mark(intent, "promote", by, "a test", "2026-03-01T12:00:00+00:00", write)


def adding(name: str) -> object:
    def change(now: Mapping[str, WantedProcess]) -> Mapping[str, WantedProcess]:
        return {**now, name: WantedProcess(name)}

    return change


def change(layout: Layout, name: str, expect: int, by: Mark, key: str = "local/iris") -> bool:
    return change_desired(layout, key, expect, adding(name), by, lock_s=1.0)[1]  # type: ignore[arg-type]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "site")
    found.make()
    return found


def test_a_stale_change_of_processes_is_refused_and_says_who_was_first(layout: Layout) -> None:
    assert change(layout, "v1", 0, mark())
    with pytest.raises(Conflict, match=r"generation 1, written by anna, .*, not at 0; wanted now: v1"):
        change(layout, "v2", 0, mark("i2", "berta"))
    assert change(layout, "v2", 1, mark("i2", "berta"))
    assert list(read_desired(layout)["local/iris"].processes) == ["v1", "v2"]


def test_endpoints_have_generations_of_their_own(layout: Layout) -> None:
    assert change(layout, "v1", 0, mark())
    assert change(layout, "v1", 0, mark(), key="local/wine")
    assert {key: item.generation for key, item in read_desired(layout).items()} == {"local/iris": 1, "local/wine": 1}


def test_the_same_write_twice_is_made_once(layout: Layout) -> None:
    assert change(layout, "v1", 0, mark()) is True
    text = layout.desired.read_text()
    assert change(layout, "v1", 0, mark()) is False
    assert layout.desired.read_text() == text
    with pytest.raises(Conflict):
        change(layout, "v1", 0, mark(write="w2"))
    with pytest.raises(Conflict):
        change(layout, "v1", 0, Mark(write="w1"))


def test_of_many_writers_each_generation_has_one(layout: Layout) -> None:
    won: list[str] = []

    def writer(number: int) -> None:
        for generation in range(20):
            try:
                if change(layout, f"v{number}", generation, mark(f"i{number}-{generation}", f"w{number}")):
                    won.append(f"{generation}")
            except Conflict:
                pass

    threads = [threading.Thread(target=writer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == len(set(won)) == read_desired(layout)["local/iris"].generation


def test_a_lock_that_another_process_keeps_is_not_waited_for_for_ever(layout: Layout) -> None:
    program = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True); time.sleep(30)"
    )
    argv = [sys.executable, "-S", "-c", program, f"{layout.desired}.lock"]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Busy, match="nothing was changed"), locked(layout.desired, 0.1):
            pass
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()
    with locked(layout.desired, 1.0):
        pass


def test_a_document_is_replaced_whole_for_its_owner_alone_and_leaves_no_scratch(layout: Layout) -> None:
    write_json(layout.desired, {"a": 1})
    write_json(layout.desired, {"a": 2})
    assert read_json(layout.desired) == {"a": 2}
    assert stat.S_IMODE(layout.desired.stat().st_mode) == 0o600
    assert stat.S_IMODE(layout.directory.stat().st_mode) == 0o700
    assert sorted(path.name for path in layout.directory.iterdir()) == ["desired.json", "logs", "routes"]
    with pytest.raises(Rejected, match="nothing was changed"):
        write_json(layout.directory / "absent" / "x.json", {})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1, "endpoints": 3}', "\x00" * 50])
def test_a_damaged_document_is_named_and_never_read_as_empty(layout: Layout, text: str) -> None:
    for path, read in (
        (layout.desired, read_desired),
        (layout.endpoints, read_definitions),
        (layout.observed, read_observed),
        (layout.ports, read_ports),
    ):
        assert callable(read)
        read(layout)
        path.write_text(text)
        with pytest.raises(UnexpectedAnswer, match=path.name):
            read(layout)


def test_a_definition_keeps_its_identity(layout: Layout) -> None:
    first = define_endpoint(layout.directory, EndpointDefinition("iris", COMMAND, model="registry/iris"))
    again = define_endpoint(layout.directory, EndpointDefinition("iris", COMMAND, alias="champion"))
    assert first.uid == again.uid != ""
    assert read_definitions(layout) == {"local/iris": again}
    command, env = EndpointDefinition("iris", COMMAND, model="registry/a/b", env={"M": "{model}@{version}"}).filled(
        version="7", port=80, artifact="models:/a/b/7"
    )
    assert (command, env) == (("serve", "--port=80", "--model=models:/a/b/7"), {"M": "a/b@7"})


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        (EndpointDefinition("a/b", COMMAND), "name and namespace"),
        (EndpointDefinition("a", COMMAND, namespace="--"), "name and namespace"),
        (EndpointDefinition("a", ()), "no command"),
        (EndpointDefinition("a", ("serve",)), "{port}"),
        (EndpointDefinition("a", (*COMMAND, "{prot}")), "{prot}"),
        (EndpointDefinition("a", (*COMMAND, "{")), "literal brace"),
        (EndpointDefinition("a", COMMAND, steps_bp=(2_000, 1_000)), "ascending"),
        (EndpointDefinition("a", COMMAND, steps_bp=(10_001,)), "ascending"),
        (EndpointDefinition("a", COMMAND, model="iris"), "connection/name"),
        (EndpointDefinition("a", COMMAND, start_timeout_s=0), "time-outs"),
    ],
)
def test_a_definition_that_can_not_be_is_refused(layout: Layout, definition: EndpointDefinition, words: str) -> None:
    with pytest.raises(ConfigError, match="endpoint") as no:
        define_endpoint(layout.directory, definition)
    assert words in str(no.value)
    assert not layout.endpoints.exists()


def test_two_endpoints_never_share_a_route(layout: Layout) -> None:
    define_endpoint(layout.directory, EndpointDefinition("b", COMMAND, namespace="a"))
    with pytest.raises(ConfigError, match="share the route"):
        define_endpoint(layout.directory, EndpointDefinition("a.b", COMMAND))


def test_ports_are_found_again(layout: Layout) -> None:
    assert read_ports(layout).router is None
    write_ports(layout, TraefikAddresses(8_000, 8_001), {"local/iris": {"v1": 9_000}})
    found = read_ports(layout)
    assert found.router == TraefikAddresses(8_000, 8_001)
    assert found.taken() == {8_000, 8_001, 9_000}


def test_the_shared_state_survives_its_document() -> None:
    state = ReleaseState(uid="u", canary="v2", step_index=1, steps_bp=(1, 2), mark=mark())
    held = state.changed({"held": True, "begins": True}, mark("i2", "berta"))
    known = held.knowing({"v2": KnownVersion("2", "models:/iris/2")})
    assert state_from_json(json.loads(json.dumps(known.as_json()))) == known
    assert known.hold is not None
    assert known.hold.by == "berta"
    assert known.as_json()["intent"]["by"] == "berta"
    assert known.changed({"held": False}, mark()).hold is None
    with pytest.raises(UnexpectedAnswer):
        state_from_json({"format": 9})


def test_the_history_is_bounded_and_forgets_what_was_left() -> None:
    state = ReleaseState()
    for version in range(20):
        state = state.changed({"succeeded": str(version)}, mark())
    assert state.history[:2] == ("19", "18")
    assert len(state.history) == HISTORY
    assert state.changed({"returned": "18"}, mark()).history[0] == "17"
    assert state.changed({"returned": "unheard of"}, mark()).history == state.history
    assert state.knowing({}).versions == {}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (
            '# TYPE model_requests_in_flight gauge\nmodel_requests_in_flight{v="1"} 2\nmodel_requests_in_flight{v="2"} 1\n',
            3,
        ),
        ("# TYPE http_requests_inflight gauge\nhttp_requests_inflight 0\n", 0),
        ("# TYPE requests_total counter\nrequests_total 5\n", None),
        ("model_requests_in_flight NaN\n", None),
        ("<html>", None),
        ("", None),
    ],
)
def test_requests_in_flight_are_counted_or_not_known(text: str, count: int | None) -> None:
    assert in_flight_in(text) == count


def test_a_process_is_named_by_pid_and_start(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "30"])
    started = start_ticks(child.pid)
    assert is_running(child.pid, started)
    assert not is_running(child.pid, started + 1)
    child.kill()
    # Not reaped yet: a zombie runs no more.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(child.pid, started)
    child.wait()
    assert (exit_words(3), exit_words(-9)) == ("exit code 3", "killed by SIGKILL")
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_bytes(b"x" * 20_000 + b"\nlast \xff words\n\n")
    assert last_line(log) == "last \ufffd words"


def test_a_port_is_free_until_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)
