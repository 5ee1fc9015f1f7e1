"""The way to one API server: whom to trust, which certificate to show, through which proxy, and what went wrong on it."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.kubernetes.identity import Grant, Identity
from mlrelease_tui.connectors.kubernetes.kubeconfig import Context, doubts_of
from mlrelease_tui.connectors.kubernetes.proxies import proxy_of
from mlrelease_tui.domain.redaction import redact_url
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import BackendError, ConfigError, TimedOut, Unreachable

if TYPE_CHECKING:
    import httpx

CONNECT_S: Final = 3.0
FIELD_MANAGER: Final = "mlrelease"
_KEEPALIVE_S: Final = 90.0
_ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
)
"""A watch is silent for a minute when all is well: the kernel finds a host that is gone before that, at no request's cost."""


class Link:
    """One server as one user. Nothing is imported or opened before the first request; a new client certificate opens it anew."""

    def __init__(self, context: Context, settings: Settings) -> None:
        self.context = context
        self.identity = Identity(context, settings)
        self._proxy = proxy_of(context, settings.environ)
        self._client: httpx.AsyncClient | None = None
        self._shown: tuple[bytes, bool, str] = (b"", False, "")
        self._opening = asyncio.Lock()

    async def client(self, grant: Grant) -> httpx.AsyncClient:
        """The client for requests that carry this grant. ConfigError where certificates can't be read."""
        shown = (grant.certificate, grant.own, self._files())
        if self._client is None or self._shown != shown:
            async with self._opening:
                if self._client is None or self._shown != shown:
                    before, self._client = self._client, await asyncio.to_thread(self._open, grant)
                    self._shown = shown
                    if before is not None:
                        # What was opened as somebody with another certificate does not go on, as with kubectl's library.
                        await before.aclose()
        return self._client

    def _files(self) -> str:
        """What tells that a certificate in a file was changed: files are rotated in place."""
        stamps = []
        for named, key in ((self.context.user, "client-certificate"), (self.context.cluster, "certificate-authority")):
            path = named.path(key)
            try:
                stamps.append(str(path.stat().st_mtime_ns) if path else "")
            except OSError:
                stamps.append("?")
        return " ".join(stamps)

    def _open(self, grant: Grant) -> httpx.AsyncClient:
        import httpx

        transport = httpx.AsyncHTTPTransport(
            verify=tls_of(self.context, grant) if self.context.server.startswith("https://") else True,
            trust_env=False,
            proxy=self._proxy or None,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=_KEEPALIVE_S),
            socket_options=list(_ALIVE),
        )
        return httpx.AsyncClient(
            base_url=self.context.server,
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            headers={"User-Agent": FIELD_MANAGER},
        )

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
        await self.identity.close()

    # --- what went wrong

    @property
    def where(self) -> str:
        return f"context {SafeText(self.context.name)}"

    async def lost(self, error: httpx.TransportError | httpx.InvalidURL, asked: str) -> BackendError:
        """Our error for httpx's. Of its text only what TLS and the system say is taken: the rest may quote what was sent."""
        import httpx

        server = SafeText(redact_url(self.context.server))
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            return TimedOut(f"{self.where}: {asked} took too long", hint="it is slow, overloaded or cut off")
        if isinstance(error, httpx.ProxyError):
            return Unreachable(
                f"the proxy {self._shown_proxy()} does not let us to {server}: {SafeText(error, limit=100)}",
                hint="look at proxy-url in the kubeconfig, HTTPS_PROXY and NO_PROXY",
            )
        cause = _deepest(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            seen = await asyncio.to_thread(_fingerprint, self.context.server)
            return Unreachable(
                f"{self.where}: the certificate of {server} is not to be trusted: {SafeText(cause.verify_message)}",
                hint=f"it shows sha256 {seen or 'unknown'}; whom to trust is said by certificate-authority in the kubeconfig",
            )
        if isinstance(error, httpx.ConnectTimeout):
            why = f"nothing answers within {CONNECT_S:g} s"
        elif isinstance(error, httpx.ConnectError):
            why = _why(cause)
        else:
            return Unreachable(
                f"{self.where}: the connection broke while we asked to {asked}", hint="that may pass: it is asked again"
            )
        through = f" through the proxy {self._shown_proxy()}" if self._proxy else ""
        return Unreachable(
            f"{self.where} can't be reached at {server}{through}: {why}",
            hint="is the cluster up, and the way to it open?",
        )

    def _shown_proxy(self) -> SafeText:
        return SafeText(redact_url(self._proxy))


def _deepest(error: BaseException) -> BaseException:
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return error


def _why(cause: BaseException) -> str:
    if isinstance(cause, socket.gaierror):
        return "its name is not known"
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {SafeText(cause.reason or type(cause).__name__)}"
    return SafeText(getattr(cause, "strerror", None) or type(cause).__name__)


def _fingerprint(server: str) -> str:
    """SHA-256 of the certificate that the server shows, unverified, for a person to compare; "" where it can't be had. Blocks."""
    parts = urlsplit(server)
    try:
        pem = ssl.get_server_certificate((parts.hostname or "", parts.port or 443), timeout=CONNECT_S)
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    except (OSError, ValueError):
        return ""


class _NamedContext(ssl.SSLContext):
    """Asks for and verifies another name than the address's where there is one (`tls-server-name`), also through a proxy."""

    called: str = ""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, self.called or server_hostname, session)


def tls_of(context: Context, grant: Grant) -> ssl.SSLContext:
    """Whom to trust and which client certificate to show. Blocks; ConfigError where a file can't be read."""
    cluster = context.cluster
    skip = cluster.values.get("insecure-skip-tls-verify") is True
    authority, file = cluster.data("certificate-authority-data"), cluster.path("certificate-authority")
    if skip and (authority or file):
        raise ConfigError(
            f"the cluster of context {SafeText(context.name)} names an authority and skips verification",
            hint="remove insecure-skip-tls-verify",
        )
    try:
        tls = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.called = cluster.text("tls-server-name")
        if authority or file:
            tls.load_verify_locations(
                cafile=str(file) if file and not authority else None, cadata=authority.decode("ascii") or None
            )
        else:
            tls.load_default_certs(ssl.Purpose.SERVER_AUTH)
        if skip:
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        _client_certificate(tls, context, grant)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(
            f"context {SafeText(context.name)} has a certificate that can't be used: {SafeText(why)}",
            hint="PEM files, or PEM in base64 under the …-data keys",
        ) from error
    return tls


def _client_certificate(tls: ssl.SSLContext, context: Context, grant: Grant) -> None:
    """The plugin's, else the kubeconfig's. None beside a credential of the connection's own: a server believes a certificate
    before it looks at a token."""
    user = context.user
    if grant.own:
        return
    cert, key = user.data("client-certificate-data"), user.data("client-key-data")
    cert_file, key_file = user.path("client-certificate"), user.path("client-key")
    if grant.certificate and grant.key is not None:
        cert, key, cert_file, key_file = grant.certificate, grant.key.reveal().encode(), None, None
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
    cluster = context.cluster
    found: Mapping[str, bool] = {
        "the server's certificate is not verified (insecure-skip-tls-verify)": cluster.values.get(
            "insecure-skip-tls-verify"
        )
        is True,
        "the connection is not encrypted": context.server.startswith("http://"),
    }
    doubts = {
        f"{SafeText(file)} {doubt}"
        for file in (cluster.file, context.user.file)
        if file is not None and (doubt := doubts_of(file))
    }
    return (*(text for text, holds in found.items() if holds), *sorted(doubts))
