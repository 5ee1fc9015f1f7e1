"""Credentials: each source by itself, no falling through, and a canary that appears nowhere but in `reveal()`."""

from __future__ import annotations

import base64
import copy
import dataclasses
import io
import json
import logging
import os
import pickle
import pprint
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import rfc8785
import rich.pretty
from rich.console import Console
from rich.traceback import Traceback

from mlrelease_tui.actions import reading
from mlrelease_tui.config import Config, ConnectionConfig, parse
from mlrelease_tui.connectors import plugins
from mlrelease_tui.connectors.api import Connector, ConnectorFactory, Settings
from mlrelease_tui.credentials import CommandOutput, Prompt, Runner, Wallet, keyring_source, run_command
from mlrelease_tui.credentials.answer import read_answer
from mlrelease_tui.credentials.command import find_program
from mlrelease_tui.domain.redaction import is_secret_name, looks_like_token, redact_text, redact_url
from mlrelease_tui.domain.secret import Credential, Secret
from mlrelease_tui.errors import ConfigError, CredentialError, UnexpectedAnswer
from mlrelease_tui.hardening import scrubbed_environment

CANARY = "c4n4ry-s3cr3t-of-registry"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def configured(credential: str, *more: str, url: str = "https://registry.internal", kind: str = "mlflow") -> Config:
    line = f"credential = {credential}\n" if credential else ""
    text = f'[connections.registry]\nkind = "{kind}"\nurl = "{url}"\n{line}' + "\n".join(more)
    return parse(text, Path("/nowhere/config.toml"), {"HOME": "/nowhere"})


class MemoryKeyring:
    """What `keyring_source` offers, without a keyring: the real one has its own tests."""

    def __init__(self, content: dict[tuple[str, str], str] | None = None) -> None:
        self.content = content or {}

    def read_secret(self, service: str, entry: str) -> Secret | None:
        value = self.content.get((service, entry))
        return Secret(value) if value else None

    def store_secret(self, service: str, entry: str, secret: Secret) -> str:
        self.content[service, entry] = secret.reveal()
        return "memory"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def wallet(
    config: Config,
    env: Mapping[str, str] | None = None,
    *,
    run: Runner = run_command,
    prompt: Prompt | None = None,
    clock: Callable[[], datetime] = lambda: NOW,
    keyring: MemoryKeyring | None = None,
    uid: int | None = None,
) -> Wallet:
    variables = {"PATH": os.environ["PATH"], **(env or {})}
    return Wallet(
        config, env=variables, prompt=prompt, run=run, clock=clock, keyring=keyring or MemoryKeyring(), uid=uid
    )


def printing(text: str) -> str:
    """A command (as TOML) that prints `text`."""
    return python(f"import sys; sys.stdout.buffer.write({text.encode()!r})")


def python(program: str) -> str:
    """A command (as TOML) that runs a Python program, which the configuration does not see."""
    hidden = f"import base64; exec(base64.b64decode('{base64.b64encode(program.encode()).decode()}'))"
    return "{ command = [" + ", ".join(json.dumps(part) for part in (sys.executable, "-c", hidden)) + "] }"


def taken(found: Credential | None) -> tuple[str, str, str, str]:
    assert found is not None
    return found.scheme, found.user, found.secret.reveal(), found.source


def failure(work: Callable[[], object]) -> CredentialError:
    with pytest.raises(CredentialError) as caught:
        work()
    return caught.value


