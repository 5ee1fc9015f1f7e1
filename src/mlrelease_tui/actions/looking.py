"""Looking at a target until something is seen there, and finding out what became of a write whose answer was lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from mlrelease_tui.actions.omens import FAILED_S, Omens, written_after
from mlrelease_tui.actions.reading import Reader
from mlrelease_tui.actions.run import Run
from mlrelease_tui.domain.expectation import AliasExpectation, Expectation, subject_of
from mlrelease_tui.domain.plan import StepResult, StepStatus, Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Phase
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ReleaseError

_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 4.0
LOST_ANSWER_S: Final = 15.0
"""How long the truth is read for after an answer was lost, in seconds, before the outcome is called unknown."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Clocks: injected, so that tests do not wait."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(slots=True)
class Sight:
    """When a target could not be read last, on the monotonic clock in seconds; None where every look at it went well."""

    failed_at: float | None = None


class Looks:
    """Looks at targets, one after another with growing pauses. Holds nothing between calls."""

    def __init__(self, reader: Reader, pace: Pace) -> None:
        self._reader = reader
        self._pace = pace

    async def until(
        self,
        expects: Expectation,
        within_s: float,
        way: asyncio.Event | None = None,
        omens: Omens | None = None,
        sight: Sight | None = None,
    ) -> tuple[str, ...]:
        """Read with growing pauses until `expects` holds; what is missing when time is up, `way` is set or `omens` say that it will
        not come, empty when it held. `sight` is told of looks that failed."""
        deadline = self._pace.monotonic() + within_s
        wait = _FIRST_WAIT_S
        while True:
            try:
                left = await self._reader.mismatches(expects, omens.seen if omens is not None else None)
            except ReleaseError as error:
                left = (f"it can't be read: {error.message}",)
                if sight is not None:
                    sight.failed_at = self._pace.monotonic()
            if not left:
                return ()
            remaining = deadline - self._pace.monotonic()
            if remaining <= 0 or (way is not None and way.is_set()) or (omens is not None and omens.certain):
                return left
            longest = FAILED_S / 2 if omens is not None and omens.bad else _LONGEST_WAIT_S
            await self._pause(min(wait, remaining, longest), way)
            wait = min(wait * 2, _LONGEST_WAIT_S)

    async def _pause(self, seconds: float, way: asyncio.Event | None) -> None:
        if way is None:
            await self._pace.sleep(seconds)
            return
        pause, told = asyncio.ensure_future(self._pace.sleep(seconds)), asyncio.ensure_future(way.wait())
        try:
            await asyncio.wait({pause, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            told.cancel()

    async def find_out(self, run: Run, result: StepResult, step: Write) -> StepResult:
        """The answer was lost: read what is so. A write that is still not seen after LOST_ANSWER_S did not happen if the
        state before it is intact and carries no stamp of it; anything else stays unknown."""
        left = await self._seen(run, result.index, step)
        try:
            changed = await self._reader.mismatches(step.assumes)
        except ReleaseError:
            changed = ("it can't be read",)
        lost = f"the answer was lost ({result.detail})"
        if changed:
            if left:
                return replace(result, observed=left)
            return replace(result, status=StepStatus.VERIFIED, detail=SafeText(f"{lost}; a read shows it applied"))
        # A restart, say, looks the same before and after, and what takes long looks for long as before: then only the stamp that it
        # left can tell.
        stamped = await self._stamped(run, result.index, step)
        if not left and not stamped:
            return replace(result, detail=SafeText(f"{lost}; reads look the same before and after it"))
        if not left:
            return replace(result, status=StepStatus.VERIFIED, detail=SafeText(f"{lost}; a read shows it applied"))
        if stamped:
            detail = SafeText(
                f"{lost}; it arrived, as its stamp shows, and is not seen to take effect: {'; '.join(left)}"
            )
            return replace(result, detail=detail, observed=left)
        detail = SafeText(f"{lost}; reads show that it was not applied")
        return replace(result, status=StepStatus.REJECTED, detail=detail, observed=left)

    async def _seen(self, run: Run, index: int, step: Write) -> tuple[str, ...]:
        """What is missing of the effect after as long as it may take to show; empty where it was seen."""
        sight = Sight()
        left = await self.until(step.expects, LOST_ANSWER_S, sight=sight)
        if left and step.settle_s > LOST_ANSWER_S and not await self._never_arrived(run, index, step):
            left = await self.until(step.expects, step.settle_s - LOST_ANSWER_S, sight=sight)
        if not left or sight.failed_at is None:
            return left
        # What a backend took before it went silent it may carry out when it is back.
        since_s = self._pace.monotonic() - sight.failed_at
        return await self.until(step.expects, LOST_ANSWER_S - since_s) if 0 < since_s < LOST_ANSWER_S else left

    async def _never_arrived(self, run: Run, index: int, step: Write) -> bool:
        """Whether it is certain by now that a write whose answer was lost did not happen: nothing moved of what it was planned
        from, it left no stamp, and the backend has looked at all that there is. Only the first write on an object can tell."""
        expects = step.expects
        if isinstance(expects, AliasExpectation) or not _first(run, index, step):
            return False
        try:
            endpoint = await self._reader.endpoint(expects.endpoint)
            changed = await self._reader.mismatches(step.assumes)
        except ReleaseError:
            return False
        stamped = endpoint.stamp is not None and endpoint.stamp.intent_id == run.stamp.intent_id
        return not changed and not stamped and endpoint.rollout.phase is not Phase.UNKNOWN

    async def _stamped(self, run: Run, index: int, step: Write) -> bool:
        """Whether the endpoint carries this run's stamp, and only this step can have left it there."""
        expects = step.expects
        if isinstance(expects, AliasExpectation) or not _first(run, index, step):
            return False
        try:
            stamp = (await self._reader.endpoint(expects.endpoint)).stamp
        except ReleaseError:
            return False
        return stamp is not None and stamp.intent_id == run.stamp.intent_id

    async def other_hand(self, run: Run) -> str:
        """Who wrote to the endpoint after us, "" where nobody is known to have."""
        if not isinstance(run.plan.target, EndpointRef):
            return ""
        try:
            stamp = (await self._reader.endpoint(run.plan.target)).stamp
        except Exception:
            return ""  # whatever it is, nobody is known to have written
        return str(stamp.by) if stamp is not None and written_after(run.stamp, stamp, run.before) else ""


def _first(run: Run, index: int, step: Write) -> bool:
    """Whether no earlier write of the plan was on the same object."""
    return subject_of(step.expects) not in {subject_of(write.expects) for write in run.plan.steps[:index]}
