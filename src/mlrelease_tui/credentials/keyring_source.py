"""The system's keyring: allow-listed backends only, in a thread of its own, three seconds at most.

What keyring does by itself is not enough: without D-Bus and with `keyrings.alt` installed it stores plain text and says
nothing, and it remembers its first choice for the life of the process. So the choice is made here, anew on each call, from
what the user configured (`PYTHON_KEYRING_BACKEND`, keyringrc.cfg) and else from the four stores that encrypt.
"""

from __future__ import annotations

import importlib
import os
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mlrelease_tui.domain.redaction import redact_text
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import CredentialError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

LIMIT_S: Final = 3.0

_ALLOWED: Final = (
    ("keyring.backends.SecretService", "Keyring"),
    ("keyring.backends.kwallet", "DBusKeyring"),
    ("keyring.backends.libsecret", "Keyring"),
    ("keyring.backends.macOS", "Keyring"),
)
_ALLOWED_MODULES: Final = frozenset(module for module, _ in _ALLOWED)
_ELSEWHERE: Final = 'use credential = { command = [...] } or { file = "..." }: both work over SSH'

_Result = TypeVar("_Result")

_one: Final = threading.Lock()
"""Held while the keyring is being asked, by whichever thread asks it."""


def read_secret(service: str, entry: str, *, limit_s: float = LIMIT_S) -> Secret | None:
    """The secret stored under (service, entry); None where there is none. `CredentialError` where the keyring is of no use."""

    def read() -> Secret | None:
        value = _backend().get_password(service, entry)
        return Secret(value) if value else None

    return _within(limit_s, read)


def store_secret(service: str, entry: str, secret: Secret, *, limit_s: float = LIMIT_S) -> str:
    """Store and read back; the name of the keyring that has it now."""

    def store() -> str:
        backend = _backend()
        backend.set_password(service, entry, secret.reveal())
        if backend.get_password(service, entry) != secret.reveal():
            raise CredentialError(
                "The keyring took the secret and does not give it back; nothing was stored.", hint=_ELSEWHERE
            )
        return _name(backend)

    return _within(limit_s, store)


def delete_secret(service: str, entry: str, *, limit_s: float = LIMIT_S) -> None:
    """Forget what is stored; no error where nothing is."""

    def delete() -> None:
        from keyring.errors import PasswordDeleteError

        try:
            _backend().delete_password(service, entry)
        except PasswordDeleteError:
            return

    _within(limit_s, delete)


def _within(limit_s: float, work: Callable[[], _Result]) -> _Result:
    """Run `work` in a daemon thread: a bus that never answers must not hold the caller, nor the exit of the program.

    One at a time: while a keyring waits for somebody to unlock it, whoever asks again would only add one more dialog and thread.
    """
    if not _one.acquire(timeout=limit_s):
        raise _silent(limit_s)
    results: queue.SimpleQueue[_Result | CredentialError] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put(work())
        except CredentialError as problem:
            results.put(problem)
        except BaseException as problem:
            results.put(_translated(problem))
        finally:
            _one.release()

    threading.Thread(target=run, name="keyring", daemon=True).start()
    try:
        result = results.get(timeout=limit_s)
    except queue.Empty:
        raise _silent(limit_s) from None
    if isinstance(result, CredentialError):
        # The frames inside the thread hold the secret in their locals.
        raise result.with_traceback(None) from None
    return result


def _silent(limit_s: float) -> CredentialError:
    return CredentialError(f"The keyring did not answer within {limit_s:g} s.", hint=_ELSEWHERE)


def _backend() -> KeyringBackend:
    configured = _configured()
    if configured is not None:
        return _checked(configured)
    viable: list[KeyringBackend] = []
    for module, name in _ALLOWED:
        kind = _viable(module, name)
        if kind is not None:
            viable.append(kind())
    if viable:
        return max(viable, key=lambda backend: float(backend.priority))
    raise _nothing_usable()


def _configured() -> KeyringBackend | None:
    """What the user told keyring to use, if anything."""
    try:
        from keyring import core
    except ImportError:
        raise CredentialError("The package `keyring` is not installed.", hint=_ELSEWHERE) from None
    named = os.environ.get("PYTHON_KEYRING_BACKEND")
    try:
        return core.load_env() if named is not None else core.load_config()
    except RuntimeError as problem:
        # A backend that says of itself that it cannot work here.
        raise _unavailable(problem) from None
    except Exception:
        if named is None:
            raise CredentialError("keyringrc.cfg names a keyring that cannot be loaded.", hint=_ELSEWHERE) from None
        raise CredentialError(
            f"PYTHON_KEYRING_BACKEND names a missing module: {SafeText(named)}", hint="unset it or install the backend"
        ) from None


def _checked(backend: KeyringBackend) -> KeyringBackend:
    if type(backend).__module__ in _ALLOWED_MODULES:
        return backend
    raise _refusal(backend)


def _viable(module: str, name: str) -> type[KeyringBackend] | None:
    try:
        kind: Any = getattr(importlib.import_module(module), name)
        return kind if kind.viable else None
    except Exception:
        return None


def _nothing_usable() -> CredentialError:
    """Why: another backend would have been taken and is refused, or there is none at all."""
    from keyring import backend

    others = [
        ring
        for ring in backend.get_all_keyring()
        if type(ring).__module__ not in _ALLOWED_MODULES
        and not type(ring).__module__.startswith("keyring.backends.")
        and float(ring.priority) > 0
    ]
    if others:
        return _refusal(max(others, key=lambda ring: float(ring.priority)))
    return _unavailable(None)


def _unavailable(_problem: object) -> CredentialError:
    return CredentialError("No system keyring on this host (normal over SSH).", hint=_ELSEWHERE)


def _refusal(backend: KeyringBackend) -> CredentialError:
    module, name = type(backend).__module__, type(backend).__name__
    if module == "keyring.backends.null":
        return CredentialError("Keyring is disabled (null backend); nothing was stored.", hint=_ELSEWHERE)
    if module == "keyring.backends.fail":
        return _unavailable(None)
    if "plain" in name.lower():
        return CredentialError(
            f"Refused: keyring would store the token unencrypted ({SafeText(name)}).", hint=_ELSEWHERE
        )
    return CredentialError(
        f"Refused: the keyring {SafeText(module)}.{SafeText(name)} is not one of SecretService, KWallet, libsecret, macOS.",
        hint=_ELSEWHERE,
    )


def _translated(problem: BaseException) -> CredentialError:
    from keyring import errors

    if isinstance(problem, errors.KeyringLocked):
        return CredentialError("Keyring is locked.", hint="unlock it outside this app, then press r")
    if isinstance(problem, errors.InitError):
        return CredentialError("Keyring has never been unlocked; its prompt needs a desktop.", hint=_ELSEWHERE)
    if isinstance(problem, errors.NoKeyringError | OSError):
        return _unavailable(problem)
    # Its text may quote what it was asked to store.
    kind = type(problem).__name__
    return CredentialError(f"The keyring failed ({SafeText(redact_text(kind))}).", hint=_ELSEWHERE)


def _name(backend: KeyringBackend) -> str:
    return type(backend).__module__.rpartition(".")[2]
