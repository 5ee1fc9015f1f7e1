"""What other programs of this host can read of this process, and what a child process inherits.

Facts: prctl(2) PR_SET_DUMPABLE (0 forbids ptrace and /proc/PID/{mem,environ} to other processes of the same uid; exec resets it in
a child), setrlimit(2) RLIMIT_CORE (inherited).
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from mlrelease_tui.domain.redaction import is_secret_name, looks_like_token
from mlrelease_tui.domain.secret import Secret

_PR_SET_DUMPABLE: Final = 4
_PR_GET_DUMPABLE: Final = 3


@dataclass(frozen=True, slots=True)
class Hardening:
    """What was reached: no core files, and not readable by other processes of the same user (Linux only)."""

    no_core: bool
    not_dumpable: bool


def harden_process() -> Hardening:
    """Turn off core dumps and forbid others of the same uid to attach or to read memory. Never raises; asks the kernel after."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    not_dumpable = False
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        not_dumpable = libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
    return Hardening(resource.getrlimit(resource.RLIMIT_CORE)[0] == 0, not_dumpable)


def scrubbed_environment(
    env: Mapping[str, str], *, keep: Collection[str] = (), drop: Collection[str] = (), secrets: Iterable[Secret] = ()
) -> dict[str, str]:
    """`env` for a child process: without variables that hold a secret by their name, shape or value.

    Dropped: names such as `*_TOKEN`, `*_KEY`, `*PASSWORD*`, those in `drop`, values shaped like a token, addresses with a password
    (a proxy's), and values that contain one of `secrets`. `keep` wins over all but `secrets`.
    """
    known = [secret.reveal() for secret in secrets]
    result: dict[str, str] = {}
    for name, value in env.items():
        if any(secret in value for secret in known):
            continue
        suspicious = name in drop or is_secret_name(name) or looks_like_token(value) or _has_password(value)
        if name in keep or not suspicious:
            result[name] = value
    return result


def _has_password(value: str) -> bool:
    if "@" not in value or "://" not in value:
        return False
    try:
        return urlsplit(value).password is not None
    except ValueError:
        return True
