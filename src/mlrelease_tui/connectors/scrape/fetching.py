"""Getting one exposition: verified, capped, never compressed, from no other place than the one that was asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from mlrelease_tui.connectors import _network
from mlrelease_tui.connectors.api import Credential
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import (
    BackendError,
    ConfigError,
    Forbidden,
    NotFound,
    RateLimited,
    TimedOut,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
)

if TYPE_CHECKING:
    import httpx

MAX_BYTES: Final = 16 * 1024 * 1024
"""A target that answers more than this is refused: it is not the metrics of one server."""
CONNECT_S: Final = 3.0
NO_ADDRESS: Final = SafeText("an address that can't be read")

_AUTHORITIES: Final = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_PROXY_HINT: Final = "look at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY"


class Fetcher:
    """GETs pages, each by the proxy that `environ` names for its address. `timeout_s` is the longest silence."""

    def __init__(self, environ: Mapping[str, str], *, timeout_s: float) -> None:
        self._environ = environ
        self._timeout_s = timeout_s
        self._clients: dict[tuple[str, bool], httpx.AsyncClient] = {}
        self._opening = asyncio.Lock()

    async def get(self, url: str, credential: Credential | None) -> str:
        """The page as text. BackendError, without any secret, where it can't be had; CredentialError for one that can't be sent."""
        # A server on this host, as the local target's are, is behind no proxy, whatever the environment forgot to spare.
        proxy = "" if _network.is_loopback(url) else _network.proxy_for(url, self._environ)
        client = await self._opened(url, proxy)
        headers = {"accept": "text/plain;version=0.0.4", "accept-encoding": "identity"}
        if credential is not None:
            headers["authorization"] = _network.authorization(credential)
        import httpx

        try:
            async with client.stream("GET", url, headers=headers) as response:
                _raise_for(response.status_code, response.headers.get("retry-after", ""), shown(url))
                return await _text(response, shown(url))
        except httpx.TimeoutException as error:
            raise TimedOut(f"{shown(url)} did not answer in time", hint="is the server overloaded?") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # Without its cause: what httpx says of a header that it can't send holds the credential.
            raise await _translated(error, url, proxy) from None

    async def close(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    async def _opened(self, url: str, proxy: str) -> httpx.AsyncClient:
        # All targets are asked at once: one of them opens the client, in a thread, since the import takes many frames.
        key = (proxy, url.startswith("https:") or proxy.startswith("https:"))
        async with self._opening:
            if key not in self._clients:
                self._clients[key] = await asyncio.to_thread(self._open, *key)
            return self._clients[key]

    def _open(self, proxy: str, tls: bool) -> httpx.AsyncClient:
        import httpx

        # Plain http needs no authorities, and loading them takes a tenth of a second.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if tls:
            named = next((name for name in _AUTHORITIES if self._environ.get(name)), "")
            try:
                context = _network.authorities(self._environ.get(named, ""), named)
            except ConfigError as error:
                raise Unreachable(error.message, hint=error.hint) from error
        client = _network.client(context, proxy)
        client.timeout = httpx.Timeout(self._timeout_s, connect=CONNECT_S)
        return client


async def _text(response: httpx.Response, target: SafeText) -> str:
    if response.headers.get("content-encoding", "identity") != "identity":
        # Unpacked, a small answer can be larger than memory.
        raise UnexpectedAnswer(f"{target} compresses its answer unasked", hint="look at the proxy before it")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BYTES:
            raise UnexpectedAnswer(
                f"{target} answered more than {MAX_BYTES >> 20} MiB", hint="does the address end in /metrics?"
            )
    return body.decode("utf-8", "replace")


async def _translated(error: Exception, url: str, proxy: str) -> BackendError:
    import httpx

    through = f" through the proxy {SafeText(_network.without_userinfo(proxy))}" if proxy else ""
    cause = _network.deepest(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        seen = await asyncio.to_thread(_network.fingerprint, url, CONNECT_S)
        return Unreachable(
            f"the certificate of {shown(url)} is not to be trusted: {SafeText(cause.verify_message)}",
            hint=f"it shows sha256 {seen or 'unknown'}; if that is right, name its issuer by REQUESTS_CA_BUNDLE",
        )
    if isinstance(error, httpx.ProxyError):
        return Unreachable(f"there is no way to {shown(url)}{through}", hint=_PROXY_HINT)
    return Unreachable(
        f"{shown(url)} can't be reached{through}: {type(error).__name__}",
        hint=_PROXY_HINT if proxy else "is the server running?",
    )


def _raise_for(status: int, retry_after: str, target: SafeText) -> None:
    if status == 200:
        return
    if status == 401:
        raise Unauthenticated(f"{target} wants a credential", hint="configure `credential` on this connection")
    if status == 403:
        raise Forbidden(f"{target} refuses us", hint="ask its owner for read access to the metrics")
    if status == 404:
        raise NotFound(f"{target} does not exist", hint="does the address end in /metrics?")
    if status == 407:
        raise Unreachable(f"the proxy wants a credential for {target}", hint=_PROXY_HINT)
    if status == 429:
        seconds = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 0.0
        raise RateLimited(f"{target} asks us to slow down", hint="it is asked again later", retry_after_s=seconds)
    raise UnexpectedAnswer(f"{target} answered {status}", hint="look at that server's log")


def shown(url: str) -> SafeText:
    """The address without user, password and query, safe to show; NO_ADDRESS where it is none."""
    from urllib.parse import urlsplit

    try:
        _ = urlsplit(url).port
        return SafeText(_network.without_userinfo(url))
    except ValueError:
        return NO_ADDRESS
