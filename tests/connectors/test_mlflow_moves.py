"""Moving aliases in a real registry: read, claim, read, move, read back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.connectors.mlflow_server import Tracking, connector_to, ref, stamp

from mlrelease_tui.connectors.mlflow import alias as aliasing
from mlrelease_tui.connectors.mlflow.alias import AliasMove
from mlrelease_tui.connectors.mlflow.connector import MlflowConnector
from mlrelease_tui.domain.expectation import AliasExpectation, alias_mismatches
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.errors import Conflict, OutcomeUnknown, Refused, Rejected, Unsupported

pytestmark = pytest.mark.real
pytest_plugins = ["tests.connectors.mlflow_fixtures"]


async def planned(registry: MlflowConnector, name: str, version: str, alias: str = "champion") -> Write:
    (write,) = registry.move_alias(await registry.model(ref(name)), alias, version)
    return write


async def test_a_plan_says_exactly_what_will_be_sent(registry: MlflowConnector, tracking: Tracking) -> None:
    name = tracking.model(versions=2)
    tracking.alias(name, "champion", "1")
    write = await planned(registry, name, "2")
    assert json.loads(write.payload) == {"model": name, "alias": "champion", "version": "2", "expected": "1"}
    assert write.assumes == AliasExpectation(ref(name), "champion", "1")
    assert write.expects == AliasExpectation(ref(name), "champion", "2")
    assert write.best_effort
    assert "best effort" in write.precondition
    assert (write.before, write.after) == ("alias champion points at 1", "alias champion points at 2")
    assert write.undo == "point alias champion back at 1"
    assert name in write.call
    assert name in write.shell


async def test_the_shell_command_does_the_same(registry: MlflowConnector, tracking: Tracking) -> None:
    name = tracking.model('it\'s a "model" $HOME `id`', versions=2)
    write = await planned(registry, name, "2")
    uri = tracking.url if "curl" in write.shell else tracking.sqlite_uri
    environment = {"MLFLOW_TRACKING_URI": uri, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "NO_PROXY": "*"}
    await asyncio.to_thread(
        subprocess.run, ["sh", "-c", write.shell], env=environment, check=True, capture_output=True, timeout=60
    )
    assert tracking.aliases(name) == {"champion": "2"}


async def test_a_move_arrives_and_says_who_and_why(registry: MlflowConnector, tracking: Tracking) -> None:
    name = tracking.model(versions=2)
    tracking.alias(name, "champion", "1")
    write = await planned(registry, name, "2")
    receipt = await registry.perform(write, stamp(by="ana\x1b", why="it's better", intent="i-77"))
    assert receipt.detail == "alias champion points at 2"
    model = await registry.model(ref(name))
    assert alias_mismatches(write.expects, model) == ()  # type: ignore[arg-type]
    note = model.stamps["champion"]
    assert (note.version, note.previous, note.by, note.why, note.intent_id) == (
        "2",
        "1",
        "ana\\e",
        "it's better",
        "i-77",
    )
    assert note.at is not None
    assert sorted(tracking.tags(name)) == ["mlrelease.alias.champion"]


async def test_a_new_alias_is_made_and_a_second_sending_conflicts(
    registry: MlflowConnector, tracking: Tracking
) -> None:
    name = tracking.model(versions=1)
    write = await planned(registry, name, "1", "fresh")
    assert write.undo == "delete alias fresh"
    await registry.perform(write, stamp())
    with pytest.raises(Conflict, match="points at 1 now, not at nothing"):
        await registry.perform(write, stamp())


async def test_a_stale_plan_is_told_who_moved_the_alias(registry: MlflowConnector, tracking: Tracking) -> None:
    name = tracking.model(versions=3)
    tracking.alias(name, "champion", "1")
    mine = await planned(registry, name, "2")
    await registry.perform(await planned(registry, name, "3"), stamp(by="bob", why="night shift"))
    with pytest.raises(Conflict, match=r'points at 3 now, not at 1, moved there by bob .*because "night shift"'):
        await registry.perform(mine, stamp(by="ana"))
    assert tracking.aliases(name) == {"champion": "3"}
    assert json.loads(tracking.tags(name)["mlrelease.alias.champion"])["by"] == "bob"


async def test_a_move_without_this_tool_is_told_as_such(registry: MlflowConnector, tracking: Tracking) -> None:
    name = tracking.model(versions=3)
    await registry.perform(await planned(registry, name, "1"), stamp(by="bob"))
    mine = await planned(registry, name, "2")
    tracking.alias(name, "champion", "3")
    with pytest.raises(Conflict, match="moved there without this tool"):
        await registry.perform(mine, stamp())


@pytest.mark.parametrize("status", ["PENDING_REGISTRATION", "FAILED_REGISTRATION"])
async def test_a_version_that_is_not_ready_gets_no_alias(
    registry: MlflowConnector, tracking: Tracking, status: str
) -> None:
    name = tracking.model(versions=2)
    tracking.alias(name, "champion", "1")
    write = await planned(registry, name, "2")
    tracking.set_status(name, "2", status)
    with pytest.raises(Refused, match="not ready"):
        await registry.perform(write, stamp())
    assert tracking.aliases(name) == {"champion": "1"}
    assert tracking.tags(name) == {}


@pytest.mark.parametrize(
    ("alias", "version"),
    [("latest", "1"), ("LATEST", "1"), ("v7", "1"), ("V12", "1"), ("", "1"), ("a b", "1"), ("a/b", "1"), ("x\x1b", "1"),
     ("champion", "9"), ("champion", "0"), ("champion", "x"), ("champion", "-1"), ("champion", "1")],
)  # fmt: skip
async def test_what_can_not_be_is_refused_before_anything_is_sent(
    registry: MlflowConnector, tracking: Tracking, alias: str, version: str
) -> None:
    name = tracking.model(versions=2)
    tracking.alias(name, "champion", "1")
    model = await registry.model(ref(name))
    with pytest.raises(Refused) as refusal:
        registry.move_alias(model, alias, version)
    assert refusal.value.hint


async def test_a_version_deleted_after_the_plan_changes_nothing(registry: MlflowConnector, tracking: Tracking) -> None:
    name = tracking.model(versions=2)
    tracking.alias(name, "champion", "1")
    write = await planned(registry, name, "2")
    tracking.call("DELETE", "model-versions/delete", {"name": name, "version": "2"})
    with pytest.raises(Exception, match="not found"):
        await registry.perform(write, stamp())
    assert tracking.aliases(name) == {"champion": "1"}


async def test_a_refusal_of_the_registry_is_rejected(registry: MlflowConnector, tracking: Tracking) -> None:
    """An alias of 300 characters: MLflow says no, whatever the planner thought."""
    name = tracking.model(versions=1)
    write = await planned(registry, name, "1")
    payload = json.dumps({**json.loads(write.payload), "alias": "a" * 300})
    bad = Write(**{field: getattr(write, field) for field in write.__slots__} | {"payload": payload})
    with pytest.raises(Rejected):
        await registry.perform(bad, stamp())
    assert tracking.aliases(name) == {}


async def test_an_alias_too_long_to_be_noted_is_moved_without_a_note(
    registry: MlflowConnector, tracking: Tracking
) -> None:
    name = tracking.model(versions=1)
    alias = "a" * 250
    receipt = await registry.perform(await planned(registry, name, "1", alias), stamp())
    assert tracking.aliases(name) == {alias: "1"}
    assert "could not be noted" in receipt.detail


async def test_an_unknown_operation_is_unsupported(registry: MlflowConnector, tracking: Tracking) -> None:
    name = tracking.model(versions=1)
    write = await planned(registry, name, "1")
    other = Write(**{field: getattr(write, field) for field in write.__slots__} | {"operation": "mlflow.delete"})
    with pytest.raises(Unsupported):
        await registry.perform(other, stamp())


def after(call: Callable[..., Awaitable[None]], event: Callable[[], None]) -> Callable[..., Awaitable[None]]:
    """`call`, with something that happens right after it."""

    async def both(*args: object) -> None:
        await call(*args)
        await asyncio.to_thread(event)

    return both


async def test_a_claim_of_another_before_the_move_leaves_the_alias_alone(
    registry: MlflowConnector, tracking: Tracking
) -> None:
    name = tracking.model(versions=3)
    tracking.alias(name, "champion", "1")
    write = await planned(registry, name, "2")
    theirs = aliasing.stamp_text(
        AliasMove(name, "champion", "3", "1"), stamp(by="bob", why="hotfix"), datetime.now(UTC)
    )

    def claim() -> None:
        body = {"name": name, "key": aliasing.tag_key("champion"), "value": theirs}
        tracking.call("POST", "registered-models/set-tag", body)

    carrier = registry._registry
    carrier.set_model_tag = after(carrier.set_model_tag, claim)  # type: ignore[method-assign,assignment]
    with pytest.raises(Conflict, match=r"being moved by someone else .*: bob moves it to 3 .*hotfix"):
        await registry.perform(write, stamp())
    assert tracking.aliases(name) == {"champion": "1"}


@pytest.mark.parametrize("method", ["set_model_tag", "set_alias"])
async def test_an_alias_moved_under_our_hands_is_told(
    registry: MlflowConnector, tracking: Tracking, method: str
) -> None:
    name = tracking.model(versions=3)
    tracking.alias(name, "champion", "1")
    write = await planned(registry, name, "2")
    carrier = registry._registry
    setattr(carrier, method, after(getattr(carrier, method), lambda: tracking.alias(name, "champion", "3")))
    expected: type[Exception] = Conflict if method == "set_model_tag" else OutcomeUnknown
    with pytest.raises(expected, match=r"points at 3 now.*at this very moment"):
        await registry.perform(write, stamp())
    assert tracking.aliases(name) == {"champion": "3"}
    noted = (await registry.model(ref(name))).stamps["champion"]
    assert noted.version != "3"


async def test_of_two_at_the_same_moment_at_least_one_is_told(registry: MlflowConnector, tracking: Tracking) -> None:
    for _ in range(5):
        name = tracking.model(versions=3)
        tracking.alias(name, "champion", "1")
        plans = [await planned(registry, name, version) for version in ("2", "3")]
        results = await asyncio.gather(
            *(registry.perform(write, stamp(by=by)) for write, by in zip(plans, ("ana", "bob"), strict=True)),
            return_exceptions=True,
        )
        told = [result for result in results if isinstance(result, Conflict | OutcomeUnknown)]
        assert told, results
        assert all(
            isinstance(result, Conflict | OutcomeUnknown) or not isinstance(result, BaseException) for result in results
        )


async def test_a_store_that_is_locked_past_the_deadline_leaves_the_outcome_unknown(tracking: Tracking) -> None:
    name = tracking.model(versions=2)
    tracking.alias(name, "champion", "1")
    registry = connector_to(tracking.sqlite_uri, timeout_s=2.0)
    write = await planned(registry, name, "2")
    with contextlib.closing(sqlite3.connect(tracking.database, timeout=20)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutcomeUnknown, match="not answered in time"):
            await registry.perform(write, stamp(intent="i-late"))
        lock.rollback()
    # The thread that still waited gets the lock: this is what "unknown" is for.
    for _ in range(200):
        if tracking.aliases(name) == {"champion": "2"}:
            break
        await asyncio.sleep(0.05)
    assert tracking.aliases(name) == {"champion": "2"}
    await registry.close()


RACER = """
import asyncio, json, sys, time
from tests.connectors.mlflow_server import connector_to, ref, stamp
from mlrelease_tui.errors import ReleaseError

