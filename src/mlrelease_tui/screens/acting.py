"""What keys do on an endpoint: the actions menu, the roll-back plan, explain, copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on

from mlrelease_tui.domain.level import Direction
from mlrelease_tui.domain.policy import direction_of
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Verb
from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.presentation.lines import Role
from mlrelease_tui.presentation.menu import words_for
from mlrelease_tui.screens.base import ReleaseScreen
from mlrelease_tui.screens.copying import command
from mlrelease_tui.store import select
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.menu import Item, Menu

if TYPE_CHECKING:
    from mlrelease_tui.domain.action import ActionProgress


class ActingScreen(ReleaseScreen):
    """A screen on which an endpoint can be selected (`selected`)."""

    BINDINGS = keys.bindings("endpoint")

    _menu_of: EndpointRef | None = None

    def selected_status(self) -> EndpointStatus | None:
        ref = self.selected()
        return select.status_of(self.state, ref, self.at) if ref is not None else None

    def _acting_on(self) -> EndpointStatus | None:
        status = self.selected_status()
        if status is None:
            self.say("no endpoint is selected")
        return status

    def strayed(self) -> str:
        """What was selected until it went away by itself, and nobody has moved since; "" where that is not so."""
        return ""

    def _meant(self) -> EndpointStatus | None:
        """What a key that leads to a plan is about. None, and said why, where that may be another one than who pressed it saw."""
        gone, status = self.strayed(), self._acting_on()
        if gone and status is not None:
            self.say(
                f"{gone} is not listed any more: this is {status.ref.name}; press again if that is meant", Role.WARN
            )
            return None
        return status

    def action_actions(self) -> None:
        from mlrelease_tui.screens import commands

        status = self._meant()
        if status is None:
            return
        running = select.action_on(self.state, status.ref)
        items = []
        for entry in keys.of("menu"):
            if entry.verb is None:
                continue
            full = entry.name == "full"
            reason = _busy(running, entry.verb) or commands.unavailable(
                entry.verb, status.endpoint, status.known_good, full=full
            )
            native = status.endpoint.support(entry.verb).native
            pressed = keys.keys_of(entry.id, self.keymap)
            text = words_for(entry.name, status) or entry.text
            items.append(Item(pressed[0] if pressed else "", text, entry.name, reason, str(native)))
        self._menu_of = status.ref
        self.open_dock(Menu(self.titled(f"Actions on {status.ref.id}"), items, id="actions"))

    @on(Menu.Chosen, "#actions")
    async def _action_chosen(self, event: Menu.Chosen) -> None:
        event.stop()
        self.close_dock()
        # The menu acts on what it was opened for, even if the row under the cursor is another one by now.
        status = self.status_of(self._menu_of.id) if self._menu_of is not None else None
        if status is None:
            self.say("the endpoint is gone", Role.WARN)
        else:
            await self._ask(
                status, Verb.PROMOTE if event.choice == "full" else Verb(event.choice), event.choice == "full"
            )

    async def _ask(self, status: EndpointStatus, verb: Verb, full: bool = False) -> None:
        """Open the plan, or where a key cannot say all that is needed, the command line with the rest to be typed."""
        from mlrelease_tui.domain import intents
        from mlrelease_tui.screens import commands

        endpoint = status.endpoint
        if not full and commands.needs_words(verb, endpoint):
            self.open_command_line(f"{verb.value} {endpoint.ref.id} ", commands.USAGE[verb.value])
            return
        simple: dict[Verb, type[intents.Intent]] = {
            Verb.HOLD: intents.HoldRollout,
            Verb.CONTINUE: intents.ContinueRollout,
            Verb.ABORT: intents.AbortRollout,
            Verb.ROLLBACK: intents.RollBack,
            Verb.RETRY: intents.RetryRollout,
            Verb.RESTART: intents.RestartEndpoint,
            Verb.SWITCH: intents.SwitchVersions,
        }
        promote = verb is Verb.PROMOTE
        intent = intents.PromoteVersion(endpoint.ref, full=full) if promote else simple[verb](endpoint.ref)  # type: ignore[call-arg,arg-type]
        await self.open_plan(intent)

    async def action_rollback(self) -> None:
        from mlrelease_tui.domain.intents import RollBack
        from mlrelease_tui.screens import commands

        status = self._meant()
        if status is None:
            return
        reason = commands.unavailable(Verb.ROLLBACK, status.endpoint, status.known_good)
        if reason:
            self.say(f"no roll back of {status.ref.name}: {reason}", Role.WARN)
        else:
            await self.open_plan(RollBack(status.ref))

    def action_explain(self) -> None:
        self._inspect("why")

    def action_metrics(self) -> None:
        self._inspect("metrics")

    def action_events(self) -> None:
        self._inspect("events")

    def action_logs(self) -> None:
        self._inspect("logs")

    def _inspect(self, page: str) -> None:
        if self._acting_on() is not None:
            self.post_message(self.Inspect(page))

    def marked(self) -> tuple[EndpointRef, ...]:
        """The endpoints that are marked, in the list's order; the selected one where none is."""
        ref = self.selected()
        return (ref,) if ref is not None else ()

    def action_copy_name(self) -> None:
        self._copy([ref.id for ref in self.marked()], "name")

    def action_copy_command(self) -> None:
        self._copy([command("endpoint", ref.id) for ref in self.marked()], "command")

    def _copy(self, texts: list[str], what: str) -> None:
        if not texts:
            self.say("no endpoint is selected")
        else:
            many = f"the {what}" if len(texts) == 1 else f"{len(texts)} {what}s"
            self.post_message(self.Copy("\n".join(texts), many))


def _busy(running: ActionProgress | None, verb: Verb) -> str:
    """Why an action under way keeps `verb` from being planned, "" where it does not: one that only waits to be seen makes way for
    what gets back to safety."""
    if running is None:
        return ""
    from mlrelease_tui.domain.action import Stage

    if running.stage is Stage.VERIFYING and direction_of(verb) is Direction.SAFE:
        return ""
    return f"{running.plan.verb} is under way by {running.by}"
