"""Consent at a real terminal: neither impatience nor a paste is one."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.e2e.cli_host import Shell, moving

pytestmark = pytest.mark.e2e


class Terminal:
    """A command whose stdin and stderr are a terminal; its stdout goes to a file."""

    def __init__(self, shell: Shell, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self._said = b""
        self.out = shell.home / "stdout"
        with self.out.open("wb") as stdout:
            self.process = subprocess.Popen(
                shell.arguments(*arguments),
                stdin=slave,
                stdout=stdout,
                stderr=slave,
                env=shell.environment | {"TERM": "xterm"},
                start_new_session=True,
            )
        os.close(slave)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str, within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while text.encode() not in self._said:
            assert time.monotonic() < deadline, self._said
            self._read(0.2)

    @property
    def said(self) -> str:
        return self._said.decode()

    def _read(self, within_s: float) -> None:
        if select.select([self._master], [], [], within_s)[0]:
            try:
                self._said += os.read(self._master, 65_536)
            except OSError:
                return

    def finish(self, *, typing: str = "", within_s: float = 60.0) -> int:
        """The exit code. `typing` is typed again each second until the program ends: what comes too early is thrown away."""
        deadline = time.monotonic() + within_s
        next_at = 0.0
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self._said
            if typing and time.monotonic() >= next_at:
                self.type(typing)
                next_at = time.monotonic() + 1.0
            self._read(0.1)
        os.close(self._master)
        return self.process.returncode


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home").play(cluster=moving())


def intents(shell: Shell) -> int:
    return len(shell.run("audit", "list", "--kind", "intent", "--json").document["records"])


def test_a_y_after_the_question_is_consent(shell: Shell) -> None:
    terminal = Terminal(shell, "rollback", "iris")
    terminal.wait_for("[y/N]")
    assert terminal.finish(typing="y\n") == 0
    assert "APPLIED" in terminal.out.read_text()
    assert intents(shell) == 1


def test_whoever_is_asked_sees_the_plan_wherever_stdout_goes(shell: Shell) -> None:
    terminal = Terminal(shell, "rollback", "iris")
    terminal.wait_for("[y/N]")
    shown = terminal.said.partition("[y/N]")[0].replace("\r\n", "\n")
    assert terminal.finish(typing="\n") == 4
    plan = terminal.out.read_text()
    assert plan.startswith("PLAN roll back iris to 2")
    assert plan in shown


def test_enter_alone_is_no(shell: Shell) -> None:
    terminal = Terminal(shell, "rollback", "iris")
    terminal.wait_for("[y/N]")
    assert terminal.finish(typing="\n") == 4
    assert intents(shell) == 0


def test_what_was_typed_before_the_question_counts_for_nothing(shell: Shell) -> None:
    terminal = Terminal(shell, "rollback", "iris")
    terminal.type("y\ny\n")
    terminal.wait_for("[y/N]")
    terminal.type("y\n")
    # That y came at once: it is thrown away as well, and the question is still open.
    assert terminal.finish(typing="\n") == 4
    assert intents(shell) == 0


def test_a_paste_is_no_consent(shell: Shell) -> None:
    terminal = Terminal(shell, "rollback", "iris")
    terminal.wait_for("[y/N]")
    assert terminal.finish(typing="y\n" * 1000) == 4
    assert intents(shell) == 0


def test_in_production_the_name_and_a_reason_are_asked_for(shell: Shell) -> None:
    shell.play(cluster=moving(environment="production"))
    terminal = Terminal(shell, "promote", "iris", "--full")
    terminal.wait_for("type iris to confirm")
    assert terminal.finish(typing="y\n") == 4
    terminal = Terminal(shell, "promote", "iris", "--full", "--reason", "CHG-1")
    terminal.wait_for("type iris to confirm")
    assert terminal.finish(typing="iris\n") == 0


def test_ctrl_c_at_the_question_sends_nothing(shell: Shell) -> None:
    terminal = Terminal(shell, "rollback", "iris")
    terminal.wait_for("[y/N]")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.finish() == 130
    assert intents(shell) == 0
