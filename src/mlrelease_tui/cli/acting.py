"""Carrying a verb out from the command line: plan, show, confirm, send, tell the outcome. The core does the rest."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mlrelease_tui import errors
from mlrelease_tui.cli import text
from mlrelease_tui.cli.action_shapes import (
    error_shape,
    open_action_shape,
    outcome_shape,
    plan_shape,
    refused_plan_shape,
)
from mlrelease_tui.cli.confirming import Answer, confirm
from mlrelease_tui.cli.finding import read_endpoints
from mlrelease_tui.cli.output import Output, Unwritable
from mlrelease_tui.cli.reading import has_metrics, read_window
from mlrelease_tui.cli.session import Detached, output_of, with_program
from mlrelease_tui.cli.settling import settling
from mlrelease_tui.domain.action import ActionProgress, Stage
from mlrelease_tui.domain.intents import Intent
from mlrelease_tui.domain.plan import Outcome, OutcomeKind, Plan, Refusal
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.store.facts import ActionProgressed, Fact
from mlrelease_tui.store.state import State

if TYPE_CHECKING:
    from mlrelease_tui.bootstrap import Program
    from mlrelease_tui.cli.options import Options
    from mlrelease_tui.cli.wishes import VerbSpec

SETTLE_S: Final = 4.0
"""Seconds that an operator who stops waiting still waits, so that an outcome which is nearly there is told."""
_NOT_UNDONE: Final = (
    "stopped waiting; the action is not undone. Its outcome is recorded if it comes within "
    f"{SETTLE_S:g} s, else found by reading at the next start"
)
ARM_MINUTES: Final = 2
_EXIT: Final = {
    OutcomeKind.APPLIED: 0,
    OutcomeKind.REJECTED: 1,
    OutcomeKind.FAILED: 1,
    OutcomeKind.REVERTED: 1,
    OutcomeKind.UNKNOWN: 5,
}
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What was given on the command line: consent, the typed name, why, and the plan that was looked at before."""

    yes: bool
    typed: str
    reason: str
    plan_hash: str


def show_plan(options: Options, spec: VerbSpec, given: Mapping[str, Any], *, window_s: float) -> int:
    """`plan VERB …`: the plan or the refusal; nothing is written, nothing is armed."""
    output = output_of(options)

    async def work(program: Program) -> int:
        async with settling(program, output) as before:
            intent = await spec.wish(program, given)
            await _measure(program, spec, intent, window_s)
            made = await before.prepared(intent)
        if isinstance(made, Refusal):
            if output.as_json:
                output.document(refused_plan_shape(spec.word, intent.target.id, made))
            else:
                _say_refused(output, made)
            return refusal_exit(made)
        if output.as_json:
            output.document(plan_shape(made))
        else:
            output.lines(text.plan(made, output.glyphs))
        return 0

    return with_program(options, work)


def act(
    options: Options, spec: VerbSpec, given: Mapping[str, Any], confirmation: Confirmation, *, window_s: float
) -> int:
    """`VERB …`: show the plan, have it confirmed, carry it out, tell how it ended."""
    output = output_of(options)

    async def work(program: Program) -> int:
        async with settling(program, output) as before:
            intent = await spec.wish(program, given)
            await _measure(program, spec, intent, window_s)
            made = await before.prepared(intent)
            return await _confirmed(program, output, made, confirmation)

    return with_program(options, work)


async def _confirmed(program: Program, output: Output, made: Plan | Refusal, confirmation: Confirmation) -> int:
    if isinstance(made, Refusal):
        return _refuse(output, made)
    if not output.as_json:
        output.lines(text.plan(made, output.glyphs))
    if confirmation.plan_hash and confirmation.plan_hash != made.plan_hash:
        reason = f"the plan is another than {confirmation.plan_hash}: what it was made from has changed"
        reason += _last_writer(program, made)
        return _refuse(output, Refusal("plan_changed", reason, f"look at it, then --plan-hash {made.plan_hash}"), made)
    answer = await confirm(
        made, yes=confirmation.yes, typed=confirmation.typed, reason=confirmation.reason, output=output
    )
    if isinstance(answer, Refusal):
        return _refuse(output, answer, made)
    return await _send(program, output, made, answer)


async def _measure(program: Program, spec: VerbSpec, intent: Intent, window_s: float) -> None:
    """Before going on with a canary, look at what it does to users, so that harm makes confirming harder."""
    target = intent.target
    if not spec.forward or not window_s or not isinstance(target, EndpointRef) or not has_metrics(program):
        return
    endpoint = program.store.state.endpoints.get(target)
    if endpoint is None or target.connection in program.store.state.from_cache:
        await read_endpoints(program)
        endpoint = program.store.state.endpoints.get(target)
    if endpoint is None or endpoint.canary is None:
        return
    await program.poller.once_metrics()
    await read_window(program, window_s)


