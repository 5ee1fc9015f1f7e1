"""The command line: one module a group of commands. This one must stay cheap: the shell waits for it at every Tab."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command line on `sys.argv` and return the exit code."""
    try:
        return _main()
    except KeyboardInterrupt:
        # While it was still being loaded; later `run` hears it.
        return 130


def _main() -> int:
    _open_closed_streams()
    if sys.argv[1:] == ["--version"]:
        from mlrelease_tui import __version__

        try:
            sys.stdout.write(f"mlrelease {__version__}\n")
            sys.stdout.flush()
        except OSError:
            # Nobody takes it: `run` knows how to say so.
            pass
        else:
            return 0
    from mlrelease_tui.cli.entry import run

    return run(sys.argv[1:])


def _open_closed_streams() -> None:
    """Put nothing where a standard stream was closed before we were started.

    Its number is the lowest that is free: the next file that we open would take it, and get what is meant for the stream.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115 - as long as the process lives
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
