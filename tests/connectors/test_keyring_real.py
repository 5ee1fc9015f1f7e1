"""The keyring source on a real Secret Service (gnome-keyring on a D-Bus of the test's own), and on everything that is not one.

Each case runs in a process of its own, because the keyring library decides by its environment. `tests/provision/keyring.sh`
installs what is needed: CI must have it; elsewhere the tests which need it are skipped and say how to get it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.traceback import Traceback

from mlrelease_tui.credentials import keyring_source
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.errors import CredentialError

pytestmark = pytest.mark.real

CANARY = "c4n4ry-k3yring"
TOOLS = ("gnome-keyring-daemon", "dbus-run-session", "secret-tool")
PROVISION = Path(__file__).parents[1] / "provision" / "keyring.sh"

UNLOCKED = "printf pw | gnome-keyring-daemon --unlock --components=secrets --daemonize >/dev/null 2>&1; "
NEVER_UNLOCKED = "gnome-keyring-daemon --start --components=secrets >/dev/null 2>&1; "

PROBE = """
import io, json, os, sys, time
from datetime import UTC, datetime
from pathlib import Path
from rich.console import Console
from rich.traceback import Traceback
from mlrelease_tui.config import parse
from mlrelease_tui.credentials import Wallet, run_command
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.errors import CredentialError

text = '[connections.reg]\\nkind="mlflow"\\nurl="https://r"\\ncredential={ keyring = { service = "svc", user = "anna" } }'
config = parse(text, Path("/x/c.toml"), {"HOME": "/x"})
wallet = Wallet(config, env={}, prompt=None, run=run_command, clock=lambda: datetime.now(UTC))

canary = Secret(sys.stdin.read())

def login():
    return wallet.login("reg", canary)

def read():
    found = wallet.renew("reg")
    return [found.scheme, found.secret.reveal(), found.source]

def lock():
    import secretstorage
    bus = secretstorage.dbus_init()
    secretstorage.get_default_collection(bus).lock()

def delete():
    from mlrelease_tui.credentials import keyring_source
    keyring_source.delete_secret("svc", "anna")

def attempt(name):
    started = time.monotonic()
    step = {"step": name}
    try:
        step["gave"] = globals()[name]()
    except CredentialError as problem:
        out = io.StringIO()
        Console(file=out, width=300).print(
            Traceback.from_exception(type(problem), problem, problem.__traceback__, show_locals=True))
        step |= {"message": problem.message, "hint": problem.hint, "traceback": out.getvalue()}
    return step | {"seconds": time.monotonic() - started}

steps = [attempt(name) for name in sys.argv[1:]]
print(json.dumps(steps))
"""


@dataclass
class Desk:
    """A home of its own with its own D-Bus; `run` starts the probe in it."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)

    def variables(self) -> dict[str, str]:
        runtime = self.home / "run"
        runtime.mkdir(mode=0o700, exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            **self.env,
        }

    def run(self, *steps: str, session: str | None = None, bus: str = "", after: str = "") -> list[dict[str, Any]]:
        """Run the steps; with `session` inside a D-Bus session of which that shell text starts the service."""
        probe = self.home / "probe.py"
        probe.write_text(PROBE)
        argv = [sys.executable, str(probe), *steps]
        if session is not None:
            shell = session + '"$@"' + after
            argv = [
                "dbus-run-session",
                *([f"--config-file={bus}"] if bus else []),
                "--",
                "sh",
                "-c",
                shell,
                "sh",
                *argv,
            ]
        done = subprocess.run(
            argv, env=self.variables(), input=CANARY, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        lines = [line for line in done.stdout.splitlines() if line.startswith("[{")]
        assert len(lines) == 1, done.stdout + done.stderr
        assert CANARY not in done.stderr
        answers: list[dict[str, Any]] = json.loads(lines[0])
        for answer in answers:
            # Only a read, which reveals on purpose, may have it.
            assert answer["step"] == "read" or CANARY not in json.dumps(answer)
            assert CANARY not in answer.get("traceback", "")
            assert answer["seconds"] < keyring_source.LIMIT_S + 1
        rest = done.stdout.replace(lines[0], "").strip()
        if rest:
            answers.append({"step": "after", "gave": rest})
        return answers


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def secret_service() -> None:
    """The tools of a real Secret Service; in CI they are installed or the tests fail."""
    if all(map(shutil.which, TOOLS)):
        return
    how = f"needs gnome-keyring, dbus and libsecret-tools: run {PROVISION.name} in tests/provision as root"
    if os.environ.get("CI") != "true":
        pytest.skip(how)
    done = subprocess.run(["/bin/sh", str(PROVISION)], capture_output=True, text=True, timeout=110, check=False)
    if done.returncode != 0:
        pytest.fail(f"{how}; it ended with {done.returncode}: {done.stderr[-2000:]}")


@pytest.fixture
def plaintext(desk: Desk) -> Path:
    """A package which calls itself keyrings.alt and, like that one, offers to write tokens to a file."""
    site = desk.home / "site"
    package = site / "keyrings" / "alt"
    package.mkdir(parents=True)
    store = desk.home / "plaintext-store"
    (package / "__init__.py").write_text("")
    (package / "file.py").write_text(
        "from keyring.backend import KeyringBackend\n"
        "from pathlib import Path\n"
        f"STORE = Path({str(store)!r})\n"
        "class PlaintextKeyring(KeyringBackend):\n"
        "    priority = 0.5\n"
        "    def get_password(self, service, username):\n"
        "        return STORE.read_text() if STORE.exists() else None\n"
        "    def set_password(self, service, username, password):\n"
        "        STORE.write_text(password)\n"
        "    def delete_password(self, service, username):\n"
        "        STORE.unlink()\n"
    )
    facts = site / "keyrings_alt-0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: keyrings.alt\nVersion: 0\n")
    (facts / "entry_points.txt").write_text("[keyring.backends]\nfile = keyrings.alt.file\n")
    desk.env["PYTHONPATH"] = str(site)
    return store


