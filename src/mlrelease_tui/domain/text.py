"""Text that came from outside, made safe to show in a terminal.

A model name, tag, log line or error can hold escape sequences that write the clipboard, move the cursor or forge a line.
`SafeText` is made once, at the connector's boundary, and keeps the original in `raw` for calls to the backend.

Facts: ECMA-48 (C0, C1), UAX #9 (bidirectional controls), UAX #44 (default ignorable, format characters).
"""

from __future__ import annotations

import unicodedata
from typing import Final

MAX_LENGTH: Final = 4096
"""Characters that a safe text shows at most; the rest is cut and said so. `raw` keeps all of it."""

_ELLIPSIS: Final = "…"
_MAX_MARKS: Final = 4
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"})
_BLANK: Final = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, *range(0xFE00, 0xFE10), 0xFFA0))
) | frozenset(map(chr, range(0xE0100, 0xE01F0)))
"""Letters and marks that are drawn as nothing (default ignorable, yet of no hidden category): fillers and variation selectors. A
name with one of them looks like the name without it, and what a terminal makes as wide as is nobody's to know."""
_SHORT: Final = {
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\x00": "\\0",
    "\x1b": "\\e",
    "\x07": "\\a",
    "\x08": "\\b",
}


def _visible(char: str) -> str:
    short = _SHORT.get(char)
    if short is not None:
        return short
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def is_hidden(char: str) -> bool:
    """Whether a terminal would act on this character, or show nothing for it, instead of drawing it."""
    if " " <= char <= "~":
        return False
    return char in _BLANK or unicodedata.category(char) in _HIDDEN_CATEGORIES


def escape_hidden(text: str, *, goes_on: bool = False) -> str:
    """`text` with every control, bidi, zero-width, surrogate, blank and unassigned character as a visible escape.

    More than four combining marks on one character are cut: they would draw over the lines around them. A mark on no character is
    an escape too: it would be drawn on what stands before the text, unless the text `goes_on` from another one.
    """
    if text.isascii() and text.isprintable():
        return text
    out: list[str] = []
    marks = 0 if goes_on else -1
    for char in text:
        if is_hidden(char):
            out.append(_visible(char))
            marks = -1
        elif not _is_mark(char):
            out.append(char)
            marks = 0
        elif marks < 0:
            out.append(_visible(char))
        elif marks < _MAX_MARKS:
            out.append(char)
            marks += 1
    return "".join(out)


def _is_mark(char: str) -> bool:
    return bool(unicodedata.combining(char)) or unicodedata.category(char) in {"Mn", "Me"}


class SafeText(str):
    """A string with no character that a terminal acts on; `raw` is what the backend said.

    Comparing and hashing use the shown form, which is what a person confirmed. Two hostile names can share a shown form (a real
    escape character and a literal backslash-e); calls to backends use `raw`, so they never mix the two up.
    """

    __slots__ = ("raw",)

    raw: str

    def __new__(cls, text: object = "", *, limit: int = MAX_LENGTH) -> SafeText:
        if isinstance(text, SafeText):
            return text
        raw = text if isinstance(text, str) else str(text)
        cut = raw if len(raw) <= limit else raw[:limit]
        shown = escape_hidden(cut)
        if len(raw) > limit:
            shown += f"{_ELLIPSIS} ({len(raw)} characters)"
        self = super().__new__(cls, shown)
        self.raw = raw
        return self

    def __reduce__(self) -> tuple[type[SafeText], tuple[str]]:
        return (SafeText, (self.raw,))


EMPTY: Final = SafeText("")


def raw(text: str) -> str:
    """What the backend called it: `.raw` of a safe text, the text itself otherwise."""
    return text.raw if isinstance(text, SafeText) else text
