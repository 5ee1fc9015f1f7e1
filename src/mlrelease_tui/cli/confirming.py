"""Consent: given on the command line, or asked for at a terminal where a paste or an impatient Enter is not consent."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import termios
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.cli import text
from mlrelease_tui.cli.output import Output, text_of
from mlrelease_tui.domain.plan import Level, Plan, Refusal
from mlrelease_tui.domain.policy import SECOND_PERSON
from mlrelease_tui.domain.text import SafeText, escape_hidden

DEAF_S: Final = 0.5
"""Seconds after a question during which what is typed or pasted is thrown away."""
_PASTE_S: Final = 0.05
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class Answer:
    """A consent: the name as it was typed, and why."""

    typed: str
    reason: str


async def confirm(plan: Plan, *, yes: bool, typed: str, reason: str, output: Output) -> Answer | Refusal:
    """What the plan's level wants, from the options or, at a terminal, from the person."""
    name = str(plan.target.name)
    word = shlex.quote(name)
    if plan.level >= Level.SECOND:
        return SECOND_PERSON
    if typed and typed != name:
        # Whatever the level: whoever names another target means another plan.
        return Refusal(
            "not_confirmed",
            f"nothing was sent: this plan is of {name}, and --confirm names {SafeText(typed)}",
            f"look whether {plan.target.id} is meant",
        )
    if yes:
        return _given(plan, name, typed, reason)
    if output.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        more = f" --confirm {word} --reason TEXT" if plan.level >= Level.NAME else ""
        return Refusal("not_confirmed", "nothing was sent: the plan was not confirmed", f"confirm it with --yes{more}")
    return await _from_person(plan, name, typed, reason, output)


async def _from_person(plan: Plan, name: str, typed: str, reason: str, output: Output) -> Answer | Refusal:
    if not output.stdout.isatty():
        # The plan went into a file or a pipe: nobody consents to what he may not have seen.
        for line in text.plan(plan, output.glyphs):
            output.note(text_of(line))
    if plan.level >= Level.NAME:
        typed = typed or await _asked(f"type {name} to confirm: ")
        if typed != name:
            return _declined()
        reason = reason or await _asked("reason: ")
        return _given(plan, name, typed, reason)
    answer = await _asked(f"{plan.summary}? [y/N] ")
    return Answer(typed, reason) if answer.lower() in {"y", "yes"} else _declined()


def _given(plan: Plan, name: str, typed: str, reason: str) -> Answer | Refusal:
    if plan.level >= Level.NAME and not typed:
        return Refusal(
            "not_confirmed",
            "this plan wants the target's name typed",
            f"add --confirm {shlex.quote(name)} --reason TEXT",
        )
    if plan.level >= Level.NAME and not reason.strip():
        return Refusal("no_reason", "this plan wants a reason", "add --reason TEXT, for those who read the audit")
    return Answer(typed, reason)


def _declined() -> Refusal:
    return Refusal("not_confirmed", "nothing was sent: the plan was not confirmed", "")


async def _asked(question: str) -> str:
    """One line typed by a person; "" where it was pasted, or where the terminal went away."""
    descriptor = sys.stdin.fileno()
    sys.stderr.write(escape_hidden(question))
    sys.stderr.flush()
    await asyncio.sleep(DEAF_S)
    termios.tcflush(descriptor, termios.TCIFLUSH)
    await _readable(descriptor)
    try:
        line = os.read(descriptor, _LONGEST)
    except OSError:
        return ""
    # Nobody types a second line within so short a time: this was a paste, and it did not mean this question.
    with suppress(TimeoutError):
        async with asyncio.timeout(_PASTE_S):
            await _readable(descriptor)
        termios.tcflush(descriptor, termios.TCIFLUSH)
        return ""
    return line.decode("utf-8", "replace").strip()


async def _readable(descriptor: int) -> None:
    """Wait on the event loop, not in a thread: Ctrl-C must end a question that nobody answers."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
