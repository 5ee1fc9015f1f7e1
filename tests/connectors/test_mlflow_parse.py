"""Payloads, answers, filters, signatures and proxies: values in, values out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.mlflow import answers, connect, filters, network, parse, signature
from mlrelease_tui.connectors.mlflow.answers import Answer
from mlrelease_tui.domain.refs import ModelRef
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import (
    BackendError,
    ConfigError,
    Forbidden,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
REF = ModelRef("r", "m")


def metrics(text: str) -> Mapping[str, float | SafeText]:
    body = ('{"metrics": [{"key": "x", "value": ' + text + "}]}").encode()
    return parse.metrics_of(answers.json_object(Answer("metrics", 200, body)))


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("0.5", 0.5),
        ("3", 3.0),
        ('"NaN"', "NaN"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("1e400", "1e400"),
        ("1.7976931348623157e+308", "Infinity"),
        ('"12"', "12"),
        ("true", "True"),
        ("null", ""),
        ('"\\u001b[2J"', "\\e[2J"),
    ],
)
def test_a_metric_is_a_float_or_the_text_that_was_stored(stored: str, shown: object) -> None:
    value = metrics(stored)["x"]
    assert value == shown
    assert type(value) is (float if isinstance(shown, float) else SafeText)


@pytest.mark.parametrize(
    "payload",
    [
        {"registered_models": {}},
        {"registered_models": ["x"]},
        {"registered_models": [{}]},
        {"registered_models": [{"name": 7}]},
        {"registered_models": [{"name": "m", "aliases": [{"alias": "a"}]}]},
        {"registered_models": [{"name": "m", "tags": "x"}]},
    ],
)
def test_a_malformed_list_of_models_is_no_partial_list(payload: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswer):
        parse.models(payload, "r", NOW)


@pytest.mark.parametrize("version", [None, "x", "1.5", "", -1, True, "9" * 30, "١"])
def test_a_version_that_is_no_number_is_unexpected(version: object) -> None:
    with pytest.raises(UnexpectedAnswer):
        parse.versions({"model_versions": [{"name": "m", "version": version}]}, REF, {}, NOW)


@pytest.mark.parametrize(("newest", "shown"), [("9" * 5000, "7"), ("٣", "7"), ("12", "12")])
def test_the_newest_version_of_a_model_is_a_number(newest: str, shown: str) -> None:
    latest = [{"name": "m", "version": "7"}, {"name": "m", "version": newest}]
    (model,) = parse.models({"registered_models": [{"name": "m", "latest_versions": latest}]}, "r", NOW)
    assert model.latest_version == shown


def test_versions_are_sorted_deduplicated_and_only_of_the_model() -> None:
    rows = [{"name": name, "version": number} for name, number in [("m", "2"), ("m", "10"), ("m", 2), ("other", "7")]]
    found = parse.versions({"model_versions": rows}, REF, {"champion": "10"}, NOW)
    assert [(item.ref.version, item.aliases) for item in found] == [("10", ("champion",)), ("2", ())]


@pytest.mark.parametrize("stamp", [None, "x", True, 10**18, -(10**18), "9" * 20, 1.5])
def test_a_time_that_is_none_is_unknown(stamp: object) -> None:
    assert parse.moment_of(stamp) is None


def test_times_are_utc_and_may_be_strings() -> None:
    assert parse.moment_of(1_750_000_000_500) == parse.moment_of("1750000000500")
    assert parse.moment_of(1_750_000_000_500) == datetime.fromtimestamp(1_750_000_000.5, UTC)


# --- answers ----------------------------------------------------------------------------------------------------------


def answer(status: int, body: object = b"{}", content_type: str = "application/json", retry_after: str = "") -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer("model m", status, content, content_type, retry_after)


MISSING = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Registered Model with name=m not found"}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (answer(401), Unauthenticated),
        (answer(403, b"Permission denied", "text/plain"), Forbidden),
        (answer(404, MISSING), NotFound),
        (answer(400, MISSING), NotFound),
        (answer(404, b"<html>", "text/html"), UnexpectedAnswer),
        (answer(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "no alias"}), BackendError),
        (answer(407), Unreachable),
        (answer(429), RateLimited),
        (answer(500), BackendError),
        (answer(503), Unreachable),
        (answer(204), UnexpectedAnswer),
        (answer(200, b"<!doctype html>"), UnexpectedAnswer),
        (answer(200, b'{"a": '), UnexpectedAnswer),
        (answer(200, b"[]"), UnexpectedAnswer),
        (answer(200, b""), UnexpectedAnswer),
        (answer(200, b"\xff\xfe{}"), UnexpectedAnswer),
        (answer(200, b'{"a":' * 100_000), UnexpectedAnswer),
    ],
)
def test_each_answer_to_a_read_has_its_error(given: Answer, kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        answers.json_object(given)
    assert raised.type is kind


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429])
def test_a_write_that_was_refused_is_rejected(status: int) -> None:
    with pytest.raises(Rejected):
        answers.accepted(answer(status))


@pytest.mark.parametrize(
    "given", [answer(302), answer(408), answer(500), answer(503), answer(200, b"<html>"), answer(200, b"")]
)
def test_a_write_of_which_nobody_can_say_is_unknown(given: Answer) -> None:
    with pytest.raises(OutcomeUnknown):
        answers.accepted(given)


def test_the_servers_words_are_short_and_harmless() -> None:
    error = answers.read_error(
        answer(403, {"error_code": "PERMISSION_DENIED", "message": "\x1b]52;c;x\x07" + "y" * 5000})
    )
    assert "\\e]52" in error.message
    assert len(error.message) < 500


OVERFLOWING = "Mon, 01 Jan 2026 00:00:00 +99999999999999"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("1000000000", 1e9),
        (OVERFLOWING, 0.0),
    ],
)
def test_retry_after(header: str, seconds: float) -> None:
    assert answers.retry_after_s(header) == seconds


def test_retry_after_may_be_a_date_and_is_honoured_for_a_minute_at_most() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    error = answers.read_error(answer(429, retry_after=later))
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 60


# --- filters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "below", "expected"),
    [
        ("fraud", None, "name = 'fraud'"),
        ("fraud", 7, "name = 'fraud' AND version_number < 7"),
        ("it's", None, "name LIKE 'it_s'"),
        ("a\\'\"`b", 3, "name LIKE 'a____b' AND version_number < 3"),
    ],
)
def test_filters(name: str, below: int | None, expected: str) -> None:
    assert filters.versions_of(name, below) == expected


# --- signature --------------------------------------------------------------------------------------------------------

MLMODEL = """flavors:
  x: y
