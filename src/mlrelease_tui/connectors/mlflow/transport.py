"""HTTP as an operator can rely on: exact time-outs, a total deadline, no hidden retry, nothing sent anywhere but to the server.

- connecting takes 3 s at most, silence as long as the call's deadline, and the deadline also ends an answer that drips;
- a redirect is followed for reads only, and only within the same origin: a credential never goes elsewhere;
- TLS is always verified; answers are capped; compression is not asked for, so that a small answer can't become a big one;
- a read that is answered 401 has the credential renewed and is sent once more; a write is sent once, whatever comes.

httpx is imported, and certificates are loaded, in a thread at the first request: neither holds up the screen.
"""

from __future__ import annotations

import asyncio
import errno
import json
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mlrelease_tui import __version__
from mlrelease_tui.connectors import _network
from mlrelease_tui.connectors.api import Credential, CredentialSource, no_credential
from mlrelease_tui.connectors.mlflow import network
from mlrelease_tui.connectors.mlflow.answers import Answer
from mlrelease_tui.connectors.mlflow.registry import Deadline, TooLarge, silent
from mlrelease_tui.domain.redaction import redact_known
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import BackendError, OutcomeUnknown, UnexpectedAnswer, Unreachable

if TYPE_CHECKING:
    import httpx

CONNECT_S: Final = 3.0
MAX_BYTES: Final = 32 * 1024 * 1024
"""Largest answer that is read, in bytes: 200 versions with a 100 KB tag each fit."""

MAX_COMPLAINT: Final = 64 * 1024
"""What is read of an answer that is no success, in bytes."""

_MAX_REDIRECTS: Final = 3
_MAX_CONNECTIONS: Final = 8


