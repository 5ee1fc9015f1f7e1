"""Every command on the demo, from another process: real registry, real router, real model servers, real users."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.e2e.cli_host import valid
from tests.e2e.demo_host import HeadlessDemo

pytestmark = [pytest.mark.real, pytest.mark.e2e, pytest.mark.slow]

LOADED_S = 120.0
"""Seconds that one command may take on a machine that is busy with other tests."""


def ask(demo: HeadlessDemo, *arguments: str) -> tuple[int, Mapping[str, Any]]:
    """Exit code and the valid document of a command with `--json`."""
    done = demo.run(*arguments, "--json", within_s=LOADED_S)
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done.stdout + done.stderr
    return done.returncode, valid(json.loads(lines[0]))


def row(demo: HeadlessDemo, endpoint: str, *, window: str = "0") -> Mapping[str, Any]:
    _, found = ask(demo, "status", endpoint, "--window", window)
    (only,) = found["endpoints"]
    assert isinstance(only, dict)
    return only


def variant(found: Mapping[str, Any], role: str) -> Mapping[str, Any]:
    return next((item for item in found["variants"] if item["role"] == role), {})


def do(demo: HeadlessDemo, *arguments: str) -> Mapping[str, Any]:
    """Carry a verb out; its outcome, applied."""
    code, outcome = ask(demo, *arguments, "--yes")
    assert code == 0, outcome
    assert outcome["outcome"] == "applied"
    assert all(step["status"] == "verified" for step in outcome["steps"])
    return outcome


def until(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_ready_line_is_as_its_schema_says(demo: HeadlessDemo) -> None:
    valid(demo.ready)


def test_status_finds_the_canary_that_hurts_users(demo: HeadlessDemo) -> None:
    code, found = ask(demo, "status", "--window", "15")
    assert code == 1
    worst = found["endpoints"][0]
    assert (worst["id"], worst["severity"]) == ("local/local/diabetes", "crit")
    canary = variant(worst, "canary")
    assert canary["weight_bp"] == 1000
    assert canary["error_ratio"] > 0.02
    assert 0.02 < canary["observed_share"] < 0.3
    assert worst["mismatch"].startswith("alias champion says v3, endpoint runs v2")
    assert {link["state"] for link in found["connections"]} <= {"ok", "slow"}
    assert demo.run("status", "iris", "--plain").stdout.split()[1] == "local/local/iris:"


def test_what_the_registry_holds(demo: HeadlessDemo) -> None:
    code, models = ask(demo, "models")
    assert code == 0
    assert {model["name"] for model in models["models"]} == {"iris-classifier", "wine-cultivar", "diabetes-risk"}
    code, versions = ask(demo, "versions", "iris-classifier", "--lineage")
    assert code == 0
    assert len(versions["versions"]) >= 3
    for version in versions["versions"]:
        assert version["readiness"] == "ready"
        assert version["lineage"]["metrics"]
        assert version["lineage"]["datasets"]
        assert version["lineage"]["signature_inputs"]


def test_one_endpoint_its_connections_and_the_doctor(demo: HeadlessDemo) -> None:
    _, found = ask(demo, "endpoint", "wine", "--window", "0")
    assert found["endpoint"]["rollout"]["in_flight"] is True
    available = {verb["verb"]: verb["available"] for verb in found["endpoint"]["verbs"]}
    assert available["rollback"] is True
    assert available["scale"] is False
    code, connections = ask(demo, "connections", "test")
    assert code == 0
    assert {link["name"] for link in connections["connections"]} == {"registry", "local", "metrics"}
    code, doctor = ask(demo, "doctor")
    assert (code, doctor["ok"]) == (0, True)


def test_what_the_backend_can_not_do_is_refused(demo: HeadlessDemo) -> None:
    for verb in (
        ("scale", "iris", "3"),
        ("switch", "iris"),
        ("continue", "wine"),
        ("promote", "iris", "99"),
        ("alias", "iris-classifier", "champion", "99"),
        ("weight", "iris", "10%"),
    ):
        code, refused = ask(demo, *verb, "--yes", "--window", "0") if verb[0] in FORWARD else ask(demo, *verb, "--yes")
        assert code == 4, refused
        assert refused["error"]["message"]


FORWARD = {"promote", "weight", "continue", "switch"}


def test_a_canary_is_held_moved_and_let_go(demo: HeadlessDemo) -> None:
    held = do(demo, "hold", "wine", "--reason", "risk team looks")
    code, refused = ask(demo, "weight", "wine", "30%", "--yes", "--window", "0")
    assert code == 4
    assert "risk team looks" in refused["error"]["message"]
    _, found = ask(demo, "endpoint", "wine", "--window", "0")
    assert found["endpoint"]["rollout"]["hold"]["why"] == "risk team looks"
    assert found["endpoint"]["last_write"]["intent_id"] == held["intent_id"]
    do(demo, "continue", "wine")
    do(demo, "weight", "wine", "30%")
    assert variant(row(demo, "wine"), "canary")["weight_bp"] == 3000
    code, plan = ask(demo, "plan", "promote", "wine", "--window", "0")
    assert code == 0
    do(demo, "weight", "wine", "10%")
    code, refused = ask(demo, "promote", "wine", "--yes", "--window", "0", "--plan-hash", plan["plan_hash"])
    assert (code, refused["error"]["code"]) == (4, "plan_changed")
    assert variant(row(demo, "wine"), "canary")["weight_bp"] == 1000


def test_a_rollback_ends_the_harm_without_failing_a_request_and_is_on_record(demo: HeadlessDemo) -> None:
    planned = demo.run("plan", "rollback", "diabetes")
    assert planned.returncode == 0
    assert "champion points at 3" in planned.stdout
    code, plan = ask(demo, "plan", "rollback", "diabetes")
    assert code == 0
    done = do(demo, "rollback", "diabetes", "--reason", "INC-1234", "--plan-hash", plan["plan_hash"])
    try:
        after = row(demo, "diabetes")
        assert [item["version"] for item in after["variants"]] == ["2"]
        assert after["alias_version"] == "2"
        assert "mismatch" not in after
        # What was on its way to the bad version may still fail; from here on nothing does.
        before = demo.users()["diabetes"]
        until(lambda: demo.users()["diabetes"]["ok"] >= before["ok"] + 40)
        assert demo.users()["diabetes"]["failed"] - before["failed"] <= 0
        code, shown = ask(demo, "audit", "show", done["intent_id"])
        assert code == 0
        kinds = [record["kind"] for record in shown["records"]]
        assert (kinds[0], kinds[-1]) == ("intent", "outcome")
        assert shown["records"][0]["why"] == "INC-1234"
        assert shown["records"][-1]["result"] == "applied"
        code, listed = ask(demo, "audit", "list", "--endpoint", "diabetes", "--kind", "outcome")
        assert listed["records"][0]["intent_id"] == done["intent_id"]
        code, verified = ask(demo, "audit", "verify")
        assert (code, verified["ok"]) == (0, True)
        code, again = ask(demo, "rollback", "diabetes", "--yes")
        assert code == 4, again
    finally:
        restored = do(demo, "promote", "diabetes", "3", "--weight", "10%", "--reason", "as it was")
        do(demo, "alias", "diabetes-risk", "champion", "3", "--reason", "as it was")
    assert restored["verb"] == "promote"
    assert variant(row(demo, "diabetes"), "canary")["version"] == "3"


def test_commands_that_make_no_sense_are_usage_errors(demo: HeadlessDemo) -> None:
    for arguments in (
        ("weight", "wine", "150%"),
        ("status", "nothing-like-it"),
        ("promote", "wine", "--full", "--weight", "5%"),
    ):
        code, error = ask(demo, *arguments)
        assert code == 2
        assert error["schema"] == "mlrelease.error/v1"
