"""Which proxy stands between us and a cluster: the kubeconfig's `proxy-url`, else what the environment says as kubectl reads it.

Source: `net/http.ProxyFromEnvironment` of Go, which kubectl uses: capitals first, loopback addresses are never proxied.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from importlib.util import find_spec
from urllib.parse import urlsplit

from mlrelease_tui.connectors._network import in_range
from mlrelease_tui.connectors.kubernetes.kubeconfig import Context
from mlrelease_tui.domain.redaction import redact_url
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ConfigError


def proxy_of(context: Context, environ: Mapping[str, str]) -> str:
    """The proxy's address, "" for none. It may hold a user and password: show it by `redact_url` alone. ConfigError for a kind of
    proxy that can't be used."""
    proxy = context.cluster.text("proxy-url") or _from_environment(context.server, environ)
    if not proxy:
        return ""
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    scheme = urlsplit(proxy).scheme.lower()
    socks = scheme in {"socks5", "socks5h"}
    if socks and find_spec("socksio") is None:
        raise ConfigError(
            f"the cluster of context {SafeText(context.name)} is behind {SafeText(redact_url(proxy))}, a SOCKS proxy",
            hint="install httpx[socks] beside this program",
        )
    if not socks and scheme not in {"http", "https"}:
        raise ConfigError(f"no proxy is of the kind {SafeText(scheme)}", hint="http, https and socks5 are")
    return proxy


def _from_environment(server: str, environ: Mapping[str, str]) -> str:
    parts = urlsplit(server)
    host, name = (parts.hostname or "").lower(), f"{parts.scheme}_proxy"
    if _is_loopback(host) or _spared(host, parts.port, environ.get("NO_PROXY") or environ.get("no_proxy", "")):
        return ""
    if parts.scheme == "http" and "REQUEST_METHOD" in environ:
        # In a CGI process HTTP_PROXY is what a request header becomes.
        return environ.get(name, "")
    return environ.get(name.upper()) or environ.get(name, "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _spared(host: str, port: int | None, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host, a domain above it (`.example.com`: that alone), host:port, or a range of addresses."""
    for entry in (item.strip().lower() for item in no_proxy.split(",")):
        name, _, wanted = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        if entry == "*":
            return True
        if not name or (wanted and wanted != str(port)):
            continue
        name = name.removeprefix("*")
        if host == name or host.endswith(name if name.startswith(".") else f".{name}") or in_range(host, name):
            return True
    return False
