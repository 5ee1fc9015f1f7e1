"""As whom requests are made: what a kubeconfig's user says, honoured or refused, never ignored.

Source: the v1 ExecCredential and impersonation pages of the Kubernetes documentation. A way of signing in that fails is an
error: a request is never sent anonymously in its place.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from mlrelease_tui.connectors.kubernetes.kubeconfig import Context, Named
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ConfigError

_REFUSED: Final = {
    "auth-provider": "auth-provider left Kubernetes with 1.26: use an exec plugin",
    "username": "basic authentication left Kubernetes with 1.19: use a token or a certificate",
    "password": "basic authentication left Kubernetes with 1.19: use a token or a certificate",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request carries: a bearer token, a client certificate (in the TLS context), or nothing but the certificate."""

    token: Secret | None = None

    def headers(self) -> list[tuple[str, str]]:
        return [("Authorization", f"Bearer {self.token.reveal()}")] if self.token is not None else []


class Identity:
    """The user of one context. `source` says for people where the credential comes from."""

    def __init__(self, context: Context) -> None:
        self._user = context.user
        for key, why in _REFUSED.items():
            if self._user.values.get(key):
                raise ConfigError(f"user of context {SafeText(context.name)} has {key}", hint=why)
        self._impersonation = _impersonation(self._user)
        self.source = self._source()

    def __repr__(self) -> str:
        return f"Identity({self.source})"

    def _source(self) -> str:
        user = self._user
        if user.values.get("exec"):
            return "exec plugin"
        if user.values.get("tokenFile"):
            return "token file"
        if user.values.get("token"):
            return "kubeconfig token"
        if user.values.get("client-certificate") or user.values.get("client-certificate-data"):
            return "client certificate"
        return "none"

    async def grant(self) -> Grant:
        """What the next request carries. The token file is read each time: the kubelet and others rotate it in place."""
        file = self._user.path("tokenFile")
        if file is not None:
            try:
                token = file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(
                    f"token file {SafeText(file)} can't be read", hint="correct the kubeconfig"
                ) from error
            return Grant(Secret(token))
        token = self._user.text("token")
        return Grant(Secret(token)) if token else Grant()

    async def headers(self) -> list[tuple[str, str]]:
        """Authorization and impersonation. A header may stand more than once."""
        return [*(await self.grant()).headers(), *self._impersonation]


def _impersonation(user: Named) -> list[tuple[str, str]]:
    """As whom we act, where the kubeconfig names another than the credential's owner."""
    name, extra = user.text("as"), user.mapping("as-user-extra")
    groups = user.values.get("as-groups") or []
    if not name:
        if groups or extra or user.values.get("as-uid"):
            raise ConfigError("the kubeconfig impersonates groups without a user", hint="add `as`, or remove the rest")
        return []
    found = [("Impersonate-User", name)]
    if uid := user.text("as-uid"):
        found.append(("Impersonate-Uid", uid))
    found += [("Impersonate-Group", str(group)) for group in groups]
    for key, values in (extra.values if extra else {}).items():
        found += [(f"Impersonate-Extra-{quote(str(key), safe='')}", str(value)) for value in values]
    return found


def tls_of(context: Context) -> ssl.SSLContext:
    """Whom to trust and which client certificate to show. Blocks; ConfigError where a file can't be read."""
    cluster, user = context.cluster, context.user
    skip = cluster.values.get("insecure-skip-tls-verify") is True
    authority, file = cluster.data("certificate-authority-data"), cluster.path("certificate-authority")
    try:
        tls = ssl.create_default_context(
            cafile=str(file) if file and not authority else None, cadata=authority.decode("ascii") or None
        )
        if skip:
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        _client_certificate(tls, user)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(
            f"context {SafeText(context.name)} has a certificate that can't be used: {why}",
            hint="PEM files, or PEM in base64 under the …-data keys",
        ) from error
    return tls


def _client_certificate(tls: ssl.SSLContext, user: Named) -> None:
    cert, key = user.data("client-certificate-data"), user.data("client-key-data")
    cert_file, key_file = user.path("client-certificate"), user.path("client-key")
    if not cert and cert_file is None:
        return
    # The ssl module reads certificates from files only: they exist, for us alone, as long as it reads them.
    with tempfile.TemporaryDirectory(prefix="mlrelease-") as folder:
        shown = _written(Path(folder) / "cert", cert) or cert_file
        secret = _written(Path(folder) / "key", key) or key_file
        tls.load_cert_chain(str(shown), str(secret) if secret else None, password="")


def _written(path: Path, data: bytes) -> Path | None:
    if not data:
        return None
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


def warnings_of(context: Context) -> tuple[str, ...]:
    """What a person should know of this way in."""
    found: Mapping[str, bool] = {
        "the server's certificate is not verified (insecure-skip-tls-verify)": context.cluster.values.get(
            "insecure-skip-tls-verify"
        )
        is True,
        "the connection is not encrypted": context.server.startswith("http://"),
    }
    return tuple(text for text, holds in found.items() if holds)
