"""The command line: one module a group of commands. This one must stay cheap: the shell waits for it at every Tab."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line on `sys.argv` and return the exit code."""
    if sys.argv[1:] == ["--version"]:
        from mlrelease_tui import __version__

        sys.stdout.write(f"mlrelease {__version__}\n")
        return 0
    from mlrelease_tui.cli.entry import run

    return run(sys.argv[1:])
