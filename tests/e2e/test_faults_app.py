"""The app on the running demo while its parts fail, signals come, and texts from outside are hostile: read from its pty."""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import termios
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.connectors.fault_proxy import INVALID_JSON, LOGIN_PAGE, UNAUTHORIZED, Drip, Says, Silent
from tests.e2e.demo_host import HeadlessDemo
from tests.e2e.fault_lab import Lab
from tests.ui.pty_harness import Terminal

from mlrelease_tui.connectors.local.definitions import define_endpoint, read_definitions
from mlrelease_tui.connectors.local.layout import Layout

pytestmark = [pytest.mark.real, pytest.mark.e2e, pytest.mark.slow]

QUICK = "[ui]\nrefresh_s = 0.5\n[policy]\nplan_expires_s = 10"
ANSWERED_S = 0.2
"""Within this time a key is answered on the screen."""


@pytest.fixture
def lab(demo: HeadlessDemo, tmp_path: Path) -> Iterator[Lab]:
    options = dict.fromkeys(("registry", "metrics"), "timeout_s = 1.5\ninterval_s = 0.5")
    options["registry"] += '\ncredential = { env = "REGISTRY_TOKEN" }'
    with Lab(demo, tmp_path / "lab", through_router=True, options=options, tail=QUICK) as made:
        made.environment["REGISTRY_TOKEN"] = CANARY
        yield made


@pytest.fixture
def acting(demo: HeadlessDemo, tmp_path: Path) -> Iterator[Lab]:
    """A lab in which things are changed: past the router's gate, since its files are written to."""
    with Lab(demo, tmp_path / "lab", tail=QUICK) as made:
        made.restore()
        yield made
        made.restore()


CANARY = "canary-token-5d41402abc4b2a76"


def links(screen: Terminal) -> dict[str, str]:
    """Connection → its word, from the second line."""
    found = (part.strip().split(" ", 1) for part in screen.lines[1].replace("|", "│").split("│"))
    return {part[0]: part[1].split()[0] for part in found if len(part) == 2}


ALL_OK = dict.fromkeys(("registry", "local", "metrics"), "ok")


def answers_keys(screen: Terminal) -> list[float]:
    """Seconds from a key to the first bytes after it, for a few keys that move the cursor."""
    found = []
    for key in "jkjkjk":
        screen.wait_quiet(0.02)
        seen = len(screen.chunks)
        at = screen.send(key)
        screen.wait(lambda s, seen=seen: len(s.chunks) > seen, f"an answer to {key}", 5.0)  # type: ignore[misc]
        found.append(screen.chunks[seen].at - at)
    return found


def mlflow_processes(lab: Lab) -> list[psutil.Process]:
    port = int(str(lab.demo.ready["registry"]).rpartition(":")[2])
    found = []
    for process in psutil.Process(int(lab.demo.ready["pid"])).children(recursive=True):
        try:
            if any(item.status == psutil.CONN_LISTEN and item.laddr.port == port for item in process.net_connections()):
                found.append(process)
        except psutil.Error:
            continue
    assert found, "nobody listens at the registry's port"
    return found


def row(screen: Terminal, endpoint: str) -> str:
    return next(line for line in screen.lines[3:8] if endpoint in line)


