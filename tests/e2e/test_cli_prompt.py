"""Secrets that are asked for at a terminal: one after another, never shown, never to another server, and Ctrl-C ends it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.e2e.cli_host import Shell

pytestmark = pytest.mark.e2e


class Server:
    """A registry without models that keeps who came with which credential."""

    def __init__(self) -> None:
        self.came: set[str | None] = set()
        came = self.came

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                came.add(self.headers.get("Authorization"))
                body = b'{"registered_models": []}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    both = Server(), Server()
    yield both
    for server in both:
        server.stop()


@pytest.fixture
def shell(tmp_path: Path, servers: tuple[Server, Server]) -> Shell:
    shell = Shell(tmp_path / "home")
    tables = [
        f'[connections.{name}]\nkind = "mlflow"\nurl = "{server.url}"\ncredential = {{ prompt = true }}\n'
        for name, server in zip(("first", "second"), servers, strict=True)
    ]
    shell.configure(f'state_dir = "{shell.home}/state"\n' + "".join(tables))
    return shell


class Terminal:
    """A command with a terminal of its own, which is its controlling one: passwords are read from there."""

    def __init__(self, shell: Shell, *arguments: str) -> None:
        self._master, self._slave = pty.openpty()
        self.shown = b""
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *shell.arguments(*arguments)],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env=shell.environment | {"TERM": "xterm"},
        )

    def type(self, text: bytes) -> None:
        os.write(self._master, text)

    def until(self, text: bytes) -> None:
        deadline = time.monotonic() + 60
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            assert self._read() or self.process.poll() is None, self.shown

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self._slave)[3] & termios.ECHO)

    def ended(self, *, close: bool = True) -> int:
        deadline = time.monotonic() + 60
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.shown
            self._read()
        while self._read():
            pass
        if close:
            self.close()
        return self.process.returncode

    def close(self) -> None:
        os.close(self._master)
        os.close(self._slave)

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 0.1)[0]:
            return False
        try:
            found = os.read(self._master, 65_536)
        except OSError:
            return False
        self.shown += found
        return bool(found)


def test_each_secret_is_asked_for_alone_and_goes_to_its_own_server(
    shell: Shell, servers: tuple[Server, Server]
) -> None:
    terminal = Terminal(shell, "models")
    terminal.until(b"credential for first: ")
    assert b"second" not in terminal.shown, "two questions at once"
    terminal.type(b"s3cret-first\n")
    terminal.until(b"credential for second: ")
    terminal.type(b"s3cret-second\n")
    assert terminal.ended() == 0, terminal.shown
    assert b"s3cret" not in terminal.shown
    assert [server.came for server in servers] == [{"Bearer s3cret-first"}, {"Bearer s3cret-second"}]


def test_ctrl_c_at_the_question_ends_it(shell: Shell, servers: tuple[Server, Server]) -> None:
    terminal = Terminal(shell, "models")
    terminal.until(b"credential for first: ")
    terminal.type(b"\x03")
    assert terminal.ended() == 130
    assert [server.came for server in servers] == [set(), set()]


def test_sigterm_at_the_question_leaves_a_terminal_that_shows_what_is_typed(shell: Shell) -> None:
    terminal = Terminal(shell, "models")
    terminal.until(b"credential for first: ")
    assert not terminal.echoes()
    terminal.process.terminate()
    assert terminal.ended(close=False) == 143
    assert terminal.echoes()
    terminal.close()


def test_only_what_is_needed_is_asked_for(shell: Shell, servers: tuple[Server, Server]) -> None:
    listed = Terminal(shell, "connections", "list")
    assert listed.ended() == 0
    assert b"credential for" not in listed.shown
    tested = Terminal(shell, "connections", "test", "second")
    tested.until(b"credential for second: ")
    tested.type(b"s3cret-second\n")
    assert tested.ended() in {0, 3}, tested.shown
    assert b"credential for first" not in tested.shown
    assert servers[0].came == set()


def test_whoever_types_nothing_is_nobody(shell: Shell, servers: tuple[Server, Server]) -> None:
    terminal = Terminal(shell, "models")
    terminal.until(b"credential for first: ")
    terminal.type(b"\n")
    terminal.until(b"credential for second: ")
    terminal.type(b"s3cret-second\n")
    assert terminal.ended() == 2, "a credential that is missing"
    assert b"nobody answered" in terminal.shown
    assert [server.came for server in servers] == [set(), {"Bearer s3cret-second"}]
