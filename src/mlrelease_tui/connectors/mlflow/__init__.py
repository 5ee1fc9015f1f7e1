"""MLflow registries: tracking servers over HTTP, and every other store that the `mlflow` package can open.

`connect` is the factory that the entry point names. http and https go through `rest.py`, which needs no `mlflow` package;
all other schemes go through `client.py`, which does. What both share is in `connector.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from mlrelease_tui.connectors import _network
from mlrelease_tui.connectors.api import ConnectorFactory, Option, Settings
from mlrelease_tui.connectors.mlflow import network
from mlrelease_tui.connectors.mlflow.client import ClientRegistry
from mlrelease_tui.connectors.mlflow.connector import MlflowConnector
from mlrelease_tui.connectors.mlflow.registry import Registry
from mlrelease_tui.connectors.mlflow.rest import RestRegistry
from mlrelease_tui.connectors.mlflow.transport import Transport
from mlrelease_tui.errors import ConfigError

_BARE: Final = frozenset({"databricks", "databricks-uc", "uc"})
"""Addresses that MLflow takes without a scheme."""

_NOT_HERE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "insecure_tls": "certificates are always verified: name the issuer's by ca_file",
        "workspace": "only the server's default workspace is read",
    }
)
"""Keys that must not be passed over in silence: whoever sets them relies on what they say."""


def build(settings: Settings) -> MlflowConnector:
    """A connector for `settings.options["url"]`; touches no network. ConfigError for an address that is none."""
    for key in _NOT_HERE:
        if settings.options.get(key):
            raise ConfigError(
                f"connection {settings.name}: {key} is not known to mlflow connections", hint=_NOT_HERE[key]
            )
    url = _checked_url(settings)
    timeout_s = _checked_timeout(settings)
    registry: Registry
    if urlsplit(url).scheme in {"http", "https"}:
        transport = Transport(
            settings.name,
            url,
            credential=settings.credential,
            renew=settings.renew,
            environ=settings.environ,
            certificates=_certificates(settings),
        )
        registry = RestRegistry(transport, warnings=network.warnings(settings.environ))
    else:
        registry = ClientRegistry(settings.name, url, timeout_s=timeout_s)
    return MlflowConnector(settings, registry, timeout_s=timeout_s)


def _checked_url(settings: Settings) -> str:
    url = settings.options.get("url")
    if not isinstance(url, str) or not url.strip():
        raise ConfigError(f"connection {settings.name}: url is missing", hint='url = "https://mlflow.example.org"')
    try:
        parts = urlsplit(url)
        host, password = parts.hostname, parts.password
        _ = parts.port
    except ValueError:
        # What is wrong with it may be told by quoting it, user and password included.
        raise ConfigError(f"connection {settings.name}: url is no address", hint="look for a typing error") from None
    if not parts.scheme and url.partition("://")[0] not in _BARE:
        raise ConfigError(
            f"connection {settings.name}: url {_network.without_userinfo(url)!r} has no scheme",
            hint="http://, https://, sqlite:/// …",
        )
    if parts.scheme in {"http", "https"}:
        if not host:
            raise ConfigError(
                f"connection {settings.name}: url names no host", hint='url = "https://mlflow.example.org"'
            )
        if parts.username is not None:
            raise ConfigError(
                f"connection {settings.name}: url holds a user name", hint="say it by the key `credential` instead"
            )
        if parts.query or parts.fragment:
            raise ConfigError(
                f"connection {settings.name}: url has a query or fragment", hint="give the server's address alone"
            )
    elif password is not None:
        raise ConfigError(
            f"connection {settings.name}: url holds a password",
            hint="let the driver find it (PGPASSFILE, an options file …)",
        )
    return url


def _certificates(settings: Settings) -> network.Certificates:
    return network.Certificates(
        *(str(settings.options.get(key) or "") for key in ("ca_file", "client_cert", "client_key"))
    )


def _checked_timeout(settings: Settings) -> float:
    value = settings.options.get("timeout_s", settings.timeout_s)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 600:
        raise ConfigError(
            f"connection {settings.name}: timeout_s must be seconds between 0 and 600", hint="timeout_s = 10"
        )
    return float(value)


connect = ConnectorFactory(
    build,
    options=MappingProxyType(
        {
            "url": Option(
                (str,),
                "the tracking server (http, https) or store (sqlite:///…, databricks, a plugin's)",
                required=True,
            ),
            "timeout_s": Option((int, float), "longest that one call may take, in seconds"),
            "ca_file": Option((str,), "whom to trust, PEM; default: the system's authorities", path=True),
            "client_cert": Option((str,), "our own certificate, PEM", path=True),
            "client_key": Option((str,), "its key, PEM, where it is not in the same file", path=True),
        }
    ),
)
