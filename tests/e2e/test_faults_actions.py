"""Actions on the running demo while its parts fail, answers get lost, disks fill up, processes die, and others act too."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.fault_proxy import Reset, Silent
from tests.e2e.demo_host import HeadlessDemo
from tests.e2e.fault_lab import Lab

pytestmark = [pytest.mark.real, pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
ALIAS_PATH = "/registered-models/alias"


@pytest.fixture
def lab(demo: HeadlessDemo, tmp_path: Path) -> Iterator[Lab]:
    with Lab(demo, tmp_path / "lab") as made:
        made.restore()
        yield made
        made.restore()


def alias_posts(lab: Lab) -> int:
    return lab.registry.proxy.count("POST", ALIAS_PATH)


def move_alias(lab: Lab, version: str, *, code: int) -> dict[str, Any]:
    return lab.json(
        *("alias", "diabetes-risk", "champion", version, "--yes"),
        *("--confirm", "diabetes-risk", "--reason", "a test"),
        code=code,
    )


# --- emergencies ------------------------------------------------------------------------------------------------------


def test_a_rollback_needs_neither_the_registry_nor_metrics(lab: Lab) -> None:
    lab.registry.refuse()
    lab.metrics.refuse()
    failed_before = lab.faults_of_ours()
    done = lab.run("rollback", "diabetes", "--yes", "--reason", "users are hurt")
    assert done.returncode == 0, done.stdout + done.stderr
    assert lab.split() == {"v2": 10000}, "traffic moved"
    assert lab.champion() == "3", "the alias was left where it was"
    assert "alias champion" in done.stdout, "and that is said"
    assert "move it later with `mlrelease alias`" in done.stdout
    assert lab.json("audit", "verify")["ok"] is True
    assert lab.faults_of_ours() == failed_before, "no user's request failed of it"


def test_a_silent_registry_keeps_nobody_from_safety_and_everybody_from_going_forward(lab: Lab) -> None:
    lab.registry.on(Silent())
    planned = lab.json("plan", "rollback", "diabetes")
    assert all(step["connection"] == "local" for step in planned["steps"])
    promoted = lab.json("promote", "iris", "2", "--yes", code=4)
    assert "registry did not answer" in promoted["error"]["message"], "forward wants to know what it moves to"


def test_after_a_rollback_died_before_its_alias_another_one_finishes_it(lab: Lab) -> None:
    failed_before = lab.faults_of_ours()
    lab.registry.on(Silent(), method="POST", path=ALIAS_PATH)
    dying = lab.spawn("rollback", "diabetes", "--yes", "--reason", "first")
    lab.wait(lambda: lab.kinds().count("sent") == 5, "the last step to be sent")
    os.kill(dying.pid, signal.SIGKILL)
    dying.communicate()
    assert lab.split() == {"v2": 10000}
    lab.registry.heal()
    second = lab.run("rollback", "diabetes", "--yes", "--reason", "second")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "is open: what it sent may still arrive" in second.stderr
    assert "seen so far: partial" in second.stderr
    assert "alias champion points at 3" in second.stderr
    assert lab.champion() == "2"
    assert "reconciled" not in lab.kinds(), "the registry has no compare-and-set: the alias may still be moved"
    lab.json("plan", "promote", "diabetes", "3", "--window", "0")
    (settled,) = [record for record in lab.audit_lines() if record["kind"] == "reconciled"]
    assert settled["result"]["status"] == "superseded"
    assert "rollback was carried out on it since" in settled["result"]["message"]
    assert lab.json("audit", "verify")["ok"] is True
    assert lab.faults_of_ours() == failed_before


# --- lost answers -----------------------------------------------------------------------------------------------------


def test_a_lost_answer_is_read_not_guessed_and_nothing_is_sent_twice(lab: Lab) -> None:
    lab.registry.on(Reset(after_apply=True), method="POST", path=ALIAS_PATH, times=1)
    outcome = move_alias(lab, "2", code=0)
    assert outcome["outcome"] == "applied"
    assert "the answer was lost" in outcome["steps"][0]["detail"]
    assert (alias_posts(lab), lab.champion()) == (1, "2")
    stages = [record["result"]["status"] for record in lab.audit_lines() if record["kind"] in {"step", "outcome"}]
    assert stages == ["verified", "applied"]


# --- no durable intent, no request ------------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system of its own at `folder`. Without the right to mount there is nothing to see: in CI that is a failure."""
    folder.mkdir(mode=0o700, exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        reason = f"a small tmpfs can't be mounted here: {made.stderr.decode(errors='replace').strip()}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        for size in (4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


def refused_for_the_audit(lab: Lab, *words: str) -> None:
    """Neither router nor registry is written to, and both why and what to do are told."""
    before = lab.generation(), lab.champion(), len(lab.registry.writes())
    for command in (("rollback", "diabetes"), ("alias", "diabetes-risk", "champion", "2")):
        error = lab.json(*command, "--yes", "--confirm", command[1], "--reason", "r", code=4)["error"]
        assert "writes are locked: the audit" in error["message"]
        for word in words:
            assert word in error["message"], error
        assert error["hint"]
    assert (lab.generation(), lab.champion(), len(lab.registry.writes())) == before


def test_on_a_full_disk_nothing_is_sent(lab: Lab) -> None:
    with mounted(lab.audit, "size=64k"):
        fill(lab.audit / "ballast")
        refused_for_the_audit(lab, "No space left on device", "make room")


def test_on_a_read_only_disk_nothing_is_sent(lab: Lab) -> None:
    with mounted(lab.audit, "size=64k,ro"):
        refused_for_the_audit(lab, "Read-only file system")


def test_without_a_home_nothing_is_sent_and_looking_still_works(lab: Lab) -> None:
    text = [line for line in lab.config.read_text().splitlines() if not line.startswith(("state_dir", "audit_dir"))]
    lab.config.write_text("\n".join(text))
    nowhere = lab.home / "no-folder"
    nowhere.write_text("")
    environ = {"HOME": str(nowhere), "XDG_STATE_HOME": ""}
    before = lab.generation()
    done = lab.run("rollback", "diabetes", "--yes", "--json", environ=environ)
    assert done.returncode == 4, done.stdout
    assert "writes are locked" in json.loads(done.stdout)["error"]["message"]
    assert lab.generation() == before
    assert lab.run("status", environ=environ).returncode in {0, 1}


def test_a_request_that_got_lost_is_told_as_not_applied_and_recorded_on_a_disk_that_filled_up(lab: Lab) -> None:
    with mounted(lab.audit, "size=256k"):
        lab.registry.on(Silent(), method="POST", path=ALIAS_PATH)
        acting = lab.spawn(
            *(
                "alias",
                "diabetes-risk",
                "champion",
                "2",
                "--yes",
                "--confirm",
                "diabetes-risk",
                "--reason",
                "r",
                "--json",
            )
        )
        lab.wait(lambda: alias_posts(lab) == 1, "the write to be sent")
        fill(lab.audit / "ballast")
        lab.registry.heal()
        out, _ = acting.communicate(timeout=60)
        outcome = json.loads(out)
        assert outcome["outcome"] == "rejected"
        assert "reads show that it was not applied" in outcome["message"]
        assert alias_posts(lab) == 1
        assert lab.kinds()[-1] == "outcome"
        assert "could not be recorded" not in out
        assert lab.champion() == "3"


# --- two operators ----------------------------------------------------------------------------------------------------


class Operator:
    """A process of `operator_child`."""

    def __init__(self, lab: Lab, endpoint: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.operator_child", str(lab.config), endpoint],
            cwd=ROOT,
            env=lab.environment | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **job: object) -> None:
        assert self._process.stdin is not None
        print(json.dumps(job), file=self._process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def leave(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


def test_of_two_operators_one_wins_and_the_other_is_told_who_and_what(lab: Lab) -> None:
    ann, bob = Operator(lab, "local/local/wine"), Operator(lab, "local/local/wine")
    held = False
    try:
        for turn in range(20):
            # Ann wants a weight, and while it is held a lower one; Bob holds it, lets it go, or wants another weight.
            hers = 50 - turn if held else 100 + turn * 10
            other: list[object] = ["continue"] if held else ["hold"] if turn % 3 == 0 else ["weight", 3000 + turn * 100]
            wishes: tuple[list[object], list[object]] = (["weight", hers], other)
            before = lab.generation("wine")
            for operator, wish in zip((ann, bob), wishes, strict=True):
                operator.ask(prepare=wish)
            plans = ann.answer(), bob.answer()
            assert all("plan" in plan for plan in plans), (turn, plans)
            for operator in (ann, bob):
                operator.ask(submit=f"turn {turn}")
            endings = ann.answer(), bob.answer()
            won = [ending.get("outcome") == "applied" for ending in endings]
            assert sum(won) == 1, (turn, wishes, endings)
            assert lab.generation("wine") == before + 1, "one write, by the winner"
            lost = endings[won.index(False)]
            assert lost.get("refused") in {"conflict", "busy"} or lost.get("overtaken"), lost
            assert re.search(r"by \S+", lost["reason"]), f"told who: {lost}"
            wish = wishes[won.index(True)]
            held = wish == ["hold"] or (held and wish != ["continue"])
            if wish[0] == "weight":
                assert lab.split("wine")["v3"] == wish[1], "the final state is the winner's"
    finally:
        ann.leave()
        bob.leave()
    assert lab.json("audit", "verify")["ok"] is True
    ended = [record["result"]["status"] for record in lab.audit_lines() if record["kind"] == "outcome"]
    assert ended.count("applied") == 20


def test_two_commands_with_one_plan_between_them(lab: Lab) -> None:
    planned = lab.json("plan", "weight", "wine", "7")
    command = ("weight", "wine", "7", "--yes", "--plan-hash", planned["plan_hash"], "--json")
    racers = [lab.spawn(*command) for _ in range(2)]
    said = [json.loads(racer.communicate(timeout=60)[0]) for racer in racers]
    codes = sorted(racer.returncode for racer in racers)
    assert codes == [0, 4], said
    assert lab.split("wine") == {"v2": 9300, "v3": 700}
    late = lab.json(*command[:-1], code=4)
    assert late["error"]["code"] in {"already_there", "plan_changed"}


# --- words that make no sense -----------------------------------------------------------------------------------------


REFUSED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "weight below 0": (("weight", "diabetes", "--yes", "--", "-1"), 2, "-1"),
    "weight above 100": (("weight", "diabetes", "101", "--yes"), 2, "0% to 100%"),
    "weight too fine": (("weight", "diabetes", "33.333", "--yes"), 2, "two decimals"),
    "no weight": (("weight", "diabetes", "abc", "--yes"), 2, "abc"),
    "unknown version": (("promote", "iris", "99", "--yes"), 4, "no version 99"),
    "unknown version to return to": (("rollback", "iris", "--to", "77", "--yes"), 4, "no version 77"),
    "unknown endpoint": (("rollback", "diabtes", "--yes"), 2, "did you mean local/local/diabetes"),
    "unknown whole name": (("rollback", "local/local/nosuch", "--yes"), 4, "local/local/nosuch"),
    "another plan": (("rollback", "diabetes", "--yes", "--plan-hash", "deadbeef"), 4, "(last written by"),
    "not confirmed": (("rollback", "diabetes"), 4, "--yes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_with_what_to_do(shared_lab: Lab, case: str) -> None:
    command, code, said = REFUSED[case]
    before = shared_lab.generation(), len(shared_lab.registry.writes())
    end = command.index("--") if "--" in command else len(command)
    answer = shared_lab.json(*command[:end], "--json", *command[end:], code=code, as_given=True)
    assert said in f"{answer['error']['message']} {answer['error']['hint']}"
    assert answer["error"]["hint"]
    assert (shared_lab.generation(), len(shared_lab.registry.writes())) == before


@pytest.fixture(scope="module")
def shared_lab(demo: HeadlessDemo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(demo, tmp_path_factory.mktemp("shared") / "lab", bindings=False) as made:
        made.restore()
        yield made


@pytest.mark.parametrize("status", ["PENDING_REGISTRATION", "FAILED_REGISTRATION"])
def test_a_version_that_is_not_ready_is_not_promoted(lab: Lab, status: str) -> None:
    with lab.registry_row("iris-classifier", "2", status):
        error = lab.json("promote", "iris", "2", "--yes", code=4)["error"]
    assert error["code"] == "not_ready"
    assert "version 2 is" in error["message"]
    assert lab.split("iris") == {"v3": 10000}