signature:
  inputs: "[{\\"type\\": \\"string\\", \\"name\\": \\"n\\xE4me\\", \\"required\\": true}]"
  outputs: '[{"type": "long"}]'
  params: null
"""


def test_a_signature_in_either_kind_of_quotes() -> None:
    assert signature.from_mlmodel(MLMODEL.replace("\\xE4", "\\u00e4")) == signature.Signature(
        SafeText("näme: string"), SafeText("long")
    )


@pytest.mark.parametrize(
    "text", ["", "signature:", "signature: null", "signature:\n  inputs: [a]", "signature:\n  inputs: '{'", "\0"]
)
def test_no_signature_is_empty(text: str) -> None:
    assert signature.from_mlmodel(text) == signature.NO_SIGNATURE


def test_a_signature_from_the_run_of_an_older_mlflow() -> None:
    def entry(path: str, kind: str) -> dict[str, object]:
        return {
            "artifact_path": path,
            "signature": {"inputs": json.dumps([{"name": "a", "type": kind}]), "outputs": None},
        }

    history = json.dumps([entry("model", "long"), entry("other", "string")])
    assert signature.from_history(history, "s3://b/artifacts/model").inputs == "a: long"
    assert signature.from_history(history, "s3://b/artifacts/third") == signature.NO_SIGNATURE
    assert signature.from_history(json.dumps([entry("model", "long")])).inputs == "a: long"
    for text in ("", "{}", "[1]", "["):
        assert signature.from_history(text) == signature.NO_SIGNATURE


# --- the way there ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": ""},
        {"url": 7},
        {"url": "mlflow.internal"},
        {"url": "http://"},
        {"url": "http://user@h"},
        {"url": "http://u:hunter2@h"},
        {"url": "http://h/?token=hunter2"},
        {"url": "postgresql://u:hunter2@h/db"},
        {"url": "http://h:notaport"},
        {"url": "http://[h"},
        {"url": "http://u:hunter2@h\u2100x/"},
        {"url": "https://h", "insecure_tls": True},
        {"url": "https://h", "workspace": "team-a"},
        {"url": "http://h", "timeout_s": 0},
        {"url": "http://h", "timeout_s": "3"},
        {"url": "http://h", "timeout_s": True},
    ],
)
def test_a_wrong_configuration_is_told_without_its_secrets(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as raised:
        connect(Settings("reg", "mlflow", options))
    assert "reg" in raised.value.message
    assert raised.value.hint
    assert "hunter2" not in str(raised.value)


def test_the_environment_that_mlflow_would_heed_and_we_do_not_is_told() -> None:
    told = network.warnings({"MLFLOW_TRACKING_INSECURE_TLS": "true", "MLFLOW_TRACKING_AWS_SIGV4": "true"})
    assert len(told) == 2
    assert network.warnings({"MLFLOW_TRACKING_INSECURE_TLS": "false"}) == ()
