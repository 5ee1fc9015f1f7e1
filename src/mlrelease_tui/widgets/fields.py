"""Fields to type into: what cannot be seen is shown as what it is, as in every text from outside.

What is pasted may hold a character that is drawn as nothing. An alias with one of those would look like another alias on the plan
that is confirmed.
"""

from __future__ import annotations

from textual.events import Paste
from textual.widgets import Input

from mlrelease_tui.domain.text import escape_hidden


class Field(Input):
    """A field whose text is what is seen of it."""

    def replace(self, text: str, start: int, end: int) -> None:
        super().replace(escape_hidden(text, goes_on=start > 0), start, end)


class TypedField(Field):
    """A field that must be typed: what is pasted into it is not an answer."""

    def on_paste(self, event: Paste) -> None:
        event.prevent_default()
        event.stop()