@pytest.mark.timeout(240)
def test_a_part_that_fails_costs_its_own_freshness_and_nothing_else(lab: Lab) -> None:
    everything: list[float] = []
    gates = {"registry": lab.registry, "metrics": lab.metrics, "local": lab.router}

    def are(words: dict[str, str]) -> None:
        """Until each connection has its word, those that are not named "ok"; keys are answered all the while."""
        wanted = dict.fromkeys(gates, "ok") | words
        screen.wait(lambda s: links(s) == wanted, str(wanted), 45)
        everything.extend(answers_keys(screen))

    def mend(*, by_itself: bool = True) -> None:
        for gate in gates.values():
            gate.heal()
        if not by_itself:
            screen.send("r")
        are({})

    with lab.app() as screen:
        screen.wait(lambda s: "diabetes" in s.text, "the fleet", 60)
        are({})

        lab.registry.refuse()
        are({"registry": "DOWN"})
        assert "v2→v3" in row(screen, "wine")
        mend()

        lab.metrics.on(Drip(0.3))
        are({"metrics": "DOWN"})
        assert "10%" in row(screen, "wine"), "what the target says is not the metrics' to take away"
        mend()

        lab.router.refuse()
        are({"local": "DOWN"})
        # What the router runs is not known now, so nothing is planned from what it ran before.
        screen.send("B")
        # By what was read last, or by what is read for the plan where nothing was read since.
        screen.wait(lambda s: "no roll back of" in s.text or "NO PLAN: roll back" in s.text, "a refusal", 20)
        assert "the router" in screen.text
        screen.send("\x1b")
        screen.wait(lambda s: "NO PLAN" not in s.text, "the list alone", 20)
        mend()

        for process in mlflow_processes(lab):
            process.suspend()
        try:
            lab.metrics.on(LOGIN_PAGE)
            lab.router.on(INVALID_JSON)
            are(dict.fromkeys(gates, "DOWN"))
        finally:
            for process in mlflow_processes(lab):
                process.resume()
        mend(by_itself=False)

        for gate in gates.values():
            gate.on(UNAUTHORIZED)
        are(dict.fromkeys(gates, "AUTH"))
        mend(by_itself=False)

        lab.registry.on(Says(503, b"busy"))
        lab.metrics.on(Silent())
        lab.router.on(Says(500, b"boom"))
        are(dict.fromkeys(gates, "DOWN"))
        mend(by_itself=False)
        screen.send("\x11")
        assert screen.wait_exit() == 0
    # The machine may have other work for a moment; the app may not.
    assert statistics.median(everything) < ANSWERED_S
    assert sorted(everything)[int(len(everything) * 0.8)] < 2 * ANSWERED_S
    assert lab.registry.writes() == []


# --- signals ----------------------------------------------------------------------------------------------------------


def plan_of_rollback(screen: Terminal) -> None:
    """Select diabetes, open its rollback, arm writes; afterwards a y would send."""
    screen.wait(lambda s: "diabetes" in s.text and links(s) == ALL_OK, "the fleet", 60)
    screen.send("/")
    screen.wait_quiet(0.2)
    screen.send("diab\r")
    screen.wait_quiet(0.2)
    screen.send("B")
    screen.wait_for("y = Roll", 20)
    time.sleep(0.6)  # keys of the first half second of a plan are dropped on purpose
    screen.send("W")
    screen.wait_for("ARMED", 20)
    screen.wait_quiet(0.2)


def is_restored(screen: Terminal) -> bool:
    return b"?1049l" in screen.received and bool(termios.tcgetattr(screen.fd)[3] & termios.ICANON)


def test_sigterm_in_the_middle_of_an_action_leaves_the_terminal_whole_and_the_audit_true(acting: Lab) -> None:
    acting.registry.on(Silent(), method="POST", path="/registered-models/alias")
    with acting.app() as screen:
        plan_of_rollback(screen)
        screen.send("y")
        screen.wait(lambda _: acting.kinds().count("sent") == 5, "the last step to be sent", 40)
        at = time.monotonic()
        screen.signal(signal.SIGTERM)
        assert screen.wait_exit(8.0) == 143
        assert time.monotonic() - at < 6.0
        assert is_restored(screen)
    acting.registry.heal()
    assert acting.split() == {"v2": 10000}
    assert "outcome" not in acting.kinds(), "nobody knows yet, so nobody says"
    assert acting.json("audit", "verify")["ok"] is True


