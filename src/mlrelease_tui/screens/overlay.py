"""Pages over a view: the help, and all that is known of one thing, in tabs. Esc goes back; nothing in them changes anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen

from mlrelease_tui.presentation.lines import Line, Role, Span, cut, line, plain, spread, width_of
from mlrelease_tui.presentation.manual import Section, page
from mlrelease_tui.screens.base import ReleaseScreen
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.bars import Bar
from mlrelease_tui.widgets.sheet import Sheet

Lines = Callable[[int], Sequence[Line]]
"""Makes a page's lines for a width in cells."""


_TITLE_CELLS: Final = 12
"""Below this a title says nothing: what the keys do gives way."""
_TURNS: Final = frozenset({"explain", "describe", "raw", "metrics", "events", "logs"})


class Asked(Protocol):
    """What stands behind a tab that is read for those who look at it."""

    def look(self) -> None:
        """It is looked at."""
        ...

    def again(self) -> None:
        """It is to be read anew."""
        ...

    def leave(self) -> None:
        """The page is closed."""
        ...


class Live(Asked, Protocol):
    """What stands behind a tab that goes on, with keys of its own."""

    @property
    def newest(self) -> object:
        """Another object whenever something newer is to be read."""
        ...

    def heading(self, cells: int) -> Line: ...

    def turn_variant(self) -> None: ...

    def turn_run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Tab:
    """`text` is what is copied, None for the lines as they are. `asked` is read while the tab is looked at; a tab with something
    `live` behind it is shown from its end."""

    name: str
    lines: Lines
    text: Callable[[], str] | None = None
    live: Live | None = None
    asked: Asked | None = None

    @property
    def source(self) -> Asked | None:
        """Whom it asks, if anybody."""
        return self.live or self.asked


class PageScreen(Screen[None]):
    """Pages of text about one thing, one of them shown. They are made anew while the page is open, so that they stay true."""

    BINDINGS = [  # noqa: RUF012
        *keys.bindings("dialog", "page"),
        # The keys that open a page turn to it.
        *(item for item in keys.bindings("endpoint", "thing") if isinstance(item, Binding) and item.action in _TURNS),
        # The app's own key; on a live page it reads that page anew.
        keys.binding("app.refetch"),
    ]
    AUTO_FOCUS = "#page"

    def __init__(self, title: str, tabs: Sequence[Tab], at: str = "") -> None:
        super().__init__()
        self._title = title
        self._tabs = tuple(tabs)
        self._at = next((index for index, tab in enumerate(self._tabs) if tab.name == at), 0)
        self._said = ""
        self._newest: object = None

    def compose(self) -> ComposeResult:
        yield Bar(id="page-title")
        yield Bar(id="page-heading")
        yield Sheet(id="page", focusable=True)

    def on_mount(self) -> None:
        self._look()

    def on_unmount(self) -> None:
        sources = {id(tab.source): tab.source for tab in self._tabs}
        for source in sources.values():
            if source is not None:
                source.leave()

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)

    @property
    def tab(self) -> Tab:
        return self._tabs[self._at]

    def redraw(self) -> None:
        if not self.is_mounted or not self.display:
            return
        cells = max(self.size.width, 40)
        self.query_one("#page-title", Bar).show([self._heading(cells)])
        sheet, live = self.query_one("#page", Sheet), self.tab.live
        if self.tab.source is not None:
            self.tab.source.look()
        sheet.show(self.tab.lines(cells))
        if live is None:
            return
        self.query_one("#page-heading", Bar).show([live.heading(cells)])
        newest = live.newest
        if newest is not self._newest:
            # Who scrolled back to read stays there while more is printed.
            if self._newest is None or sheet.at_end:
                sheet.action_end()
            self._newest = newest

    def _look(self) -> None:
        """Show the tab that was turned to."""
        self.query_one("#page-heading").display = self.tab.live is not None
        self._newest = None
        self.call_after_refresh(self.redraw)

    def _heading(self, cells: int) -> Line:
        names: list[Span | str] = []
        if len(self._tabs) > 1:
            for index, tab in enumerate(self._tabs):
                here = index == self._at
                names += [" ", Span(f"[{tab.name}]" if here else tab.name, Role.KEY if here else Role.MUTED)]
        turn = "[ ] turn  " if len(self._tabs) > 1 else ""
        right = line(Span(f" {self._said or f'{turn}Esc closes'} ", Role.MUTED))
        if not self._said and cells - width_of(line(*names)) - width_of(right) - 3 < _TITLE_CELLS:
            right = line(Span(" Esc closes ", Role.MUTED))
        room = max(cells - width_of(line(*names)) - width_of(right) - 3, 8)
        return spread(line(Span(f" {cut(self._title, room)}", Role.TITLE), " ", *names), right, cells)

    def show_tab(self, name: str) -> None:
        found = next((index for index, tab in enumerate(self._tabs) if tab.name == name), self._at)
        if found != self._at:
            self._at, self._said = found, ""
            self.query_one("#page", Sheet).rewind()
            self._look()

    def _turn(self, by: int) -> None:
        self.show_tab(self._tabs[(self._at + by) % len(self._tabs)].name)

    def action_next_tab(self) -> None:
        self._turn(1)

    def action_previous_tab(self) -> None:
        self._turn(-1)

    def action_explain(self) -> None:
        self.show_tab("why")

    def action_describe(self) -> None:
        self.show_tab("describe")

    def action_raw(self) -> None:
        self.show_tab("raw")

    def action_metrics(self) -> None:
        self.show_tab("metrics")

    def action_events(self) -> None:
        self.show_tab("events")

    def action_logs(self) -> None:
        self.show_tab("logs")

    def action_variant(self) -> None:
        self._turn_live(lambda live: live.turn_variant())

    def action_previous_run(self) -> None:
        self._turn_live(lambda live: live.turn_run())

    def _turn_live(self, turn: Callable[[Live], None]) -> None:
        live = self.tab.live
        if live is not None:
            turn(live)
            self._newest, self._said = None, ""
            self.query_one("#page", Sheet).rewind()
            self.redraw()

    async def action_refetch(self) -> None:
        source = self.tab.source
        if source is None:
            await self.app.run_action("refetch")
            self.say("reading everything again")
        else:
            source.again()
            self._newest = None
            self.say("reading it again")

    def action_copy(self) -> None:
        tab = self.tab
        text = tab.text() if tab.text is not None else "\n".join(plain(row).rstrip() for row in tab.lines(100))
        self.post_message(ReleaseScreen.Copy(text, f"this page ({tab.name})" if tab.name else "this page"))

    def say(self, text: str) -> None:
        """Say something in the title until another tab is shown."""
        self._said = text
        self.redraw()

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


def help_page(scopes: Sequence[str], keymap: Mapping[str, str]) -> Lines:
    """What `?` shows on a screen: what is its own first, then plans and menus, what is valid everywhere, and moving about."""
    moving = {"list", "sheet"}
    own = [scope for scope in reversed(scopes) if scope not in moving]
    acting = ("menu", "plan") if "endpoint" in scopes else ()
    wanted = [*own, *acting, "app", *(scope for scope in scopes if scope in moving), "page"]
    return lambda cells: page(sections(wanted, keymap), cells)