def private(path: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


# --- the secret itself -------------------------------------------------------------------------------------------------------


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret(CANARY)
    credential = Credential("basic", "anna", secret, "file", None)
    console = io.StringIO()
    rich.pretty.Pretty(credential)
    Console(file=console).print(credential, {"secret": secret}, rich.pretty.pretty_repr(secret))
    rich.inspect(secret, console=Console(file=console), private=True, all=True, value=True)
    log = logging.LogRecord("x", 10, "x", 1, "%s %r", (secret, credential), None)
    shown = [
        repr(secret),
        str(secret),
        f"{secret} {secret!r} {secret:>10}",
        "%s" % secret,  # noqa: UP031
        json.dumps({"secret": secret, **dataclasses.asdict(credential)}),
        rfc8785.dumps({"secret": secret}).decode(),
        pprint.pformat(credential),
        repr(pickle.dumps(credential)),
        repr(pickle.loads(pickle.dumps(secret))),
        repr(copy.copy(secret)),
        repr(copy.deepcopy(credential)),
        secret.encode().decode(),
        secret.upper(),
        "".join(secret),
        log.getMessage(),
        console.getvalue(),
        repr(credential.authorization()),
        repr(dataclasses.replace(credential, user="x")),
    ]
    encoded = base64.b64encode(f"anna:{CANARY}".encode()).decode()
    for text in shown:
        assert CANARY not in text
        assert CANARY.upper() not in text
        assert encoded not in text
    assert copy.deepcopy(secret).reveal() == CANARY
    assert type(pickle.loads(pickle.dumps(secret))) is str


def test_secrets_compare_by_value_and_are_not_joined_by_accident() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "***"
    assert Secret(Secret("a")).reveal() == "a"
    with pytest.raises(TypeError):
        _ = "Bearer " + Secret("a")
    with pytest.raises(TypeError):
        _ = Secret("a") + "x"
    with pytest.raises(ValueError, match="not empty"):
        Secret("")


def test_the_header_that_is_sent() -> None:
    assert Credential("bearer", "", Secret("t"), "env").authorization().reveal() == "Bearer t"
    basic = Credential("basic", "änna", Secret("p:w"), "env").authorization().reveal()
    assert base64.b64decode(basic.removeprefix("Basic ")).decode() == "änna:p:w"


# --- redaction -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("GET https://anna:pw@host/x?token=1#f failed", "GET https://host/x failed"),
        ("Authorization: Bearer abc.def", "Authorization: *** ***"),
        ("token=abc; ok", "token=***; ok"),
        ('{"password": "a b"}', '{"password": ***}'),
        ("the password is swordfish", "the password is ***"),
        ("error: token hunter2 was refused", "error: token *** was refused"),
        ("Error: token expired", "Error: token expired"),
        ("got ghp_0123456789abcdef", "got ***"),
        ("key eyJhbGciOi.eyJzdWIiOiIx.c2ln end", "key *** end"),
        ("x c2VjcmV0c2VjcmV0MTIz y", "x *** y"),
        (
            "gpg: /home/anna/.password-store/mlflow2.gpg: no such file",
            "gpg: /home/anna/.password-store/mlflow2.gpg: no such file",
        ),
        ("Vault is sealed (503)", "Vault is sealed (503)"),
    ],
)
def test_free_text_is_redacted(text: str, wanted: str) -> None:
    assert redact_text(text) == wanted


def test_known_secrets_are_hidden_in_every_spelling() -> None:
    value = "p/w+1 ä"
    encoded = base64.b64encode(value.encode()).decode()
    text = f"a {value} b p%2Fw%2B1%20%C3%A4 c p%2Fw%2B1+%C3%A4 d {encoded}"
    assert redact_text(text, [Secret(value)]) == "a *** b *** c *** d ***"


async def test_what_nobody_foresaw_is_told_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a connector's own exception becomes words: when it is built, and when an action asks it."""

    def fails(_: object) -> Connector:
        raise ValueError(f"Illegal header value b'Bearer {CANARY}'")

    monkeypatch.setattr(plugins, "load", lambda _kind: ConnectorFactory(fails))
    with pytest.raises(ConfigError, match="ValueError: Illegal header") as broken:
        plugins.connect("rogue", Settings("edge", "rogue"))

    async def asking() -> None:
        fails(None)

    with pytest.raises(UnexpectedAnswer, match="ValueError: Illegal header") as asked:
        await reading.asked("edge", asking())
    assert CANARY not in f"{broken.value}{asked.value}"


def test_addresses_lose_user_and_query() -> None:
    assert redact_url("https://u:p@host:1/a?b=c#d") == "https://host:1/a"
    assert redact_url("http://[::1") == "***"


def test_names_and_shapes_of_secrets() -> None:
    for name in (
        "API_KEY",
        "accessToken",
        "MLFLOW_TRACKING_PASSWORD",
        "X-Auth-Token",
        "AWS_SECRET_ACCESS_KEY",
        "PGPASS",
    ):
        assert is_secret_name(name) or name == "PGPASS"
    for name in ("PWD", "OLDPWD", "PATH", "HOME", "SSH_AUTH_SOCK", "KEYBOARD", "TOKENIZERS_PARALLELISM", "monkey"):
        assert not is_secret_name(name)
    assert looks_like_token("x AKIAABCDEFGHIJKLMNOP")
    assert not looks_like_token("sk-learn")


# --- command -----------------------------------------------------------------------------------------------------------------


def test_a_command_gives_a_line() -> None:
    found = wallet(configured(printing(f"{CANARY}\nuser: anna\n"))).credential("registry")
    assert taken(found) == ("bearer", "", CANARY, "command")


