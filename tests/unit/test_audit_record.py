"""From any value to canonical bytes and back: nothing hostile, secret, endless or ambiguous gets into a line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import cast

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.audit_parts import StepClock, Unsynced, make_log, seeded

from mlrelease_tui.audit.record import (
    MAX_LINE_BYTES,
    AuditRecord,
    canonical_line,
    clean_body,
    strict_object,
)
from mlrelease_tui.audit.redact import MASK, MAX_TEXT_BYTES, Json, Redactions, clean_text, plain
from mlrelease_tui.audit.uuid7 import Uuid7
from mlrelease_tui.audit.verify import verify
from mlrelease_tui.domain.redaction import redact_text
from mlrelease_tui.domain.text import SafeText, is_hidden

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def cleaned(value: object) -> tuple[Json, list[dict[str, Json]]]:
    redactions = Redactions()
    return plain(value, "x", redactions), cast("list[dict[str, Json]]", redactions.found)


@given(VALUES)
def test_any_value_becomes_a_canonical_line(value: object) -> None:
    sections, redactions = clean_body({"result": value}, {})
    line = canonical_line(sections, floats_or_wide_keys=redactions.floats_or_wide_keys)
    assert line == rfc8785.dumps(sections)
    assert rfc8785.dumps(strict_object(line)) == line
    assert not any(is_hidden(char) for char in line.decode("utf-8"))


@given(st.text(alphabet=st.characters()) | st.text(alphabet='\x00\x1b\x9b\u202e\u200b\u2028\\"\n\tab'))
def test_no_hidden_character_survives(text: str) -> None:
    out, _ = cleaned(text)
    assert isinstance(out, str)
    assert not any(is_hidden(char) for char in out)
    assert len(out.encode("utf-8")) <= MAX_TEXT_BYTES


def test_lone_surrogates_are_escaped() -> None:
    assert cleaned("a\ud800b") == ("a\\ud800b", [])


@given(st.integers())
def test_integers_stay_exact(number: int) -> None:
    out, _ = cleaned(number)
    if abs(number) <= 2**53 - 1:
        assert out == number
    else:
        assert out == str(number)


def test_an_endless_integer() -> None:
    out, _ = cleaned(10**20_000)
    assert isinstance(out, str)
    assert len(out) <= MAX_TEXT_BYTES


@pytest.mark.parametrize(("number", "name"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_numbers_that_json_has_not(number: float, name: str) -> None:
    assert cleaned({"metric": number}) == ({"metric": {"nonfinite": name}}, [])


def test_large_floats_read_back_canonical(tmp_path: Path) -> None:
    """1e20 is written as twenty-one digits, which a reader takes for an integer past 2^53."""
    log = make_log(tmp_path, syscalls=Unsynced())
    log.append("session", {"result": {"a": 1e20, "b": 1e21, "c": -0.0, "d": 5e-324, "e": 2.0**53, "é": 1.5, "𐀀": 0.1}})
    assert verify(tmp_path).ok


class Colour(Enum):
    RED = "red"


class Word(StrEnum):
    GO = "go"


class Number(IntEnum):
    TWO = 2


class Hidden:
    def __str__(self) -> str:
        raise AssertionError("asked for its text")

    __repr__ = __str__


class HiddenText(str):
    def __str__(self) -> str:
        return MASK


def test_types() -> None:
    out, found = cleaned(
        {
            "enum": Colour.RED,
            "word": Word.GO,
            "number": Number.TWO,
            "safe": SafeText("a\x1bb"),
            "at": datetime(2026, 3, 1, tzinfo=UTC),
            "naive": datetime(2026, 3, 1),  # noqa: DTZ001 - what must be refused
            "pair": (1, 2),
            "object": Hidden(),
            "bytes": b"raw",
            "hidden": HiddenText("swordfish"),
            7: "seven",
            (1, 2): "tuple",
        }
    )
    assert out == {
        "enum": "red",
        "word": "go",
        "number": 2,
        "safe": "a\\eb",
        "at": "2026-03-01T00:00:00.000000Z",
        "naive": MASK,
        "pair": [1, 2],
        "object": MASK,
        "bytes": MASK,
        "hidden": MASK,
        "7": "seven",
        "<tuple>": "tuple",
    }
    assert {(item["field"], item["why"]) for item in found} == {
        ("x.naive", "naive_time"),
        ("x.object", "type"),
        ("x.bytes", "type"),
    }


def test_nesting_is_bounded() -> None:
    value: list[object] = []
    value.append(value)
    out, found = cleaned(value)
    assert found[0]["why"] == "too_deep"
    assert json.dumps(out).count("[") < 40


def test_keys_that_become_the_same() -> None:
    out, found = cleaned({"a\x1b": 1, "a\\e": 2})
    assert out == {"a\\e": 1}
    assert found == [{"field": "x.a\\e", "why": "duplicate_key"}]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("https://alice:swordfish@example.org/x?key=swordfish#a", "swordfish"),
        ("postgres://u:swordfish@db/mlflow", "swordfish"),
        ("Authorization: Bearer swordfishswordfish", "swordfish"),
        ("authorization=Basic c3dvcmRmaXNo", "c3dvcmRmaXNo"),
        ("curl -H 'Authorization: Basic c3dvcmRmaXNo' x", "c3dvcmRmaXNo"),
        ("got bearer swordfish-1234567890", "swordfish"),
        ('{"password": "swordfish"}', "swordfish"),
        ("MLFLOW_TRACKING_PASSWORD=swordfish mlflow", "swordfish"),
        ("token: swordfish", "swordfish"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzd29yZGZpc2gifQ.c2ln", "eyJzd29yZGZpc2gifQ"),
        ("ghp_" + "a1" * 18, "a1a1"),
        ("AKIA" + "ABCD" * 4, "ABCDABCD"),
        ("hf_" + "a1" * 17, "a1a1"),
        ("AWS_SECRET_ACCESS_KEY=swordfish", "swordfish"),
        ("passphrase: swordfish", "swordfish"),
        ("private_key='swordfish'", "swordfish"),
        ("Set-Cookie: session=swordfish; Path=/", "swordfish"),
        ("it was AIza" + "a1" * 17 + "b, now rotated", "a1a1"),
        ("npm_" + "a1" * 18, "a1a1"),
        ("pypi-AgEIcHlwaS5vcmcCJDU3", "IcHlwaS5"),
        ("hvs." + "a1" * 12, "a1a1"),
        ("ya29." + "a1" * 12, "a1a1"),
        ("glrt-" + "a1" * 10, "a1a1"),
        ("-----BEGIN RSA PRIVATE KEY-----\nswordfish\n-----END RSA PRIVATE KEY-----", "swordfish"),
        ("cut off: -----BEGIN PRIVATE KEY-----\nswordfish", "swordfish"),
    ],
)
def test_secrets_in_free_text(text: str, secret: str) -> None:
    out, found = cleaned({"reason": text})
    assert secret not in json.dumps(out)
    assert MASK in json.dumps(out)
    assert found == [{"field": "x.reason", "why": "secret"}]


@pytest.mark.parametrize("hide", [clean_text, redact_text], ids=["audit", "errors"])
@pytest.mark.parametrize("piece", ["a-", "a", "1a", "a+", "eyJaaaaaaaa-", "token_", "token ", "-----BEGIN "])
def test_a_flood_is_looked_through_without_going_back_and_forth(hide: Callable[[str], str], piece: str) -> None:
    """A search whose time grows with the square of the length would take minutes for this, with every key waiting for it."""
    shown = hide(piece * (64 * 1024 // len(piece)) + " x_token: swordfish")
    assert "swordfish" not in shown
    assert len(shown) >= 16


@pytest.mark.parametrize(
    "text",
    [
        "basic functionality restored, error ratio back to 0.1 %",
        "sk-learn-pipeline-v2-production-eu",
        "https://ci.example.org/job/7/console",
        "the bearer of this note",
        "sha256:" + "ab" * 32,
        "connection/namespace/name",
        "max_tokens=7"[:10],
        "global-latency-of-the-canary-doubled",
        "access: granted by the release board",
        "npm_config_registry_of_the_build_image",
    ],
)
def test_plain_words_stay(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.parametrize(
    "key", ["password", "api_key", "X-Api-Key", "accessToken", "client_secret", "Authorization", "cookie"]
)
def test_values_under_secret_names(key: str) -> None:
    out, found = cleaned({key: "swordfish", "note": "kept"})
    assert out == {key: MASK, "note": "kept"}
    assert found == [{"field": f"x.{key}", "why": "secret"}]


@pytest.mark.parametrize("key", ["max_tokens", "secret_name", "tokens", "tokenizer", "authorized"])
def test_names_that_only_sound_secret(key: str) -> None:
    assert cleaned({key: "kept"}) == ({key: "kept"}, [])


def test_long_text_is_cut_and_named() -> None:
    out, found = cleaned("é" * 5000)
    assert isinstance(out, str)
    assert out.endswith("é…")
    assert len(out.encode("utf-8")) <= MAX_TEXT_BYTES
    assert (found[0]["field"], found[0]["why"], found[0]["bytes"]) == ("x", "capped", 10_000)


def test_only_known_fields_are_kept(tmp_path: Path) -> None:
    log = make_log(tmp_path, syscalls=Unsynced())
    record = log.append(
        "session",
        {
            "seq": 99,
            "password": "swordfish",
            "actor": {"uid": 0, "identity": "alice@example.org"},
            "redacted": ["by caller"],
        },
    )
    assert record.seq == 1
    assert record.section("actor")["uid"] == 1000
    assert record.section("actor")["identity"] == "alice@example.org"
    assert b"swordfish" not in record.line
    redacted = cast("list[Json]", record.fields["redacted"])
    assert "by caller" in redacted
    assert {"field": "seq", "why": "unknown_field"} in redacted
    assert {"field": "password", "why": "unknown_field"} in redacted
    assert {"field": "actor.uid", "why": "reserved"} in redacted
    assert verify(tmp_path).ok


def test_a_record_too_large_loses_its_largest_sections(tmp_path: Path) -> None:
    log = make_log(tmp_path, syscalls=Unsynced())
    record = log.append(
        "outcome",
        {
            "result": {"items": ["x" * 4000 for _ in range(500)], "n": 1.5},
            "actor": {"groups": ["y" * 4000 for _ in range(500)]},
            "why": {f"k{number}": b"not json" for number in range(5000)},
            "action": {"verb": "rollback", "intent_id": "kept"},
        },
    )
    assert len(record.line) <= MAX_LINE_BYTES
    assert record.intent_id == "kept"
    assert record.section("actor")["uid"] == 1000
    assert record.fields["result"] == MASK
    assert verify(tmp_path).ok
    assert AuditRecord.parse(record.line) == record


def test_uuid7_has_the_shape_of_rfc_9562_and_sorts() -> None:
    clock = StepClock()
    frozen = clock.wall

    class Frozen(StepClock):
        def now(self) -> datetime:
            return frozen

    make = Uuid7(Frozen(), seeded())
    ids = [make() for _ in range(10_000)]
    assert ids == sorted(set(ids))
    first = ids[0]
    assert int(first.replace("-", "")[:12], 16) == int(frozen.timestamp() * 1000)
    assert first[14] == "7"
    assert first[19] in "89ab"
