"""What a dead process left open: read the target, compare with what each write assumed and expected, say which.

Nothing is ever sent again. Results: applied · not_applied · partial (some steps of several) · superseded (someone wrote
since) · indeterminate (it can't be read or fits nothing; stays open).
"""

from __future__ import annotations

import asyncio

from mlrelease_tui.actions.journal import Journal, open_action, steps_of
from mlrelease_tui.actions.reading import Reader
from mlrelease_tui.audit.intents import OpenIntent
from mlrelease_tui.domain.action import OpenAction
from mlrelease_tui.domain.expectation import EndpointExpectation, Expectation
from mlrelease_tui.errors import ReleaseError


async def reconcile(journal: Journal, reader: Reader) -> tuple[OpenAction, ...]:
    """Settle what can be settled, record it, and give back what stays open (the living and the indeterminate)."""
    still: list[OpenAction] = []
    for intent in await asyncio.to_thread(journal.open_intents):
        action = open_action(intent)
        if action.alive:
            still.append(action)
            continue
        status, message = await _judge(intent, reader)
        last = intent.last_ending
        told = last is not None and last.section("result").get("status") == status
        if not told:
            await asyncio.to_thread(journal.reconciled, intent, status, message)
        if status == "indeterminate":
            still.append(action)
    return tuple(still)


async def _judge(intent: OpenIntent, reader: Reader) -> tuple[str, str]:
    steps = steps_of(intent)
    if not steps:
        return "indeterminate", "the intent's steps can't be read"
    if not intent.sent:
        return "not_applied", "the process ended before anything was sent"
    try:
        left = [await reader.mismatches(expects) for _, expects in steps]
        untouched = not await reader.mismatches(steps[0][0])
        writer = await _last_writer(steps, reader)
    except ReleaseError as error:
        return "indeterminate", f"the target can't be read: {error.message}"
    return _compare(left, untouched=untouched, overtaken_by=writer if _overtaken(writer, intent) else "")


def _compare(left: list[tuple[str, ...]], *, untouched: bool, overtaken_by: str) -> tuple[str, str]:
    """`left`: for each step what of its end state does not hold; `untouched`: the state before the first step holds."""
    total = len(left)
    # Later steps may undo what an earlier one expects (a variant weighs 0, then is gone): the last that holds counts.
    done = max((index + 1 for index in range(total) if not left[index]), default=0)
    if done == total:
        return "applied", f"all {total} steps are seen to hold"
    if overtaken_by:
        return "superseded", f"intent {overtaken_by} wrote since"
    if done:
        return "partial", f"steps 1 to {done} of {total} hold, the rest was not done: {'; '.join(left[-1])}"
    if untouched:
        return "not_applied", "the target is as it was before"
    return "indeterminate", f"the target fits neither before nor after: {'; '.join(left[-1])}"


async def _last_writer(steps: tuple[tuple[Expectation, Expectation], ...], reader: Reader) -> str:
    """The intent that the endpoint itself names as its last writer, "" where it names none."""
    for _, expects in steps:
        if isinstance(expects, EndpointExpectation):
            stamp = (await reader.endpoint(expects.endpoint)).stamp
            return stamp.intent_id if stamp is not None else ""
    return ""


def _overtaken(writer: str, intent: OpenIntent) -> bool:
    # Intent ids are UUIDv7: they sort by the time at which they were made.
    return bool(writer) and writer != intent.intent_id and writer > intent.intent_id
