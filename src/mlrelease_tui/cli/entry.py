"""The root of the command line: its commands by name, the app where none is named, and how an error leaves the program."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from mlrelease_tui import __version__
from mlrelease_tui.cli.options import Entry, LazyGroup, options_of, slow_option

_LOOK, _MOVE, _KEEP, _SETUP = "Look", "Move", "Audit", "Set up"
_HERE: Final = "mlrelease_tui.cli"

VARIABLE: Final = "_MLRELEASE_COMPLETE"
"""Set by the completion scripts: what a shell asks for at a Tab."""
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C: 128 + SIGINT."""
CLOSED_PIPE: Final = 141
"""Exit code where the reader of our output went away: 128 + SIGPIPE."""

COMMANDS: Final[dict[str, Entry]] = {
    "status": Entry(f"{_HERE}.status", "status", "What serves where, and what burns, worst first.", _LOOK),
    "models": Entry(f"{_HERE}.models", "models", "Models of the registries with their aliases.", _LOOK),
    "versions": Entry(f"{_HERE}.models", "versions", "Versions of a model, newest first.", _LOOK),
    "endpoint": Entry(f"{_HERE}.status", "endpoint", "Everything known of one endpoint.", _LOOK),
    "watch": Entry(f"{_HERE}.status", "watch", "A line each time something changes on an endpoint.", _LOOK),
    "plan": Entry(f"{_HERE}.verbs", "plan", "Show what a verb would write, and write nothing.", _LOOK),
    "promote": Entry(f"{_HERE}.verbs", "promote", "Start a canary, take its next step, or finish it.", _MOVE),
    "weight": Entry(f"{_HERE}.verbs", "weight", "Set the canary's share of traffic.", _MOVE),
    "hold": Entry(f"{_HERE}.verbs", "hold", "Pause a rollout where it is.", _MOVE),
    "continue": Entry(f"{_HERE}.verbs", "continue_", "Go on with a held rollout.", _MOVE),
    "abort": Entry(f"{_HERE}.verbs", "abort", "Traffic back to stable now.", _MOVE),
    "rollback": Entry(f"{_HERE}.verbs", "rollback", "Complete return to a good version.", _MOVE),
    "alias": Entry(f"{_HERE}.verbs", "alias", "Move a registry alias, alone.", _MOVE),
    "retry": Entry(f"{_HERE}.verbs", "retry", "Retry a rollout that failed.", _MOVE),
    "restart": Entry(f"{_HERE}.verbs", "restart", "Restart what serves an endpoint.", _MOVE),
    "scale": Entry(f"{_HERE}.verbs", "scale", "Set the number of replicas.", _MOVE),
    "switch": Entry(f"{_HERE}.verbs", "switch", "Blue-green cut-over.", _MOVE),
    "shadow": Entry(f"{_HERE}.verbs", "shadow", "Mirror a share of traffic to a version.", _MOVE),
    "audit": Entry(f"{_HERE}.audit", "audit", "Who did what, why, and how it ended.", _KEEP),
    "connections": Entry(f"{_HERE}.connections", "connections", "List, test, log in to connections.", _SETUP),
    "init": Entry(f"{_HERE}.initial", "init", "Write a configuration from what is found here.", _SETUP),
    "doctor": Entry(f"{_HERE}.doctor", "doctor", "What was found on this host, and what was decided.", _SETUP),
    "demo": Entry(f"{_HERE}.demo", "demo", "A whole environment to try it on, and the app on it.", _SETUP),
    "completion": Entry(f"{_HERE}.completion", "completion", "Print the completion script of a shell.", _SETUP),
}


def _root(ctx: click.Context) -> int:
    if ctx.invoked_subcommand is not None:
        return 0
    from mlrelease_tui.cli.home import open_app_or_status

    return open_app_or_status(options_of(ctx))


root = LazyGroup(
    "mlrelease",
    entries=COMMANDS,
    invoke_without_command=True,
    callback=click.pass_context(_root),
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=lambda ctx, _, value: _print_version(ctx) if value and not ctx.resilient_parsing else None,
            help="Print the version.",
        ),
        slow_option(),
    ],
    help=(
        "See which model version serves where and what it does to users, and move it: forward, hold, or back.\n\n"
        "Without a command it opens the app. ENDPOINT is connection/namespace/name, or any end of it that is "
        "unique. A command that changes something prints its plan and wants --yes.\n\n"
        "Exit codes: 0 done or healthy, 1 problem found or rejected, 2 usage or configuration, 3 backend "
        "unreachable, 4 refused, 5 outcome unknown."
    ),
    example="mlrelease demo\nmlrelease status --problems\nmlrelease rollback fraud-scorer --yes --reason INC-1234",
)


def _print_version(ctx: click.Context) -> NoReturn:
    click.echo(f"mlrelease {__version__}")
    ctx.exit(0)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code. Nothing escapes as a traceback: locals of a frame may hold a secret."""
    try:
        result = _complete() if VARIABLE in os.environ else _invoke(arguments)
        code = result if isinstance(result, int) else 0
    except BrokenPipeError:
        code = CLOSED_PIPE
    except (KeyboardInterrupt, click.exceptions.Abort):
        code = INTERRUPTED
    except click.exceptions.Exit as ending:
        code = ending.exit_code
    except (Exception, SystemExit) as error:
        # Nothing of ours asks the interpreter to exit: that is a plugin's fault, like any other.
        code = _failed(error, arguments)
    _flush()
    return code


def _invoke(arguments: Sequence[str]) -> object:
    # Not `root.main()`: that ends the process by itself, and differently, where a pipe is closed or Ctrl-C comes.
    with root.make_context("mlrelease", list(arguments)) as ctx:
        return root.invoke(ctx)


def _complete() -> int:
    from click.shell_completion import shell_complete

    return shell_complete(root, {}, "mlrelease", VARIABLE, os.environ[VARIABLE])


def _flush() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        # What is still buffered can go nowhere; without this the interpreter complains at its end.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _failed(error: BaseException, arguments: Sequence[str]) -> int:
    from mlrelease_tui.cli.failure import report

    before = list(arguments)[: list(arguments).index("--")] if "--" in arguments else arguments
    return report(error, as_json="--json" in before)
