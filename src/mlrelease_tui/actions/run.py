"""One plan on its way, and what it amounts to at its end."""

from __future__ import annotations

from collections.abc import Sequence

from mlrelease_tui.domain.action import ActionProgress
from mlrelease_tui.domain.plan import Outcome, OutcomeKind, Plan, StepResult, StepStatus
from mlrelease_tui.domain.rollout import Stamp


class Run:
    """One plan on its way: what grows while it runs. `before` is the stamp that its target carried when it was looked at last."""

    def __init__(self, plan: Plan, stamp: Stamp, progress: ActionProgress, before: Stamp | None) -> None:
        self.plan = plan
        self.stamp = stamp
        self.before = before
        self.progress = progress
        self.results: list[StepResult] = []
        self.step = 0


def outcome_of(run: Run, kind: OutcomeKind, message: str) -> Outcome:
    return Outcome(
        intent_id=run.stamp.intent_id,
        kind=kind,
        plan_hash=run.plan.plan_hash,
        steps=(*run.results, *_never_sent(run)),
        message=message,
        verified=tuple(
            step.after
            for step, result in zip(run.plan.steps, run.results, strict=False)
            if result.status is StepStatus.VERIFIED
        ),
    )


def _never_sent(run: Run) -> Sequence[StepResult]:
    return [StepResult(index, StepStatus.NOT_SENT) for index in range(len(run.results), len(run.plan.steps))]
