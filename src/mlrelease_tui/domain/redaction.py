"""Taking secrets out of names, addresses and free text before anyone sees them.

Two tools: known values (`redact_known`), which is exact, and shapes (`redact_text`), which guesses and rather hides too much.
Shapes of tokens: the prefixes that their issuers document for secret scanners (GitHub, GitLab, AWS, Slack, Hugging Face,
Databricks, OpenAI, PyPI, npm, Google, Vault), JWT (RFC 7519) and PEM (RFC 7468).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus, urlsplit, urlunsplit

from mlrelease_tui.domain.secret import HIDDEN, Secret

_NAME_PARTS: Final = frozenset(
    {
        "apikey",
        "auth",
        "authorization",
        "bearer",
        "cookie",
        "credential",
        "credentials",
        "jwt",
        "key",
        "pass",
        "passphrase",
        "passwd",
        "password",
        "pat",
        "pwd",
        "secret",
        "secrets",
        "sig",
        "signature",
        "token",
        "tokens",
    }
)
_NAME_SPLIT = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")
_HARMLESS_NAMES: Final = frozenset({"pwd", "oldpwd", "ssh_auth_sock", "client_key"})

# What is looked at here may be a flood that somebody made up, and a search that goes back and forth in it holds up the whole
# program: no pattern begins with a run of any length, and what is looked for ahead is looked for within bounds.
_PREFIXED = (
    r"(?:gh[pousr]_|github_pat_|glpat-|gl(?:dt|rt|ptt)-|xox[abeoprs]-|hf_|dapi|sk-|pypi-|npm_|AIza|ya29\.|hv[sbr]\.|s\.(?=\w{24}\b))"
    r"[A-Za-z0-9_\-./+=]{10,}"
)
_TOKEN = re.compile(
    rf"(?<![A-Za-z0-9])(?:{_PREFIXED}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|(?:(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,}+|eyJ[A-Za-z0-9_-]{5,1000}+)\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z))"
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic|digest|negotiate)(\s+)[A-Za-z0-9_\-.~+/]+=*")
_ASSIGNED = re.compile(
    r"(?i)((?:token|passw(?:or)?d|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key|authorization|cookie|credential)"
    r"[\w-]{0,64}[\"']?\s*(?:[:=]|\bis\b)\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&]+)"
)
_SPOKEN = re.compile(
    r"(?i)(\b(?:token|passw(?:or)?d|passphrase|secret|key|credential)s?\s+)(?=[\"'(]?[^\s\"']*[^\sA-Za-z\"'.,:;!?()-])([^\s,;]+)"
)
_ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s\"'<>]+")
_DENSE = re.compile(
    r"(?<![\w./~-])(?=[A-Za-z0-9_\-+=~]{0,128}[0-9])(?=[A-Za-z0-9_\-+=~]{0,128}[A-Za-z])[A-Za-z0-9_\-+=~]{16,}(?![\w./])"
)


def is_secret_name(name: str) -> bool:
    """Whether a key, header or variable of this name is likely to hold a secret (`API_KEY`, `accessToken`; not `PWD`)."""
    if name.lower() in _HARMLESS_NAMES:
        return False
    return any(part.lower() in _NAME_PARTS for part in _NAME_SPLIT.split(name))


def looks_like_token(text: str) -> bool:
    """Whether `text` holds something with the documented shape of a token or a private key."""
    return _TOKEN.search(text) is not None


def redact_url(url: str) -> str:
    """`url` without user, password, query and fragment; `***` where it cannot be read as an address."""
    try:
        split = urlsplit(url)
    except ValueError:
        return HIDDEN
    host = split.netloc.rpartition("@")[2]
    return urlunsplit((split.scheme, host, split.path, "", ""))


def redact_known(text: str, secrets: Iterable[Secret]) -> str:
    """`text` with each of `secrets` hidden, also where it stands percent-encoded or in base64."""
    for secret in secrets:
        value = secret.reveal()
        encoded = base64.b64encode(value.encode()).decode("ascii")
        forms = {value, quote(value, safe=""), quote(value), quote_plus(value), encoded, encoded.rstrip("=")}
        for form in sorted(forms, key=len, reverse=True):
            text = text.replace(form, HIDDEN)
    return text


def redact_text(text: str, secrets: Iterable[Secret] = ()) -> str:
    """Free text with known secrets and everything shaped like one hidden, addresses without user and query.

    Hidden: documented token shapes, what follows `Bearer` or `Basic`, what is assigned to a secret's name, a word with digits
    after "token" or "password", and any run of 16 characters or more that mixes letters and digits.
    """
    text = redact_known(text, secrets)
    text = _TOKEN.sub(HIDDEN, text)
    text = _ADDRESS.sub(lambda found: redact_url(found.group()), text)
    text = _SCHEME.sub(lambda found: found.group(1) + found.group(2) + HIDDEN, text)
    text = _ASSIGNED.sub(lambda found: found.group(1) + HIDDEN, text)
    text = _SPOKEN.sub(lambda found: found.group(1) + HIDDEN, text)
    return _DENSE.sub(HIDDEN, text)


def unforeseen(error: BaseException) -> str:
    """An exception that nobody foresaw, in words. Whatever raised it did not think of who reads them: they may quote a request with
    its credential."""
    return redact_text(f"{type(error).__name__}: {error}")
