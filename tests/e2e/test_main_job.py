"""The main job, by keys, on real parts: see the canary that hurts, roll it back, see users recover, find it in the audit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.demo_host import MLRELEASE, HeadlessDemo
from tests.ui.pty_harness import Terminal

pytestmark = [pytest.mark.real, pytest.mark.e2e]

CANARY = "diabetes--v3@file"
STABLE = "diabetes--v2@file"
ROUTER_FAULTS = {"502", "503", "504"}
"""What the router answers by itself when it finds no server: never the model's own failure, which is 500."""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadlessDemo]:
    with HeadlessDemo(tmp_path_factory.mktemp("main")) as running:
        yield running


def requests_by_service(demo: HeadlessDemo) -> dict[str, float]:
    """The router's own counters."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(httpx.get(str(demo.ready["metrics"])).text):
        for sample in family.samples:
            if sample.name == "traefik_service_requests_total":
                service = sample.labels["service"]
                found[service] = found.get(service, 0.0) + sample.value
    return found


def champion(demo: HeadlessDemo) -> str:
    answer = httpx.get(
        f"{demo.ready['registry']}/api/2.0/mlflow/registered-models/alias",
        params={"name": "diabetes-risk", "alias": "champion"},
    )
    return str(answer.json()["model_version"]["version"])


def faults_of_ours(users: dict[str, Any]) -> int:
    """Requests that failed for want of a server or an answer: what a careless rollback would cause."""
    codes = sum(count for code, count in users["by_code"].items() if str(code) in ROUTER_FAULTS)
    return int(codes + sum(users["no_answer"].values()))


def test_rolls_back_the_canary_that_hurts_users_by_a_handful_of_keys(fresh: HeadlessDemo) -> None:
    assert champion(fresh) == "3", "the pipeline moved the alias too early: the rollback has to bring it back"
    assert requests_by_service(fresh)[CANARY] > 0, "the canary has users before"
    environment = fresh.environment | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    keys = 0
    with Terminal([str(MLRELEASE), "--config", str(fresh.config)], environ=environment) as screen:

        def press(text: str) -> None:
            nonlocal keys
            keys += 1
            screen.send(text)

        screen.wait(lambda s: "CRIT" in s.lines[3] and "diabetes" in s.lines[3], "the worst row first", 60)
        assert "READ-ONLY" in screen.lines[0]
        press("B")
        screen.wait_for("PLAN roll back diabetes")
        time.sleep(0.7)  # keys of the first half second of a plan are dropped on purpose
        press("i")
        screen.wait_for("Enter")
        screen.send("errors since v3\r")
        screen.wait(lambda s: "errors since v3" in s.text and "y send" in s.text, "the keys to be the plan's again")
        press("W")
        screen.wait_for("ARMED")
        press("y")
        screen.wait_for("APPLIED", 30)
        assert keys <= 6
        screen.wait(lambda s: "✓OK    diabetes" in s.text, "the row is green again", 90)
        screen.send("\x11")
        assert screen.wait_exit() == 0

    assert champion(fresh) == "2"
    before = requests_by_service(fresh)
    failed_before = fresh.users()["diabetes"]["failed"]
    time.sleep(3.0)
    after = requests_by_service(fresh)
    assert after[STABLE] - before[STABLE] > 20, "users still come"
    # The router forgets the counters of a service that is gone, perhaps between these two readings.
    assert after.get(CANARY, 0.0) in {0.0, before.get(CANARY, 0.0)}, (
        "the canary's share is 0 in the router's own counters"
    )
    users = fresh.users()["diabetes"]
    assert users["failed"] == failed_before, "users' error rate is back"
    assert faults_of_ours(users) == 0, "no request failed because of the rollback"


def test_the_audit_shows_who_and_why_and_verifies(fresh: HeadlessDemo) -> None:
    held = fresh.run("hold", "wine", "--yes", "--reason", "waiting for the cellar")
    assert held.returncode == 0, held.stdout + held.stderr
    released = fresh.run("continue", "wine", "--yes", "--reason", "the cellar agrees")
    assert released.returncode == 0, released.stdout + released.stderr
    verified = fresh.run("audit", "verify", "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["ok"] is True
    listed = json.loads(fresh.run("audit", "list", "--json").stdout)
    outcomes = [record for record in listed["records"] if record["kind"] == "outcome"]
    assert [record["why"] for record in outcomes[:2]] == ["the cellar agrees", "waiting for the cellar"], "newest first"
    assert all(record["actor"] for record in outcomes)
