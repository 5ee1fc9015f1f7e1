"""What a dead process left open: read the target, compare with what each write assumed and expected, say which.

Nothing is ever sent again. Results: applied · not_applied · partial (some steps of several) · superseded (someone wrote
since) · indeterminate (it can't be read or fits nothing; stays open). Where the audit itself holds what became of a write, that
counts, however the target moved on since.

What left a moment ago may still be on its way: "not applied" and "partial" are recorded LOST_ANSWER_S seconds after the last
unanswered write left, not before. Until then the intent stays open, with what was seen so far. Nobody has to wait for that: a
later action on the target supersedes it, and the preconditions of both keep a late write from being lost on either side. Those
seconds are counted by the clock that never steps; by the wall only where the machine was started anew since.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Set
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from mlrelease_tui.actions.journal import Journal, best_effort_of, open_action, revision_of, steps_of
from mlrelease_tui.actions.looking import LOST_ANSWER_S, Pace
from mlrelease_tui.actions.reading import Reader
from mlrelease_tui.audit.intents import OpenIntent
from mlrelease_tui.audit.record import AuditRecord
from mlrelease_tui.domain.action import OpenAction
from mlrelease_tui.domain.expectation import AliasExpectation, EndpointExpectation, Expectation, subject_of
from mlrelease_tui.domain.redaction import unforeseen
from mlrelease_tui.domain.rollout import Phase
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ReleaseError

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

_MAY_CHANGE: Final = frozenset({"not_applied", "partial"})
_LONGEST_SETTLING: Final = timedelta(seconds=LOST_ANSWER_S)
_STEP: Final = timedelta(seconds=1)
"""By less the wall clock is not said to have stepped."""

UNSEEN_LIFE_S: Final = 1800.0
"""A process that can't be seen (in another container, say) counts as at work for so long, in seconds, after its last record: longer
than a write may take. After that it must have ended, or nobody could ever act on its target again."""
REFUSED: Final = "its write was refused: nothing was changed"


class Reconciler:
    """Looks at open intents, each by itself. Several looks at once are fine: what one has recorded no other records again.

    `under_way` gives the intents that this process has in hand. Any other that it began is over, recorded or not.
    """

    def __init__(
        self, journal: Journal, reader: Reader, pace: Pace, under_way: Callable[[], Set[str]] = frozenset
    ) -> None:
        self._journal = journal
        self._reader = reader
        self._pace = pace
        self._under_way = under_way
        self._told: dict[str, str] = {}
        self._closed: set[str] = set()
        self._seen: dict[str, str] = {}

    async def listed(self) -> tuple[OpenAction, ...]:
        """The open actions as the audit has them: no backend is asked, nothing is recorded."""
        return tuple(self._shown(intent) for intent in await asyncio.to_thread(self._journal.open_intents))

    async def look(self, target: str = "") -> tuple[OpenAction, ...]:
        """Settle what can be settled of `target` (an id; "" for every one), record it, and give back all that stay open.

        NotDurable where that can't be recorded.
        """
        intents = await asyncio.to_thread(self._journal.open_intents)
        looks = (self._look(intent, target) for intent in intents)
        found = await asyncio.gather(*looks, return_exceptions=True)
        for item in found:
            if isinstance(item, BaseException):
                raise item
        # Another look may have been faster with one of them.
        return tuple(item for item in found if isinstance(item, OpenAction) and item.intent_id not in self._closed)

    def _shown(self, intent: OpenIntent) -> OpenAction:
        action = open_action(intent)
        if action.alive and self._journal.began(intent.intent_id):
            action = replace(action, alive=intent.intent_id in self._under_way())
        if action.alive and intent.life == "unknown" and self._silent_s(intent) >= UNSEEN_LIFE_S:
            action = replace(action, alive=False)
        seen = SafeText("" if action.alive else self._seen.get(intent.intent_id, ""))
        return replace(action, settles_at=self._settles_at(intent), seen=seen)

    def _silent_s(self, intent: OpenIntent) -> float:
        """How long ago anything was recorded of it, in seconds."""
        last = intent.followed_by[-1] if intent.followed_by else intent.intent
        age_s = self._journal.age_s(last, self._pace.monotonic())
        return age_s if age_s is not None else (self._pace.now() - last.at).total_seconds()

    def _settles_at(self, intent: OpenIntent) -> datetime | None:
        """Until when, by the wall clock, a write that left may still take effect; None where none is on its way any more."""
        sent, now = intent.unanswered, self._pace.now()
        if sent is None:
            return None
        until = sent.at + _LONGEST_SETTLING
        age_s = self._journal.age_s(sent, self._pace.monotonic())
        if age_s is None:
            # Of another boot: a wall clock that was set back meanwhile must not keep it open for ever.
            return until if sent.at <= now < until else None
        left = _LONGEST_SETTLING - timedelta(seconds=age_s)
        if left <= timedelta():
            return None
        return until if abs(now + left - until) < _STEP else now + left

    async def _look(self, intent: OpenIntent, target: str) -> OpenAction | None:
        action = self._shown(intent)
        if action.alive or (target and action.target != target):
            return action
        if intent.overtaken_by is not None:
            if action.settles_at is not None and _may_arrive_unasked(intent):
                return action
            await self._record(intent, "superseded", self._overtaken(intent, intent.overtaken_by))
            return None
        status, message = await _judge(intent, self._reader, self._journal)
        if status in _MAY_CHANGE and action.settles_at is not None:
            self._seen[intent.intent_id] = f"{status}: {message}"
            return self._shown(intent)
        status, message = _by_record(intent, status, message)
        self._seen[intent.intent_id] = f"{status}: {message}"
        await self._record(intent, status, message)
        return self._shown(intent) if status == "indeterminate" else None

    async def _record(self, intent: OpenIntent, status: str, message: str) -> None:
        last = intent.last_ending
        before = self._told.get(intent.intent_id, last.section("result").get("status") if last is not None else None)
        if before == status or intent.intent_id in self._closed:
            return
        self._told[intent.intent_id] = status
        if status != "indeterminate":
            self._closed.add(intent.intent_id)
        writing = asyncio.ensure_future(asyncio.to_thread(self._journal.reconciled, intent, status, message))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # The log must not be closed under a line that is half written.
            await asyncio.wait({writing})
            raise
        except Exception:
            self._told.pop(intent.intent_id, None)
            self._closed.discard(intent.intent_id)
            raise

    def _overtaken(self, intent: OpenIntent, outcome: AuditRecord) -> str:
        seen = self._seen.get(intent.intent_id, "")
        verb = str(outcome.section("action").get("verb", "another action"))
        said = f"{verb} was carried out on it since, by intent {outcome.intent_id}"
        return said + (f"; seen before that: {seen}" if seen else "")


def _may_arrive_unasked(intent: OpenIntent) -> bool:
    """Whether the write on its way has no precondition in its backend: what was done since does not keep it out."""
    sent = intent.unanswered
    return sent is not None and best_effort_of(intent, sent.section("action").get("step"))


async def _judge(intent: OpenIntent, reader: Reader, journal: Journal) -> tuple[str, str]:
    """What reads show."""
    steps = steps_of(intent)
    if not steps:
        return "indeterminate", "the intent's steps can't be read"
    if not intent.sent:
        return "not_applied", "the process ended before anything was sent"
    try:
        left = [await reader.mismatches(expects) for _, expects in steps]
        untouched = not await reader.mismatches(steps[0][0])
        last = await _last_writer(intent, steps, reader)
        as_planned = untouched and last.as_planned
        wrote_since = not as_planned and await asyncio.to_thread(_overtaken, last.writer, intent, journal)
    except ReleaseError as error:
        return "indeterminate", f"the target can't be read: {error.message}"
    except Exception as error:
        # A connector's odd answer, or a record that somebody edited, must not keep the others from being looked at.
        return "indeterminate", f"what was read can't be compared: {unforeseen(error)}"
    sent = {step for record in intent.sent if isinstance(step := record.section("action").get("step"), int)}
    return _compare(
        _held(steps, left),
        left,
        sent,
        untouched=untouched,
        ours=last.writer == intent.intent_id,
        at_rest=last.at_rest,
        overtaken_by=last.writer if wrote_since else "",
    )


def _by_record(intent: OpenIntent, status: str, message: str) -> tuple[str, str]:
    """What reads show, and where they can't tell or are at odds with it, what the audit holds of each write instead."""
    total = len(steps_of(intent))
    last = max(
        (step for item in intent.sent if isinstance(step := item.section("action").get("step"), int)), default=-1
    )
    answer = intent.answer(last)
    # The next write leaves only after the effect of the one before was seen.
    done = range(last + 1) if answer == "verified" else range(last)
    if not 0 <= last < total:
        return status, message
    took = f"of {total} steps {', '.join(str(step + 1) for step in done)} took effect"
    if answer == "rejected":
        return ("partial", f"{took}, the next was refused") if done else ("not_applied", REFUSED)
    if status == "not_applied" and done:
        return "superseded", f"{took}, and the target was put back since"
    if status in {"partial", "indeterminate"} and len(done) == total:
        return "applied", f"all {total} steps took effect before the process ended"
    if status == "indeterminate" and answer == "verified":
        return "partial", f"{took} before the process ended, the rest was never sent"
    return status, f"{message}; {took}" if status == "indeterminate" and done else message


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
    at_rest: bool,
    overtaken_by: str,
) -> tuple[str, str]:
    """`held`: the steps whose end state is seen; `left`: for each step what of it is not; `sent`: those that may have left;
    `untouched`: the state before the first step holds; `ours`: the endpoint names this intent as its last writer;
    `at_rest`: nothing is on its way there."""
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
    if untouched and ours and not at_rest:
        return "indeterminate", "it arrived, as its stamp shows, and is not seen to take effect yet"
    if untouched and ours:
        return "superseded", "it was applied, and the target was put back since"
    if untouched:
        return "not_applied", "the target is as it was before"
    return "indeterminate", f"the target fits neither before nor after: {rest}"


