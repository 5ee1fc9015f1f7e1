"""The plan as confirmation, docked: what will be written, and the one key that sends it.

The focus is on Cancel and Enter never sends. `y` sends only when it is alone: keys of the first half second are dropped, so is a
`y` with another key right behind it (a paste into a terminal without bracketed paste), and a bracketed paste confirms nothing.
Keys count in the order in which they were typed, those too that still wait to be handled when the time of `y` is over.

Who types into a field goes on typing there, whatever becomes of the plan meanwhile: letters of a reason are never keys of a plan.
A plan that came while keys went elsewhere is deaf from the moment at which they reach it. Where it has no room to be read it is
not sent.
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
from textual.events import DescendantFocus, Key
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from mlrelease_tui.domain.action import ActionProgress
from mlrelease_tui.domain.plan import Outcome, Plan, Refusal
from mlrelease_tui.domain.policy import READ_ONLY, Access
from mlrelease_tui.presentation import plan as view
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import Line, Role, Span, clip, line, spread, width
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.alone import Alone
from mlrelease_tui.widgets.buttons import Buttons, drop
from mlrelease_tui.widgets.fields import Field, TypedField
from mlrelease_tui.widgets.menu import Menu
from mlrelease_tui.widgets.sheet import Sheet

DEAF_S: Final = 0.5
"""Keys within this time of a plan's appearing are dropped: they were typed for something else."""
PANEL_ROWS: Final = 10
"""Rows of the whole panel where it is docked at the bottom."""
LEAST_CELLS: Final = 40
LEAST_LINES: Final = 2
"""Cells of a line and lines of the body below which a plan cannot be read, and so not be confirmed."""