@pytest.mark.parametrize(
    ("content", "wanted", "expires"),
    [
        ({"token": "t"}, ("bearer", "", "t"), None),
        ({"token": "t", "expires_at": "2026-03-01T13:00:00Z"}, ("bearer", "", "t"), NOW + timedelta(hours=1)),
        ({"token": "t", "expires_at": "2026-03-01T14:00:00+01:00"}, ("bearer", "", "t"), NOW + timedelta(hours=1)),
        ({"access_token": "t", "expires_in": 60}, ("bearer", "", "t"), NOW + timedelta(minutes=1)),
        ({"user": "anna", "password": "p"}, ("basic", "anna", "p"), None),
        ({"ServerURL": "x", "Username": "anna", "Secret": "p"}, ("basic", "anna", "p"), None),
        (
            {
                "kind": "ExecCredential",
                "status": {"token": "t", "expirationTimestamp": "2026-03-01T12:10:00Z"},
            },
            ("bearer", "", "t"),
            NOW + timedelta(minutes=10),
        ),
    ],
)
def test_a_command_gives_json(content: object, wanted: tuple[str, str, str], expires: datetime | None) -> None:
    found = wallet(configured(printing(json.dumps(content)))).credential("registry")
    assert taken(found)[:3] == wanted
    assert found is not None
    assert found.expires_at == expires


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "gave nothing"),
        (b"\n \n", "gave nothing"),
        (b"\xff\xfe", "not UTF-8"),
        (f"{CANARY}\x1b[2J".encode(), "control characters"),
        (f"{CANARY}\x00".encode(), "control characters"),
        (f'{{"token": "{CANARY}", "token": "b"}}'.encode(), "a key in it twice"),
        (f'{{"token": "{CANARY}"'.encode(), "cannot be read"),
        (b"{" * 100_000, "cannot be read"),
        (b'{"user": "a"}', "without a token"),
        (f'{{"token": "{CANARY}\\r\\nX: y"}}'.encode(), "control characters"),
        (f'{{"token": "{CANARY}", "expires_at": "2026-03-01T11:59:59Z"}}'.encode(), "expired at 2026-03-01T11:59:59Z"),
        (f'{{"token": "{CANARY}", "expires_at": "soon"}}'.encode(), "expiry that cannot be read"),
        (f'{{"token": "{CANARY}", "expires_in": 1e999}}'.encode(), "expiry that cannot be read"),
        (f'{{"token": "{CANARY}", "expires_at": true}}'.encode(), "expiry that cannot be read"),
    ],
)
def test_an_unusable_answer_is_refused_without_its_content(content: bytes, message: str) -> None:
    problem = failure(lambda: read_answer(content, "the command", NOW))
    assert message in problem.message
    assert CANARY not in str(problem)


def test_a_command_has_no_shell_no_stdin_no_terminal_and_its_own_session() -> None:
    program = (
        "import json,os,sys;"
        "print(json.dumps({'token': 't', 'user': json.dumps([sys.stdin.read(), os.getsid(0) == os.getpid(), os.getcwd(),"
        "os.path.exists('/dev/tty') and os.access('/dev/tty', os.R_OK) and _tty()])}))"
    )
    opens = """
import os
def _tty():
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True
"""
    found = wallet(configured(python(opens + program))).credential("registry")
    assert json.loads(taken(found)[1]) == ["", True, "/", False]
    literal = wallet(configured('{ command = ["echo", "$HOME;id", "`id`"] }')).credential("registry")
    assert taken(literal)[2] == "$HOME;id `id`"


def test_a_command_gets_no_secret_of_ours_but_what_it_is_given() -> None:
    program = "import json,os; print(json.dumps({'token': 't', 'user': json.dumps(dict(os.environ))}))"
    secret = python(program)[:-1] + ', pass_env = ["VAULT_TOKEN"] }'
    other = '[connections.other]\nkind = "oci"\nurl = "https://o"\ncredential = { env = "PLAIN_LOOKING" }'
    env = {
        "HOME": "/h",
        "MLFLOW_TRACKING_TOKEN": CANARY,
        "MLFLOW_TRACKING_PASSWORD": CANARY,
        "HTTPS_PROXY": f"http://u:{CANARY}@proxy",
        "PLAIN_LOOKING": CANARY,
        "GIT_THING": "ghp_0123456789abcdef",
        "VAULT_TOKEN": "given",
    }
    found = wallet(configured(secret, other), env).credential("registry")
    seen = json.loads(taken(found)[1])
    assert CANARY not in json.dumps(seen)
    assert "GIT_THING" not in seen
    assert (seen["VAULT_TOKEN"], seen["HOME"]) == ("given", "/h")


