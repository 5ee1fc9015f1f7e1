"""The way to a server over HTTP: which proxy stands on it, whether that can be one, and what of an address may be shown."""

from __future__ import annotations

import ssl

import pytest
from requests.utils import should_bypass_proxies

from mlrelease_tui.connectors import _network
from mlrelease_tui.errors import ConfigError, Unreachable


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("http://h", {}, ""),
        ("http://h", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("http://h", {"http_proxy": "p:1"}, "http://p:1"),
        ("http://h", {"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, ""),
        ("https://h", {"HTTP_PROXY": "http://p:1"}, ""),
        ("https://h", {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ("http://h.corp", {"HTTP_PROXY": "p", "NO_PROXY": "x, .corp"}, ""),
        ("http://h.corp", {"HTTP_PROXY": "p:2", "NO_PROXY": "orp"}, "http://p:2"),
        ("http://h:81", {"HTTP_PROXY": "p", "NO_PROXY": "h:81"}, ""),
        ("http://h:82", {"HTTP_PROXY": "p:2", "NO_PROXY": "h:81"}, "http://p:2"),
        ("http://h", {"HTTP_PROXY": "p", "no_proxy": "*"}, ""),
        ("http://10.1.2.3:5000", {"HTTP_PROXY": "p", "NO_PROXY": "localhost,10.0.0.0/8"}, ""),
        ("http://11.1.2.3:5000", {"HTTP_PROXY": "p:2", "NO_PROXY": "localhost,10.0.0.0/8"}, "http://p:2"),
        ("http://h", {"HTTP_PROXY": "p:2", "NO_PROXY": "10.0.0.0/8,/,h/8"}, "http://p:2"),
        ("http://[fd00::7]/", {"HTTP_PROXY": "p:2", "NO_PROXY": "fd00::/8"}, ""),
    ],
)
def test_proxies_of_the_environment(url: str, environ: dict[str, str], proxy: str) -> None:
    assert _network.proxy_for(url, environ) == proxy


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:secret@h:8443/mlflow/?token=secret#x", "https://h:8443/mlflow"),
        ("postgresql://u:secret@h/db?password=secret", "postgresql://h/db"),
        ("sqlite:////tmp/x.db?key=secret", "sqlite:////tmp/x.db"),
        ("databricks", "databricks"),
    ],
)
def test_an_address_is_shown_without_secrets(url: str, shown: str) -> None:
    assert _network.without_userinfo(url) == shown


@pytest.mark.parametrize("host", ["10.1.2.3", "192.168.7.1", "mlflow.corp", "mlflow.corp.example", "h", "127.0.0.1"])
@pytest.mark.parametrize("spared", ["10.0.0.0/8", "192.168.7.1", "192.168.0.0/16,.corp", "corp.example", "h:80", "*"])
def test_what_requests_spares_is_spared(host: str, spared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever keeps a server out of the proxy's sight for MLflow's own client keeps it out of sight for us."""
    monkeypatch.setenv("no_proxy", spared)
    url = f"http://{host}:80/"
    if should_bypass_proxies(url, no_proxy=None):
        assert _network.proxy_for(url, {"http_proxy": "http://p:1", "no_proxy": spared}) == ""


TRUSTING = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("socks5://me:hunter2@gate:1080", "gate:1080"),
        ("socks4://me:hunter2@gate:1080", "gate:1080"),
        ("ftp://me:hunter2@gate", "gate"),
        ("http://me:hunter2@gate:port", "gate:port"),
        ("http://me:hunter2@gate:99999", "gate:99999"),
        ("http://me:hunter2@[gate", "http://"),
        ("http://me:hunter2@", "http://"),
        ("http://me:hunter2@ga\x01te", "ga\\x01te"),
    ],
)
def test_a_proxy_that_can_be_none_is_named_without_its_password(
    proxy: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the package for SOCKS is not installed.
    monkeypatch.setitem(__import__("sys").modules, "socksio", None)
    with pytest.raises(Unreachable) as raised:
        _network.client(TRUSTING, proxy)
    assert told in raised.value.message
    assert raised.value.hint
    shown: BaseException | None = raised.value
    while shown is not None:
        assert "hunter2" not in str(shown)
        shown = shown.__cause__


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:9/metrics", True),
        ("http://[::1]:9/", True),
        ("http://localhost/", True),
        ("http://127.evil.example/", False),
        ("http://10.0.0.1/", False),
    ],
)
def test_loopback(url: str, here: bool) -> None:
    assert _network.is_loopback(url) is here


def test_authorities_that_can_not_be_read_are_named_by_their_key() -> None:
    with pytest.raises(ConfigError, match="ca_file"):
        _network.authorities("/nowhere/at/all.pem", "ca_file")
