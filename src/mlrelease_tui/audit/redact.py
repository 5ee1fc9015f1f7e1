"""Any value → plain JSON that is safe to keep for years: bounded, printable, and without secrets.

An allow-list by type: what is not a JSON value, a date or an enum is replaced, never asked for its text. What was replaced or
shortened is said in the record's `redacted` list.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Final, TypeAlias

from mlrelease_tui.audit.clock import rfc3339
from mlrelease_tui.domain.text import escape_hidden

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MASK: Final = "***"
MAX_TEXT_BYTES: Final = 4096
"""UTF-8 bytes that one string of a record holds at most, after escaping."""

MAX_KEY_CHARACTERS: Final = 256
MAX_DEPTH: Final = 24
MAX_SAFE_INTEGER: Final = 2**53 - 1
"""RFC 8785, section 3.2.2.3: larger integers are not exact in every JSON reader, so they are kept as strings."""

_ELLIPSIS: Final = "…"
_MAX_PATH_CHARACTERS: Final = 512
_SHORTEST_SECRET: Final = 19  # "bearer " and twelve characters

_KNOWN_CLEAN: Final[set[str]] = set()
"""Short texts that came out as they went in. The records of one action repeat the same names; looking again costs more."""
_KNOWN_CHARACTERS: Final = 128
_KNOWN_COUNT: Final = 2048

_SECRET_KEY: Final = re.compile(
    r"(?:^|[_\-.\s]|(?<=[a-z]))(?:password|passwd|passphrase|secret|token|api[_\-]?key|access[_\-]?key|private[_\-]?key"
    r"|authorization|credentials?|cookie)$",
    re.IGNORECASE,
)
_URL: Final = re.compile(
    r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.\-]{0,31}://)(?P<user>[^\s/?#@]*@)?(?P<rest>[^\s?#]*)(?P<query>\?[^\s#]*)?"
)
_SECRET_TEXT: Final = re.compile(
    r"""(?P<name>(?:password|passwd|passphrase|secret|token|(?:api|access|private|secret)[_\-]?key|authorization|cookie)
        ["']?\s*[=:]\s*["']?)
        (?!\s|\*\*\*)(?:(?:bearer|basic|digest|token)\s+)?[^\s"',;&]+
      | (?P<lead>\bbearer\s+)[A-Za-z0-9._~+/\-]{12,}=*
      | (?:(?<![A-Za-z0-9_\-])eyJ[A-Za-z0-9_\-]{8,}+|\beyJ[A-Za-z0-9_\-]{8,1000}+)\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]*
      | \b(?:gh[posur]_|hf_|dapi|sk-|sk_live_)[A-Za-z0-9]{20,}
      | \b(?:github_pat_|gl(?:pat|dt|rt|ptt)-|xox[abeoprs]-|sk-proj-|sk-ant-|pypi-AgE|hv[sbr]\.|ya29\.)[A-Za-z0-9_\-]{16,}
      | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b
      | \bAIza[A-Za-z0-9_\-]{35}
      | \bnpm_[A-Za-z0-9]{36}\b
      | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----[\s\S]*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HINTS_BESIDE_SIGN: Final = (
    "://",
    "passw",
    "passphrase",
    "secret",
    "token",
    "api",
    "access",
    "private",
    "authorization",
    "cookie",
)
_HINTS_ALONE: Final = (
    *("bearer", "eyj", "gh", "gl", "xox", "hf_", "dapi", "sk-", "sk_", "akia", "asia", "aiza", "npm_", "pypi-"),
    *("hvs.", "hvb.", "hvr.", "ya29.", "private key"),
)
"""What must be in a text, in lower case, before the patterns can match: looking for it is ten times cheaper than they are."""


@dataclass(slots=True)
class Redactions:
    """What cleaning left out, as the record will say it.

    `floats_or_wide_keys`: something in the value is written in another way by RFC 8785 than by an ordinary JSON encoder.
    """

    found: list[Json] = field(default_factory=list)
    floats_or_wide_keys: bool = False

    def add(self, path: str, why: str, **more: Json) -> None:
        self.found.append({"field": path[:_MAX_PATH_CHARACTERS], "why": why, **more})


def plain(value: object, path: str, redactions: Redactions, depth: int = 0) -> Json:  # noqa: PLR0911 - one a type
    """`value` as JSON that RFC 8785 takes. Never raises, whatever it is given."""
    if type(value) is str and value in _KNOWN_CLEAN:
        return value
    if type(value) is str or (isinstance(value, str) and not isinstance(value, Enum)):
        return _text(value, path, redactions)
    if type(value) is dict and depth < MAX_DEPTH:
        return _mapping(value, path, redactions, depth)
    if value is None or value is True or value is False:
        return value
    if isinstance(value, Enum):
        return plain(value.value, path, redactions, depth)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        redactions.floats_or_wide_keys = True
        return float(value) if math.isfinite(value) else {"nonfinite": _nonfinite(value)}
    if isinstance(value, datetime):
        return rfc3339(value) if value.tzinfo else _refuse(path, "naive_time", redactions)
    if depth >= MAX_DEPTH:
        return _refuse(path, "too_deep", redactions)
    if isinstance(value, Mapping):
        return _mapping(value, path, redactions, depth)
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{path}[{index}]", redactions, depth + 1) for index, item in enumerate(value)]
    return _refuse(path, "type", redactions)


def clean_text(text: str) -> str:
    """`text` with secrets masked, URLs without user and query, and every hidden character as a visible escape."""
    if _may_hold_secret(text):
        text = _URL.sub(_without_user_and_query, text)
        text = _SECRET_TEXT.sub(lambda match: (match["lead"] or match["name"] or "") + MASK, text)
    return escape_hidden(text)


def _may_hold_secret(text: str) -> bool:
    lower = ""
    if ":" in text or "=" in text:
        lower = text.lower()
        for hint in _HINTS_BESIDE_SIGN:
            if hint in lower:
                return True
    if len(text) >= _SHORTEST_SECRET:
        lower = lower or text.lower()
        for hint in _HINTS_ALONE:
            if hint in lower:
                return True
    return False


def _mapping(value: Mapping[object, object], path: str, redactions: Redactions, depth: int) -> Json:
    out: dict[str, Json] = {}
    for key, item in value.items():
        name, secret = _key(key) if type(key) is str else _key(_key_text(key))
        where = f"{path}.{name}"
        if not name.isascii():
            redactions.floats_or_wide_keys = True
        if name in out:
            redactions.add(where, "duplicate_key")
        elif secret and not (item is None or isinstance(item, bool) or item == ""):
            out[name] = _refuse(where, "secret", redactions)
        else:
            out[name] = plain(item, where, redactions, depth + 1)
    return out


@lru_cache(maxsize=512)
def _key(key: str) -> tuple[str, bool]:
    """A key as it is written, and whether its name says that its value is a secret."""
    name = escape_hidden(key[:MAX_KEY_CHARACTERS])[:MAX_KEY_CHARACTERS]
    return name, _SECRET_KEY.search(name) is not None


def _key_text(key: object) -> str:
    return str(key) if isinstance(key, (str, int, float)) else f"<{type(key).__name__}>"


def _text(value: str, path: str, redactions: Redactions) -> str:
    text = str(value)  # a subclass that hides its text shows what it wants to show
    cleaned = clean_text(text)
    if cleaned == text and len(text) * 4 <= MAX_TEXT_BYTES:
        if len(text) <= _KNOWN_CHARACTERS:
            if len(_KNOWN_CLEAN) >= _KNOWN_COUNT:
                _KNOWN_CLEAN.clear()
            _KNOWN_CLEAN.add(text)
        return text
    if MASK in cleaned and cleaned.count(MASK) > text.count(MASK):
        redactions.add(path, "secret")
    encoded = cleaned.encode("utf-8")
    if len(encoded) <= MAX_TEXT_BYTES:
        return cleaned
    redactions.add(path, "capped", bytes=len(encoded), sha256=hashlib.sha256(encoded).hexdigest())
    room = MAX_TEXT_BYTES - len(_ELLIPSIS.encode("utf-8"))
    return encoded[:room].decode("utf-8", "ignore") + _ELLIPSIS


def _integer(value: int) -> Json:
    if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return int(value)
    # Python refuses to write integers of thousands of digits in decimal; hexadecimal has no such limit.
    return str(int(value)) if value.bit_length() < 1024 else hex(value)[:MAX_TEXT_BYTES]


def _nonfinite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _refuse(path: str, why: str, redactions: Redactions) -> str:
    redactions.add(path, why)
    return MASK


def _without_user_and_query(match: re.Match[str]) -> str:
    user = f"{MASK}@" if match["user"] else ""
    query = f"?{MASK}" if match["query"] else ""
    return f"{match['scheme']}{user}{match['rest']}{query}"