async def _send(program: Program, output: Output, plan: Plan, answer: Answer) -> int:
    refusal = await program.desk.arm(ARM_MINUTES)
    if refusal is not None:
        return _refuse(output, refusal, plan)
    called_off = False
    with _progress(program, output), _stopping() as stop:
        action = asyncio.ensure_future(program.desk.submit(plan, why=answer.reason, typed=answer.typed))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({action, stopped}, return_when=asyncio.FIRST_COMPLETED)
        detached = not action.done()
        if detached:
            called_off = await program.desk.stop_waiting(plan.target)
            output.note("called off: nothing of it is sent" if called_off else _NOT_UNDONE)
            stop.clear()
            await asyncio.wait({action, asyncio.ensure_future(stop.wait())}, timeout=SETTLE_S)
        stopped.cancel()
        if not action.done():
            if called_off:
                from mlrelease_tui.actions.executor import CALLED_OFF

                raise Detached(_refuse(output, CALLED_OFF, plan))
            return _left_open(output, plan)
    result = action.result()
    if isinstance(result, Refusal):
        return _refuse(output, result, plan)
    # The precondition kept it out, as it would have a moment earlier.
    code = 4 if result.overtaken else _EXIT[result.kind]
    # It is done and recorded, whether or not anybody is left to read of it.
    try:
        _tell(program, output, plan, result, answer.reason)
    except BrokenPipeError:
        pass
    except Unwritable as error:
        output.note(f"{result.kind}: {result.message}; {error.message}")
        output.note(f"  it is recorded: mlrelease audit show {result.intent_id}")
    if detached:
        raise Detached(code)
    return code


def _last_writer(program: Program, plan: Plan) -> str:
    """ " (last written by …)", where the target says who wrote to it last."""
    endpoint = program.store.state.endpoints.get(plan.target) if isinstance(plan.target, EndpointRef) else None
    if endpoint is None or endpoint.stamp is None:
        return ""
    stamp = endpoint.stamp
    return f" (last written by {stamp.by}, {stamp.verb}, intent {stamp.intent_id})"


def _left_open(output: Output, plan: Plan) -> int:
    error = errors.OutcomeUnknown(
        f"nobody waited for the outcome of {plan.verb} {plan.target.id}",
        hint="the next start reads what became of it; `mlrelease audit list` shows it",
    )
    with suppress(BrokenPipeError, Unwritable):
        if output.as_json:
            output.document(error_shape(error.code, error.message, error.hint, error.exit_code, plan=plan))
        else:
            output.note(str(error))
    raise Detached(error.exit_code)


def _tell(program: Program, output: Output, plan: Plan, result: Outcome, why: str) -> None:
    if not output.as_json:
        output.lines(text.outcome(result, plan, output.glyphs))
        return
    shape = outcome_shape(plan, result, why=why)
    left_open = [open_action_shape(action) for action in program.store.state.open_actions]
    output.document(shape | ({"open_actions": left_open} if left_open else {}))


@contextmanager
def _progress(program: Program, output: Output) -> Iterator[None]:
    """Say on stderr what is being done, where a person may wait for it."""
    said: set[tuple[int, Stage]] = set()

    def hear(_state: State, fact: Fact) -> None:
        if isinstance(fact, ActionProgressed):
            _say_stage(fact.action, said, output)

    unsubscribe = program.store.subscribe(hear) if not output.as_json else lambda: None
    try:
        yield
    finally:
        unsubscribe()


def _say_stage(action: ActionProgress, said: set[tuple[int, Stage]], output: Output) -> None:
    if action.stage is Stage.ENDED or (action.step, action.stage) in said:
        return
    said.add((action.step, action.stage))
    if action.stage is Stage.RECORDING:
        output.note(f"recording intent {action.intent_id}")
        return
    step = action.plan.steps[action.step]
    output.note(f"step {action.step + 1} of {len(action.plan.steps)}: {action.stage} {step.connection} {step.after}")


@contextmanager
def _stopping() -> Iterator[asyncio.Event]:
    """While an action is under way a signal means "stop waiting", not "stop in the middle".

    One that we were told to ignore stays ignored: under `nohup` a lost session must not end a rollback half-way.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heard:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in heard:
            loop.remove_signal_handler(number)


# --- refusals ---------------------------------------------------------------------------------------------------------

_UNREACHABLE: Final = frozenset(
    kind.code
    for kind in (
        errors.BackendError,
        errors.Unreachable,
        errors.TimedOut,
        errors.Unauthenticated,
        errors.Forbidden,
        errors.RateLimited,
        errors.UnexpectedAnswer,
    )
)


def refusal_exit(refusal: Refusal) -> int:
    """3 where there is no plan because a backend could not be asked, else 4."""
    return 3 if refusal.code in _UNREACHABLE else 4


def _refuse(output: Output, refusal: Refusal, plan: Plan | None = None) -> int:
    code = refusal_exit(refusal)
    if output.as_json:
        output.document(error_shape(refusal.code, refusal.reason, refusal.hint, code, plan=plan))
    else:
        _say_refused(output, refusal)
    return code


def _say_refused(output: Output, refusal: Refusal) -> None:
    output.note(f"refused: {refusal.reason}")
    if refusal.hint:
        output.note(f"  {refusal.hint}")