def test_no_paste_confirms_and_a_plan_does_not_outlive_a_suspension(acting: Lab) -> None:
    before = acting.generation()
    with acting.app() as screen:
        plan_of_rollback(screen)
        screen.paste("y\n" * 1000)
        screen.wait_quiet(0.5)
        screen.send("y\n" * 1000)  # a terminal without bracketed paste
        screen.wait_quiet(0.5)
        screen.pump(0.5)
        assert "intent" not in acting.kinds()

        screen.signal(signal.SIGTSTP)
        screen.wait_stopped()
        time.sleep(8.0)  # with what went before longer than the plan may live, by a clock that is not ours to set
        screen.signal(signal.SIGCONT)
        screen.wait_for("diabetes", 20)
        screen.send("y")
        screen.wait_quiet(0.5)
        screen.pump(0.5)
        assert "intent" not in acting.kinds(), "an expired plan is made anew, not sent"

        for step in range(200):
            columns, rows = [(1, 1), (500, 200), (20, 5), (132, 50), (80, 24)][step % 5]
            screen.resize(columns, rows)
            screen.pump(0.005)
        screen.resize(120, 40)
        screen.wait_for("diabetes", 30)
        screen.signal(signal.SIGHUP)
        assert screen.wait_exit(8.0) == 129
        assert is_restored(screen)
    assert acting.generation() == before


# --- hostile text -----------------------------------------------------------------------------------------------------

