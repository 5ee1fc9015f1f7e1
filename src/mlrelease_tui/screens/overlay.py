"""Pages over a view: the help and the explanation. Esc goes back; nothing in them changes anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from textual.app import ComposeResult
from textual.screen import Screen

from mlrelease_tui.presentation.lines import Line, Role, Span, line, spread
from mlrelease_tui.presentation.manual import Section, page
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.bars import Bar
from mlrelease_tui.widgets.sheet import Sheet


class PageScreen(Screen[None]):
    """A page that scrolls. `lines` makes it for a width in cells."""

    BINDINGS = keys.bindings("dialog")
    AUTO_FOCUS = "#page"

    def __init__(self, title: str, lines: Callable[[int], Sequence[Line]]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        yield Bar(id="page-title")
        yield Sheet(id="page", focusable=True)

    def on_mount(self) -> None:
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        cells = max(self.size.width, 40)
        bar = self.query_one("#page-title", Bar)
        bar.show([spread(line(Span(f" {self._title}", Role.TITLE)), line(Span("Esc closes ", Role.MUTED)), cells)])
        self.query_one("#page", Sheet).show(self._lines(cells))

    def action_close(self) -> None:
        self.dismiss()


def sections(scopes: Sequence[str], keymap: Mapping[str, str]) -> list[Section]:
    """The catalogue's entries of these scopes under their current keys."""
    return [
        (
            keys.SCOPES[scope],
            [
                (" ".join(keys.display(key) for key in keys.keys_of(item.id, keymap)), item.text, item.word)
                for item in keys.of(scope)
            ],
        )
        for scope in scopes
    ]


def help_page(scopes: Sequence[str], keymap: Mapping[str, str]) -> Callable[[int], Sequence[Line]]:
    """What `?` shows on a screen: what is its own first, then plans and menus, what is valid everywhere, and moving about."""
    moving = {"list", "sheet"}
    own = [scope for scope in reversed(scopes) if scope not in moving]
    acting = ("menu", "plan") if "endpoint" in scopes else ()
    wanted = [*own, *acting, "app", *(scope for scope in scopes if scope in moving)]
    return lambda cells: page(sections(wanted, keymap), cells)
