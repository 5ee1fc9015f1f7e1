"""Servers, and proxies before them, that answer what no MLflow server would: told by its right name, and nothing given away."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.connectors.mlflow_server import connector_to, ref
from tests.connectors.scripted_server import ScriptedServer, said, said_json

from mlrelease_tui.connectors.api import Credential
from mlrelease_tui.connectors.mlflow import answers
from mlrelease_tui.connectors.mlflow.registry import Payload
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.models import ModelVersion, Readiness
from mlrelease_tui.domain.refs import VersionRef
from mlrelease_tui.domain.secret import Credential as OwnCredential
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ReleaseError, Unauthenticated, UnexpectedAnswer, Unreachable

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


# --- complaints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["correct horse", 'quo"ted', "b\\s", "hunter2-hunter2"])
@pytest.mark.parametrize("status", [400, 401, 403, 500, 503])
async def test_a_complaint_that_quotes_our_credential_is_told_without_it(secret: str, status: int) -> None:
    async def source() -> Credential | None:
        return OwnCredential("basic", "ana", Secret(secret), "command")

    def answer(head: str) -> bytes:
        sent = head.lower().partition("authorization: ")[2].partition("\r\n")[0]
        header = next((line for line in head.splitlines() if line.lower().startswith("authorization:")), "")
        assert sent
        message = f"ana may not: no {header!r}, no {secret}"
        return said(
            status, json.dumps({"error_code": "X", "message": message}).encode(), content_type="application/json"
        )

    async with ScriptedServer(answer) as server:
        registry = connector_to(server.url, credential=source)
        with pytest.raises(ReleaseError, match="ana may not") as raised:
            await registry.model(ref("m"))
        health = await registry.probe()
        await registry.close()
    pair = base64.b64encode(f"ana:{secret}".encode()).decode()
    for text in (str(raised.value), repr(health)):
        assert secret not in text
        assert pair not in text


async def test_a_complaint_without_end_is_still_what_its_status_says() -> None:
    async with ScriptedServer(lambda _: said(401, b"x" * (33 * 2**20))) as server:
        registry = connector_to(server.url, credential=basic)
        with pytest.raises(Unauthenticated):
            await registry.models()
        assert (await registry.probe()).state is LinkState.AUTH
        await registry.close()


async def test_a_large_answer_is_read_beside_the_loop() -> None:
    """A key that is pressed while it is read waits for none of it."""
    threads: list[str] = []

    large = json.dumps({"registered_models": [], "junk": "x" * 600_000}).encode()
    async with ScriptedServer(lambda _: said(200, large, content_type="application/json")) as server:
        registry = connector_to(server.url)
        with pytest.MonkeyPatch.context() as patched:
            read = answers.json_object

            def noted(answer: answers.Answer) -> Payload:
                threads.append(threading.current_thread().name)
                return read(answer)

            patched.setattr(answers, "json_object", noted)
            assert (await registry.models()).models == ()
        await registry.close()
    assert len(threads) == 1
    assert threads[0] != threading.main_thread().name


@pytest.mark.parametrize("data", ["x", 7, [], [{}], True])
async def test_a_run_whose_data_are_none_is_unexpected(data: object) -> None:
    def answer(head: str) -> bytes:
        return said_json({"run": {"info": {}, "data": data}}) if "runs/get" in head else said(404)

    version = ModelVersion(VersionRef(ref("m"), "1"), Readiness.READY, run_id=SafeText("r"))
    async with ScriptedServer(answer) as server:
        registry = connector_to(server.url)
        with pytest.raises(UnexpectedAnswer):
            await registry.lineage(version)
        await registry.close()


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
