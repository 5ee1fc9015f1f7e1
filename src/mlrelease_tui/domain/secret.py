"""A secret that cannot be shown by accident, and what a connection authenticates with."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NoReturn, SupportsIndex

HIDDEN: Final = "***"

Scheme = Literal["bearer", "basic"]


class Secret(str):
    """A string that is `***` to everyone but `reveal()`: repr, str, format, JSON, pickle, RFC 8785, rich's pretty-printer.

    It is a string of those three characters, so that an encoder which takes only strings writes them instead of failing with
    the value in its error. The value itself is held by a closure, which no printer of attributes opens. An unpickled secret is
    the plain string `***`. `ValueError` where the value is empty.
    """

    __slots__ = ("_open",)

    _open: Callable[[], str]

    def __new__(cls, value: str) -> Secret:
        if not value:
            raise ValueError("a secret is not empty")
        self = super().__new__(cls, HIDDEN)
        text = value.reveal() if isinstance(value, Secret) else value
        self._open = lambda: text
        return self

    def reveal(self) -> str:
        """The value. Hand it straight to what needs it; keep it in no variable that outlives the call."""
        return self._open()

    def __repr__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return False
        return hmac.compare_digest(self.reveal().encode(), other.reveal().encode())

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(HIDDEN)

    def __add__(self, other: str) -> NoReturn:
        raise TypeError("a secret is revealed before it is joined")

    def __radd__(self, other: str) -> NoReturn:
        raise TypeError("a secret is revealed before it is joined")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[type[str], tuple[str]]:
        return (str, (HIDDEN,))


class HiddenMapping(Mapping[str, str]):
    """A mapping (the environment, say) whose values no printer shows: not repr, not a traceback that shows locals."""

    __slots__ = ("_open",)

    _open: Callable[[], Mapping[str, str]]

    def __init__(self, content: Mapping[str, str]) -> None:
        kept = dict(content)
        self._open = lambda: kept

    def __getitem__(self, key: str) -> str:
        return self._open()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._open())

    def __len__(self) -> int:
        return len(self._open())

    def __repr__(self) -> str:
        return f"{{{len(self)} {HIDDEN}}}"


@dataclass(frozen=True, slots=True)
class Credential:
    """What a connection authenticates with.

    `source` is a short word for screens ("command", "file", "keyring", "env", "prompt", "mlflow env", "mlflow file");
    `expires_at` is UTC, None where nobody said. `user` is "" for bearer.
    """

    scheme: Scheme
    user: str
    secret: Secret
    source: str
    expires_at: datetime | None = None

    def authorization(self) -> Secret:
        """The value of an HTTP `Authorization` header (RFC 6750, RFC 7617 with UTF-8), hidden until revealed."""
        if self.scheme == "bearer":
            return Secret(f"Bearer {self.secret.reveal()}")
        pair = f"{self.user}:{self.secret.reveal()}".encode()
        return Secret("Basic " + base64.b64encode(pair).decode("ascii"))

    def expired(self, now: datetime, *, margin_s: float = 30.0) -> bool:
        """Whether it is of no use any more, or will be within `margin_s` seconds."""
        return self.expires_at is not None and (self.expires_at - now).total_seconds() <= margin_s
