"""What MLflow's own client reads from the environment about the way to its server, and what of it we do otherwise."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.connectors import _network

_AUTHORITIES: Final = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_CLIENT_CERTIFICATE: Final = "MLFLOW_TRACKING_CLIENT_CERT_PATH"


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
    context = _network.authorities(
        certificates.ca_file or environ.get(named, ""), "ca_file" if certificates.ca_file else named
    )
    client = certificates.client_cert or environ.get(_CLIENT_CERTIFICATE, "")
    if client:
        try:
            # Without a password given, OpenSSL would ask for an encrypted key's on the terminal, and wait.
            context.load_cert_chain(client, certificates.client_key or None, password="")
        except OSError as error:
            called = "client_cert" if certificates.client_cert else _CLIENT_CERTIFICATE
            raise _network.unreadable(called, error) from error
    return context


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
