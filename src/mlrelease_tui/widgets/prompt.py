"""One line to type into, docked at the bottom, with suggestions above it. Serves the filter, `:` commands and the palette."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input

from mlrelease_tui.presentation.lines import Line, Role, Span, fit
from mlrelease_tui.widgets.fields import Field
from mlrelease_tui.widgets.keys import bindings
from mlrelease_tui.widgets.sheet import Sheet

MAX_SUGGESTIONS: Final = 6


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What Tab (or Enter in a palette) takes: `text` is typed for the operator, `note` explains it."""

    text: str
    note: str = ""


class Prompt(Vertical):
    """`suggest` gives suggestions for what is typed. With `picks` Enter takes the chosen suggestion, not the typed text."""

    BINDINGS = bindings("prompt")

    @dataclass
    class Typed(Message):
        prompt: Prompt
        text: str

        @property
        def control(self) -> Prompt:
            return self.prompt

    @dataclass
    class Entered(Message):
        prompt: Prompt
        text: str

        @property
        def control(self) -> Prompt:
            return self.prompt

    @dataclass
    class Left(Message):
        prompt: Prompt

        @property
        def control(self) -> Prompt:
            return self.prompt

    def __init__(
        self,
        label: str,
        *,
        value: str = "",
        suggest: Callable[[str], Sequence[Suggestion]] = lambda text: (),
        picks: bool = False,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._label = label
        self._value = value
        self._suggest = suggest
        self._picks = picks
        self._suggestions: tuple[Suggestion, ...] = ()
        self._choice = 0

    def compose(self) -> ComposeResult:
        yield Sheet(id="suggestions")
        with Horizontal(id="entry"):
            label = Sheet(id="label")
            label.styles.width = len(self._label) + 1
            yield label
            field = Field(self._value, compact=True, select_on_focus=False, id="field")
            # A blinking cursor would send bytes on a screen where nothing happens.
            field.cursor_blink = False
            yield field

    def on_mount(self) -> None:
        self.query_one("#label", Sheet).show([(Span(self._label, Role.KEY),)])
        self._propose(self._value)
        self.query_one(Input).focus()

    @property
    def text(self) -> str:
        return self.query_one(Input).value

    @property
    def suggests(self) -> bool:
        """Whether there is something to complete now."""
        return bool(self._suggestions)

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self._propose(event.value)
        self.post_message(self.Typed(self, event.value))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        chosen = self._suggestions[self._choice].text if self._picks and self._suggestions else event.value
        self.post_message(self.Entered(self, chosen))

    def action_leave(self) -> None:
        self.post_message(self.Left(self))

    def action_complete(self) -> None:
        if self._suggestions:
            field = self.query_one(Input)
            field.value = self._suggestions[self._choice].text
            field.cursor_position = len(field.value)

    def action_choice_down(self) -> None:
        self._choose(self._choice + 1)

    def action_choice_up(self) -> None:
        self._choose(self._choice - 1)

    def _choose(self, index: int) -> None:
        self._choice = min(max(index, 0), max(len(self._suggestions) - 1, 0))
        self._draw()

    def _propose(self, text: str) -> None:
        self._suggestions = tuple(self._suggest(text))[:MAX_SUGGESTIONS]
        self._choice = 0
        self._draw()

    def _draw(self) -> None:
        sheet = self.query_one("#suggestions", Sheet)
        rows: list[Line] = []
        for index, item in enumerate(self._suggestions):
            chosen = index == self._choice
            rows.append(
                (
                    Span(" > " if chosen else "   ", Role.KEY),
                    Span(fit(item.text, 30), Role.STRONG if chosen else Role.TEXT),
                    Span(f" {item.note}", Role.MUTED),
                )
            )
        sheet.styles.height = MAX_SUGGESTIONS if rows or self._picks else 0
        sheet.show(rows)
