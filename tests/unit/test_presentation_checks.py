"""The lines that tell of a backend's own checks."""

from __future__ import annotations

from mlrelease_tui.domain.rollout import Gate, GateResult
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.presentation.checks import LIMIT, check_lines
from mlrelease_tui.presentation.glyphs import ASCII


def told(*gates: Gate, cells: int = 80) -> list[str]:
    return ["".join(span.text for span in row) for row in check_lines(gates, ASCII, cells)]


def test_a_check_says_what_it_came_to_and_what_it_measured() -> None:
    failed = Gate(SafeText("errors\x1b[2J"), GateResult.FAILED, SafeText("0.93"), SafeText("below 0.95"))
    (row,) = told(failed)
    assert row.split() == ["check", "errors\\e[2J", *row.split()[2:3], "failed", "measured", "0.93", "below", "0.95"]
    assert len(told(failed, cells=20)[0]) <= 20


def test_a_terminated_check_is_never_called_passed() -> None:
    (row,) = told(Gate(SafeText("errors"), GateResult.TERMINATED))
    assert "terminated" in row
    assert "passed" not in row


def test_the_newest_are_shown_and_the_rest_is_counted() -> None:
    gates = [Gate(SafeText(f"run-{index}"), GateResult.PASSED) for index in range(LIMIT + 3)]
    rows = told(*gates)
    assert "3 older" in rows[0]
    assert f"run-{LIMIT + 2}" in rows[-1]
    assert len(rows) == LIMIT + 1
