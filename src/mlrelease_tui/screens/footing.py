"""Which keys the footer names: those of what has the focus, not of what lies below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrelease_tui.presentation.footer import Named
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.menu import Menu
from mlrelease_tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from mlrelease_tui.widgets.plan_panel import Stance


class Footing:
    """`pressed` and `named` say how keys are written for people, by the keymap in force."""

    def __init__(self, keymap: dict[str, str]) -> None:
        self._keymap = keymap

    def pressed(self, identity: str) -> str:
        """The key that does this; "" where it has none."""
        found = keys.keys_of(identity, self._keymap)
        return keys.display(found[0]) if found else ""

    def named(self, *identities: str, armed: bool = False) -> list[Named]:
        """Those of these keys that are bound, with one or two words for what they do. `armed`: writes are allowed now."""
        found = [(self.pressed(identity), keys.entry(identity)) for identity in identities]
        return [
            (pressed, "disarm" if armed and item.id == "app.arm" else item.hint or item.text)
            for pressed, item in found
            if pressed
        ]

    def of_dock(self, dock: Prompt | Menu) -> list[Named]:
        """What is valid while a prompt or a menu is open."""
        if isinstance(dock, Prompt):
            complete = self.named("prompt.complete") if dock.suggests else []
            return [("Enter", "take"), *complete, *self.named("prompt.leave")]
        return [("a letter", "chooses"), (self.pressed("dialog.close"), "close")]

    def of_plan(self, stance: Stance, *, armed: bool, typing: bool, readable: bool) -> list[Named]:
        """What is valid while a plan is open. `typing`: one of its fields has the focus. `readable`: it has room to be read."""
        from mlrelease_tui.widgets.plan_panel import Stance

        leave = self.pressed("plan.cancel")
        if typing:
            return [("Enter", "next"), (leave, "back to the keys: nothing is sent while you type")]
        if stance is not Stance.READY:
            views = self.named("app.view_audit") if stance is Stance.DONE else []
            scroll = self._scroll() if stance is Stance.DONE else []
            return [*((key, "audit") for key, _ in views), *scroll, (leave, "close")]
        if not readable:
            return [(leave, "cancel")]
        given = [*([] if armed else self.named("plan.arm")), *self.named("plan.send", "plan.reason")]
        return [*given, *self._scroll(), *self.named("plan.shell", "plan.copy"), (leave, "cancel")]

    def _scroll(self) -> list[Named]:
        return [(f"{self.pressed('plan.more')} {self.pressed('plan.less')}", "scroll")]
