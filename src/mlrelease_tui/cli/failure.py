"""How an error is told: as an object on stdout with `--json`, else as a sentence and what to do next on stderr."""

from __future__ import annotations

import sys
from contextlib import suppress

import click

from mlrelease_tui.cli.action_shapes import error_shape
from mlrelease_tui.cli.output import Output, Unwritable
from mlrelease_tui.errors import ReleaseError, UsageError


class InternalFault(ReleaseError):
    """Something that nobody foresaw."""

    code = "internal"


def report(error: BaseException, *, as_json: bool) -> int:
    """Tell it and return the exit code."""
    known = translated(error)
    output = Output.of_process(as_json=as_json, no_color=False)
    if as_json:
        try:
            output.document(error_shape(known.code, known.message, known.hint, known.exit_code))
        except BrokenPipeError:
            return known.exit_code
        except Unwritable:
            # Whoever started us may still see this.
            pass
        else:
            return known.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        with suppress(OSError):
            error.show(sys.stderr)
        return known.exit_code
    output.note(f"mlrelease: {known.message}")
    if known.hint:
        output.note(f"  {known.hint}")
    return known.exit_code


def translated(error: BaseException) -> ReleaseError:
    """`error` as one of ours. Of an unforeseen one only the type is told: its text may quote a secret."""
    if isinstance(error, ReleaseError):
        return error
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "mlrelease"
        return UsageError(error.format_message(), hint=f"`{path} --help` shows what it takes")
    if isinstance(error, click.ClickException):
        return UsageError(error.format_message())
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace is not None else ""
    return InternalFault(f"stopped by a fault of its own: {type(error).__name__}{where}", hint="please report it")
