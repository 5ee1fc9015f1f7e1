"""The plan as confirmation, docked: what will be written, and the one key that sends it.

The focus is on Cancel and Enter never sends. `y` sends only when it is alone: keys of the first half second are dropped, so is a
`y` with another key right behind it (a paste into a terminal without bracketed paste), and a bracketed paste confirms nothing.
Keys count in the order in which they were typed, those too that still wait to be handled when the time of `y` is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.events import Key, Paste
from textual.message import Message
from textual.widgets import Input

from mlrelease_tui.domain.action import ActionProgress
from mlrelease_tui.domain.plan import Level, Outcome, Plan, Refusal
from mlrelease_tui.domain.policy import READ_ONLY, Access
from mlrelease_tui.presentation import plan as view
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, clip, line, spread, width_of
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.alone import Alone
from mlrelease_tui.widgets.canvas import Canvas
from mlrelease_tui.widgets.sheet import Sheet

DEAF_S: Final = 0.5
"""Keys within this time of a plan's appearing are dropped: they were typed for something else."""
PANEL_ROWS: Final = 10
"""Rows of the whole panel where it is docked at the bottom."""


class Stance(StrEnum):
    """PLANNING: reading and planning · READY: may be confirmed · REFUSED: there is no plan · SENT: under way · DONE."""

    PLANNING = "planning"
    READY = "ready"
    REFUSED = "refused"
    SENT = "sent"
    DONE = "done"


class TypedField(Input):
    """A field that must be typed: what is pasted into it is not an answer."""

    def on_paste(self, event: Paste) -> None:
        event.prevent_default()
        event.stop()