class _Last(NamedTuple):
    """The intent that a target names as its last writer, "" for none; whether the target is at the very revision that the plan was
    made from, so that nobody wrote since; and whether nothing is on its way there."""

    writer: str = ""
    as_planned: bool = False
    at_rest: bool = True


async def _last_writer(intent: OpenIntent, steps: tuple[tuple[Expectation, Expectation], ...], reader: Reader) -> _Last:
    """Of the endpoint, or of the alias where there is no endpoint."""
    for _, expects in steps:
        if isinstance(expects, EndpointExpectation):
            endpoint = await reader.endpoint(expects.endpoint)
            return _Last(
                endpoint.stamp.intent_id if endpoint.stamp is not None else "",
                endpoint.revision == revision_of(intent, endpoint.ref.id),
                endpoint.rollout.phase is Phase.COMPLETE,
            )
    alias = steps[0][1]
    if isinstance(alias, AliasExpectation):
        mark = (await reader.model(alias.model)).stamps.get(alias.alias)
        return _Last(mark.intent_id if mark is not None else "")
    return _Last()


def _overtaken(writer: str, intent: OpenIntent, journal: Journal) -> bool:
    """Whether `writer` began after this intent. Reads the audit."""
    if not _UUID.fullmatch(writer) or writer == intent.intent_id:
        return False
    begun = journal.seq_of(writer)
    if begun is not None:
        return begun > intent.intent.seq
    # Intent ids are UUIDv7: they sort by the time at which they were made. Of any other id nobody can say when.
    return writer > intent.intent_id
