"""What the network and the server can do to a call: told by its right name, in time, and never done twice."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.connectors.fault_proxy import (
    FORBIDDEN,
    INVALID_JSON,
    LOGIN_PAGE,
    UNAUTHORIZED,
    Drip,
    Fault,
    FaultProxy,
    Reset,
    Says,
    Silent,
    Truncated,
    rate_limited,
    redirect,
)
from tests.connectors.mlflow_server import Tracking, connector_to, ref, stamp

from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.mlflow import connect
from mlrelease_tui.connectors.mlflow.connector import MlflowConnector
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.errors import (
    BackendError,
    CredentialError,
    Forbidden,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    ReleaseError,
    TimedOut,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
)

pytestmark = pytest.mark.real
pytest_plugins = ["tests.connectors.mlflow_fixtures"]

PATIENT_S = 8.0
SHORT_S = 1.2
SLACK_S = 20.0
"""What a busy machine may add. Without a deadline of ours these calls would not end at all."""
ALIAS = "registered-models/alias"
TAG = "registered-models/set-tag"


@pytest.fixture
async def proxy(tracking: Tracking) -> AsyncIterator[FaultProxy]:
    async with FaultProxy("127.0.0.1", tracking.port) as running:
        yield running


@pytest.fixture
async def registry(proxy: FaultProxy) -> AsyncIterator[MlflowConnector]:
    connector = connector_to(proxy.url, timeout_s=PATIENT_S)
    yield connector
    await connector.close()


@pytest.fixture
async def hurried(proxy: FaultProxy, fault: Fault) -> AsyncIterator[MlflowConnector]:
    """A connector whose deadline is short where the fault is silence: the test waits for it."""
    connector = connector_to(proxy.url, timeout_s=limit_s(fault))
    yield connector
    await connector.close()


def limit_s(fault: Fault) -> float:
    return SHORT_S if isinstance(fault, Silent | Drip) else PATIENT_S


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


async def planned(registry: MlflowConnector, name: str, version: str = "2") -> Write:
    (write,) = registry.move_alias(await registry.model(ref(name)), "champion", version)
    return write


@pytest.fixture
def name(tracking: Tracking) -> str:
    made = tracking.model(versions=3)
    tracking.alias(made, "champion", "1")
    return made


# --- reads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Silent(), TimedOut),
        (Drip(), TimedOut),
        (Reset(), Unreachable),
        (Reset(after_apply=True), Unreachable),
        (Truncated(), Unreachable),
        (Says(500), BackendError),
        (Says(503), Unreachable),
        (INVALID_JSON, UnexpectedAnswer),
        (LOGIN_PAGE, UnexpectedAnswer),
        (UNAUTHORIZED, Unauthenticated),
        (FORBIDDEN, Forbidden),
        (rate_limited(), RateLimited),
        (redirect("https://login.example.org/"), UnexpectedAnswer),
        (Says(200, b"\x1f\x8b", {"Content-Encoding": "gzip"}), UnexpectedAnswer),
    ],
)
async def test_a_read_that_fails_says_how_in_time(
    proxy: FaultProxy, hurried: MlflowConnector, name: str, fault: Fault, error: type[BackendError]
) -> None:
    registry = hurried
    await registry.model(ref(name))
    proxy.on(fault)
    for call in (registry.model(ref(name)), registry.models(), registry.versions(ref(name))):
        with within(limit_s(fault) + SLACK_S), pytest.raises(error) as raised:
            await call
        assert raised.type is error
        assert raised.value.hint
    with within(limit_s(fault) + SLACK_S):
        health = await registry.probe()
    assert health.state is (LinkState.AUTH if error in {Unauthenticated, Forbidden} else LinkState.DOWN)
    assert health.error_code == error.code
    proxy.heal()
    assert (await registry.model(ref(name))).aliases["champion"] == "1"


async def test_a_closed_port_is_unreachable_and_comes_back(
    proxy: FaultProxy, registry: MlflowConnector, name: str
) -> None:
    await registry.model(ref(name))
    await proxy.refuse()
    with pytest.raises(Unreachable, match="ECONNREFUSED"):
        await registry.model(ref(name))
    assert (await registry.probe()).state is LinkState.DOWN
    await proxy.listen()
    assert (await registry.probe()).state is LinkState.OK


async def test_a_drip_does_not_hold_up_other_calls(proxy: FaultProxy, name: str) -> None:
    proxy.on(Drip(), path="model-versions/search")
    hurried = connector_to(proxy.url, timeout_s=3.0)
    slow = asyncio.create_task(hurried.versions(ref(name)))
    for _ in range(5):
        await hurried.model(ref(name))
    assert not slow.done()
    with pytest.raises(TimedOut):
        await slow
    await hurried.close()


async def test_a_host_that_swallows_packets_is_given_up_after_three_seconds() -> None:
    """A full backlog drops the first packet of a connection, as a firewall does."""
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        registry = connector_to(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=30)
        started = time.monotonic()
        with pytest.raises(Unreachable, match="within 3 s"):
            await registry.models()
        assert 2.9 < time.monotonic() - started < 25
        await registry.close()


async def test_a_name_that_is_no_host_is_unreachable() -> None:
    registry = connector_to("http://no-such-host.invalid:1", timeout_s=5)
    with pytest.raises(Unreachable):
        await registry.models()
    await registry.close()


async def test_retry_after_is_carried(proxy: FaultProxy, registry: MlflowConnector) -> None:
    proxy.on(rate_limited("1000000000"))
    with pytest.raises(RateLimited) as raised:
        await registry.models()
    assert raised.value.retry_after_s == 60


async def test_an_answer_beyond_all_measure_is_cut_off(proxy: FaultProxy, registry: MlflowConnector) -> None:
    proxy.on(Says(200, b'{"x": "' + b"y" * (33 * 2**20) + b'"}'))
    slow = connector_to(proxy.url, timeout_s=20)
    with pytest.raises(UnexpectedAnswer, match="32 MiB"):
        await slow.models()
    await slow.close()


async def test_a_read_is_sent_once(proxy: FaultProxy, registry: MlflowConnector) -> None:
    for fault in (Says(503), Reset(), Says(500), rate_limited()):
        proxy.heal()
        proxy.on(fault)
        proxy.requests.clear()
        with pytest.raises(BackendError):
            await registry.models()
        assert proxy.count() == 1


# --- redirects --------------------------------------------------------------------------------------------------------


class Token:
    scheme, user, source = "bearer", "", "command"

    def __init__(self, value: str = "token-of-the-day") -> None:
        self.value = value

    @property
    def secret(self) -> Token:
        return self

    def reveal(self) -> str:
        return self.value


async def token() -> Token:
    return Token()


async def test_a_redirect_elsewhere_gets_neither_request_nor_credential(tracking: Tracking, proxy: FaultProxy) -> None:
    async with FaultProxy("127.0.0.1", tracking.port) as elsewhere:
        for status in (301, 302, 303, 307, 308):
            proxy.heal()
            proxy.on(redirect(f"http://localhost:{elsewhere.port}/", status))
            registry = connector_to(proxy.url, credential=token)
            with pytest.raises(UnexpectedAnswer, match="redirects"):
                await registry.models()
            await registry.close()
        assert elsewhere.requests == []


async def test_a_redirect_within_the_server_is_followed(
    proxy: FaultProxy, registry: MlflowConnector, name: str
) -> None:
    proxy.on(redirect(f"/api/2.0/mlflow/registered-models/get?name={name}"), path="get?", times=1)
    assert (await registry.model(ref(name))).aliases["champion"] == "1"


async def test_a_circle_of_redirects_ends(proxy: FaultProxy, registry: MlflowConnector) -> None:
    proxy.on(redirect("/again"))
    with pytest.raises(UnexpectedAnswer, match="circles"):
        await registry.models()
    assert proxy.count() <= 4


# --- credentials ------------------------------------------------------------------------------------------------------


class Wallet:
    """A source as the core gives it: keeps what it has, and counts how often it is renewed."""

    def __init__(self, *tokens: str) -> None:
        self.left = list(tokens)
        self.renewed = 0

    async def credential(self) -> Token:
        return Token(self.left[0])

    async def renew(self) -> Token | None:
        self.renewed += 1
        await asyncio.sleep(0)
        if len(self.left) == 1:
            return None
        self.left.pop(0)
        return Token(self.left[0])

    def connector(self, url: str) -> MlflowConnector:
        return connector_to(url, credential=self.credential, renew=self.renew)


async def test_a_401_in_mid_session_renews_the_credential_once(proxy: FaultProxy) -> None:
    wallet = Wallet("first", "second", "third")
    registry = wallet.connector(proxy.url)
    proxy.on(UNAUTHORIZED, times=1)
    await registry.models()
    await registry.models()
    await registry.close()
    sent = [request.headers["authorization"] for request in proxy.requests]
    assert sent == ["Bearer first", "Bearer second", "Bearer second"]
    assert wallet.renewed == 1


async def test_many_reads_that_meet_a_401_at_once_renew_once(proxy: FaultProxy) -> None:
    wallet = Wallet("first", "second", "third")
    registry = wallet.connector(proxy.url)
    proxy.on(UNAUTHORIZED, times=4)
    await asyncio.gather(*(registry.models() for _ in range(4)))
    await registry.close()
    assert wallet.renewed == 1


async def test_a_401_that_stays_is_asked_twice_and_no_more(proxy: FaultProxy) -> None:
    wallet = Wallet("first", "second", "third")
    registry = wallet.connector(proxy.url)
    proxy.on(UNAUTHORIZED)
    with pytest.raises(Unauthenticated):
        await registry.models()
    await registry.close()
    assert proxy.count() == 2


async def test_a_401_to_a_write_renews_nothing_and_sends_nothing_again(
    proxy: FaultProxy, tracking: Tracking, name: str
) -> None:
    wallet = Wallet("first", "second")
    registry = wallet.connector(proxy.url)
    write = await planned(registry, name)
    proxy.on(UNAUTHORIZED, method="POST")
    with pytest.raises(Rejected):
        await registry.perform(write, stamp())
    await registry.close()
    assert wallet.renewed == 0
    assert proxy.count("POST", ALIAS) == 1
    assert tracking.aliases(name) == {"champion": "1"}


async def test_no_secret_in_errors_values_or_reprs(proxy: FaultProxy) -> None:
    secret = "hunter2-very-secret"

    async def source() -> Token:
        return Token(secret)

    registry = connector_to(proxy.url, credential=source, timeout_s=SHORT_S)
    said = [repr(registry), str(vars(registry)), repr(await registry.probe())]
    for fault in (UNAUTHORIZED, FORBIDDEN, Reset(), Silent(), LOGIN_PAGE, redirect("http://x.invalid/")):
        proxy.heal()
        proxy.on(fault)
        with pytest.raises(ReleaseError) as raised:
            await registry.models()
        said += [str(raised.value), repr(raised.value), repr(raised.value.__cause__)]
    await registry.close()
    assert any("bearer" in request.headers["authorization"].lower() for request in proxy.requests)
    assert not any(secret in text for text in said)


async def test_a_secret_that_no_header_can_hold_is_not_quoted(proxy: FaultProxy) -> None:
    for secret in ("hunter2\nX-Evil: 1", "hunter2-ü", "hunter2 \x00", ""):

        async def source(secret: str = secret) -> Token:
            return Token(secret)

        registry = connector_to(proxy.url, credential=source)
        with pytest.raises(CredentialError) as raised:
            await registry.models()
        assert (await registry.probe()).state is LinkState.AUTH
        await registry.close()
        assert "hunter2" not in repr(raised.value) + repr(raised.value.__cause__)
    assert proxy.requests == []


async def test_a_credential_source_that_hangs_ends_with_the_call(proxy: FaultProxy) -> None:
    async def source() -> Token:
        await asyncio.Event().wait()
        raise AssertionError

    registry = connector_to(proxy.url, credential=source, timeout_s=SHORT_S)
    with within(SHORT_S + SLACK_S), pytest.raises(TimedOut, match="credential"):
        await registry.models()
    await registry.close()


# --- writes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "applied"),
    [
        (Reset(after_apply=True), True),
        (Silent(after_apply=True), True),
        (Says(503, after_apply=True), True),
        (Says(200, LOGIN_PAGE.body, LOGIN_PAGE.headers, after_apply=True), True),
        (Truncated(), True),
        (Drip(), True),
        (Reset(), False),
        (Silent(), False),
        (Says(500), False),
        (Says(503), False),
        (LOGIN_PAGE, False),
        (INVALID_JSON, False),
        (redirect("https://login.example.org/"), False),
    ],
)
async def test_a_lost_answer_is_unknown_the_move_is_sent_once_and_a_read_tells(
    proxy: FaultProxy, hurried: MlflowConnector, name: str, fault: Fault, applied: bool
) -> None:
    registry = hurried
    write = await planned(registry, name)
    proxy.on(fault, method="POST", path=ALIAS)
    with within(limit_s(fault) + SLACK_S), pytest.raises(OutcomeUnknown):
        await registry.perform(write, stamp(by="ana", intent="i-lost"))
    assert proxy.count("POST", ALIAS) == 1
    assert proxy.count("POST", TAG) == 1
    proxy.heal()
    model = await registry.model(ref(name))
    assert model.aliases["champion"] == ("2" if applied else "1")
    stamps = [item.intent_id for item in model.stamps.values()]
    assert stamps == (["i-lost"] if applied else [])


@pytest.mark.parametrize("fault", [Says(400), UNAUTHORIZED, FORBIDDEN, Says(404), rate_limited()])
async def test_a_refused_move_is_rejected_and_sent_once(
    proxy: FaultProxy, registry: MlflowConnector, tracking: Tracking, name: str, fault: Fault
) -> None:
    write = await planned(registry, name)
    proxy.on(fault, method="POST", path=ALIAS)
    with pytest.raises(Rejected):
        await registry.perform(write, stamp())
    assert proxy.count("POST", ALIAS) == 1
    assert tracking.aliases(name) == {"champion": "1"}


@pytest.mark.parametrize("fault", [Reset(), Silent(), Says(500), LOGIN_PAGE, UNAUTHORIZED])
async def test_what_fails_before_the_move_sends_nothing(
    proxy: FaultProxy, hurried: MlflowConnector, tracking: Tracking, name: str, fault: Fault
) -> None:
    registry = hurried
    write = await planned(registry, name)
    proxy.on(fault, method="GET")
    with within(limit_s(fault) + SLACK_S), pytest.raises(BackendError) as caught:
        await registry.perform(write, stamp())
    assert caught.value.hint == "alias champion was not touched; plan again once the registry answers"
    assert not isinstance(caught.value, TimedOut), "what was not sent is not unknown"
    assert proxy.count("POST") == 0
    assert tracking.tags(name) == {}


async def test_a_refused_connection_at_the_move_was_not_sent(
    proxy: FaultProxy, registry: MlflowConnector, name: str
) -> None:
    write = await planned(registry, name)
    await proxy.refuse()
    with pytest.raises(Unreachable):
        await registry.perform(write, stamp())


@pytest.mark.parametrize(
    "fault", [FORBIDDEN, Says(500), Reset(), Reset(after_apply=True), Silent(), Silent(after_apply=True)]
)
async def test_a_note_that_can_not_be_left_does_not_stop_the_move(
    proxy: FaultProxy, tracking: Tracking, name: str, fault: Fault
) -> None:
    registry = connector_to(proxy.url, timeout_s=3)
    write = await planned(registry, name)
    proxy.on(fault, method="POST", path=TAG)
    receipt = await registry.perform(write, stamp())
    await registry.close()
    assert proxy.count("POST", ALIAS) == 1
    assert proxy.count("POST", TAG) == 1
    assert tracking.aliases(name) == {"champion": "2"}
    noted = isinstance(fault, Reset | Silent) and fault.after_apply
    assert ("could not be noted" in receipt.detail) is not noted


async def test_accepted_but_unchanged_is_seen_by_the_read_back(
    proxy: FaultProxy, registry: MlflowConnector, name: str
) -> None:
    write = await planned(registry, name)
    proxy.on(Says(200), method="POST", path=ALIAS)
    with pytest.raises(OutcomeUnknown, match="accepted, but alias champion points at 1 now"):
        await registry.perform(write, stamp())


async def test_a_read_back_that_fails_is_no_failure_of_the_move(
    proxy: FaultProxy, registry: MlflowConnector, tracking: Tracking, name: str
) -> None:
    write = await planned(registry, name)
    original = registry._registry.set_alias

    async def then_break(*args: object) -> None:
        await original(*args)  # type: ignore[arg-type]
        proxy.on(Says(500))

    registry._registry.set_alias = then_break  # type: ignore[method-assign,assignment]
    receipt = await registry.perform(write, stamp())
    assert receipt.detail.startswith("accepted; reading it back failed")
    assert tracking.aliases(name) == {"champion": "2"}


async def test_every_write_names_the_program_and_the_intent(
    proxy: FaultProxy, registry: MlflowConnector, name: str
) -> None:
    await registry.perform(await planned(registry, name), stamp(intent="0198-\r\nX-Evil: 1"))
    posts = [request for request in proxy.requests if request.method == "POST"]
    assert len(posts) == 2
    for request in posts:
        assert request.headers["user-agent"].startswith("mlrelease-tui/")
        assert request.headers["user-agent"].endswith("(intent 0198-X-Evil1)")
        assert "x-evil" not in request.headers
    assert "intent" not in proxy.requests[0].headers["user-agent"]


# --- the way there ----------------------------------------------------------------------------------------------------


async def test_a_proxy_that_is_down_is_named_without_its_password(tracking: Tracking) -> None:
    environ = {"HTTP_PROXY": "http://me:hunter2@127.0.0.1:9"}
    registry = connector_to(tracking.url, environ=environ)
    with pytest.raises(Unreachable, match=r"proxy http://127\.0\.0\.1:9") as raised:
        await registry.models()
    await registry.close()
    assert "hunter2" not in str(raised.value)


async def test_a_proxy_that_wants_a_login_is_told(tracking: Tracking, proxy: FaultProxy) -> None:
    proxy.on(Says(407))
    registry = connector_to(tracking.url, environ={"HTTP_PROXY": proxy.url})
    with pytest.raises(Unreachable, match="proxy"):
        await registry.models()
    await registry.close()


async def test_a_certificate_that_is_not_to_be_trusted_is_refused_with_its_fingerprint(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    names = [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    await asyncio.to_thread(subprocess.run, [*command, *names], check=True, capture_output=True)
    printed = await asyncio.to_thread(
        subprocess.run,
        ["openssl", "x509", "-in", str(certificate), "-noout", "-fingerprint", "-sha256"],
        check=True,
        capture_output=True,
        text=True,
    )
    fingerprint = printed.stdout.partition("=")[2].strip().replace(":", "").lower()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    doubted = connector_to(url, environ={"MLFLOW_TRACKING_INSECURE_TLS": "true"}, credential=token)
    with pytest.raises(Unreachable, match="not to be trusted") as raised:
        await doubted.models()
    assert fingerprint in raised.value.hint
    assert not any(b"token-of-the-day" in request for request in heard)
    await doubted.close()
    by_environment = connector_to(url, environ={"MLFLOW_TRACKING_SERVER_CERT_PATH": str(certificate)})
    by_key = connect(Settings("registry", "mlflow", {"url": url, "ca_file": str(certificate)}))
    for trusted in (by_environment, by_key):
        assert isinstance(trusted, MlflowConnector)
        assert (await trusted.models()).models == ()
        await trusted.close()
    missing = connect(Settings("registry", "mlflow", {"url": url, "ca_file": str(tmp_path / "none.pem")}))
    assert (await missing.probe()).error_code == "config"
    server.close()


@pytest.mark.parametrize(
    "url",
    ["sqlite:////nowhere/at/all.db", "file:///nowhere/at/all", "sqlite:///{empty}", "postgresql://127.0.0.1:9/none"],
)
async def test_a_store_that_is_not_there_is_unreachable_and_not_made(tmp_path: Path, url: str) -> None:
    empty = tmp_path / "empty.db"
    empty.touch()
    registry = connector_to(url.format(empty=empty))
    health = await registry.probe()
    assert health.state is LinkState.DOWN
    assert health.error_code == "unreachable"
    await registry.close()
    assert empty.stat().st_size == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.db"]


def test_importing_the_connector_imports_neither_httpx_nor_mlflow() -> None:
    code = (
        "import sys\n"
        "from mlrelease_tui.connectors.api import Settings\n"
        "from mlrelease_tui.connectors.mlflow import connect\n"
        "connect(Settings('r', 'mlflow', {'url': 'https://h'}))\n"
        "print(sorted({'httpx', 'mlflow', 'ssl', 'certifi'} & set(sys.modules) - {'ssl'}))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
