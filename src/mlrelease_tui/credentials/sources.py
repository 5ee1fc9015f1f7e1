"""One function a source: where it looks, what it refuses, and how it says so. None falls through to another.

Each takes what to call the connection and gives an `Answer`; `CredentialError` names the connection and the source, never
the value.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from mlrelease_tui.config.model import CredentialConfig
from mlrelease_tui.credentials.answer import Answer, read_answer
from mlrelease_tui.credentials.command import DEADLINE_S, MAX_OUTPUT, Runner, find_program
from mlrelease_tui.domain.redaction import redact_text
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import CredentialError
from mlrelease_tui.hardening import scrubbed_environment

MAX_FILE: Final = 64 * 1024
_STDERR_SHOWN: Final = 300


def from_command(
    name: str,
    source: CredentialConfig,
    *,
    env: Mapping[str, str],
    drop: Collection[str],
    run: Runner,
    now: datetime,
) -> Answer:
    """Run the command with a scrubbed environment (`drop`: variables of other connections) and read what it prints."""
    what = f"the credential command of {SafeText(name)}"
    program = find_program(source.command[0], env)
    if program is None:
        raise CredentialError(
            f"{what} cannot be run: {SafeText(source.command[0])} is not an executable file on the PATH",
            hint="give its absolute path",
        )
    try:
        output = run((program, *source.command[1:]), scrubbed_environment(env, keep=source.pass_env, drop=drop))
    except (OSError, ValueError) as problem:
        raise CredentialError(f"{what} cannot be run: {type(problem).__name__}") from None
    if output.timed_out:
        raise CredentialError(
            f"{what} did not end within {DEADLINE_S:g} s and was killed" + _said(output.stderr, output.stdout, env),
            hint="it gets no terminal: it cannot ask anything",
        )
    if output.flooded:
        raise CredentialError(f"{what} wrote more than {MAX_OUTPUT // 1024} KiB and was killed")
    if output.exit_code != 0:
        how = f"failed with exit code {output.exit_code}"
        if output.exit_code < 0:
            how = f"was ended by signal {-output.exit_code}"
        raise CredentialError(f"{what} {how}" + _said(output.stderr, output.stdout, env))
    return read_answer(output.stdout, what, now)


def _said(stderr: bytes, stdout: bytes, env: Mapping[str, str]) -> str:
    """The end of what the command complained of, without anything secret and without control characters."""
    text = stderr.decode("utf-8", "replace")
    # What it printed and what we hid from it are the secrets that it could know.
    hidden = {line.strip() for line in stdout.decode("utf-8", "replace").splitlines()}
    hidden |= {env[name] for name in set(env) - set(scrubbed_environment(env))}
    shown = redact_text(text, [Secret(value) for value in hidden if len(value) >= 4])
    shown = " ".join(shown.split())
    return f": {SafeText(shown[-_STDERR_SHOWN:])}" if shown else ""


def from_file(name: str, file: str, *, uid: int, now: datetime) -> Answer:
    """Read a token file: not a symbolic link, a regular file, ours, and closed to all others (mode 0600 or less)."""
    what = f"the credential file of {SafeText(name)}"
    return read_answer(read_private(Path(file), what, uid), what, now)


def read_private(path: Path, what: str, uid: int) -> bytes:
    """The bytes of a file that only `uid` can read or write; `CredentialError` where that is not so."""
    shown = SafeText(str(path))
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as problem:
        # O_NOFOLLOW says ELOOP of a link; asking the path itself may fail again, as the opening did.
        why = "it is a symbolic link" if problem.errno == errno.ELOOP else problem.strerror
        raise CredentialError(f"{what} cannot be opened: {shown}: {why}") from None
    except ValueError:
        raise CredentialError(f"{what} cannot be opened: {shown} is no path") from None
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise CredentialError(f"{what} is not a regular file: {shown}")
        if facts.st_uid != uid:
            raise CredentialError(f"{what} belongs to another user (uid {facts.st_uid}): {shown}")
        if facts.st_mode & 0o077:
            raise CredentialError(
                f"{what} is open to others (mode {stat.S_IMODE(facts.st_mode):04o}): {shown}", hint=f"chmod 600 {shown}"
            )
        content = os.read(handle, MAX_FILE + 1)
    finally:
        os.close(handle)
    if len(content) > MAX_FILE:
        raise CredentialError(f"{what} is larger than {MAX_FILE // 1024} KiB: {shown}")
    return content


def from_env(name: str, variable: str, env: Mapping[str, str]) -> Answer:
    """Read a variable of the environment that the program was started with."""
    value = env.get(variable, "").strip()
    if not value:
        raise CredentialError(f"the credential of {SafeText(name)} is in ${variable}, which is not set here")
    return read_answer(
        value.encode("utf-8", "surrogateescape"), f"${variable}, the credential of {SafeText(name)},", _NEVER
    )


_NEVER: Final = datetime.fromisoformat("0001-01-01T00:00:00+00:00")


def variables_of(sources: Iterable[CredentialConfig | None]) -> frozenset[str]:
    """Variables that hold a secret because the configuration says so."""
    return frozenset(source.variable for source in sources if source is not None and source.variable)
