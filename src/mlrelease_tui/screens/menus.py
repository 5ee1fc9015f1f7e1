"""The app's own menus: which part of the fleet is looked at, and whether to quit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from mlrelease_tui.screens.scope import Scope, choices
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets.menu import FRAME_LINES, Item, Menu
from mlrelease_tui.widgets.prompt import Prompt, Suggestion

if TYPE_CHECKING:
    from mlrelease_tui.domain.action import ActionProgress


_LETTERS: Final = (*"0123456789", *"abcdefghijklmnoprstuvwxyz")
"""`q` is none of them: whoever wants to leave must not choose by it."""


def scope_menu(state: State, rows: int) -> Menu | Prompt:
    """Chooses the id of a `Scope`. Where there are more than letters, or than lines among `rows`, they are found by their names."""
    found = choices(state.connections, state.endpoints.values())
    if len(found) <= min(len(_LETTERS), rows - FRAME_LINES):
        items = [Item(letter, text, scope.id) for letter, (scope, text) in zip(_LETTERS, found, strict=False)]
        return Menu("Look at", items, id="scope")

    def suggest(typed: str) -> list[Suggestion]:
        words = typed.lower().split()
        return [Suggestion(scope.id, text) for scope, text in found if all(word in text.lower() for word in words)]

    return Prompt("look at:", suggest=suggest, picks=True, id="scope")


def chosen_scope(state: State, chosen: str) -> Scope | None:
    """The scope of that id; None where there is none."""
    found = (scope for scope, _ in choices(state.connections, state.endpoints.values()))
    return next((scope for scope in found if scope.id == chosen), None)


def quit_menu(busy: Iterable[ActionProgress]) -> Menu:
    """Chooses "yes" or "no"; names the actions that are under way."""
    title = "Quit?"
    if names := ", ".join(f"{item.plan.verb} {item.plan.target}" for item in busy):
        title = f"Quit while {names} is under way? Its outcome will then be found at the next start."
    return Menu(title, [Item("y", "quit", "yes"), Item("n", "stay", "no")], id="quit")
