"""Every error that the program raises on purpose.

The tree, with the exit code of the command line beside each branch::

    ReleaseError
    ├── UsageError                 2   the command or key makes no sense as given
    │   ├── UnknownName                no endpoint, model or connection is called that
    │   └── AmbiguousName              more than one is
    ├── ConfigError                2   the configuration is wrong: file, line, key, suggestion
    ├── CredentialError            2   a configured source of a credential failed
    ├── BackendError               3   a backend did not do what it was asked
    │   ├── Unreachable                nothing answers at that address
    │   ├── TimedOut                   it accepted and stayed silent past the deadline
    │   ├── Unauthenticated            it does not know us (401)
    │   ├── Forbidden                  it knows us and says no (403)
    │   ├── NotFound                   it does not have the object
    │   ├── RateLimited                429; carries retry_after_s
    │   ├── UnexpectedAnswer           an answer that the protocol does not allow
    │   └── Unsupported                this backend cannot do that
    ├── Refused                    4   policy or precondition; nothing was sent
    │   ├── Conflict                   the target is not what the plan was made from
    │   ├── ReadOnly                   writes are not armed
    │   ├── PlanExpired                the plan is older than it may be
    │   └── NotDurable                 the audit could not record the intent
    ├── Rejected                   1   the backend refused the write; nothing changed
    └── OutcomeUnknown             5   sent, and nobody can say yet whether it was applied

`message` says what happened and to what; `hint` says what to do next. Neither ever holds a secret.
"""

from __future__ import annotations

from typing import ClassVar


class ReleaseError(Exception):
    """Base of the tree: `code` is stable for machines, `message` and `hint` are for people."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(ReleaseError):
    code = "usage"
    exit_code = 2


class UnknownName(UsageError):
    code = "unknown_name"


class AmbiguousName(UsageError):
    code = "ambiguous_name"


class ConfigError(ReleaseError):
    """The configuration is wrong. `line` is 1-based, or 0 where no line can be named."""

    code = "config"
    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", path: str = "", line: int = 0) -> None:
        where = f"{path}:{line}: " if path and line else f"{path}: " if path else ""
        super().__init__(where + message, hint=hint)
        self.path = path
        self.line = line


class CredentialError(ReleaseError):
    code = "credential"
    exit_code = 2


class BackendError(ReleaseError):
    code = "backend"
    exit_code = 3


class Unreachable(BackendError):
    code = "unreachable"


class TimedOut(BackendError):
    code = "timed_out"


class Unauthenticated(BackendError):
    code = "unauthenticated"


class Forbidden(BackendError):
    code = "forbidden"


class NotFound(BackendError):
    code = "not_found"


class RateLimited(BackendError):
    """`retry_after_s` is what the backend asked for, in seconds, capped at 60; 0 where it said nothing."""

    code = "rate_limited"

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = min(max(retry_after_s, 0.0), 60.0)


class UnexpectedAnswer(BackendError):
    code = "unexpected_answer"


class Unsupported(BackendError):
    code = "unsupported"
    exit_code = 4


class Refused(ReleaseError):
    code = "refused"
    exit_code = 4


class Conflict(Refused):
    code = "conflict"


class ReadOnly(Refused):
    code = "read_only"


class PlanExpired(Refused):
    code = "plan_expired"


class NotDurable(Refused):
    code = "not_durable"


class Rejected(ReleaseError):
    code = "rejected"
    exit_code = 1


class OutcomeUnknown(ReleaseError):
    code = "outcome_unknown"
    exit_code = 5
