"""What a dead process left open: read the target, compare with what each write assumed and expected, say which.

Nothing is ever sent again. Results: applied · not_applied · partial (some steps of several) · superseded (someone wrote
since) · indeterminate (it can't be read or fits nothing; stays open).
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from mlrelease_tui.actions.executor import LOST_ANSWER_S, Pace
from mlrelease_tui.actions.journal import Journal, open_action, steps_of
from mlrelease_tui.actions.reading import Reader
from mlrelease_tui.audit.intents import OpenIntent
from mlrelease_tui.domain.action import OpenAction
from mlrelease_tui.domain.expectation import AliasExpectation, EndpointExpectation, Expectation, subject_of
from mlrelease_tui.errors import ReleaseError

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

_MAY_CHANGE: Final = frozenset({"not_applied", "partial"})


async def reconcile(journal: Journal, reader: Reader, pace: Pace, *, patient: bool = True) -> tuple[OpenAction, ...]:
    """Settle what can be settled, record it, and give back what stays open (the living and the indeterminate).

    What left a moment ago may still be on its way: "not applied" and "partial" are said LOST_ANSWER_S seconds after the last
    write left, not before: it is waited for where `patient`, else the intent stays open for the next look.
    """
    still: list[OpenAction] = []
    for intent in await asyncio.to_thread(journal.open_intents):
        action = open_action(intent)
        if action.alive:
            still.append(action)
            continue
        status, message = await _judge(intent, reader)
        wait = 0.1
        while patient and status in _MAY_CHANGE and (left_s := _settling_s(intent, pace)) > 0:
            await pace.sleep(min(wait, left_s))
            wait = min(wait * 2, 2.0)
            status, message = await _judge(intent, reader)
        if status in _MAY_CHANGE and _settling_s(intent, pace) > 0:
            still.append(action)
            continue
        last = intent.last_ending
        told = last is not None and last.section("result").get("status") == status
        if not told:
            await asyncio.to_thread(journal.reconciled, intent, status, message)
        if status == "indeterminate":
            still.append(action)
    return tuple(still)


def _settling_s(intent: OpenIntent, pace: Pace) -> float:
    """Seconds during which the last write that left may still take effect."""
    if not intent.sent:
        return 0.0
    age_s = (pace.now() - intent.sent[-1].at).total_seconds()
    # A wall clock that was set back must not make this wait for ever.
    return LOST_ANSWER_S - age_s if age_s >= 0 else 0.0


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
    sent = {step for record in intent.sent if isinstance(step := record.section("action").get("step"), int)}
    return _compare(
        _held(steps, left),
        left,
        sent,
        untouched=untouched,
        ours=writer == intent.intent_id,
        overtaken_by=writer if _overtaken(writer, intent) else "",
    )


def _held(steps: tuple[tuple[Expectation, Expectation], ...], left: list[tuple[str, ...]]) -> set[int]:
    """The steps whose effect is seen. Later steps may undo what an earlier one expects (a variant weighs 0, then is gone), so
    the last that holds counts for those before it, but only on the same object: an alias says nothing of an endpoint."""
    subjects = [subject_of(expects) for _, expects in steps]
    last: dict[str, int] = {}
    for index, subject in enumerate(subjects):
        if not left[index]:
            last[subject] = index
    return {index for index, subject in enumerate(subjects) if index <= last.get(subject, -1)}


def _compare(  # noqa: PLR0911 - one return for each way it can have ended
    held: set[int],
    left: list[tuple[str, ...]],
    sent: set[int],
    *,
    untouched: bool,
    ours: bool,
    overtaken_by: str,
) -> tuple[str, str]:
    """`held`: the steps whose end state is seen; `left`: for each step what of it is not; `sent`: those that may have left;
    `untouched`: the state before the first step holds; `ours`: the endpoint names this intent as its last writer."""
    total = len(left)
    if len(held) == total:
        if not untouched or ours:
            return "applied", f"all {total} steps are seen to hold"
        return "indeterminate", "what can be read is the same before and after it"
    if overtaken_by:
        return "superseded", f"intent {overtaken_by} wrote since"
    rest = "; ".join(text for index, texts in enumerate(left) if index not in held for text in texts)
    if held & sent:
        listed = ", ".join(str(index + 1) for index in sorted(held & sent))
        return "partial", f"of {total} steps {listed} is seen to hold, the rest is not: {rest}"
    if untouched and ours:
        return "superseded", "it was applied, and the target was put back since"
    if untouched:
        return "not_applied", "the target is as it was before"
    return "indeterminate", f"the target fits neither before nor after: {rest}"


async def _last_writer(steps: tuple[tuple[Expectation, Expectation], ...], reader: Reader) -> str:
    """The intent that the endpoint itself names as its last writer, or the alias where there is no endpoint; "" for none."""
    for _, expects in steps:
        if isinstance(expects, EndpointExpectation):
            stamp = (await reader.endpoint(expects.endpoint)).stamp
            return stamp.intent_id if stamp is not None else ""
    alias = steps[0][1]
    if isinstance(alias, AliasExpectation):
        mark = (await reader.model(alias.model)).stamps.get(alias.alias)
        return mark.intent_id if mark is not None else ""
    return ""


def _overtaken(writer: str, intent: OpenIntent) -> bool:
    # Intent ids are UUIDv7: they sort by the time at which they were made. Of any other id nobody can say when.
    return bool(_UUID.fullmatch(writer)) and writer > intent.intent_id