def test_a_command_that_fails_is_quoted_without_its_secrets() -> None:
    program = (
        "import os,sys; print('" + CANARY + "');"
        "sys.stderr.write('\\x1b]52;c;eA==\\x07vault: cannot renew " + CANARY + "\\nAuthorization: Bearer zzz\\n'"
        " 'token hunter2 is no good, https://u:pw@vault/v1?token=q ' + 'ghp_0123456789abcdef');"
        "sys.exit(1)"
    )
    work = wallet(configured(python(program)))
    problem = failure(lambda: work.credential("registry"))
    assert "the credential command of registry failed with exit code 1" in problem.message
    assert "vault: cannot renew ***" in problem.message
    for hidden in (CANARY, "hunter2", "zzz", "u:pw", "token=q", "ghp_", "\x1b", "\x07"):
        assert hidden not in str(problem)


def test_a_token_that_stands_on_stderr_alone_is_hidden_by_its_shape() -> None:
    # Nothing of it was seen before: only its shape gives it away.
    program = f"import sys; sys.stderr.write('refused: {CANARY}'); sys.exit(1)"
    problem = failure(lambda: wallet(configured(python(program))).credential("registry"))
    assert problem.message.endswith("failed with exit code 1: refused: ***")


def gone(pid: int) -> bool:
    """Whether a process has ended, or is only waiting to be reaped by somebody."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(condition: Callable[[], bool], deadline_s: float = 30.0) -> bool:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def briefly(argv: Sequence[str], env: Mapping[str, str]) -> CommandOutput:
    return run_command(argv, env, deadline_s=1.5)


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    # A shell, which is there in a few milliseconds: it must have come this far before the time is up.
    program = f'trap "" TERM; sleep 600 & echo $$ $! > {pids}; printf Password: >&2; sleep 600'
    command = json.dumps(["/bin/sh", "-c", program])
    started = time.monotonic()
    problem = failure(lambda: wallet(configured(f"{{ command = {command} }}"), run=briefly).credential("registry"))
    assert time.monotonic() - started < 60
    assert "did not end within 10 s and was killed: Password:" in problem.message
    assert "no terminal" in problem.hint
    for pid in map(int, pids.read_text().split()):
        assert wait_until(lambda pid=pid: gone(pid))  # type: ignore[misc]


def test_a_command_that_became_another_users_holds_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `sudo` does, and then nobody but root may kill it."""

    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    killpg, pid = os.killpg, tmp_path / "pid"
    monkeypatch.setattr(os, "killpg", forbidden)
    command = json.dumps(["/bin/sh", "-c", f"echo $$ > {pid}; exec sleep 600"])
    try:
        problem = failure(lambda: wallet(configured(f"{{ command = {command} }}"), run=briefly).credential("registry"))
    finally:
        killpg(int(pid.read_text()), signal.SIGKILL)
    assert "did not end within 10 s" in problem.message


def test_what_a_command_leaves_running_holds_nobody(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = (
        "import subprocess; child = subprocess.Popen(['sleep', '600']);"
        f"open({str(pid)!r}, 'w').write(str(child.pid)); print('t', flush=True)"
    )
    started = time.monotonic()
    assert taken(wallet(configured(python(program))).credential("registry"))[2] == "t"
    assert time.monotonic() - started < 60
    assert wait_until(lambda: gone(int(pid.read_text())))


def test_a_command_that_floods_is_killed() -> None:
    program = "import sys\nwhile True: sys.stdout.write('x' * 4096)"
    problem = failure(lambda: wallet(configured(python(program))).credential("registry"))
    assert "wrote more than 64 KiB and was killed" in problem.message


def test_a_command_that_floods_stderr_keeps_its_end_only() -> None:
    program = "import sys; sys.stderr.write('x ' * 500_000 + 'the end'); sys.exit(3)"
    problem = failure(lambda: wallet(configured(python(program))).credential("registry"))
    assert problem.message.endswith("the end")
    assert len(problem.message) < 500


def test_a_command_ended_by_a_signal_says_so() -> None:
    program = "import os,signal; os.kill(os.getpid(), signal.SIGSEGV)"
    problem = failure(lambda: wallet(configured(python(program))).credential("registry"))
    assert f"ended by signal {signal.SIGSEGV.value}" in problem.message


def test_programs_are_found_on_absolute_folders_of_the_path_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private(tmp_path / "get", "#!/bin/sh\necho t\n", 0o700)
    monkeypatch.chdir(tmp_path)
    assert find_program("get", {"PATH": f".::{tmp_path.name}"}) is None
    assert find_program("get", {"PATH": str(tmp_path)}) == str(tmp_path / "get")
    assert find_program("~/get", {"HOME": str(tmp_path)}) == str(tmp_path / "get")
    work = wallet(configured('{ command = ["no-such-program-here"] }'))
    assert "no-such-program-here is not an executable file" in failure(lambda: work.credential("registry")).message
    bad = private(tmp_path / "bad", "not a program", 0o700)
    work = wallet(configured(f'{{ command = ["{bad}"] }}'))
    assert "cannot be run: OSError" in failure(lambda: work.credential("registry")).message


# --- file ----------------------------------------------------------------------------------------------------------------------


def from_file(path: Path, uid: int | None = None) -> Wallet:
    return wallet(configured(f'{{ file = "{path}" }}'), uid=uid)


def test_a_file_of_ours_alone_is_read(tmp_path: Path) -> None:
    for mode in (0o600, 0o400):
        path = private(tmp_path / f"t{mode}", f"{CANARY}\n", mode)
        assert taken(from_file(path).credential("registry")) == ("bearer", "", CANARY, "file")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "t", CANARY, mode)
    problem = failure(lambda: from_file(path).credential("registry"))
    assert f"is open to others (mode {mode:04o})" in problem.message
    assert problem.hint == f"chmod 600 {path}"


