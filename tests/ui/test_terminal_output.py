"""What really reaches a terminal, read from a pty: how many bytes, which escape sequences, and what is left behind at the end."""

from __future__ import annotations

import re
import signal
import sys
import termios
from pathlib import Path

import pytest
from tests.ui.pty_harness import Terminal

pytestmark = pytest.mark.real

ROOT = str(Path(__file__).parents[2])
PREVIEW = [sys.executable, "-m", "tests.ui.preview"]


def preview(*arguments: str, columns: int = 80, rows: int = 24, **more: object) -> Terminal:
    return Terminal([*PREVIEW, *arguments], columns=columns, rows=rows, cwd=ROOT, **more)  # type: ignore[arg-type]


def test_nothing_is_sent_while_nothing_changes() -> None:
    with preview("degraded") as terminal:
        terminal.wait_for("fraud-scorer")
        terminal.wait_quiet()
        # Longer than the tick in which ages and the clock are looked at.
        assert terminal.pump(6.0) == 0


def test_a_changed_cell_costs_at_most_300_bytes() -> None:
    with preview("degraded", "--moving") as terminal:
        terminal.wait_for("fraud-scorer")
        terminal.wait_quiet(0.3)
        before, seen = terminal.total, terminal.text
        changes = 0
        while changes < 3:
            terminal.wait(lambda now, last=seen: now.text != last, "a change of the weight")  # type: ignore[misc]
            terminal.wait_quiet(0.3)
            seen = terminal.text
            changes += 1
        assert 0 < (terminal.total - before) / changes <= 300


@pytest.mark.parametrize(("columns", "rows", "limit"), [(80, 24, 4096), (160, 48, 16_384)])
def test_opening_a_plan_is_cheap(columns: int, rows: int, limit: int) -> None:
    with preview("degraded", columns=columns, rows=rows) as terminal:
        terminal.wait_for("fraud-scorer")
        terminal.wait_quiet()
        sent = terminal.bytes_of(lambda: terminal.send("B"))
        assert "PLAN roll back fraud-scorer" in terminal.text
        assert sent <= limit


def test_a_plan_is_usable_in_three_seconds_where_the_terminal_reads_2400_bytes_a_second() -> None:
    with preview("degraded", "--moving", reads_per_s=2400) as terminal:
        terminal.wait_for("Enter open", timeout=30)
        pressed = terminal.send("B")
        shown = terminal.wait_for("[ Cancel ]", timeout=10)
        assert shown - pressed <= 3.0


def test_ten_thousand_rows_are_moved_through_at_once() -> None:
    with preview("many") as terminal:
        terminal.wait_for("endpoint-00000", timeout=40)
        terminal.wait_quiet(0.5, timeout=40)
        at = terminal.send("G")
        assert terminal.wait_for("endpoint-09999") - at < 2.0
        at = terminal.send("g")
        assert terminal.wait_for("endpoint-00000") - at < 2.0


ALLOWED = re.compile(
    rb"\x1b\[[0-9;:?<=>]*[ -/]*[@-~]"  # CSI
    rb"|\x1b\]22;default\x07"  # the shape of the pointer, from Textual itself
    rb"|\x1b[=>78]"
    rb"|\x1b\[\?2026\$p"
)


def test_hostile_names_do_not_drive_the_terminal() -> None:
    with preview("hostile") as terminal:
        terminal.wait_for("[@click")
        for key in "jjjjjjjj":
            terminal.send(key)
        terminal.send("\r")
        terminal.wait_quiet()
        terminal.send("x")
        terminal.wait_quiet()
        left = ALLOWED.sub(b"", terminal.received)
        assert b"\x1b" not in left
        assert b"\x07" not in left
        text = left.decode("utf-8", "replace")
        for char in text:
            assert not "\x80" <= char <= "\x9f"
            assert char not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200c\u200d\ufeff"
        # What a name would have done is on the screen as letters, and the app still stands.
        assert "\\" in terminal.text


def test_mouse_is_off_over_ssh() -> None:
    with preview("healthy", environ={"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}) as terminal:
        terminal.wait_for("churn")
        terminal.wait_quiet()
        assert b"?1003h" not in terminal.received


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_restores_the_terminal(number: signal.Signals, code: int) -> None:
    with preview("healthy") as terminal:
        terminal.wait_for("churn")
        terminal.wait_quiet()
        assert not termios.tcgetattr(terminal.fd)[3] & termios.ICANON
        terminal.signal(number)
        assert terminal.wait_exit(5.0) == code
        assert b"?1049l" in terminal.received
        assert b"?1003l" in terminal.received
        assert termios.tcgetattr(terminal.fd)[3] & termios.ICANON


def test_a_dropped_connection_ends_the_process() -> None:
    with preview("healthy") as terminal:
        terminal.wait_for("churn")
        terminal.wait_quiet()
        terminal.hang_up()
        assert terminal.wait_exit(6.0) in {129, -signal.SIGHUP}


def test_a_crash_shows_no_locals_and_ends_with_1(tmp_path: Path) -> None:
    with preview("healthy", "--crash-dir", str(tmp_path), "--crash", columns=160) as terminal:
        assert terminal.wait_exit(20.0) == 1
        assert "mlrelease stopped: RuntimeError" in terminal.text
        assert str(tmp_path) in terminal.text.replace("\n", "")
        assert b"token-in-a-local" not in terminal.received
        assert b"?1049l" in terminal.received
    (log,) = tmp_path.iterdir()
    assert log.stat().st_mode & 0o777 == 0o600
    text = log.read_text()
    assert "RuntimeError" in text
    assert "token-in-a-local" not in text


def test_ascii_only_where_the_locale_wants_it() -> None:
    with preview("hostile", environ={"LC_ALL": "C", "LANG": "C"}) as terminal:
        terminal.wait_for("[@click")
        terminal.wait_quiet()
        assert terminal.received.isascii()


def test_ascii_only_where_what_is_written_is_not_utf_8() -> None:
    with preview("degraded", environ={"PYTHONIOENCODING": "latin-1", "LANG": "C.UTF-8"}) as terminal:
        terminal.wait_for("fraud-scorer")
        terminal.wait_quiet()
        assert "v41>v42" in terminal.text
        assert b"\\u" not in terminal.received


def test_a_resize_storm_ends_on_a_whole_screen() -> None:
    with preview("degraded") as terminal:
        terminal.wait_for("fraud-scorer")
        for step in range(40):
            columns, rows = [(1, 1), (500, 200), (20, 5), (132, 50)][step % 4]
            terminal.resize(columns, rows)
            terminal.pump(0.01)
        terminal.resize(80, 24)
        terminal.wait(lambda t: t.lines[23].startswith(" Enter"), "the footer in its place")
        terminal.wait_quiet(0.5)
        assert "fraud-scorer" in terminal.text
        assert "READ-ONLY" in terminal.lines[0]
        assert terminal.lines[23].startswith(" Enter")


def test_the_screen_is_whole_after_suspend_and_resume() -> None:
    with preview("degraded") as terminal:
        terminal.wait_for("fraud-scorer")
        terminal.wait_quiet()
        before = terminal.text
        terminal.signal(signal.SIGTSTP)
        terminal.wait_stopped()
        terminal.signal(signal.SIGCONT)
        terminal.wait(lambda now: now.text == before, "the same screen")
