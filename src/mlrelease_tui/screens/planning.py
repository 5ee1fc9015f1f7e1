"""From a wish to an outcome on one screen: asks the desk for a plan, shows it, sends it once confirmed, follows it.

The desk owns what is under way. Closing the panel, changing the view or quitting cancels nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from textual.widget import Widget

from mlrelease_tui.domain.intents import Intent
from mlrelease_tui.domain.plan import Outcome, Plan, Refusal
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.errors import ReleaseError
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.plan import verb_word
from mlrelease_tui.screens.services import Services
from mlrelease_tui.store import select
from mlrelease_tui.store.state import State
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.plan_panel import PlanPanel, Stance

_log = logging.getLogger(__name__)


class Planning:
    """At most one panel a screen. `host` is the widget in which it docks; `turned` is called when a plan reached another point
    of its life, so that the footer names the keys that are valid then; `press` names the key of an action of the catalogue."""

    def __init__(
        self,
        services: Services,
        glyphs: Glyphs,
        host: Widget,
        turned: Callable[[], None] = lambda: None,
        press: Callable[[str], str] = keys.usual,
    ) -> None:
        self._services = services
        self._glyphs = glyphs
        self._host = host
        self._turned = turned
        self._press = press
        self._panel: PlanPanel | None = None
        self._intent: Intent | None = None
        self._asked = 0
        # A task without a reference may be collected before it ends.
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def panel(self) -> PlanPanel | None:
        return self._panel

    async def open(self, intent: Intent) -> None:
        """Show the panel and ask for a plan. An open panel is replaced."""
        await self.close()
        self._intent = intent
        self._panel = PlanPanel(
            self._glyphs, self._services.now, monotonic=self._services.monotonic, press=self._press, id="plan"
        )
        self._host.screen.add_class("-planning")
        await self._host.mount(self._panel)
        self._plan()

    async def close(self) -> bool:
        """Close the panel; what was sent goes on. False where none is open."""
        panel, self._panel = self._panel, None
        self._asked += 1
        if panel is None:
            return False
        self._host.screen.remove_class("-planning")
        await panel.remove()
        return True

    def replan(self, note: str = "") -> None:
        """Make the plan anew, from fresh reads."""
        self._plan(note)

    def _plan(self, note: str = "") -> None:
        panel, intent = self._panel, self._intent
        if panel is None or intent is None:
            return
        self._asked += 1
        panel.planning(f"{verb_word(intent.verb)} {intent.target.name}", note)
        self._turned()
        self._start(self._prepare(panel, intent, self._asked))

    async def _prepare(self, panel: PlanPanel, intent: Intent, asked: int) -> None:
        answer: Plan | Refusal
        try:
            answer = await self._services.desk.prepare(intent)
        except ReleaseError as error:
            answer = Refusal(error.code, error.message, error.hint)
        except Exception as error:
            _log.exception("planning failed")
            answer = Refusal("internal", f"planning failed: {type(error).__name__}", "nothing was sent; this is a bug")
        if asked != self._asked or panel is not self._panel:
            return
        if isinstance(answer, Refusal):
            panel.refuse(answer)
        else:
            panel.present(answer, self._services.store.state.access)
        self._turned()

    def send(self, plan: Plan, why: str, typed: str) -> None:
        """Hand a confirmed plan to the desk."""
        panel = self._panel
        if panel is None:
            return
        panel.sent()
        self._turned()
        self._start(self._submit(panel, plan, why, typed))

    async def _submit(self, panel: PlanPanel, plan: Plan, why: str, typed: str) -> None:
        ending: Outcome | Refusal
        try:
            ending = await self._services.desk.submit(plan, why=why, typed=typed)
        except ReleaseError as error:
            ending = Refusal(error.code, error.message, error.hint)
        except Exception as error:
            _log.exception("submitting failed")
            ending = Refusal(
                "internal",
                f"the action broke off: {type(error).__name__}",
                "the audit and the next start say what became of it",
            )
        if panel is self._panel:
            self._follow(panel, self._services.store.state)
            panel.finish(ending)
            self._turned()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- as the state changes

    def look(self, state: State) -> None:
        """The state changed or time passed: follow the action, or void a plan whose target moved."""
        panel = self._panel
        if panel is None:
            return
        if panel.stance is Stance.READY and panel.plan is not None and (moved := drift(panel.plan, state)):
            self._plan(f"{moved}: planned anew")
            return
        if panel.stance in {Stance.SENT, Stance.DONE}:
            self._follow(panel, state)
        panel.look(state.access)

    def _follow(self, panel: PlanPanel, state: State) -> None:
        if panel.plan is None:
            return
        target = panel.plan.target
        action = select.last_action_on(state, target) if isinstance(target, EndpointRef) else None
        if action is None:
            mine = [item for item in state.actions.values() if item.plan.plan_hash == panel.plan.plan_hash]
            action = max(mine, key=lambda item: item.started_at, default=None)
        if action is not None and action.plan.plan_hash == panel.plan.plan_hash:
            panel.follow(action)


def drift(plan: Plan, state: State) -> str:
    """What changed since the plan was read, in words; "" where nothing did. Only readings newer than the plan's count."""
    target = plan.target
    if not isinstance(target, EndpointRef):
        return ""
    endpoint = state.endpoints.get(target)
    if endpoint is None:
        return f"{target.name} is gone"
    for item in plan.read_from:
        if item.object_id not in {target.id, endpoint.uid} or endpoint.observed_at <= item.observed_at:
            continue
        if item.revision != endpoint.revision:
            who = f" by {endpoint.stamp.by}" if endpoint.stamp else ""
            return f"{target.name} was changed{who}"
    return ""