def test_a_file_that_is_not_a_plain_file_of_ours_is_refused(tmp_path: Path) -> None:
    real = private(tmp_path / "real", CANARY)
    (tmp_path / "link").symlink_to(real)
    os.mkfifo(tmp_path / "fifo", 0o600)
    cases = {
        tmp_path / "link": "it is a symbolic link",
        tmp_path / "fifo": "is not a regular file",
        tmp_path: "is not a regular file",
        tmp_path / "none": "No such file",
    }
    for path, message in cases.items():
        assert message in failure(lambda path=path: from_file(path).credential("registry")).message  # type: ignore[misc]
    problem = failure(lambda: from_file(real, uid=os.getuid() + 1).credential("registry"))
    assert "belongs to another user" in problem.message
    large = private(tmp_path / "large", "x" * 70_000)
    assert "larger than 64 KiB" in failure(lambda: from_file(large).credential("registry")).message


def test_a_file_that_can_not_be_asked_about_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    too_long = from_file(tmp_path / ("x" * 300))
    assert "File name too long" in failure(lambda: too_long.credential("registry")).message

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    # A folder that we may not enter, which root can't be shown: neither the file nor what it is can be asked for.
    work = from_file(private(tmp_path / "t", CANARY))
    monkeypatch.setattr(os, "open", closed)
    monkeypatch.setattr(os, "lstat", closed)
    assert "Permission denied" in failure(lambda: work.credential("registry")).message


# --- keyring, variable, prompt -----------------------------------------------------------------------------------------------


def test_a_keyring_is_asked_and_filled_by_login() -> None:
    keyring = MemoryKeyring()
    work = wallet(configured('{ keyring = { service = "s", user = "u" } }'), keyring=keyring)
    problem = failure(lambda: work.credential("registry"))
    assert "nothing for registry (service s, entry u)" in problem.message
    assert problem.hint == "mlrelease connections login registry"
    assert work.login("registry", Secret(CANARY)) == "keyring (memory)"
    assert keyring.content == {("s", "u"): CANARY}
    assert taken(work.credential("registry")) == ("bearer", "", CANARY, "keyring")
    work.login("registry", Secret("new"))
    assert taken(work.credential("registry"))[2] == "new"


def test_a_variable_works_and_an_unset_one_stops() -> None:
    config = configured('{ env = "REGISTRY_TOKEN", user = "anna" }')
    assert taken(wallet(config, {"REGISTRY_TOKEN": CANARY}).credential("registry")) == ("basic", "anna", CANARY, "env")
    for env in ({}, {"REGISTRY_TOKEN": " "}):
        # MLflow's own variables are there: a configured source that fails must not act as somebody else.
        work = wallet(config, {**env, "MLFLOW_TRACKING_TOKEN": "other"})
        assert "$REGISTRY_TOKEN, which is not set" in failure(lambda work=work: work.credential("registry")).message  # type: ignore[misc]


def test_a_prompt_is_asked_once_and_kept() -> None:
    asked: list[str] = []

    def prompt(connection: ConnectionConfig) -> Secret | None:
        asked.append(connection.name)
        return Secret(CANARY)

    work = wallet(configured("{ prompt = true }"), prompt=prompt)
    assert taken(work.credential("registry"))[2] == CANARY
    assert taken(work.credential("registry"))[3] == "prompt"
    assert asked == ["registry"]
    work.renew("registry")
    assert len(asked) == 2
    for silent in (None, lambda _: None):
        other = wallet(configured("{ prompt = true }"), prompt=silent)
        assert "nobody answered" in failure(lambda other=other: other.credential("registry")).message  # type: ignore[misc]
    other.login("registry", Secret("typed"))
    assert taken(other.credential("registry"))[2] == "typed"


def test_what_was_typed_before_the_screen_came_outlives_a_401() -> None:
    work = wallet(configured("{ prompt = true }"))
    work.login("registry", Secret("typed"))
    assert taken(work.renew("registry"))[2] == "typed"
    assert taken(work.credential("registry"))[2] == "typed"


