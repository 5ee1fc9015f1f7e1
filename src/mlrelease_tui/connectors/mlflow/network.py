"""What stands between us and a server: proxies named in the environment, and the trust that TLS needs.

Both are read from the environment that the connector was given, by the rules that MLflow's own client (`requests`) follows.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ConfigError

_AUTHORITIES: Final = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_CLIENT_CERTIFICATE: Final = "MLFLOW_TRACKING_CLIENT_CERT_PATH"


def proxy_for(url: str, environ: Mapping[str, str]) -> str:
    """The proxy that the environment names for this address, "" for none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _spared(host, parts.port, environ.get("no_proxy") or environ.get("NO_PROXY", "")):
        return ""
    for name in (f"{parts.scheme}_proxy", f"{parts.scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):
        # HTTP_PROXY in capitals is what a CGI request header becomes; outside of CGI it is the operator's.
        if environ.get(name) and not (name == "HTTP_PROXY" and "REQUEST_METHOD" in environ):
            proxy = environ[name]
            return proxy if "://" in proxy else f"http://{proxy}"
    return ""


def _spared(host: str, port: int | None, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host, a domain above it, or host:port."""
    for entry in (item.strip().lower() for item in no_proxy.split(",")):
        name = entry.removeprefix("*").lstrip(".")
        if entry == "*" or (name and (host == name or host.endswith(f".{name}") or f"{host}:{port}" == name)):
            return True
    return False


def without_userinfo(url: str) -> str:
    """The address as it may be shown: no user, no password, no query, no fragment."""
    parts = urlsplit(url)
    if not parts.netloc:
        return url.partition("?")[0]
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(SplitResult(parts.scheme, place, parts.path.rstrip("/"), "", ""))


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files named by the configuration: whom to trust, and who we are. "" leaves it to the environment."""

    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""


FROM_ENVIRONMENT: Final = Certificates()


def trust(environ: Mapping[str, str], certificates: Certificates = FROM_ENVIRONMENT) -> ssl.SSLContext:
    """Certificates are always verified: against the file that is named, else the system's and certifi's authorities.

    ConfigError where a named file can't be read.
    """
    named = next((name for name in _AUTHORITIES if environ.get(name)), "")
    authorities = certificates.ca_file or environ.get(named, "")
    try:
        if authorities:
            context = ssl.create_default_context(cafile=authorities)
        else:
            import certifi

            context = ssl.create_default_context()
            context.load_verify_locations(certifi.where())
    except OSError as error:
        raise _unreadable("ca_file" if certificates.ca_file else named, error) from error
    client = certificates.client_cert or environ.get(_CLIENT_CERTIFICATE, "")
    if client:
        try:
            context.load_cert_chain(client, certificates.client_key or None)
        except OSError as error:
            raise _unreadable("client_cert" if certificates.client_cert else _CLIENT_CERTIFICATE, error) from error
    return context


def _unreadable(name: str, error: OSError) -> ConfigError:
    what = error.strerror or type(error).__name__
    return ConfigError(
        f"{name or 'the system'} names no readable certificate: {what}", hint="PEM files, readable by us"
    )


def warnings(environ: Mapping[str, str]) -> tuple[str, ...]:
    """What MLflow's client would do by this environment and we do not."""
    found: list[str] = []
    if environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in {"1", "true"}:
        found.append("MLFLOW_TRACKING_INSECURE_TLS is ignored: certificates are always verified")
    found += [
        f"{name} is set but not supported: requests are not signed by it"
        for name in ("MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_AUTH")
        if environ.get(name, "").lower() not in {"", "false", "0"}
    ]
    return tuple(found)


def fingerprint(url: str, timeout_s: float) -> SafeText:
    """SHA-256 of the certificate that the server shows, unverified, for a person to compare; "" where it can't be had. Blocks."""
    parts = urlsplit(url)
    try:
        pem = ssl.get_server_certificate((parts.hostname or "", parts.port or 443), timeout=timeout_s)
        return SafeText(hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest())
    except (OSError, ValueError):
        return SafeText()
