"""Every command in a process of its own, on a scripted backend: answers, exit codes, refusals, faults, hostile text."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.cli_host import CALM, Script, Shell, moving, valid, with_fault

from mlrelease_tui.actions.executor import LOST_ANSWER_S

pytestmark = pytest.mark.e2e

UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
"""What a terminal acts on or hides, but for the newline."""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


# --- looking ----------------------------------------------------------------------------------------------------------


def test_a_healthy_fleet_is_exit_code_0_and_says_what_is_known(shell: Shell) -> None:
    answer = shell.play(cluster=CALM).run("status", "--json")
    assert answer.code == 0
    (row,) = answer.document["endpoints"]
    assert row["id"] == "cluster/ml/iris"
    assert (row["phase"], row["stale"], row["alias"], row["alias_version"]) == ("complete", False, "champion", "2")
    (variant,) = row["variants"]
    assert (variant["role"], variant["version"], variant["weight_bp"]) == ("stable", "2", 10_000)
    # Nothing was measured: the numbers are absent, not zero.
    assert not {"rate", "error_ratio", "observed_share", "p99_s"} & variant.keys()
    assert "verdict" not in row
    assert [link["state"] for link in answer.document["connections"]] == ["ok"]


def test_a_canary_that_nobody_judged_has_not_enough_data(shell: Shell) -> None:
    (row,) = shell.play(cluster=moving()).run("status", "iris", "--json").document["endpoints"]
    assert row["verdict"] == "not_enough_data"


def test_a_problem_is_exit_code_1_and_is_named(shell: Shell) -> None:
    sick = moving(alias="champion")
    sick["models"][0]["aliases"] = {"champion": "3"}
    answer = shell.play(cluster=sick).run("status", "--json")
    assert answer.code == 1
    (row,) = answer.document["endpoints"]
    assert row["severity"] == "warn"
    assert "alias champion says v3" in row["mismatch"]
    text = shell.run("status")
    assert text.code == 1
    assert "alias champion says v3" in text.out


@pytest.mark.parametrize("fault", ["refused", "unauthenticated", "malformed", "crash", "exit"])
def test_a_backend_that_fails_is_exit_code_3_and_costs_its_own_rows_only(shell: Shell, fault: str) -> None:
    shell.play(cluster=CALM, edge=with_fault({}, fault))
    answer = shell.run("status", "--json")
    assert answer.code == 3
    assert [row["id"] for row in answer.document["endpoints"]] == ["cluster/ml/iris"]
    states = {link["name"]: link["state"] for link in answer.document["connections"]}
    assert states["cluster"] == "ok"
    assert states["edge"] in {"down", "auth", "broken"}


def test_a_silent_backend_costs_no_more_than_the_timeout(shell: Shell) -> None:
    answer = shell.play(cluster=CALM, edge=with_fault({}, "silent")).run("--timeout", "0.3", "status", "--json")
    assert answer.code == 3
    assert len(answer.document["endpoints"]) == 1


def test_a_problem_that_was_seen_outweighs_a_backend_that_was_not(shell: Shell) -> None:
    sick = moving()
    sick["endpoints"][0]["variants"][0] |= {"ready": 0, "desired": 2}
    assert shell.play(cluster=sick, edge=with_fault({}, "refused")).run("status").code == 1


def test_what_was_known_stays_with_its_age_when_its_backend_goes(shell: Shell) -> None:
    assert shell.play(cluster=CALM).run("status").code == 0
    shell.play(cluster=with_fault(CALM, "refused"))
    answer = shell.run("status", "--json")
    assert answer.code == 3
    (row,) = answer.document["endpoints"]
    assert row["stale"] is True
    assert row["severity"] == "stale"


def test_plain_status_is_sentences_in_ascii(shell: Shell) -> None:
    answer = shell.play(cluster=moving()).run("status", "--plain")
    assert answer.out.startswith("WAIT cluster/ml/iris: serves v2, canary v3 at 10%, errors not measured")
    assert answer.out.isascii()
    assert UNSEEN.search(answer.out) is None


def test_without_a_terminal_mlrelease_alone_prints_plain_status(shell: Shell) -> None:
    sick = moving()
    sick["endpoints"][0]["variants"][0] |= {"ready": 0, "desired": 2}
    alone = shell.play(cluster=sick).run()
    assert alone.code == 1
    assert alone.out.startswith("CRIT cluster/ml/iris: ")


def test_problems_only_says_so_where_there_is_none(shell: Shell) -> None:
    assert shell.play(cluster=CALM).run("status", "--problems").out == "no problem on 1 endpoint\n"


def test_endpoint_tells_rollout_steps_and_verbs(shell: Shell) -> None:
    answer = shell.play(cluster=moving()).run("endpoint", "iris", "--json")
    assert answer.code == 0
    row = answer.document["endpoint"]
    assert [step["weight_bp"] for step in row["rollout"]["steps"]] == [1000, 5000, 10_000]
    assert {verb["verb"]: verb["native"] for verb in row["verbs"]}["hold"] == "fake hold"
    assert "known good" in shell.run("endpoint", "iris").out


def test_models_and_versions(shell: Shell) -> None:
    shell.play(cluster=CALM)
    (model,) = shell.run("models", "ir", "--json").document["models"]
    assert (model["id"], model["aliases"]) == ("cluster/iris", {"champion": "2"})
    found = shell.run("versions", "iris", "--limit", "3", "--lineage", "--json").document
    assert [item["version"] for item in found["versions"]] == ["4", "3", "2"]
    assert found["versions"][2]["aliases"] == ["champion"]
    assert found["more"] is True
    assert "failed" in shell.run("versions", "cluster/iris").out


def test_models_of_the_registries_that_answer_are_shown_although_one_does_not(shell: Shell) -> None:
    answer = shell.play(cluster=CALM, dead=with_fault({}, "refused")).run("models", "--json")
    assert answer.code == 3
    assert [model["id"] for model in answer.document["models"]] == ["cluster/iris"]
    assert [item["connection"] for item in answer.document["failed"]] == ["dead"]


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_name_that_means_two_endpoints_is_refused_with_both(shell: Shell) -> None:
    shell.play(cluster=moving(), other=moving())
    answer = shell.run("rollback", "iris", "--yes", "--json")
    assert answer.code == 2
    assert answer.error["code"] == "ambiguous_name"
    assert "cluster/ml/iris" in answer.error["message"]
    assert "other/ml/iris" in answer.error["message"]
    assert "whole id" in answer.error["hint"]
    assert shell.run("plan", "rollback", "other/ml/iris").code == 0


def test_an_unknown_name_is_refused_with_the_nearest(shell: Shell) -> None:
    shell.play(cluster=CALM)
    answer = shell.run("status", "irsi", "--json")
    assert (answer.code, answer.error["code"]) == (2, "unknown_name")
    assert "cluster/ml/iris" in answer.error["hint"]
    assert "cluster/iris" in shell.run("versions", "irsi", "--json").error["hint"]
    assert shell.run("connections", "test", "clustr", "--json").error["hint"] == "did you mean cluster?"
    assert "status" in shell.run("statsu").err


def test_a_name_may_be_any_end_of_the_id(shell: Shell) -> None:
    shell.play(cluster=CALM)
    for name in ("iris", "ml/iris", "cluster/ml/iris"):
        assert shell.run("status", name).code == 0


def test_a_name_that_only_a_silent_backend_could_have_is_no_usage_error(shell: Shell) -> None:
    shell.play(cluster=CALM, edge=with_fault({}, "refused"))
    answer = shell.run("hold", "vision", "--yes", "--json")
    assert (answer.code, answer.error["code"]) == (3, "unreachable")
    assert "edge" in answer.error["message"]


# --- plans ------------------------------------------------------------------------------------------------------------

VERBS: list[tuple[str, ...]] = [
    ("promote", "iris"),
    ("promote", "iris", "--full"),
    ("weight", "iris", "25%"),
    ("hold", "iris"),
    ("abort", "iris"),
    ("rollback", "iris"),
    ("rollback", "iris", "--to", "1"),
    ("alias", "iris", "champion", "3"),
    ("retry", "iris"),
    ("restart", "iris"),
    ("scale", "iris", "3"),
    ("shadow", "iris", "3", "--weight", "5%"),
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_each_verb_has_a_plan_that_can_be_carried_out_by_its_hash(shell: Shell, verb: tuple[str, ...]) -> None:
    planned = shell.play(cluster=moving()).run("plan", *verb, "--json")
    assert planned.code == 0
    plan = planned.document
    assert plan["verb"] == verb[0]
    assert plan["level"] in {1, 2}
    assert all(
        {"connection", "write", "before", "after", "precondition", "undo"} <= step.keys() for step in plan["steps"]
    )
    done = shell.run(*verb, "--yes", "--reason", "because", "--plan-hash", plan["plan_hash"], "--json")
    assert done.code == 0, done.out
    outcome = done.document
    assert (outcome["schema"], outcome["outcome"]) == ("mlrelease.outcome/v1", "applied")
    assert outcome["plan_hash"] == plan["plan_hash"]
    assert [step["status"] for step in outcome["steps"]] == ["verified"] * len(plan["steps"])
    assert outcome["verified"]


def test_continue_and_switch_go_on_from_where_a_rollout_stands(shell: Shell) -> None:
    held = moving()
    assert shell.play(cluster=held).run("plan", "continue", "iris", "--json").document["refusal"]["reason"]
    green = moving(
        variants=[
            {"version": "2", "role": "stable", "weight_bp": 10000},
            {"version": "3", "role": "preview", "weight_bp": 0},
        ]
    )
    assert shell.play(cluster=green).run("switch", "iris", "--yes", "--json").document["outcome"] == "applied"


def test_a_plan_shows_every_write_and_the_same_wish_gives_the_same_hash(shell: Shell) -> None:
    shell.play(cluster=moving())
    first, second = (shell.run("plan", "rollback", "iris") for _ in range(2))
    assert re.findall(r"[0-9a-f]{64}", first.out) == re.findall(r"[0-9a-f]{64}", second.out) != []
    for part in ("only if", "undo", "write", "PLAN roll back iris to 2"):
        assert part in first.out


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("promote", "iris", "99"), "version_unknown"),
    (("promote", "iris", "4"), "not_ready"),
    (("promote", "iris", "2"), "already_there"),
    (("promote", "iris"), "no_version"),
    (("weight", "iris", "10%"), "no_canary"),
    (("alias", "iris", "champion", "2"), "already_there"),
    (("continue", "iris"), "refused"),
]


@pytest.mark.parametrize(
    ("verb", "code"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, tuple) else value
)
def test_what_can_not_be_is_refused_with_exit_code_4(shell: Shell, verb: tuple[str, ...], code: str) -> None:
    shell.play(cluster=CALM)
    planned = shell.run("plan", *verb, "--json")
    assert planned.code == 4
    assert planned.document["refusal"]["code"] == code
    acted = shell.run(*verb, "--yes", "--json")
    assert (acted.code, acted.error["code"]) == (4, code)


@pytest.mark.parametrize("weight", ["150%", "100.01", "abc", "1000bp", "2.555%", "", "0x10", "١٠"])
def test_a_weight_that_is_none_is_a_usage_error(shell: Shell, weight: str) -> None:
    answer = shell.play(cluster=moving()).run("weight", "iris", "--yes", "--json", "--", weight)
    assert (answer.code, answer.error["code"]) == (2, "usage")


@pytest.mark.parametrize("weight", ["-1", "-0.5%", "-100", "101", "100.01", "5000"])
def test_a_weight_outside_of_what_there_is_is_said_to_be_outside(shell: Shell, weight: str) -> None:
    for verb in (
        ("weight", "iris", weight),
        ("plan", "weight", "iris", weight, "--window", "0"),
        ("promote", "iris", "--weight", weight),
    ):
        answer = shell.play(cluster=moving()).run(*verb, "--json")
        assert (answer.code, answer.error["code"]) == (2, "usage"), verb
        assert f"{weight} is no weight: it is outside 0% to 100%" in answer.error["message"]


def test_a_number_below_zero_is_no_option_and_an_option_that_is_none_is_named(shell: Shell) -> None:
    replicas = shell.play(cluster=moving()).run("scale", "iris", "-2", "--json")
    assert (replicas.code, replicas.error["code"]) == (2, "usage")
    assert "-2 is not in the range" in replicas.error["message"]
    misspelt = shell.run("weight", "iris", "10%", "--yse", "--json")
    assert "No such option" in misspelt.error["message"]
    assert "--yes" in misspelt.error["message"]


def test_a_plan_that_moved_since_it_was_looked_at_is_refused(shell: Shell) -> None:
    plan = shell.play(cluster=moving()).run("plan", "rollback", "iris", "--json").document
    shell.play(cluster=moving(revision=7))
    answer = shell.run("rollback", "iris", "--yes", "--plan-hash", plan["plan_hash"], "--json")
    assert (answer.code, answer.error["code"]) == (4, "plan_changed")
    assert answer.document["plan"]["plan_hash"] != plan["plan_hash"]


# --- confirming -------------------------------------------------------------------------------------------------------


def test_without_yes_nothing_is_sent(shell: Shell) -> None:
    answer = shell.play(cluster=moving()).run("rollback", "iris", "--json", stdin="y\ny\n")
    assert (answer.code, answer.error["code"]) == (4, "not_confirmed")
    assert "--yes" in answer.error["hint"]
    assert answer.document["plan"]["verb"] == "rollback"
    assert shell.run("audit", "list", "--kind", "intent", "--json").document["records"] == []


PRODUCTION = moving(environment="production")
FULL = ("promote", "iris", "--full", "--json")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (("--yes",), "not_confirmed"),
        (("--yes", "--confirm", "wine", "--reason", "x"), "not_confirmed"),
        (("--yes", "--confirm", "iris"), "no_reason"),
        (("--yes", "--confirm", "iris", "--reason", "  "), "no_reason"),
    ],
)
def test_all_traffic_in_production_wants_the_name_and_a_reason(shell: Shell, given: tuple[str, ...], code: str) -> None:
    answer = shell.play(cluster=PRODUCTION).run(*FULL, *given)
    assert (answer.code, answer.error["code"]) == (4, code)
    assert answer.document["plan"]["level"] == 3


def test_with_the_name_and_a_reason_it_is_done_and_recorded(shell: Shell) -> None:
    shell.play(cluster=PRODUCTION)
    done = shell.run(*FULL, "--yes", "--confirm", "iris", "--reason", "CHG-7")
    assert done.code == 0
    intent = done.document["intent_id"]
    records = shell.run("audit", "show", intent, "--json").document["records"]
    assert [record["kind"] for record in records][0 :: len(records) - 1] == ["intent", "outcome"]
    assert {record["why"] for record in records if record["kind"] in {"intent", "outcome"}} == {"CHG-7"}
    assert records[0]["detail"]["confirm"] == {"level": 3, "typed": True}
    assert "CHG-7" in shell.run("audit", "show", intent[:13]).out


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code", "outcome"),
    [("rejected", 1, "rejected"), ("ignored", 5, "unknown"), ("lost_after", 0, "applied"), ("conflict", 4, "rejected")],
)
def test_how_a_write_ends_is_the_exit_code(shell: Shell, fault: str, code: int, outcome: str) -> None:
    shell.play(cluster=with_fault(moving(), fault, "hold"))
    answer = shell.run("hold", "iris", "--yes", "--json")
    assert answer.code == code, answer.out
    assert answer.document["outcome"] == outcome
    assert shell.run("audit", "verify").code == 0


def test_a_target_that_can_not_be_read_is_exit_code_3(shell: Shell) -> None:
    answer = shell.play(cluster=with_fault(moving(), "refused", "endpoint")).run(
        "hold", "cluster/ml/iris", "--yes", "--json"
    )
    assert (answer.code, answer.error["code"]) == (3, "unreachable")


def test_where_the_audit_can_not_be_written_nothing_is_sent(shell: Shell) -> None:
    shell.play(cluster=moving())
    (shell.home / "audit").write_text("not a folder")
    answer = shell.run("hold", "iris", "--yes", "--json")
    assert answer.code == 4
    assert "lock" in answer.error["message"]
    assert shell.run("status").code == 0, "looking needs no audit"


def test_ctrl_c_while_an_action_is_under_way_stops_waiting_and_the_next_start_says_what_became_of_it(
    shell: Shell,
) -> None:
    shell.play(cluster=with_fault(moving(), "slow", "hold", delay_s=60.0))
    process = subprocess.Popen(
        shell.arguments("hold", "iris", "--yes"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=shell.environment,
        text=True,
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "sending" in line:
            break
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 5, said
    assert "stopped waiting" in rest
    shell.play(cluster=moving())
    following = shell.run("plan", "rollback", "iris")
    assert following.code == 0
    assert "hold of cluster/ml/iris" in following.err
    assert "what it sent may still arrive" in following.err
    assert "what it sent may still arrive, and voids this plan" in following.out
    assert shell.run("audit", "list", "--kind", "reconciled", "--json").document["records"] == []
    # Going forward waits until it is known.
    following = shell.run("plan", "promote", "iris", "--full", "--window", "0")
    assert following.code == 0
    assert "waiting: what an earlier action by" in following.err
    records = shell.run("audit", "list", "--kind", "reconciled", "--json").document["records"]
    assert [record["result"] for record in records] == ["not_applied"]
    assert shell.run("audit", "verify", "--json").document["ok"] is True


def killed(shell: Shell, *verb: str) -> None:
    """Run a verb and kill its process, with SIGKILL, while its write is on the way."""
    process = subprocess.Popen(
        shell.arguments(*verb, "--yes"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=shell.environment,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not any(b'"kind":"sent"' in path.read_bytes() for path in shell.home.rglob("0*.jsonl")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing was sent"
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=60)


def test_after_a_crash_the_way_back_does_not_wait_and_says_what_it_takes_the_place_of(shell: Shell) -> None:
    shell.play(cluster=with_fault(moving(), "slow", "variants", delay_s=60.0))
    killed(shell, "weight", "iris", "25%", "--window", "0")
    following = shell.play(cluster=moving()).run("rollback", "iris", "--yes", "--json")
    assert following.code == 0
    assert "is open: what it sent may still arrive until" in following.err
    assert "seen so far: not_applied" in following.err
    (settled,) = listed(shell, "reconciled")
    (left,) = listed(shell, "intent", "weight")
    assert (settled["result"], settled["intent_id"]) == ("superseded", left["intent_id"])
    message = shell.run("audit", "show", settled["id"], "--json").document["records"][0]["detail"]["result"]["message"]
    assert following.document["intent_id"] in message
    assert "seen before that: not_applied" in message
    assert waited(shell, "weight", "rollback") < timedelta(seconds=LOST_ANSWER_S)
    assert shell.run("audit", "verify", "--json").document["ok"] is True


def test_after_a_crash_other_targets_never_wait_even_if_its_own_does_not_answer(shell: Shell) -> None:
    shell.play(cluster=with_fault(moving(), "slow", "hold", delay_s=60.0), edge=elsewhere())
    killed(shell, "hold", "cluster/ml/iris")
    shell.play(cluster=with_fault(moving(), "silent"), edge=elsewhere())
    following = shell.run("promote", "edge/ml/iris", "3", "--full", "--yes", "--window", "0", "--json")
    assert following.code == 0, following
    assert "hold of cluster/ml/iris" in following.err
    assert waited(shell, "hold", "promote") < timedelta(seconds=LOST_ANSWER_S)


def listed(shell: Shell, kind: str, verb: str = "") -> list[Mapping[str, Any]]:
    records = shell.run("audit", "list", "--kind", kind, "--json").document["records"]
    return [record for record in records if verb in {"", record["verb"]}]


def waited(shell: Shell, left: str, following: str) -> timedelta:
    """How long after the first verb's write had left the second's intent was recorded."""
    (sent,), (began,) = listed(shell, "sent", left), listed(shell, "intent", following)
    return datetime.fromisoformat(began["at"]) - datetime.fromisoformat(sent["at"])


def elsewhere() -> Script:
    """The endpoint at rest, on a connection called edge, with versions of its own."""
    text = json.dumps(CALM).replace("cluster/iris", "edge/iris")
    found: Script = json.loads(text)
    return found


# --- how it is told ---------------------------------------------------------------------------------------------------


def test_a_reader_that_goes_away_ends_it_quietly(shell: Shell) -> None:
    shell.play(cluster=moving())
    for arguments in (("status",), ("status", "--json"), ("rollback", "iris", "--yes"), ("--help",)):
        process = subprocess.Popen(
            shell.arguments(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=shell.environment,
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read().decode()
        process.stderr.close()
        assert process.wait(30) == 141, said
        assert "Traceback" not in said
        assert "Broken" not in said
    kinds = {item["kind"] for item in shell.run("audit", "list", "--json").document["records"]}
    assert "intent" not in kinds, "whose plan nobody could read is not sent"


HOSTILE = "a\x1b]52;c;cGF5bG9hZA==\x07b\x9b31m\u202ec\u200bd[red]e"


def test_text_from_outside_drives_no_terminal(shell: Shell) -> None:
    script = moving(message=f"held {HOSTILE}", owner=HOSTILE, phase="waiting")
    script["endpoints"][0]["variants"][1]["message"] = HOSTILE
    script["endpoints"][0]["variants"][1] |= {"ready": 0, "desired": 1}
    script["endpoints"].append({**script["endpoints"][0], "name": HOSTILE, "message": ""})
    script["models"][0] |= {"description": HOSTILE}
    script["models"].append({"name": HOSTILE, "versions": [{"version": "1", "source": HOSTILE}]})
    shell.play(cluster=script)
    for arguments in (
        ("status",),
        ("status", "--plain"),
        ("endpoint", "cluster/ml/iris"),
        ("models",),
        ("versions", "cluster/iris"),
        ("plan", "rollback", "cluster/ml/iris"),
        ("status", HOSTILE.replace("\x00", "")),
    ):
        for options in ((), ("--json",)):
            answer = shell.run(*arguments, *options)
            assert UNSEEN.search(answer.out + answer.err) is None, arguments
            assert "Traceback" not in answer.err
    assert "[red]e" in shell.run("models").out


def test_errors_are_objects_too(shell: Shell) -> None:
    assert shell.play(cluster=CALM).run("nonsense", "--json").error["code"] == "usage"
    assert shell.run("--json", "status", "--nonsense").error["code"] == "usage"
    shell.configure('[connections.x]\nkind = "mlflow"\nurk = "http://localhost"\n')
    answer = shell.run("status", "--json")
    assert (answer.code, answer.error["code"]) == (2, "config")
    assert f"{shell.config}:3" in answer.error["message"]
    text = shell.run("status")
    assert (text.code, text.out) == (2, "")
    assert f"{shell.config}:3" in text.err


def test_no_colour_unless_there_is_a_terminal(shell: Shell) -> None:
    assert "\x1b" not in shell.play(cluster=moving()).run("status").out


def test_a_terminal_without_utf8_gets_ascii(shell: Shell) -> None:
    shell.environment |= {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "latin-1"}
    answer = shell.play(cluster=moving()).run("plan", "rollback", "iris")
    assert answer.code == 0
    assert answer.out.isascii()


# --- watching ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("status", "--watch", "--json"), ("watch", "iris", "--json")])
def test_watching_prints_a_line_at_a_change_until_ctrl_c(shell: Shell, arguments: tuple[str, ...]) -> None:
    process = subprocess.Popen(
        shell.play(cluster=moving()).arguments(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=shell.environment,
        text=True,
    )
    assert process.stdout is not None
    seen: set[str] = set()
    for line in process.stdout:
        document = valid(json.loads(line))
        seen |= {row["id"] for row in document["endpoints"]}
        if seen:
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert seen == {"cluster/ml/iris"}
    assert process.returncode == 130
    assert said == ""


# --- audit ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def acted(shell: Shell) -> Shell:
    """A shell in which one rollback was done."""
    assert shell.play(cluster=moving()).run("rollback", "iris", "--yes", "--reason", "INC-1").code == 0
    return shell


def test_the_audit_says_who_and_why_and_holds(acted: Shell) -> None:
    (outcome,) = acted.run("audit", "list", "--kind", "outcome", "--json").document["records"]
    assert (outcome["verb"], outcome["target"], outcome["why"], outcome["result"]) == (
        "rollback",
        "cluster/ml/iris",
        "INC-1",
        "applied",
    )
    assert outcome["actor"]
    verified = acted.run("audit", "verify", "--json")
    assert (verified.code, verified.document["ok"]) == (0, True)
    head = verified.document["chains"][0]["head"]
    assert acted.run("audit", "verify", "--expect-head", head).code == 0


def test_an_altered_audit_is_exit_code_1(acted: Shell) -> None:
    (segment,) = (acted.home / "audit").glob("*/*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"INC-1", b"INC-2", 1))
    answer = acted.run("audit", "verify", "--json")
    assert answer.code == 1
    assert answer.document["breaks"][0]["severity"] == "tampered"


def test_filters_of_the_audit(acted: Shell) -> None:
    def records(*arguments: str) -> list[Any]:
        return list(acted.run("audit", "list", "--json", *arguments).document["records"])

    assert len(records("--limit", "1")) == 1
    assert records("--endpoint", "iris", "--kind", "intent") == records(
        "--endpoint", "cluster/ml/iris", "--kind", "intent"
    )
    assert records("--endpoint", "other") == []
    assert records("--since", "2100-01-01") == []
    assert records("--since", "1h", "--kind", "intent")
    assert {record["kind"] for record in records("--all")} >= {"intent", "sent", "step", "outcome"}
    assert acted.run("audit", "list", "--since", "whenever").code == 2
    assert acted.run("audit", "show", "ffffffff", "--json").error["code"] == "unknown_name"


def test_the_export_is_the_exact_lines(acted: Shell) -> None:
    (segment,) = (acted.home / "audit").glob("*/*.jsonl")
    assert acted.run("audit", "export").out == segment.read_text("utf-8")
    target = acted.home / "audit.csv"
    assert acted.run("audit", "export", "--format", "csv", "-o", str(target)).code == 0
    assert target.read_text().startswith("time,chain,seq,kind")
    assert acted.run("audit", "export", "-o", str(target)).code == 2, "an existing file is kept"


# --- connections ------------------------------------------------------------------------------------------------------


def test_connections_are_listed_without_asking_and_tested_by_asking(shell: Shell) -> None:
    shell.play(cluster=CALM, edge=with_fault({}, "refused"))
    listed = shell.run("connections", "list", "--json")
    assert listed.code == 0
    assert all("state" not in link for link in listed.document["connections"])
    assert "rollback" in listed.document["connections"][0]["capabilities"]
    tested = shell.run("connections", "test", "--json")
    assert tested.code == 3
    assert [link["state"] for link in tested.document["connections"]] == ["ok", "down"]
    assert shell.run("connections", "test", "cluster").code == 0


def test_a_login_takes_its_secret_from_no_argument_and_shows_it_nowhere(shell: Shell) -> None:
    shell.configure(
        '[connections.registry]\nkind = "mlflow"\nurl = "http://127.0.0.1:9"\ncredential = { prompt = true }\n'
    )
    answer = shell.run("connections", "login", "registry", "--stdin", "--json", stdin="s3cret-canary\n")
    assert answer.code == 0
    assert answer.document["connections"][0]["stored_in"] == "memory of this process"
    assert "s3cret-canary" not in answer.out + answer.err
    assert shell.run("connections", "login", "registry", "--json").error["hint"] == "pipe it in with --stdin"


def test_a_server_that_is_not_there_is_exit_code_3(shell: Shell) -> None:
    shell.configure('[connections.registry]\nkind = "mlflow"\nurl = "http://127.0.0.1:9"\n')
    assert shell.run("models", "--json").code == 3
    assert shell.run("versions", "registry/iris", "--json").error["code"] == "unreachable"
    assert shell.run("status").code == 3


# --- set-up -----------------------------------------------------------------------------------------------------------


def test_init_writes_what_it_finds_and_never_overwrites(shell: Shell) -> None:
    (shell.home / ".kube").mkdir()
    (shell.home / ".kube" / "config").write_text(
        "apiVersion: v1\ncontexts:\n- context:\n    cluster: c\n  name: prod-eu\n"
    )
    shell.environment |= {"MLFLOW_TRACKING_URI": "http://ann:hunter2@127.0.0.1:5000"}
    answer = shell.run("init", "--json")
    assert answer.code == 0
    names = {item["name"] for item in (*answer.document["connections"], *answer.document["left_out"])}
    assert {"registry", "prod-eu"} <= names
    written = shell.config.read_text()
    assert "hunter2" not in written
    assert shell.config.stat().st_mode & 0o777 == 0o600
    again = shell.run("init", "--json")
    assert (again.code, again.error["code"]) == (2, "config")
    assert shell.config.read_text() == written
    assert shell.run("init", "--force").code == 0
    assert shell.run("connections", "list").code == 0


def test_doctor_says_what_it_found_and_decided(shell: Shell) -> None:
    well = shell.play(cluster=CALM).run("doctor", "--json")
    assert (well.code, well.document["ok"]) == (0, True)
    names = [check["name"] for check in well.document["checks"]]
    assert {"terminal", "encoding", "configuration", "keyring", "audit", "connector", "cluster"} <= set(names)
    assert shell.play(cluster=with_fault(CALM, "refused")).run("doctor").code == 3
    assert shell.run("doctor", "--offline").code == 0
    shell.configure("nonsense")
    broken = shell.run("doctor", "--json")
    assert broken.code == 2
    assert [check["status"] for check in broken.document["checks"] if check["name"] == "configuration"] == ["fail"]


def complete(shell: Shell, words: str) -> list[str]:
    """What bash would offer after `words`."""
    done = subprocess.run(
        shell.arguments()[:1],
        env=shell.environment
        | {
            "_MLRELEASE_COMPLETE": "bash_complete",
            "COMP_WORDS": words.replace(" ", "\n"),
            "COMP_CWORD": str(words.count(" ")),
            "MLRELEASE_CONFIG": str(shell.config),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_completion_offers_commands_options_and_last_known_names_without_network(shell: Shell) -> None:
    shell.play(cluster=CALM)
    assert complete(shell, "mlrelease status ir") == [], "nothing was seen yet"
    assert shell.run("status").code == 0
    shell.play(cluster=with_fault(CALM, "silent"))
    assert complete(shell, "mlrelease status ir") == ["iris"]
    assert complete(shell, "mlrelease rollback cl") == ["cluster/ml/iris"]
    assert complete(shell, "mlrelease versions cl") == ["cluster/iris"]
    assert complete(shell, "mlrelease plan prom") == ["promote"]
    assert complete(shell, "mlrelease connections test cl") == ["cluster"]
    assert "--problems" in complete(shell, "mlrelease status --")
    assert "rollback" in complete(shell, "mlrelease r")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: Shell, name: str) -> None:
    answer = shell.run("completion", name)
    assert answer.code == 0
    assert "_MLRELEASE_COMPLETE" in answer.out
    if name == "bash":
        subprocess.run(["bash", "-n"], input=answer.out, text=True, check=True, timeout=10)
