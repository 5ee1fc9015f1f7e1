"""What a value in the configuration may be: the types of options, the keys of each built-in kind, the signs of a secret.

A connector that is not built in declares its keys: option name → what its factory says of it (`Declared`, which is
`connectors.api.Option`), or a type name such as `"url required"`; `TYPES` has the names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol
from urllib.parse import SplitResult, parse_qsl, urlsplit

from mlrelease_tui.domain.redaction import is_secret_name, looks_like_token


class BadValue(ValueError):
    """A value is not what its key wants. The text names what is wanted and never holds the value."""


class LooksSecret(ValueError):
    """A value or key looks like a secret, which this file must not hold. The text never holds the value."""


Check = Callable[[object, Path], object]
"""Takes the value and the folder of the configuration file (for relative paths); gives the value to keep, or raises."""


def kind_of(value: object) -> str:
    """TOML's own word for a value's type."""
    names: tuple[tuple[type, str], ...] = (
        (bool, "a boolean"),
        (int, "an integer"),
        (float, "a float"),
        (str, "a string"),
        (list, "an array"),
        (dict, "a table"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "a date or time")


def text(value: object, _base: Path = Path()) -> str:
    if not isinstance(value, str):
        raise BadValue(f"wants a string, not {kind_of(value)}")
    if not value.strip():
        raise BadValue("wants a string that is not empty")
    if any(char < " " or char == "\x7f" for char in value):
        raise BadValue("wants a string without control characters")
    return value


def argument(value: object, _base: Path = Path()) -> str:
    """An argument of a program: any text but NUL."""
    if not isinstance(value, str):
        raise BadValue(f"wants a string, not {kind_of(value)}")
    if "\0" in value:
        raise BadValue("wants a string without NUL")
    return value


def arguments(value: object, base: Path = Path()) -> tuple[str, ...]:
    return _array(value, base, argument)


def boolean(value: object, _base: Path = Path()) -> bool:
    if not isinstance(value, bool):
        raise BadValue(f"wants true or false, not {kind_of(value)}")
    return value


def number(low: float, high: float, unit: str = "") -> Check:
    """A finite number between `low` and `high`, both included."""

    def check(value: object, _base: Path = Path()) -> float:
        wanted = f"wants a number from {low:g} to {high:g}" + (f" ({unit})" if unit else "")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadValue(f"{wanted}, not {kind_of(value)}")
        if not math.isfinite(value) or not low <= value <= high:
            raise BadValue(f"{wanted}, not {value:g}" if abs(value) < 1e300 else wanted)
        return float(value)

    return check


def integer(low: int, high: int, unit: str = "") -> Check:
    """A whole number between `low` and `high`, both included."""

    def check(value: object, _base: Path = Path()) -> int:
        wanted = f"wants a whole number from {low} to {high}" + (f" ({unit})" if unit else "")
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadValue(f"{wanted}, not {kind_of(value)}")
        if not low <= value <= high:
            raise BadValue(wanted)
        return value

    return check


def choice(*words: str) -> Check:
    def check(value: object, _base: Path = Path()) -> str:
        if not isinstance(value, str) or value not in words:
            raise BadValue("wants one of " + ", ".join(words))
        return value

    return check


def path(value: object, base: Path = Path()) -> str:
    """A path; `~` is the home folder, a relative one starts at the folder of the configuration file."""
    given = Path(text(value))
    try:
        given = given.expanduser()
    except RuntimeError:
        raise BadValue("wants a path; the home folder that it names is not known") from None
    return str(given if given.is_absolute() else base / given)


def _split(address: str) -> SplitResult:
    try:
        split = urlsplit(address)
        _ = split.port
    except ValueError:
        raise BadValue("wants an address; this one cannot be read (host or port)") from None
    return split


def web_address(value: object, _base: Path = Path()) -> str:
    """An address with http or https and a host."""
    address = text(value)
    split = _split(address)
    if split.scheme not in {"http", "https"} or not split.hostname:
        raise BadValue("wants an address such as https://host:port/path")
    if any(char.isspace() for char in address):
        raise BadValue("wants an address without spaces")
    return address.rstrip("/") if not split.query else address


def any_address(value: object, _base: Path = Path()) -> str:
    """An address with any scheme (`https:`, `sqlite:`, `unix:`, `ssh:` …)."""
    address = text(value)
    split = _split(address)
    if not split.scheme:
        raise BadValue("wants an address with a scheme, such as https://host or sqlite:///file.db")
    if split.scheme in {"http", "https"}:
        return web_address(value)
    return address


BARE_STORES: Final = frozenset({"databricks", "databricks-uc", "uc"})
"""What MLflow takes for a store without any scheme."""


def store_address(value: object, base: Path = Path()) -> str:
    """An address with any scheme, or one of MLflow's bare words."""
    return value if isinstance(value, str) and value in BARE_STORES else any_address(value, base)


def texts(value: object, base: Path = Path()) -> tuple[str, ...]:
    return _array(value, base, text)


