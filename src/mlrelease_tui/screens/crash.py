"""What is written down where the app crashes: the frames and the error's type. No local variable: a token may be among them."""

from __future__ import annotations

import os
import traceback
from datetime import datetime
from pathlib import Path


def write_crash(error: BaseException, folder: Path | None, now: datetime) -> str:
    """Write a crash log of its own into `folder`, None for nowhere; say where it is, or why there is none."""
    if folder is None:
        return "No crash log is kept here."
    path = folder / f"crash-{now:%Y%m%dT%H%M%SZ}-{os.getpid()}.log"
    frames = "".join(traceback.format_tb(error.__traceback__))
    try:
        # Each by itself: `parents` would give those above the mode that the umask leaves, which may be everybody's.
        for place in (*reversed(folder.parents), folder):
            place.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{type(error).__module__}.{type(error).__qualname__}\n{frames}")
    except OSError as problem:
        return f"The crash log could not be written: {problem.strerror}."
    return f"The crash log is {path}"
