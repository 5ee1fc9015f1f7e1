"""The last look at every character before the terminal: what it would act on does not pass.

Data is `SafeText` long before; this is the second wall. Textual itself passes C0, C1 and bidirectional characters through every
widget, markup or not.
"""

from __future__ import annotations

import re
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_ACTING: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u034f\u061c\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
)
_PLAIN: Final = str.maketrans({"…": "~", "—": "-", "–": "-", "→": ">", "’": "'", "“": '"', "”": '"', "·": "."})


class SafeOutput(LineFilter):
    """Removes C0, C1, bidirectional and zero-width characters; with `ascii` also writes what is not ASCII as "?". A text stays as
    wide as it was laid out: characters that made others wider or joined them are gone, and no column moves for it."""

    def __init__(self, *, ascii: bool = False) -> None:
        super().__init__()
        self._ascii = ascii

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment
            if segment.control or (segment.text.isascii() and segment.text.isprintable())
            else Segment(self.clean(segment.text), segment.style)
            for segment in segments
        ]

    def clean(self, text: str) -> str:
        cleaned = _ACTING.sub("", text)
        if self._ascii and not cleaned.isascii():
            cleaned = "".join(char if char.isascii() else "?" * cell_len(char) for char in cleaned.translate(_PLAIN))
        return set_cell_size(cleaned, cell_len(text))
