"""The audit: one row an action, its records in order, what is open on top, whether the log holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.ui import registry_scenes as scenes
from tests.ui.driver import Driver
from tests.ui.pictures import at_both_sizes
from tests.ui.registry_driver import Compare, RegistryDriver, Size, driving, pressing, same

from mlrelease_tui.actions.auditing import Auditor
from mlrelease_tui.actions.desk import Desk
from mlrelease_tui.actions.journal import Journal
from mlrelease_tui.audit.identity import this_identity
from mlrelease_tui.audit.log import AuditLog
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.presentation import audit as view
from mlrelease_tui.store.facts import AuditObserved, OpenActionsObserved
from mlrelease_tui.store.store import Store

AUDIT = "app.view_audit"


async def test_the_records_of_an_action_are_one_row() -> None:
    async with driving(scenes.audited(), AUDIT) as driver:
        assert driver.rows == 6
        row = driver.line_with("rollback")
        assert "anna" in row
        assert "prod-eu/ml/fraud-scorer" in row
        assert "applied" in row
        assert "denied" in driver.line_with("registry/fraud-scorer")


async def test_newest_first_and_new_records_join_their_action() -> None:
    async with driving(scenes.audited(), AUDIT, "list.top") as driver:
        fresh = scenes.action(60, 0.5, "hold", "prod-eu/ml/churn", "applied", actor="cj")
        await driver.emit(AuditObserved(fresh[:2]))
        assert driver.table.keys[0] == fresh[0].intent_id
        assert "no ending" in driver.line_with("01:34:42Z")
        await driver.emit(AuditObserved(fresh[2:]))
        assert "applied" in driver.line_with("01:34:42Z")
        assert driver.rows == 7
        assert driver.table.key != fresh[0].intent_id


async def test_a_record_shows_before_and_after_and_the_chain_from_intent_to_outcome() -> None:
    async with driving(scenes.audited(), AUDIT, "list.top", "list.open") as driver:
        assert "v42 25%, v41 75% → v42 0%, v41 100%" in driver.text
        assert "INC-4711" in driver.text
        await driver.press("sheet.end")
        kinds = [
            word for line in driver.lines for word in line.split() if word in {"intent", "sent", "step", "outcome"}
        ]
        assert [kinds.index(kind) for kind in ("intent", "sent", "step", "outcome")] == sorted(
            kinds.index(kind) for kind in ("intent", "sent", "step", "outcome")
        )
        assert "applied in 4.1 s" in driver.text
        assert "read back: weights 100/0" in driver.text
        await driver.key("escape")
        assert driver.table.has_focus


async def test_the_records_as_the_log_has_them() -> None:
    async with driving(scenes.audited(), AUDIT, "list.top", "audit.raw") as driver:
        assert '"precondition": "generation is 7"' in driver.text
        await driver.press("audit.raw")
        assert "BEFORE AND AFTER" in driver.text


async def test_open_intents_stand_on_top_and_say_what_they_mean() -> None:
    async with driving(scenes.left_open(), AUDIT, "list.top") as driver:
        assert "OPEN" in driver.lines[3]
        assert "OPEN" in driver.lines[4]
        assert "bastion process 5120 is still at it: wait for its outcome" in driver.text
        await driver.press("list.down")
        assert "bastion process 4711 died after step 1, effect unknown" in driver.text
        assert "2 without an ending" in driver.text
        await driver.press("rows.reverse", "list.top")
        assert "OPEN" in driver.lines[3]
        assert "OPEN" in driver.lines[4]


async def test_an_intent_that_is_settled_leaves_the_top() -> None:
    async with driving(scenes.left_open(), AUDIT, "list.top") as driver:
        await driver.emit(OpenActionsObserved(()))
        assert "OPEN" not in driver.text
        assert "without an ending" not in driver.text


async def test_only_the_target_of_the_selected_row() -> None:
    async with driving(scenes.audited(), AUDIT) as driver:
        await driver.press("list.top", "list.down", "list.down")
        await driver.press("audit.only")
        assert driver.rows == 2
        assert "only prod-eu/ml/ranker" in driver.text
        await driver.key("escape")
        assert driver.rows == 6
        assert driver.view == "audit"


async def test_a_filter_finds_who_what_why_and_how_it_ended() -> None:
    async with driving(scenes.audited(), AUDIT) as driver:
        for words, count in (("cj", 2), ("inc-4711", 1), ("rejected", 1), ("!applied promote", 1)):
            await driver.press("rows.filter")
            await driver.type(words)
            await driver.key("enter")
            assert driver.rows == count, words
            await driver.key("escape")


async def test_the_newest_action_on_the_endpoint_that_one_comes_from_is_selected() -> None:
    async with driving(scenes.left_open()) as driver:
        await driver.select("search")
        await driver.press(AUDIT)
        assert "prod-eu/ml/search" in driver.line_with("❯")


async def test_verifying_says_what_it_found() -> None:
    async with driving(scenes.audited(), AUDIT) as driver:
        assert "not verified in this session" in driver.text
        await driver.press("audit.verify")
        await driver.until(lambda: "INTACT" in driver.text, "the check")
        assert "1204 records, 2 chains" in driver.text
        assert driver.audit.verified == 1


async def test_a_broken_log_is_said_with_file_and_line() -> None:
    async with driving(scenes.audited(), AUDIT, "audit.verify", check=scenes.BROKEN) as driver:
        await driver.until(lambda: "BROKEN" in driver.text, "the check")
        assert "bastion/1000/000002.jsonl:41" in driver.text
        await driver.press("list.open", "sheet.end")
        assert "THE LOG" in driver.text


async def test_refetch_looks_again_at_what_is_open() -> None:
    async with driving(scenes.left_open(), AUDIT, "app.refetch") as driver:
        await driver.until(lambda: driver.audit.looked == 1, "a look at the log")
        assert driver.reader.asked[-1] == "refresh all"


async def test_an_action_whose_intent_was_not_read_says_so() -> None:
    tail = scenes.action(1, 5, "promote", "prod-eu/ml/churn", "applied")[2:]
    async with driving(replace(scenes.audited(), audit=tail), AUDIT, "list.open") as driver:
        assert "the intent itself is older than what was read" in driver.text
        assert "applied" in driver.text


def test_a_result_that_nobody_knows_is_not_green() -> None:
    odd = replace(scenes.AUDIT[-1], result="exploded")
    (deed,) = view.deeds((odd,), (), ())
    assert deed.severity is Severity.UNKNOWN


async def test_the_real_log_is_verified_and_a_changed_byte_is_found(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit", identity=this_identity(tool_version="0", environ={}))
    journal = Journal(log)
    journal.prepare()
    for number in range(3):
        journal.session("arm", f"writes armed for {number} min")
    auditor = Auditor(Desk(Store(), {}, journal), tmp_path / "audit")
    good = await auditor.verify()
    assert (good.records, good.chains, good.problem_count) == (3, 1, 0)
    (segment,) = (tmp_path / "audit").rglob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"armed for 1 min", b"armed for 9 min"))
    bad = await auditor.verify()
    assert bad.broken
    assert bad.problem_count
    assert segment.name in bad.problems[0]
    log.close()


# --- pictures ---------------------------------------------------------------------------------------------------------


@at_both_sizes
@pytest.mark.parametrize("scene", sorted(scenes.AUDIT_SCENES))
def test_audit_look(snap_compare: Compare, scene: str, size: Size) -> None:
    assert same(snap_compare, scenes.AUDIT_SCENES[scene](), size, pressing(AUDIT, "list.top"))


@at_both_sizes
@pytest.mark.parametrize("scene", ["healthy", "degraded", "hostile"])
def test_record_look(snap_compare: Compare, scene: str, size: Size) -> None:
    keys = (AUDIT, "list.top", "list.down", "list.open") if scene == "degraded" else (AUDIT, "list.top", "list.open")
    assert same(snap_compare, scenes.AUDIT_SCENES[scene](), size, pressing(*keys))


@at_both_sizes
def test_broken_log_looks(snap_compare: Compare, size: Size) -> None:
    async def act(driver: Driver) -> None:
        assert isinstance(driver, RegistryDriver)
        await driver.press(AUDIT, "list.top", "audit.verify")
        await driver.until(lambda: "BROKEN" in driver.text, "the check")

    assert same(snap_compare, scenes.audited(), size, act, check=scenes.BROKEN)
