"""What every way to a server over HTTP has: proxies, the trust that TLS needs, a credential's header, and cookies, kept by nobody.

Proxies are read from the environment that the connector was given, by the rules of `requests`, which the tools go by that our users
set these variables for.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from mlrelease_tui.connectors.factory import Credential
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ConfigError, CredentialError, Unreachable

if TYPE_CHECKING:
    import httpx

MAX_CONNECTIONS: Final = 64
"""At the same time, of one client that says no other number: a process has a thousand files, and the audit wants some of them."""
MAX_KEPT: Final = 20

_PROXY_HINT: Final = "look at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY"


def proxy_for(url: str, environ: Mapping[str, str]) -> str:
    """The proxy that the environment names for this address, "" for none. It may hold a password: show it by `without_userinfo`."""
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
    """Whether NO_PROXY names the host, a domain above it, host:port, or a range of addresses that the host lies in."""
    for entry in (item.strip().lower() for item in no_proxy.split(",")):
        name = entry.removeprefix("*").lstrip(".")
        if entry == "*" or (name and (host == name or host.endswith(f".{name}") or f"{host}:{port}" == name)):
            return True
        if in_range(host, entry):
            return True
    return False


def in_range(host: str, network: str) -> bool:
    """Whether a host given by its address lies in a network such as "10.0.0.0/8"; False for a name, and for what is no network."""
    try:
        return "/" in network and ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def is_loopback(url: str) -> bool:
    """Whether the address is this host's own: no proxy leads there."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def client(verify: ssl.SSLContext, proxy: str = "", *, limits: httpx.Limits | None = None) -> httpx.AsyncClient:
    """A client that follows no redirect, keeps no cookie and reads nothing from the environment of the process.

    `proxy` "" is none. Unreachable, without the proxy's password, where no request can go through it.
    """
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    import httpx

    try:
        return httpx.AsyncClient(
            verify=verify,
            proxy=_readable(proxy) or None,
            trust_env=False,
            follow_redirects=False,
            limits=limits or httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_KEPT),
            # A session that a server opened for one credential would go on acting for it when it is renewed, or left at home.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )
    except ImportError:
        shown = SafeText(without_userinfo(proxy))
        raise Unreachable(
            f"the proxy {shown} is a SOCKS proxy", hint="install httpx[socks] beside this program"
        ) from None
    except (ValueError, httpx.InvalidURL):
        # What httpx says of it may quote it whole.
        raise Unreachable(f"the environment names a proxy that is none: {_shown(proxy)}", hint=_PROXY_HINT) from None


def _readable(proxy: str) -> str:
    """The same; ValueError where it names no host or no port that can be."""
    if proxy:
        parts = urlsplit(proxy)
        if not parts.hostname or parts.port == 0:
            raise ValueError("no host")
    return proxy


def _shown(proxy: str) -> SafeText:
    try:
        return SafeText(without_userinfo(proxy), limit=200)
    except ValueError:
        return SafeText(f"{proxy.partition('://')[0]}://…", limit=40)


def authorization(credential: Credential) -> str:
    """The value of the `Authorization` header. CredentialError, without the secret, for one that no header can hold."""
    secret = credential.secret.reveal()
    if credential.scheme == "basic":
        return "Basic " + base64.b64encode(f"{credential.user}:{secret}".encode()).decode("ascii")
    if not secret or not secret.isascii() or not secret.isprintable():
        raise CredentialError(
            f"the token from {credential.source} is empty or holds characters that no request can carry",
            hint="does the source print a line end, or an error message?",
        )
    return f"Bearer {secret}"


def without_userinfo(url: str) -> str:
    """The address as it may be shown: no user, no password, no query, no fragment."""
    parts = urlsplit(url)
    if not parts.netloc:
        return url.partition("?")[0]
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(SplitResult(parts.scheme, place, parts.path.rstrip("/"), "", ""))


def authorities(file: str, called: str) -> ssl.SSLContext:
    """Verifies certificates, always: against the PEM file `file`, else ("") the system's and certifi's authorities.

    ConfigError where the file can't be read; `called` is the key or variable that names it.
    """
    try:
        if file:
            return ssl.create_default_context(cafile=file)
        import certifi

        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
    except OSError as error:
        raise unreadable(called, error) from error
    return context


def unreadable(called: str, error: OSError) -> ConfigError:
    what = error.strerror or type(error).__name__
    return ConfigError(
        f"{called or 'the system'} names no readable certificate: {what}", hint="PEM files, readable by us"
    )


def fingerprint(url: str, timeout_s: float) -> SafeText:
    """SHA-256 of the certificate that the server shows, unverified, for a person to compare; "" where it can't be had. Blocks."""
    parts = urlsplit(url)
    try:
        pem = ssl.get_server_certificate((parts.hostname or "", parts.port or 443), timeout=timeout_s)
        return SafeText(hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest())
    except (OSError, ValueError):
        return SafeText()


def deepest(error: BaseException) -> BaseException:
    """What an exception of httpx came from in the end: a certificate that was not trusted, say."""
    seen = error
    while (inner := seen.__cause__ or seen.__context__) is not None:
        seen = inner
    return seen