@pytest.fixture
def bare_bus(tmp_path: Path) -> str:
    """The configuration of a bus which starts no services by itself."""
    path = tmp_path / "bus.conf"
    path.write_text(
        '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"'
        ' "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">'
        "<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><auth>EXTERNAL</auth>"
        '<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>'
        "</policy></busconfig>"
    )
    return str(path)


@pytest.fixture
def silent_bus(tmp_path: Path) -> Iterator[str]:
    """A bus which accepts connections and never answers."""
    path = tmp_path / "bus"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)
        yield f"unix:path={path}"


# --- a real Secret Service ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("secret_service")
def test_login_stores_reads_back_and_another_program_finds_it(desk: Desk) -> None:
    after = "; secret-tool lookup service svc username anna"
    nothing, login, read, found = desk.run("read", "login", "read", session=UNLOCKED, after=after)
    assert nothing["message"] == "the keyring has nothing for reg (service svc, entry anna)"
    assert nothing["hint"] == "mlrelease connections login reg"
    assert login["gave"] == "keyring (SecretService)"
    assert read["gave"] == ["bearer", CANARY, "keyring"]
    assert found["gave"] == CANARY


@pytest.mark.usefixtures("secret_service")
def test_what_was_stored_is_there_in_the_next_session_and_can_be_forgotten(desk: Desk) -> None:
    desk.run("login", session=UNLOCKED)
    read, deleted, gone, again = desk.run("read", "delete", "read", "delete", session=UNLOCKED)
    assert read["gave"][1] == CANARY
    assert deleted["gave"] is None
    assert "has nothing for reg" in gone["message"]
    assert "message" not in again


@pytest.mark.usefixtures("secret_service")
def test_a_locked_keyring_says_so_on_reading_and_storing(desk: Desk) -> None:
    *_, read, login = desk.run("login", "lock", "read", "login", session=UNLOCKED)
    for answer in (read, login):
        assert answer["message"] == "Keyring is locked."
        assert answer["hint"] == "unlock it outside this app, then press r"


@pytest.mark.usefixtures("secret_service")
def test_a_keyring_that_was_never_unlocked_says_so(desk: Desk) -> None:
    for answer in desk.run("read", "login", session=NEVER_UNLOCKED):
        assert answer["message"] == "Keyring has never been unlocked; its prompt needs a desktop."


@pytest.mark.usefixtures("secret_service")
def test_a_bus_without_a_secret_service(desk: Desk, bare_bus: str) -> None:
    for answer in desk.run("read", "login", session="", bus=bare_bus):
        assert answer["message"] == "No system keyring on this host (normal over SSH)."
        assert "command" in answer["hint"]


@pytest.mark.usefixtures("secret_service")
def test_the_secret_service_wins_over_plain_text(desk: Desk, plaintext: Path) -> None:
    (login,) = desk.run("login", session=UNLOCKED)
    assert login["gave"] == "keyring (SecretService)"
    assert not plaintext.exists()


# --- everything that is not one --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [None, "unix:path=/nonexistent/bus", "nonsense"])
def test_no_bus_or_a_dead_one(desk: Desk, address: str | None) -> None:
    if address is not None:
        desk.env["DBUS_SESSION_BUS_ADDRESS"] = address
    for answer in desk.run("read", "login"):
        assert answer["message"] == "No system keyring on this host (normal over SSH)."


