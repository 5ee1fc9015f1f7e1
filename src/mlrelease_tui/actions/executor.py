"""Carrying a confirmed plan out: last look, durable intent, each step once, verify by reading, outcome.

Nothing is sent before the intent is on disk. No write is sent twice: where an answer is lost, the truth is read, not guessed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from mlrelease_tui.actions.journal import Journal
from mlrelease_tui.actions.looking import LOST_ANSWER_S, Looks, Pace
from mlrelease_tui.actions.omens import Omens
from mlrelease_tui.actions.reading import Reader
from mlrelease_tui.actions.run import Run, outcome_of
from mlrelease_tui.audit.redact import clean_text
from mlrelease_tui.connectors.api import Performer
from mlrelease_tui.domain.action import ActionProgress, Stage
from mlrelease_tui.domain.expectation import subject_of
from mlrelease_tui.domain.plan import (
    Level,
    Outcome,
    OutcomeKind,
    Plan,
    Refusal,
    StepResult,
    StepStatus,
    Write,
)
from mlrelease_tui.domain.policy import SECOND_PERSON, Access
from mlrelease_tui.domain.redaction import unforeseen
from mlrelease_tui.domain.refs import EndpointRef, TargetRef
from mlrelease_tui.domain.rollout import Endpoint, Stamp
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import NotDurable, OutcomeUnknown, ReleaseError, TimedOut, UnexpectedAnswer
from mlrelease_tui.store.facts import ActionProgressed, Fact

__all__ = ["CALLED_OFF", "LOST_ANSWER_S", "PERFORM_DEADLINE_S", "Executor", "Pace"]

PERFORM_DEADLINE_S: Final = 120.0
"""Seconds, on top of what a write may take to settle, after which a write without an answer counts as one that lost it."""
CALLED_OFF: Final = Refusal("called_off", "nothing was sent: it was called off before that", "plan it again")


class Executor:
    """Runs plans. One instance serves many at once; whoever calls sees to one plan per target.

    `known_as` tells what each of some connections calls us, as far as that is known.
    """

    def __init__(
        self,
        reader: Reader,
        journal: Journal,
        emit: Callable[[Fact], None],
        access: Callable[[], Access],
        pace: Pace | None = None,
        known_as: Callable[[Iterable[str]], Mapping[str, str]] = lambda _: {},
    ) -> None:
        self._reader = reader
        self._journal = journal
        self._emit = emit
        self._access = access
        self._known_as = known_as
        self._pace = pace or Pace()
        self._looks = Looks(reader, self._pace)
        self._ways: dict[str, asyncio.Event] = {}
        self._called_off: set[TargetRef] = set()
        self._committed: set[TargetRef] = set()

    def make_way(self, intent_id: str) -> bool:
        """End the wait for this action's last write to be seen, so that another can begin; False where it does not wait."""
        way = self._ways.get(intent_id)
        if way is None:
            return False
        way.set()
        return True

    def call_off(self, target: TargetRef) -> bool:
        """Keep what is under way on `target` from being sent; False where its first write leaves, or has left."""
        if target in self._committed:
            return False
        self._called_off.add(target)
        return True

    async def execute(self, plan: Plan, *, by: str, why: str, typed: str = "") -> Outcome | Refusal:
        """Carry `plan` out. A Refusal means that nothing was sent and nothing has changed."""
        try:
            return await self._execute(plan, by=by, why=why, typed=typed)
        finally:
            self._called_off.discard(plan.target)
            self._committed.discard(plan.target)

    async def _execute(self, plan: Plan, *, by: str, why: str, typed: str) -> Outcome | Refusal:
        looked: list[Endpoint] = []
        refusal = await self.refused(plan, why=why, typed=typed)
        if refusal is not None:
            return refusal
        refusal = await self._last_look(plan, looked.append)
        if refusal is None and plan.target in self._called_off:
            refusal = CALLED_OFF
        if refusal is not None:
            return await self.deny(plan, refusal, why)
        intent_id = await asyncio.to_thread(self._journal.new_intent_id)
        progress = ActionProgress(intent_id, plan, Stage.RECORDING, by, why, self._pace.now())
        before = next((item.stamp for item in looked if item.ref == plan.target), None)
        # What the backend keeps for everybody to read is what the audit says, without what somebody pasted into the reason.
        mark = Stamp(intent_id, plan.verb, SafeText(by), SafeText(clean_text(why)), self._pace.now())
        run = Run(plan, mark, progress, before)
        self._emit(ActionProgressed(progress))
        try:
            known_as = self._known_as(step.connection for step in plan.steps)
            await asyncio.to_thread(self._journal.intent, intent_id, plan, why=why, typed=typed, known_as=known_as)
        except NotDurable as error:
            not_sent = f"nothing was sent: {error.message}"
            self._progress(run, Stage.ENDED, outcome_of(run, OutcomeKind.REJECTED, not_sent))
            return Refusal(error.code, not_sent, error.hint)
        if plan.target in self._called_off:
            await self._end(run, outcome_of(run, OutcomeKind.REJECTED, CALLED_OFF.reason))
            return CALLED_OFF
        self._committed.add(plan.target)
        return await self._run(run)

    async def refused(self, plan: Plan, *, why: str, typed: str) -> Refusal | None:
        """Why `plan` may not be sent, which is recorded; None where it may. Its target is not looked at."""
        refusal = self._may_run(plan, why=why, typed=typed)
        return await self.deny(plan, refusal, why) if refusal is not None else None

    def _may_run(self, plan: Plan, *, why: str, typed: str) -> Refusal | None:
        now = self._pace.now()
        access = self._access()
        closed = access.may_write(now) or access.may_touch(step.connection for step in plan.steps if step.mutates)
        if closed is not None:
            return closed
        if plan.expired(now):
            return Refusal("plan_expired", "the plan is too old to send", "make it anew: the target may have moved")
        if plan.level >= Level.SECOND:
            return SECOND_PERSON
        if plan.level >= Level.NAME:
            if typed != plan.target.name:
                return Refusal(
                    "not_confirmed", f"type {plan.target.name} to confirm", "the name was not typed as shown"
                )
            if not why.strip():
                return Refusal("no_reason", "this plan wants a reason", "say why, for those who read the audit")
        return None

    async def _last_look(self, plan: Plan, seen_at: Callable[[Endpoint], None]) -> Refusal | None:
        """Whether what the plan was made from still holds. Only the first write on each object is asked: later ones build
        on it. `seen_at` is shown the endpoints that are read for it."""
        seen: set[str] = set()
        for step in plan.steps:
            subject = subject_of(step.assumes)
            if subject in seen:
                continue
            seen.add(subject)
            try:
                moved = await self._reader.mismatches(step.assumes, seen_at)
            except ReleaseError as error:
                return Refusal(error.code, f"{subject} can't be read now: {error.message}", error.hint)
            if moved:
                who = await self._who_wrote_last(plan)
                return Refusal(
                    "conflict", f"{subject} changed since the plan was made: {'; '.join(moved)}{who}", "plan again"
                )
        return None

    async def _who_wrote_last(self, plan: Plan) -> str:
        if not isinstance(plan.target, EndpointRef):
            return ""
        try:
            stamp = (await self._reader.endpoint(plan.target)).stamp
        except ReleaseError:
            return ""
        return f" (last written by {stamp.by}, {stamp.verb})" if stamp is not None else ""

    async def deny(self, plan: Plan, refusal: Refusal, why: str) -> Refusal:
        """A refused confirmation is worth a line; that the line can't be written changes nothing. Gives `refusal` back."""
        with suppress(NotDurable):
            await asyncio.to_thread(self._journal.denied, plan, refusal, why=why)
        return refusal

    # --- the run ------------------------------------------------------------------------------------------------------

    async def _run(self, run: Run) -> Outcome:
        started = self._pace.monotonic()
        message, kind, by = "", OutcomeKind.APPLIED, ""
        for index, step in enumerate(run.plan.steps):
            try:
                result = await self._step(run, index, step)
            except Exception as error:
                # Nobody foresaw it, so nobody knows how far it came. An action without an end would keep its target for itself.
                result = StepResult(index, StepStatus.UNKNOWN, SafeText(unforeseen(error)))
            run.results.append(result)
            if result.status is not StepStatus.VERIFIED:
                kind, message, by = await self._stopped(run, index, result)
                break
        outcome = replace(
            outcome_of(run, kind, message or f"done: {run.plan.summary}"),
            by=by,
            duration_s=self._pace.monotonic() - started,
        )
        return await self._end(run, outcome)

    async def _end(self, run: Run, outcome: Outcome) -> Outcome:
        try:
            await asyncio.to_thread(self._journal.outcome, run.plan, outcome, why=str(run.stamp.why))
        except NotDurable as error:
            outcome = replace(outcome, message=f"{outcome.message}; the outcome could not be recorded: {error.message}")
        self._progress(run, Stage.ENDED, outcome)
        return outcome

    async def _step(self, run: Run, index: int, step: Write) -> StepResult:
        run.step = index
        try:
            await asyncio.to_thread(self._journal.sent, run.stamp.intent_id, run.plan, index)
        except NotDurable as error:
            return StepResult(index, StepStatus.REJECTED, SafeText(f"not sent: {error.message}"))
        self._progress(run, Stage.SENDING)
        result = await self._perform(run, index, step)
        if result.status is StepStatus.SENT:
            self._progress(run, Stage.VERIFYING)
            result = await self._verify(run, result, step)
        elif result.status is StepStatus.UNKNOWN:
            self._progress(run, Stage.VERIFYING)
            result = await self._looks.find_out(run, result, step)
        # The outcome is still to be written, from the reserve; losing this line loses no truth.
        with suppress(NotDurable):
            await asyncio.to_thread(self._journal.step, run.stamp.intent_id, run.plan, result)
        return result

    async def _perform(self, run: Run, index: int, step: Write) -> StepResult:
        """Send it, once. Anything unforeseen, silence and strange answers count as sent: a connector's fault must not become
        a lie."""
        try:
            connector = self._reader.connector(step.connection)
            if not isinstance(connector, Performer):
                return StepResult(index, StepStatus.REJECTED, SafeText(f"{step.connection} can't carry out writes"))
            async with asyncio.timeout(PERFORM_DEADLINE_S + step.settle_s):
                receipt = await connector.perform(step, run.stamp)
            altered = "; ".join(receipt.altered)
            detail = SafeText(f"the server wrote something else: {altered}") if altered else receipt.detail
            return StepResult(index, StepStatus.SENT, detail, receipt.revision, receipt.altered)
        except (OutcomeUnknown, TimedOut, UnexpectedAnswer) as error:
            return StepResult(index, StepStatus.UNKNOWN, SafeText(error.message))
        except TimeoutError:
            return StepResult(index, StepStatus.UNKNOWN, SafeText(f"{step.connection} did not answer"))
        except ReleaseError as error:
            return StepResult(index, StepStatus.REJECTED, SafeText(str(error)), code=error.code)
        except (Exception, SystemExit) as error:
            return StepResult(index, StepStatus.UNKNOWN, SafeText(unforeseen(error)))

    async def _verify(self, run: Run, result: StepResult, step: Write) -> StepResult:
        """Read until what the step brings about is seen, the backend says that it failed, `settle_s` seconds passed, or something
        safer wants to begin: then "accepted, not observed"."""
        way = self._ways[run.stamp.intent_id] = asyncio.Event()
        altered = "; ".join(result.observed)
        omens = Omens(step.expects, run.stamp, self._pace.monotonic, before=run.before, altered=bool(altered))
        try:
            left = await self._looks.until(step.expects, step.settle_s, way, omens)
        finally:
            del self._ways[run.stamp.intent_id]
        if not left:
            return replace(result, status=StepStatus.VERIFIED, observed=())
        if omens.failed or altered:
            why = omens.failed or result.detail
            return replace(result, status=StepStatus.FAILED, detail=SafeText(why), observed=left)
        made_way = " (not waited for: it made way for a safer action)" if way.is_set() else ""
        return replace(
            result,
            status=StepStatus.UNKNOWN,
            detail=SafeText(f"accepted, not observed{made_way}: {'; '.join(left)}"),
            observed=left,
        )

    async def _stopped(self, run: Run, index: int, result: StepResult) -> tuple[OutcomeKind, str, str]:
        """How a run that did not reach its end is told: what is done, what is not, who else wrote."""
        done = f"{index} of {len(run.plan.steps)} steps are done and stay: " if index else ""
        done += "; ".join(step.after for step in run.plan.steps[:index])
        rest = f"; {done}" if index else "; nothing was changed"
        what = f"step {index + 1} ({run.plan.steps[index].call}): {result.detail}"
        if result.status is StepStatus.REJECTED:
            return OutcomeKind.REJECTED, what + rest, ""
        if result.status is StepStatus.FAILED:
            return OutcomeKind.FAILED, what + (f"; {done}" if index else ""), ""
        other = await self._looks.other_hand(run)
        if other:
            return OutcomeKind.REVERTED, f"{what}; {other} wrote after us", other
        rest = f"; {done}" if index else ""
        return OutcomeKind.UNKNOWN, f"{what}{rest}; `mlrelease status` reads again", ""

    def _progress(self, run: Run, stage: Stage, outcome: Outcome | None = None) -> None:
        run.progress = replace(run.progress, stage=stage, step=run.step, results=tuple(run.results), outcome=outcome)
        self._emit(ActionProgressed(run.progress))