class Buttons(Canvas, can_focus=True):
    """The last line of the panel. It has the focus, and it drops pastes."""

    def __init__(self, draw: Callable[[], Line], heard: Callable[[Key], None], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._draw = draw
        self._heard = heard

    def line_at(self, y: int) -> Line:
        return self._draw() if y == 0 else EMPTY

    def on_key(self, event: Key) -> None:
        self._heard(event)

    def on_paste(self, event: Paste) -> None:
        event.stop()


class PlanPanel(Vertical):
    """Shows one plan from its making to its outcome. It decides nothing about rights: it posts, the desk refuses or acts."""

    BINDINGS: ClassVar = keys.bindings("plan")

    @dataclass
    class Send(Message):
        panel: PlanPanel
        plan: Plan
        why: str
        typed: str

        @property
        def control(self) -> PlanPanel:
            return self.panel

    @dataclass
    class Closed(Message):
        panel: PlanPanel

    @dataclass
    class WantsArm(Message):
        panel: PlanPanel

    @dataclass
    class WantsPlan(Message):
        """The plan expired: make it anew."""

        panel: PlanPanel

    @dataclass
    class WantsCopy(Message):
        panel: PlanPanel
        text: str

    def __init__(
        self,
        glyphs: Glyphs,
        now: Callable[[], datetime],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._glyphs = glyphs
        self._now = now
        self._monotonic = monotonic
        self._access = READ_ONLY
        self._shown_at = float("-inf")
        self._alone = Alone(self, lambda: self.query_one(Buttons), self._send)
        self._said = ""
        self._head = ""
        self._as_shell = False
        self.stance = Stance.PLANNING
        self.plan: Plan | None = None
        self._refusal: Refusal | None = None
        self._action: ActionProgress | None = None
        self._ending: Outcome | Refusal | None = None

    def compose(self) -> ComposeResult:
        yield Sheet(id="plan-title")
        yield Sheet(id="plan-body", more="j k scroll: ")
        with Horizontal(id="plan-name-row", classes="field"):
            yield Sheet(id="plan-name-label")
            yield TypedField(compact=True, id="plan-name")
        with Horizontal(id="plan-reason-row", classes="field"):
            yield Sheet(id="plan-reason-label")
            yield Input(compact=True, id="plan-reason")
        yield Buttons(self._buttons, self._heard, id="plan-buttons")

    def on_mount(self) -> None:
        for field in self.query(Input):
            field.cursor_blink = False
        self.query_one("#plan-reason-label", Sheet).show([line(Span(" reason ", Role.MUTED))])
        self._draw()
        self.query_one(Buttons).focus()

    # --- what is told to it

    def planning(self, head: str, note: str = "") -> None:
        """A plan is being made; `note` says why again."""
        self.stance, self.plan, self._refusal = Stance.PLANNING, None, None
        self._head, self._said = head, note
        self._alone.give_up()
        self._draw()

    def present(self, plan: Plan, access: Access) -> None:
        """Show a plan to be confirmed. Typing starts anew: a name typed for another plan confirms nothing."""
        self.stance, self.plan, self._access = Stance.READY, plan, access
        self._shown_at = self._monotonic()
        self.query_one("#plan-name", Input).value = ""
        self.query_one("#plan-body", Sheet).rewind()
        self.query_one(Buttons).focus()
        self._draw()

    def refuse(self, refusal: Refusal) -> None:
        self.stance, self._refusal = Stance.REFUSED, refusal
        self._alone.give_up()
        self._draw()

    def sent(self) -> None:
        self.stance = Stance.SENT
        self.query_one(Buttons).focus()
        self._draw()

    def follow(self, action: ActionProgress) -> None:
        """Show how far the action is."""
        if action != self._action:
            self._action = action
            self._draw()

    def finish(self, ending: Outcome | Refusal) -> None:
        self.stance, self._ending = Stance.DONE, ending
        self._draw()

    def look(self, access: Access) -> None:
        """Time passed or rights changed: draw what that changes."""
        if access != self._access:
            self._access = access
            self._said = ""
        self._draw()

    # --- keys

    def _heard(self, event: Key) -> None:
        """Each key as it reaches the focus. A key that bubbled up to its binding would be overtaken by the one behind it."""
        if self._alone.pending:
            self._alone.give_up()
            self._say("another key came with y: nothing was sent")
            event.stop()
            event.prevent_default()
            return
        if self._deaf:
            event.stop()
            event.prevent_default()
            return
        bound = self.screen.active_bindings.get(event.key)
        if bound is not None and bound.node is self and bound.binding.action == "send":
            event.stop()
            event.prevent_default()
            self.action_send()

    @property
    def settled(self) -> bool:
        """Whether no `y` waits to be alone."""
        return not self._alone.pending

    @property
    def _deaf(self) -> bool:
        return self.stance is Stance.READY and self._monotonic() - self._shown_at < DEAF_S

    def action_send(self) -> None:
        plan = self.plan
        if plan is None or self.stance is not Stance.READY or self._deaf or self._alone.pending:
            return
        if plan.expired(self._now()):
            self.post_message(self.WantsPlan(self))
            return
        refusal = self._access.may_write(self._now())
        if refusal is not None:
            self._say("read-only: press W first" if refusal.code == "read_only" else refusal.reason)
            return
        if missing := self._missing(plan):
            self._say(missing)
            return
        self._alone.begin()

    def _send(self, alone: bool) -> None:
        if not alone:
            self._say("another key came with y: nothing was sent")
            return
        if self.plan is not None and self.stance is Stance.READY:
            self.post_message(self.Send(self, self.plan, self._value("plan-reason"), self._value("plan-name")))

    def _missing(self, plan: Plan) -> str:
        """What keeps this plan from being sent: a name or a reason that is not given; "" where nothing does."""
        if plan.level >= Level.NAME and self._value("plan-name") != view.target_name(plan):
            return f"i: type the name {view.target_name(plan)} first"
        if plan.level >= Level.NAME and not self._value("plan-reason"):
            return "i: give a reason first"
        return ""

    def action_arm(self) -> None:
        if self.stance is Stance.READY and not self._deaf:
            self.post_message(self.WantsArm(self))

    def action_reason(self) -> None:
        if self.stance is not Stance.READY or self.plan is None:
            return
        wanted = view.fields(self.plan)
        empty = next((name for name in wanted if not self._value(f"plan-{name}")), wanted[-1] if wanted else "")
        if empty:
            self.query_one(f"#plan-{empty}", Input).focus()

    def action_shell(self) -> None:
        self._as_shell = not self._as_shell
        self._draw()

    def action_copy(self) -> None:
        if self.plan is not None:
            self.post_message(self.WantsCopy(self, "\n".join(view.shell_commands(self.plan))))

    def action_more(self) -> None:
        self.query_one("#plan-body", Sheet).scroll_lines(1)

    def action_less(self) -> None:
        self.query_one("#plan-body", Sheet).scroll_lines(-1)

    def action_cancel(self) -> None:
        if isinstance(self.screen.focused, Input):
            self.query_one(Buttons).focus()
            return
        if not self._deaf:
            self._alone.give_up()
            self.post_message(self.Closed(self))

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        """Enter in a field goes on to what is still missing, and in the end to Cancel. It never sends."""
        event.stop()
        if self.plan is not None and event.input.id == "plan-name" and "reason" in view.fields(self.plan):
            self.query_one("#plan-reason", Input).focus()
        else:
            self.query_one(Buttons).focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()

    # --- drawing

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _value(self, field: str) -> str:
        return self.query_one(f"#{field}", Input).value.strip()

    def _say(self, text: str) -> None:
        self._said = text
        self._draw()

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        cells = max(self.size.width, 40)
        heading, lines = self._content(cells)
        wanted = view.fields(self.plan) if self.plan is not None and self.stance is Stance.READY else ()
        self.query_one("#plan-name-row").display = "name" in wanted
        self.query_one("#plan-reason-row").display = "reason" in wanted
        if self.plan is not None:
            label = f" type {view.target_name(self.plan)} " if "name" in wanted else ""
            sheet = self.query_one("#plan-name-label", Sheet)
            sheet.styles.width = min(max(len(label), 8), cells // 2)
            sheet.show([line(Span(label, Role.WARN))])
        body = self.query_one("#plan-body", Sheet)
        room = PANEL_ROWS - 2 - len(wanted)
        body.styles.height = "1fr" if self.screen.has_class("-wide") else min(len(lines), room)
        self.query_one("#plan-title", Sheet).show([heading])
        body.show(lines)
        self.query_one(Buttons).redraw()

    def _content(self, cells: int) -> tuple[Line, list[Line]]:
        plan = self.plan
        if self.stance is Stance.REFUSED and self._refusal is not None:
            return self._titled(f"NO PLAN: {self._head}", cells), view.refused(self._refusal, cells)
        if plan is None:
            rows = [line(Span(f" {self._said}", Role.WARN))] if self._said else []
            return self._titled(f"PLAN {self._head}", cells), [
                *rows,
                line(Span(" reading and planning ...", Role.MUTED)),
            ]
        if self.stance is Stance.DONE and self._ending is not None:
            ended = (
                view.refused(self._ending, cells)
                if isinstance(self._ending, Refusal)
                else view.outcome(self._ending, plan, self._action, self._glyphs, cells)
            )
            return self._titled(view.ending_title(plan, self._ending), cells), ended
        if self.stance is Stance.SENT:
            rows = view.progress(self._action, self._glyphs, cells) if self._action else []
            return (
                self._titled(f"UNDER WAY: {view.summary(plan) or view.verb_word(plan.verb)}", cells),
                rows or [line(Span(" recording the intent", Role.MUTED))],
            )
        heading = view.title(plan, self._now(), self._glyphs, cells)
        return heading, view.shell(plan, cells) if self._as_shell else view.body(plan, self._glyphs, cells)

    def _titled(self, text: str, cells: int) -> Line:
        head = clip(line(Span(f" {text} ", Role.TITLE)), cells)
        return (*head, Span(self._glyphs.rule * (cells - width_of(head)), Role.MUTED))

    def _buttons(self) -> Line:
        cells = max(self.size.width, 40)
        focused = self.query_one(Buttons).has_focus
        if self.plan is not None and self.stance is Stance.READY:
            return view.buttons(self.plan, self._access, self._now(), self._said, cells, focused=focused)
        close = line(Span("[ Close ]" if self.stance is not Stance.PLANNING else "[ Cancel ]", Role.CURSOR), " ")
        note = " it goes on if you close this" if self.stance is Stance.SENT else ""
        return spread(line(Span(note, Role.MUTED)), close, cells)