def test_a_bus_that_never_answers_is_given_up(desk: Desk, silent_bus: str) -> None:
    desk.env["DBUS_SESSION_BUS_ADDRESS"] = silent_bus
    (answer,) = desk.run("login")
    assert answer["message"] in {
        "No system keyring on this host (normal over SSH).",
        "The keyring did not answer within 3 s.",
    }


@pytest.mark.parametrize("pinned", [False, True])
def test_plain_text_is_refused_and_nothing_is_written(desk: Desk, plaintext: Path, pinned: bool) -> None:
    if pinned:
        desk.env["PYTHON_KEYRING_BACKEND"] = "keyrings.alt.file.PlaintextKeyring"
    for answer in desk.run("read", "login", "read"):
        assert answer["message"] == "Refused: keyring would store the token unencrypted (PlaintextKeyring)."
    assert not plaintext.exists()


def keyringrc(desk: Desk, backend: str) -> None:
    for folder in (desk.home / "config" / "python_keyring", desk.home / ".config" / "python_keyring"):
        folder.mkdir(parents=True)
        (folder / "keyringrc.cfg").write_text(f"[backend]\ndefault-keyring={backend}\n")


@pytest.mark.parametrize("how", ["variable", "file"])
def test_the_null_backend_is_refused(desk: Desk, how: str) -> None:
    if how == "variable":
        desk.env["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"
    else:
        keyringrc(desk, "keyring.backends.null.Keyring")
    for answer in desk.run("read", "login"):
        assert answer["message"] == "Keyring is disabled (null backend); nothing was stored."


def test_a_bad_backend_in_the_environment_or_the_file_is_named(desk: Desk) -> None:
    keyringrc(desk, "no.such.Backend")
    for answer in desk.run("read", "login"):
        assert answer["message"] == "keyringrc.cfg names a keyring that cannot be loaded."
    for name in ("no.such.Backend", "keyring.backends.null.Nothing", "nodots", ""):
        desk.env["PYTHON_KEYRING_BACKEND"] = name
        (answer,) = desk.run("read")
        assert answer["message"] == f"PYTHON_KEYRING_BACKEND names a missing module: {name}"


def test_a_pinned_backend_of_the_allow_list_that_cannot_work_here(desk: Desk) -> None:
    desk.env["PYTHON_KEYRING_BACKEND"] = "keyring.backends.kwallet.DBusKeyring"
    (answer,) = desk.run("read")
    assert answer["message"] == "No system keyring on this host (normal over SSH)."


# --- a keyring that lies, fails or hangs -------------------------------------------------------------------------------------


class Liar:
    """A backend that misbehaves in one way."""

    priority = 5.0

    def __init__(self, how: str) -> None:
        self.how = how
        self.released = threading.Event()

    def get_password(self, service: str, entry: str) -> str | None:
        return None if self.how == "forgets" else "other"

    def set_password(self, service: str, entry: str, password: str) -> None:
        if self.how == "quotes":
            raise ValueError(f"cannot store {password}")
        if self.how == "exits":
            raise SystemExit(password)
        if self.how == "hangs":
            self.released.wait()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("forgets", "The keyring took the secret and does not give it back; nothing was stored."),
        ("alters", "The keyring took the secret and does not give it back; nothing was stored."),
        ("quotes", "The keyring failed (ValueError)."),
        ("exits", "The keyring failed (SystemExit)."),
        ("hangs", "The keyring did not answer within 0.2 s."),
    ],
)
def test_a_store_that_did_not_keep_it(how: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    liar = Liar(how)
    monkeypatch.setattr(keyring_source, "_backend", lambda: liar)
    limit = 0.2 if how == "hangs" else 3.0
    started = time.monotonic()
    with pytest.raises(CredentialError) as caught:
        keyring_source.store_secret("svc", "anna", Secret(CANARY), limit_s=limit)
    liar.released.set()
    assert time.monotonic() - started < 20
    assert caught.value.message == message
    assert caught.value.__suppress_context__
    out = io.StringIO()
    problem = caught.value
    Console(file=out, width=300).print(
        Traceback.from_exception(type(problem), problem, problem.__traceback__, show_locals=True)
    )
    assert CANARY not in out.getvalue()


def test_a_hanging_keyring_does_not_hold_the_exit_of_the_program() -> None:
    program = (
        "import time\n"
        "from mlrelease_tui.credentials import keyring_source as k\n"
        "from mlrelease_tui.errors import CredentialError\n"
        "k._backend = lambda: time.sleep(600)\n"
        "try: k.read_secret('s', 'e', limit_s=0.1)\n"
        "except CredentialError as e: print(e.message)\n"
    )
    env: Mapping[str, str] = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.strip() == "The keyring did not answer within 0.1 s."


def test_importing_the_credentials_loads_no_keyring() -> None:
    program = "import sys, mlrelease_tui.credentials; print({'keyring', 'secretstorage', 'jeepney'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.strip() == "set()"
