"""Exports are views: each line leads back to the record that it shows."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from tests.unit.audit_parts import body, make_log, segment

from mlrelease_tui.audit.export import CSV_COLUMNS, FORMS, export
from mlrelease_tui.audit.record import AuditRecord, line_hash


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, list[AuditRecord]]:
    log = make_log(tmp_path)
    intent = log.append("intent", {**body(1), "why": {"reason": '=cmd|"x",\n\x1b[31m', "ticket": "-1"}})
    log.append(
        "outcome", {**body(2), "action": {"verb": "weight", "intent_id": intent.id}, "result": {"status": "applied"}}
    )
    log.append("session", {})
    return tmp_path, list(log.read())


def test_jsonl_is_exact(written: tuple[Path, list[AuditRecord]]) -> None:
    root, found = written
    text = "".join(f"{line}\n" for line in export(found, "jsonl"))
    assert text.encode("utf-8") == segment(root).read_bytes()


def test_cloudevents(written: tuple[Path, list[AuditRecord]]) -> None:
    _, found = written
    events = [json.loads(line) for line in export(found, "cloudevents")]
    for event, record in zip(events, found, strict=True):
        assert event["specversion"] == "1.0"
        assert event["type"] == f"dev.mlrelease.release.{record.kind}.v1"
        assert event["id"] == record.id
        assert event["source"] == f"/mlrelease/audit/{record.chain}"
        assert event["linehash"] == line_hash(record.line)
        assert event["sequence"] == str(record.seq)
        assert event["data"] == json.loads(record.line)
        # CloudEvents 1.0.2, section 3: attribute names are lower-case letters and digits.
        assert all(name.isalnum() and name.lower() == name for name in event)
    assert events[0]["subject"] == "local/default/fraud"
    assert "subject" not in events[2]


def test_ocsf(written: tuple[Path, list[AuditRecord]]) -> None:
    _, found = written
    events = [json.loads(line) for line in export(found, "ocsf")]
    for event, record in zip(events, found, strict=True):
        assert event["class_uid"] == 6003
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        assert event["time"] == int(record.at.timestamp() * 1000)
        assert event["unmapped"]["line_sha256"] == record.sha256
        assert event["actor"]["user"] == {"uid": "1000", "name": "operator"}
        assert event["src_endpoint"]["ip"] == "192.0.2.7"
    assert [event["status_id"] for event in events] == [0, 1, 0]
    assert events[0]["api"]["request"]["uid"] == events[1]["api"]["request"]["uid"] == found[0].id


def test_csv_runs_nothing(written: tuple[Path, list[AuditRecord]]) -> None:
    _, found = written
    rows = list(csv.DictReader(io.StringIO("\n".join(export(found, "csv")))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert len(rows) == len(found)
    assert [row["line_sha256"] for row in rows] == [record.sha256 for record in found]
    assert rows[0]["reason"] == '\'=cmd|"x",\\n\\e[31m'
    assert rows[0]["ticket"] == "'-1"
    assert rows[1]["status"] == "applied"
    assert rows[2]["endpoint"] == ""


def test_an_unknown_form_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="jsonl, cloudevents, ocsf, csv"):
        export([], "xml")
    assert all(list(export([], form)) in ([], [",".join(CSV_COLUMNS)]) for form in FORMS)
