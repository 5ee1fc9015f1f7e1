"""Where a command's words go. Results to stdout, all else to stderr; nothing that a terminal would act on but our own colours."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TextIO

from mlrelease_tui.domain.text import escape_hidden
from mlrelease_tui.errors import UsageError
from mlrelease_tui.presentation.glyphs import ASCII, UNICODE, Glyphs, wants_ascii
from mlrelease_tui.presentation.lines import Line, Role, Span, fit, plain, width_of

_SGR: Final[Mapping[Role, str]] = MappingProxyType(
    {
        Role.STRONG: "1",
        Role.TITLE: "1",
        Role.MUTED: "2",
        Role.HEADING: "1",
        Role.CRIT: "1;31",
        Role.WARN: "33",
        Role.WAIT: "36",
        Role.HOLD: "36",
        Role.STALE: "2",
        Role.UNKNOWN: "2",
        Role.OK: "32",
        Role.CANARY: "36",
    }
)


class Unwritable(UsageError):
    """Stdout takes nothing more, and not because its reader went away: a full disk, most often."""


@dataclass(slots=True)
class Output:
    """One command's output. `color` and `glyphs` were decided from the terminal; `as_json` asks for documents."""

    stdout: TextIO
    stderr: TextIO
    as_json: bool
    color: bool
    glyphs: Glyphs

    @classmethod
    def of_process(
        cls, *, as_json: bool, no_color: bool, plain: bool = False, environ: Mapping[str, str] = os.environ
    ) -> Output:
        """What fits the process's own streams: colours only on a terminal that has them, ASCII where the encoding wants it."""
        for stream in (sys.stdout, sys.stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors="backslashreplace")
        wanted = not (no_color or plain or environ.get("NO_COLOR") or environ.get("TERM") == "dumb")
        ascii_only = plain or wants_ascii(environ, sys.stdout.encoding or "")
        color = wanted and sys.stdout.isatty()
        return cls(sys.stdout, sys.stderr, as_json, color, ASCII if ascii_only else UNICODE)

    # --- results ------------------------------------------------------------------------------------------------------

    def line(self, content: Line | str = "") -> None:
        """One line of text. BrokenPipeError where nobody reads any more, Unwritable where it can't be written."""
        with _writing():
            self.stdout.write(self._shown(content) + "\n")
            self.stdout.flush()

    def lines(self, contents: Iterable[Line | str]) -> None:
        for content in contents:
            self.line(content)

    def document(self, content: Mapping[str, object]) -> None:
        """One JSON object on one line, in ASCII, so that it holds no character that a terminal acts on."""
        text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(", ", ": "))
        with _writing():
            self.stdout.write(text.replace("\x7f", "\\u007f") + "\n")
            self.stdout.flush()

    def exact(self, lines: Iterable[str]) -> None:
        """Lines as they are, byte for byte, so that their hashes hold; on a terminal with nothing in them that it acts on."""
        on_screen = self.stdout.isatty()
        for line in lines:
            shown = escape_hidden(line) if on_screen else line
            with _writing():
                self.stdout.buffer.write(shown.encode("utf-8", "backslashreplace") + b"\n")
        with _writing():
            self.stdout.buffer.flush()

    # --- beside the results -------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """A line for a person, beside the results. That nobody reads it is no reason to stop."""
        with suppress(OSError, ValueError):
            self.stderr.write(escape_hidden(text) + "\n")
            self.stderr.flush()

    # --- beneath ------------------------------------------------------------------------------------------------------

    def _shown(self, content: Line | str) -> str:
        if isinstance(content, str):
            return escape_hidden(content)
        return "".join(self._painted(span) for span in content).rstrip()

    def _painted(self, span: Span) -> str:
        text = escape_hidden(span.text)
        code = _SGR.get(span.role) if self.color and text.strip() else None
        return f"\x1b[{code}m{text}\x1b[0m" if code else text


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unwritable(f"the answer can't be written to stdout: {error.strerror}") from error


Cell = Span | str


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]], *, right: frozenset[int] = frozenset()) -> list[Line]:
    """Columns as wide as their widest cell, two spaces apart; those in `right` are aligned to the right."""
    every: list[list[Span]] = [[Span(name, Role.MUTED) for name in header]]
    every += [[cell if isinstance(cell, Span) else Span(cell) for cell in row] for row in rows]
    every = [[Span(escape_hidden(cell.text), cell.role) for cell in row] for row in every]
    widths = [max(width_of((row[index],)) for row in every) for index in range(len(header))]
    lines: list[Line] = []
    for row in every:
        cells: list[Span] = []
        for index, cell in enumerate(row):
            last = index == len(row) - 1 and index not in right
            text = cell.text if last else fit(cell.text, widths[index], right=index in right) + "  "
            cells.append(Span(text, cell.role))
        lines.append(tuple(cells))
    return lines


def text_of(content: Line) -> str:
    """The words of a line, without colours or padding at its end."""
    return plain(content).rstrip()
