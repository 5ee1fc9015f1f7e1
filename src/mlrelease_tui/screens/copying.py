"""Copying to the terminal's clipboard, and saying what was copied."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from mlrelease_tui.widgets.clipboard import sequence


def command(*words: str) -> str:
    """A command of this tool as a shell takes it: a name from outside is one word of it, whatever it holds."""
    return shlex.join(("mlrelease", *words))


def copy_out(text: str, what: str, environ: Mapping[str, str], write: Callable[[str], None]) -> str:
    """Send `text` through `write` to the terminal that `environ` tells of; the sentence that says so, or why not."""
    escape = sequence(text, environ)
    if escape is None:
        return f"{what}: too long for a terminal's clipboard"
    write(escape)
    told = text if "\n" not in text else f"{len(text)} characters"
    return f"sent {what}: {told}  (to the terminal's clipboard)"
