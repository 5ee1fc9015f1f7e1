"""The audit in the words of other systems. Every export but the native one is a view: it carries the hash of the line it shows.

jsonl         the exact lines; their hash is the SHA-256 of each, so they can be verified elsewhere
cloudevents   CloudEvents 1.0.2, JSON format, one event a line; `linehash` and `sequence` are extension attributes
ocsf          OCSF 1.6.0, API Activity (6003), one event a line; the record under `unmapped`
csv           RFC 4180 with a header; cells that a spreadsheet would run as a formula are quoted with an apostrophe
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from mlrelease_tui.audit.clock import rfc3339
from mlrelease_tui.audit.record import AuditRecord
from mlrelease_tui.audit.redact import Json

CLOUDEVENTS_TYPE: Final = "dev.mlrelease.release.{kind}.v1"
OCSF_VERSION: Final = "1.6.0"

CSV_COLUMNS: Final = (
    "time",
    "chain",
    "seq",
    "kind",
    "user",
    "host",
    "endpoint",
    "environment",
    "model",
    "version",
    "verb",
    "intent_id",
    "status",
    "reason",
    "ticket",
    "id",
    "prev",
    "line_sha256",
)

_OCSF_API_ACTIVITY: Final = 6003
_OCSF_UPDATE: Final = 3
_OCSF_STATUS: Final[Mapping[str, int]] = MappingProxyType({"applied": 1, "rejected": 2})


def export(records: Iterable[AuditRecord], form: str) -> Iterator[str]:
    """Lines without their newline (CSV: rows). ValueError where `form` is none of FORMS."""
    try:
        writer = FORMS[form]
    except KeyError:
        raise ValueError(f"no such export: {form!r}; there are {', '.join(FORMS)}") from None
    return writer(records)


def _jsonl(records: Iterable[AuditRecord]) -> Iterator[str]:
    return (record.line.decode("utf-8") for record in records)


def _cloudevents(records: Iterable[AuditRecord]) -> Iterator[str]:
    for record in records:
        event: dict[str, Json] = {
            "specversion": "1.0",
            "id": record.id,
            "source": f"/mlrelease/audit/{record.chain}",
            "type": CLOUDEVENTS_TYPE.format(kind=record.kind),
            "time": rfc3339(record.at),
            "datacontenttype": "application/json",
            "sequence": str(record.seq),
            "linehash": record.sha256,
            "data": dict(record.fields),
        }
        if record.endpoint:
            event["subject"] = record.endpoint
        yield _compact(event)


def _ocsf(records: Iterable[AuditRecord]) -> Iterator[str]:
    for record in records:
        actor, process = record.section("actor"), record.section("process")
        action, result = record.section("action"), record.section("result")
        status = str(result.get("status", ""))
        source: dict[str, Json] = {"hostname": record.section("where").get("host", "")}
        if actor.get("ssh_client"):
            source["ip"] = actor["ssh_client"]
        event: dict[str, Json] = {
            "class_uid": _OCSF_API_ACTIVITY,
            "category_uid": 6,
            "activity_id": _OCSF_UPDATE,
            "type_uid": _OCSF_API_ACTIVITY * 100 + _OCSF_UPDATE,
            "severity_id": 1,
            "time": int(record.at.timestamp() * 1000),
            "status_id": _OCSF_STATUS.get(status, 99 if status else 0),
            "metadata": {
                "version": OCSF_VERSION,
                "uid": record.id,
                "sequence": record.seq,
                "original_time": rfc3339(record.at),
                "event_code": record.kind,
                "product": {
                    "name": "mlrelease-tui",
                    "vendor_name": "mlrelease-tui",
                    "version": record.section("where").get("tool_version", ""),
                },
            },
            "actor": {
                "user": {"uid": str(actor.get("uid", "")), "name": actor.get("name", "")},
                "process": {"pid": process.get("pid", 0)},
            },
            "api": {
                "operation": str(action.get("verb", record.kind)),
                "request": {"uid": record.intent_id or record.id},
            },
            "src_endpoint": source,
            "unmapped": {"line_sha256": record.sha256, "record": dict(record.fields)},
        }
        if status:
            event["status"] = status
        if record.endpoint:
            event["resources"] = [{"name": record.endpoint, "type": "endpoint"}]
        yield _compact(event)


def _csv(records: Iterable[AuditRecord]) -> Iterator[str]:
    yield _row(CSV_COLUMNS)
    for record in records:
        target, model, why = record.section("target"), record.section("model"), record.section("why")
        yield _row(
            (
                rfc3339(record.at),
                record.chain,
                record.seq,
                record.kind,
                record.section("actor").get("name"),
                record.section("where").get("host"),
                record.endpoint,
                target.get("environment"),
                model.get("name"),
                model.get("version"),
                record.section("action").get("verb"),
                record.intent_id,
                record.section("result").get("status"),
                why.get("reason"),
                why.get("ticket"),
                record.id,
                record.prev,
                record.sha256,
            )
        )


def _row(cells: Iterable[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([_cell(cell) for cell in cells])
    return out.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else value if isinstance(value, str) else _compact(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


FORMS: Final[Mapping[str, Callable[[Iterable[AuditRecord]], Iterator[str]]]] = MappingProxyType(
    {"jsonl": _jsonl, "cloudevents": _cloudevents, "ocsf": _ocsf, "csv": _csv}
)
"""Name of each export → what writes it."""
