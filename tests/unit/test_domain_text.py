"""Text from outside: no character that a terminal acts on survives, and nothing is lost for the backend."""

from __future__ import annotations

import copy
import pickle
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrelease_tui.domain.text import MAX_LENGTH, SafeText, escape_hidden, is_hidden, raw

any_text = st.text(st.characters(), max_size=200)
acting = st.characters(categories=["Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"])


@given(any_text)
def test_nothing_that_a_terminal_acts_on_survives(text: str) -> None:
    shown = str(SafeText(text))
    for char in shown:
        assert unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"}
    assert "\n" not in shown


@given(st.text(acting, min_size=1, max_size=20))
def test_what_is_hidden_is_made_visible(text: str) -> None:
    shown = str(SafeText(text))
    assert len(shown) > len(text)
    assert shown.startswith("\\")


@given(any_text)
def test_the_backend_gets_back_what_it_said(text: str) -> None:
    assert raw(SafeText(text)) == text
    assert raw(SafeText(SafeText(text))) == text
    assert raw(text) == text


@given(any_text)
def test_making_it_safe_twice_is_the_same(text: str) -> None:
    once = SafeText(text)
    assert SafeText(once) is once
    assert escape_hidden(str(once)) == str(once)


@given(any_text)
def test_it_survives_a_copy(text: str) -> None:
    safe = SafeText(text)
    for other in (copy.copy(safe), copy.deepcopy(safe), pickle.loads(pickle.dumps(safe))):
        assert (str(other), other.raw) == (str(safe), text)
        assert isinstance(other, SafeText)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("", ""),
        ("naïve café ✓ 模型", "naïve café ✓ 模型"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b]52;c;QUJD\x07", "\\e]52;c;QUJD\\a"),
        ("\x9b31m", "\\x9b31m"),
        ("\x00\x7f\x08", "\\0\\x7f\\b"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("line\u2028para\u2029", "line\\u2028para\\u2029"),
        ("\ud800", "\\ud800"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("fraud\ufe0f", "fraud\\ufe0f"),
        ("fraud\U000e0101", "fraud\\U000e0101"),
        ("a\u3164b\uffa0\u115f\u1160", "a\\u3164b\\uffa0\\u115f\\u1160"),
        ("join\u034fed \u180b", "join\\u034fed \\u180b"),
        ("\u0301on nothing", "\\u0301on nothing"),
        ("\u200b\u0301", "\\u200b\\u0301"),
        ("e\u0301 \u0e01\u0e47", "e\u0301 \u0e01\u0e47"),
        ("[@click=app.quit]x[/]", "[@click=app.quit]x[/]"),
        ("[TODO] $x", "[TODO] $x"),
    ],
)
def test_how_it_looks(text: str, shown: str) -> None:
    assert str(SafeText(text)) == shown


def test_a_pile_of_combining_marks_is_cut_and_kept_for_the_backend() -> None:
    piled = "e" + "\u0301" * 1000
    safe = SafeText(piled)
    assert str(safe) == "e" + "\u0301" * 4
    assert safe.raw == piled


def test_a_mark_that_goes_on_from_a_text_has_its_letter_there() -> None:
    assert escape_hidden("\u0e47", goes_on=True) == "\u0e47"
    assert escape_hidden("\u0e47") == "\\u0e47"


def test_a_long_text_is_cut_and_says_so() -> None:
    long = "x" * (MAX_LENGTH + 1)
    safe = SafeText(long)
    assert str(safe) == "x" * MAX_LENGTH + f"… ({MAX_LENGTH + 1} characters)"
    assert safe.raw == long
    assert str(SafeText("x" * MAX_LENGTH)) == "x" * MAX_LENGTH


def test_a_megabyte_is_quick_to_make_safe() -> None:
    safe = SafeText("\x1b[31m" * 200_000)
    assert len(str(safe)) < 8 * MAX_LENGTH
    assert len(safe.raw) == 1_000_000


def test_anything_can_be_made_text() -> None:
    assert str(SafeText(7)) == "7"
    assert str(SafeText(None)) == "None"
    assert str(SafeText(ValueError("a\x1bb"))) == "a\\eb"


def test_comparing_uses_what_a_person_saw() -> None:
    real, literal = SafeText("\x1b"), SafeText("\\e")
    assert real == literal
    assert hash(real) == hash(literal)
    assert real.raw != literal.raw


def test_printable_ascii_is_never_hidden() -> None:
    assert [chr(code) for code in range(32, 127) if is_hidden(chr(code))] == []