def web_addresses(value: object, base: Path = Path()) -> object:
    """Addresses to read: an array, or a table name → address."""
    if isinstance(value, dict):
        return MappingProxyType({str(name): web_address(item, base) for name, item in value.items()})
    return _array(value, base, web_address)


def _array(value: object, base: Path, each: Callable[[object, Path], str]) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadValue(f"wants an array of strings, not {kind_of(value)}")
    return tuple(each(item, base) for item in value)


TYPES: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "text": text,
        "texts": texts,
        "boolean": boolean,
        "integer": integer(0, 1_000_000_000),
        "seconds": number(0.1, 3600, "seconds"),
        "path": path,
        "url": web_address,
        "urls": web_addresses,
        "uri": any_address,
        "store": store_address,
    }
)
"""Type names that a connector may use for its keys, with what they accept."""


class Declared(Protocol):
    """One option as a connector declares it. `types` are TOML's: str, int, float, bool, list, dict."""

    @property
    def types(self) -> tuple[type, ...]: ...
    @property
    def required(self) -> bool: ...
    @property
    def path(self) -> bool: ...


KnownKeys = Mapping[str, Mapping[str, str | Declared] | None]
"""Kind → option → its declaration, or its type name with ` required` after it where the key may not be missing. None: the
keys are not known (the plugin is broken), so any are taken and the connection can be shown as broken later."""


def check_of(declared: str | Declared) -> Check:
    """What checks the value of a declared option."""
    if isinstance(declared, str):
        return TYPES[declared.partition(" ")[0]]
    return path if declared.path else _typed(declared.types)


def is_required(declared: str | Declared) -> bool:
    return declared.endswith(" required") if isinstance(declared, str) else declared.required


def _typed(types: tuple[type, ...]) -> Check:
    samples: Mapping[type, object] = {str: "", int: 0, float: 0.0, bool: False, list: [], dict: {}}

    def check(value: object, _base: Path = Path()) -> object:
        # Exact types: a boolean is an integer to Python and not to TOML.
        if type(value) not in types and not (type(value) is int and float in types):
            wanted = " or ".join(kind_of(samples[kind]) for kind in types)
            raise BadValue(f"wants {wanted}, not {kind_of(value)}")
        return frozen(value)

    return check


def frozen(value: object) -> object:
    """A value of TOML that nobody can change."""
    if isinstance(value, dict):
        return MappingProxyType({key: frozen(item) for key, item in value.items()})
    return tuple(frozen(item) for item in value) if isinstance(value, list) else value


_TLS_KEYS: Final = {"ca_file": "path", "client_cert": "path", "client_key": "path"}

COMMON_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {"interval_s": "seconds", "timeout_s": "seconds", "read_only": "boolean"}
)
"""Options that every kind takes: time between two reads, deadline of one call, and whether writes are refused here."""

BUILT_IN_KEYS: Final[KnownKeys] = MappingProxyType(
    {
        "mlflow": {"url": "store required", **_TLS_KEYS},
        "local": {"directory": "path required"},
        "scrape": {"targets": "urls required"},
        "fake": {"script": "path"},
        "kubernetes": {
            "kubeconfig": "path",
            "context": "text",
            "namespaces": "texts",
            "all": "boolean",
            "registry": "text",
            "cluster_uid": "text",
            "in_cluster": "boolean",
            "pass_env": "texts",
        },
        "docker": {
            "host": "uri",
            "context": "text",
            "ca_file": "path",
            "client_cert": "path",
            "client_key": "path",
        },
        "oci": {"url": "url required", "repositories": "texts", **_TLS_KEYS},
        "prometheus": {"url": "url required", "preset": "text", **_TLS_KEYS},
    }
)
"""Keys of the kinds that this program knows by itself."""

_PLAIN_SUFFIX = re.compile(r"(?:_file|_path|_env|_command|_url|_s)$")


def refuse_secret(key: str, value: object) -> None:
    """Raise `LooksSecret` where `key` names a secret or `value` (a string, or strings in it) looks like one.

    Addresses may not carry a password, http(s) ones no user either; nor may a query carry a token.
    """
    if is_secret_name(key) and not _PLAIN_SUFFIX.search(key) and isinstance(value, str):
        raise LooksSecret("holds a secret in plain text")
    if isinstance(value, str):
        _refuse_secret_text(value)
    elif isinstance(value, list):
        for item in value:
            refuse_secret("", item)
    elif isinstance(value, dict):
        for name, item in value.items():
            refuse_secret(str(name), item)


def _refuse_secret_text(value: str) -> None:
    if looks_like_token(value):
        raise LooksSecret("holds what looks like a token")
    if "://" not in value:
        return
    try:
        split = urlsplit(value)
        query = parse_qsl(split.query)
    except ValueError:
        return
    if "@" in split.netloc and (split.password is not None or split.scheme in {"http", "https"}):
        raise LooksSecret("holds a user or password inside an address")
    if any(is_secret_name(name) for name, _ in query):
        raise LooksSecret("holds a token in the query of an address")
