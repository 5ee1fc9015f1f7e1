"""From an HTTP answer to a JSON object, or to an error of our tree. Pure.

Reads and writes differ in one thing: of a write that was sent, only a 4xx proves that nothing was changed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from mlrelease_tui.connectors.mlflow.parse import unexpected
from mlrelease_tui.connectors.mlflow.registry import Payload
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import (
    BackendError,
    Forbidden,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    ReleaseError,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
)

_MAX_MESSAGE: Final = 300
_REQUEST_TIMEOUT: Final = 408


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole. `asked` says in a few words what was asked for."""

    asked: str
    status: int
    body: bytes
    content_type: str = ""
    retry_after: str = ""


def text(answer: Answer) -> str:
    """The body of a read that must have succeeded, as text."""
    if answer.status != 200:
        raise read_error(answer)
    return answer.body.decode("utf-8", errors="replace")


def json_object(answer: Answer) -> Payload:
    """The body of a read that must have succeeded. UnexpectedAnswer for HTML, for half an object, for no object."""
    if answer.status != 200:
        raise read_error(answer)
    return _parsed(answer)


def accepted(answer: Answer) -> None:
    """Nothing, where a write was accepted; Rejected or OutcomeUnknown otherwise."""
    if answer.status == 200:
        try:
            _parsed(answer)
        except UnexpectedAnswer as error:
            raise OutcomeUnknown(
                f"{answer.asked} was sent, and something other than MLflow answered: {error.message}",
                hint="read again to see whether it was applied; it is not sent again by itself",
            ) from error
        return
    if 400 <= answer.status < 500 and answer.status != _REQUEST_TIMEOUT:
        refusal = read_error(answer)
        raise Rejected(refusal.message, hint=refusal.hint)
    raise OutcomeUnknown(
        f"{answer.asked} was sent, and the server answered {answer.status}{_said(answer)}",
        hint="read again to see whether it was applied; it is not sent again by itself",
    )


def read_error(answer: Answer) -> ReleaseError:  # noqa: PLR0911 - a table, one row each
    """Our error for a status other than 200, message and hint without any secret."""
    said, code = _said(answer), _error_code(answer)
    match answer.status:
        case 401:
            return Unauthenticated(
                f"the server does not accept our credential for {answer.asked}{said}",
                hint="`mlrelease connections login` or the connection's `credential` gives another",
            )
        case 403:
            return Forbidden(
                f"the server forbids {answer.asked}{said}",
                hint="ask its administrator for the right, or use another account",
            )
        case 407:
            return Unreachable(
                f"the proxy wants a credential for {answer.asked}", hint="look at HTTPS_PROXY and NO_PROXY"
            )
        case 429:
            wait = retry_after_s(answer.retry_after)
            return RateLimited(
                f"the server has had too many requests, {answer.asked} among them",
                hint=f"it asks for {min(wait, 60):.0f} s of patience" if wait else "wait a little",
                retry_after_s=wait,
            )
        case _ if code == "RESOURCE_DOES_NOT_EXIST" or (answer.status == 404 and code):
            return NotFound(
                f"the registry does not have it: {answer.asked}{said}", hint="refresh; it may have been deleted"
            )
        case 404:
            return UnexpectedAnswer(
                f"the server does not know {answer.asked}",
                hint="is the url that of an MLflow tracking server, path included?",
            )
        case status if 400 <= status < 500:
            return BackendError(f"the server refuses {answer.asked}: {status}{said}", hint="its message says why")
        case status if status in {502, 503, 504}:
            return Unreachable(
                f"the server can't do {answer.asked} now: {status}{said}",
                hint="it or what it needs is down; try again later",
            )
        case status if status >= 500:
            return BackendError(f"the server failed at {answer.asked}: {status}{said}", hint="its own log says why")
        case status:
            return unexpected(f"status {status} to {answer.asked}")


def retry_after_s(header: str) -> float:
    """Seconds of a Retry-After header, a number or a date; 0 where it says neither."""
    try:
        seconds = float(header)
        return max(seconds, 0.0) if math.isfinite(seconds) else 0.0
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _parsed(answer: Answer) -> Payload:
    if answer.body.lstrip()[:1] == b"<":
        raise unexpected(f"a web page to {answer.asked}")
    try:
        content = _loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise unexpected(f"no valid JSON to {answer.asked}") from error
    if not isinstance(content, dict):
        raise unexpected(f"no object to {answer.asked}")
    return content


def _loads(body: bytes) -> Any:
    # A number that no float can hold stays the text it was.
    def number(digits: str) -> float | str:
        value = float(digits)
        return value if math.isfinite(value) else digits

    return json.loads(body, parse_float=number, parse_constant=str, parse_int=_integer)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= 20 else digits


def _error_code(answer: Answer) -> str:
    try:
        content = _loads(answer.body)
    except (ValueError, RecursionError):
        return ""
    code = content.get("error_code") if isinstance(content, dict) else None
    return code if isinstance(code, str) else ""


def _said(answer: Answer) -> str:
    """ ": " and the server's own words, short and safe; "" where it said none that are for people."""
    try:
        content = _loads(answer.body)
    except (ValueError, RecursionError):
        content = answer.body.decode("utf-8", errors="replace") if answer.content_type.startswith("text/plain") else ""
    message = content.get("message") if isinstance(content, dict) else content
    if not isinstance(message, str) or not message.strip():
        return ""
    return f": {SafeText(message.strip(), limit=_MAX_MESSAGE)}"
