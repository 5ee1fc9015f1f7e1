"""What an API server answers when it says no, as errors of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import (
    BackendError,
    Conflict,
    Forbidden,
    NotFound,
    RateLimited,
    Rejected,
    ReleaseError,
    Unauthenticated,
    UnexpectedAnswer,
)

Object = Mapping[str, Any]
"""An object of the API, as the server sent it."""


class Gone(BackendError):
    """410: what was asked for is no longer remembered. List anew."""

    code = "gone"


class Undryable(Rejected):
    """A dry run that a webhook with side effects does not let through: it says nothing of the write itself."""


class FailedTest(Conflict):
    """A JSON Patch `test` that did not hold. The server never says which: who sent the patch reads again and finds out."""


_HINTS: Final[Mapping[int, tuple[type[ReleaseError], str]]] = {
    401: (Unauthenticated, "log in anew; `mlrelease connections test` shows how we come"),
    403: (Forbidden, "ask for the right, or use another context"),
    410: (Gone, "read again"),
    404: (NotFound, "it was deleted, or this cluster does not serve its kind"),
}
_HOOKED: Final = "nothing was written; the webhook's owner says what it wants"
_NOBODY: Final = "system:anonymous"
_OBJECT: Final = re.compile(r'Invalid value: "(?:[^"\\]|\\.){200,}"')
"""An object that the server quotes whole where it refuses a patch: it hides the reason behind it, and holds environments."""
_WEBHOOK: Final = ("admission webhook", "failed calling webhook")
_UNDRYABLE: Final = "does not support dry run"


def refusal_of(
    where: str, status: int, answer: bytes | Object, asked: str, *, writing: bool = False, retry_after: str = ""
) -> ReleaseError:
    """Our error for a status of the API server. The text is the server's, for a person to read. `retry_after` is the header's, in
    seconds."""
    detail = _status_of(answer)
    said = SafeText(_OBJECT.sub("its new state", str(detail.get("message") or f"HTTP {status}")), limit=400)
    found = detail.get("details")
    details = found if isinstance(found, Mapping) else {}
    text = f"{where}: {asked}: {said}"
    if status == 403 and _NOBODY in said:
        return Unauthenticated(f"{where} takes us for nobody: {said}", hint="give the kubeconfig's user a credential")
    hooked = writing and any(word in said for word in _WEBHOOK)
    if hooked or status in _HINTS:
        # A webhook chooses the status of its no: 403 where it chooses none.
        kind, hint = (Undryable if _UNDRYABLE in said else Rejected, _HOOKED) if hooked else _HINTS[status]
        return kind(text, hint=hint)
    if status == 429:
        wait = retry_after if retry_after.isdigit() else str(details.get("retryAfterSeconds") or 0)
        return RateLimited(text, hint="it is overloaded", retry_after_s=float(wait[:9]) if wait.isdigit() else 0.0)
    if 300 <= status < 400:
        return UnexpectedAnswer(
            f"{where}: {asked}: it sends us elsewhere, which is not followed", hint="a login page in front of it?"
        )
    return _no_to_write(text, status, said, details) if writing else UnexpectedAnswer(text, hint="read again")


def _no_to_write(text: str, status: int, said: str, details: Object) -> ReleaseError:
    if status == 409:
        return Conflict(text, hint="read it again and make a new plan")
    if status == 422 and not details.get("causes"):
        return FailedTest(text, hint="read it again and make a new plan")
    if status in {400, 415, 422}:
        return Rejected(text, hint="nothing was written; correct what it names")
    return UnexpectedAnswer(text, hint="read again")


def _status_of(answer: bytes | Object) -> Object:
    if not isinstance(answer, bytes):
        return answer
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
