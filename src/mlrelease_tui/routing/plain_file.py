"""Reading a document that a hand, or another program, may have put something else in the place of."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 8_388_608
"""What is longer than this no program of ours wrote."""


def content_of(path: Path) -> bytes:
    """The bytes of a plain file, one more than MAX_BYTES where it is longer. OSError where it can't be read or is no plain file."""
    # Without waiting: in place of the document there may be a pipe, which would hold its reader for ever.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("it is no plain file")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    finally:
        os.close(handle)
