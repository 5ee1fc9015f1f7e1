"""The verbs as commands, each twice: `VERB …` carries its plan out, `plan VERB …` only shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from mlrelease_tui.cli.options import WORD, Entry, LazyGroup, ReleaseCommand, Seconds, options_of
from mlrelease_tui.cli.wishes import SPECS, VerbSpec


def _confirming() -> list[click.Parameter]:
    return [
        click.Option(["--yes", "-y", "yes"], is_flag=True, help="Carry the plan out without asking."),
        click.Option(
            ["--confirm"], default="", metavar="NAME", help="The target's name, where the plan wants it typed."
        ),
        click.Option(
            ["--reason", "-m", "reason"], default="", help="Why: for the audit, and for who reads it at night."
        ),
        click.Option(["--plan-hash"], type=WORD, metavar="HASH", help="Refuse unless the fresh plan has this hash."),
    ]


def _window() -> click.Option:
    return click.Option(
        ["--window", "window_s"],
        type=Seconds(0, 3600),
        default=2.0,
        show_default=True,
        help="Seconds of metrics to look at before going on with a canary.",
    )


def _acting(spec: VerbSpec) -> ReleaseCommand:
    def run(ctx: click.Context, yes: bool, confirm: str, reason: str, plan_hash: str | None, **given: Any) -> int:
        from mlrelease_tui.cli.acting import Confirmation, act

        window_s = given.pop("window_s", 0.0)
        confirmation = Confirmation(yes=yes, typed=confirm, reason=reason, plan_hash=plan_hash or "")
        return act(options_of(ctx), spec, given, confirmation, window_s=window_s)

    return _command(spec, run, _confirming())


def _planning(spec: VerbSpec) -> ReleaseCommand:
    def run(ctx: click.Context, **given: Any) -> int:
        from mlrelease_tui.cli.acting import show_plan

        window_s = given.pop("window_s", 0.0)
        return show_plan(options_of(ctx), spec, given, window_s=window_s)

    return _command(spec, run, [])


def _command(spec: VerbSpec, run: Callable[..., int], more: list[click.Parameter]) -> ReleaseCommand:
    window: list[click.Parameter] = [_window()] if spec.forward else []
    example = spec.example if more else _as_plan(spec.example)
    return ReleaseCommand(
        spec.word,
        callback=click.pass_context(run),
        params=[*spec.params(), *more, *window],
        help=spec.help,
        example=example,
    )


def _as_plan(example: str) -> str:
    """The example of `VERB` as one of `plan VERB`: without what confirms it."""
    line = example.splitlines()[0].partition(" --yes")[0].partition(" --reason")[0]
    return line.replace("mlrelease ", "mlrelease plan ", 1)


promote, weight, hold, continue_, abort, rollback, alias, retry, restart, scale, switch, shadow = (
    _acting(spec) for spec in SPECS.values()
)
"""The commands, in the order of SPECS."""

PLANS: Final = {word: _planning(spec) for word, spec in SPECS.items()}


class _PlanGroup(LazyGroup):
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return PLANS.get(cmd_name)


plan = _PlanGroup(
    "plan",
    entries={word: Entry("", "", spec.help.partition(".")[0].partition(";")[0] + ".") for word, spec in SPECS.items()},
    help=(
        "Show what a verb would write: each call with what it assumes and how it is undone. Nothing is written.\n\n"
        "Exit code 0 where there is a plan, 4 where the verb is refused."
    ),
    example="mlrelease plan rollback fraud-scorer --json",
)
