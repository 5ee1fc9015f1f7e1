"""A judge's state as JSON-able data and back, exactly: the same verdicts after a restart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, cast

from mlrelease_tui.domain.verdict import Metric, VerdictKind
from mlrelease_tui.judgement.dispersion import BATCH_SIZES, Batch, Dispersion
from mlrelease_tui.judgement.evidence import Process, Table
from mlrelease_tui.judgement.judge import Judge
from mlrelease_tui.judgement.question import Question
from mlrelease_tui.judgement.settings import JudgeSettings

SCHEMA = "mlrelease.judge/v1"


def to_dict(state: Judge) -> dict[str, Any]:
    """Only dicts, lists, strings, numbers, booleans and `None`; floats survive `json` bit by bit."""
    data = cast("dict[str, Any]", _plain(asdict(state)))
    return {"schema": SCHEMA, **data}


def from_dict(data: Mapping[str, Any]) -> Judge:
    """The state that `to_dict` wrote. Raises `ValueError` for anything else: evidence is never half read."""
    try:
        if data["schema"] != SCHEMA:
            raise ValueError(f"judge state has schema {data['schema']!r}, not {SCHEMA}")
        values = {field.name: data[field.name] for field in fields(Judge)}
        values["settings"] = JudgeSettings(**{**data["settings"], "effects": tuple(data["settings"]["effects"])})
        values["errors"] = _question(data["errors"])
        values["latency"] = _question(data["latency"])
        values["kind"] = VerdictKind(data["kind"])
        values["metric"] = None if data["metric"] is None else Metric(data["metric"])
        return Judge(**values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"judge state is incomplete or malformed: {error}") from error


def _question(data: Mapping[str, Any]) -> Question:
    values = dict(data)
    for name in ("waiting", "block", "seen_total", "total"):
        values[name] = Table(*values[name])
    for name in ("harm", "severe", "better", "ruled_out", "below_floor"):
        process = values[name]
        values[name] = Process(tuple(process["raw"]), tuple(process["weights"]), process["log_e"])
    batches = tuple(Batch(**batch) for batch in values["dispersion"]["batches"])
    if len(batches) != len(BATCH_SIZES):
        raise ValueError(f"judge state has {len(batches)} batch sizes, not {len(BATCH_SIZES)}")
    values["dispersion"] = Dispersion(batches, values["dispersion"]["phi"])
    return Question(**values)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, (VerdictKind, Metric)) else value