class Transport:
    """Requests to one server. `url` is its address, path prefix included, without user and password."""

    def __init__(
        self,
        connection: str,
        url: str,
        *,
        credential: CredentialSource,
        renew: CredentialSource = no_credential,
        environ: Mapping[str, str],
        certificates: network.Certificates = network.FROM_ENVIRONMENT,
        connect_s: float = CONNECT_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.url = url.rstrip("/")
        self.credential: Credential | None = None
        self._connection = connection
        self._source = credential
        self._renew = renew
        self._environ = environ
        self._certificates = certificates
        self._proxy = _network.proxy_for(url, environ)
        self._connect_s = connect_s
        self._max_bytes = max_bytes
        self._opening = asyncio.Lock()
        self._renewing = asyncio.Lock()
        self._client: httpx.AsyncClient | None = None

    async def read(
        self, asked: str, path: str, query: Mapping[str, str], deadline: Deadline, *, anonymous: bool = False
    ) -> Answer:
        """GET. BackendError where no whole answer came; any status is an answer. `anonymous` leaves the credential at home."""
        credential = None if anonymous else await self._asked(self._source, deadline)
        answer = await self._exchange(asked, "GET", path, query, None, credential, deadline, _Mark())
        if answer.status == 401 and not anonymous:
            fresh = await self._renewed(credential, deadline)
            if fresh is not None:
                answer = await self._exchange(asked, "GET", path, query, None, fresh, deadline, _Mark())
        return answer

    async def write(self, asked: str, path: str, body: Mapping[str, str], intent_id: str, deadline: Deadline) -> Answer:
        """POST, once. Before the first byte a BackendError, after it OutcomeUnknown, where no whole answer came."""
        credential = await self._asked(self._source, deadline)
        mark = _Mark()
        try:
            answer = await self._exchange(asked, "POST", path, {}, body, credential, deadline, mark, intent_id)
        except BackendError as error:
            if not mark.sent:
                raise
            raise OutcomeUnknown(
                f"{asked} was sent, and the answer was lost: {error.message}",
                hint="read again to see whether it was applied; it is not sent again by itself",
            ) from error
        return answer

    async def open(self) -> None:
        """Import httpx and load certificates, where that was not done yet. Touches no network."""
        await self._opened()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _asked(self, source: CredentialSource, deadline: Deadline) -> Credential | None:
        """The credential; the source itself keeps it until it expires."""
        try:
            async with asyncio.timeout(deadline.left()):
                self.credential = await source()
        except TimeoutError as error:
            raise silent(f"the credential source of {self._connection}") from error
        return self.credential

    async def _renewed(self, used: Credential | None, deadline: Deadline) -> Credential | None:
        """Another credential than the one that was not accepted. Of many reads that meet a 401 at once, one asks."""
        async with self._renewing:
            if self.credential is not None and not _same_secret(self.credential, used):
                return self.credential
            return await self._asked(self._renew, deadline)

    async def _opened(self) -> httpx.AsyncClient:
        async with self._opening:
            if self._client is None:
                self._client = await asyncio.to_thread(self._open)
            return self._client

    def _open(self) -> httpx.AsyncClient:
        import httpx

        # A plain http address needs no authorities, and loading them takes a tenth of a second.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.url.startswith("https:") or self._proxy.startswith("https:"):
            context = network.trust(self._environ, self._certificates)
        return _network.client(context, self._proxy, limits=httpx.Limits(max_connections=_MAX_CONNECTIONS))

    async def _exchange(
        self,
        asked: str,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, str] | None,
        credential: Credential | None,
        deadline: Deadline,
        mark: _Mark,
        intent_id: str = "",
    ) -> Answer:
        """One request, or for reads one and its redirects within the origin; the deadline covers all of it."""
        left = deadline.left()
        try:
            async with asyncio.timeout(left):
                client = await self._opened()
                headers = _headers(credential, intent_id)
                request = self._request(client, method, self.url + path, query, body, headers, left, mark)
                for _ in range(_MAX_REDIRECTS):
                    answer, location = await self._send(client, request, asked)
                    if not location:
                        return _unquoted(answer, credential)
                    target = request.url.join(location)
                    # A user in the address would take the place of ours.
                    if body is not None or target.userinfo or not _same_origin(request.url, target):
                        raise self._redirected(request.url, target)
                    request = self._request(client, method, str(target), {}, None, headers, left, mark)
                raise UnexpectedAnswer(
                    f"{self._connection} redirects in circles", hint="look at the url of the connection"
                )
        except TimeoutError as error:
            raise silent(self._connection) from error

    def _request(
        self,
        client: httpx.AsyncClient,
        method: str,
        url: str,
        query: Mapping[str, str],
        body: Mapping[str, str] | None,
        headers: Mapping[str, str],
        left: float,
        mark: _Mark,
    ) -> httpx.Request:
        import httpx

        return client.build_request(
            method,
            url,
            params=query or None,
            json=body,
            headers=headers,
            timeout=httpx.Timeout(left, connect=min(self._connect_s, left)),
            extensions={"trace": mark.trace},
        )

    async def _send(self, client: httpx.AsyncClient, request: httpx.Request, asked: str) -> tuple[Answer, str]:
        """The answer, and where it redirects to ("" where it does not)."""
        import httpx

        try:
            response = await client.send(request, stream=True)
            try:
                if response.status_code in {301, 302, 303, 307, 308} and "location" in response.headers:
                    return Answer(asked, response.status_code, b""), response.headers["location"]
                content = await self._body(response, asked)
            finally:
                await response.aclose()
        except httpx.InvalidURL as error:
            raise UnexpectedAnswer(
                f"{self._connection}: {SafeText(error)}", hint="look at the url of the connection"
            ) from error
        except httpx.TransportError as error:
            raise await self._translated(error) from error
        answer = Answer(
            asked,
            response.status_code,
            content,
            response.headers.get("content-type", ""),
            response.headers.get("retry-after", ""),
        )
        return answer, ""

    async def _body(self, response: httpx.Response, asked: str) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise UnexpectedAnswer(
                f"{self._connection} compresses its answer to {asked} unasked", hint="look at the proxy before it"
            )
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if response.status_code != 200 and len(content) > MAX_COMPLAINT:
                # What went wrong is said by the status, and by its first words if at all.
                return bytes(content[:MAX_COMPLAINT])
            if len(content) > self._max_bytes:
                raise TooLarge(
                    f"{self._connection} answers {asked} with more than {self._max_bytes // 2**20} MiB",
                    hint="is the url that of an MLflow tracking server?",
                )
        return bytes(content)

    def _redirected(self, source: httpx.URL, target: httpx.URL) -> UnexpectedAnswer:
        place = SafeText(f"{target.scheme}://{target.host}", limit=200)
        if source.host == target.host and target.scheme == "https":
            hint = "set the connection's url to https"
        else:
            hint = "a login page in front of it? the credential was not sent there"
        return UnexpectedAnswer(f"{self._connection} redirects to {place}, which is not followed", hint=hint)

    async def _translated(self, error: httpx.TransportError) -> BackendError:
        """Our error for httpx's. Exceptions of httpx may quote what was sent, so of their text only TLS's own verdict is taken."""
        import httpx

        if isinstance(error, httpx.ConnectTimeout):
            return Unreachable(
                f"nothing answered at {self.url} within {self._connect_s:g} s{self._through()}",
                hint="is the host right, and is there a way to it from here?",
            )
        if isinstance(error, httpx.TimeoutException):
            return silent(self._connection)
        if isinstance(error, httpx.ProxyError):
            proxy = _network.without_userinfo(self._proxy)
            return Unreachable(
                f"the proxy {proxy} refuses to connect to {self.url}", hint="look at HTTPS_PROXY and NO_PROXY"
            )
        cause = _network.deepest(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            seen = await asyncio.to_thread(_network.fingerprint, self.url, self._connect_s)
            return Unreachable(
                f"the certificate of {self.url} is not to be trusted: {SafeText(cause.verify_message)}",
                hint=f"it shows sha256 {seen or 'unknown'}; if that is right, name its issuer by the key `ca_file`",
            )
        if isinstance(error, httpx.ConnectError):
            return Unreachable(
                f"nothing answers at {self.url}{self._through()}: {_why(cause)}",
                hint="is it running, and is the address right?",
            )
        return Unreachable(
            f"the connection to {self.url} broke before the answer was whole", hint="that may pass: try again"
        )

    def _through(self) -> str:
        return f" through the proxy {_network.without_userinfo(self._proxy)}" if self._proxy else ""


class _Mark:
    """Whether a request's first byte may have left: httpcore tells before it writes the header."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        request = info.get("request")
        if event.endswith("send_request_headers.started") and getattr(request, "method", b"") != b"CONNECT":
            self.sent = True


def _headers(credential: Credential | None, intent_id: str) -> dict[str, str]:
    mark = "".join(char for char in intent_id if char.isascii() and (char.isalnum() or char in "-_."))
    headers = {
        "User-Agent": f"mlrelease-tui/{__version__} (intent {mark})" if mark else f"mlrelease-tui/{__version__}",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
    }
    if credential is not None:
        headers["Authorization"] = _network.authorization(credential)
    return headers


def _unquoted(answer: Answer, credential: Credential | None) -> Answer:
    """The answer without our credential: a server that does not like it may quote it, and what it says is shown and recorded."""
    if credential is None or answer.status == 200:
        return answer
    secret = credential.secret.reveal()
    written = json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
    sent = (secret, *written, _network.authorization(credential).partition(" ")[2])
    told = answer.body.decode("utf-8", "surrogateescape")
    # Three letters would be found everywhere, in the names of errors too.
    told = redact_known(told, [Secret(form) for form in sent if len(form) > 3])
    return replace(answer, body=told.encode("utf-8", "surrogateescape"))


def _same_secret(one: Credential, other: Credential | None) -> bool:
    return other is not None and (one.user, one.secret.reveal()) == (other.user, other.secret.reveal())


def _same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    ports = {"http": 80, "https": 443}
    return (one.scheme, one.host, one.port or ports.get(one.scheme)) == (
        other.scheme,
        other.host,
        other.port or ports.get(other.scheme),
    )


def _why(cause: BaseException) -> str:
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
        return errno.errorcode[cause.errno]
    return SafeText(cause, limit=200) or type(cause).__name__