async def main(url, version, start, names):
    registry = connector_to(url)
    plans = [registry.move_alias(await registry.model(ref(name)), "champion", version)[0] for name in names]
    print("ready", flush=True)
    sys.stdin.readline()
    for write in plans:
        try:
            receipt = await registry.perform(write, stamp(by="racer " + version))
            print(json.dumps(["ok", str(receipt.detail)]), flush=True)
        except ReleaseError as error:
            print(json.dumps([error.code, error.message]), flush=True)
    await registry.close()

asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
"""


def test_two_processes_race_and_the_loser_is_told(tracking: Tracking) -> None:
    names = [tracking.model("race", versions=3) for _ in range(12)]
    for name in names:
        tracking.alias(name, "champion", "1")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, tracking.url, version, "now", *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for version in ("2", "3")
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        answers = [[json.loads(line) for line in racer.communicate(timeout=60)[0].splitlines()] for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
    for name, one, other in zip(names, *answers, strict=True):
        codes = {one[0], other[0]}
        assert codes != {"ok"}, (one, other)
        assert codes <= {"ok", "conflict", "outcome_unknown"}
        for version, answer in (("2", one), ("3", other)):
            if answer[0] == "conflict":
                assert "racer" in answer[1] or "moved" in answer[1]
            if answer[0] == "ok" and "conflict" in codes:
                assert tracking.aliases(name)["champion"] == version