HOSTILE = (
    "\x1b[2J\x1b[31mred",
    "\x1b]52;c;aGFja2Vk\x07",
    "\x1b]8;;http://evil\x1b\\link\x1b]0;title\x07",
    "\x1bPq#0\x1b\\",
    "\x9b31m\x9d52;c;aGk=\x9c",
    "\u202egpj.exe\u2066",
    "zero\u200bwidth\ufeff",
    "line\nbreak\r\ttab",
    "N" * 10_000,
    "[@click=app.quit]quit[/]",
    "[bold $error]x[TODO]",
    "👩‍👩‍👧‍👦🇩🇪宽",
    "e" + "\u0301" * 200,
)
OURS = re.compile(
    rb"\x1b\[[0-9;:?<=>]*[ -/]*[@-~]"  # CSI
    rb"|\x1b\](?:22;default|2;[ -~]*)\x07"  # the shape of the pointer; the window's title
    rb"|\x1b[=>78]"
)
FORBIDDEN = re.compile("[\x07\x1b\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


class Registry:
    """MLflow's own API, to leave texts there as anybody could."""

    def __init__(self, lab: Lab) -> None:
        self._root = f"{lab.demo.ready['registry']}/api/2.0/mlflow"

    def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = httpx.request(method, f"{self._root}/{path}", json=body)
        assert answer.status_code == 200, f"{path}: {answer.text[:300]}"
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
def poisoned(acting: Lab) -> Iterator[Lab]:
    """Texts from outside wherever they can be, taken away again at the end."""
    registry, model = Registry(acting), "wine-cultivar"
    texts = " ".join(text[:120] for text in HOSTILE)
    stamp = {
        "version": "2",
        "previous": "1",
        "by": texts,
        "why": texts,
        "intent": HOSTILE[1],
        "at": "2026-01-01T00:00Z",
    }
    known = registry.call("GET", f"registered-models/get?name={model}")["registered_model"].get("description", "")
    newest = registry.call("GET", f"model-versions/get?name={model}&version=3")["model_version"]
    try:
        for index, text in enumerate(HOSTILE):
            tag = {"name": model, "key": f"hostile{index}", "value": text[:4000]}
            registry.call("POST", "registered-models/set-tag", **tag)
            registry.call("POST", "model-versions/set-tag", version="3", **tag)
            registry.call("POST", "runs/set-tag", run_id=newest["run_id"], key=f"hostile{index}", value=text[:4000])
        tag = {"name": model, "key": "mlrelease.alias.champion", "value": json.dumps(stamp)}
        registry.call("POST", "registered-models/set-tag", **tag)
        registry.call("PATCH", "registered-models/update", name=model, description=texts)
        registry.call("PATCH", "model-versions/update", name=model, version="3", description=texts)
        assert acting.run("hold", "wine", "--yes", "--reason", texts).returncode == 0
        yield acting
    finally:
        for index in range(len(HOSTILE)):
            registry.call("DELETE", "registered-models/delete-tag", name=model, key=f"hostile{index}")
            registry.call("DELETE", "model-versions/delete-tag", name=model, version="3", key=f"hostile{index}")
            registry.call("POST", "runs/delete-tag", run_id=newest["run_id"], key=f"hostile{index}")
        registry.call("DELETE", "registered-models/delete-tag", name=model, key="mlrelease.alias.champion")
        registry.call("PATCH", "registered-models/update", name=model, description=known)
        registry.call(
            "PATCH", "model-versions/update", name=model, version="3", description=newest.get("description", "")
        )


def test_hostile_text_drives_neither_the_app_nor_a_command(poisoned: Lab) -> None:
    for command in (
        ("status",),
        ("endpoint", "wine", "--json"),
        ("models",),
        ("versions", "wine-cultivar"),
        ("audit", "list"),
    ):
        done = poisoned.run(*command)
        assert not FORBIDDEN.search(done.stdout + done.stderr), command

    with poisoned.app(columns=120, rows=40) as screen:
        screen.wait(lambda s: "wine" in s.text and links(s) == ALL_OK, "the fleet", 60)
        bars = {line.find("|") for line in screen.lines[3:6]}
        assert len(bars) == 1, "columns stay where they are"
        for keys in ("/wine\r", "x", "\x1b", "\r", "\x1b", "2", "jj\r", "\x1b", "4", "6", "\r", "\x1b"):
            for key in [keys] if keys.startswith("/") else keys:
                screen.send(key)
                screen.wait_quiet(0.25)
        assert screen.exit_code is None, "no name quits the app"
        assert_only_our_own(screen)
        screen.send("\x11")
        screen.wait_exit()


@pytest.fixture
def poisoned_things(acting: Lab) -> Iterator[Lab]:
    """Texts from outside in an endpoint's own labels, in what its processes print, and in a run's parameters and tags."""
    registry, layout = Registry(acting), Layout(acting.target)
    before = read_definitions(layout)["local/wine"]
    labels = {f"hostile{index}{text[:40]}": text for index, text in enumerate(HOSTILE)}
    define_endpoint(acting.target, replace(before, labels=labels))
    printed = "\n".join(HOSTILE).encode() + b"\n\x00\xff\xfe\xc3(\x9b2J" + b"x" * 20_000 + b"\nthe end of it\n"
    logs = [layout.log_of("local/wine", name) for name in ("v2", "v3")]
    sizes = {log: log.stat().st_size for log in logs}
    for log in logs:
        with log.open("ab") as file:
            file.write(printed)
    run = registry.call("POST", "runs/create", experiment_id="0", start_time=1)["run"]["info"]["run_id"]
    try:
        for index, text in enumerate(HOSTILE):
            registry.call("POST", "runs/log-parameter", run_id=run, key=f"hostile{index}", value=text[:4000])
            registry.call("POST", "runs/set-tag", run_id=run, key=f"hostile{index}", value=text[:4000])
        registry.call("POST", "runs/set-tag", run_id=run, key="mlflow.runName", value=HOSTILE[0] + HOSTILE[5])
        registry.call("POST", "runs/set-tag", run_id=run, key="mlflow.user", value=HOSTILE[1])
        registry.call("POST", "registered-models/create", name="poisoned")
        source = f"runs:/{run}/model"
        registry.call("POST", "model-versions/create", name="poisoned", source=source, run_id=run)
        yield acting
    finally:
        define_endpoint(acting.target, before)
        for log, size in sizes.items():
            os.truncate(log, size)
        registry.call("DELETE", "registered-models/delete", name="poisoned")
        registry.call("POST", "runs/delete", run_id=run)


def test_hostile_labels_output_and_runs_are_letters(poisoned_things: Lab) -> None:
    with poisoned_things.app(columns=120, rows=40) as screen:
        screen.wait(lambda s: "wine" in s.text and links(s) == ALL_OK, "the fleet", 60)
        narrow(screen, "wine")
        for page in "dy":
            screen.send(page)
            screen.wait_for("[describe]" if page == "d" else "[raw]", 10)
            assert "hostile12" in turn_over(screen)
            screen.send("\x1b")
            screen.wait_quiet(0.3)
        screen.send("L")
        screen.wait_for("the end of it", 10)
        turn_over(screen)
        screen.send("v")
        screen.wait_for("the end of it", 10)
        screen.send("\x1b")
        screen.wait_quiet(0.3)

        screen.send("2")
        screen.wait_for("poisoned", 20)
        narrow(screen, "poisoned")
        screen.send("\r")
        screen.wait_for("Models → poisoned", 20)
        screen.wait_for("v1", 20)
        for page in "dy":
            screen.send(page)
            screen.wait_for("params", 20)
            assert "hostile12" in turn_over(screen)
            screen.send("\x1b")
            screen.wait_quiet(0.3)
        assert screen.exit_code is None
        assert_only_our_own(screen)
        screen.send("\x11")
        screen.wait_exit()


def narrow(screen: Terminal, words: str) -> None:
    """Filter the list."""
    screen.send("/")
    screen.wait_for("filter /", 5)
    screen.send(f"{words}\r")
    screen.wait_for(f"[filter: {words}]", 5)
    screen.wait_quiet(0.3)


def turn_over(screen: Terminal) -> str:
    """From the first line to the last, so that all of a page reaches the terminal. Returns what was seen."""
    screen.send("g")
    screen.wait_quiet(0.15)
    seen = [""]
    while screen.text != seen[-1]:
        seen.append(screen.text)
        screen.send("\x1b[6~")
        screen.wait_quiet(0.15)
    return "\n".join(seen)


def assert_only_our_own(screen: Terminal) -> None:
    """No text drove the terminal: only sequences of the app's own were sent."""
    left = OURS.sub(b"", screen.received).decode("utf-8", "replace")
    # The app rings once where an endpoint gets worse; a name's own bell is on the screen as letters.
    assert left.count("\x07") <= 2
    found = FORBIDDEN.search(left.replace("\x07", ""))
    assert found is None, repr(left[max(found.start() - 40, 0) : found.end() + 40])


# --- secrets ----------------------------------------------------------------------------------------------------------


def shows_nothing_of_it_in_the_app(lab: Lab) -> None:
    with lab.app() as screen:
        screen.wait(lambda s: "wine" in s.text and links(s) == ALL_OK, "the fleet", 60)
        for process in psutil.Process(os.getpid()).children(recursive=True):
            try:
                assert CANARY not in " ".join(process.cmdline())
            except psutil.Error:
                continue
        screen.send("6")
        screen.wait_quiet(0.3)
        screen.signal(signal.SIGTERM)
        assert screen.wait_exit(8.0) == 143
        assert CANARY.encode() not in screen.received


@pytest.mark.parametrize("source", ["env", "file", "command"])
def test_a_secret_is_sent_and_shown_nowhere(demo: HeadlessDemo, tmp_path: Path, source: str) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    token, program = secrets / "token", secrets / "helper"
    for path, text in ((token, CANARY), (program, f"#!/bin/sh\necho {CANARY} >&2\necho {CANARY}\n")):
        path.write_text(text)
        path.chmod(0o700 if path is program else 0o600)
    credential = {
        "env": 'credential = { env = "REGISTRY_TOKEN" }',
        "file": f'credential = {{ file = "{token}" }}',
        "command": f'credential = {{ command = ["{program}"] }}',
    }[source]
    with Lab(demo, tmp_path / "lab", options={"registry": credential}, tail=QUICK) as lab:
        lab.environment["REGISTRY_TOKEN"] = CANARY if source == "env" else "another"
        said = [lab.run("connections", "test", "--json")]
        assert any(CANARY in request.headers.get("authorization", "") for request in lab.registry.proxy.requests)
        lab.registry.on(Says(401, f"bad token {CANARY}".encode()))
        said += [lab.run("models"), lab.run("hold", "iris", "--yes", "--json")]
        lab.registry.heal()
        if source == "command":
            shows_nothing_of_it_in_the_app(lab)
        assert not [done for done in said if CANARY in done.stdout + done.stderr]
        assert not [file for file in lab.home.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()]
