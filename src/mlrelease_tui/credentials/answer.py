"""What a credential command prints or a token file holds: a plain line, or JSON with a user and an expiry."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeGuard

from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.errors import CredentialError

_SECRET_KEYS: Final = ("token", "password", "secret", "Secret", "access_token")
_USER_KEYS: Final = ("user", "username", "Username")
_EXPIRY_KEYS: Final = ("expires_at", "expirationTimestamp", "expiry", "expiration")


@dataclass(frozen=True, slots=True)
class Answer:
    """`user` is "" where none was said; `is_password` where the key said so; `expires_at` is UTC."""

    secret: Secret
    user: str = ""
    expires_at: datetime | None = None
    is_password: bool = False


def read_answer(content: bytes, what: str, now: datetime) -> Answer:
    """Read what `what` ("the credential command of registry") gave. `CredentialError`, without the content, where it is unusable.

    Plain: the first line, as `pass` has it. JSON: `token`, `password`, `secret` or `access_token`; `user`; `expires_at`
    (RFC 3339 or seconds since 1970) or `expires_in` (seconds); so do the answers of Docker's helpers (`Username`, `Secret`)
    and Kubernetes' ExecCredential (`status`).
    """
    try:
        text = content.decode("utf-8-sig").strip("\r\n \t")
    except UnicodeDecodeError:
        raise CredentialError(f"{what} gave something that is not UTF-8") from None
    if not text:
        raise CredentialError(f"{what} gave nothing")
    answer = (
        _from_json(text, what, now) if text.startswith("{") else Answer(_secret(text.splitlines()[0].strip(), what))
    )
    if answer.expires_at is not None and answer.expires_at <= now:
        raise CredentialError(f"{what} gave a credential that expired at {answer.expires_at:%Y-%m-%dT%H:%M:%SZ}")
    return answer


def _from_json(text: str, what: str, now: datetime) -> Answer:
    try:
        given = json.loads(text, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError):
        raise CredentialError(f"{what} gave JSON that cannot be read, or a key in it twice") from None
    status = given.get("status")
    if isinstance(status, dict) and "token" in status:
        given = status
    key = next((key for key in _SECRET_KEYS if isinstance(given.get(key), str) and given[key]), None)
    if key is None:
        raise CredentialError(
            f"{what} gave JSON without a token or password", hint='{"token": "...", "expires_at": "..."}'
        )
    user = next((given[name] for name in _USER_KEYS if isinstance(given.get(name), str)), "")
    return Answer(_secret(given[key], what), user, _expiry(given, what, now), key in {"password", "Secret"})


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _secret(value: str, what: str) -> Secret:
    if not value:
        raise CredentialError(f"{what} gave an empty first line")
    # A line break inside would end an HTTP header early.
    if any(char < " " or char == "\x7f" for char in value):
        raise CredentialError(f"{what} gave a credential with control characters in it")
    return Secret(value)


def _expiry(given: dict[str, Any], what: str, now: datetime) -> datetime | None:
    lifetime = given.get("expires_in")
    moment = next((given[key] for key in _EXPIRY_KEYS if given.get(key) is not None), None)
    try:
        if isinstance(moment, str):
            parsed = datetime.fromisoformat(moment)
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        if _is_number(moment):
            return datetime.fromtimestamp(moment, UTC)
        if moment is None and _is_number(lifetime):
            return now + timedelta(seconds=lifetime)
        if moment is None and lifetime is None:
            return None
    except (ValueError, OverflowError, OSError):
        pass
    raise CredentialError(f"{what} gave an expiry that cannot be read", hint="RFC 3339, or seconds")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
