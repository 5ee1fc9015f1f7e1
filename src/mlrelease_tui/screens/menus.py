"""The app's own menus: which part of the fleet is looked at, and whether to quit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mlrelease_tui.screens.scope import choices
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets.menu import Item, Menu

if TYPE_CHECKING:
    from mlrelease_tui.domain.action import ActionProgress


def scope_menu(state: State) -> Menu:
    """Chooses the id of a `Scope`. `q` is no letter of it: whoever wants to leave must not choose by it."""
    letters = [*"0123456789", *(chr(code) for code in range(ord("a"), ord("z") + 1) if chr(code) != "q")]
    found = choices(state.connections, state.endpoints.values())
    items = [Item(letter, text, scope.id) for letter, (scope, text) in zip(letters, found, strict=False)]
    return Menu("Look at", items, id="scope")


def quit_menu(busy: Iterable[ActionProgress]) -> Menu:
    """Chooses "yes" or "no"; names the actions that are under way."""
    title = "Quit?"
    if names := ", ".join(f"{item.plan.verb} {item.plan.target}" for item in busy):
        title = f"Quit while {names} is under way? Its outcome will then be found at the next start."
    return Menu(title, [Item("y", "quit", "yes"), Item("n", "stay", "no")], id="quit")