def test_a_keyring_that_waits_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is locked opens a dialog: it must not be one more with each read."""
    unlocked, asked = threading.Event(), []

    class Locked:
        def get_password(self, service: str, entry: str) -> str:
            asked.append(entry)
            unlocked.wait(60)
            return CANARY

    monkeypatch.setattr(keyring_source, "_backend", Locked)
    for _ in range(3):
        problem = failure(lambda: keyring_source.read_secret("mlrelease", "registry", limit_s=0.05))
        assert "did not answer within 0.05 s" in problem.message
    assert asked == ["registry"]
    unlocked.set()
    assert keyring_source.read_secret("mlrelease", "registry", limit_s=30) == Secret(CANARY)
    assert len(asked) == 2


def test_basic_without_a_user_is_refused() -> None:
    work = wallet(configured('{ env = "T", scheme = "basic" }'), {"T": CANARY})
    assert "is basic and names no user" in failure(lambda: work.credential("registry")).message


def test_login_writes_only_what_is_ours_to_write() -> None:
    work = wallet(configured('{ file = "/t" }'))
    problem = failure(lambda: work.login("registry", Secret(CANARY)))
    assert "takes its credential from file" in problem.message
    assert "credential = { keyring = true }" in problem.hint


def test_an_unknown_connection_is_refused() -> None:
    work = wallet(configured(""))
    for call in (work.credential, work.forget, work.describe):
        assert "no connection nope" in failure(lambda call=call: call("nope")).message  # type: ignore[misc]


# --- MLflow's own places --------------------------------------------------------------------------------------------------------


INI = "[mlflow]\nmlflow_tracking_username = file-user\nmlflow_tracking_password = p%%w\n"


@pytest.mark.parametrize(
    ("env", "ini", "wanted"),
    [
        ({}, "", None),
        ({"MLFLOW_TRACKING_TOKEN": "t"}, "", ("bearer", "", "t", "mlflow env")),
        ({"MLFLOW_TRACKING_TOKEN": ""}, "", None),
        ({"MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_PASSWORD": "p"}, "", ("basic", "u", "p", "mlflow env")),
        (
            {"MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_PASSWORD": "p", "MLFLOW_TRACKING_TOKEN": "t"},
            "",
            ("basic", "u", "p", "mlflow env"),
        ),
        ({"MLFLOW_TRACKING_USERNAME": "u"}, "", None),
        ({"MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_TOKEN": "t"}, "", ("bearer", "", "t", "mlflow env")),
        ({}, INI, ("basic", "file-user", "p%w", "mlflow file")),
        ({"MLFLOW_TRACKING_TOKEN": "t"}, INI, ("basic", "file-user", "p%w", "mlflow file")),
        ({"MLFLOW_TRACKING_USERNAME": "u"}, INI, ("basic", "u", "p%w", "mlflow file")),
        ({"MLFLOW_TRACKING_PASSWORD": "p"}, INI, ("basic", "file-user", "p", "mlflow env")),
        ({}, "[other]\na = b\n", None),
    ],
)
def test_without_a_credential_mlflow_finds_what_its_client_finds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    env: dict[str, str],
    ini: str,
    wanted: tuple[str, str, str, str] | None,
) -> None:
    if ini:
        private(tmp_path / ".mlflow" / "credentials", ini)
    env = {**env, "HOME": str(tmp_path)}
    found = wallet(configured(""), env).credential("registry")
    assert (taken(found) if found else None) == wanted

    # The same from the client itself, with its own precedence of basic over bearer (mlflow.utils.rest_utils.http_request).
    from mlflow.utils.credentials import get_default_host_creds

    for name in ("TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    theirs = get_default_host_creds("https://registry.internal")
    if wanted is None:
        assert not (theirs.username and theirs.password)
        assert not theirs.token
    elif wanted[0] == "basic":
        assert (theirs.username, theirs.password) == wanted[1:3]
    else:
        assert not (theirs.username and theirs.password)
        assert theirs.token == wanted[2]


def test_mlflows_token_goes_to_the_server_that_it_is_for() -> None:
    other = '[connections.other]\nkind = "mlflow"\nurl = "https://elsewhere.example"\n'
    env = {"MLFLOW_TRACKING_TOKEN": CANARY}
    problem = failure(lambda: wallet(configured("", other), env).credential("registry"))
    assert "could be meant for registry or other" in problem.message
    work = wallet(configured("", other), {**env, "MLFLOW_TRACKING_URI": "https://registry.internal:443/"})
    assert taken(work.credential("registry"))[2] == CANARY
    assert work.credential("other") is None
    anonymous = other + "credential = { none = true }\n"
    work = wallet(configured("", anonymous), env)
    assert taken(work.credential("registry"))[2] == CANARY
    assert work.credential("other") is None
    assert wallet(configured("", url="sqlite:///x.db"), env).credential("registry") is None


def test_mlflows_file_is_held_to_the_same_rules(tmp_path: Path) -> None:
    path = private(tmp_path / ".mlflow" / "credentials", INI, 0o644)
    work = wallet(configured(""), {"HOME": str(tmp_path)})
    assert "open to others" in failure(lambda: work.credential("registry")).message
    private(path, f"[mlflow]\nmlflow_tracking_username = u\nmlflow_tracking_password = {CANARY}%(x)s\n")
    problem = failure(lambda: work.credential("registry"))
    assert "cannot be read" in problem.message
    assert CANARY not in str(problem)


def test_ways_of_authentication_that_only_mlflow_has_are_named() -> None:
    work = wallet(configured(""), {"MLFLOW_TRACKING_AWS_SIGV4": "true", "MLFLOW_TRACKING_TOKEN": "t"})
    assert "MLFLOW_TRACKING_AWS_SIGV4" in failure(lambda: work.credential("registry")).message


@pytest.mark.parametrize("home", ["/" + "x" * 300, "/proc/self/mem"])
def test_a_home_that_is_closed_to_us_holds_no_file(home: str) -> None:
    found = wallet(configured(""), {"HOME": home, "MLFLOW_TRACKING_TOKEN": CANARY}).credential("registry")
    assert taken(found) == ("bearer", "", CANARY, "mlflow env")


def test_a_tracking_uri_that_is_no_address_stops() -> None:
    env = {"MLFLOW_TRACKING_URI": "http://[registry", "MLFLOW_TRACKING_TOKEN": CANARY}
    assert "MLFLOW_TRACKING_URI" in failure(lambda: wallet(configured(""), env).credential("registry")).message


def test_other_kinds_without_a_credential_are_anonymous() -> None:
    assert wallet(configured("", kind="oci"), {"MLFLOW_TRACKING_TOKEN": CANARY}).credential("registry") is None


# --- keeping, describing -----------------------------------------------------------------------------------------------------


def test_a_credential_is_kept_until_shortly_before_it_expires() -> None:
    clock, runs = Clock(), 0

    def run(argv: Sequence[str], env: Mapping[str, str]) -> CommandOutput:
        nonlocal runs
        runs += 1
        moment = clock.now + timedelta(minutes=5)
        return CommandOutput(0, json.dumps({"token": f"t{runs}", "expires_at": moment.isoformat()}).encode(), b"")

    work = wallet(configured('{ command = ["true"] }'), run=run, clock=clock)
    assert taken(work.credential("registry"))[2] == "t1"
    clock.now += timedelta(minutes=4, seconds=29)
    assert taken(work.credential("registry"))[2] == "t1"
    clock.now += timedelta(seconds=1)
    assert taken(work.credential("registry"))[2] == "t2"
    assert taken(work.renew("registry"))[2] == "t3"
    work.forget("registry")
    assert taken(work.credential("registry"))[2] == "t4"


@pytest.mark.parametrize(
    ("credential", "badge", "detail"),
    [
        ('{ command = ["pass", "show", "x"] }', "command", "pass"),
        ('{ file = "/run/t" }', "file", "/run/t"),
        ("{ keyring = true }", "keyring", "mlrelease/registry"),
        ('{ env = "TOK" }', "env", "$TOK"),
        ('{ env = "NOPE" }', "env", "$NOPE (not set)"),
        ("{ prompt = true }", "prompt", "asked for, kept in memory"),
        ("{ none = true }", "anonymous", "anonymous on purpose"),
        ("", "mlflow", "where MLflow's own client looks (MLFLOW_TRACKING_*, ~/.mlflow/credentials)"),
    ],
)
def test_a_source_is_described_without_being_asked(credential: str, badge: str, detail: str) -> None:
    def run(argv: Sequence[str], env: Mapping[str, str]) -> CommandOutput:
        raise AssertionError("describing runs nothing")

    described = wallet(configured(credential), {"TOK": CANARY}, run=run).describe("registry")
    assert (described.badge, described.detail, described.held) == (badge, detail, False)
    assert CANARY not in repr(described)


def test_described_as_held_once_it_was_found() -> None:
    work = wallet(configured('{ env = "TOK" }'), {"TOK": CANARY})
    work.credential("registry")
    assert work.describe("registry").held
    assert CANARY not in repr(work.describe("registry"))


# --- the canary --------------------------------------------------------------------------------------------------------------


def everything_printed(problem: BaseException, log: io.StringIO) -> str:
    """What a crash handler that shows locals, and a log with the traceback, would write."""
    out = io.StringIO()
    frames = Traceback.from_exception(
        type(problem),
        problem,
        problem.__traceback__,
        show_locals=True,
        locals_max_string=100_000,
        locals_max_length=100,
    )
    Console(file=out, width=500).print(frames)
    logger = logging.Logger("canary", logging.DEBUG)
    logger.addHandler(logging.StreamHandler(log))
    logger.error("failed: %s", problem, exc_info=problem)
    return out.getvalue() + log.getvalue() + "".join(traceback.format_exception(problem)) + repr(problem.args)


def canary_sources(tmp_path: Path) -> dict[str, tuple[str, dict[str, str]]]:
    say = f"import sys; t = {CANARY!r}; "
    bad_file = private(tmp_path / "bad", f'{{"token": "{CANARY}", "expires_at": "never"}}')
    open_file = private(tmp_path / "open", CANARY, 0o644)
    return {
        "exit 1": (python(say + "print(t); sys.stderr.write(t); sys.exit(1)"), {}),
        "stderr alone": (python(say + "sys.stderr.write(t); sys.exit(1)"), {}),
        "flood": (python(say + "print(t * 9999)"), {}),
        "hang": (python(say + "print(t, flush=True); import time; time.sleep(99)"), {}),
        "expired": (python(say + 'print(\'{"token": "\' + t + \'", "expires_at": "2001-01-01"}\')'), {}),
        "control": (python(say + "print(t + chr(27))"), {}),
        "bad file": (f'{{ file = "{bad_file}" }}', {}),
        "open file": (f'{{ file = "{open_file}" }}', {}),
        "basic without user": ('{ env = "TOK", scheme = "basic" }', {"TOK": CANARY}),
        "control in a variable": ('{ env = "TOK" }', {"TOK": CANARY + "\x01"}),
        "known from a variable": (
            python(say + "sys.stderr.write('no: ' + t[:12] + t[12:]); sys.exit(1)"),
            {"SOME_TOKEN": CANARY},
        ),
    }


CASES = [
    "exit 1",
    "stderr alone",
    "flood",
    "hang",
    "expired",
    "control",
    "bad file",
    "open file",
    "basic without user",
    "control in a variable",
    "known from a variable",
]


@pytest.mark.parametrize("case", CASES)
def test_the_canary_is_in_no_error_log_or_traceback(case: str, tmp_path: Path) -> None:
    credential, env = canary_sources(tmp_path)[case]
    config = configured(credential)
    # The environment of a real process is not in the locals of the caller: keep it out of this frame as well.
    work = wallet(config, env, run=briefly)
    del env, credential, config
    try:
        work.credential("registry")
    except CredentialError as problem:
        assert problem.__context__ is None or problem.__suppress_context__
        printed = everything_printed(problem, io.StringIO())
        assert CANARY not in printed
        assert "credential" in printed
    else:
        pytest.fail("it should not have been found")


def test_what_a_connector_is_given_does_not_print_the_environment() -> None:
    given = Settings("registry", "mlflow", environ={"MLFLOW_TRACKING_TOKEN": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY})
    assert CANARY not in repr(given) + str(given)
    assert given.environ["MLFLOW_TRACKING_TOKEN"] == CANARY


def test_the_canary_is_in_no_child(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "A": f"x{CANARY}x", "B_TOKEN": "t", "C": "c", "D": "d", "E_KEY": "kept"}
    clean = scrubbed_environment(env, secrets=[Secret(CANARY)], drop=["D"], keep=["E_KEY"])
    program = "import os; print(sorted(os.environ), open('/proc/self/cmdline').read())"
    out = subprocess.run([sys.executable, "-c", program], env=clean, capture_output=True, text=True, check=True).stdout
    assert CANARY not in out
    assert "'C'" in out
    assert "'E_KEY'" in out
    assert not {"A", "B_TOKEN", "D"} & set(clean)


# --- hardening -------------------------------------------------------------------------------------------------------------------


def test_a_hardened_process_leaves_no_core_and_hides_its_memory() -> None:
    program = (
        "import os,resource,time\n"
        "from mlrelease_tui.hardening import harden_process\n"
        "print(harden_process(), resource.getrlimit(resource.RLIMIT_CORE), os.stat('/proc/self/mem').st_uid, flush=True)\n"
        "import subprocess,sys\n"
        "print(subprocess.run([sys.executable, '-c', 'print(1)'], capture_output=True, text=True).stdout)\n"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split("\n")
    assert out[0] == "Hardening(no_core=True, not_dumpable=True) (0, 0) 0"
    assert out[1] == "1"
    assert resource.getrlimit(resource.RLIMIT_CORE) is not None
