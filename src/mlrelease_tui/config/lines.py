"""On which line of a TOML document each key stands.

`tomllib` gives values without positions. This walk over the same text notes where every key and every table header begins, so
that an error can name its line. It reads the grammar of TOML 1.0 (keys, dotted keys, tables, arrays of tables, inline tables,
four kinds of strings) and leaves judging values to `tomllib`: at the first thing that it cannot place it stops, and what it has
seen up to there stays true.
"""

from __future__ import annotations

import bisect
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

KeyPath = tuple[str | int, ...]
"""Keys from the root, with the index of the element where an array lies between: `("bindings", 0, "model")`."""

MAX_DEPTH: Final = 24
"""Parts of a key path and nested values at most. `tomllib` spends the square of a dotted key's length and recurses per bracket."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]+")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
_LONG_BASIC = re.compile(r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''.*?'''(?:'{0,2})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class KeyLines:
    """Lines (1-based) of a document's keys.

    `first` has every path, the implied ones (`a` of `a.b = 1`) among them. `repeated` is the first key or table header that
    the document gives twice, with both lines. `too_deep` is the line of a path or value nested deeper than `MAX_DEPTH`, or 0.
    """

    first: Mapping[KeyPath, int]
    repeated: tuple[KeyPath, int, int] | None = None
    too_deep: int = 0

    def line_of(self, path: KeyPath) -> int:
        """The line of `path`, or of the nearest table around it that the document names; 0 where it names none."""
        for length in range(len(path), 0, -1):
            line = self.first.get(path[:length])
            if line is not None:
                return line
        return 0


class _Lost(Exception):
    """The text here is not what the grammar allows."""


class _TooDeep(Exception):
    pass


@dataclass(slots=True)
class _Walk:
    text: str
    at: int = 0
    first: dict[KeyPath, int] = field(default_factory=dict)
    given: dict[KeyPath, int] = field(default_factory=dict)
    repeated: tuple[KeyPath, int, int] | None = None
    elements: dict[KeyPath, int] = field(default_factory=dict)
    newlines: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.newlines = [index for index, char in enumerate(self.text) if char == "\n"]

    def line(self, at: int) -> int:
        return bisect.bisect_left(self.newlines, at) + 1

    def document(self) -> None:
        table: KeyPath = ()
        while True:
            self.match(_BLANK_LINES)
            if self.at >= len(self.text):
                return
            if self.text.startswith("[[", self.at):
                table = self.header("[[", "]]")
            elif self.text.startswith("[", self.at):
                table = self.header("[", "]")
            else:
                self.pair(table, depth=0)

    def header(self, opening: str, closing: str) -> KeyPath:
        line = self.line(self.at)
        self.at += len(opening)
        keys = self.key()
        self.expect(closing)
        path: KeyPath = ()
        for index, key in enumerate(keys):
            path = self.note((*path, key), line)
            last = index == len(keys) - 1
            if last and opening == "[[":
                self.elements[path] = self.elements.get(path, 0) + 1
            elif last:
                self.give(path, line)
            if path in self.elements:
                path = self.note((*path, self.elements[path] - 1), line)
        return path

    def pair(self, table: KeyPath, depth: int) -> None:
        line = self.line(self.at)
        path = table
        for key in self.key():
            path = self.note((*path, key), line)
        self.give(path, line)
        self.expect("=")
        self.value(path, depth)

    def key(self) -> list[str]:
        keys: list[str] = []
        while True:
            self.match(_BLANK)
            if bare := self.match(_BARE_KEY):
                keys.append(bare)
            elif quoted := self.match(_BASIC) or self.match(_LITERAL):
                keys.append(_unquote(quoted))
            else:
                raise _Lost
            if len(keys) > MAX_DEPTH:
                raise _TooDeep
            self.match(_BLANK)
            if not self.text.startswith(".", self.at):
                return keys
            self.at += 1

    def value(self, path: KeyPath, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _TooDeep
        self.match(_BLANK)
        char = self.text[self.at : self.at + 1]
        if char == "[":
            self.array(path, depth)
        elif char == "{":
            self.inline_table(path, depth)
        elif char == '"':
            self.require(_LONG_BASIC if self.text.startswith('"""', self.at) else _BASIC)
        elif char == "'":
            self.require(_LONG_LITERAL if self.text.startswith("'''", self.at) else _LITERAL)
        else:
            self.require(_SCALAR)

    def array(self, path: KeyPath, depth: int) -> None:
        self.at += 1
        index = 0
        while True:
            self.match(_BLANK_LINES)
            if self.take("]"):
                return
            self.value(self.note((*path, index), self.line(self.at)), depth + 1)
            index += 1
            self.match(_BLANK_LINES)
            if not self.take(","):
                self.expect("]")
                return

    def inline_table(self, path: KeyPath, depth: int) -> None:
        self.at += 1
        self.match(_BLANK)
        if self.take("}"):
            return
        while True:
            self.match(_BLANK)
            self.pair(path, depth + 1)
            self.match(_BLANK)
            if not self.take(","):
                self.expect("}")
                return

    def note(self, path: KeyPath, line: int) -> KeyPath:
        if len(path) > MAX_DEPTH:
            raise _TooDeep
        self.first.setdefault(path, line)
        return path

    def give(self, path: KeyPath, line: int) -> None:
        if path in self.given and self.repeated is None:
            self.repeated = (path, self.given[path], line)
        self.given.setdefault(path, line)

    def match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found.group()

    def require(self, pattern: re.Pattern[str]) -> None:
        if not self.match(pattern):
            raise _Lost

    def take(self, char: str) -> bool:
        if self.text.startswith(char, self.at):
            self.at += len(char)
            return True
        return False

    def expect(self, char: str) -> None:
        self.match(_BLANK)
        if not self.take(char):
            raise _Lost


def _unquote(quoted: str) -> str:
    try:
        value = tomllib.loads(f"key = {quoted}")["key"]
    except tomllib.TOMLDecodeError:
        raise _Lost from None
    return str(value)


def locate(text: str) -> KeyLines:
    """Walk `text` (TOML, newlines as `\\n`) and tell the lines of its keys. Never raises on bad text: it tells less."""
    walk = _Walk(text)
    too_deep = 0
    try:
        walk.document()
    except _Lost:
        pass
    except _TooDeep:
        too_deep = walk.line(walk.at)
    return KeyLines(MappingProxyType(walk.first), walk.repeated, too_deep)
