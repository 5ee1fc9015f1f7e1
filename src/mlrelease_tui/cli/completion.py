"""`completion`: the script by which a shell asks this program what may come next."""

from __future__ import annotations

from typing import Final

import click

from mlrelease_tui.cli.options import command

SHELLS: Final = ("bash", "zsh", "fish")


def script(shell: str) -> str:
    """The completion script of `shell`; it calls this program at every Tab, which then reads no more than two files."""
    from click.shell_completion import get_completion_class

    from mlrelease_tui.cli.entry import VARIABLE, root

    kind = get_completion_class(shell)
    if kind is None:
        raise LookupError(shell)
    maker = kind(root, {}, "mlrelease", VARIABLE)
    # Not `source()`: it runs the shell to learn its version, which a script for another host has no use for.
    return maker.source_template % maker.source_vars()


def _completion(ctx: click.Context, shell: str) -> int:
    click.echo(script(shell))
    return 0


completion = command(
    "completion",
    _completion,
    [click.Argument(["shell"], type=click.Choice(SHELLS))],
    help="Print the completion script of a shell. Names of endpoints come from the last known fleet, without any network.",
    example='eval "$(mlrelease completion bash)"\nmlrelease completion fish > ~/.config/fish/completions/mlrelease.fish',
)
