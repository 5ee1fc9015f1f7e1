"""A program in a real pseudo-terminal: what it sends is counted, timed and drawn on a screen that can be read.

`Terminal` forks the program into a pty of a given size, answers the queries that Textual asks of a terminal, and keeps every byte.
All waiting is for a condition, with a deadline. Used by the tests of the terminal, end to end, and by the benchmarks.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import pyte

ENVIRONMENT: Final = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
_QUERY_SYNC: Final = b"\x1b[?2026$p"
_ANSWER_SYNC: Final = b"\x1b[?2026;2$y"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes that came in one read, and when (seconds, monotonic)."""

    at: float
    data: bytes


class Timeout(AssertionError):
    """What was waited for did not come; the message ends with the screen."""


class Terminal:
    """Runs `command`. `reads_per_s` throttles reading to so many bytes a second (None reads at once).

    Use as a context manager: the program is killed at the end.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        environ: Mapping[str, str] | None = None,
        cwd: str | None = None,
        reads_per_s: int | None = None,
    ) -> None:
        self.columns = columns
        self.rows = rows
        self.chunks: list[Chunk] = []
        self.started_at = time.monotonic()
        self.exit_code: int | None = None
        self._rate = reads_per_s
        self._allowance_at = self.started_at
        self._screen: Any = pyte.Screen(columns, rows)
        self._stream: Any = pyte.ByteStream(self._screen)
        self._unanswered = b""
        given = {**os.environ, **ENVIRONMENT, **(environ or {})}
        for name in ("COLUMNS", "LINES", "TMUX", "SSH_CONNECTION", "NO_COLOR", "COLORTERM"):
            if name not in (environ or {}):
                given.pop(name, None)
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            try:
                if cwd is not None:
                    os.chdir(cwd)
                # The size must stand before the program asks for it.
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execvpe(command[0], list(command), given)
            finally:
                os._exit(127)
        os.set_blocking(self._fd, False)

    # --- sending

    def send(self, text: str | bytes) -> float:
        """Type; returns when."""
        data = text.encode() if isinstance(text, str) else text
        at = time.monotonic()
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                self.pump(0.05)
        return at

    def paste(self, text: str) -> float:
        """A bracketed paste."""
        return self.send(f"\x1b[200~{text}\x1b[201~")

    def resize(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def hang_up(self) -> None:
        """Close our side, as a dropped connection does."""
        os.close(self._fd)
        self._fd = -1

    # --- receiving

    def pump(self, seconds: float) -> int:
        """Read for so long; returns the bytes that came."""
        before = self.total
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not self._read(left):
                break
        return self.total - before

    def _read(self, timeout: float) -> bool:
        """One read, waiting at most `timeout`; False when the program closed its side."""
        if self._fd < 0:
            return False
        size = 65536
        if self._rate is not None:
            size = max(self._rate // 20, 1)
            wait = self._allowance_at - time.monotonic()
            if wait > 0:
                time.sleep(min(wait, timeout))
                return True
        ready, _, _ = select.select([self._fd], [], [], max(timeout, 0))
        if not ready:
            return True
        try:
            data = os.read(self._fd, size)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        if self._rate is not None:
            self._allowance_at = time.monotonic() + len(data) / self._rate
        self.chunks.append(Chunk(time.monotonic(), data))
        self._stream.feed(data)
        self._answer(data)
        return True

    def _answer(self, data: bytes) -> None:
        """What a terminal answers to: whether it knows synchronized output."""
        seen = self._unanswered + data
        count = seen.count(_QUERY_SYNC)
        for _ in range(count):
            os.write(self._fd, _ANSWER_SYNC)
        tail = seen.rsplit(_QUERY_SYNC, 1)[-1] if count else seen
        self._unanswered = tail[-(len(_QUERY_SYNC) - 1) :]

    @property
    def total(self) -> int:
        """Bytes received so far."""
        return sum(len(chunk.data) for chunk in self.chunks)

    @property
    def received(self) -> bytes:
        return b"".join(chunk.data for chunk in self.chunks)

    @property
    def lines(self) -> list[str]:
        """The screen as it is now, a line a row, without trailing blanks."""
        return [row.rstrip() for row in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def cursor_hidden(self) -> bool:
        return bool(self._screen.cursor.hidden)

    def wait(self, condition: Callable[[Terminal], bool], what: str = "", timeout: float = 20.0) -> float:
        """Read until the condition holds; returns when the last bytes before that came. Raises Timeout with the screen."""
        deadline = time.monotonic() + timeout
        while not condition(self):
            if time.monotonic() > deadline:
                raise Timeout(f"{what or 'the condition'} did not come in {timeout} s. The screen:\n{self.text}")
            if not self._read(0.05) and not condition(self):
                raise Timeout(f"the program ended before {what or 'the condition'}. The screen:\n{self.text}")
        return self.chunks[-1].at if self.chunks else time.monotonic()

    def wait_for(self, text: str, timeout: float = 20.0) -> float:
        return self.wait(lambda terminal: text in terminal.text, repr(text), timeout)

    def wait_quiet(self, quiet: float = 0.3, timeout: float = 20.0) -> None:
        """Read until nothing comes for `quiet` seconds."""
        deadline = time.monotonic() + timeout
        while self.pump(quiet):
            if time.monotonic() > deadline:
                raise Timeout(f"it never got quiet. The screen:\n{self.text}")

    def bytes_of(self, act: Callable[[], object], quiet: float = 0.4) -> int:
        """How many bytes come because of `act`, until it is quiet again."""
        self.wait_quiet(quiet)
        before = self.total
        act()
        self.pump(quiet)
        self.wait_quiet(quiet)
        return self.total - before

    @property
    def fd(self) -> int:
        """Our side of the pty."""
        return self._fd

    # --- the end

    def wait_stopped(self, timeout: float = 10.0) -> None:
        """Wait until the program is stopped (SIGTSTP). The screen is cleared as a shell's prompt would scroll it away."""
        deadline = time.monotonic() + timeout
        while True:
            done, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if done and os.WIFSTOPPED(status):
                break
            if time.monotonic() > deadline:
                raise Timeout(f"it was not stopped in {timeout} s")
            self.pump(0.02)
        self.pump(0.1)
        self._screen.reset()

    def wait_exit(self, timeout: float = 10.0) -> int:
        """Read until the program ended; its exit code, or minus the signal."""
        deadline = time.monotonic() + timeout
        while self.exit_code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.exit_code = os.waitstatus_to_exitcode(status)
                break
            if time.monotonic() > deadline:
                raise Timeout(f"it did not end in {timeout} s. The screen:\n{self.text}")
            if not self._read(0.02):
                time.sleep(0.01)
        while self._fd >= 0 and self._read(0.02):
            if not select.select([self._fd], [], [], 0)[0]:
                break
        return self.exit_code

    def close(self) -> None:
        if self.exit_code is None:
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self.exit_code = os.waitstatus_to_exitcode(status)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
