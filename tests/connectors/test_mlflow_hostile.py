"""Servers, and proxies before them, that answer what no MLflow server would: told by its right name, and nothing given away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.connectors.mlflow_server import connector_to
from tests.connectors.scripted_server import ScriptedServer, said, said_json

from mlrelease_tui.connectors.api import Credential
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.secret import Credential as OwnCredential
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.errors import UnexpectedAnswer, Unreachable

pytestmark = pytest.mark.real


async def basic() -> Credential | None:
    return OwnCredential("basic", "ana", Secret("hunter2-hunter2"), "command")


# --- redirects --------------------------------------------------------------------------------------------------------


async def test_a_redirect_puts_nobody_else_in_our_place() -> None:
    def answer(head: str) -> bytes:
        host = head.lower().partition("host: ")[2].partition("\r\n")[0]
        return said(302, location=f"http://eve:pw@{host}/elsewhere")

    async with ScriptedServer(answer) as server:
        registry = connector_to(server.url, credential=basic)
        with pytest.raises(UnexpectedAnswer, match="redirects"):
            await registry.models()
        await registry.close()
    assert len({head.lower().partition("authorization: ")[2].partition("\r\n")[0] for head in server.heads}) == 1


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_a_session_that_the_server_opened_does_not_act_for_nobody() -> None:
    """A proxy for logging in gives a session with its answer: who comes without a credential has no session either."""

    def answer(head: str) -> bytes:
        known = "authorization:" in head.lower() or "cookie:" in head.lower()
        return said_json({}, set_cookie="session=ana; Path=/") if known else said(401)

    async with ScriptedServer(answer) as server:
        registry = connector_to(server.url, credential=basic)
        health = await registry.probe()
        await registry.models()
        await registry.close()
    assert health.state is LinkState.OK
    assert health.warnings == (), "a server that asks for a credential was said to ask nobody"
    assert not any("cookie:" in head.lower() for head in server.heads)


# --- the way there ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("proxy", ["socks4://me:hunter2@gate:1080", "http://me:hunter2@gate:port"])
async def test_a_proxy_that_can_be_none_is_no_fault_of_the_connector(proxy: str) -> None:
    async with ScriptedServer(lambda _: said_json({})) as server:
        registry = connector_to(server.url, environ={"ALL_PROXY": proxy})
        with pytest.raises(Unreachable, match="gate") as raised:
            await registry.models()
        health = await registry.probe()
        await registry.close()
    assert server.heads == []
    assert "hunter2" not in f"{raised.value!r}{health!r}"
    assert (health.state, health.error_code) == (LinkState.DOWN, "unreachable")


def test_a_key_that_wants_a_password_asks_nobody(tmp_path: Path) -> None:
    """OpenSSL would ask on the terminal, beneath the screen, and wait; where there is none it takes what comes on stdin."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=ana", "-passout", "pass:hunter2"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    code = (
        "import sys; from mlrelease_tui.connectors.mlflow.network import Certificates, trust\n"
        "from mlrelease_tui.errors import ConfigError\n"
        "try:\n    trust({}, Certificates('', *sys.argv[1:]))\n"
        "except ConfigError as error:\n    print(error.message)"
    )
    asked = subprocess.run(
        [sys.executable, "-c", code, str(certificate), str(key)],
        input=b"hunter2\n",
        capture_output=True,
        check=True,
        start_new_session=True,
    )
    assert b"client_cert" in asked.stdout
    assert b"pass" not in asked.stderr.lower()