class Stance(StrEnum):
    """PLANNING: reading and planning · READY: may be confirmed · REFUSED: there is no plan · SENT: under way · DONE."""

    PLANNING = "planning"
    READY = "ready"
    REFUSED = "refused"
    SENT = "sent"
    DONE = "done"


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
        press: Callable[[str], str] = keys.usual,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._glyphs = glyphs
        self._now = now
        self._monotonic = monotonic
        self._press = press
        self._access = READ_ONLY
        self._shown_at = float("-inf")
        self._unread = False
        self._typing = ""
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
        scroll = f"{self._press('plan.more')} {self._press('plan.less')}"
        yield Sheet(id="plan-body", more=f"{scroll} scroll: ")
        with Horizontal(id="plan-name-row", classes="field"):
            yield Sheet(id="plan-name-label")
            yield TypedField(compact=True, id="plan-name")
        with Horizontal(id="plan-reason-row", classes="field"):
            yield Sheet(id="plan-reason-label")
            yield Field(compact=True, id="plan-reason")
        yield Buttons(self._buttons, self._heard, self._reached, id="plan-buttons")

    def on_mount(self) -> None:
        for field in self.query(Input):
            field.cursor_blink = False
        self.query_one("#plan-reason-label", Sheet).show([line(Span(" reason ", Role.MUTED))])
        self._draw()
        self.take_keys()

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
        self.query_one("#plan-name", Input).value = ""
        self.query_one("#plan-body", Sheet).rewind()
        if self.app.app_focus and not self._typing and not isinstance(self.screen.focused, Input | Menu):
            self.take_keys()
        self._unread = self.screen.focused is not self.query_one(Buttons)
        self.shown_again()
        self._draw()

    def shown_again(self) -> None:
        """It is seen from now on: keys of the first half second were typed for something else."""
        self._shown_at = self._monotonic()

    def take_keys(self) -> None:
        """Keys are for the plan from now on."""
        self.screen.set_focus(self.query_one(Buttons))

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

    @on(DescendantFocus)
    def _focus_moved(self, event: DescendantFocus) -> None:
        # A field is typed into until the focus moves on, also while another window has it.
        self._typing = (event.widget.id or "") if isinstance(event.widget, Input) else ""

    def _reached(self) -> None:
        """Keys reach the plan from now on."""
        if self._unread:
            self.shown_again()
        self._unread, self._typing = False, ""
        self._draw()

    def _heard(self, event: Key) -> None:
        """Each key as it reaches the focus. A key that bubbled up to its binding would be overtaken by the one behind it."""
        if self._alone.pending:
            self._alone.give_up()
            self._say("another key came with y: nothing was sent")
            drop(event)
            return
        if self._deaf or not self.display:
            drop(event)
            return
        bound = self.screen.active_bindings.get(event.key)
        if bound is not None and bound.node is self and bound.binding.action == "send":
            drop(event)
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
        if plan is None or self.stance is not Stance.READY or self._deaf or self._alone.pending or not self.readable:
            return
        if plan.expired(self._now()):
            self.post_message(self.WantsPlan(self))
            return
        refusal = self._access.may_write(self._now())
        if refusal is not None:
            arm = f"read-only: press {self._press('plan.arm')} first"
            self._say(arm if refusal.code == "read_only" else refusal.reason)
            return
        if missing := view.missing(plan, self._value("plan-name"), self._value("plan-reason"), self._press):
            self._say(missing)
            return
        self._alone.begin()

    def _send(self, alone: bool) -> None:
        if not alone:
            self._say("another key came with y: nothing was sent")
            return
        if self.plan is not None and self.stance is Stance.READY and self.readable:
            self.post_message(self.Send(self, self.plan, self._value("plan-reason"), self._value("plan-name")))

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
            self.take_keys()
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
            self.take_keys()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()

    # --- drawing

    @property
    def readable(self) -> bool:
        """Whether there is room to read a plan before it is sent."""
        fields = 0 if self.plan is None else len(view.fields(self.plan))
        return self.size.width >= LEAST_CELLS and self._room(fields) >= LEAST_LINES

    def _room(self, fields: int) -> int:
        """Lines that are left for the body beside title, fields and buttons."""
        host = self.parent
        return min(PANEL_ROWS, host.size.height if isinstance(host, Widget) else 0) - 2 - fields

    @property
    def _fields(self) -> tuple[str, ...]:
        """The fields that are shown: those that the plan has, and always the one that somebody types into."""
        ready = self.plan is not None and self.stance is Stance.READY and self.readable
        wanted = view.fields(self.plan) if self.plan is not None and ready else ()
        return tuple(name for name in ("name", "reason") if name in wanted or self._typing == f"plan-{name}")

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _value(self, field: str) -> str:
        return self.query_one(f"#{field}", Input).value.strip()

    def _say(self, text: str) -> None:
        self._said = text
        self._draw()

    def _draw(self) -> None:
        if not self.is_mounted or not self.display:
            return
        cells = max(self.size.width, LEAST_CELLS)
        heading, lines = self._content(cells)
        wanted = self._fields
        self.query_one("#plan-name-row").display = "name" in wanted
        self.query_one("#plan-reason-row").display = "reason" in wanted
        if self.plan is not None:
            label = f" type {view.target_name(self.plan)} " if "name" in wanted else ""
            sheet = self.query_one("#plan-name-label", Sheet)
            sheet.styles.width = min(max(width(label), 8), cells // 2)
            sheet.show([line(Span(label, Role.WARN))])
        body = self.query_one("#plan-body", Sheet)
        room = max(self._room(len(wanted)), 1)
        body.styles.height = "1fr" if self.screen.has_class("-wide") else min(len(lines), room)
        self.query_one("#plan-title", Sheet).show([heading])
        body.show(lines)
        self.query_one(Buttons).redraw()

    def _content(self, cells: int) -> tuple[Line, list[Line]]:
        plan = self.plan

        def titled(text: str) -> Line:
            return view.titled(text, self._glyphs, cells)

        if self.stance is Stance.REFUSED and self._refusal is not None:
            return titled(f"NO PLAN: {self._head}"), view.refused(self._refusal, cells)
        if plan is None:
            rows = [line(Span(f" {self._said}", Role.WARN))] if self._said else []
            return titled(f"PLAN {self._head}"), [
                *rows,
                line(Span(" reading and planning ...", Role.MUTED)),
            ]
        if self.stance is Stance.DONE and self._ending is not None:
            ended = (
                view.refused(self._ending, cells)
                if isinstance(self._ending, Refusal)
                else view.outcome(self._ending, plan, self._action, self._glyphs, cells, self._press)
            )
            return titled(view.ending_title(plan, self._ending)), ended
        if self.stance is Stance.SENT:
            rows = view.progress(self._action, self._glyphs, cells) if self._action else []
            return (
                titled(f"UNDER WAY: {view.summary(plan) or view.verb_word(plan.verb)}"),
                rows or [line(Span(" recording the intent", Role.MUTED))],
            )
        if not self.readable:
            return titled(f"PLAN {view.summary(plan) or view.verb_word(plan.verb)}"), []
        heading = view.title(plan, self._now(), self._glyphs, cells)
        return heading, view.shell(plan, cells) if self._as_shell else view.body(plan, self._glyphs, cells)

    def _buttons(self) -> Line:
        cells = max(self.size.width, LEAST_CELLS)
        focused = self.query_one(Buttons).has_focus
        if self.plan is not None and self.stance is Stance.READY:
            if not self.readable:
                return clip(line(Span(" too small to send: enlarge the terminal", Role.WARN)), self.size.width)
            return view.buttons(
                self.plan, self._access, self._now(), self._said, cells, focused=focused, press=self._press
            )
        close = line(Span("[ Close ]" if self.stance is not Stance.PLANNING else "[ Cancel ]", Role.CURSOR), " ")
        note = " it goes on if you close this" if self.stance is Stance.SENT else ""
        return spread(line(Span(note, Role.MUTED)), close, cells)
